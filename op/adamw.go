package op

import (
	"math"

	"muster/graph"
)

// AdamW(P, M, V, G, lr, step, scale) is one step of Adam with decoupled weight decay
// (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, in PyTorch's form):
//
//	P' = P (1 - lr weight_decay) - lr/(1 - beta1^step) M' / (sqrt(V' / (1 - beta2^step)) + epsilon)
//	M' = beta1 M + (1 - beta1) G
//	V' = beta2 V + (1 - beta2) G^2
//
// lr is a float scalar, step a scalar counted from 1. G is multiplied by the scalar scale first, if there is one: clipped
// gradients need no copy of their own.
var opAdamW = Op{
	Domain: graph.Domain, Name: "AdamW", Since: 1, MinIn: 6, MaxIn: 7, MinOut: 3, MaxOut: 3,
	Attrs: "beta1 beta2 epsilon weight_decay",
	Defaults: []graph.Attr{graph.Float("beta1", 0.9), graph.Float("beta2", 0.999),
		graph.Float("epsilon", 1e-8), graph.Float("weight_decay", 0.01)},
	NoGrad: "an optimizer step is not differentiated",
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.wantFloat(4), c.alike(0, 1), c.alike(0, 2), c.alike(0, 3)); err != nil {
			return err
		}
		for i, v := range c.In {
			if v == nil {
				continue
			}
			if (i < 4 || i == 6) && v.DType != c.In[0].DType {
				return c.Errorf("input %d is %s, input 0 is %s", i, c.In[i].DType, c.In[0].DType)
			}
			if n, ok := known(v.Shape); i >= 4 && ok && n != 1 {
				return c.Errorf("input %d is %v, want a scalar", i, v.Shape)
			}
		}
		for i := range c.Out {
			c.Set(i, c.In[0].DType, c.In[0].Shape)
		}
		return nil
	},
	Ref: func(c *Call) error {
		p, m, v, g := floats(c.In[0]), floats(c.In[1]), floats(c.In[2]), floats(c.In[3])
		lr, t := c.In[4].Float(0), c.In[5].Float(0)
		a := adamOf(c.Node)
		for i := range p {
			if s := c.in(6); s != nil {
				g[i] *= s.Float(0)
			}
			m[i] = float64(a.beta1*m[i]) + float64((1-a.beta1)*g[i])
			v[i] = float64(a.beta2*v[i]) + float64((1-a.beta2)*float64(g[i]*g[i]))
			denom := math.Sqrt(v[i]/(1-math.Pow(a.beta2, t))) + a.eps
			p[i] = float64(p[i]*(1-float64(lr*a.decay))) - lr/(1-math.Pow(a.beta1, t))*m[i]/denom
		}
		for i, s := range [][]float64{p, m, v} {
			setFloats(c.Out[i], s)
		}
		return nil
	},
	Body:    adamBody,
	Prepare: func(p *Prep) (Kernel, bool) { return adamKernel(p) },
}

type adam struct{ beta1, beta2, eps, decay float64 }

func adamOf(n *graph.Node) adam {
	return adam{float64(n.Float("beta1", 0.9)), float64(n.Float("beta2", 0.999)),
		float64(n.Float("epsilon", 1e-8)), float64(n.Float("weight_decay", 0.01))}
}

func adamBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	p, m, v, g, lr := in[0], in[1], in[2], in[3], in[4]
	if len(in) > 6 && in[6] != nil {
		g = b.Op("Mul", g, in[6])
	}
	t := castLike(b, in[5], p)
	one := fill(b, p, 1)
	beta1, beta2 := param(b, n, p, "beta1", 0.9), param(b, n, p, "beta2", 0.999)
	decay := b.Op("Mul", lr, param(b, n, p, "weight_decay", 0.01))
	m = b.Op("Add", b.Op("Mul", beta1, m), b.Op("Mul", b.Op("Sub", one, beta1), g))
	v = b.Op("Add", b.Op("Mul", beta2, v), b.Op("Mul", b.Op("Sub", one, beta2), b.Op("Mul", g, g)))
	corrected := b.Op("Div", v, b.Op("Sub", one, b.Op("Pow", beta2, t)))
	denom := b.Op("Add", b.Op("Sqrt", corrected), param(b, n, p, "epsilon", 1e-8))
	rate := b.Op("Div", lr, b.Op("Sub", one, b.Op("Pow", beta1, t)))
	p = b.Op("Sub", b.Op("Mul", p, b.Op("Sub", one, decay)), b.Op("Mul", rate, b.Op("Div", m, denom)))
	return []*graph.Value{p, m, v}
}
