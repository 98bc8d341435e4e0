package op

import (
	"muster/internal/kernel"
	"muster/tensor"
)

// axisMap copies elements to a tensor of shape `out` from one of shape `in` by one list per axis: output
// index i reads input index list[i], or the fill value where that is -1. A nil list is the identity.
// Pad, CenterCropPad, Tile and nearest Resize are of this kind.
type axisMap struct {
	out, in tensor.Shape
	list    [][]int
}

func newAxisMap(in tensor.Shape) axisMap {
	return axisMap{out: in.Clone(), in: in, list: make([][]int, len(in))}
}

// maxAxis bounds an axis that has a list.
const maxAxis = 1 << 28

// set gives axis a a list; a list that is the identity is dropped.
func (m *axisMap) set(a int, list []int) {
	same := len(list) == m.in[a]
	for i := 0; same && i < len(list); i++ {
		same = list[i] == i
	}
	m.out[a] = len(list)
	m.list[a] = append([]int{}, list...) // an empty list is no identity
	if same {
		m.list[a] = nil
	}
}

// copyRef is the meaning: fill holds one element, nil is zero.
func (m *axisMap) copyRef(out, in *tensor.Tensor, fill []byte) {
	size := out.DType.Bits() / 8
	own := m.in.Strides()
	at := make([]int, len(m.out))
	for i, n := 0, m.out.Elems(); i < n; i++ {
		from, ok := 0, true
		for a, k := range at {
			if m.list[a] != nil {
				k = m.list[a][k]
			}
			ok = ok && k >= 0
			from += k * own[a]
		}
		if ok {
			copy(out.Data[i*size:(i+1)*size], in.Data[from*size:])
		} else if fill != nil {
			copy(out.Data[i*size:(i+1)*size], fill)
		}
		for a := len(at) - 1; a >= 0; a-- {
			if at[a]++; at[a] < m.out[a] {
				break
			}
			at[a] = 0
		}
	}
}

// run is a stretch of the last mapped axis that is consecutive in the source; from -1 is fill.
type stretch struct{ to, from, n int }

// mapPlan is an axisMap made ready: rows of the last mapped axis in blocks of the axes behind it.
type mapPlan struct {
	size, block int // bytes of an element and of one index of the last mapped axis
	lead        []mapAxis
	rows        int
	inRow       int // bytes
	outRow      int
	runs        []stretch
	inner       stretch // the only one that is no fill, beside fill
	list        []int32 // source indices of the last axis where stretches are short, nil otherwise
	twice       bool    // the list is 0, 0, 1, 1, ... of 4-byte elements
}

type mapAxis struct {
	n, stride int // stride in rows of the source
	list      []int
}

// plan merges identity axes and finds the stretches of the last mapped axis.
func (m *axisMap) plan(size int) mapPlan {
	last := len(m.out) - 1
	for last > 0 && m.list[last] == nil {
		last--
	}
	p := mapPlan{size: size, block: size, rows: 1}
	if len(m.out) == 0 {
		p.runs, p.inRow, p.outRow = []stretch{{0, 0, 1}}, size, size
		return p
	}
	p.block *= m.in[last+1:].Elems()
	p.inRow, p.outRow = p.block*m.in[last], p.block*m.out[last]
	st := m.in[:last].Strides()
	for a := 0; a < last; a++ {
		p.lead = append(p.lead, mapAxis{m.out[a], st[a], m.list[a]})
		p.rows *= m.out[a]
	}
	p.runs = stretches(m.list[last], m.out[last])
	p.inner = onlyInner(p.runs)
	if p.block == size && len(p.runs)*4 > m.out[last] && m.out[last] >= 4 {
		for _, i := range m.list[last] {
			p.list = append(p.list, int32(i))
		}
		p.twice = size == 4 && len(p.list) == 2*m.in[last]
		for i, k := range p.list {
			p.twice = p.twice && int(k) == i/2
		}
	}
	return p
}

func stretches(list []int, n int) (r []stretch) {
	if list == nil {
		return []stretch{{0, 0, n}}
	}
	for i, from := range list {
		if k := len(r) - 1; k >= 0 && (from < 0 && r[k].from < 0 || from >= 0 && r[k].from >= 0 && r[k].from+r[k].n == from) {
			r[k].n++
			continue
		}
		r = append(r, stretch{i, from, 1})
	}
	return r
}

// onlyInner is the stretch that has nothing but fill around it, if it is the only one.
func onlyInner(runs []stretch) (inner stretch) {
	for _, s := range runs {
		if s.from >= 0 && (inner.n > 0 || len(runs) == 1) {
			return stretch{}
		}
		if s.from >= 0 {
			inner = s
		}
	}
	return inner
}

