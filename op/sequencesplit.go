package op

import (
	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// ConcatFromSequence joins the items along an axis, or along a new one.
var opConcatFromSequence = Op{
	Name: "ConcatFromSequence", Since: 11, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "axis new_axis",
	Types: true, Dynamic: true, NoGrad: noSequenceGrad,
	Infer: func(c *InferCall) error {
		e, err := c.elem(0, tensor.Sequence)
		if err != nil {
			return err
		}
		if c.Node.Attr("axis") == nil {
			return c.Errorf("attribute axis is absent")
		}
		c.Set(0, e.DType, nil)
		return nil
	},
	Ref: func(c *Call) error {
		items, fresh := c.In[0].Items, c.Node.Int("new_axis", 0) != 0
		if len(items) == 0 {
			return fault.New(fault.Mismatch, c.Node.Place(), "the sequence is empty")
		}
		first := items[0].Shape
		rank := len(first)
		if fresh {
			rank++
		}
		axis, ok := axisIn(c.Node.Int("axis", 0), rank)
		if !ok {
			return fault.New(fault.Mismatch, c.Node.Place(), "axis %d of items that are %s", c.Node.Int("axis", 0), first)
		}
		out := first.Clone()
		if fresh {
			out = append(append(append(tensor.Shape{}, first[:axis]...), 1), first[axis:]...)
		}
		total := 0
		for _, t := range items {
			s := t.Shape.Clone()
			if fresh {
				s = append(append(append(tensor.Shape{}, s[:min(axis, len(s))]...), 1), s[min(axis, len(s)):]...)
			}
			if len(s) != rank || t.DType != items[0].DType {
				return fault.New(fault.Mismatch, c.Node.Place(), "items are %s %s and %s %s", items[0].DType, first, t.DType, t.Shape)
			}
			total += s[axis]
			if s[axis] = out[axis]; !s.Equal(out) {
				return fault.New(fault.Mismatch, c.Node.Place(), "items are %s and %s", first, t.Shape)
			}
		}
		return c.give(0, joinedItems(items, out, axis, total))
	},
}

// joinedItems concatenates items along an axis of shape, which has total elements there then.
func joinedItems(items []*tensor.Tensor, shape tensor.Shape, axis, total int) *tensor.Tensor {
	s := shape.Clone()
	s[axis] = total
	out := tensor.New(items[0].DType, s...)
	outer := tensor.Shape(s[:axis]).Elems()
	at := 0
	for o := 0; o < outer; o++ {
		for _, t := range items {
			part := len(t.Data) / outer
			at += copy(out.Data[at:], t.Data[o*part:(o+1)*part])
		}
	}
	return out
}

// SplitToSequence cuts a tensor into pieces of the given size or sizes, or into its slices.
var opSplitToSequence = Op{
	Name: "SplitToSequence", Since: 11, MinIn: 1, MaxIn: 2, MinOut: 1, MaxOut: 1, Attrs: "axis keepdims", NoGrad: noSequenceGrad,
	Infer: func(c *InferCall) error {
		if err := c.wantIndex(1); err != nil {
			return err
		}
		e := &graph.Type{DType: c.In[0].DType}
		if s := c.In[0].Shape; s != nil {
			if _, ok := axisIn(c.Node.Int("axis", 0), len(s)); !ok {
				return c.Errorf("axis %d of %v", c.Node.Int("axis", 0), s)
			}
		}
		c.setSequence(0, e)
		return nil
	},
	Ref: func(c *Call) error {
		x := c.In[0]
		axis, ok := axisIn(c.Node.Int("axis", 0), len(x.Shape))
		if !ok {
			return fault.New(fault.Mismatch, c.Node.Place(), "axis %d of %s", c.Node.Int("axis", 0), x.Shape)
		}
		n := x.Shape[axis]
		if len(c.In) < 2 || c.In[1] == nil {
			cut := newSlicer(x, axis)
			for i := 0; i < n; i++ {
				t := cut.at(i).Clone()
				if c.Node.Int("keepdims", 1) != 0 {
					t.Shape = append(append(append(tensor.Shape{}, x.Shape[:axis]...), 1), x.Shape[axis+1:]...)
				}
				c.Out[0].Items = append(c.Out[0].Items, t)
			}
			return nil
		}
		sizes, err := pieces(c, n)
		if err != nil {
			return err
		}
		lo := 0
		for _, k := range sizes {
			c.Out[0].Items = append(c.Out[0].Items, cutOut(x, axis, lo, lo+k))
			lo += k
		}
		return nil
	},
}

// pieces are the sizes that input 1 asks for: its elements, or one size for all but a smaller last one.
func pieces(c *Call, n int) ([]int, error) {
	var sizes []int
	v := ints(c.In[1])
	if len(c.In[1].Shape) == 0 {
		if v[0] <= 0 {
			return nil, fault.New(fault.Mismatch, c.Node.Place(), "pieces of size %d", v[0])
		}
		for left := n; left > 0; left -= sizes[len(sizes)-1] {
			sizes = append(sizes, int(min(v[0], int64(left))))
		}
		return sizes, nil
	}
	left := int64(n)
	for _, k := range v {
		if k < 0 || k > left {
			return nil, fault.New(fault.Mismatch, c.Node.Place(), "sizes %v of an axis of %d", v, n)
		}
		left -= k
		sizes = append(sizes, int(k))
	}
	if left != 0 {
		return nil, fault.New(fault.Mismatch, c.Node.Place(), "sizes %v of an axis of %d", v, n)
	}
	return sizes, nil
}

// cutOut copies elements lo to hi of an axis.
func cutOut(x *tensor.Tensor, axis, lo, hi int) *tensor.Tensor {
	s := x.Shape.Clone()
	s[axis] = hi - lo
	out := tensor.New(x.DType, s...)
	outer := tensor.Shape(s[:axis]).Elems()
	inner := x.DType.Bytes(tensor.Shape(s[axis+1:]).Elems())
	n, w := x.Shape[axis]*inner, (hi-lo)*inner
	for o := 0; o < outer; o++ {
		copy(out.Data[o*w:(o+1)*w], x.Data[o*n+lo*inner:])
	}
	return out
}
