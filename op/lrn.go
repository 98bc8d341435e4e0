package op

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// LRN divides X by (bias + alpha/size times the sum of squares of `size` neighbouring channels)^beta
// (Krizhevsky et al., 2012); floor((size-1)/2) neighbours come before.
var opLRN = Op{
	Name: "LRN", Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "alpha beta bias size",
	Infer: func(c *InferCall) error {
		if s := c.Node.Int("size", 0); s < 1 || s > maxTaps {
			return c.Errorf("size %d", s)
		}
		if x := c.In[0].Shape; x != nil && len(x) < 2 {
			return c.Errorf("input 0 is %v, want [N, C, ...]", x)
		}
		return firstErr(c.wantFloat(0), sameAs(c))
	},
	Ref: func(c *Call) error {
		x, n, s := floats(c.In[0]), c.Node, c.In[0].Shape
		size, alpha, beta, bias := int(n.Int("size", 1)), float64(n.Float("alpha", 1e-4)), float64(n.Float("beta", 0.75)), float64(n.Float("bias", 1))
		C, O := s[1], s[2:].Elems()
		y := make([]float64, len(x))
		for i := range x {
			k := i / O % C
			sum := 0.0
			for j := max(0, k-(size-1)/2); j <= min(C-1, k+size/2); j++ {
				v := x[i+(j-k)*O]
				sum += float64(v * v)
			}
			y[i] = x[i] / math.Pow(bias+alpha/float64(size)*sum, beta)
		}
		setFloats(c.Out[0], y)
		return nil
	},
	// The sum over channels is a convolution of [N, 1, C, O] with ones.
	Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
		x, size := in[0], n.Int("size", 1)
		d := x.DType
		if d == tensor.Undefined {
			d = tensor.Float32
		}
		ones := tensor.New(d, 1, 1, int(size), 1)
		v := make([]float64, size)
		for i := range v {
			v[i] = 1
		}
		setFloats(ones, v)
		sq := b.Unsqueeze(b.Op("Reshape", b.Op("Mul", x, x), b.Ints(0, 0, -1)), 1)
		sum := b.OpA("Conv", []graph.Attr{graph.Ints("pads", (size-1)/2, 0, size/2, 0)}, sq, b.Init("ones", ones))
		den := b.Op("Add", b.Op("Mul", b.Op("Reshape", sum, shapeOf(b, x)), fill(b, x, float64(n.Float("alpha", 1e-4))/float64(size))), param(b, n, x, "bias", 1))
		return one(b.Op("Mul", x, b.Op("Pow", den, fill(b, x, -float64(n.Float("beta", 0.75))))))
	},
}
