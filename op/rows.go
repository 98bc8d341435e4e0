package op

import (
	"unsafe"

	"muster/internal/kernel"
	"muster/tensor"
)

// Axes: a tensor is seen as [P, n, Q], reduced or normalised along n; rows are P with Q = 1. C is the length of a row.

// floatsIn views scratch as float32. Scratch is at least 4-byte aligned: it lies in the arena.
func floatsIn(scratch []byte) []float32 {
	if len(scratch) < 4 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&scratch[0])), len(scratch)/4)
}

// rowKernel splits rows of cols elements over tasks.
func rowKernel(rows, cols int, f func(in, out []*tensor.Tensor, lo, hi int)) func(in, out []*tensor.Tensor, scratch []byte) {
	return rowKernelScratch(rows, cols, func(in, out []*tensor.Tensor, _ []byte, lo, hi int) { f(in, out, lo, hi) })
}

// rowKernelScratch is rowKernel for bodies that need the scratch.
func rowKernelScratch(rows, cols int, f func(in, out []*tensor.Tensor, scratch []byte, lo, hi int)) func(in, out []*tensor.Tensor, scratch []byte) {
	per := rowsPer(cols)
	return split((rows+per-1)/per, func(in, out []*tensor.Tensor, scratch []byte, task int) {
		f(in, out, scratch, task*per, min(rows, (task+1)*per))
	})
}

func softmaxKernel(p *Prep, P, n, Q int, logarithm bool) (Kernel, bool) {
	if p.In[0].DType != tensor.Float32 || n == 0 {
		return Kernel{}, false
	}
	if Q != 1 {
		return softmaxColumns(P, n, Q, logarithm), true
	}
	f := kernel.Softmax
	if logarithm {
		f = kernel.LogSoftmax
	}
	return Kernel{Over: 1, Run: rowKernel(P, n, func(in, out []*tensor.Tensor, lo, hi int) {
		f(out[0].Float32s()[lo*n:hi*n], in[0].Float32s()[lo*n:hi*n], hi-lo, n)
	})}, true
}

func softmaxGradKernel(p *Prep, P, n, Q int) (Kernel, bool) {
	if p.In[0].DType != tensor.Float32 || Q != 1 || n == 0 {
		return Kernel{}, false
	}
	return Kernel{Run: rowKernel(P, n, func(in, out []*tensor.Tensor, lo, hi int) {
		kernel.SoftmaxGrad(out[0].Float32s()[lo*n:hi*n], in[0].Float32s()[lo*n:hi*n], in[1].Float32s()[lo*n:hi*n], hi-lo, n)
	})}, true
}

func geluGradKernel(p *Prep) (Kernel, bool) {
	n := p.Out[0].Elems()
	if p.In[0].DType != tensor.Float32 || p.In[0].Elems() != n || p.In[1].Elems() != n {
		return Kernel{}, false
	}
	f := kernel.GeluGrad
	if p.Node.Str("approximate", "none") == "tanh" {
		f = kernel.GeluTanhGrad
	}
	return Kernel{Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
		lo, hi := bounds(n, task)
		f(out[0].Float32s()[lo:hi], in[0].Float32s()[lo:hi], in[1].Float32s()[lo:hi])
	})}, true
}

// layerNormKernel is for a scale and a bias of exactly the normalised shape.
func layerNormKernel(p *Prep) (Kernel, bool) {
	x := p.In[0]
	rows, C := normRows(x.Shape, p.Node.Int("axis", -1))
	if x.DType != tensor.Float32 || C == 0 || p.In[1].Elems() != C || p.in(2) != nil && p.In[2].Elems() != C {
		return Kernel{}, false
	}
	for _, i := range []int{1, 2} {
		if t := p.out(i); t != nil && t.DType != tensor.Float32 {
			return Kernel{}, false
		}
	}
	eps := p.Node.Float("epsilon", 1e-5)
	zeros := make([]float32, C)
	return Kernel{Run: rowKernel(rows, C, func(in, out []*tensor.Tensor, lo, hi int) {
		bias := zeros
		if len(in) > 2 && in[2] != nil {
			bias = in[2].Float32s()
		}
		kernel.LayerNorm(out[0].Float32s()[lo*C:hi*C], outPart(out, 1, lo, hi), outPart(out, 2, lo, hi), in[0].Float32s()[lo*C:hi*C],
			in[1].Float32s(), bias, hi-lo, C, eps)
	})}, true
}

