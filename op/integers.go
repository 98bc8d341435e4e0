package op

import (
	"math"

	"muster/internal/kernel"
	"muster/tensor"
)

// intProduct is an exact uint8 by int8 matrix product of rows with one constant matrix.
type intProduct struct {
	g       kernel.QGemm
	scratch int
}

// newIntProduct takes A uint8 [..., K] and a constant symmetric B int8 [K, N]; B may be uint8 with a zero
// point of 128, which is the same after a shift.
func newIntProduct(a, b, zeroA, zeroB *tensor.Tensor) (intProduct, bool) {
	if a.DType != tensor.Uint8 || len(a.Shape) < 2 || len(b.Shape) != 2 || b.Data == nil || zeroA != nil && zeroA.Elems() != 1 || zeroB != nil && zeroB.Data == nil {
		return intProduct{}, false
	}
	K, N := b.Shape[0], b.Shape[1]
	if K == 0 || N == 0 || K >= 1<<16 {
		return intProduct{}, false
	}
	shift := 0
	if b.DType == tensor.Uint8 {
		shift = 128
	}
	if zeroB == nil && shift != 0 {
		return intProduct{}, false
	}
	if zeroB != nil {
		for _, z := range ints(zeroB) {
			if z != int64(shift) {
				return intProduct{}, false
			}
		}
	}
	w := make([]int8, len(b.Data))
	for i, v := range b.Data {
		w[i] = int8(int(v) - shift)
	}
	M := a.Elems() / K
	p := intProduct{g: kernel.QGemm{M: M, N: N, K: K, LDA: K, LDC: N, B: kernel.PackQB(w, N, false, N, K)}}
	p.scratch = p.g.ScratchBytes() + 64
	return p, true
}

func (p *intProduct) run(a, zeroA *tensor.Tensor, c []int32, scratch []byte) {
	p.g.ZeroA = 0
	if zeroA != nil {
		p.g.ZeroA = zeroA.Data[0]
	}
	p.g.A, p.g.C = a.Uint8s(), c
	p.g.Run(scratch)
}

func optional(in []*tensor.Tensor, i int) *tensor.Tensor {
	if i < len(in) {
		return in[i]
	}
	return nil
}

func matmulIntegerKernel(p *Prep) (Kernel, bool) {
	r, ok := newIntProduct(p.In[0], p.In[1], p.in(2), p.in(3))
	if !ok || p.in(2) != nil && p.In[2].DType != tensor.Uint8 {
		return Kernel{}, false
	}
	return Kernel{Integer: true, Scratch: r.scratch, Run: func(in, out []*tensor.Tensor, scratch []byte) {
		r.run(in[0], optional(in, 2), out[0].Int32s(), scratch)
	}}, true
}

// qlinearMatMulKernel scales the exact sums in float64, as the reference does.
func qlinearMatMulKernel(p *Prep) (Kernel, bool) {
	r, ok := newIntProduct(p.In[0], p.In[3], p.In[2], p.In[5])
	if !ok || p.In[2].DType != tensor.Uint8 {
		return Kernel{}, false
	}
	for _, i := range []int{1, 6, 7} {
		if p.In[i].Elems() != 1 {
			return Kernel{}, false
		}
	}
	M, N := r.g.M, r.g.N
	acc := 4*M*N + 64
	lo, hi := quantRange(p.Out[0].DType)
	signed := p.Out[0].DType == tensor.Int8
	finish := rowKernelScratch(M, N, func(in, out []*tensor.Tensor, scratch []byte, first, end int) {
		sums, y := int32sIn(scratch), out[0].Data
		sa, sy, zero := in[1].Float(0), in[6].Float(0), in[7].Float(0)
		for i := first * N; i < end*N; i++ {
			k := 0
			if in[4].Elems() > 1 {
				k = i % N
			}
			scale := sa * in[4].Float(k) / sy
			q := min(max(math.RoundToEven(float64(float32(float64(sums[i])*scale)))+zero, lo), hi)
			if signed {
				y[i] = byte(int8(q))
			} else {
				y[i] = byte(q)
			}
		}
	})
	return Kernel{Integer: true, Scratch: acc + r.scratch, Run: func(in, out []*tensor.Tensor, scratch []byte) {
		r.run(in[0], in[2], int32sIn(scratch)[:M*N], scratch[acc:])
		finish(in, out, scratch)
	}}, true
}
