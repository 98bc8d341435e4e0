package op

import (
	"muster/graph"
)

// GatherElements(X, Indices): Y[i] is the element of X at i with the position along `axis` replaced by
// Indices[i]. muster.GatherElements is the same operator in every opset.
func gatherElementsOp(domain string, since int) Op {
	o := Op{
		Domain: domain, Name: "GatherElements", Since: since, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1, Attrs: "axis",
		Infer: func(c *InferCall) error {
			if err := c.wantIndex(1); err != nil {
				return err
			}
			x, idx := c.In[0].Shape, c.In[1].Shape
			if x != nil {
				if _, err := axis(c.Node.Place(), c.Node.Int("axis", 0), len(x)); err != nil {
					return err
				}
				if idx != nil && len(idx) != len(x) {
					return c.Errorf("indices %v for data %v", idx, x)
				}
			}
			c.Set(0, c.In[0].DType, idx)
			return nil
		},
		Ref: func(c *Call) error {
			from, err := elementPlaces(c.In[0].Shape, c.In[1], c.Node.Int("axis", 0))
			if err == nil {
				copyElems(c.Out[0], c.In[0], from)
			}
			return err
		},
		Grad: func(c *GradCall) []*graph.Value {
			return one(c.B.Node(graph.Domain, "ScatterElements", 1, []*graph.Value{ZerosLike(c.B, c.In[0]), c.In[1], c.DOut[0]},
				graph.Int("axis", c.Node.Int("axis", 0)), graph.Str("reduction", "add"))[0])
		},
		Prepare: gatherElementsKernel,
	}
	if domain == graph.Domain {
		o.Defaults = []graph.Attr{graph.Int("axis", 0)}
		o.Body = func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
			return one(b.OpA("GatherElements", []graph.Attr{graph.Int("axis", n.Int("axis", 0))}, in...))
		}
	}
	return o
}

var (
	opGatherElements       = gatherElementsOp("", 11)
	opMusterGatherElements = gatherElementsOp(graph.Domain, 1)
)
