package op

import (
	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// An optional holds a tensor or a sequence, or nothing.
var opOptional = Op{
	Name: "Optional", Since: 15, MinIn: 0, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "type", Types: true, NoGrad: "gradients do not pass through optionals",
	Infer: func(c *InferCall) error {
		var e *graph.Type
		if v := c.in(0); v != nil {
			e = &graph.Type{DType: v.DType, Shape: v.Shape, Elem: v.Elem}
		} else if a := c.Node.Attr("type"); a != nil && a.Type != nil {
			e = a.Type
		} else {
			return c.Errorf("there is neither an input nor a type")
		}
		c.setContainer(0, tensor.Optional, e)
		return nil
	},
	Ref: func(c *Call) error {
		if len(c.In) > 0 && c.In[0] != nil {
			c.Out[0].Items = []*tensor.Tensor{c.In[0].Clone()}
		}
		return nil
	},
}

// OptionalHasElement takes tensors and sequences too, which are there, and no input, which is not (since opset 18).
var opOptionalHasElement = Op{
	Name: "OptionalHasElement", Since: 15, MinIn: 0, MaxIn: 1, MinOut: 1, MaxOut: 1, Types: true, NoGrad: "its output is a bool",
	Infer: func(c *InferCall) error {
		c.Set(0, tensor.Bool, []graph.Dim{})
		return nil
	},
	Ref: func(c *Call) error {
		if len(c.In) > 0 && c.In[0] != nil {
			c.Out[0].Bools()[0] = c.In[0].DType != tensor.Optional || len(c.In[0].Items) > 0
		}
		return nil
	},
}

var opOptionalGetElement = Op{
	Name: "OptionalGetElement", Since: 15, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Types: true, Dynamic: true, NoGrad: "gradients do not pass through optionals",
	Infer: func(c *InferCall) error {
		if c.In[0].DType != tensor.Optional {
			return sameAs(c)
		}
		e, err := c.elem(0, tensor.Optional)
		if err == nil {
			c.setItem(0, e)
		}
		return err
	},
	Ref: func(c *Call) error {
		x := c.In[0]
		if x.DType == tensor.Optional {
			if len(x.Items) == 0 {
				return fault.New(fault.Mismatch, c.Node.Place(), "the optional is empty")
			}
			x = x.Items[0]
		}
		return c.give(0, x)
	},
}
