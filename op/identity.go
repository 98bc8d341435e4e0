package op

import "muster/graph"

var opIdentity = Op{
	Name: "Identity", Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, View: true,
	Infer: sameAs,
	Ref: func(c *Call) error {
		copy(c.Out[0].Data, c.In[0].Data)
		return nil
	},
	Grad: func(c *GradCall) []*graph.Value { return one(c.DOut[0]) },
}