// outPart returns elements lo to hi of output i, nil if it is unused.
func outPart(out []*tensor.Tensor, i, lo, hi int) []float32 {
	if i >= len(out) || out[i] == nil {
		return nil
	}
	return out[i].Float32s()[lo:hi]
}

// layerNormGradKernel computes dX row by row, and dScale and dBias by blocks of rows whose
// partial sums are added in ascending order.
func layerNormGradKernel(p *Prep) (Kernel, bool) {
	x := p.In[1]
	rows, C := normRows(x.Shape, p.Node.Int("axis", -1))
	if x.DType != tensor.Float32 || C == 0 || rows == 0 || p.In[2].Elems() != C || p.In[3].Elems() != rows {
		return Kernel{}, false
	}
	for _, t := range p.In {
		if t.DType != tensor.Float32 {
			return Kernel{}, false
		}
	}
	for i, n := range []int{rows * C, C, C} {
		if t := p.out(i); t != nil && t.Elems() != n {
			return Kernel{}, false
		}
	}
	blocks := (rows + foldBlock - 1) / foldBlock
	dx := rowKernel(rows, C, func(in, out []*tensor.Tensor, lo, hi int) {
		kernel.LayerNormGrad(out[0].Float32s()[lo*C:hi*C], in[0].Float32s()[lo*C:hi*C], in[1].Float32s()[lo*C:hi*C], in[2].Float32s(),
			in[3].Float32s()[lo:hi], in[4].Float32s()[lo:hi], hi-lo, C)
	})
	parts := split(blocks, func(in, _ []*tensor.Tensor, scratch []byte, b int) {
		s := floatsIn(scratch)[2*b*C : 2*(b+1)*C]
		clear(s)
		lo, hi := b*foldBlock, min(rows, (b+1)*foldBlock)
		kernel.LayerNormParamGrad(s[:C], s[C:], in[0].Float32s()[lo*C:hi*C], in[1].Float32s()[lo*C:hi*C],
			in[3].Float32s()[lo:hi], in[4].Float32s()[lo:hi], hi-lo, C)
	})
	return Kernel{Scratch: 8*blocks*C + 64, Run: func(in, out []*tensor.Tensor, scratch []byte) {
		if out[0] != nil {
			dx(in, out, scratch)
		}
		if outPart(out, 1, 0, 0) == nil && outPart(out, 2, 0, 0) == nil {
			return
		}
		parts(in, out, scratch)
		s := floatsIn(scratch)
		for i := 1; i <= 2; i++ {
			y := outPart(out, i, 0, C)
			if y == nil {
				continue
			}
			clear(y)
			for b := 0; b < blocks; b++ {
				kernel.Map2(kernel.Add, y, y, s[(2*b+i-1)*C:(2*b+i)*C])
			}
		}
	}}, true
}

// adamKernel updates copies of the parameter and its moments.
func adamKernel(p *Prep) (Kernel, bool) {
	n := p.In[0].Elems()
	if p.In[0].DType != tensor.Float32 || p.In[4].DType != tensor.Float32 || len(p.Out) < 3 || p.Out[0] == nil || p.Out[1] == nil || p.Out[2] == nil {
		return Kernel{}, false
	}
	a := adamOf(p.Node)
	scaled := p.in(6) != nil
	s := kernel.AdamWStep{Beta1: float32(a.beta1), Beta2: float32(a.beta2), Eps: float32(a.eps), WeightDecay: float32(a.decay)}
	return Kernel{Same: true, Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
		lo, hi := bounds(n, task)
		for i := 0; i < 3; i++ {
			if o, from := out[i].Float32s()[lo:hi], in[i].Float32s()[lo:hi]; len(o) > 0 && &o[0] != &from[0] {
				copy(o, from)
			}
		}
		step := s
		step.LR, step.Step = in[4].Float32s()[0], int64(in[5].Float(0))
		x, m, v, g := out[0].Float32s()[lo:hi], out[1].Float32s()[lo:hi], out[2].Float32s()[lo:hi], in[3].Float32s()[lo:hi]
		if scaled {
			adamScaled(x, m, v, g, in[6].Float32s()[0], step)
		} else {
			kernel.AdamW(x, m, v, g, step)
		}
	})}, true
}

