package op

import "muster/tensor"

// Bernoulli is 1 with the probability that its input gives, 0 otherwise.
var opBernoulli = Op{
	Name: "Bernoulli", Since: 15, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "dtype seed", Random: true, NoGrad: "its output is random",
	Infer: func(c *InferCall) error {
		d := tensor.DType(c.Node.Int("dtype", int64(c.In[0].DType)))
		if !numeric(d) {
			return c.unsupported("dtype %s is not supported", d)
		}
		c.Set(0, d, c.In[0].Shape)
		return c.wantFloat(0)
	},
	Ref: func(c *Call) error {
		k, v := seedOf(c.Node).Split(c.Step), floats(c.In[0])
		for i, p := range v {
			v[i] = 0
			if half(k, i) < p {
				v[i] = 1
			}
		}
		setNumbers(c.Out[0], v)
		return nil
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		return drawKernel(p, func(in []*tensor.Tensor, i int, u float64) float64 {
			if u < in[0].Float(i) {
				return 1
			}
			return 0
		})
	},
}
