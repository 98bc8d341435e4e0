package stat

import (
	"math"

	"muster/internal/detmath"
)

// bd0 returns x log(x/m) + m - x, the deviance part of the saddle-point form,
// without cancellation for x near m (Loader 2000).
func bd0(x, m float64) float64 {
	if x == 0 {
		return m
	}
	if math.Abs(x-m) >= 0.1*(x+m) {
		return float64(x*detmath.Log(x/m)) + m - x
	}
	v := (x - m) / (x + m)
	s := float64((x - m) * v)
	term := float64(2 * x * v)
	v2 := float64(v * v)
	for j := 1.0; j < 1000; j++ {
		term = float64(term * v2)
		next := s + term/(float64(2*j)+1)
		if next == s {
			break
		}
		s = next
	}
	return s
}

const twoPi = 2 * math.Pi

// logBinomial returns the logarithm of the binomial probability of x out of n at p,
// for real 0 <= x <= n and 0 < p < 1, to full precision (Loader, "Fast and accurate
// computation of binomial probabilities", 2000).
func logBinomial(x, n, p float64) float64 {
	q := 1 - p
	switch {
	case n == 0:
		return 0
	case x == 0:
		return float64(n * detmath.Log1p(-p))
	case x == n:
		return float64(n * detmath.Log(p))
	}
	c := detmath.StirlingError(n) - detmath.StirlingError(x) - detmath.StirlingError(n-x) -
		bd0(x, float64(n*p)) - bd0(n-x, float64(n*q))
	return c - float64(0.5*detmath.Log(float64(twoPi*x)*((n-x)/n)))
}

// BetaCDF returns the regularised incomplete beta function I_x(a, b) for a, b > 0:
// continued fraction DLMF 8.17.22 by Lentz's method on the side that converges fast.
// The number of steps grows as the root of a+b; beyond 1e9 the result loses accuracy.
func BetaCDF(x, a, b float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	case x > (a+1)/(a+b+2):
		return 1 - betaFraction(1-x, b, a)
	}
	return betaFraction(x, a, b)
}

func betaFraction(x, a, b float64) float64 {
	// x^a (1-x)^b / B(a, b) = (a b / (a + b)) Binomial(a; a+b, x); divided by a.
	front := detmath.Exp(logBinomial(a, a+b, x)) * (b / (a + b))
	const tiny = 1e-300
	guard := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/guard(1-float64((a+b)*x)/(a+1))
	h := d
	for m := 1.0; m < 100000; m++ {
		even := float64(m*float64((b-m)*x)) / float64((a+2*m-1)*(a+2*m))
		d = 1 / guard(1+float64(even*d))
		c = guard(1 + even/c)
		h *= float64(d * c)
		odd := -float64((a+m)*float64((a+b+m)*x)) / float64((a+2*m)*(a+2*m+1))
		d = 1 / guard(1+float64(odd*d))
		c = guard(1 + odd/c)
		step := float64(d * c)
		h *= step
		if math.Abs(step-1) < 1e-15 {
			break
		}
	}
	return math.Min(1, front*h)
}

// invert finds x in (lo, hi) with cdf(x) = p for an increasing cdf: Newton steps on
// the density, bisection whenever a step leaves the bracket.
func invert(p, lo, hi, x float64, cdf, pdf func(float64) float64) float64 {
	for range 200 {
		f := cdf(x) - p
		if f > 0 {
			hi = x
		} else {
			lo = x
		}
		next := x - f/pdf(x)
		if !(next > lo && next < hi) {
			next = lo + (hi-lo)/2
		}
		if math.Abs(next-x) <= 1e-15*math.Abs(x) || next == lo && next == hi {
			return next
		}
		x = next
	}
	return x
}

// BetaQuantile returns the p-quantile of the beta distribution with a, b > 0.
func BetaQuantile(p, a, b float64) float64 {
	switch {
	case p <= 0:
		return 0
	case p >= 1:
		return 1
	}
	pdf := func(x float64) float64 {
		return detmath.Exp(logBinomial(a, a+b, x)) * (b / (a + b)) * a / x / (1 - x)
	}
	return invert(p, 0, 1, a/(a+b), func(x float64) float64 { return BetaCDF(x, a, b) }, pdf)
}

// BinomialCDF returns P(X <= k) for n trials at p.
func BinomialCDF(k, n int, p float64) float64 {
	switch {
	case k < 0:
		return 0
	case k >= n:
		return 1
	}
	return BetaCDF(1-p, float64(n-k), float64(k)+1)
}

// binomialTail returns P(X >= k) for n trials at p.
func binomialTail(k, n int, p float64) float64 {
	switch {
	case k <= 0:
		return 1
	case k > n:
		return 0
	}
	return BetaCDF(p, float64(k), float64(n-k)+1)
}

// TQuantile returns the p-quantile of Student's t with df degrees of freedom.
func TQuantile(p, df float64) float64 {
	if p == 0.5 {
		return 0
	}
	tail := float64(2 * math.Min(p, 1-p))
	x := BetaQuantile(tail, df/2, 0.5) // x = df/(df+t^2)
	t := math.Sqrt(float64(df*(1-x)) / x)
	if p < 0.5 {
		return -t
	}
	return t
}

// ChiSquareTail returns P(X > x) for a chi-square with df degrees of freedom:
// series DLMF 8.11.4 below the mean, continued fraction DLMF 8.9.2 above.
func ChiSquareTail(x, df float64) float64 {
	a, z := df/2, x/2
	if z <= 0 {
		return 1
	}
	front := gammaFront(a, z)
	if z < a+1 {
		term, sum := 1.0, 1.0
		for k := 1.0; term > sum*1e-17 && k < 1e6; k++ {
			term = float64(term * (z / (a + k)))
			sum += term
		}
		return math.Max(0, 1-float64(front*sum))
	}
	b := z + 1 - a
	c, d := 1e300, 1/b
	h := d
	for i := 1.0; i < 1e6; i++ {
		an := -float64(i * (i - a))
		b += 2
		d = 1 / (float64(an*d) + b)
		c = b + an/c
		step := float64(d * c)
		h *= step
		if math.Abs(step-1) < 1e-15 {
			break
		}
	}
	return float64(float64(front*a) * h)
}

// gammaFront returns z^a e^-z / Gamma(a+1).
func gammaFront(a, z float64) float64 {
	return detmath.Exp(-detmath.StirlingError(a)-bd0(a, z)) / math.Sqrt(twoPi*a)
}

// ChiSquareQuantile returns x with P(X <= x) = p for df degrees of freedom.
func ChiSquareQuantile(p, df float64) float64 {
	if p <= 0 {
		return 0
	}
	h := 2 / (9 * df) // Wilson and Hilferty's start
	start := 1 - h + float64(detmath.NormalQuantile(p)*math.Sqrt(h))
	x := float64(df * math.Max(0.01, float64(start*float64(start*start))))
	pdf := func(x float64) float64 { return gammaFront(df/2, x/2) * df / (2 * x) }
	return invert(p, 0, 1e9, x, func(x float64) float64 { return 1 - ChiSquareTail(x, df) }, pdf)
}
