package op

import "muster/graph"

// LpNormalization divides by the L1 or L2 norm along an axis; where the norm is 0, so is the result.
var opLpNormalization = Op{
	Name: "LpNormalization", Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "axis p",
	Infer: func(c *InferCall) error {
		if p := c.Node.Int("p", 2); p != 1 && p != 2 {
			return c.unsupported("p is %d, want 1 or 2", p)
		}
		if s := c.In[0].Shape; s != nil {
			if _, err := axis(c.Node.Place(), c.Node.Int("axis", -1), len(s)); err != nil {
				return err
			}
		}
		return firstErr(c.wantFloat(0), sameAs(c))
	},
	Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
		x, name := in[0], "ReduceL2"
		if n.Int("p", 2) == 1 {
			name = "ReduceL1"
		}
		s := b.Reduce(name, x, 1, n.Int("axis", -1))
		return one(b.Op("Div", x, b.Op("Where", b.Op("Equal", s, fill(b, x, 0)), fill(b, x, 1), s)))
	},
}
