package kernel

import (
	"math"
	"testing"
)

// unaryFuncs lists the functions of one number with their meaning in float64, the range of the sweep,
// and the largest error that is accepted: relative to the result where abs is 0, and to |x| where byX is set.
var unaryFuncs = []struct {
	name     string
	f        func(dst, x []float32)
	want     func(x float64) float64
	lo, hi   float64
	rel, abs float64
	byX      bool
}{
	{"Exp", Exp, math.Exp, -87, 88.7, 1.3e-7, 0, false},
	{"Log", Log, math.Log, 1e-6, 1e6, 1.3e-7, 0, false},
	{"LogNear1", Log, math.Log, 0.6, 1.6, 1.3e-7, 0, false},
	{"Erf", Erf, math.Erf, -5, 5, 4e-7, 0, false},
	{"Gelu", Gelu, func(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }, -15, 15, 0, 4e-7, true},
	{"GeluTanh", GeluTanh, func(x float64) float64 {
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	}, -9, 9, 0, 4e-7, true},
	{"Tanh", Tanh, math.Tanh, -12, 12, 3e-7, 0, false},
	{"Sigmoid", Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, -80, 80, 3e-7, 0, false},
	{"Silu", Silu, func(x float64) float64 { return x / (1 + math.Exp(-x)) }, -80, 80, 3e-7, 0, false},
	{"Softplus", Softplus, func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }, -80, 80, 3e-7, 0, false},
	{"Mish", Mish, func(x float64) float64 {
		return x * math.Tanh(max(x, 0)+math.Log1p(math.Exp(-math.Abs(x))))
	}, -80, 80, 5e-7, 0, false},
	{"Sin", Sin, math.Sin, -40, 40, 0, 1.3e-7, false},
	{"SinFar", Sin, math.Sin, -9000, 9000, 0, 1.3e-7, false},
	{"Cos", Cos, math.Cos, -40, 40, 0, 1.3e-7, false},
	{"CosFar", Cos, math.Cos, -9000, 9000, 0, 1.3e-7, false},
	{"Tan", Tan, math.Tan, -1.5, 1.5, 4e-7, 0, false},
	{"Sign", Sign, func(x float64) float64 { return math.Copysign(1, x) }, -9, 9, 0, 0, false},
	{"Threshold", func(d, x []float32) { Threshold(d, x, 1) }, func(x float64) float64 {
		if x > 1 {
			return x
		}
		return 0
	}, -9, 9, 0, 0, false},
	{"Sqrt", Sqrt, math.Sqrt, 0, 1e9, 6e-8, 0, false},
	{"Abs", Abs, math.Abs, -9, 9, 0, 0, false},
	{"Neg", Neg, func(x float64) float64 { return -x }, -9, 9, 0, 0, false},
	{"Floor", Floor, math.Floor, -9, 9, 0, 0, false},
	{"Ceil", Ceil, math.Ceil, -9, 9, 0, 0, false},
	{"Round", Round, math.RoundToEven, -9, 9, 0, 0, false},
	{"Relu", Relu, func(x float64) float64 { return max(x, 0) }, -9, 9, 0, 0, false},
	{"HardSwish", HardSwish, func(x float64) float64 { return x * max(0, min(1, x/6+0.5)) }, -9, 9, 0, 2e-7, true},
	{"Softsign", Softsign, func(x float64) float64 { return x / (1 + math.Abs(x)) }, -90, 90, 2e-7, 0, false},
	{"HardSigmoid", func(d, x []float32) { HardSigmoid(d, x, 0.2, 0.5) }, func(x float64) float64 { return max(0, min(1, 0.2*x+0.5)) }, -9, 9, 0, 2e-7, false},
	{"LeakyRelu", func(d, x []float32) { LeakyRelu(d, x, 0.25) }, func(x float64) float64 { return max(x, 0.25*x) }, -9, 9, 0, 0, false},
	{"Elu", func(d, x []float32) { Elu(d, x, 2, 3) }, func(x float64) float64 {
		if x < 0 {
			return 2 * math.Expm1(x)
		}
		return 3 * x
	}, -9, 9, 3e-7, 0, false},
	{"Clip", func(d, x []float32) { Clip(d, x, -0.5, 0.5) }, func(x float64) float64 { return min(max(x, -0.5), 0.5) }, -9, 9, 0, 0, false},
}

// gradFuncs lists the derivatives with what they are the derivative of; at says that the argument is the function's result.
var gradFuncs = []struct {
	name string
	f    func(dx, dy, x []float32)
	of   func(x float64) float64
	at   bool
}{
	{"GeluTanhGrad", GeluTanhGrad, func(x float64) float64 {
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	}, false},
	{"GeluGrad", GeluGrad, func(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }, false},
	{"ReluGrad", ReluGrad, func(x float64) float64 { return max(x, 0) }, false},
	{"TanhGrad", TanhGrad, math.Tanh, true},
	{"SigmoidGrad", SigmoidGrad, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, true},
}

