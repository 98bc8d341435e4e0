package op

import (
	"muster/graph"
	"muster/tensor"
)

// Compress keeps the positions along `axis` (of the flattened input without one) whose condition is true. A
// condition that is shorter than the axis is false behind its end.
var opCompress = Op{
	Name: "Compress", Since: 9, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1, Attrs: "axis", Dynamic: true,
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantType(1, tensor.Bool), c.wantRank(1, 1)); err != nil {
			return err
		}
		x := c.In[0].Shape
		at, count := 0, graph.Dim{Size: -1}
		switch {
		case c.Node.Attr("axis") == nil:
			x = unknown(1)
			if n, ok := known(c.In[0].Shape); ok && c.In[0].Shape != nil {
				x = dims(n)
			}
		case x == nil:
			c.Set(0, c.In[0].DType, nil)
			return nil
		default:
			var err error
			if at, err = axis(c.Node.Place(), c.Node.Int("axis", 0), len(x)); err != nil {
				return err
			}
		}
		if t := c.Const(1); t != nil && x[at].Known() {
			n, err := kept(t, x[at].Size)
			if err != nil {
				return c.Errorf("%v", err)
			}
			count = graph.D(len(n))
		}
		out := append([]graph.Dim{}, x...)
		out[at] = count
		c.Set(0, c.In[0].DType, out)
		return nil
	},
	Ref: func(c *Call) error {
		shape, at := compressShape(c.Node, c.In[0].Shape)
		keep, err := kept(c.In[1], shape[at])
		if err != nil {
			return err
		}
		m := newAxisMap(shape)
		m.set(at, keep)
		m.copyRef(c.resize(0, m.out...), c.In[0], nil)
		return nil
	},
	// The kept positions are Gather's indices.
	Grad: func(c *GradCall) []*graph.Value {
		b, x := c.B, c.In[0]
		at := c.Node.Int("axis", 0)
		shape := shapeOf(b, x)
		if c.Node.Attr("axis") == nil {
			at, shape = 0, b.OpA("ReduceProd", []graph.Attr{graph.Int("keepdims", 1)}, shape)
		}
		places := reshape(b, b.Op("NonZero", c.In[1]), -1)
		d := b.Node(graph.Domain, "GatherGrad", 1, []*graph.Value{c.DOut[0], places, shape}, graph.Int("axis", at))[0]
		return one(reshapeLike(b, d, x))
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		if p.In[1].Data == nil && p.In[1].Elems() > 0 {
			return Kernel{}, false
		}
		shape, at := compressShape(p.Node, p.In[0].Shape)
		keep, err := kept(p.In[1], shape[at])
		if err != nil || len(keep) == 0 {
			return Kernel{}, false
		}
		m := newAxisMap(shape)
		m.set(at, keep)
		return m.plan(p.Out[0].DType.Bits()/8).kernel(0, noFill), true
	},
}

// compressShape is the shape that is compressed along axis at.
func compressShape(n *graph.Node, in tensor.Shape) (tensor.Shape, int) {
	if n.Attr("axis") == nil {
		return tensor.Shape{in.Elems()}, 0
	}
	return in, wrap(n.Int("axis", 0), len(in))
}

// kept lists the positions of an axis of n whose condition is true.
func kept(cond *tensor.Tensor, n int) ([]int, error) {
	at := []int{}
	for i, x := range cond.Data {
		if x != 0 {
			if i >= n {
				return nil, (&Call{}).errorf("condition %d is true, the axis is %d", i, n)
			}
			at = append(at, i)
		}
	}
	return at, nil
}
