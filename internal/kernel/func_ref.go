package kernel

import (
	"math"

	"muster/internal/detmath"
)

// The plain Go twins of the functions of one number; gen/vecfunc.go describes the same
// operations in the same order. pick, larger and smaller are what the instructions do.

// larger is VMAXPS: b if either is NaN.
func larger(a, b float32) float32 {
	if a > b {
		return a
	}
	return b
}

// smaller is VMINPS.
func smaller(a, b float32) float32 {
	if a < b {
		return a
	}
	return b
}

func abs32(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

func nearest(x float32) float32 { return float32(math.RoundToEven(float64(x))) }

// horner is c[0] + c[1] x + ...
func horner(x float32, c ...float32) float32 {
	r := c[len(c)-1]
	for i := len(c) - 2; i >= 0; i-- {
		r = FMA(r, x, c[i])
	}
	return r
}

// reduced is n and r with x = n ln 2 + r.
func reduced(x float32) (n, r float32) {
	n = nearest(float32(x * 1.44269504))
	return n, FMA(-n, -2.12194440e-4, FMA(-n, 0.693359375, x))
}

// scale is a 2^n, rounded once.
func scale(a, n float32) float32 {
	if n != n {
		return n
	}
	i := int32(n)
	h := i >> 1
	return float32(a*math.Float32frombits(uint32(h+127)<<23)) * math.Float32frombits(uint32(i-h+127)<<23)
}

// expRef is e^x: x = n ln 2 + r, a polynomial of degree 6 in r, and a scaling.
func expRef(x float32) float32 {
	n, r := reduced(larger(-104, smaller(89, x)))
	return scale(horner(r, 1, 1, 0.49999994, 0.16666515, 0.041668456, 0.008369419, 0.0013813145), n)
}

// expm1Ref is 2 (2^(n-1) (e^r - 1) + (2^(n-1) - 1/2)).
func expm1Ref(x float32) float32 {
	n, r := reduced(larger(-104, smaller(89, x)))
	s := scale(0.5, n)
	p := FMA(float32(r*r), horner(r, 0.49999994, 0.16666515, 0.041668456, 0.008369419, 0.0013813145), r)
	h := FMA(p, s, s-0.5)
	return h + h
}

// logPositive is log x + k0 ln 2 for 0 < x < infinity that is not subnormal: x = 2^k (1+f).
func logPositive(x, k0 float32) float32 {
	i := int32(math.Float32bits(x))
	k := (i - 0x3f3504f3) >> 23
	f := math.Float32frombits(uint32(i-k<<23)) - 1
	kf := float32(k) + k0
	z := float32(f * f)
	y := float32(float32(horner(f, 0.33333331, -0.25000826, 0.20001236, -0.16623144, 0.14201368, -0.13162005, 0.12765427, -0.076343842)*f) * z)
	y = FMA(-z, 0.5, FMA(kf, -2.12194440e-4, y))
	return FMA(kf, 0.693359375, f+y)
}

func logRef(x float32) float32 {
	switch {
	case x < 0:
		return float32(math.NaN())
	case x == 0:
		return float32(math.Inf(-1))
	case !(x < float32(math.Inf(1))):
		return x
	case x < 0x1p-126:
		return logPositive(x*0x1p23, -23)
	}
	return logPositive(x, 0)
}

// softplusRef is max(x, 0) + log(1 + e^-|x|).
func softplusRef(x float32) float32 {
	e := expRef(-abs32(x))
	return FMA(horner(e, 0.99999994, -0.499994934, 0.333190978, -0.24842982, 0.191060051, -0.136632428, 0.0782259107, -0.0295052137, 0.00523268804), e, larger(0, x))
}

// powable reports whether the vector kernel has x^y.
func powable(x, y float32) bool {
	return x >= 0x1p-126 && x <= math.MaxFloat32 && abs32(y) <= math.MaxFloat32
}

// powRef is x^y: by a logarithm in two numbers (see gen/vecfunc.go) where x is normal and positive.
func powRef(x, y float32) float32 {
	switch {
	case y == 2:
		return x * x
	case !powable(x, y):
		return float32(math.Pow(float64(x), float64(y)))
	}
	i := int32(math.Float32bits(x))
	k := (i - 0x3f3504f3) >> 23
	f := math.Float32frombits(uint32(i-k<<23)) - 1
	kf := float32(k)
	z := float32(f * f)
	rest := FMA(kf, -2.12194440e-4, float32(float32(horner(f, 0.33333331, -0.25000826, 0.20001236, -0.16623144, 0.14201368, -0.13162005, 0.12765427, -0.076343842)*f)*z))
	a := FMA(-z, 0.5, f)
	lo := FMA(FMA(-f, f, z), 0.5, FMA(-z, 0.5, float32(f-a)))
	whole := float32(kf * 0.693359375)
	hi := whole + a
	lo = float32(lo+float32(a-float32(hi-whole))) + rest
	l := hi + lo
	lo -= float32(l - hi)
	t := float32(y * l)
	less := FMA(-y, lo, FMA(-y, l, t))
	n, r := reduced(larger(-106, smaller(91, t)))
	return scale(horner(float32(r-larger(smaller(less, 1), -1)), 1, 1, 0.49999994, 0.16666515, 0.041668456, 0.008369419, 0.0013813145), n)
}

const erfEnd = 3.92

// erfRef is x P(x^2)/Q(x^2), with x held inside the range where float32 has not reached 1.
func erfRef(x float32) float32 {
	switch {
	case x > erfEnd:
		return 1
	case x < -erfEnd:
		return -1
	}
	x = larger(-erfEnd, smaller(erfEnd, x))
	s := float32(x * x)
	return float32(x*horner(s, erfP[0][:]...)) / horner(s, erfQ[0][:]...)
}

// phiRef is 1/2 + erf(x/sqrt 2)/2.
func phiRef(x float32) float32 {
	x = larger(-phiEnd, smaller(phiEnd, x))
	s := float32(x * x)
	return float32(x*horner(s, erfP[1][:]...))/horner(s, erfQ[1][:]...) + 0.5
}

const phiEnd = float32(3.92 / 0.70710678118654752)

// erfP and erfQ are the coefficients for erf(x) and for erf(x/sqrt 2)/2.
var (
	erfP, erfQ = func() (p, q [2][6]float32) {
		p[0] = [6]float32{1.1283791, 0.19039503, 0.052747086, 0.0037650908, 0.00028486530, 2.0501036e-06}
		q[0] = [6]float32{1, 0.50206596, 0.11410427, 0.014968170, 0.0011623974, 3.8090970e-05}
		const k = 0.70710678118654752
		for i, f := 0, 1.0; i < 6; i, f = i+1, f*k*k {
			p[1][i] = float32(float64(p[0][i]) * f * k * 0.5)
			q[1][i] = float32(float64(q[0][i]) * f)
		}
		return
	}()
)

const (
	geluA = float32(1.5957691216057308)
	geluB = float32(0.07135481282850852)
)

// gateRef is 1 + e^(-2u), with 2u = 2 sqrt(2/pi) (x + 0.044715 x^3).
func gateRef(x float32) float32 {
	return expRef(float32(FMA(float32(x*x), -geluB, -geluA)*x)) + 1
}

func geluRef(x float32) float32    { return x / gateRef(x) }
func geluErfRef(x float32) float32 { return phiRef(x) * x }
func sigmoidRef(x float32) float32 { return 1 / (expRef(-x) + 1) }
func siluRef(x float32) float32    { return x / (expRef(-x) + 1) }

func tanhRef(x float32) float32 {
	e := expm1Ref(float32(abs32(x) * -2))
	t := e / (e + 2)
	return math.Float32frombits(math.Float32bits(abs32(t)) | math.Float32bits(x)&(1<<31))
}

func mishRef(x float32) float32 {
	w := expRef(smaller(20, x))
	n := float32(w * (w + 2))
	return float32(n/(n+2)) * x
}

// sinEnd is the largest |x| whose multiple of pi is taken off in float32.
const sinEnd = 8192

// sineRef is sin(x) or cos(x): r = x - m pi, m whole or halfway.
func sineRef(x float32, cos bool) float32 {
	if abs32(x) > sinEnd && abs32(x) <= math.MaxFloat32 {
		if cos {
			return float32(detmath.Cos(float64(x)))
		}
		return float32(detmath.Sin(float64(x)))
	}
	q := nearest(float32(x * 0.31830987))
	m := q
	if cos {
		q = nearest(FMA(x, 0.31830987, -0.5))
		m = q + 0.5
	}
	r := x
	for _, part := range [...]float32{3.140625, 0.0009670257568359375, 6.2771141529083252e-07, 1.2154201256553420e-10} {
		r = FMA(-m, part, r)
	}
	s := float32(r * r)
	y := FMA(float32(horner(s, -0.1666666, 0.0083330646, -0.00019809476, 2.6054815e-06)*s), r, r)
	if y != y {
		return y
	}
	k := int32(q)
	if cos {
		k++
	}
	return math.Float32frombits(math.Float32bits(y) ^ uint32(k)<<31)
}

func sinRef(x float32) float32 { return sineRef(x, false) }
func cosRef(x float32) float32 { return sineRef(x, true) }

// tanRef is tan x: r = x - q pi/2, tan r for even q, -1/tan r for odd q.
func tanRef(x float32) float32 {
	if abs32(x) > sinEnd && abs32(x) <= math.MaxFloat32 {
		return float32(detmath.Sin(float64(x)) / detmath.Cos(float64(x)))
	}
	q := nearest(float32(x * 0.63661975))
	r := x
	for _, part := range [...]float32{3.140625 / 2, 0.0009670257568359375 / 2, 6.2771141529083252e-07 / 2, 1.2154201256553420e-10 / 2} {
		r = FMA(-q, part, r)
	}
	s := float32(r * r)
	t := FMA(float32(horner(s, 0.333331555, 0.133388042, 0.0534109287, 0.0244314149, 0.00311784027, 0.00938664936)*s), r, r)
	if int32(q)&1 != 0 && t == t {
		return -1 / t
	}
	return t
}

func sqrtRef(x float32) float32  { return float32(math.Sqrt(float64(x))) }
func negRef(x float32) float32   { return math.Float32frombits(math.Float32bits(x) ^ 1<<31) }
func floorRef(x float32) float32 { return float32(math.Floor(float64(x))) }
func ceilRef(x float32) float32  { return float32(math.Ceil(float64(x))) }
func reluRef(x float32) float32  { return larger(0, x) }

func softsignRef(x float32) float32 {
	x = larger(-math.MaxFloat32, smaller(math.MaxFloat32, x))
	return x / (abs32(x) + 1)
}

func signRef(x float32) float32 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}

