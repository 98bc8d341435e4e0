package op

import (
	"muster/graph"
	"muster/tensor"
)

// CenterCropPad cuts or pads (with zeros) the given axes to the given sizes around the middle.
// What is odd goes behind: cut from or added to the end.
var opCenterCropPad = Op{
	Name: "CenterCropPad", Since: 18, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1, Attrs: "axes", Dynamic: true,
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantIndex(1), c.wantRank(1, 1)); err != nil {
			return err
		}
		x := c.In[0].Shape
		if x == nil {
			c.Set(0, c.In[0].DType, nil)
			return nil
		}
		axes, err := cropAxes(c.Node, len(x))
		if err != nil {
			return err
		}
		out := append([]graph.Dim{}, x...)
		l, ok := c.list(1)
		for i, a := range axes {
			out[a] = graph.Dim{Size: -1}
			if ok && len(l) != len(axes) {
				return c.Errorf("%d sizes for %d axes", len(l), len(axes))
			}
			if ok {
				if l[i].known && (l[i].v < 0 || l[i].v > maxElems) {
					return c.Errorf("a size is %d", l[i].v)
				}
				out[a] = l[i].dim()
			}
		}
		c.Set(0, c.In[0].DType, out)
		return nil
	},
	Ref: func(c *Call) error {
		m, err := cropMap(c.Node, c.In[0].Shape, c.In[1])
		if err == nil {
			m.copyRef(c.resize(0, m.out...), c.In[0], nil)
		}
		return err
	},
	// The transpose is the way back to the old sizes.
	Grad: func(c *GradCall) []*graph.Value {
		axes, _ := cropAxes(c.Node, len(c.In[0].Shape))
		var all []int64
		for _, a := range axes {
			all = append(all, int64(a))
		}
		b := c.B
		sizes := b.Op("Gather", shapeOf(b, c.In[0]), b.Ints(all...))
		return one(b.OpA("CenterCropPad", []graph.Attr{graph.Ints("axes", all...)}, c.DOut[0], sizes))
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		if p.In[1].Data == nil && p.In[1].Elems() > 0 {
			return Kernel{}, false
		}
		m, err := cropMap(p.Node, p.In[0].Shape, p.In[1])
		if err != nil {
			return Kernel{}, false
		}
		return m.plan(p.Out[0].DType.Bits()/8).kernel(0, noFill), true
	},
}

func cropAxes(n *graph.Node, rank int) ([]int, error) {
	list := n.Ints("axes")
	if n.Attr("axes") == nil {
		for a := 0; a < rank; a++ {
			list = append(list, int64(a))
		}
	}
	if _, err := axisSet(n.Place(), list, rank); err != nil {
		return nil, err
	}
	out := make([]int, len(list))
	for i, a := range list {
		out[i] = wrap(a, rank)
	}
	return out, nil
}

func cropMap(n *graph.Node, in tensor.Shape, sizes *tensor.Tensor) (axisMap, error) {
	m := newAxisMap(in)
	c := &InferCall{Node: n}
	axes, err := cropAxes(n, len(in))
	if err != nil {
		return m, err
	}
	v := ints(sizes)
	if len(v) != len(axes) {
		return m, c.Errorf("%d sizes for %d axes", len(v), len(axes))
	}
	for i, a := range axes {
		if v[i] < 0 || v[i] > maxAxis {
			return m, c.Errorf("a size is %d", v[i])
		}
		d, k := in[a], int(v[i])
		before := -((d - k) / 2)
		if k > d {
			before = (k - d) / 2
		}
		list, _ := padded("constant", d, before, k-d-before)
		m.set(a, list)
	}
	return m, nil
}
