package op

import (
	"muster/graph"
)

func splitOp(since, maxIn int, attrs string) Op {
	return Op{
		Name: "Split", Since: since, MinIn: 1, MaxIn: maxIn, MinOut: 1, MaxOut: -1, Attrs: attrs,
		Infer: func(c *InferCall) error {
			in := c.In[0].Shape
			if in == nil {
				for i := range c.Out {
					c.Set(i, c.In[0].DType, nil)
				}
				return nil
			}
			at, err := axis(c.Node.Place(), c.Node.Int("axis", 0), len(in))
			if err != nil {
				return err
			}
			sizes, err := c.parts(in[at])
			if err != nil {
				return err
			}
			for i := range c.Out {
				s := append([]graph.Dim{}, in...)
				s[at] = sizes[i]
				c.Set(i, c.In[0].DType, s)
			}
			return nil
		},
		Ref: func(c *Call) error {
			at := wrap(c.Node.Int("axis", 0), len(c.In[0].Shape))
			lead, row := chunkOf(c.In[0], at)
			pos := 0
			for _, t := range c.Out {
				if t == nil { // only when all parts are equal can its size be told
					return c.errorf("an output is unused")
				}
				_, n := chunkOf(t, at)
				for i := 0; i < lead; i++ {
					copy(t.Data[i*n:(i+1)*n], c.In[0].Data[i*row+pos:])
				}
				pos += n
			}
			return nil
		},
		Grad: func(c *GradCall) []*graph.Value {
			parts := make([]*graph.Value, len(c.Out))
			for i, y := range c.Out {
				if parts[i] = c.DOut[i]; parts[i] == nil {
					parts[i] = ZerosLike(c.B, y)
				}
			}
			return one(c.B.OpA("Concat", []graph.Attr{graph.Int("axis", c.Node.Int("axis", 0))}, parts...))
		},
		Prepare: splitKernel,
	}
}

// parts returns the size of every output along the split axis d.
func (c *InferCall) parts(d graph.Dim) ([]graph.Dim, error) {
	n := len(c.Out)
	for _, o := range c.Out {
		if o == nil {
			return nil, c.unsupported("a Split with an unused output is not supported")
		}
	}
	if k := c.Node.Int("num_outputs", int64(n)); k != int64(n) {
		return nil, c.Errorf("num_outputs is %d, the node has %d", k, n)
	}
	sizes, ok := listOf(c.Node, 1, c.Const(1), "split")
	switch {
	case !ok:
		out := unknown(n)
		if l, ok := c.list(1); ok && len(l) == n {
			for i := range out {
				out[i] = l[i].dim()
			}
		}
		return out, nil
	case sizes != nil:
		return c.given(sizes, d)
	case n == 1:
		return []graph.Dim{d}, nil
	case !d.Known():
		return unknown(n), nil
	}
	each := (d.Size + n - 1) / n
	out := make([]graph.Dim, n)
	for i := range out {
		out[i] = graph.D(max(0, min(each, d.Size-i*each)))
	}
	if d.Size%n != 0 && c.Node.Attr("num_outputs") == nil {
		return nil, c.Errorf("an axis of %d is not split into %d equal parts", d.Size, n)
	}
	return out, nil
}

func (c *InferCall) given(sizes []int64, d graph.Dim) ([]graph.Dim, error) {
	if len(sizes) != len(c.Out) {
		return nil, c.Errorf("%d sizes for %d outputs", len(sizes), len(c.Out))
	}
	sum := int64(0)
	out := make([]graph.Dim, len(sizes))
	for i, s := range sizes {
		if s < 0 || s > maxElems {
			return nil, c.Errorf("a part has the size %d", s)
		}
		sum += s
		out[i] = graph.D(int(s))
	}
	if d.Known() && sum != int64(d.Size) {
		return nil, c.Errorf("the parts add up to %d, the axis is %d", sum, d.Size)
	}
	return out, nil
}

var (
	opSplit2  = splitOp(2, 1, "axis split")
	opSplit13 = splitOp(13, 2, "axis")
	opSplit18 = splitOp(18, 2, "axis num_outputs")
)
