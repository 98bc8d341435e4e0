package op

import (
	"muster/graph"
)

// groupNorm is an operator that normalises groups of channels of X [N, C, ...] to mean 0 and variance 1 (Wu and He,
// arXiv 1803.08494), then applies scale and bias per channel. InstanceNormalization has one channel per group (arXiv 1607.08022).
type groupNorm struct {
	name     string
	since    int
	attrs    string
	perGroup bool // scale and bias are [groups]
}

// groups is the number of groups of a shape of C channels.
func (g groupNorm) groups(n *graph.Node, C int) int {
	if g.name == "InstanceNormalization" {
		return C
	}
	return bounded(n.Int("num_groups", 0))
}

func (g groupNorm) op() Op {
	return Op{
		Name: g.name, Since: g.since, MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: g.attrs,
		Infer: func(c *InferCall) error {
			if err := firstErr(c.wantFloat(0), c.sameTypes(), c.wantRank(1, 1), c.wantRank(2, 1), sameAs(c)); err != nil {
				return err
			}
			x := c.In[0].Shape
			if x == nil {
				return nil
			}
			if len(x) < 2 || len(x) < 3 && g.name == "InstanceNormalization" {
				return c.Errorf("input 0 is %v, want [N, C, ...]", x)
			}
			want := x[1]
			if n := g.groups(c.Node, max(x[1].Size, 1)); n < 1 || x[1].Known() && n > 0 && x[1].Size%n != 0 {
				return c.Errorf("%d groups of %v channels", n, x[1])
			} else if g.perGroup {
				want = graph.D(n)
			}
			for i := 1; i < 3; i++ {
				if s := c.In[i].Shape; s != nil && s[0].Known() && want.Known() && s[0].Size != want.Size {
					return c.Errorf("input %d is %v for %v", i, s, x)
				}
			}
			return nil
		},
		Ref: func(c *Call) error {
			s := c.In[0].Shape
			x, scale, bias := floats(c.In[0]), floats(c.In[1]), floats(c.In[2])
			O, G := s[2:].Elems(), g.groups(c.Node, s[1])
			if len(x) == 0 {
				return nil
			}
			size := len(x) / (s[0] * G)
			for r := 0; r < s[0]*G; r++ {
				row := x[r*size:][:size]
				mean, inv := moments(row, float64(c.Node.Float("epsilon", 1e-5)))
				for i := range row {
					k := (r*size + i) / O % s[1]
					if g.perGroup {
						k = r % G
					}
					row[i] = (row[i]-mean)*inv*scale[k] + bias[k]
				}
			}
			setFloats(c.Out[0], x)
			return nil
		},
		Body: g.body,
		Prepare: func(p *Prep) (Kernel, bool) {
			return groupNormKernel(p, g.groups(p.Node, p.In[0].Shape[1]), g.perGroup)
		},
	}
}

func (g groupNorm) body(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	x, rank := in[0], len(in[0].Shape)
	rows := b.Ints(0, 0, -1)
	if g.name != "InstanceNormalization" {
		rows = b.Ints(0, n.Int("num_groups", 1), -1)
	}
	r := b.Op("Reshape", x, rows) // [N, G, C/G O]
	d := b.Op("Sub", r, b.ReduceMean(r, 1, 2))
	variance := b.ReduceMean(b.Op("Mul", d, d), 1, 2)
	h := b.Op("Mul", d, b.Op("Reciprocal", b.Op("Sqrt", b.Op("Add", variance, param(b, n, x, "epsilon", 1e-5)))))
	if g.perGroup {
		y := b.Op("Add", b.Op("Mul", h, reshape(b, in[1], -1, 1)), reshape(b, in[2], -1, 1))
		return one(b.Op("Reshape", y, shapeOf(b, x)))
	}
	h = b.Op("Reshape", h, shapeOf(b, x))
	return one(b.Op("Add", b.Op("Mul", h, perChannel(b, in[1], rank)), perChannel(b, in[2], rank)))
}

var (
	opInstanceNormalization = groupNorm{name: "InstanceNormalization", since: 6, attrs: "epsilon"}.op()
	opGroupNormalization18  = groupNorm{name: "GroupNormalization", since: 18, attrs: "epsilon num_groups", perGroup: true}.op()
	opGroupNormalization21  = groupNorm{name: "GroupNormalization", since: 21, attrs: "epsilon num_groups stash_type"}.op()
)
