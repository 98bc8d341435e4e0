package op

import (
	"muster/graph"
	"muster/tensor"
)

var opIdentity = Op{
	Name: "Identity", Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, View: true,
	Infer: sameAs,
	Ref: func(c *Call) error {
		copy(c.Out[0].Data, c.In[0].Data)
		return nil
	},
	Grad: func(c *GradCall) []*graph.Value { return one(c.DOut[0]) },
}

// Dropout at inference is the identity. Its training mode is not supported:
// a random mask that cannot be replayed has no place in a record.
var (
	opDropout7 = Op{
		Name: "Dropout", Since: 7, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 2, Attrs: "ratio",
		Infer: func(c *InferCall) error {
			c.Set(1, tensor.Bool, c.In[0].Shape)
			return sameAs(c)
		},
		Ref: dropout, Grad: dropoutGrad, Prepare: dropoutKernel,
	}
	opDropout12 = Op{
		Name: "Dropout", Since: 12, MinIn: 1, MaxIn: 3, MinOut: 1, MaxOut: 2, Attrs: "seed",
		Infer: func(c *InferCall) error {
			if v := c.in(2); v != nil {
				ratio := c.Const(1)
				off := v.Const != nil && v.Const.Elems() == 1 && v.Const.Float(0) == 0
				none := c.In[1] != nil && ratio != nil && ratio.Elems() == 1 && ratio.Float(0) == 0
				if !off && !none {
					return c.unsupported("the training mode of Dropout is not supported")
				}
			}
			c.Set(1, tensor.Bool, c.In[0].Shape)
			return sameAs(c)
		},
		Ref: dropout, Grad: dropoutGrad, Prepare: dropoutKernel,
	}
)

func dropout(c *Call) error {
	copy(c.Out[0].Data, c.In[0].Data)
	if m := c.out(1); m != nil {
		for i := range m.Data {
			m.Data[i] = 1
		}
	}
	return nil
}

func dropoutGrad(c *GradCall) []*graph.Value { return one(c.DOut[0]) }
