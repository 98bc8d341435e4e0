package op

import (
	"math"
	"slices"

	"muster/graph"
	"muster/internal/detmath"
	"muster/internal/kernel"
	"muster/tensor"
)

// Axes: M rows (all axes before the last), K the summed axis, N columns.

// Linear(X, W, B, R) is activation(X W + B + R) in one kernel: X [..., K], W [K, N] ([N, K] with transB), B [N],
// R [..., N]; B and R may be absent. The activation comes last, so that a residual block is one call too.
//
// activation is one of activations; alpha and beta are its parameters where it has some: slope and offset of
// HardSigmoid, the slope of LeakyRelu below 0, the bounds of Clip. With transA X is [K, M]. With precision "bf16" the
// elements of X and W are rounded to bfloat16 first; products and sums stay float32.
var opLinear = Op{
	Domain: graph.Domain, Name: "Linear", Since: 1, MinIn: 2, MaxIn: 4, MinOut: 1, MaxOut: 1,
	Attrs: "activation alpha beta precision transA transB",
	Defaults: []graph.Attr{graph.Str("activation", ""), graph.Float("alpha", 0), graph.Float("beta", 0), graph.Str("precision", ""),
		graph.Int("transA", 0), graph.Int("transB", 0)},
	Infer: linearInfer,
	Ref: func(c *Call) error {
		as, bs, M, K, N := matmulViews(c.In[0].Shape, c.In[1].Shape, c.Node.Int("transA", 0) != 0, c.Node.Int("transB", 0) != 0)
		x, w := floats(c.In[0]), floats(c.In[1])
		if lowPrecision(c.Node) {
			x, w = roundedHalf(x), roundedHalf(w)
		}
		y := matmul(x, w, as, bs, M, K, N, 1)
		for i, t := range []*tensor.Tensor{c.in(2), c.in(3)} {
			if t == nil {
				continue
			}
			v := floats(t)
			for k := range y {
				y[k] += v[[]int{k % N, k}[i]]
			}
		}
		p := post(c.Node)
		for i := range y {
			y[i] = activation(p.Act, y[i], float64(p.Lo), float64(p.Hi))
		}
		setFloats(c.Out[0], y)
		return nil
	},
	Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
		x, w := in[0], in[1]
		if lowPrecision(n) {
			x, w = castLike(b, cast(b, x, tensor.BFloat16), x), castLike(b, cast(b, w, tensor.BFloat16), x)
		}
		if n.Int("transA", 0) != 0 {
			x = swapLast(b, x, 2)
		}
		if n.Int("transB", 0) != 0 {
			w = swapLast(b, w, 2)
		}
		y := b.Op("MatMul", x, w)
		for _, v := range in[2:] {
			if v != nil {
				y = b.Op("Add", y, v)
			}
		}
		y.DType = in[0].DType
		return one(activationBody(b, n, y))
	},
	Prepare: linearKernel,
	Flops: func(in, out []*graph.Value) int64 {
		w, _ := in[1].Static()
		c, _ := out[0].Static()
		if len(w) != 2 || c.Elems() == 0 {
			return 0
		}
		return 2 * int64(c.Elems()) * int64(w.Elems()/lastAxis(c))
	},
}

// lowPrecision reports whether the operands of a product are rounded to bfloat16.
func lowPrecision(n *graph.Node) bool { return n.Str("precision", "") == "bf16" }

func roundedHalf(x []float64) []float64 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	kernel.RoundBF16(y)
	for i, v := range y {
		x[i] = float64(v)
	}
	return x
}

// activations are the names that the attribute activation takes.
var activations = map[string]kernel.Act{"": kernel.ActNone, "Relu": kernel.ActRelu, "Gelu": kernel.ActGelu, "GeluTanh": kernel.ActGeluTanh,
	"Silu": kernel.ActSilu, "Sigmoid": kernel.ActSigmoid, "Tanh": kernel.ActTanh, "HardSwish": kernel.ActHardSwish,
	"HardSigmoid": kernel.ActHardSigmoid, "Clip": kernel.ActClip, "LeakyRelu": kernel.ActLeakyRelu}

// post is what the attributes activation, alpha and beta of n ask for.
func post(n *graph.Node) kernel.Post {
	return kernel.Post{Act: activations[n.Str("activation", "")], Lo: n.Float("alpha", 0), Hi: n.Float("beta", 0)}
}

