package op

import (
	"muster/graph"
	"muster/tensor"
)

// Axes: M rows of A, K the summed axis, N columns of B; the axes before are batches.

// matmulDims checks the operands of a MatMul and returns the output shape; nil if a rank is not known.
func (c *InferCall) matmulDims(a, b []graph.Dim) ([]graph.Dim, error) {
	if a == nil || b == nil {
		return nil, nil
	}
	if len(a) == 0 || len(b) == 0 {
		return nil, c.Errorf("a scalar operand")
	}
	vecA, vecB := len(a) == 1, len(b) == 1
	if vecA {
		a = []graph.Dim{graph.D(1), a[0]}
	}
	if vecB {
		b = []graph.Dim{b[0], graph.D(1)}
	}
	ka, kb := a[len(a)-1], b[len(b)-2]
	if ka.Known() && kb.Known() && ka.Size != kb.Size {
		return nil, c.Errorf("%v times %v", a, b)
	}
	out, err := c.broadcastDims(a[:len(a)-2], b[:len(b)-2])
	if err != nil {
		return nil, err
	}
	if !vecA {
		out = append(out, a[len(a)-2])
	}
	if !vecB {
		out = append(out, b[len(b)-1])
	}
	return out, nil
}

// matView is a matrix operand: its first element and its strides.
type matView struct{ base, row, col int }

// matmulViews lists for every batch of the output where A and B start, with M, K, N.
// transA and transB swap the last two axes of operands of rank 2 and more.
func matmulViews(sa, sb tensor.Shape, transA, transB bool) (as, bs []matView, M, K, N int) {
	da, db := sa, sb
	if len(da) == 1 {
		da, transA = tensor.Shape{1, sa[0]}, false
	}
	if len(db) == 1 {
		db, transB = tensor.Shape{sb[0], 1}, false
	}
	ra, rb := len(da), len(db)
	va, vb := matView{0, da[ra-1], 1}, matView{0, db[rb-1], 1}
	M, K, N = da[ra-2], da[ra-1], db[rb-1]
	if transA {
		va, M, K = matView{0, 1, da[ra-1]}, da[ra-1], da[ra-2]
	}
	if transB {
		vb, N = matView{0, 1, db[rb-1]}, db[rb-2]
	}
	batch := make(tensor.Shape, max(ra, rb)-2)
	for i := range batch {
		batch[i] = 1
		for _, s := range []tensor.Shape{da[:ra-2], db[:rb-2]} {
			if j := i - len(batch) + len(s); j >= 0 && s[j] != 1 {
				batch[i] = s[j]
			}
		}
	}
	sizeA, sizeB := da[ra-2]*da[ra-1], db[rb-2]*db[rb-1]
	for _, i := range broadcast(batch, da[:ra-2]) {
		as = append(as, matView{i * sizeA, va.row, va.col})
	}
	for _, i := range broadcast(batch, db[:rb-2]) {
		bs = append(bs, matView{i * sizeB, vb.row, vb.col})
	}
	return as, bs, M, K, N
}

// matmul is the reference: c = alpha * a b, in float64.
func matmul(a, b []float64, as, bs []matView, M, K, N int, alpha float64) []float64 {
	c := make([]float64, len(as)*M*N)
	for t := range as {
		for m := 0; m < M; m++ {
			row := c[(t*M+m)*N:][:N]
			for k := 0; k < K; k++ {
				x := a[as[t].base+m*as[t].row+k*as[t].col]
				for n := range row {
					row[n] += float64(x * b[bs[t].base+k*bs[t].row+n*bs[t].col])
				}
			}
			for n := range row {
				row[n] *= alpha
			}
		}
	}
	return c
}

// matmulInts is matmul in integers, with zero points subtracted: za by row, zb by column (one entry: for all).
func matmulInts(a, b []int64, as, bs []matView, M, K, N int, za, zb []int64) []int64 {
	at := func(z []int64, i int) int64 {
		switch len(z) {
		case 0:
			return 0
		case 1:
			return z[0]
		}
		return z[i]
	}
	c := make([]int64, len(as)*M*N)
	for t := range as {
		for m := 0; m < M; m++ {
			for k := 0; k < K; k++ {
				x := a[as[t].base+m*as[t].row+k*as[t].col] - at(za, m)
				for n := 0; n < N; n++ {
					c[(t*M+m)*N+n] += x * (b[bs[t].base+k*bs[t].row+n*bs[t].col] - at(zb, n))
				}
			}
		}
	}
	return c
}

