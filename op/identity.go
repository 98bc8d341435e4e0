package op

import "muster/graph"

var opIdentity = Op{
	Name: "Identity", Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, View: true, Types: true,
	Infer: sameAs,
	Ref:   func(c *Call) error { return c.give(0, c.In[0]) },
	Grad:  func(c *GradCall) []*graph.Value { return one(c.DOut[0]) },
}
