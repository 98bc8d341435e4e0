package op

import (
	"muster/graph"
	"muster/tensor"
)

// GatherND(X, Indices [.., q]): Y[b, i] = X[b, Indices[b, i]] where b runs over batch_dims leading axes and
// a tuple of q indices names a block. muster.GatherND is the same operator in every opset.
func gatherNDOp(domain string, since int) Op {
	o := Op{
		Domain: domain, Name: "GatherND", Since: since, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1, Attrs: "batch_dims",
		Infer: func(c *InferCall) error {
			x, idx, batch := c.In[0].Shape, c.In[1].Shape, c.Node.Int("batch_dims", 0)
			if err := c.wantIndex(1); err != nil {
				return err
			}
			c.Set(0, c.In[0].DType, nil)
			if x == nil || idx == nil {
				return nil
			}
			if batch < 0 || int(batch) >= min(len(idx), len(x)) {
				return c.Errorf("%d batch axes for indices %v and data %v", batch, idx, x)
			}
			q := idx[len(idx)-1]
			if !q.Known() {
				return nil
			}
			at := int(batch) + q.Size
			if at > len(x) || at < 0 {
				return c.Errorf("indices %v for data %v", idx, x)
			}
			out := append([]graph.Dim{}, idx[:len(idx)-1]...)
			c.Set(0, c.In[0].DType, append(out, x[at:]...))
			return nil
		},
		Ref: func(c *Call) error {
			from, Q, err := blockPlaces(c.In[0].Shape, c.In[1], int(c.Node.Int("batch_dims", 0)))
			if err != nil {
				return err
			}
			q := c.In[0].DType.Bytes(Q)
			for i, f := range from {
				copy(c.Out[0].Data[i*q:(i+1)*q], c.In[0].Data[f*q/max(Q, 1):])
			}
			return nil
		},
		Grad:    gatherNDGrad,
		Prepare: gatherNDKernel,
	}
	if domain == graph.Domain {
		o.Defaults = []graph.Attr{graph.Int("batch_dims", 0)}
		o.Body = func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
			return one(b.OpA("GatherND", []graph.Attr{graph.Int("batch_dims", n.Int("batch_dims", 0))}, in...))
		}
	}
	return o
}

var (
	opGatherND       = gatherNDOp("", 11)
	opMusterGatherND = gatherNDOp(graph.Domain, 1)
)

// gatherNDGrad adds the blocks of dY up. Batch axes become one axis that the indices name too.
func gatherNDGrad(c *GradCall) []*graph.Value {
	b, x, idx, dy := c.B, c.In[0], c.In[1], c.DOut[0]
	add := func(x, idx, dy *graph.Value) *graph.Value {
		return b.Node(graph.Domain, "ScatterND", 1, []*graph.Value{x, idx, dy}, graph.Str("reduction", "add"))[0]
	}
	batch := int(c.Node.Int("batch_dims", 0))
	if batch == 0 {
		return one(add(ZerosLike(b, x), idx, dy))
	}
	tail := func(v *graph.Value) *graph.Value { // [B, the axes behind the batch]
		return b.Op("Slice", shapeOf(b, v), b.Ints(int64(batch)), b.Ints(1<<30), b.Ints(0))
	}
	flat := func(v *graph.Value) *graph.Value { return reshapeTo(b, v, concat(b, b.Ints(-1), tail(v))) }
	if n, ok := x.Static(); ok && n.Elems() == 0 {
		return one(ZerosLike(b, x))
	}
	fx, fi, fy := flat(ZerosLike(b, x)), flat(idx), flat(dy)
	r := len(idx.Shape) - batch + 1 // rank of fi
	size := func(v *graph.Value, lo, hi int64) *graph.Value {
		return b.Op("Slice", b.Op("Shape", v), b.Ints(lo), b.Ints(hi), b.Ints(0))
	}
	scalar := func(v *graph.Value) *graph.Value { return b.Op("Reshape", v, b.Ints()) }
	rows := b.Op("Range", scalar(b.Ints(0)), scalar(size(fi, 0, 1)), scalar(b.Ints(1)))
	column := make([]int64, r)
	for i := range column {
		column[i] = 1
	}
	column[0] = -1
	grid := b.Op("Expand", reshape(b, rows, column...), concat(b, size(fi, 0, int64(r-1)), b.Ints(1)))
	fi = cast(b, fi, tensor.Int64)
	full := b.OpA("Concat", []graph.Attr{graph.Int("axis", -1)}, grid, fi)
	return one(reshapeLike(b, add(fx, full, fy), x))
}
