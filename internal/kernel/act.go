package kernel

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
	case ActRelu:
		Relu(dst, x)
	case ActGelu:
		Gelu(dst, x)
	case ActGeluTanh:
		GeluTanh(dst, x)
	case ActSilu:
		Silu(dst, x)
	case ActSigmoid:
		Sigmoid(dst, x)
	case ActTanh:
		Tanh(dst, x)
	case ActHardSwish:
		HardSwish(dst, x)
	case ActHardSigmoid:
		HardSigmoid(dst, x, lo, hi)
	case ActClip:
		Clip(dst, x, lo, hi)
	case ActLeakyRelu:
		LeakyRelu(dst, x, lo)
	}
}