// source is the source row of output row r, -1 if it is fill.
func (p *mapPlan) source(r int) int {
	row := 0
	for a := len(p.lead) - 1; a >= 0; a-- {
		x := &p.lead[a]
		k := r % x.n
		r /= x.n
		if x.list != nil {
			if k = x.list[k]; k < 0 {
				return -1
			}
		}
		row += k * x.stride
	}
	return row
}

// next is the source of row r, the row behind the one whose source was `from` (-2: there was none); at is its index in the last
// leading axis. A row of the same indices before that costs no division.
func (p *mapPlan) next(at *int, r, from int) int {
	last := len(p.lead) - 1
	if last < 0 {
		return p.source(r)
	}
	x := &p.lead[last]
	if from < 0 || *at+1 >= x.n {
		*at = r % x.n
		return p.source(r)
	}
	k := *at
	*at++
	if x.list == nil {
		return from + x.stride
	}
	if x.list[k+1] < 0 {
		return -1
	}
	return from + (x.list[k+1]-x.list[k])*x.stride
}

// kernel copies input i to output 0. fill returns the bytes of one element, or nil for zero.
func (p mapPlan) kernel(i int, fill func(in []*tensor.Tensor) []byte) Kernel {
	per := max(1, 4*chunk/max(1, p.outRow))
	tasks := (p.rows + per - 1) / per
	if p.outRow == 0 {
		tasks = 0
	}
	return Kernel{Run: split(tasks, func(in, out []*tensor.Tensor, _ []byte, task int) {
		f := fill(in)
		before, from := -2, -2
		if p.inner.n > 0 { // rows are copied into what is filled
			fillBytes(out[0].Data[task*per*p.outRow:min(p.rows, (task+1)*per)*p.outRow], f)
		}
		at := 0
		for r := task * per; r < min(p.rows, (task+1)*per); r++ {
			dst := out[0].Data[r*p.outRow : (r+1)*p.outRow]
			from = p.next(&at, r, from)
			switch {
			case p.inner.n > 0 && from < 0:
			case p.inner.n > 0:
				copy(dst[p.inner.to*p.block:(p.inner.to+p.inner.n)*p.block], in[i].Data[from*p.inRow+p.inner.from*p.block:])
			case from < 0:
				fillBytes(dst, f)
			case from == before:
				copy(dst, out[0].Data[(r-1)*p.outRow:r*p.outRow])
			default:
				p.row(dst, in[i].Data[from*p.inRow:(from+1)*p.inRow], f)
			}
			before = from
		}
	})}
}

// row writes one row of the last mapped axis.
func (p *mapPlan) row(dst, src, fill []byte) {
	if p.list != nil {
		switch p.size {
		case 4:
			if p.twice {
				kernel.Twice(floatsIn(dst), floatsIn(src))
				return
			}
			takeWords(words[uint32](dst), words[uint32](src), p.list, firstWord[uint32](fill))
		case 8:
			takeWords(words[uint64](dst), words[uint64](src), p.list, firstWord[uint64](fill))
		case 2:
			takeWords(words[uint16](dst), words[uint16](src), p.list, firstWord[uint16](fill))
		default:
			takeWords(dst, src, p.list, firstWord[uint8](fill))
		}
		return
	}
	for _, s := range p.runs {
		d := dst[s.to*p.block : (s.to+s.n)*p.block]
		if s.from < 0 {
			fillBytes(d, fill)
		} else {
			copy(d, src[s.from*p.block:])
		}
	}
}

func firstWord[T word](b []byte) (z T) {
	if b != nil {
		return words[T](b)[0]
	}
	return z
}

func takeWords[T word](d, s []T, list []int32, fill T) {
	for i, j := range list {
		if j < 0 {
			d[i] = fill
		} else {
			d[i] = s[j]
		}
	}
}

// fillBytes repeats v over d; nil is zero.
func fillBytes(d, v []byte) {
	if v == nil {
		clear(d)
		return
	}
	switch len(v) {
	case 1:
		fillWords(d, v[0])
		return
	case 4:
		fillWords(words[uint32](d), words[uint32](v)[0])
		return
	case 8:
		fillWords(words[uint64](d), words[uint64](v)[0])
		return
	}
	for n := copy(d, v); n > 0 && n < len(d); n *= 2 {
		copy(d[n:], d[:n])
	}
}

// fillWords writes a start and copies it.
func fillWords[T word](d []T, v T) {
	n := min(len(d), 32)
	for i := range d[:n] {
		d[i] = v
	}
	for ; n > 0 && n < len(d); n *= 2 {
		copy(d[n:], d[:n])
	}
}

func noFill([]*tensor.Tensor) []byte { return nil }
