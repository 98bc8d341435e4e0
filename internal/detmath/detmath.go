// Package detmath has elementary functions that give the same bits on every
// architecture, kernel tier and compiler setting.
//
// The standard math package does not promise that: Exp and Log have assembly on
// some architectures, and the compiler may fuse x*y+z into one rounding (arm64,
// or amd64 with GOAMD64=v3). Here every product that is followed by a sum is
// wrapped in an explicit float64 conversion, which the language specification
// defines as a barrier to fusion ("Floating-point operators"). What is left are
// the correctly rounded IEEE 754 operations + - * / and square root.
//
// Code that needs a replayable float64 result follows the same two rules:
// functions from here (or math.Sqrt, Floor, Abs, Ldexp, Frexp, which are exact),
// and float64(a*b)+c.
package detmath

import "math"

// ln2Hi has 21 trailing zero bits, so that k*ln2Hi is exact for every exponent k.
const (
	ln2Hi = 6.93147180369123816490e-01
	ln2Lo = 1.90821492927058770002e-10
)

// Log returns the natural logarithm of x (error below 2 ulp): x = m*2^k with m in
// [sqrt(1/2), sqrt(2)), log m = 2 artanh(s), s = (m-1)/(m+1), by its Taylor series.
// Log(0) is -Inf; a negative x or NaN gives NaN.
func Log(x float64) float64 {
	switch {
	case math.IsNaN(x) || x < 0:
		return math.NaN()
	case x == 0:
		return math.Inf(-1)
	case math.IsInf(x, 1):
		return x
	}
	m, k := math.Frexp(x) // m in [1/2, 1)
	if m < math.Sqrt2/2 {
		m *= 2
		k--
	}
	f := m - 1 // exact
	s := f / (2 + f)
	z := float64(s * s)
	// sum of z^i/(2i+1), i = 1..11; |z| <= 0.0295, so the first term left out is below 2^-60.
	p := 1.0 / 23
	for i := 21; i >= 3; i -= 2 {
		p = float64(p*z) + 1/float64(i)
	}
	// log m = f - s*(f - 2*z*p), which keeps the leading term f exact.
	r := float64(2 * float64(z*p))
	kf := float64(k)
	return float64(kf*ln2Hi) + (f - (float64(s*(f-r)) - float64(kf*ln2Lo)))
}

// Exp returns e^x (error below 2 ulp): x = k*ln2 + r, |r| <= ln2/2, Taylor series of e^r to r^15.
func Exp(x float64) float64 {
	switch {
	case math.IsNaN(x):
		return x
	case x > 709.782712893384:
		return math.Inf(1)
	case x < -745.1332191019412:
		return 0
	}
	k := math.Floor(float64(x/math.Ln2) + 0.5)
	hi := x - float64(k*ln2Hi)
	lo := float64(k * ln2Lo)
	return math.Ldexp(1+expSeries(hi-lo, hi, lo), int(k))
}

// expSeries returns e^r - 1 for a small r = hi - lo as r + r^2/2 (1 + r/3 (1 + r/4 (...))).
func expSeries(r, hi, lo float64) float64 {
	p := 1.0
	for i := 15; i >= 3; i-- {
		p = 1 + float64(r/float64(i)*p)
	}
	return hi - (lo - float64(float64(float64(r*r)*0.5)*p))
}

// Expm1 returns e^x - 1 without cancellation near zero.
func Expm1(x float64) float64 {
	if math.Abs(x) < 0.3 {
		return expSeries(x, x, 0)
	}
	return Exp(x) - 1
}

// Log1p returns log(1+x) without cancellation near zero (Kahan's correction).
func Log1p(x float64) float64 {
	u := 1 + x
	if u == 1 {
		return x
	}
	if math.IsInf(u, 1) || u <= 0 {
		return Log(u)
	}
	return float64(Log(u)*x) / (u - 1)
}

// stirling holds the coefficients of Stirling's series, B_2k / (2k (2k-1)), k = 1..8 (DLMF 5.11.1).
var stirling = [...]float64{
	1.0 / 12, -1.0 / 360, 1.0 / 1260, -1.0 / 1680, 1.0 / 1188, -691.0 / 360360, 1.0 / 156, -3617.0 / 122400,
}

// StirlingError returns log(Gamma(x+1)) - [(x+1/2) log x - x + log(2 pi)/2] for x > 0,
// the small correction of Stirling's formula, accurate to 1e-16 absolutely for x >= 15
// and to 1e-15 below (Loader, "Fast and accurate computation of binomial probabilities", 2000).
func StirlingError(x float64) float64 {
	if x < 15 {
		return Lgamma(x+1) - (float64((x+0.5)*Log(x)) - x + halfLog2Pi)
	}
	z := 1 / float64(x*x)
	p := stirling[len(stirling)-1]
	for i := len(stirling) - 2; i >= 0; i-- {
		p = float64(p*z) + stirling[i]
	}
	return p / x
}

const halfLog2Pi = 0.91893853320467274178032973640562

// Lgamma returns log Gamma(x) for x > 0 (relative error about 1e-15; near its zeros
// at 1 and 2 absolute). x <= 0 gives NaN.
func Lgamma(x float64) float64 {
	switch {
	case math.IsNaN(x) || x <= 0:
		return math.NaN()
	case math.IsInf(x, 1):
		return x
	case x == 1 || x == 2:
		return 0
	}
	prod := 1.0 // Gamma(x) = Gamma(x+n) / (x (x+1) ... (x+n-1))
	for x < 16 {
		prod *= x
		x++
	}
	y := x - 1 // log Gamma(y+1)
	return float64((y+0.5)*Log(y)) - y + halfLog2Pi + StirlingError(y) - Log(prod)
}
