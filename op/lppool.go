package op

import (
	"math"

	"muster/graph"
)

// LpPool is the p-norm of a window.
var opLpPool = Op{
	Name: "LpPool", Since: 2, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
	Attrs: "auto_pad ceil_mode dilations kernel_shape p pads strides",
	Infer: func(c *InferCall) error {
		if p := c.Node.Int("p", 2); p < 1 {
			return c.unsupported("p %d is not supported", p)
		}
		return firstErr(c.wantFloat(0), poolInfer(c))
	},
	Ref: func(c *Call) error {
		x, p := floats(c.In[0]), float64(c.Node.Int("p", 2))
		in, out := c.In[0].Shape[2:].Elems(), c.Out[0].Shape[2:].Elems()
		y := make([]float64, c.Out[0].Elems())
		err := pooled(c, func(_ window, plane, o int, at []int) {
			sum := 0.0
			for _, i := range at {
				if i >= 0 {
					sum += math.Pow(math.Abs(x[plane*in+i]), p)
				}
			}
			y[plane*out+o] = math.Pow(sum, 1/p)
		})
		setFloats(c.Out[0], y)
		return err
	},
	Grad: func(c *GradCall) []*graph.Value {
		win, ok := c.poolSizes()
		if !ok {
			return one(nil)
		}
		b, p := c.B, c.Node.Int("p", 2)
		return one(normSlope(b, c.In[0], c.spreadPlanes(b.Op("Mul", c.DOut[0], normScale(b, c.Out[0], p)), win), p))
	},
}

// normScale is y^(1-p), and 0 where y is 0: there the norm has a kink, and 0 is a subgradient.
func normScale(b *graph.Builder, y *graph.Value, p int64) *graph.Value {
	zero := b.Op("Equal", y, fill(b, y, 0))
	safe := b.Op("Where", zero, fill(b, y, 1), y)
	return b.Op("Where", zero, fill(b, y, 0), b.Op("Pow", safe, fill(b, y, float64(1-p))))
}

// normSlope is v |x|^(p-1) sign(x).
func normSlope(b *graph.Builder, x, v *graph.Value, p int64) *graph.Value {
	switch p {
	case 1:
		return b.Op("Mul", v, b.Op("Sign", x))
	case 2:
		return b.Op("Mul", v, x)
	}
	return b.Op("Mul", v, b.Op("Mul", b.Op("Sign", x), b.Op("Pow", b.Op("Abs", x), fill(b, x, float64(p-1)))))
}
