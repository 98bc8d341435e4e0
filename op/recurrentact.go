package op

import (
	"math"

	"muster/graph"
	"muster/internal/detmath"
	"muster/internal/kernel"
)

// actForm is one activation of a recurrent cell: its meaning, its float32 form, and as other operators.
type actForm struct {
	alpha, beta bool // which parameters it has
	a, b        float64
	f           func(x, a, b float64) float64
	fast        func(dst, x []float32, a, b float32)
	emit        func(g *graph.Builder, like, x *graph.Value, a, b float64) *graph.Value // like has the dtype
}

// cellAct is an activation with its parameters.
type cellAct struct {
	form        *actForm
	alpha, beta float64
}

func (a cellAct) f(x float64) float64 { return a.form.f(x, a.alpha, a.beta) }

func (a cellAct) fast(dst, x []float32) {
	a.form.fast(dst, x, float32(a.alpha), float32(a.beta))
}

func (a cellAct) emit(b *graph.Builder, like, x *graph.Value) *graph.Value {
	return a.form.emit(b, like, x, a.alpha, a.beta)
}

func plainAct(name string, f func(x float64) float64, fast func(dst, x []float32)) *actForm {
	return &actForm{f: func(x, _, _ float64) float64 { return f(x) }, fast: func(dst, x []float32, _, _ float32) { fast(dst, x) },
		emit: func(g *graph.Builder, _, x *graph.Value, _, _ float64) *graph.Value { return g.Op(name, x) }}
}

func attrAct(name string, a float64, f func(x, a float64) float64, fast func(dst, x []float32, a float32)) *actForm {
	return &actForm{alpha: true, a: a, f: func(x, a, _ float64) float64 { return f(x, a) }, fast: func(dst, x []float32, a, _ float32) { fast(dst, x, a) },
		emit: func(g *graph.Builder, _, x *graph.Value, a, _ float64) *graph.Value {
			return g.OpA(name, []graph.Attr{graph.Float("alpha", float32(a))}, x)
		}}
}

// cellActs are ONNX's activations by their names in lower case.
var cellActs = map[string]*actForm{
	"relu":     plainAct("Relu", func(x float64) float64 { return max(x, 0) }, kernel.Relu),
	"tanh":     plainAct("Tanh", tanh, kernel.Tanh),
	"sigmoid":  plainAct("Sigmoid", func(x float64) float64 { return 1 / (1 + detmath.Exp(-x)) }, kernel.Sigmoid),
	"softsign": plainAct("Softsign", func(x float64) float64 { return x / (1 + math.Abs(x)) }, kernel.Softsign),
	"softplus": plainAct("Softplus", func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }, kernel.Softplus),
	"leakyrelu": attrAct("LeakyRelu", 0.01, func(x, a float64) float64 {
		if x < 0 {
			return a * x
		}
		return x
	}, kernel.LeakyRelu),
	"thresholdedrelu": attrAct("ThresholdedRelu", 1, func(x, a float64) float64 {
		if x > a {
			return x
		}
		return 0
	}, func(dst, x []float32, a float32) {
		for i, v := range x {
			if !(v > a) {
				v = 0
			}
			dst[i] = v
		}
	}),
	"elu": attrAct("Elu", 1, func(x, a float64) float64 {
		if x < 0 {
			return a * math.Expm1(x)
		}
		return x
	}, func(dst, x []float32, a float32) { kernel.Elu(dst, x, a, 1) }),
	"affine": {alpha: true, beta: true, a: 1, f: func(x, a, b float64) float64 { return float64(a*x) + b },
		fast: func(dst, x []float32, a, b float32) {
			for i, v := range x {
				dst[i] = float32(a*v) + b
			}
		},
		emit: func(g *graph.Builder, like, x *graph.Value, a, b float64) *graph.Value {
			return g.Op("Add", g.Op("Mul", x, fill(g, like, a)), fill(g, like, b))
		}},
	"scaledtanh": {alpha: true, beta: true, a: 1, b: 1, f: func(x, a, b float64) float64 { return a * tanh(b*x) },
		fast: func(dst, x []float32, a, b float32) {
			kernel.MapScalar(kernel.Mul, dst, x, b)
			kernel.Tanh(dst, dst)
			kernel.MapScalar(kernel.Mul, dst, dst, a)
		},
		emit: func(g *graph.Builder, like, x *graph.Value, a, b float64) *graph.Value {
			return g.Op("Mul", g.Op("Tanh", g.Op("Mul", x, fill(g, like, b))), fill(g, like, a))
		}},
	"hardsigmoid": {alpha: true, beta: true, a: float64(float32(0.2)), b: 0.5, f: func(x, a, b float64) float64 { return max(0, min(1, float64(a*x)+b)) },
		fast: kernel.HardSigmoid,
		emit: func(g *graph.Builder, _, x *graph.Value, a, b float64) *graph.Value {
			return g.OpA("HardSigmoid", []graph.Attr{graph.Float("alpha", float32(a)), graph.Float("beta", float32(b))}, x)
		}},
}
