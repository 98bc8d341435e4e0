package op

import (
	"math"

	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// muster.AddNormalization(A, B, Scale, Bias) -> Y, Sum normalises Sum = A + B along the last axis: Y = (Sum - mean)
// InvStd Scale + Bias, InvStd = 1 / sqrt(variance + epsilon), or with rms 1 without a mean and a Bias
// (LayerNormalization and RMSNormalization after a residual). A and B have one shape; B, Scale and Bias may be absent.
var opAddNormalization = Op{
	Domain: graph.Domain, Name: "AddNormalization", Since: 1, MinIn: 1, MaxIn: 4, MinOut: 1, MaxOut: 2, Attrs: "epsilon rms",
	Defaults: []graph.Attr{graph.Float("epsilon", 1e-5), graph.Int("rms", 0)},
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.sameTypes(), c.wantRank(2, 1), c.wantRank(3, 1)); err != nil {
			return err
		}
		x := c.In[0].Shape
		if c.Node.Int("rms", 0) != 0 && c.in(3) != nil {
			return c.Errorf("a bias without a mean")
		}
		if b := c.in(1); b != nil && b.Shape != nil && x != nil {
			if len(b.Shape) != len(x) {
				return c.Errorf("%v and %v are added", x, b.Shape)
			}
			for i := range x {
				if err := c.agree("the summands", x[i], b.Shape[i]); err != nil {
					return err
				}
			}
		}
		if x != nil {
			if len(x) == 0 {
				return c.Errorf("the input is a scalar")
			}
			for i := 2; i < 4; i++ {
				if v := c.in(i); v != nil && v.Shape != nil {
					if err := c.agree("the last axis", x[len(x)-1], v.Shape[0]); err != nil {
						return err
					}
				}
			}
		}
		c.Set(0, c.In[0].DType, x)
		c.Set(1, c.In[0].DType, x)
		return nil
	},
	Ref:     addNormRef,
	Body:    addNormBody,
	Prepare: addNormKernel,
}

func addNormRef(c *Call) error {
	x, C := floats(c.In[0]), lastAxis(c.In[0].Shape)
	if t := c.in(1); t != nil {
		for i, v := range floats(t) {
			x[i] += v
		}
	}
	if t := c.out(1); t != nil {
		setFloats(t, x)
	}
	scale, bias := make([]float64, C), make([]float64, C)
	for i := range scale {
		scale[i] = 1
	}
	if t := c.in(2); t != nil {
		scale = floats(t)
	}
	if t := c.in(3); t != nil {
		bias = floats(t)
	}
	eps, rms := float64(c.Node.Float("epsilon", 1e-5)), c.Node.Int("rms", 0) != 0
	for r := 0; C > 0 && r < len(x)/C; r++ {
		v := x[r*C:][:C]
		mean, inv := 0.0, 0.0
		if rms {
			for _, t := range v {
				inv += float64(t * t)
			}
			inv = 1 / math.Sqrt(inv/float64(C)+eps)
		} else {
			mean, inv = moments(v, eps)
		}
		for i := range v {
			v[i] = float64((v[i]-mean)*inv*scale[i]) + bias[i]
		}
	}
	setFloats(c.Out[0], x)
	return nil
}

func addNormBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	get := func(i int) *graph.Value {
		if i < len(in) {
			return in[i]
		}
		return nil
	}
	x := in[0]
	if v := get(1); v != nil {
		x = like(b.Op("Add", x, v), in[0])
	}
	d := x
	if n.Int("rms", 0) == 0 {
		d = like(b.Op("Sub", x, b.ReduceMean(x, 1, -1)), in[0])
	}
	v := b.Op("Add", b.ReduceMean(square(b, d), 1, -1), param(b, n, in[0], "epsilon", 1e-5))
	y := b.Op("Div", d, b.Op("Sqrt", v))
	if v := get(2); v != nil {
		y = b.Op("Mul", y, v)
	}
	if v := get(3); v != nil {
		y = b.Op("Add", y, v)
	}
	if x == in[0] {
		x = b.Op("Identity", x)
	}
	return []*graph.Value{y, x}
}

func addNormKernel(p *Prep) (Kernel, bool) {
	if p.In[0].DType != tensor.Float32 {
		return Kernel{}, false
	}
	C := lastAxis(p.In[0].Shape)
	if C == 0 {
		return Kernel{}, false
	}
	rows, eps, rms := p.In[0].Elems()/C, p.Node.Float("epsilon", 1e-5), p.Node.Int("rms", 0) != 0
	ones, zeros := make([]float32, C), make([]float32, C)
	for i := range ones {
		ones[i] = 1
	}
	param := func(in []*tensor.Tensor, i int, def []float32) []float32 {
		if i < len(in) && in[i] != nil {
			return in[i].Float32s()
		}
		return def
	}
	return Kernel{Over: 1, Run: rowKernel(rows, C, func(in, out []*tensor.Tensor, lo, hi int) {
		y, x := out[0].Float32s()[lo*C:hi*C], in[0].Float32s()[lo*C:hi*C]
		sum := y
		if len(out) > 1 && out[1] != nil {
			sum = out[1].Float32s()[lo*C : hi*C]
		}
		scale, bias := param(in, 2, ones), param(in, 3, zeros)
		b := param(in, 1, nil)
		if b == nil && len(out) > 1 && out[1] != nil {
			copy(sum, x) // before y, which may be x
		}
		switch {
		case b != nil && rms:
			kernel.AddRMSNorm(y, sum, x, b[lo*C:hi*C], scale, hi-lo, C, eps)
		case b != nil:
			kernel.AddLayerNorm(y, sum, x, b[lo*C:hi*C], scale, bias, hi-lo, C, eps)
		case rms:
			kernel.RMSNorm(y, nil, x, scale, hi-lo, C, eps)
		default:
			kernel.LayerNorm(y, nil, nil, x, scale, bias, hi-lo, C, eps)
		}
	})}, true
}
