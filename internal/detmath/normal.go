package detmath

import "math"

const (
	sqrt2Pi = 2.50662827463100050241576528481104525
	sqrtPi  = 1.77245385090551602729816748334114518
)

// Erfc returns 2/sqrt(pi) * integral of exp(-t^2) from x to infinity, with a small
// relative error in the upper tail: power series below 1.2 (DLMF 7.6.2, all terms
// positive), continued fraction above (DLMF 7.9.2).
func Erfc(x float64) float64 {
	switch {
	case math.IsNaN(x):
		return x
	case x < 0:
		return 2 - Erfc(-x)
	case x < 1.2:
		return 1 - erfSeries(x)
	case x > 27.3:
		return 0
	}
	return expNegSquare(x) / sqrtPi * erfcFraction(x)
}

// erfSeries returns erf(x) = 2/sqrt(pi) exp(-x^2) sum of 2^n x^(2n+1) / (2n+1)!!.
func erfSeries(x float64) float64 {
	term, sum := x, x
	for n := 1.0; term > sum*1e-17; n++ {
		term = float64(term*float64(2*float64(x*x))) / (float64(2*n) + 1)
		sum += term
	}
	return float64(float64(2/sqrtPi)*sum) * expNegSquare(x)
}

// erfcFraction evaluates 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + ...)))) from the tail.
func erfcFraction(x float64) float64 {
	f := x
	for k := 200; k >= 1; k-- {
		f = x + float64(k)/2/f
	}
	return 1 / f
}

// expNegSquare returns exp(-x^2); the rounding error of x*x is split off first,
// because it would be magnified by x^2.
func expNegSquare(x float64) float64 {
	hi := math.Float64frombits(math.Float64bits(x) &^ (1<<27 - 1)) // 26 bits: hi*hi is exact
	return Exp(-float64(hi*hi)) * Exp(-float64((x-hi)*(x+hi)))
}

// NormalCDF returns P(Z <= x) of the standard normal distribution.
func NormalCDF(x float64) float64 { return 0.5 * Erfc(-x/math.Sqrt2) }

// NormalQuantile returns the inverse of NormalCDF, relative error about 1e-16
// (Wichura, "Algorithm AS 241", PPND16, Applied Statistics 37, 1988).
// p outside (0, 1) gives -Inf, +Inf or NaN.
func NormalQuantile(p float64) float64 {
	switch {
	case math.IsNaN(p) || p < 0 || p > 1:
		return math.NaN()
	case p == 0:
		return math.Inf(-1)
	case p == 1:
		return math.Inf(1)
	}
	q := p - 0.5
	if math.Abs(q) <= 0.425 {
		r := 0.180625 - float64(q*q)
		return float64(q * poly(&asA, r) / poly(&asB, r))
	}
	r := p
	if q > 0 {
		r = 1 - p
	}
	r = math.Sqrt(-Log(r))
	var v float64
	if r <= 5 {
		v = poly(&asC, r-1.6) / poly(&asD, r-1.6)
	} else {
		v = poly(&asE, r-5) / poly(&asF, r-5)
	}
	if q < 0 {
		return -v
	}
	return v
}

// poly evaluates c[0] + c[1] x + ... without fused operations.
func poly(c *[8]float64, x float64) float64 {
	p := c[7]
	for i := 6; i >= 0; i-- {
		p = float64(p*x) + c[i]
	}
	return p
}

// The coefficients of AS 241.
var (
	asA = [8]float64{3.3871328727963666080e0, 1.3314166789178437745e+2, 1.9715909503065514427e+3, 1.3731693765509461125e+4,
		4.5921953931549871457e+4, 6.7265770927008700853e+4, 3.3430575583588128105e+4, 2.5090809287301226727e+3}
	asB = [8]float64{1, 4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3,
		2.1213794301586595867e+4, 3.9307895800092710610e+4, 2.8729085735721942674e+4, 5.2264952788528545610e+3}
	asC = [8]float64{1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
		1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4}
	asD = [8]float64{1, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
		1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9}
	asE = [8]float64{6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
		2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7}
	asF = [8]float64{1, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
		7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15}
)
