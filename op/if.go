package op

import (
	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// If runs one of two subgraphs. The branches may have other shapes; with a constant condition only one counts.
var opIf = Op{
	Name: "If", Since: 1, MinIn: 1, MaxIn: -1, MinOut: 1, MaxOut: -1, Attrs: "then_branch else_branch " + captures,
	Dynamic: true, Types: true,
	Grad: ifGrad,
	Infer: func(c *InferCall) error {
		if formal(c.Node) != 1 {
			return c.Errorf("%d inputs, want 1", formal(c.Node))
		}
		if err := c.wantType(0, tensor.Bool); err != nil {
			return err
		}
		names := []string{"then_branch", "else_branch"}
		if t := c.In[0].Const; t != nil {
			if t.Elems() != 1 {
				return c.Errorf("the condition has %d elements", t.Elems())
			}
			if names = names[:1]; !t.Bools()[0] {
				names[0] = "else_branch"
			}
		}
		first, failed := true, error(nil)
		for _, name := range names {
			outs, err := c.subgraph(name, nil)
			if fault.ClassOf(err) == fault.Mismatch && err != nil {
				failed = err // a branch that cannot run for these shapes is not the one that is taken, or fails then
				continue
			}
			if err != nil {
				return err
			}
			if len(outs) != len(c.Out) {
				return c.Errorf("%s has %d outputs, want %d", name, len(outs), len(c.Out))
			}
			for i, v := range outs {
				if err := c.joinType(i, v, first); err != nil {
					return err
				}
			}
			first = false
		}
		if first {
			return failed
		}
		return nil
	},
	Ref: func(c *Call) error {
		if c.In[0].Elems() != 1 {
			return fault.New(fault.Mismatch, c.Node.Place(), "the condition has %d elements", c.In[0].Elems())
		}
		name := "else_branch"
		if c.In[0].Bools()[0] {
			name = "then_branch"
		}
		out, err := c.sub(name, nil, 0, len(c.Out))
		if err != nil {
			return err
		}
		for i, t := range out {
			if err := c.give(i, t); err != nil {
				return err
			}
		}
		return nil
	},
}

// joinType gives output i the type of v, or, if it has one already, what holds for both.
func (c *InferCall) joinType(i int, v *graph.Value, first bool) error {
	o := c.Out[i]
	switch {
	case o == nil:
	case first:
		c.setType(i, v, v.Shape)
	case o.DType != v.DType:
		return c.Errorf("output %d is %s in one branch, %s in the other", i, o.DType, v.DType)
	default:
		c.setType(i, v, joinShapes(o.Shape, v.Shape))
	}
	return nil
}

// ifGrad is an If over the same condition whose branches put out the gradients by what the forward branches read.
func ifGrad(c *GradCall) []*graph.Value {
	if Captured(c.Node) > 0 || c.Branch == nil {
		c.Fail("the subgraphs are closed")
		return nil
	}
	var wrt []*graph.Value
	for i, v := range c.Captured {
		if c.NeedCaptured[i] {
			wrt = append(wrt, v)
		}
	}
	var attrs []graph.Attr
	for _, name := range []string{"then_branch", "else_branch"} {
		a := c.Node.Attr(name)
		if a == nil || a.G == nil {
			c.Fail("attribute %s is not a graph", name)
			return nil
		}
		g, err := c.Branch(a.G, wrt)
		if err != nil {
			c.Err = fault.At(c.Node.Place(), err)
			return nil
		}
		attrs = append(attrs, graph.Attr{Name: name, Kind: graph.AttrGraph, G: g})
	}
	outs := c.B.Node("", "If", len(wrt), c.In[:1], attrs...)
	res := make([]*graph.Value, len(c.In)+len(c.Captured))
	for i := range c.Captured {
		if c.NeedCaptured[i] {
			res[len(c.In)+i], outs = outs[0], outs[1:]
		}
	}
	return res
}