// matmulFlops is 2 M N K per batch, read from the output and the summed axis of input 0 (or its transpose).
func matmulFlops(k func(s tensor.Shape) int) func(in, out []*graph.Value) int64 {
	return func(in, out []*graph.Value) int64 {
		a, _ := in[0].Static()
		c, _ := out[0].Static()
		if len(a) == 0 {
			return 0
		}
		return 2 * int64(c.Elems()) * int64(k(a))
	}
}

func lastAxis(s tensor.Shape) int { return s[len(s)-1] }

var opMatMul = Op{
	Name: "MatMul", Since: 1, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
	Infer: func(c *InferCall) error {
		if err := c.sameTypes(); err != nil {
			return err
		}
		if c.In[0].DType == tensor.Bool {
			return c.Errorf("the inputs are bool")
		}
		s, err := c.matmulDims(c.In[0].Shape, c.In[1].Shape)
		c.Set(0, c.In[0].DType, s)
		return err
	},
	Ref: func(c *Call) error {
		as, bs, M, K, N := matmulViews(c.In[0].Shape, c.In[1].Shape, false, false)
		if c.Out[0].DType.IsFloat() {
			setFloats(c.Out[0], matmul(floats(c.In[0]), floats(c.In[1]), as, bs, M, K, N, 1))
		} else {
			setInts(c.Out[0], matmulInts(ints(c.In[0]), ints(c.In[1]), as, bs, M, K, N, nil, nil))
		}
		return nil
	},
	Grad: matmulGrad,
	Prepare: func(p *Prep) (Kernel, bool) {
		if p.Out[0].DType == tensor.BFloat16 {
			return halfMatMul(p)
		}
		return matmulKernel(p, false, false, 1, nil, nil)
	},
	Flops: matmulFlops(lastAxis),
}

// matmulGrad: dA = dY B', dB = A' dY, where a vector operand is a matrix of one row or column.
func matmulGrad(c *GradCall) []*graph.Value {
	b, x, w, dy := c.B, c.In[0], c.In[1], c.DOut[0]
	if len(x.Shape) >= 2 && len(w.Shape) == 2 {
		return linearGrad(c)
	}
	y := append([]graph.Dim{}, c.Out[0].Shape...)
	if len(w.Shape) == 1 {
		w, dy = lift(b, w, 1), b.Unsqueeze(dy, -1)
		y = append(y, graph.D(1))
	}
	if len(x.Shape) == 1 {
		x, dy = lift(b, x, 0), b.Unsqueeze(dy, -2)
		y = append(y[:len(y)-1], graph.D(1), y[len(y)-1])
	}
	d := make([]*graph.Value, 2)
	for i, v := range []*graph.Value{x, w} {
		if !c.Need[i] {
			continue
		}
		g := b.Op("MatMul", swapLast(b, x, len(x.Shape)), dy)
		if i == 0 {
			g = b.Op("MatMul", dy, swapLast(b, w, len(w.Shape)))
		}
		full := &graph.Value{Shape: append(append([]graph.Dim{}, y[:len(y)-2]...), v.Shape[len(v.Shape)-2:]...)}
		g = c.sumLead(g, full, v, 2)
		if len(c.In[i].Shape) == 1 && g != nil {
			g = b.Squeeze(g, int64(i)) // x was a row, w a column
		}
		d[i] = g
	}
	return d
}

// lift makes a vector a matrix; its shape is set so that rules can go on with it.
func lift(b *graph.Builder, v *graph.Value, at int64) *graph.Value {
	m := b.Unsqueeze(v, at)
	m.DType = v.DType
	m.Shape = []graph.Dim{graph.D(1), v.Shape[0]}
	if at == 1 {
		m.Shape = []graph.Dim{v.Shape[0], graph.D(1)}
	}
	return m
}

// linearGrad is for x [..., K] times w [K, N]: the axes before K are one long axis of rows.
func linearGrad(c *GradCall) []*graph.Value {
	b, x, w, dy := c.B, c.In[0], c.In[1], c.DOut[0]
	d := make([]*graph.Value, 2)
	if c.Need[0] {
		d[0] = b.Op("MatMul", dy, swapLast(b, w, 2))
	}
	if c.Need[1] {
		if len(x.Shape) > 2 {
			x, dy = rows(b, x, x), rows(b, dy, c.Out[0])
		}
		d[1] = b.OpA("Gemm", []graph.Attr{graph.Int("transA", 1)}, x, dy)
	}
	return d
}

// rows flattens v, which has the shape of like, to a matrix of its last axis.
func rows(b *graph.Builder, v, like *graph.Value) *graph.Value {
	if last := like.Shape[len(like.Shape)-1]; last.Known() && last.Size > 0 {
		return reshape(b, v, -1, int64(last.Size))
	}
	return b.OpA("Flatten", []graph.Attr{graph.Int("axis", int64(len(like.Shape)-1))}, v)
}
