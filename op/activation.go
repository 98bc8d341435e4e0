package op

import (
	"math"

	"muster/graph"
	"muster/internal/detmath"
	"muster/internal/kernel"
)

// Activations. At the points where one has no derivative the gradient is PyTorch's: that of the
// negative side at 0 for Elu, Selu, Celu and LeakyRelu, 0 at both bends of HardSigmoid and at the lower
// one of HardSwish (1 at the upper one), 0 at the thresholds of ThresholdedRelu and Shrink.

// positive is whether x > 0.
func positive(b *graph.Builder, x *graph.Value) *graph.Value {
	return b.Op("Greater", x, fill(b, x, 0))
}

// expBelow is e^(x/scale) where x < 0 and 1 elsewhere, so that it cannot overflow.
func expBelow(b *graph.Builder, x *graph.Value, scale float64) *graph.Value {
	v := b.Op("Neg", b.Op("Relu", b.Op("Neg", x)))
	if scale != 1 {
		v = b.Op("Div", v, fill(b, x, scale))
	}
	return b.Op("Exp", v)
}

// softplus is log(1 + e^x) without overflow.
func softplus(x float64) float64 { return max(x, 0) + detmath.Log1p(detmath.Exp(-math.Abs(x))) }

// act is a unary operator whose derivative is chosen by where x lies; inside returns a condition and the values on both sides.
type act = func(b *graph.Builder, n *graph.Node, x *graph.Value) (cond, yes, no *graph.Value)

func bent(name string, since int, attrs string, f func(n *graph.Node, x float64) float64, d act, fast fastUnary) unary {
	return unary{name: name, since: since, attrs: attrs, f: f, fast: fast,
		dx: func(b *graph.Builder, n *graph.Node, dy, x, _ *graph.Value) *graph.Value {
			return b.Op("Mul", dy, b.Op("Where", firstOf(d(b, n, x))...))
		}}
}

func firstOf(cond, yes, no *graph.Value) []*graph.Value { return []*graph.Value{cond, yes, no} }

// activate is kernel.Activate with parameters from the node.
func activate(a kernel.Act, params func(n *graph.Node) (lo, hi float32)) fastUnary {
	return func(n *graph.Node) func(dst, x []float32) {
		var lo, hi float32
		if params != nil {
			lo, hi = params(n)
		}
		return func(dst, x []float32) { kernel.Activate(a, dst, x, lo, hi) }
	}
}

func float(n *graph.Node, name string, def float32) float64 { return float64(n.Float(name, def)) }

const (
	seluAlpha = 1.67326319217681884765625 // the float32 values of the schema
	seluGamma = 1.05070102214813232421875
)

