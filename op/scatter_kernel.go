package op

import (
	"unsafe"

	"muster/fault"
	"muster/tensor"
)

// Fast forms of the Gather and Scatter operators. Tasks never write to one element from two sides: they split
// lanes, blocks of columns or ranges of destinations, always by shape.

// words4 are the element types that are copied as machine words.
type word interface {
	uint8 | uint16 | uint32 | uint64
}

// copyInto copies src to dst unless they are one buffer.
func copyInto(dst, src []byte) {
	if len(dst) > 0 && unsafe.Pointer(&dst[0]) != unsafe.Pointer(&src[0]) {
		copy(dst, src)
	}
}

// copyTasks returns a Run that copies input 0 to output 0 in parallel.
func copyTasks(n int) func(in, out []*tensor.Tensor, scratch []byte) {
	const per = 1 << 18 // bytes
	return split((n+per-1)/per, func(in, out []*tensor.Tensor, _ []byte, task int) {
		lo, hi := task*per, min(n, (task+1)*per)
		copyInto(out[0].Data[lo:hi], in[0].Data[lo:hi])
	})
}

// rangeCheck checks indices into an axis of n.
func rangeCheck[T int32 | int64](v []T, n int64) error {
	for i, x := range v {
		if int64(x) < -n || int64(x) >= n {
			return fault.New(fault.Mismatch, "", "index %d at element %d is not in an axis of %d", x, i, n)
		}
	}
	return nil
}

// lane is one axis of data [P, n, Q] met by indices [P, K, Q]; ok is false where the other axes differ.
type lane struct{ P, n, K, Q int }

func laneOf(x, idx tensor.Shape, a int64) (l lane, ok bool) {
	at := wrap(a, len(x))
	for i := range x {
		if i != at && x[i] != idx[i] {
			return l, false
		}
	}
	return lane{x[:at].Elems(), x[at], idx[at], x[at+1:].Elems()}, true
}

// block is how many columns of Q one task takes, so that tasks are long enough and there are several.
func (l lane) block() (cols, tasks int) {
	cols = max(1, min(l.Q, max(16, chunk/max(1, l.K))))
	return cols, l.P * ((l.Q + cols - 1) / cols)
}

// each calls f for every task with its outer index and its columns.
func (l lane) each(task int) (p, lo, hi int) {
	cols, _ := l.block()
	parts := (l.Q + cols - 1) / cols
	return task / parts, task % parts * cols, min(l.Q, task%parts*cols+cols)
}

func laneCheck(i int, n int) func(in []*tensor.Tensor) error {
	return func(in []*tensor.Tensor) error { return indexCheck(in[i], int64(n)) }
}

// gatherElementsKernel reads 4- and 8-byte elements through int64 or int32 indices.
func gatherElementsKernel(p *Prep) (Kernel, bool) {
	l, ok := laneOf(p.In[0].Shape, p.In[1].Shape, p.Node.Int("axis", 0))
	if !ok {
		return Kernel{}, false
	}
	var f body
	wide, long := p.In[0].DType.Bits() == 64, p.In[1].DType == tensor.Int64
	switch {
	case p.In[0].DType.Bits() == 32 && long:
		f = gatherLane[uint32, int64](l)
	case p.In[0].DType.Bits() == 32:
		f = gatherLane[uint32, int32](l)
	case wide && long:
		f = gatherLane[uint64, int64](l)
	case wide:
		f = gatherLane[uint64, int32](l)
	default:
		return Kernel{}, false
	}
	per := max(1, 2048/max(1, l.K*min(l.Q, 1<<20))) // short lanes go together
	_, tasks := l.block()
	g := func(in, out []*tensor.Tensor, s []byte, task int) {
		for t := task * per; t < min(tasks, (task+1)*per); t++ {
			f(in, out, s, t)
		}
	}
	return Kernel{Run: split((tasks+per-1)/per, g), Check: laneCheck(1, l.n)}, true
}

// indexWords views an index tensor as T.
func indexWords[T int32 | int64](t *tensor.Tensor) []T {
	if len(t.Data) == 0 {
		return nil
	}
	var z T
	return unsafe.Slice((*T)(unsafe.Pointer(&t.Data[0])), len(t.Data)/int(unsafe.Sizeof(z)))
}

func gatherLane[T uint32 | uint64, I int32 | int64](l lane) body {
	return func(in, out []*tensor.Tensor, _ []byte, task int) {
		p, lo, hi := l.each(task)
		x, y, idx := words[T](in[0].Data)[p*l.n*l.Q:], words[T](out[0].Data), indexWords[I](in[1])
		for k := 0; k < l.K; k++ {
			at := (p*l.K+k)*l.Q + lo
			row := idx[at : at+hi-lo]
			d := y[at:][:len(row)]
			for q, i := range row {
				j := int(i)
				if j < 0 {
					j += l.n
				}
				d[q] = x[j*l.Q+lo+q]
			}
		}
	}
}

// scatterElementsKernel is for float32 and int64 data whose other axes are covered by the indices.
func scatterElementsKernel(p *Prep) (Kernel, bool) {
	if !p.In[1].Shape.Equal(p.In[2].Shape) || len(p.In[1].Shape) != len(p.In[0].Shape) {
		return Kernel{}, false
	}
	l, ok := laneOf(p.In[0].Shape, p.In[1].Shape, p.Node.Int("axis", 0))
	d := p.In[0].DType
	how := p.Node.Str("reduction", "none")
	if !ok || d != tensor.Float32 && d != tensor.Int64 {
		return Kernel{}, false
	}
	f := scatterLane(l, how, (*tensor.Tensor).Float32s)
	if d == tensor.Int64 {
		f = scatterLane(l, how, (*tensor.Tensor).Int64s)
	}
	_, tasks := l.block()
	first, then := copyTasks(p.Out[0].DType.Bytes(p.Out[0].Elems())), split(tasks, f)
	return Kernel{Over: 1, Check: laneCheck(1, l.n), Run: func(in, out []*tensor.Tensor, s []byte) {
		first(in, out, s)
		then(in, out, s)
	}}, true
}

