package op

import (
	"muster/internal/kernel"
	"muster/tensor"
)

// intProduct is an exact product of 8-bit rows with one constant 8-bit matrix.
type intProduct struct {
	g       kernel.QGemm
	scratch int
}

// newIntProduct takes A [..., K] and a constant B [K, N], uint8 or int8, with a zero point of one element for A
// and constant ones for B. An unsigned B is shifted by 128, and its zero points with it.
func newIntProduct(a, b, zeroA, zeroB *tensor.Tensor) (intProduct, bool) {
	if len(a.Shape) < 2 || len(b.Shape) != 2 || b.Data == nil || zeroA != nil && (zeroA.Elems() != 1 || zeroA.DType != a.DType) || zeroB != nil && zeroB.Data == nil {
		return intProduct{}, false
	}
	K, N := b.Shape[0], b.Shape[1]
	if K == 0 || N == 0 || K >= 1<<16 || a.Elems() == 0 {
		return intProduct{}, false
	}
	shift := 0
	if b.DType == tensor.Uint8 {
		shift = 128
	}
	w := make([]int8, len(b.Data))
	for i, v := range b.Data {
		w[i] = int8(int(v) - shift)
	}
	g := kernel.QGemm{M: a.Elems() / K, N: N, K: K, LDA: K, B: kernel.PackQB(w, N, false, N, K), SignedA: a.DType == tensor.Int8}
	g.ZeroB = zeroPoints(maybeInts(zeroB), int64(shift), N)
	return intProduct{g: g, scratch: g.ScratchBytes()}, true
}

// zeroPoints are the zero points of n columns less shift, nil if all of them are 0.
func zeroPoints(z []int64, shift int64, n int) []int32 {
	out, any := make([]int32, n), false
	for i := range out {
		v := -shift
		switch {
		case len(z) == 1:
			v += z[0]
		case len(z) > 1:
			v += z[i]
		}
		out[i], any = int32(v), any || v != 0
	}
	if !any {
		return nil
	}
	return out
}

// run multiplies what is in A; where the result goes is set in g.
func (p *intProduct) run(a, zeroA *tensor.Tensor, scratch []byte) {
	p.g.ZeroA = 0
	if zeroA != nil {
		p.g.ZeroA = zeroA.Data[0]
	}
	p.g.A = a.Data
	p.g.Run(scratch)
}

// scales are factors of the sums of every column in scratch that belongs to one run.
type scales struct {
	col []float32 // [N]: of B
	at  int       // place in the scratch
}

// newScales is for a constant scale of B, one for all columns or one each, and scratch of a given size so far.
func newScales(b *tensor.Tensor, n int, scratch *int) (scales, bool) {
	if b.Data == nil || b.DType != tensor.Float32 || b.Elems() != 1 && b.Elems() != n {
		return scales{}, false
	}
	s := scales{col: make([]float32, n), at: (*scratch + 63) &^ 63}
	for i := range s.col {
		s.col[i] = b.Float32s()[min(i, b.Elems()-1)]
	}
	*scratch = s.at + 4*n
	return s, true
}

// times returns the factors if A has the scale a.
func (s *scales) times(a float32, scratch []byte) []float32 {
	v := floatsIn(scratch[s.at:])[:len(s.col)]
	kernel.MapScalar(kernel.Mul, v, s.col, a)
	return v
}

// optional is element i of a list of operands, nil if the list ends before it.
func optional[T any](in []T, i int) (x T) {
	if i < len(in) {
		return in[i]
	}
	return x
}

func matmulIntegerKernel(p *Prep) (Kernel, bool) {
	r, ok := newIntProduct(p.In[0], p.In[1], p.in(2), p.in(3))
	if !ok {
		return Kernel{}, false
	}
	r.g.LDC = r.g.N
	return Kernel{Integer: true, Scratch: r.scratch, Run: func(in, out []*tensor.Tensor, scratch []byte) {
		r.g.C = out[0].Int32s()
		r.run(in[0], optional(in, 2), scratch)
	}}, true
}

// qlinearMatMulKernel is for scalar parameters of A and of the result.
func qlinearMatMulKernel(p *Prep) (Kernel, bool) {
	r, ok := newIntProduct(p.In[0], p.In[3], p.In[2], p.In[5])
	if !ok {
		return Kernel{}, false
	}
	for _, i := range []int{1, 6, 7} {
		if p.In[i].Elems() != 1 {
			return Kernel{}, false
		}
	}
	size := r.scratch
	at := (size + 63) &^ 63
	size = at + 4*r.g.N
	r.g.LDQ, r.g.SignedQ, r.g.ScaleQ, r.g.Bias = r.g.N, p.Out[0].DType == tensor.Int8, 1, make([]float32, r.g.N)
	return Kernel{Integer: true, Scratch: size, Run: func(in, out []*tensor.Tensor, scratch []byte) {
		r.g.Scale = floatsIn(scratch[at:])[:r.g.N]
		for i := range r.g.Scale {
			r.g.Scale[i] = requantScale(in[1].Float(0), in[4].Float(min(i, in[4].Elems()-1)), in[6].Float(0))
		}
		r.g.Q, r.g.ZeroQ = out[0].Data, in[7].Data[0]
		r.run(in[0], in[2], scratch[:r.scratch])
	}}, true
}

// requantScale is the factor from sums to quantized results.
func requantScale(a, b, y float64) float32 { return float32(a * b / y) }
