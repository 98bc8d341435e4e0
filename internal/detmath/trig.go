package detmath

import (
	"math"
	"math/big"
	"sync"
)

// pi/4 in three parts of 30 bits and less, so that products with an octant below 2^29 are exact (Cody and Waite).
const (
	pi4A = 7.85398125648498535156e-1
	pi4B = 3.77489470793079817668e-8
	pi4C = 2.69515142907905952645e-15
)

// Minimax polynomials on [-pi/4, pi/4] and for the arc tangent on [0, 0.66]; Moshier, Cephes Mathematical Library.
var (
	sinC = [...]float64{1.58962301576546568060e-10, -2.50507477628578072866e-8, 2.75573136857213245213e-6,
		-1.98412698295895385996e-4, 8.33333333332211858878e-3, -1.66666666666666307295e-1}
	cosC = [...]float64{-1.13585365213876817300e-11, 2.08757008419747316778e-9, -2.75573141792967388112e-7,
		2.48015872888517045348e-5, -1.38888888888730564116e-3, 4.16666666666665929218e-2}
	atanP = [...]float64{-8.750608600031904122785e-01, -1.615753718733365076637e+01, -7.500855792314704667340e+01,
		-1.228866684490136173410e+02, -6.485021904942025371773e+01}
	atanQ = [...]float64{1, 2.485846490142306297962e+01, 1.650270098316988542046e+02, 4.328810604912902668951e+02,
		4.853903996359136964868e+02, 1.945506571482613964425e+02}
)

// horner evaluates c[0] z^(n-1) + ... + c[n-1] without fused operations.
func horner(c []float64, z float64) float64 {
	p := c[0]
	for _, a := range c[1:] {
		p = float64(p*z) + a
	}
	return p
}

// sinCos returns sine and cosine of a finite x >= 0.
func sinCos(x float64) (s, c float64) {
	q, r := quadrant(x)
	z := float64(r * r)
	s = r + float64(float64(r*z)*horner(sinC[:], z))
	c = 1 - float64(0.5*z) + float64(float64(z*z)*horner(cosC[:], z))
	switch q {
	case 1:
		return c, -s
	case 2:
		return -s, -c
	case 3:
		return -c, s
	}
	return s, c
}

// quadrant returns x = (4 n + q) pi/2 + r with |r| <= pi/4, for a finite x >= 0.
func quadrant(x float64) (q int, r float64) {
	if x >= 1<<29 {
		return farQuadrant(x)
	}
	j := uint64(x * (4 / math.Pi))
	j += j & 1
	y := float64(j)
	r = ((x - float64(y*pi4A)) - float64(y*pi4B)) - float64(y*pi4C)
	return int(j>>1) & 3, r
}

// halfPi is pi/2 to 1300 bits, by Machin's formula pi/4 = 4 arctan(1/5) - arctan(1/239).
var halfPi = sync.OnceValue(func() *big.Float {
	const bits = 1400
	one := new(big.Int).Lsh(big.NewInt(1), bits)
	arctan := func(n int64) *big.Int { // of 1/n
		term := new(big.Int).Quo(one, big.NewInt(n))
		sum := new(big.Int).Set(term)
		square := big.NewInt(n * n)
		for k := int64(3); term.Sign() != 0; k += 2 {
			term.Quo(term.Neg(term), square)
			sum.Add(sum, new(big.Int).Quo(term, big.NewInt(k)))
		}
		return sum
	}
	pi4 := new(big.Int).Mul(big.NewInt(4), arctan(5))
	f := new(big.Float).SetPrec(1300).SetInt(pi4.Sub(pi4, arctan(239)))
	return f.SetMantExp(f, 1-bits)
})

// farQuadrant is quadrant with as many bits of pi as the exponent asks for; rare and slow.
func farQuadrant(x float64) (q int, r float64) {
	big1 := new(big.Float).SetPrec(1300).SetFloat64(x)
	n, _ := new(big.Float).SetPrec(1300).Quo(big1, halfPi()).Int(nil)
	rest := new(big.Float).SetPrec(1300).Sub(big1, new(big.Float).SetPrec(1300).Mul(new(big.Float).SetPrec(1300).SetInt(n), halfPi()))
	r, _ = rest.Float64()
	q = int(new(big.Int).And(n, big.NewInt(3)).Int64())
	if r > math.Pi/4 {
		r, _ = rest.Sub(rest, halfPi()).Float64()
		q = (q + 1) & 3
	}
	return q, r
}

