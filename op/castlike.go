package op

import "muster/graph"

// CastLike is Cast to the type of its second input.
var opCastLike = Op{
	Name: "CastLike", Since: 15, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1, Attrs: "saturate round_mode", Stored: true,
	Infer: func(c *InferCall) error {
		c.Set(0, c.In[1].DType, c.In[0].Shape)
		return c.roundMode()
	},
	Ref: func(c *Call) error {
		convert(c.Node, c.Out[0], c.In[0])
		return nil
	},
	Grad:    func(c *GradCall) []*graph.Value { return one(cast(c.B, c.DOut[0], c.In[0].DType)) },
	Prepare: castKernel,
}
