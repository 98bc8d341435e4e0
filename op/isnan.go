package op

import (
	"math"

	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// predicate is an operator that asks a question about every number.
func predicate(name string, since int, attrs string, f func(n *graph.Node, x float64) bool) Op {
	return Op{
		Name: name, Since: since, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: attrs, Stored: true, NoGrad: "its output is bool",
		Infer: func(c *InferCall) error {
			c.Set(0, tensor.Bool, c.In[0].Shape)
			switch c.In[0].DType {
			case tensor.Float8E4M3FN, tensor.Float8E4M3FNUZ, tensor.Float8E5M2, tensor.Float8E5M2FNUZ:
				return nil
			}
			return c.wantFloat(0)
		},
		Ref: func(c *Call) error {
			for i, x := range floats(c.In[0]) {
				c.Out[0].Bools()[i] = f(c.Node, x)
			}
			return nil
		},
		Prepare: func(p *Prep) (Kernel, bool) {
			if p.In[0].DType != tensor.Float32 {
				return Kernel{}, false
			}
			n := p.Out[0].Elems()
			return Kernel{Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
				lo, hi := bounds(n, task)
				d := out[0].Bools()[lo:hi]
				if name == "IsNaN" {
					x := in[0].Float32s()[lo:hi]
					kernel.Compare(kernel.NotEqual, d, x, x)
					return
				}
				for i, x := range in[0].Float32s()[lo:hi] {
					d[i] = f(p.Node, float64(x))
				}
			})}, true
		},
	}
}

var (
	opIsInf = predicate("IsInf", 10, "detect_negative detect_positive", func(n *graph.Node, x float64) bool {
		return math.IsInf(x, 1) && n.Int("detect_positive", 1) != 0 || math.IsInf(x, -1) && n.Int("detect_negative", 1) != 0
	})
	opIsNaN = predicate("IsNaN", 9, "", func(_ *graph.Node, x float64) bool { return x != x })
)
