package op

import (
	"math"

	"muster/internal/kernel"
	"muster/tensor"
)

// Axes: those of product.go.

// halfMatMul is the product of bfloat16 matrices: exact products, sums in float32, one rounding at the end.
func halfMatMul(p *Prep) (Kernel, bool) {
	wide := func(t *tensor.Tensor) *tensor.Tensor { return &tensor.Tensor{DType: tensor.Float32, Shape: t.Shape} }
	a, b, c := p.In[0].Elems(), p.In[1].Elems(), p.Out[0].Elems()
	r, ok := newProduct(&Prep{Node: p.Node, In: []*tensor.Tensor{wide(p.In[0]), wide(p.In[1])}, Out: []*tensor.Tensor{wide(p.Out[0])}}, false, false)
	if !ok {
		return Kernel{}, false
	}
	r.g.Half = true
	r.scratch = (r.g.ScratchBytes() + 63) &^ 63
	var konst []float32 // B as float32, if it is constant
	if p.In[1].Data != nil {
		konst = make([]float32, b)
		fromBF16(konst, p.In[1].Uint16s())
		b = 0
	}
	part := func(s []byte, from, n int) []float32 { return floatsIn(s[r.scratch:])[from : from+n] }
	spread := func(n int, f func(in, out []*tensor.Tensor, s []byte, lo, hi int)) func(in, out []*tensor.Tensor, s []byte) {
		return split(tasksFor(n), func(in, out []*tensor.Tensor, s []byte, t int) {
			lo, hi := bounds(n, t)
			f(in, out, s, lo, hi)
		})
	}
	widenA := spread(a, func(in, _ []*tensor.Tensor, s []byte, lo, hi int) {
		fromBF16(part(s, lo, hi-lo), in[0].Uint16s()[lo:hi])
	})
	widenB := spread(b, func(in, _ []*tensor.Tensor, s []byte, lo, hi int) {
		fromBF16(part(s, a+lo, hi-lo), in[1].Uint16s()[lo:hi])
	})
	narrow := spread(c, func(_, out []*tensor.Tensor, s []byte, lo, hi int) {
		kernel.NarrowBF16(out[0].Uint16s()[lo:hi], part(s, a+b+lo, hi-lo))
	})
	return Kernel{Scratch: r.scratch + 4*(a+b+c) + 64, Run: func(in, out []*tensor.Tensor, s []byte) {
		widenA(in, out, s)
		w := konst
		if w == nil {
			widenB(in, out, s)
			w = part(s, a, b)
		}
		r.run(part(s, 0, a), w, part(s, a+b, c), nil, s[:r.scratch])
		narrow(in, out, s)
	}}, true
}

// fromBF16 turns the bits of bfloat16 into float32.
func fromBF16(dst []float32, src []uint16) {
	for i, v := range src {
		dst[i] = math.Float32frombits(uint32(v) << 16)
	}
}
