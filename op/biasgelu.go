package op

import (
	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// biasGeluOp makes Gelu, BiasGelu and FastGelu of com.microsoft: Gelu(X + bias), exact or in the tanh form.
func biasGeluOp(name string, minIn, maxIn int, approx bool) Op {
	form := "none"
	if approx {
		form = "tanh"
	}
	return Op{
		Domain: microsoft, Name: name, Since: 1, MinIn: minIn, MaxIn: maxIn, MinOut: 1, MaxOut: 1,
		Infer: func(c *InferCall) error {
			if err := firstErr(c.wantFloat(0), c.sameTypes(), c.wantRank(1, 1)); err != nil {
				return err
			}
			if c.In[0].Shape != nil {
				if err := c.broadcastsTo(1, c.In[0].Shape); err != nil {
					return err
				}
			}
			return sameAs(c)
		},
		Ref: func(c *Call) error {
			x := floats(c.In[0])
			if t := c.in(1); t != nil {
				bias := floats(t)
				for i, j := range broadcast(c.In[0].Shape, t.Shape) {
					x[i] += bias[j]
				}
			}
			g := &graph.Node{Attrs: []graph.Attr{graph.Str("approximate", form)}}
			for i, v := range x {
				x[i] = gelu(g, v)
			}
			setFloats(c.Out[0], x)
			return nil
		},
		Grad: func(c *GradCall) []*graph.Value {
			x := addAll(c.B, c.In[0], optional(c.In, 1))
			dx := c.B.Node(graph.Domain, "GeluGrad", 1, []*graph.Value{c.DOut[0], x}, graph.Str("approximate", form))[0]
			d := []*graph.Value{dx, nil}
			if len(c.In) > 1 && c.In[1] != nil {
				d[1] = c.sumTo(dx, c.In[0], c.In[1])
			}
			return d[:len(c.In)]
		},
		Prepare: func(p *Prep) (Kernel, bool) { return biasGeluKernel(p, approx) },
	}
}

// biasGeluKernel runs row by row, the sum in the output first.
func biasGeluKernel(p *Prep, approx bool) (Kernel, bool) {
	s := p.In[0].Shape
	if !floatInputs(p.In, 0, 1) || len(s) == 0 || s.Elems() == 0 {
		return Kernel{}, false
	}
	C := lastAxis(s)
	if t := p.in(1); t != nil && t.Elems() != C {
		return Kernel{}, false
	}
	act := kernel.ActGelu
	if approx {
		act = kernel.ActGeluTanh
	}
	return Kernel{Over: 1, Run: rowKernel(s.Elems()/C, C, func(in, out []*tensor.Tensor, lo, hi int) {
		x, y := in[0].Float32s()[lo*C:hi*C], out[0].Float32s()[lo*C:hi*C]
		if t := optional(in, 1); t != nil {
			for i := 0; i < len(y); i += C {
				kernel.Map2(kernel.Add, y[i:i+C], x[i:i+C], t.Float32s())
			}
			x = y
		}
		kernel.Activate(act, y, x, 0, 0)
	})}, true
}

var (
	opMicrosoftGelu = biasGeluOp("Gelu", 1, 1, false)
	opBiasGelu      = biasGeluOp("BiasGelu", 2, 2, false)
	opFastGelu      = biasGeluOp("FastGelu", 1, 2, true)

	// QuickGelu is Swish with an alpha of 1.702 where none is given.
	opQuickGelu = func() Op {
		o := Op{Domain: microsoft, Name: "QuickGelu", Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "alpha"}
		o.Infer = opSwish.Infer
		o.Body = func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
			s := b.Op("Sigmoid", b.Op("Mul", in[0], fill(b, in[0], float64(n.Float("alpha", 1.702)))))
			return one(b.Op("Mul", in[0], s))
		}
		return o
	}()
)
