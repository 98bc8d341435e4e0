package op

import (
	"math"

	"muster/graph"
)

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
	Ref: func(c *Call) error {
		s := c.In[0].Shape
		set, err := axisSet("", mvnAxes(c.Node), len(s))
		if err != nil {
			return err
		}
		to, count := target(s, set)
		v := floats(c.In[0])
		average := func(f func(x float64) float64) []float64 {
			sums := make([]float64, len(v))
			for i, x := range v {
				sums[to[i]] += f(x)
			}
			for i := range sums {
				sums[i] /= float64(count)
			}
			return sums
		}
		mean := average(func(x float64) float64 { return x })
		for i := range v {
			v[i] -= mean[to[i]]
		}
		variance := average(func(x float64) float64 { return float64(x * x) })
		for i := range v {
			v[i] /= math.Sqrt(variance[to[i]]) + 1e-9
		}
		setFloats(c.Out[0], v)
		return nil
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
