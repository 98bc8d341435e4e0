package op

import (
	"muster/graph"
	"muster/internal/detmath"
)

// slope is the derivative of a unary operator, written with its input x and its result y.
type slope = func(b *graph.Builder, x, y *graph.Value) *graph.Value

// curve is a unary operator with the derivative dy s(x, y), or dy / s(x, y) if over is set.
func curve(name string, since int, f func(float64) float64, over bool, s slope) Op {
	with := "Mul"
	if over {
		with = "Div"
	}
	return unary{name: name, since: since, f: plain(f), dx: func(b *graph.Builder, _ *graph.Node, dy, x, y *graph.Value) *graph.Value {
		return b.Op(with, dy, s(b, x, y))
	}}.op()
}

// polySlope is sqrt(c + k x^2), without the root if root is false.
func polySlope(c, k float64, root bool) slope {
	return func(b *graph.Builder, x, _ *graph.Value) *graph.Value {
		v := b.Op("Add", fill(b, x, c), b.Op("Mul", fill(b, x, k), square(b, x)))
		if root {
			return b.Op("Sqrt", v)
		}
		return v
	}
}

// of is the derivative that is another operator of the input.
func of(name string) slope {
	return func(b *graph.Builder, x, _ *graph.Value) *graph.Value { return b.Op(name, x) }
}

// Trigonometric and hyperbolic functions and their inverses. Derivatives: DLMF 4.20, 4.24, 4.34, 4.38.
// The inverses are infinite where the function ends, as in PyTorch.
var (
	opAcos  = curve("Acos", 7, detmath.Acos, true, negated(polySlope(1, -1, true)))
	opAcosh = curve("Acosh", 9, detmath.Acosh, true, polySlope(-1, 1, true))
	opAsin  = curve("Asin", 7, detmath.Asin, true, polySlope(1, -1, true))
	opAsinh = curve("Asinh", 9, detmath.Asinh, true, polySlope(1, 1, true))
	opAtan  = curve("Atan", 7, detmath.Atan, true, polySlope(1, 1, false))
	opAtanh = curve("Atanh", 9, detmath.Atanh, true, polySlope(1, -1, false))
	opCos   = curve("Cos", 7, detmath.Cos, false, negated(of("Sin")))
	opCosh  = curve("Cosh", 9, detmath.Cosh, false, of("Sinh"))
	opSin   = curve("Sin", 7, detmath.Sin, false, of("Cos"))
	opSinh  = curve("Sinh", 9, detmath.Sinh, false, of("Cosh"))
	opTan   = curve("Tan", 7, detmath.Tan, false, func(b *graph.Builder, _, y *graph.Value) *graph.Value {
		return b.Op("Add", fill(b, y, 1), square(b, y))
	})
)

func negated(s slope) slope {
	return func(b *graph.Builder, x, y *graph.Value) *graph.Value { return b.Op("Neg", s(b, x, y)) }
}
