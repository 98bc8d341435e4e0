package op

import (
	"muster/graph"
	"muster/tensor"
)

var opGather = Op{
	Name: "Gather", Since: 1, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1, Attrs: "axis",
	Infer: func(c *InferCall) error {
		if err := c.wantIndex(1); err != nil {
			return err
		}
		x, idx := c.In[0].Shape, c.In[1].Shape
		if x == nil || idx == nil {
			c.Set(0, c.In[0].DType, nil)
			return nil
		}
		at, err := axis(c.Node.Place(), c.Node.Int("axis", 0), len(x))
		if err != nil {
			return err
		}
		out := append([]graph.Dim{}, x[:at]...)
		out = append(append(out, idx...), x[at+1:]...)
		c.Set(0, c.In[0].DType, out)
		return nil
	},
	Ref: func(c *Call) error {
		if err := gatherCheck(c.In[0], c.In[1], c.Node.Int("axis", 0)); err != nil {
			return err
		}
		gather(c.Out[0], c.In[0], c.In[1], wrap(c.Node.Int("axis", 0), len(c.In[0].Shape)))
		return nil
	},
	Grad: func(c *GradCall) []*graph.Value {
		return one(c.B.Node(graph.Domain, "GatherGrad", 1,
			[]*graph.Value{c.DOut[0], c.In[1], shapeOf(c.B, c.In[0])}, graph.Int("axis", c.Node.Int("axis", 0)))[0])
	},
	Prepare: gatherKernel,
}

// index is element i of an index tensor.
func index(t *tensor.Tensor, i int) int64 {
	if t.DType == tensor.Int32 {
		return int64(t.Int32s()[i])
	}
	return t.Int64s()[i]
}

// gatherCheck refuses indices outside the axis.
func gatherCheck(x, idx *tensor.Tensor, a int64) error {
	n := int64(x.Shape[wrap(a, len(x.Shape))])
	return indexCheck(idx, n)
}

func indexCheck(idx *tensor.Tensor, n int64) error {
	if idx.DType == tensor.Int32 {
		return rangeCheck(idx.Int32s(), n)
	}
	return rangeCheck(idx.Int64s(), n)
}

// gather copies the rows idx of axis at: x [P, n, Q], idx [K], out [P, K, Q].
func gather(out, x, idx *tensor.Tensor, at int) {
	P, n, K := x.Shape[:at].Elems(), x.Shape[at], idx.Elems()
	q := x.DType.Bytes(x.Shape[at+1:].Elems())
	for p := 0; p < P; p++ {
		for k := 0; k < K; k++ {
			i := wrap(index(idx, k), n)
			copy(out.Data[(p*K+k)*q:(p*K+k+1)*q], x.Data[(p*n+i)*q:])
		}
	}
}

// GatherGrad(dY, Indices, Shape, Base) adds the rows of dY up where Gather took them
// from: dX has the given shape; dX[p, Indices[k], q] = Base[p, Indices[k], q] + sum over k of dY[p, k, q], in the order of k.
// Base has the given shape too; without it the sums start at 0.
var opGatherGrad = Op{
	Domain: graph.Domain, Name: "GatherGrad", Since: 1, MinIn: 3, MaxIn: 4, MinOut: 1, MaxOut: 1,
	Attrs: "axis", Defaults: []graph.Attr{graph.Int("axis", 0)},
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.wantIndex(1), c.wantType(2, tensor.Int64)); err != nil {
			return err
		}
		s, err := c.shapeFrom(2)
		if err != nil || s == nil {
			c.Set(0, c.In[0].DType, nil)
			return err
		}
		at, err := axis(c.Node.Place(), c.Node.Int("axis", 0), len(s))
		if err != nil {
			return err
		}
		if err := firstErr(c.wantType(3, c.In[0].DType), c.has(3, s)); err != nil {
			return err
		}
		c.Set(0, c.In[0].DType, s)
		want := append([]graph.Dim{}, s[:at]...)
		want = append(append(want, c.In[1].Shape...), s[at+1:]...)
		a, ok1 := known(want)
		b, ok2 := known(c.In[0].Shape)
		if c.In[0].Shape != nil && c.In[1].Shape != nil && ok1 && ok2 && a != b {
			return c.Errorf("dY is %v, want %v", c.In[0].Shape, want)
		}
		return nil
	},
	Ref: func(c *Call) error {
		a := c.Node.Int("axis", 0)
		if err := gatherCheck(c.Out[0], c.In[1], a); err != nil {
			return err
		}
		v := make([]float64, c.Out[0].Elems())
		if base := c.in(3); base != nil {
			v = floats(base)
		}
		scatter(v, floats(c.In[0]), c.In[1], c.Out[0].Shape, wrap(a, len(c.Out[0].Shape)))
		setFloats(c.Out[0], v)
		return nil
	},
	// A matrix product with the one-hot rows of the indices.
	Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
		dy, idx, shape := in[0], in[1], in[2]
		at := n.Int("axis", 0)
		size := b.Op("Gather", shape, b.Init("const", tensor.OfInt64([]int64{at}))) // scalar
		flat := reshape(b, idx, -1)
		values := concat(b, b.Unsqueeze(fill(b, dy, 0), 0), b.Unsqueeze(fill(b, dy, 1), 0))
		hot := b.OpA("OneHot", []graph.Attr{graph.Int("axis", 0)}, flat, size, values) // [n, K]
		// Slice counts negative axes from the end, as Gather does.
		lead := b.OpA("ReduceProd", []graph.Attr{graph.Int("keepdims", 1)}, b.Op("Slice", shape, b.Ints(0), b.Ints(at), b.Ints(0)))
		rows := b.Op("Shape", flat)
		tail := b.Ints(1)
		if at != -1 {
			tail = b.OpA("ReduceProd", []graph.Attr{graph.Int("keepdims", 1)}, b.Op("Slice", shape, b.Ints(at+1), b.Ints(1<<30), b.Ints(0)))
		}
		rowsOf := reshapeTo(b, dy, concat(b, lead, rows, tail)) // [P, K, Q]
		dx := reshapeTo(b, b.Op("MatMul", hot, rowsOf), shape)
		return []*graph.Value{addAll(b, dx, optional(in, 3))}
	},
	Prepare: gatherGradKernel,
}

// scatter adds dy [P, K, Q] into dx [P, n, Q] at the rows idx [K] of axis at.
func scatter(dx, dy []float64, idx *tensor.Tensor, shape tensor.Shape, at int) {
	P, n, Q, K := shape[:at].Elems(), shape[at], shape[at+1:].Elems(), idx.Elems()
	for p := 0; p < P; p++ {
		for k := 0; k < K; k++ {
			d := dx[(p*n+wrap(index(idx, k), n))*Q:][:Q]
			for q, g := range dy[(p*K+k)*Q:][:Q] {
				d[q] += g
			}
		}
	}
}
