package op

import (
	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// muster.ActivationGrad(dY, V) is the gradient of an activation in one pass over memory: Relu with V its input,
// Tanh and Sigmoid with V their result. A pass puts it in place of what the gradient rules append.
var opActivationGrad = Op{
	Domain: graph.Domain, Name: "ActivationGrad", Since: 1, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1, Attrs: "activation",
	Defaults: []graph.Attr{graph.Str("activation", "Relu")},
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.sameTypes()); err != nil {
			return err
		}
		switch a := c.Node.Str("activation", "Relu"); a {
		case "Relu", "Tanh", "Sigmoid":
		default:
			return c.unsupported("the gradient of activation %q is not supported", a)
		}
		if x, y := c.In[0].Shape, c.In[1].Shape; x != nil && y != nil {
			if len(x) != len(y) {
				return c.Errorf("%v and %v", x, y)
			}
			for i := range x {
				if err := c.agree("the inputs", x[i], y[i]); err != nil {
					return err
				}
			}
		}
		return sameAs(c)
	},
	Ref: func(c *Call) error {
		d, v := floats(c.In[0]), floats(c.In[1])
		for i, x := range v {
			switch c.Node.Str("activation", "Relu") {
			case "Tanh":
				d[i] *= 1 - float64(x*x)
			case "Sigmoid":
				d[i] *= float64(x * (1 - x))
			default:
				if !(x > 0) {
					d[i] = 0
				}
			}
		}
		setFloats(c.Out[0], d)
		return nil
	},
	Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
		dy, v := in[0], in[1]
		switch n.Str("activation", "Relu") {
		case "Tanh":
			return one(b.Op("Mul", dy, b.Op("Sub", fill(b, v, 1), square(b, v))))
		case "Sigmoid":
			return one(b.Op("Mul", dy, b.Op("Mul", v, b.Op("Sub", fill(b, v, 1), v))))
		}
		return one(b.Op("Where", positive(b, v), dy, fill(b, v, 0)))
	},
	Grad: func(c *GradCall) []*graph.Value {
		b, n, ddx, dy, v := c.B, c.Node, c.DOut[0], c.In[0], c.In[1]
		name := n.Str("activation", "Relu")
		d := []*graph.Value{b.Node(graph.Domain, "ActivationGrad", 1, []*graph.Value{ddx, v}, graph.Str("activation", name))[0], nil}
		switch {
		case !c.Need[1]:
			return d
		case name == "Relu":
			d[1] = ZerosLike(b, v)
			return d
		}
		slope := b.Op("Mul", fill(b, v, -2), v)
		if name == "Sigmoid" {
			slope = b.Op("Add", fill(b, v, 1), slope)
		}
		d[1] = b.Op("Mul", b.Op("Mul", ddx, dy), slope)
		return d
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		n := p.Out[0].Elems()
		if p.In[0].DType != tensor.Float32 {
			return Kernel{}, false
		}
		f := map[string]func(dx, dy, v []float32){"Relu": kernel.ReluGrad, "Tanh": kernel.TanhGrad, "Sigmoid": kernel.SigmoidGrad}[p.Node.Str("activation", "Relu")]
		return Kernel{Over: 1, Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
			lo, hi := bounds(n, task)
			f(out[0].Float32s()[lo:hi], in[0].Float32s()[lo:hi], in[1].Float32s()[lo:hi])
		})}, true
	},
}
