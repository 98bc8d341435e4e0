package op

import (
	"muster/graph"
	"muster/tensor"
)

var opConstant = Op{
	Name: "Constant", Since: 1, MinIn: 0, MaxIn: 0, MinOut: 1, MaxOut: 1,
	Attrs:  "value value_float value_floats value_int value_ints",
	NoGrad: "it has no input",
	Infer: func(c *InferCall) error {
		t, err := constantOf(c)
		if err != nil {
			return err
		}
		c.Set(0, t.DType, dims(t.Shape...))
		if len(c.Out) > 0 && c.Out[0] != nil {
			c.Out[0].Const = t
		}
		return nil
	},
	Ref: func(c *Call) error {
		t, err := constantOf(&InferCall{Node: c.Node})
		if err == nil {
			copy(c.Out[0].Data, t.Data)
		}
		return err
	},
}

func constantOf(c *InferCall) (*tensor.Tensor, error) {
	if len(c.Node.Attrs) != 1 {
		return nil, c.Errorf("%d attributes, want 1", len(c.Node.Attrs))
	}
	switch a := &c.Node.Attrs[0]; {
	case a.Ref != "":
		return nil, c.Errorf("attribute %q is the parameter of a function", a.Name)
	case a.Name == "value" && a.Kind == graph.AttrTensor && a.T != nil:
		n, ok := a.T.Shape.CheckedElems()
		if !ok || !numeric(a.T.DType) && !a.T.DType.Stored() || a.T.DType.Bytes(n) != len(a.T.Data) {
			return nil, c.Errorf("%d bytes do not fill %s %s", len(a.T.Data), a.T.DType, a.T.Shape)
		}
		return a.T, nil
	case a.Name == "value_float" && a.Kind == graph.AttrFloat:
		return tensor.OfFloat32([]float32{a.F}), nil
	case a.Name == "value_floats" && a.Kind == graph.AttrFloats:
		return tensor.OfFloat32(a.Floats, len(a.Floats)), nil
	case a.Name == "value_int" && a.Kind == graph.AttrInt:
		return tensor.OfInt64([]int64{a.I}), nil
	case a.Name == "value_ints" && a.Kind == graph.AttrInts:
		return tensor.OfInt64(a.Ints, len(a.Ints)), nil
	default:
		return nil, c.unsupported("attribute %q of kind %d is not supported", a.Name, a.Kind)
	}
}

var opConstantOfShape = Op{
	Name: "ConstantOfShape", Since: 9, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "value",
	NoGrad: "its output depends on a shape only",
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantType(0, tensor.Int64), c.wantRank(0, 1)); err != nil {
			return err
		}
		d := tensor.Float32
		if a := c.Node.Attr("value"); a != nil {
			if a.T == nil || a.T.Elems() != 1 || !numeric(a.T.DType) || len(a.T.Data) != a.T.DType.Bytes(1) {
				return c.Errorf("attribute value is not one number")
			}
			d = a.T.DType
		}
		s, err := c.shapeFrom(0)
		c.Set(0, d, s)
		return err
	},
	Ref: func(c *Call) error {
		if a := c.Node.Attr("value"); a != nil {
			copyElems(c.Out[0], a.T, make([]int, c.Out[0].Elems()))
		}
		return nil
	},
	Prepare: constantOfShapeKernel,
}

// shapeFrom reads input i as a shape; nil if not even the rank is known.
func (c *InferCall) shapeFrom(i int) ([]graph.Dim, error) {
	l, ok := c.list(i)
	if !ok {
		if s := c.In[i].Shape; len(s) == 1 && s[0].Known() && s[0].Size <= maxList {
			return unknown(s[0].Size), nil
		}
		return nil, nil
	}
	out := []graph.Dim{}
	for _, s := range l {
		if s.known && s.v < 0 {
			return nil, c.Errorf("a size is %d", s.v)
		}
		out = append(out, s.dim())
	}
	return out, nil
}

// Shape lists the sizes of axes start to end (since opset 15; all before).
var opShape = Op{
	Name: "Shape", Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "start end", Stored: true,
	NoGrad: "its output is an integer",
	Infer: func(c *InferCall) error {
		if c.In[0].Shape == nil {
			c.Set(0, tensor.Int64, unknown(1))
			return nil
		}
		lo, hi := shapeRange(c.Node, len(c.In[0].Shape))
		c.Set(0, tensor.Int64, dims(hi-lo))
		return nil
	},
	Ref: func(c *Call) error {
		lo, hi := shapeRange(c.Node, len(c.In[0].Shape))
		for i, d := range c.In[0].Shape[lo:hi] {
			c.Out[0].Int64s()[i] = int64(d)
		}
		return nil
	},
}

func shapeRange(n *graph.Node, rank int) (lo, hi int) {
	clamp := func(v int64) int {
		if v < 0 {
			v += int64(rank)
		}
		return int(min(max(v, 0), int64(rank)))
	}
	lo, hi = clamp(n.Int("start", 0)), clamp(n.Int("end", int64(rank)))
	return lo, max(lo, hi)
}
