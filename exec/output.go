package exec

import (
	"unsafe"

	"muster/graph"
	"muster/tensor"
)

// direct is an output that can be made where the caller wants it: the headers of its buffer, and their bytes in the arena.
type direct struct {
	tensors []*tensor.Tensor
	arena   [][]byte
}

// directs are the outputs of a plan; without tensors where the buffer is an input, a constant, or shared with another output.
func (l *layout) directs(outs []*graph.Value) []direct {
	users := map[*buffer]int{}
	for _, v := range outs {
		users[l.buf[v].root()]++
	}
	ds := make([]direct, len(outs))
	for i, v := range outs {
		b := l.buf[v].root()
		if b.constant != nil || b.input != nil || users[b] != 1 || !l.fills(b, v) {
			continue
		}
		ds[i].tensors = b.tensors
		for _, t := range b.tensors {
			ds[i].arena = append(ds[i].arena, t.Data)
		}
	}
	return ds
}

// fills reports whether no tensor of b is longer than the output v.
func (l *layout) fills(b *buffer, v *graph.Value) bool {
	for _, t := range b.tensors {
		if len(t.Data) > len(l.ten[v].Data) || t.DType.IsContainer() {
			return false
		}
	}
	return true
}

// slack is what a kernel may read behind the last element.
const slack = 64

// aim points the plan's outputs at the caller's tensors where they may be written before the run ends: the same
// type and shape, room for a vector at the end, and no byte in common with what is fed. The others stay in the arena.
func (p *plan) aim(outs, feeds []*tensor.Tensor) {
	for i := range p.direct {
		d := &p.direct[i]
		if d.tensors == nil {
			continue
		}
		var to []byte
		if i < len(outs) && p.takes(i, outs, feeds) {
			to = outs[i].Data
		}
		for k, t := range d.tensors {
			if t.Data = d.arena[k]; to != nil {
				t.Data = to[:len(d.arena[k])]
			}
		}
	}
}

func (p *plan) takes(i int, outs, feeds []*tensor.Tensor) bool {
	t := outs[i]
	if t == nil || t.DType != p.out[i].DType || !t.Shape.Equal(p.out[i].Shape) || cap(t.Data) < len(t.Data)+slack || len(t.Data) == 0 || uintptr(unsafe.Pointer(&t.Data[0]))%slack != 0 {
		return false
	}
	for _, f := range feeds {
		if overlap(t.Data, f.Data) {
			return false
		}
	}
	for k, o := range outs {
		if k != i && o != nil && overlap(t.Data, o.Data) {
			return false
		}
	}
	return true
}

// overlap reports whether a, with its slack, and b share bytes.
func overlap(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	x, y := uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&b[0]))
	return x < y+uintptr(len(b)) && y < x+uintptr(len(a))
}

// same reports whether a and b are the same bytes in memory.
func same(a, b []byte) bool { return len(a) > 0 && len(b) > 0 && &a[0] == &b[0] }