func TestFunctionAccuracy(t *testing.T) {
	n := 200_000
	if testing.Short() {
		n = 5_000
	}
	x, y := make([]float32, n), make([]float32, n)
	for _, f := range unaryFuncs {
		for i := range x {
			x[i] = float32(f.lo + (f.hi-f.lo)*(float64(i)+0.37)/float64(n))
			if i%8 == 7 { // and on a logarithmic scale
				x[i] = float32(math.Copysign(math.Max(math.Abs(f.lo), math.Abs(f.hi))*math.Exp(-25*float64(i)/float64(n)), float64(x[i])))
				x[i] = max(min(x[i], float32(f.hi)), float32(f.lo))
			}
		}
		f.f(y, x)
		rel, abs, at := 0.0, 0.0, float32(0)
		for i, v := range x {
			want := f.want(float64(v))
			e := math.Abs(float64(y[i]) - want)
			if f.byX {
				e /= math.Abs(float64(v)) + 1e-30
			}
			if r := e / (math.Abs(want) + 1e-37); r > rel {
				rel, at = r, v
			}
			abs = max(abs, e)
		}
		t.Logf("%-12s relative %.2g (at %g), absolute %.2g", f.name, rel, at, abs)
		if f.abs == 0 && rel > f.rel || f.abs > 0 && abs > f.abs {
			t.Errorf("%s: relative error %.3g at %g, absolute %.3g", f.name, rel, at, abs)
		}
	}
}

func TestGradientAccuracy(t *testing.T) {
	for _, f := range gradFuncs {
		for i := -300; i <= 300; i++ {
			x := (float64(i) + 0.5) / 40
			want := (f.of(x+1e-5) - f.of(x-1e-5)) / 2e-5 * 1.5
			arg := float32(x)
			if f.at {
				arg = float32(f.of(x))
			}
			var dx [1]float32
			f.f(dx[:], []float32{1.5}, []float32{arg})
			if math.Abs(float64(dx[0])-want) > 3e-6 {
				t.Errorf("%s(%g) = %g, want %g", f.name, x, dx[0], want)
			}
		}
	}
}

func TestSpecialValues(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		name    string
		f       func(float32) float32
		x, want float32
	}{
		{"exp", expRef, inf, inf}, {"exp", expRef, -inf, 0}, {"exp", expRef, 89, inf}, {"exp", expRef, 0, 1}, {"exp", expRef, nan, nan},
		{"expm1", expm1Ref, -inf, -1}, {"expm1", expm1Ref, inf, inf}, {"expm1", expm1Ref, nan, nan},
		{"log", logRef, 0, -inf}, {"log", logRef, -1, nan}, {"log", logRef, inf, inf}, {"log", logRef, nan, nan}, {"log", logRef, 1, 0}, {"log", logRef, 1e-45, -103.27893},
		{"erf", erfRef, inf, 1}, {"erf", erfRef, -inf, -1}, {"erf", erfRef, nan, nan}, {"erf", erfRef, 0, 0},
		{"gelu", geluErfRef, inf, inf}, {"gelu", geluErfRef, nan, nan},
		{"tanh", tanhRef, inf, 1}, {"tanh", tanhRef, -inf, -1}, {"tanh", tanhRef, nan, nan},
		{"sigmoid", sigmoidRef, inf, 1}, {"sigmoid", sigmoidRef, -inf, 0}, {"sigmoid", sigmoidRef, nan, nan},
		{"softplus", softplusRef, inf, inf}, {"softplus", softplusRef, -inf, 0}, {"softplus", softplusRef, nan, nan},
		{"mish", mishRef, inf, inf}, {"mish", mishRef, nan, nan}, {"mish", mishRef, 1e30, 1e30},
		{"sin", sinRef, inf, nan}, {"sin", sinRef, 1e10, float32(math.Sin(1e10))}, {"cos", cosRef, 0, 1}, {"cos", cosRef, nan, nan},
		{"relu", reluRef, nan, nan}, {"softsign", softsignRef, inf, 1}, {"softsign", softsignRef, -inf, -1}, {"softsign", softsignRef, nan, nan}, {"sign", signRef, nan, nan}, {"hardswish", hardSwishRef, nan, nan}, {"round", nearest, 2.5, 2},
	} {
		if got := c.f(c.x); got != c.want && (got == got || c.want == c.want) {
			t.Errorf("%s(%g) = %g, want %g", c.name, c.x, got, c.want)
		}
	}
}

// TestHalves goes over all halves and the neighbourhoods of what lies between them.
func TestHalves(t *testing.T) {
	for h := 0; h < 1<<16; h++ {
		x := widenRef(uint16(h))
		if back := narrowRef(x); back != uint16(h) && x == x {
			t.Fatalf("%04x becomes %g and then %04x", h, x, back)
		}
		if h&0x7fff >= 0x7bff {
			continue
		}
		next := widenRef(uint16(h + 1))
		mid := x + (next-x)/2
		want := uint16(h + h&1) // ties to even
		if got := narrowRef(mid); got != want {
			t.Fatalf("%g lies between %04x and %04x and becomes %04x", mid, h, h+1, got)
		}
		if got := narrowRef(math.Nextafter32(mid, x)); got != uint16(h) {
			t.Fatalf("just before %g: %04x", mid, got)
		}
	}
	if narrowRef(65520) != 0x7c00 || narrowRef(65519.99) != 0x7bff || narrowRef(float32(math.Inf(-1))) != 0xfc00 {
		t.Error("the end of the range")
	}
}
