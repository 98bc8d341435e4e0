package op

import "muster/graph"

// MeanVarianceNormalization is (x - mean) / (standard deviation + 1e-9) over axes, [0, 2, 3] by default.
var opMeanVarianceNormalization = Op{
	Name: "MeanVarianceNormalization", Since: 9, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "axes",
	Infer: func(c *InferCall) error {
		if s := c.In[0].Shape; s != nil {
			if _, err := axisSet(c.Node.Place(), mvnAxes(c.Node), len(s)); err != nil {
				return err
			}
		}
		return firstErr(c.wantFloat(0), sameAs(c))
	},
	Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
		x, axes := in[0], mvnAxes(n)
		d := b.Op("Sub", x, b.ReduceMean(x, 1, axes...))
		std := b.Op("Sqrt", b.ReduceMean(square(b, d), 1, axes...))
		return one(b.Op("Div", d, b.Op("Add", std, fill(b, x, 1e-9))))
	},
}

func mvnAxes(n *graph.Node) []int64 {
	if n.Attr("axes") == nil {
		return []int64{0, 2, 3}
	}
	return n.Ints("axes")
}
