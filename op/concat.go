package op

import (
	"muster/graph"
	"muster/tensor"
)

var opConcat = Op{
	Name: "Concat", Since: 4, MinIn: 1, MaxIn: -1, MinOut: 1, MaxOut: 1, Attrs: "axis",
	Infer: func(c *InferCall) error {
		if err := c.sameTypes(); err != nil {
			return err
		}
		var out []graph.Dim
		at := 0
		for i, v := range c.In {
			if v == nil {
				return c.Errorf("input %d is absent", i)
			}
			if v.Shape == nil {
				c.Set(0, c.In[0].DType, nil)
				return nil
			}
			if i == 0 {
				var err error
				if at, err = axis(c.Node.Place(), c.Node.Int("axis", 0), len(v.Shape)); err != nil {
					return err
				}
				out = append(out, v.Shape...)
				continue
			}
			if err := c.join(out, v.Shape, at); err != nil {
				return err
			}
		}
		c.Set(0, c.In[0].DType, out)
		return nil
	},
	Ref: func(c *Call) error {
		at := wrap(c.Node.Int("axis", 0), len(c.Out[0].Shape))
		lead, row := chunkOf(c.Out[0], at)
		pos := 0
		for _, t := range c.In {
			_, n := chunkOf(t, at)
			for i := 0; i < lead; i++ {
				copy(c.Out[0].Data[i*row+pos:i*row+pos+n], t.Data[i*n:])
			}
			pos += n
		}
		return nil
	},
	Grad: func(c *GradCall) []*graph.Value {
		if len(c.In) == 1 {
			return one(c.DOut[0])
		}
		at := wrap(c.Node.Int("axis", 0), len(c.Out[0].Shape))
		return splitTo(c.B, c.DOut[0], c.In, at)
	},
	Prepare: concatKernel,
}

// join adds the size of s along axis at to out; the other axes must agree.
func (c *InferCall) join(out, s []graph.Dim, at int) error {
	if len(s) != len(out) {
		return c.Errorf("ranks %d and %d are concatenated", len(out), len(s))
	}
	for i, d := range s {
		switch o := &out[i]; {
		case i == at && o.Known() && d.Known():
			o.Size += d.Size
			o.Name = ""
		case i == at:
			*o = graph.Dim{Size: -1}
		case o.Known() && d.Known() && o.Size != d.Size:
			return c.Errorf("axis %d is %d and %d", i, o.Size, d.Size)
		case d.Known() || o.Name == "" && !o.Known():
			*o = d
		}
	}
	return nil
}

// chunkOf returns how many contiguous chunks t has in front of axis at, and the bytes of one.
func chunkOf(t *tensor.Tensor, at int) (lead, size int) {
	return t.Shape[:at].Elems(), t.DType.Bytes(t.Shape[at:].Elems())
}

// splitTo cuts dy along an axis into the sizes that xs have there.
func splitTo(b *graph.Builder, dy *graph.Value, xs []*graph.Value, at int) []*graph.Value {
	attrs := []graph.Attr{graph.Int("axis", int64(at))}
	sizes, static := make([]int64, len(xs)), true
	for i, x := range xs {
		sizes[i] = int64(x.Shape[at].Size)
		static = static && x.Shape[at].Known()
	}
	switch {
	case b.Version() < 13:
		return b.Node("", "Split", len(xs), []*graph.Value{dy}, append(attrs, graph.Ints("split", sizes...))...)
	case static:
		return b.Node("", "Split", len(xs), []*graph.Value{dy, b.Ints(sizes...)}, attrs...)
	}
	var parts []*graph.Value
	for _, x := range xs {
		parts = append(parts, axisSize(b, x, at))
	}
	return b.Node("", "Split", len(xs), []*graph.Value{dy, b.OpA("Concat", []graph.Attr{graph.Int("axis", 0)}, parts...)}, attrs...)
}