func thresholdRef(x, a float32) float32 {
	if x > a {
		return x
	}
	return 0
}

// hard is max(0, min(1, a)).
func hard(a float32) float32 { return larger(0, smaller(1, a)) }

func hardSwishRef(x float32) float32         { return hard(FMA(x, 1.0/6, 0.5)) * x }
func hardSigmoidRef(x, a, b float32) float32 { return hard(FMA(x, a, b)) }
func clipRef(x, lo, hi float32) float32      { return smaller(hi, larger(lo, x)) }

func leakyRef(x, a float32) float32 {
	if x < 0 {
		return x * a
	}
	return x
}

func eluRef(x, a, b float32) float32 {
	if x < 0 {
		return expm1Ref(x) * a
	}
	return x * b
}

// The derivatives.

func geluGradRef(dy, x float32) float32 {
	s := 1 / gateRef(x)
	q := float32(float32(float32(1-s)*s) * x)
	return FMA(q, FMA(float32(x*x), 3*0.07135481282850852, geluA), s) * dy
}

func geluErfGradRef(dy, x float32) float32 {
	e := expRef(float32(float32(x*x) * -0.5))
	return FMA(float32(e*0.3989422804014327), x, phiRef(x)) * dy
}

func reluGradRef(dy, x float32) float32 {
	if x > 0 {
		return dy
	}
	return 0
}

func tanhGradRef(dy, y float32) float32    { return FMA(-y, y, 1) * dy }
func sigmoidGradRef(dy, y float32) float32 { return float32(float32(1-y)*y) * dy }
