package op

import (
	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// muster.Activation is an activation of linear.go as a node of its own: what a chain of nodes that
// spells one out becomes.
var opActivation = Op{
	Domain: graph.Domain, Name: "Activation", Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "activation alpha beta",
	Defaults: []graph.Attr{graph.Str("activation", ""), graph.Float("alpha", 0), graph.Float("beta", 0)},
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.knownActivation()); err != nil {
			return err
		}
		return sameAs(c)
	},
	Ref: func(c *Call) error {
		x, p := floats(c.In[0]), post(c.Node)
		for i := range x {
			x[i] = activation(p.Act, x[i], float64(p.Lo), float64(p.Hi))
		}
		setFloats(c.Out[0], x)
		return nil
	},
	Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
		return one(activationBody(b, n, in[0]))
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		if p.In[0].DType != tensor.Float32 {
			return Kernel{}, false
		}
		a := post(p.Node)
		return mapKernel(p.Out[0].Elems(), func(dst, x []float32) { kernel.Activate(a.Act, dst, x, a.Lo, a.Hi) }), true
	},
}