// Sin returns the sine of x in radians (error below 2 ulp or 2e-16); NaN for an infinite x.
func Sin(x float64) float64 {
	switch {
	case x == 0 || math.IsNaN(x):
		return x
	case math.IsInf(x, 0):
		return math.NaN()
	}
	s, _ := sinCos(math.Abs(x))
	if x < 0 {
		return -s
	}
	return s
}

// Cos returns the cosine of x in radians; NaN for an infinite x.
func Cos(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return math.NaN()
	}
	_, c := sinCos(math.Abs(x))
	return c
}

// Tan returns Sin(x) / Cos(x).
func Tan(x float64) float64 {
	switch {
	case x == 0 || math.IsNaN(x):
		return x
	case math.IsInf(x, 0):
		return math.NaN()
	}
	s, c := sinCos(math.Abs(x))
	return math.Copysign(1, x) * (s / c)
}

// Atan returns the arc tangent of x in [-pi/2, pi/2].
func Atan(x float64) float64 {
	const more = 6.123233995736765886130e-17 // pi/2 - math.Pi/2
	a := math.Abs(x)
	var y float64
	switch {
	case x == 0 || math.IsNaN(x):
		return x
	case a <= 0.66:
		y = atanSeries(a)
	case a > 2.41421356237309504880: // tan 3/8 pi
		y = math.Pi/2 - atanSeries(1/a) + more
	default:
		y = math.Pi/4 + atanSeries((a-1)/(a+1)) + 0.5*more
	}
	return math.Copysign(y, x)
}

func atanSeries(x float64) float64 {
	z := float64(x * x)
	return float64(x*(float64(z*horner(atanP[:], z))/horner(atanQ[:], z))) + x
}

// Asin returns the arc sine of x; NaN outside [-1, 1].
func Asin(x float64) float64 {
	a := math.Abs(x)
	if x == 0 || !(a <= 1) {
		if x == 0 {
			return x
		}
		return math.NaN()
	}
	root := math.Sqrt(float64((1 - a) * (1 + a)))
	if a > 0.7 {
		return math.Copysign(math.Pi/2-Atan(root/a), x)
	}
	return math.Copysign(Atan(a/root), x)
}

// Acos returns the arc cosine of x; NaN outside [-1, 1].
func Acos(x float64) float64 {
	if !(math.Abs(x) <= 1) {
		return math.NaN()
	}
	return 2 * Atan(math.Sqrt((1-x)/(1+x)))
}

// Sinh returns the hyperbolic sine of x.
func Sinh(x float64) float64 {
	a := math.Abs(x)
	if a > 709 {
		e := Exp(a / 2)
		return math.Copysign(e/2*e, x)
	}
	e := Expm1(a)
	return math.Copysign((e+e/(e+1))/2, x)
}

// Cosh returns the hyperbolic cosine of x.
func Cosh(x float64) float64 {
	a := math.Abs(x)
	if a > 709 {
		e := Exp(a / 2)
		return e / 2 * e
	}
	e := Exp(a)
	return (e + 1/e) / 2
}

// Tanh returns the hyperbolic tangent of x.
func Tanh(x float64) float64 {
	if math.IsNaN(x) {
		return x
	}
	e := Expm1(-2 * math.Abs(x))
	return math.Copysign(-e/(2+e), x)
}

// Asinh returns the inverse hyperbolic sine of x.
func Asinh(x float64) float64 {
	a := math.Abs(x)
	switch {
	case x == 0 || math.IsNaN(x) || math.IsInf(x, 0):
		return x
	case a > 1<<28:
		return math.Copysign(Log(a)+math.Ln2, x)
	}
	z := float64(a * a)
	return math.Copysign(Log1p(a+z/(1+math.Sqrt(z+1))), x)
}

// Acosh returns the inverse hyperbolic cosine of x; NaN below 1.
func Acosh(x float64) float64 {
	switch {
	case !(x >= 1):
		return math.NaN()
	case x > 1<<28:
		return Log(x) + math.Ln2
	}
	t := x - 1
	return Log1p(t + math.Sqrt(float64(2*t)+float64(t*t)))
}

// Atanh returns the inverse hyperbolic tangent of x; infinite at -1 and 1, NaN beyond.
func Atanh(x float64) float64 {
	a := math.Abs(x)
	switch {
	case x == 0 || math.IsNaN(x):
		return x
	case a > 1:
		return math.NaN()
	case a == 1:
		return math.Copysign(math.Inf(1), x)
	}
	return math.Copysign(0.5*Log1p(2*a/(1-a)), x)
}
