package op

import (
	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// PRelu is x, or slope x below 0; the slope is broadcast to x. At 0 the gradient is that of the
// negative side, as in PyTorch.
var opPRelu = Op{
	Name: "PRelu", Since: 7, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
	Infer: func(c *InferCall) error {
		if err := c.sameTypes(); err != nil {
			return err
		}
		if c.In[0].DType == tensor.Bool {
			return c.Errorf("the inputs are bool")
		}
		s, err := c.broadcastDims(c.In[0].Shape, c.In[1].Shape)
		if err != nil {
			return err
		}
		if x := c.In[0].Shape; x != nil && s != nil {
			n, ok := known(x)
			m, all := known(s)
			if len(s) != len(x) || ok && all && n != m {
				return c.Errorf("the slope %v does not broadcast to %v", c.In[1].Shape, x)
			}
		}
		return sameAs(c)
	},
	Ref: binary{f: func(x, s float64) float64 {
		if x < 0 {
			return s * x
		}
		return x
	}, i: func(x, s int64) int64 {
		if x < 0 {
			return s * x
		}
		return x
	}, u: func(x, _ uint64) uint64 { return x }}.ref,
	Grad: func(c *GradCall) []*graph.Value {
		b, dy, x := c.B, c.DOut[0], c.In[0]
		up, zero, d := positive(b, x), fill(b, x, 0), make([]*graph.Value, 2)
		if c.Need[0] {
			d[0] = b.Op("Where", up, dy, b.Op("Mul", dy, c.In[1]))
		}
		if c.Need[1] {
			d[1] = c.sumTo(b.Op("Where", up, zero, b.Op("Mul", dy, x)), c.Out[0], c.In[1])
		}
		return d
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		if n := p.In[0].Elems(); p.Out[0].Elems() != n {
			return Kernel{}, false
		}
		return binaryKernel(p, binaryFast{op: kernel.Leak, known: true})
	},
}