// adamScaled is AdamW with the gradient c g, piece by piece.
func adamScaled(x, m, v, g []float32, c float32, step kernel.AdamWStep) {
	var piece [1024]float32
	for len(g) > 0 {
		n := min(len(g), len(piece))
		kernel.MapScalar(kernel.Mul, piece[:n], g[:n], c)
		kernel.AdamW(x[:n], m[:n], v[:n], piece[:n], step)
		x, m, v, g = x[n:], m[n:], v[n:], g[n:]
	}
}

// quantizeKernel is for one scale and a uint8 output.
func quantizeKernel(p *Prep) (Kernel, bool) {
	n := p.Out[0].Elems()
	if p.In[0].DType != tensor.Float32 || p.Out[0].DType != tensor.Uint8 || p.In[1].DType != tensor.Float32 || p.In[1].Elems() != 1 || p.in(2) != nil && p.In[2].Elems() != 1 {
		return Kernel{}, false
	}
	return Kernel{Integer: true, Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
		lo, hi := bounds(n, task)
		zero := uint8(0)
		if len(in) > 2 && in[2] != nil {
			zero = in[2].Uint8s()[0]
		}
		kernel.QuantizeU8(out[0].Uint8s()[lo:hi], in[0].Float32s()[lo:hi], in[1].Float32s()[0], zero)
	})}, true
}

// dequantizeKernel is for one scale and 8-bit input.
func dequantizeKernel(p *Prep) (Kernel, bool) {
	n, d := p.Out[0].Elems(), p.In[0].DType
	if p.Out[0].DType != tensor.Float32 || p.In[1].DType != tensor.Float32 || d != tensor.Uint8 && d != tensor.Int8 || p.In[1].Elems() != 1 || p.in(2) != nil && p.In[2].Elems() != 1 {
		return Kernel{}, false
	}
	return Kernel{Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
		lo, hi := bounds(n, task)
		zero := float32(0)
		if len(in) > 2 && in[2] != nil {
			zero = float32(in[2].Float(0))
		}
		kernel.FromBytes(out[0].Float32s()[lo:hi], in[0].Data[lo:hi], d == tensor.Int8, zero, in[1].Float32s()[0])
	})}, true
}

// qlinearKernel multiplies integers exactly, then scales: y = acc * (x_scale w_scale[n]) + bias[n].
func qlinearKernel(p *Prep, requant bool) (Kernel, bool) {
	x, w := p.In[0], p.In[3]
	if w.Data == nil || p.In[1].Data == nil || p.In[4].Data == nil || len(w.Shape) != 2 || p.in(2) != nil && p.In[2].Data == nil || p.in(5) != nil && p.In[5].Data == nil {
		return Kernel{}, false
	}
	K, N := w.Shape[0], w.Shape[1]
	if K == 0 || N == 0 || K >= 1<<16 {
		return Kernel{}, false
	}
	g := kernel.QGemm{M: x.Elems() / K, N: N, K: K, LDA: K, B: kernel.PackQB(w.Int8s(), N, false, N, K), LDY: N, LDQ: N,
		Scale: make([]float32, N), Bias: make([]float32, N)}
	if z := p.in(2); z != nil {
		g.ZeroA = z.Uint8s()[0]
	}
	for i := range g.Scale {
		g.Scale[i] = p.In[1].Float32s()[0] * p.In[4].Float32s()[i]
	}
	if t := p.in(5); t != nil {
		copy(g.Bias, t.Float32s())
	}
	return Kernel{Integer: true, Scratch: g.ScratchBytes(), Run: func(in, out []*tensor.Tensor, scratch []byte) {
		g.A = in[0].Uint8s()
		if requant {
			g.Q, g.ScaleQ, g.ZeroQ = out[0].Uint8s(), in[6].Float32s()[0], 0
			if len(in) > 7 && in[7] != nil {
				g.ZeroQ = in[7].Uint8s()[0]
			}
		} else {
			g.Y = out[0].Float32s()
		}
		g.Run(scratch)
	}}, true
}
