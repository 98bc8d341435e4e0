package op

import (
	"muster/graph"
	"muster/tensor"
)

var opWhere = Op{
	Name: "Where", Since: 9, MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1,
	Infer: func(c *InferCall) error {
		if err := c.wantType(0, tensor.Bool); err != nil {
			return err
		}
		if c.In[1].DType != c.In[2].DType {
			return c.Errorf("the branches are %s and %s", c.In[1].DType, c.In[2].DType)
		}
		s, err := c.broadcastDims(c.In[0].Shape, c.In[1].Shape, c.In[2].Shape)
		c.Set(0, c.In[1].DType, s)
		return err
	},
	Ref: func(c *Call) error {
		out := c.Out[0]
		cond, ct := c.In[0].Data, broadcast(out.Shape, c.In[0].Shape)
		xt, yt := broadcast(out.Shape, c.In[1].Shape), broadcast(out.Shape, c.In[2].Shape)
		size := out.DType.Bits() / 8
		for i := range ct {
			src, j := c.In[2], yt[i]
			if cond[ct[i]] != 0 {
				src, j = c.In[1], xt[i]
			}
			copy(out.Data[i*size:(i+1)*size], src.Data[j*size:])
		}
		return nil
	},
	Grad: func(c *GradCall) []*graph.Value {
		d := make([]*graph.Value, 3)
		zero := fill(c.B, c.Out[0], 0)
		if c.Need[1] {
			d[1] = c.sumTo(c.B.Op("Where", c.In[0], c.DOut[0], zero), c.Out[0], c.In[1])
		}
		if c.Need[2] {
			d[2] = c.sumTo(c.B.Op("Where", c.In[0], zero, c.DOut[0]), c.Out[0], c.In[2])
		}
		return d
	},
	Prepare: whereKernel,
}
