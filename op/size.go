package op

import (
	"muster/graph"
	"muster/tensor"
)

// Size is the number of elements as a scalar.
var opSize = Op{
	Name: "Size", Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Stored: true, NoGrad: "it depends on shapes only",
	Infer: func(c *InferCall) error {
		c.Set(0, tensor.Int64, []graph.Dim{})
		return nil
	},
	Ref: func(c *Call) error {
		c.Out[0].Int64s()[0] = int64(c.In[0].Elems())
		return nil
	},
}
