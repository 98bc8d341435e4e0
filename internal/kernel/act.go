package kernel

import (
	"math"

	"muster/internal/detmath"
)

// Act is an activation that a matrix product or a convolution may apply to its results.
type Act uint8

// The activations. Lo and Hi are parameters of some.
const (
	ActNone        Act = iota
	ActRelu            // max(x, 0)
	ActGelu            // x (1 + erf(x/sqrt 2)) / 2
	ActGeluTanh        // its tanh form
	ActSilu            // x sigmoid(x)
	ActSigmoid         // 1 / (1 + e^-x)
	ActTanh            // hyperbolic tangent
	ActHardSwish       // x max(0, min(1, x/6 + 1/2))
	ActHardSigmoid     // max(0, min(1, lo x + hi)): alpha and beta
	ActClip            // min(max(x, lo), hi)
	ActLeakyRelu       // x, or lo x below 0
)

// Post is what happens to an element of a product after its sum: C = Act(C + Residual).
type Post struct {
	Act          Act
	Lo, Hi       float32   // parameters of Act
	Residual     []float32 // [M, N] with rows LDR apart, StrideR between the matrices of a batch; nil: none
	LDR, StrideR int
}

// Activate is dst = act(x); dst may be x.
func Activate(act Act, dst, x []float32, lo, hi float32) {
	switch act {
	case ActNone:
		copy(dst, x)
	case ActGeluTanh:
		GeluTanh(dst, x)
	default:
		for i, v := range x {
			dst[i] = activateRef(act, v, lo, hi)
		}
	}
}

// activateRef is the meaning of Activate.
func activateRef(act Act, x, lo, hi float32) float32 {
	switch act {
	case ActRelu:
		return max(x, 0)
	case ActGelu:
		return float32(0.5 * float64(x) * (1 + math.Erf(float64(x)/math.Sqrt2)))
	case ActGeluTanh:
		return x / gateRef(x)
	case ActSilu:
		return float32(float64(x) / (1 + detmath.Exp(-float64(x))))
	case ActSigmoid:
		return float32(1 / (1 + detmath.Exp(-float64(x))))
	case ActTanh:
		return float32(math.Tanh(float64(x)))
	case ActHardSwish:
		return x * max(0, min(1, float32(x/6)+0.5))
	case ActHardSigmoid:
		return max(0, min(1, float32(lo*x)+hi))
	case ActClip:
		return min(max(x, lo), hi)
	case ActLeakyRelu:
		if x < 0 {
			return lo * x
		}
	}
	return x
}