func scatterLane[T float32 | int64](l lane, how string, of func(*tensor.Tensor) []T) body {
	return func(in, out []*tensor.Tensor, _ []byte, task int) {
		p, lo, hi := l.each(task)
		y, u := of(out[0])[p*l.n*l.Q:], of(in[2])
		for k := 0; k < l.K; k++ {
			for q := lo; q < hi; q++ {
				at := (p*l.K+k)*l.Q + q
				j := int(index(in[1], at))
				if j < 0 {
					j += l.n
				}
				d := &y[j*l.Q+q]
				switch how {
				case "none":
					*d = u[at]
				case "add":
					*d += u[at]
				case "mul":
					*d *= u[at]
				case "max":
					*d = max(*d, u[at])
				case "min":
					*d = min(*d, u[at])
				}
			}
		}
	}
}

// tuples reads the places that index tuples name without a list.
type tuples struct {
	batch, q, K, size, Q int
	n, stride            [maxAxes]int
}

func tuplesOf(x, idx tensor.Shape, batch int) (t tuples, ok bool) {
	r := len(idx) - 1
	if r < batch || batch+idx[r] > len(x) || idx[r] > maxAxes || !x[:batch].Equal(idx[:batch]) {
		return t, false
	}
	st := x.Strides()
	t = tuples{batch: batch, q: idx[r], K: idx[batch:r].Elems(), size: x[batch:].Elems(), Q: x[batch+idx[r]:].Elems()}
	for a := 0; a < t.q; a++ {
		t.n[a], t.stride[a] = x[batch+a], st[batch+a]
	}
	return t, true
}

// place is the element where block i starts.
func (t *tuples) place(idx *tensor.Tensor, i int) int {
	p := i / t.K * t.size
	for a := 0; a < t.q; a++ {
		v := int(index(idx, i*t.q+a))
		if v < 0 {
			v += t.n[a]
		}
		p += v * t.stride[a]
	}
	return p
}

func (t *tuples) check(in []*tensor.Tensor) error {
	for i, n := 0, in[1].Elems(); i < n; i++ {
		if v, n := index(in[1], i), int64(t.n[i%t.q]); v < -n || v >= n {
			return fault.New(fault.Mismatch, "", "index %d at element %d is not in an axis of %d", v, i, n)
		}
	}
	return nil
}

// gatherNDKernel copies the blocks of some tuples per task.
func gatherNDKernel(p *Prep) (Kernel, bool) {
	t, ok := tuplesOf(p.In[0].Shape, p.In[1].Shape, int(p.Node.Int("batch_dims", 0)))
	if !ok {
		return Kernel{}, false
	}
	size := p.In[0].DType.Bits() / 8
	n := p.In[1].Shape[:len(p.In[1].Shape)-1].Elems()
	if t.Q == 0 {
		n = 0
	}
	per := max(1, chunk/max(8, t.Q))
	row := t.Q * size
	return Kernel{Check: t.check, Run: split((n+per-1)/per, func(in, out []*tensor.Tensor, _ []byte, task int) {
		for i := task * per; i < min(n, (task+1)*per); i++ {
			copy(out[0].Data[i*row:(i+1)*row], in[0].Data[t.place(in[1], i)*size:])
		}
	})}, true
}

// scatterNDKernel gives every task a range of destinations; it skips the blocks that start elsewhere.
func scatterNDKernel(p *Prep) (Kernel, bool) {
	t, ok := tuplesOf(p.In[0].Shape, p.In[1].Shape, 0)
	d, how := p.In[0].DType, p.Node.Str("reduction", "none")
	if !ok || d != tensor.Float32 && d != tensor.Int64 && how != "none" || t.Q == 0 || p.In[2].Elems() != t.K*t.Q {
		return Kernel{}, false
	}
	size, K := d.Bits()/8, t.K
	tasks := 1
	if t.Q >= 32 {
		tasks = max(1, min(8, K*t.Q/chunk))
	}
	each := (t.size/t.Q + tasks - 1) / tasks * t.Q
	f := func(in, out []*tensor.Tensor, _ []byte, task int) {
		for i := 0; i < K; i++ {
			to := t.place(in[1], i)
			if to < task*each || to >= (task+1)*each {
				continue
			}
			switch {
			case how == "none":
				copy(out[0].Data[to*size:][:t.Q*size], in[2].Data[i*t.Q*size:])
			case d == tensor.Float32:
				combine(out[0].Float32s()[to:][:t.Q], in[2].Float32s()[i*t.Q:][:t.Q], how)
			default:
				combine(out[0].Int64s()[to:][:t.Q], in[2].Int64s()[i*t.Q:][:t.Q], how)
			}
		}
	}
	first, then := copyTasks(d.Bytes(t.size)), split(tasks, f)
	return Kernel{Over: 1, Check: t.check, Run: func(in, out []*tensor.Tensor, s []byte) {
		first(in, out, s)
		then(in, out, s)
	}}, true
}