var (
	opElu = bent("Elu", 6, "alpha", func(n *graph.Node, x float64) float64 {
		if x > 0 {
			return x
		}
		return float(n, "alpha", 1) * detmath.Expm1(x)
	}, func(b *graph.Builder, n *graph.Node, x *graph.Value) (cond, yes, no *graph.Value) {
		return positive(b, x), fill(b, x, 1), b.Op("Mul", fill(b, x, float(n, "alpha", 1)), expBelow(b, x, 1))
	}, func(n *graph.Node) func(dst, x []float32) { return elu(n.Float("alpha", 1), 1) }).op()

	opSelu = bent("Selu", 6, "alpha gamma", func(n *graph.Node, x float64) float64 {
		a, g := float(n, "alpha", seluAlpha), float(n, "gamma", seluGamma)
		if x > 0 {
			return g * x
		}
		return g * a * detmath.Expm1(x)
	}, func(b *graph.Builder, n *graph.Node, x *graph.Value) (cond, yes, no *graph.Value) {
		a, g := float(n, "alpha", seluAlpha), float(n, "gamma", seluGamma)
		return positive(b, x), fill(b, x, g), b.Op("Mul", fill(b, x, a*g), expBelow(b, x, 1))
	}, func(n *graph.Node) func(dst, x []float32) {
		a, g := float(n, "alpha", seluAlpha), float(n, "gamma", seluGamma)
		return elu(float32(a*g), float32(g))
	}).op()

	opCelu = bent("Celu", 12, "alpha", func(n *graph.Node, x float64) float64 {
		a := float(n, "alpha", 1)
		return max(x, 0) + min(0, a*detmath.Expm1(x/a))
	}, func(b *graph.Builder, n *graph.Node, x *graph.Value) (cond, yes, no *graph.Value) {
		return positive(b, x), fill(b, x, 1), expBelow(b, x, float(n, "alpha", 1))
	}, nil).op()

	opHardSigmoid = bent("HardSigmoid", 6, "alpha beta", func(n *graph.Node, x float64) float64 {
		return max(0, min(1, float64(float(n, "alpha", 0.2)*x)+float(n, "beta", 0.5)))
	}, func(b *graph.Builder, n *graph.Node, x *graph.Value) (cond, yes, no *graph.Value) {
		v := b.Op("Add", b.Op("Mul", x, fill(b, x, float(n, "alpha", 0.2))), fill(b, x, float(n, "beta", 0.5)))
		inside := b.Op("And", b.Op("Greater", v, fill(b, x, 0)), b.Op("Less", v, fill(b, x, 1)))
		return inside, fill(b, x, float(n, "alpha", 0.2)), fill(b, x, 0)
	}, activate(kernel.ActHardSigmoid, func(n *graph.Node) (lo, hi float32) {
		return n.Float("alpha", 0.2), n.Float("beta", 0.5)
	})).op()

	opHardSwish = bent("HardSwish", 14, "", func(_ *graph.Node, x float64) float64 {
		return x * max(0, min(1, x/6+0.5))
	}, func(b *graph.Builder, _ *graph.Node, x *graph.Value) (cond, yes, no *graph.Value) {
		ramp := b.Op("Add", b.Op("Div", x, fill(b, x, 3)), fill(b, x, 0.5))
		below := b.Op("Where", b.Op("Greater", x, fill(b, x, -3)), ramp, fill(b, x, 0))
		return b.Op("Less", x, fill(b, x, 3)), below, fill(b, x, 1)
	}, activate(kernel.ActHardSwish, nil)).op()

	opLeakyRelu = bent("LeakyRelu", 6, "alpha", func(n *graph.Node, x float64) float64 {
		if x < 0 {
			return float(n, "alpha", 0.01) * x
		}
		return x
	}, func(b *graph.Builder, n *graph.Node, x *graph.Value) (cond, yes, no *graph.Value) {
		return positive(b, x), fill(b, x, 1), fill(b, x, float(n, "alpha", 0.01))
	}, activate(kernel.ActLeakyRelu, func(n *graph.Node) (lo, hi float32) { return n.Float("alpha", 0.01), 0 })).op()

	opThresholdedRelu = bent("ThresholdedRelu", 10, "alpha", func(n *graph.Node, x float64) float64 {
		if x > float(n, "alpha", 1) {
			return x
		}
		return 0
	}, func(b *graph.Builder, n *graph.Node, x *graph.Value) (cond, yes, no *graph.Value) {
		return b.Op("Greater", x, fill(b, x, float(n, "alpha", 1))), fill(b, x, 1), fill(b, x, 0)
	}, func(n *graph.Node) func(dst, x []float32) {
		a := n.Float("alpha", 1)
		return func(dst, x []float32) { kernel.Threshold(dst, x, a) }
	}).op()

	opShrink = shrink().op()

	// Mish is x tanh(softplus x) (arXiv 1908.08681); its slope is t + x (1 - t^2) sigmoid(x).
	opMish = unary{name: "Mish", since: 18, f: func(_ *graph.Node, x float64) float64 { return x * tanh(softplus(x)) },
		dx: func(b *graph.Builder, _ *graph.Node, dy, x, _ *graph.Value) *graph.Value {
			t := b.Op("Tanh", b.Op("Softplus", x))
			rest := b.Op("Mul", b.Op("Sub", fill(b, x, 1), square(b, t)), b.Op("Sigmoid", x))
			return b.Op("Mul", dy, b.Op("Add", t, b.Op("Mul", x, rest)))
		}}.op()

	opSoftplus = unary{name: "Softplus", since: 1, f: plain(softplus),
		dx: func(b *graph.Builder, _ *graph.Node, dy, x, _ *graph.Value) *graph.Value {
			return b.Op("Mul", dy, b.Op("Sigmoid", x))
		}}.op()

	opSoftsign = unary{name: "Softsign", since: 1, f: func(_ *graph.Node, x float64) float64 {
		if math.IsInf(x, 0) {
			return math.Copysign(1, x)
		}
		return x / (1 + math.Abs(x))
	}, dx: func(b *graph.Builder, _ *graph.Node, dy, x, _ *graph.Value) *graph.Value {
		return b.Op("Div", dy, square(b, b.Op("Add", fill(b, x, 1), b.Op("Abs", x))))
	}}.op()

	// Swish is x s with s = sigmoid(alpha x) (arXiv 1710.05941); its slope is s + alpha x s (1 - s).
	opSwish = unary{name: "Swish", since: 24, attrs: "alpha", f: func(n *graph.Node, x float64) float64 {
		return x * sigmoid(float(n, "alpha", 1)*x)
	}, dx: func(b *graph.Builder, n *graph.Node, dy, x, y *graph.Value) *graph.Value {
		a := fill(b, x, float(n, "alpha", 1))
		s := b.Op("Sigmoid", b.Op("Mul", x, a))
		rest := b.Op("Mul", b.Op("Mul", a, y), b.Op("Sub", fill(b, x, 1), s))
		return b.Op("Mul", dy, b.Op("Add", s, rest))
	}, fast: func(n *graph.Node) func(dst, x []float32) {
		if n.Float("alpha", 1) != 1 {
			return nil
		}
		return func(dst, x []float32) { kernel.Activate(kernel.ActSilu, dst, x, 0, 0) }
	}}.op()
)

// shrink moves what is beyond lambd towards 0 by bias, and sets the rest to 0.
func shrink() unary {
	u := bent("Shrink", 9, "bias lambd", func(n *graph.Node, x float64) float64 {
		switch l := float(n, "lambd", 0.5); {
		case x < -l:
			return x + float(n, "bias", 0)
		case x > l:
			return x - float(n, "bias", 0)
		}
		return 0
	}, func(b *graph.Builder, n *graph.Node, x *graph.Value) (cond, yes, no *graph.Value) {
		l := float(n, "lambd", 0.5)
		outside := b.Op("Or", b.Op("Less", x, fill(b, x, -l)), b.Op("Greater", x, fill(b, x, l)))
		return outside, fill(b, x, 1), fill(b, x, 0)
	}, nil)
	u.round = true
	return u
}
