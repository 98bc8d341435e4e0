package op

import (
	"muster/internal/kernel"
	"muster/tensor"
)

// Axes: C [M, N] = A [M, K] B [K, N].

// matrices is a prepared f32 matrix product: one Gemm, run once for a batch with
// even strides or once per matrix otherwise.
type matrices struct {
	g       kernel.Gemm
	as, bs  []matView // starts of the operands if the strides are not even
	size    int       // M N
	scratch int
}

// newProduct chooses the form for these shapes; ok is false for other types.
func newProduct(p *Prep, transA, transB bool) (matrices, bool) {
	a, b := p.In[0], p.In[1]
	if p.Out[0].DType != tensor.Float32 || len(a.Shape) == 0 || len(b.Shape) == 0 {
		return matrices{}, false
	}
	as, bs, M, K, N := matmulViews(a.Shape, b.Shape, transA, transB)
	r := matrices{g: kernel.Gemm{M: M, N: N, K: K, LDC: N, Batch: len(as), StrideC: M * N, Half: lowPrecision(p.Node)}, size: M * N}
	if len(as) == 0 {
		r.g.M = 0
		return r, true
	}
	r.g.LDA, r.g.TransA = leading(as[0], M, K)
	r.g.LDB, r.g.TransB = leading(bs[0], K, N)
	evenA, evenB := even(as, &r.g.StrideA), even(bs, &r.g.StrideB)
	switch {
	case evenA && evenB && r.g.StrideB == 0 && !r.g.TransA && r.g.StrideA == M*K:
		// All rows of A meet the same B: one tall product.
		r.g.M, r.g.Batch, r.g.StrideA, r.g.StrideC = M*len(as), 1, 0, 0
	case !evenA || !evenB:
		r.as, r.bs, r.g.Batch, r.g.StrideA, r.g.StrideB, r.g.StrideC = as, bs, 1, 0, 0, 0
	}
	if b.Data != nil && r.g.StrideB == 0 && r.bs == nil && K > 0 && !r.g.Half {
		r.g.Packed = kernel.PackB(b.Float32s(), r.g.LDB, r.g.TransB, N, K)
	}
	r.scratch = r.g.ScratchBytes()
	return r, true
}

// leading returns the leading dimension of a rows x cols matrix, and whether it is stored transposed.
func leading(v matView, rows, cols int) (ld int, trans bool) {
	if v.col == 1 && (v.row != 1 || cols <= 1) {
		return max(v.row, cols), false
	}
	return max(v.col, rows), true
}

// even reports whether the matrices are a constant stride apart.
func even(v []matView, stride *int) bool {
	if len(v) < 2 {
		return true
	}
	*stride = v[1].base - v[0].base
	for i := range v {
		if v[i].base != i**stride {
			return false
		}
	}
	return true
}

// run computes c = a b (+ bias).
func (r *matrices) run(a, b, c, bias []float32, scratch []byte) {
	r.g.Bias = bias
	if r.as == nil {
		r.g.A, r.g.B, r.g.C = a, b, c
		r.g.Run(scratch)
		return
	}
	for i := range r.as {
		r.g.A, r.g.B, r.g.C = a[r.as[i].base:], b[r.bs[i].base:], c[i*r.size:]
		r.g.Run(scratch)
	}
}

// matmulKernel is for MatMul, FusedMatMul and Linear: alpha a b + bias + residual and an activation, where
// what is added and the activation go with alpha 1 and a matrix b only.
func matmulKernel(p *Prep, transA, transB bool, alpha float32, bias, residual *tensor.Tensor) (Kernel, bool) {
	r, ok := newProduct(p, transA, transB)
	if !ok {
		return Kernel{}, false
	}
	n := p.Out[0].Elems()
	r.g.Post = post(p.Node)
	r.g.Post.LDR = r.g.N
	var scale func(in, out []*tensor.Tensor, scratch []byte)
	if alpha != 1 {
		scale = split(tasksFor(n), func(_, out []*tensor.Tensor, _ []byte, task int) {
			lo, hi := bounds(n, task)
			c := out[0].Float32s()[lo:hi]
			for i := range c {
				c[i] *= alpha
			}
		})
	}
	return Kernel{Scratch: r.scratch, Run: func(in, out []*tensor.Tensor, scratch []byte) {
		var b []float32
		if bias != nil {
			b = in[2].Float32s()
		}
		if residual != nil {
			r.g.Post.Residual = in[3].Float32s()
		}
		r.run(in[0].Float32s(), in[1].Float32s(), out[0].Float32s(), b, scratch)
		if scale != nil {
			scale(in, out, scratch)
		}
	}}, true
}

// gemmKernel adds C as the start of the sums where it is one row, in a second pass otherwise.
func gemmKernel(p *Prep) (Kernel, bool) {
	n := p.Node
	r, ok := newProduct(p, n.Int("transA", 0) != 0, n.Int("transB", 0) != 0)
	if !ok {
		return Kernel{}, false
	}
	alpha, beta := n.Float("alpha", 1), n.Float("beta", 1)
	M, N := p.Out[0].Shape[0], p.Out[0].Shape[1]
	c := p.in(2)
	row := c != nil && len(c.Shape) > 0 && alpha == 1 && beta == 1 && c.Elems() == N && lastAxis(c.Shape) == N
	var finish func(in, out []*tensor.Tensor, scratch []byte)
	if alpha != 1 || c != nil && !row {
		st := []int{0, 0}
		if c != nil {
			st = broadcastStrides(p.Out[0].Shape, c.Shape)
		}
		per := rowsPer(N)
		finish = split((M+per-1)/per, func(in, out []*tensor.Tensor, _ []byte, task int) {
			for i := task * per; i < min(M, (task+1)*per); i++ {
				y := out[0].Float32s()[i*N : (i+1)*N]
				if c == nil {
					scaleRow(y, alpha)
				} else {
					addScaled(y, in[2].Float32s(), i*st[0], st[1], alpha, beta)
				}
			}
		})
	}
	return Kernel{Scratch: r.scratch, Run: func(in, out []*tensor.Tensor, scratch []byte) {
		var bias []float32
		if row {
			bias = in[2].Float32s()
		}
		r.run(in[0].Float32s(), in[1].Float32s(), out[0].Float32s(), bias, scratch)
		if finish != nil {
			finish(in, out, scratch)
		}
	}}, true
}

func scaleRow(y []float32, alpha float32) {
	for i := range y {
		y[i] *= alpha
	}
}

// addScaled is y = alpha y + beta c. The products are converted so that no compiler fuses them with the sum.
func addScaled(y, c []float32, at, step int, alpha, beta float32) {
	for i := range y {
		y[i] = float32(alpha*y[i]) + float32(beta*c[at])
		at += step
	}
}
