package op

import (
	"muster/tensor"
)

// EyeLike is the identity matrix of the input's shape, its diagonal moved by k.
var opEyeLike = Op{
	Name: "EyeLike", Since: 9, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "dtype k", NoGrad: "it does not depend on the values of its input",
	Infer: func(c *InferCall) error {
		d := tensor.DType(c.Node.Int("dtype", int64(c.In[0].DType)))
		if !numeric(d) {
			return c.unsupported("dtype %s is not supported", d)
		}
		c.Set(0, d, c.In[0].Shape)
		return c.wantRank(0, 2)
	},
	Ref: func(c *Call) error {
		t := c.Out[0]
		v := make([]float64, t.Elems())
		k := c.Node.Int("k", 0)
		for i := range v {
			if C := t.Shape[1]; int64(i%C) == int64(i/C)+k {
				v[i] = 1
			}
		}
		setNumbers(t, v)
		return nil
	},
}
