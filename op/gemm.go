package op

import (
	"muster/graph"
	"muster/tensor"
)

// Gemm is Y = alpha A' B' + beta C with A' [M, K], B' [K, N] and C broadcast to [M, N].
var opGemm = Op{
	Name: "Gemm", Since: 7, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: "alpha beta transA transB",
	Infer: func(c *InferCall) error {
		if err := firstErr(c.sameTypes(), c.wantRank(0, 2), c.wantRank(1, 2)); err != nil {
			return err
		}
		if c.In[0].DType == tensor.Bool {
			return c.Errorf("the inputs are bool")
		}
		a, b := swapped(c.In[0].Shape, c.Node.Int("transA", 0)), swapped(c.In[1].Shape, c.Node.Int("transB", 0))
		if a[1].Known() && b[0].Known() && a[1].Size != b[0].Size {
			return c.Errorf("%v times %v", a, b)
		}
		out := []graph.Dim{a[0], b[1]}
		if v := c.in(2); v != nil && v.Shape != nil {
			s, err := c.broadcastDims(out, v.Shape)
			if err != nil {
				return err
			}
			for i := range out {
				if len(s) > 2 || out[i].Known() && s[i].Known() && out[i].Size != s[i].Size {
					return c.Errorf("C %v does not broadcast to %v", v.Shape, out)
				}
			}
		}
		c.Set(0, c.In[0].DType, out)
		return nil
	},
	Ref: func(c *Call) error {
		as, bs, M, K, N := matmulViews(c.In[0].Shape, c.In[1].Shape, c.Node.Int("transA", 0) != 0, c.Node.Int("transB", 0) != 0)
		alpha, beta := float64(c.Node.Float("alpha", 1)), float64(c.Node.Float("beta", 1))
		y := matmul(floats(c.In[0]), floats(c.In[1]), as, bs, M, K, N, alpha)
		if t := c.in(2); t != nil {
			v := floats(t)
			for i, j := range broadcast(c.Out[0].Shape, t.Shape) {
				y[i] += float64(beta * v[j])
			}
		}
		if c.Out[0].DType.IsFloat() {
			setFloats(c.Out[0], y)
		} else {
			setInts(c.Out[0], truncate(y))
		}
		return nil
	},
	Grad:    gemmGrad,
	Prepare: gemmKernel,
	Flops: func(in, out []*graph.Value) int64 {
		a, _ := in[0].Static()
		c, _ := out[0].Static()
		if len(c) == 0 || c[0] == 0 {
			return 0
		}
		return 2 * int64(c.Elems()) * int64(a.Elems()/c[0])
	},
}

// swapped is a matrix shape with its axes swapped if trans is set; unknown if the rank is not known.
func swapped(s []graph.Dim, trans int64) []graph.Dim {
	if s == nil {
		return unknown(2)
	}
	return swapEnd(s, trans)
}

// gemmGrad writes dA and dB as Gemms: with A' = A: dA = alpha dY B'^T; transposed: dA = alpha B' dY^T.
func gemmGrad(c *GradCall) []*graph.Value {
	b, n, dy := c.B, c.Node, c.DOut[0]
	tA, tB := n.Int("transA", 0), n.Int("transB", 0)
	alpha := graph.Float("alpha", n.Float("alpha", 1))
	gemm := func(x, y *graph.Value, tx, ty int64) *graph.Value {
		return b.OpA("Gemm", []graph.Attr{alpha, graph.Int("transA", tx), graph.Int("transB", ty)}, x, y)
	}
	d := make([]*graph.Value, len(c.In))
	switch {
	case c.Need[0] && tA == 0:
		d[0] = gemm(dy, c.In[1], 0, 1-tB)
	case c.Need[0]:
		d[0] = gemm(c.In[1], dy, tB, 1)
	}
	switch {
	case c.Need[1] && tB == 0:
		d[1] = gemm(c.In[0], dy, 1-tA, 0)
	case c.Need[1]:
		d[1] = gemm(dy, c.In[0], 1, tA)
	}
	if len(c.In) > 2 && c.In[2] != nil && c.Need[2] {
		d[2] = c.sumTo(dy, c.Out[0], c.In[2])
		if beta := n.Float("beta", 1); beta != 1 && d[2] != nil {
			d[2] = b.Op("Mul", d[2], fill(b, c.In[2], float64(beta)))
		}
	}
	return d
}

// FusedMatMul of com.microsoft: MatMul of operands whose last two axes may be swapped, times alpha.
var opFusedMatMul = Op{
	Domain: "com.microsoft", Name: "FusedMatMul", Since: 1, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
	Attrs: "alpha transA transB transBatchA transBatchB",
	Infer: func(c *InferCall) error {
		if c.Node.Int("transBatchA", 0) != 0 || c.Node.Int("transBatchB", 0) != 0 {
			return c.unsupported("transBatchA and transBatchB are not supported")
		}
		if err := firstErr(c.wantFloat(0), c.sameTypes()); err != nil {
			return err
		}
		s, err := c.matmulDims(swapEnd(c.In[0].Shape, c.Node.Int("transA", 0)), swapEnd(c.In[1].Shape, c.Node.Int("transB", 0)))
		c.Set(0, c.In[0].DType, s)
		return err
	},
	Ref: func(c *Call) error {
		as, bs, M, K, N := matmulViews(c.In[0].Shape, c.In[1].Shape, c.Node.Int("transA", 0) != 0, c.Node.Int("transB", 0) != 0)
		setFloats(c.Out[0], matmul(floats(c.In[0]), floats(c.In[1]), as, bs, M, K, N, float64(c.Node.Float("alpha", 1))))
		return nil
	},
	Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
		x := []*graph.Value{in[0], in[1]}
		for i, name := range []string{"transA", "transB"} {
			if r := len(x[i].Shape); n.Int(name, 0) != 0 && r >= 2 {
				x[i] = swapLast(b, x[i], r)
			}
		}
		return one(b.Op("Mul", b.Op("MatMul", x...), param(b, n, in[0], "alpha", 1)))
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		return matmulKernel(p, p.Node.Int("transA", 0) != 0, p.Node.Int("transB", 0) != 0, p.Node.Float("alpha", 1), nil, nil)
	},
	Flops: func(in, out []*graph.Value) int64 {
		a, _ := in[0].Static()
		c, _ := out[0].Static()
		if len(a) < 2 || len(c) == 0 {
			return 2 * int64(a.Elems())
		}
		// K is what remains of A's matrix beside M, which the output has too (or not, if B is a vector).
		m := c[len(c)-1]
		if len(c) > 1 {
			m = c[len(c)-2]
		}
		if m == 0 {
			return 0
		}
		return 2 * int64(c.Elems()) * int64(a[len(a)-1]*a[len(a)-2]/m)
	},
}

// swapEnd is a shape with its last two axes swapped if trans is set.
func swapEnd(s []graph.Dim, trans int64) []graph.Dim {
	if trans == 0 || len(s) < 2 {
		return s
	}
	out := append([]graph.Dim{}, s...)
	out[len(s)-1], out[len(s)-2] = s[len(s)-2], s[len(s)-1]
	return out
}
