package op

import "muster/tensor"

// maxAxes bounds the axes of a strided copy after merging; more are left to the reference.
const maxAxes = 8

// strided is a copy of elements from anywhere to consecutive places: what
// Transpose, Slice, Expand and Where's operands come down to.
type strided struct {
	size   int // bytes per element
	axes   int
	shape  [maxAxes]int
	stride [maxAxes]int // in elements of the source
	base   int
	inner  int // elements along the last axis
	step   int // source stride of the last axis
	outer  int // product of the axes before
}

// newStrided merges axes that are contiguous with each other and drops those of size 1.
func newStrided(d tensor.DType, shape tensor.Shape, strides []int, base int) (strided, bool) {
	s := strided{size: d.Bits() / 8, base: base}
	for i, n := range shape {
		if n == 1 {
			continue
		}
		if k := s.axes - 1; k >= 0 && s.stride[k] == strides[i]*n {
			s.shape[k] *= n
			s.stride[k] = strides[i]
			continue
		}
		if s.axes == maxAxes {
			return s, false
		}
		s.shape[s.axes], s.stride[s.axes] = n, strides[i]
		s.axes++
	}
	s.takeInner()
	return s, true
}

// takeInner splits the axes into the last, which rows run along, and those before.
func (s *strided) takeInner() {
	s.inner, s.outer = 1, 1
	if s.axes > 0 {
		s.axes--
		s.inner, s.step = s.shape[s.axes], s.stride[s.axes]
	}
	for _, n := range s.shape[:s.axes] {
		s.outer *= n
	}
}

// rowsPerTask is how many inner rows one task copies.
func (s *strided) rowsPerTask() int { return rowsPer(s.inner) }

func (s *strided) tasks() int {
	if s.inner == 0 {
		return 0
	}
	return (s.outer + s.rowsPerTask() - 1) / s.rowsPerTask()
}

// from returns the source element where outer row r starts.
func (s *strided) from(r int) int {
	at := s.base
	for a := s.axes - 1; a >= 0; a-- {
		at += r % s.shape[a] * s.stride[a]
		r /= s.shape[a]
	}
	return at
}

// cursor walks over the outer rows without a division per row.
type cursor struct {
	pos int // source element where the row starts
	at  [maxAxes]int
}

func (s *strided) cursor(r int) cursor {
	c := cursor{pos: s.from(r)}
	for a := s.axes - 1; a >= 0; a-- {
		c.at[a] = r % s.shape[a]
		r /= s.shape[a]
	}
	return c
}

func (c *cursor) next(s *strided) {
	for a := s.axes - 1; a >= 0; a-- {
		c.at[a]++
		c.pos += s.stride[a]
		if c.at[a] < s.shape[a] {
			return
		}
		c.pos -= s.shape[a] * s.stride[a]
		c.at[a] = 0
	}
}

// copy does the rows of one task.
func (s *strided) copy(dst, src []byte, task int) {
	per := s.rowsPerTask()
	r, hi := task*per, min(s.outer, (task+1)*per)
	c := s.cursor(r)
	row := s.inner * s.size
	for ; r < hi; r++ {
		switch s.step {
		case 1:
			copy(dst[r*row:(r+1)*row], src[c.pos*s.size:])
		case 0:
			fillBytes(dst[r*row:(r+1)*row], src[c.pos*s.size:][:s.size])
		default:
			s.row(dst[r*row:(r+1)*row], src, c.pos)
		}
		c.next(s)
	}
}

// row copies one row whose elements are apart.
func (s *strided) row(dst, src []byte, at int) {
	switch s.size {
	case 4:
		gatherRow[uint32](dst, src, at, s.step)
	case 8:
		gatherRow[uint64](dst, src, at, s.step)
	case 2:
		gatherRow[uint16](dst, src, at, s.step)
	default:
		gatherRow[uint8](dst, src, at, s.step)
	}
}

func gatherRow[T uint8 | uint16 | uint32 | uint64](dst, src []byte, at, step int) {
	d, s := words[T](dst), words[T](src)
	for i := range d {
		d[i] = s[at]
		at += step
	}
}

// stridedKernel copies input i to output 0.
func stridedKernel(p *Prep, i int, strides []int, base int) (Kernel, bool) {
	s, ok := newStrided(p.Out[0].DType, p.Out[0].Shape, strides, base)
	if !ok {
		return Kernel{}, false
	}
	if w, ok := newSwap(s); ok && i == 0 && s.outer > 0 {
		return swapKernel(w), true
	}
	return Kernel{Run: split(s.tasks(), func(in, out []*tensor.Tensor, _ []byte, task int) {
		s.copy(out[0].Data, in[i].Data, task)
	})}, true
}

