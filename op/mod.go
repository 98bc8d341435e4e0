package op

import (
	"math"

	"muster/graph"
)

// floorMod is x - floor(x/y) y, with the sign of y.
func floorMod(x, y float64) float64 {
	switch {
	case math.IsInf(y, 0) && !math.IsInf(x, 0) && x == x:
		if x == 0 || math.Signbit(x) == math.Signbit(y) {
			return math.Copysign(x, x)
		}
		return y
	}
	m := math.Mod(x, y)
	if m == 0 {
		return math.Copysign(m, y)
	}
	if math.Signbit(m) != math.Signbit(y) {
		m += y
	}
	return m
}

// Mod is the remainder: of the division rounded down, or towards zero if fmod is 1. An integer
// remainder by 0 is 0 (the standard leaves it open). The derivative by y is minus the quotient.
var opMod = binary{name: "Mod", since: 10, attrs: "fmod", as: func(n *graph.Node) binary {
	toZero := n.Int("fmod", 0) != 0
	f := floorMod
	if toZero {
		f = math.Mod
	}
	return binary{f: f, i: func(x, y int64) int64 {
		if y == 0 || y == -1 {
			return 0
		}
		m := x % y
		if !toZero && m != 0 && (m < 0) != (y < 0) {
			m += y
		}
		return m
	}, u: func(x, y uint64) uint64 {
		if y == 0 {
			return 0
		}
		return x % y
	}, fast: binaryFast{f: func(x, y float32) float32 { return float32(f(float64(x), float64(y))) }}}
}, grad: func(b *graph.Builder, n *graph.Node, dy, x, y, _ *graph.Value, need []bool) (dx, dw *graph.Value) {
	if need[1] {
		q := b.Op("Div", x, y)
		if n.Int("fmod", 0) != 0 {
			q = b.Op("Mul", b.Op("Sign", q), b.Op("Floor", b.Op("Abs", q)))
		} else {
			q = b.Op("Floor", q)
		}
		dw = b.Op("Neg", b.Op("Mul", dy, q))
	}
	return dy, dw
}}.op()