// activation is the meaning of an activation; alpha and beta are its parameters.
func activation(act kernel.Act, x, alpha, beta float64) float64 {
	switch act {
	case kernel.ActRelu:
		return max(x, 0)
	case kernel.ActGelu:
		return x * detmath.NormalCDF(x)
	case kernel.ActGeluTanh:
		return x / 2 * (1 + detmath.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case kernel.ActSilu:
		return x / (1 + detmath.Exp(-x))
	case kernel.ActSigmoid:
		return 1 / (1 + detmath.Exp(-x))
	case kernel.ActTanh:
		return detmath.Tanh(x)
	case kernel.ActHardSwish:
		return x * max(0, min(1, x/6+0.5))
	case kernel.ActHardSigmoid:
		return max(0, min(1, float64(alpha*x)+beta))
	case kernel.ActClip:
		return min(max(x, alpha), beta)
	case kernel.ActLeakyRelu:
		if x < 0 {
			return alpha * x
		}
	}
	return x
}

// knownActivation checks the attribute activation.
func (c *InferCall) knownActivation() error {
	name := c.Node.Str("activation", "")
	if _, ok := activations[name]; !ok {
		return c.unsupported("activation %q is not supported", name)
	}
	return nil
}

// activationBody appends the activation of n to x, in operators that every opset has.
func activationBody(b *graph.Builder, n *graph.Node, x *graph.Value) *graph.Value {
	alpha := func() *graph.Value { return param(b, n, x, "alpha", 0) }
	beta := func() *graph.Value { return param(b, n, x, "beta", 0) }
	gate := func(slope, offset *graph.Value) *graph.Value {
		v := b.Op("Add", b.Op("Mul", x, slope), offset)
		return b.Op("Max", b.Op("Min", v, fill(b, x, 1)), fill(b, x, 0))
	}
	switch activations[n.Str("activation", "")] {
	case kernel.ActRelu:
		return b.Op("Relu", x)
	case kernel.ActGelu:
		return halfGate(b, x, b.Op("Erf", b.Op("Div", x, fill(b, x, math.Sqrt2))))
	case kernel.ActGeluTanh:
		cube := b.Op("Mul", square(b, x), x)
		u := b.Op("Add", x, b.Op("Mul", cube, fill(b, x, 0.044715)))
		return halfGate(b, x, b.Op("Tanh", b.Op("Mul", u, fill(b, x, math.Sqrt(2/math.Pi)))))
	case kernel.ActSilu:
		return b.Op("Mul", x, b.Op("Sigmoid", x))
	case kernel.ActSigmoid:
		return b.Op("Sigmoid", x)
	case kernel.ActTanh:
		return b.Op("Tanh", x)
	case kernel.ActHardSwish:
		return b.Op("Mul", x, gate(fill(b, x, 1.0/6), fill(b, x, 0.5)))
	case kernel.ActHardSigmoid:
		return gate(alpha(), beta())
	case kernel.ActClip:
		return b.Op("Min", b.Op("Max", x, alpha()), beta())
	case kernel.ActLeakyRelu:
		return b.Op("Where", b.Op("Less", x, fill(b, x, 0)), b.Op("Mul", x, alpha()), x)
	}
	return x
}

// halfGate is x (1 + g) / 2.
func halfGate(b *graph.Builder, x, g *graph.Value) *graph.Value {
	return b.Op("Mul", b.Op("Mul", x, b.Op("Add", g, fill(b, x, 1))), fill(b, x, 0.5))
}

func linearInfer(c *InferCall) error {
	if err := firstErr(c.wantFloat(0), c.sameTypes(), c.wantRank(1, 2), c.wantRank(2, 1), c.knownActivation()); err != nil {
		return err
	}
	if p := c.Node.Str("precision", ""); p != "" && p != "bf16" {
		return c.unsupported("precision %q is not supported", p)
	}
	if c.Node.Int("transA", 0) != 0 {
		if err := c.wantRank(0, 2); err != nil {
			return err
		}
	}
	s, err := c.matmulDims(swapEnd(c.In[0].Shape, c.Node.Int("transA", 0)), swapEnd(c.In[1].Shape, c.Node.Int("transB", 0)))
	if err != nil {
		return err
	}
	if v := c.in(2); v != nil && v.Shape != nil && len(s) > 0 {
		if d := s[len(s)-1]; d.Known() && v.Shape[0].Known() && d.Size != v.Shape[0].Size {
			return c.Errorf("a bias of %v for %v", v.Shape, s)
		}
	}
	if v := c.in(3); v != nil && v.Shape != nil && s != nil {
		same := func(a, b graph.Dim) bool { return !a.Known() || !b.Known() || a.Size == b.Size }
		if !slices.EqualFunc(v.Shape, s, same) {
			return c.Errorf("a residual of %v for %v", v.Shape, s)
		}
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

func linearKernel(p *Prep) (Kernel, bool) {
	if len(p.In[0].Shape) < 2 {
		return Kernel{}, false
	}
	return matmulKernel(p, p.Node.Int("transA", 0) != 0, p.Node.Int("transB", 0) != 0, 1, p.in(2), p.in(3))
}