func transposeKernel(p *Prep) (Kernel, bool) {
	return stridedKernel(p, 0, permuted(p.In[0].Shape, permutation(p.Node, len(p.In[0].Shape))), 0)
}

// stridedKernelOf copies input 0, seen with another shape than the output has.
func stridedKernelOf(p *Prep, shape tensor.Shape, strides []int) (Kernel, bool) {
	q := *p
	q.Out = []*tensor.Tensor{{DType: p.Out[0].DType, Shape: shape}}
	return stridedKernel(&q, 0, strides, 0)
}

func expandKernel(p *Prep) (Kernel, bool) {
	return stridedKernel(p, 0, broadcastStrides(p.Out[0].Shape, p.In[0].Shape), 0)
}

func sliceKernel(p *Prep) (Kernel, bool) {
	for _, t := range p.In[1:] {
		if t != nil && t.Data == nil && t.Elems() > 0 {
			return Kernel{}, false
		}
	}
	base, strides, err := sliceStrides(p.Node, p.In)
	if err != nil || strides == nil {
		return Kernel{}, false
	}
	return stridedKernel(p, 0, strides, base)
}

// part is what one operand of a Concat or one output of a Split has in common with the long tensor.
type part struct{ lead, n, row, pos int }

// partsOf lays the short tensors along axis at of the long one.
func partsOf(long *tensor.Tensor, short []*tensor.Tensor, at int) []part {
	lead, row := chunkOf(long, at)
	var ps []part
	pos := 0
	for _, t := range short {
		_, n := chunkOf(t, at)
		ps = append(ps, part{lead, n, row, pos})
		pos += n
	}
	return ps
}

// rows copies part p between the long and the short tensor for chunks lo to hi.
func (p part) rows(long, short []byte, lo, hi int, join bool) {
	for i := lo; i < hi; i++ {
		l, s := long[i*p.row+p.pos:][:p.n], short[i*p.n:][:p.n]
		if join {
			copy(l, s)
		} else {
			copy(s, l)
		}
	}
}

func concatKernel(p *Prep) (Kernel, bool) {
	at := wrap(p.Node.Int("axis", 0), len(p.Out[0].Shape))
	ps := partsOf(p.Out[0], p.In, at)
	lead, row := ps[0].lead, ps[0].row
	per := rowsPer(row / 4)
	return Kernel{Run: split((lead+per-1)/per, func(in, out []*tensor.Tensor, _ []byte, task int) {
		for i, t := range in {
			ps[i].rows(out[0].Data, t.Data, task*per, min(lead, (task+1)*per), true)
		}
	})}, true
}

func splitKernel(p *Prep) (Kernel, bool) {
	at := wrap(p.Node.Int("axis", 0), len(p.In[0].Shape))
	ps := partsOf(p.In[0], p.Out, at)
	lead, row := ps[0].lead, ps[0].row
	per := rowsPer(row / 4)
	return Kernel{Run: split((lead+per-1)/per, func(in, out []*tensor.Tensor, _ []byte, task int) {
		for i, t := range out {
			ps[i].rows(in[0].Data, t.Data, task*per, min(lead, (task+1)*per), false)
		}
	})}, true
}

func constantOfShapeKernel(p *Prep) (Kernel, bool) {
	value := make([]byte, p.Out[0].DType.Bits()/8)
	if a := p.Node.Attr("value"); a != nil {
		copy(value, a.T.Data)
	}
	return Kernel{Run: serial(func(_, out []*tensor.Tensor) {
		fillBytes(out[0].Data, value)
	})}, true
}

// merged is a shape with several tensors' strides after merging neighbouring axes that all tensors read alike.
type merged struct {
	shape   []int
	strides [][]int
}

func mergeAxes(shape tensor.Shape, strides ...[]int) merged {
	m := merged{strides: make([][]int, len(strides))}
	for a, n := range shape {
		if n == 1 {
			continue
		}
		k := len(m.shape) - 1
		join := k >= 0
		for t := range strides {
			join = join && m.strides[t][k] == strides[t][a]*n
		}
		if join {
			m.shape[k] *= n
		} else {
			m.shape, k = append(m.shape, n), k+1
		}
		for t := range strides {
			m.strides[t] = append(m.strides[t][:k:k], strides[t][a])
		}
	}
	return m
}

// fixedStrided is newStrided for axes that are merged already.
func fixedStrided(shape, stride []int) strided {
	s := strided{size: 4}
	s.axes = copy(s.shape[:], shape)
	copy(s.stride[:], stride)
	s.takeInner()
	return s
}
