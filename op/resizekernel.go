package op

import (
	"muster/internal/kernel"
	"muster/tensor"
)

// resizeKernel copies by lists for nearest pixels; other modes mix float32 rows axis by axis, the last axis first.
func resizeKernel(p *Prep) (Kernel, bool) {
	for i, t := range p.In {
		if i > 0 && t != nil && t.Data == nil && t.Elems() > 0 {
			return Kernel{}, false
		}
	}
	r, err := newResizer(p.Node, p.In[0].Shape, p.In)
	if err != nil || !r.out.Equal(p.Out[0].Shape) {
		return Kernel{}, false
	}
	if r.nearest() {
		m := r.maps()
		f := r.fill(p.Out[0].DType)
		return m.plan(p.Out[0].DType.Bits()/8).kernel(0, func([]*tensor.Tensor) []byte { return f }), true
	}
	if p.In[0].DType != tensor.Float32 || r.out.Elems() == 0 {
		return Kernel{}, false
	}
	return r.passes(), true
}

// mixPass resizes one axis: [P, n, Q] to [P, m, Q].
type mixPass struct {
	P, n, m, Q int
	taps       int
	index      []int32
	weight     []float32
	outside    []bool
	fill       float32
}

// passes builds the kernel. Intermediate results lie in the scratch, one behind the other.
func (r *resizer) passes() Kernel {
	shape := r.in.Clone()
	var list []mixPass
	var offs []int // of the result of each pass in the scratch, in elements
	total := 0
	for a := len(shape) - 1; a >= 0; a-- {
		if r.same(a) {
			continue
		}
		m := r.axis(a)
		s := mixPass{P: shape[:a].Elems(), n: r.in[a], m: r.out[a], Q: shape[a+1:].Elems(), taps: m.taps, outside: m.outside, fill: r.node.Float("extrapolation_value", 0)}
		for i := range m.index {
			s.index, s.weight = append(s.index, int32(m.index[i])), append(s.weight, float32(m.weight[i]))
		}
		shape[a] = r.out[a]
		list, offs = append(list, s), append(offs, total)
		total += (shape.Elems() + 15) &^ 15
	}
	if len(list) == 0 {
		return Kernel{Run: copyTasks(4 * r.in.Elems())}
	}
	total = offs[len(list)-1] // the last one goes to the output
	runs := make([]func(in, out []*tensor.Tensor, scratch []byte), len(list))
	for k := range list {
		s := &list[k]
		from, to := -1, -1
		if k > 0 {
			from = offs[k-1]
		}
		if k < len(list)-1 {
			to = offs[k]
		}
		runs[k] = s.split(from, to)
	}
	return Kernel{Scratch: 4*total + 64, Run: func(in, out []*tensor.Tensor, scratch []byte) {
		for _, f := range runs {
			f(in, out, scratch)
		}
	}}
}

// split runs the pass in parallel from and to places in the scratch; -1 is the input or the output.
func (s *mixPass) split(from, to int) func(in, out []*tensor.Tensor, scratch []byte) {
	rows := s.P * s.m // output rows of Q
	if s.Q == 1 {
		rows = s.P
	}
	width := s.Q
	if s.Q == 1 {
		width = s.m
	}
	per := rowsPer(width)
	return split((rows+per-1)/per, func(in, out []*tensor.Tensor, scratch []byte, task int) {
		src, dst := in[0].Float32s(), out[0].Float32s()
		if from >= 0 {
			src = floatsIn(scratch)[from:]
		}
		if to >= 0 {
			dst = floatsIn(scratch)[to:]
		}
		for i := task * per; i < min(rows, (task+1)*per); i++ {
			if s.Q == 1 {
				s.columns(dst[i*s.m:(i+1)*s.m], src[i*s.n:(i+1)*s.n])
			} else {
				s.row(dst[i*s.Q:(i+1)*s.Q], src[i/s.m*s.n*s.Q:], i%s.m)
			}
		}
	})
}

// columns mixes the last axis of one row.
func (s *mixPass) columns(dst, src []float32) {
	if s.taps == 2 {
		for i := range dst {
			k, w := s.index[2*i:][:2], s.weight[2*i:][:2]
			dst[i] = float32(w[0]*src[k[0]]) + float32(w[1]*src[k[1]])
		}
	} else {
		for i := range dst {
			sum := float32(0)
			for t := i * s.taps; t < (i+1)*s.taps; t++ {
				sum += float32(s.weight[t] * src[s.index[t]])
			}
			dst[i] = sum
		}
	}
	for i, out := range s.outside {
		if out {
			dst[i] = s.fill
		}
	}
}

// row mixes whole rows of Q elements into output row i, in pieces that stay in the cache.
func (s *mixPass) row(dst, src []float32, i int) {
	if s.outside != nil && s.outside[i] {
		for q := range dst {
			dst[q] = s.fill
		}
		return
	}
	var tmp [512]float32
	for lo := 0; lo < len(dst); lo += len(tmp) {
		d := dst[lo:min(lo+len(tmp), len(dst))]
		for t := i * s.taps; t < (i+1)*s.taps; t++ {
			x := src[int(s.index[t])*s.Q+lo:][:len(d)]
			if t == i*s.taps {
				kernel.MapScalar(kernel.Mul, d, x, s.weight[t])
				continue
			}
			kernel.MapScalar(kernel.Mul, tmp[:len(d)], x, s.weight[t])
			kernel.Map2(kernel.Add, d, d, tmp[:len(d)])
		}
	}
}
