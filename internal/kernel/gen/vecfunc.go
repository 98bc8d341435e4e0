package main

import (
	"math"
	"strings"
)

func fill(doc, operand string) string { return strings.Replace(doc, "%s", operand, 1) }

// Constants of the tanh form of Gelu: 2u = 2 sqrt(2/pi) (x + 0.044715 x^3) = x (geluA + geluB x^2).
const (
	geluA = 1.5957691216057308
	geluB = 0.07135481282850852
)

// The fits below are minimax in the relative error of the function (weighted least squares with
// Lawson's weights); the sweeps in func_test.go say how good the float32 results are.
var (
	// (e^r - 1 - r)/r^2 for |r| <= ln 2 / 2.
	expC = []float32{0.49999994, 0.16666515, 0.041668456, 0.008369419, 0.0013813145}
	// (log(1+f) - f + f^2/2)/f^3 for sqrt(1/2) <= 1+f <= sqrt(2).
	logC = []float32{0.33333331, -0.25000826, 0.20001236, -0.16623144, 0.14201368, -0.13162005, 0.12765427, -0.076343842}
	// log(1+e)/e for 0 < e <= 1.
	log1pC = []float32{0.99999994, -0.499994934, 0.333190978, -0.24842982, 0.191060051, -0.136632428, 0.0782259107, -0.0295052137, 0.00523268804}
	// (tan r - r)/r^3 in r^2 for |r| <= pi/4.
	tanC = []float32{0.333331555, 0.133388042, 0.0534109287, 0.0244314149, 0.00311784027, 0.00938664936}
	// (sin r - r)/r^3 in r^2 for |r| <= pi/2.
	sinC = []float32{-0.1666666, 0.0083330646, -0.00019809476, 2.6054815e-06}
	// erf(x) = x P(x^2)/Q(x^2) for |x| <= erfEnd, where float32 has reached 1.
	erfP = []float32{1.1283791, 0.19039503, 0.052747086, 0.0037650908, 0.00028486530, 2.0501036e-06}
	erfQ = []float32{1, 0.50206596, 0.11410427, 0.014968170, 0.0011623974, 3.8090970e-05}
)

const erfEnd = 3.92

// expPoly is e^r - 1 for a small r.
func (p *prog) expPoly(r val) val {
	return p.fma(p.times(r, r), p.poly(r, expC...), r)
}

// reduced is n and r with x = n ln 2 + r.
func (p *prog) reduced(x val) (n, r val) {
	n = p.round(0, p.times(x, p.c(1.44269504)))
	return n, p.fnma(n, p.c(-2.12194440e-4), p.fnma(n, p.c(0.693359375), x))
}

// exp is e^x; NaN stays.
func (p *prog) exp(x val) val { return p.expNeg(p.min(p.c(89), x)) }

// expNeg is e^x for x that is at most 89.
func (p *prog) expNeg(x val) val {
	n, r := p.reduced(p.max(p.c(-104), x))
	q := p.poly(r, append([]float32{1, 1}, expC...)...)
	return p.scale(q, n)
}

// expm1 is e^x - 1, without cancellation near 0: 2 (2^(n-1) (e^r - 1) + (2^(n-1) - 1/2)).
func (p *prog) expm1(x val) val {
	n, r := p.reduced(p.max(p.c(-104), p.min(p.c(89), x)))
	s := p.scale(p.c(0.5), n)
	h := p.fma(p.expPoly(r), s, p.minus(s, p.c(0.5)))
	return p.plus(h, h)
}

// logPositive is log x for 0 < x < infinity that is not subnormal, plus k0 ln 2: x = 2^k (1+f).
func (p *prog) logPositive(x val, k0 val) val {
	k := p.imm("VPSRAD", 23, p.op("VPSUBD", x, p.bits(0x3f3504f3)))
	m := p.op("VPSUBD", x, p.imm("VPSLLD", 23, k))
	kf := p.un("VCVTDQ2PS", k)
	if k0 >= 0 {
		kf = p.plus(kf, k0)
	}
	f := p.minus(m, p.c(1))
	z := p.times(f, f)
	y := p.times(p.times(p.poly(f, logC...), f), z)
	y = p.fnma(z, p.c(0.5), p.fma(kf, p.c(-2.12194440e-4), y))
	return p.fma(kf, p.c(0.693359375), p.plus(f, y))
}

// log is the natural logarithm: -Inf at 0, NaN below.
func (p *prog) log(x val) val {
	small := p.compare(less, x, p.c(0x1p-126))
	a := p.pick(small, p.times(x, p.c(0x1p23)), x)
	k0 := p.pick(p.compare(less, x, p.c(0x1p-126)), p.c(-23), p.c(0))
	r := p.logPositive(a, k0)
	r = p.pick(p.compare(less, x, p.bits(0x7f800000)), r, x) // +Inf and NaN
	r = p.pick(p.compare(equal, x, p.c(0)), p.bits(0xff800000), r)
	return p.pick(p.compare(less, x, p.c(0)), p.bits(0x7fc00000), r)
}

// softplus is log(1 + e^x) = max(x, 0) + log(1 + e^-|x|).
func (p *prog) softplus(x val) val {
	e := p.expNeg(p.commute("VORPS", x, p.bits(0x80000000)))
	return p.fma(p.poly(e, log1pC...), e, p.max(p.c(0), x))
}

// pow is x^y for normal x > 0 and finite y. log x is kept in two numbers, so that its product with y has all bits
// that e^(y log x) needs: f - f^2/2 and k ln 2 are summed with their rounding errors. A square is x x.
func (p *prog) pow(x, y func() val) val {
	v := x()
	k := p.imm("VPSRAD", 23, p.op("VPSUBD", v, p.bits(0x3f3504f3)))
	f := p.minus(p.op("VPSUBD", v, p.imm("VPSLLD", 23, k)), p.c(1))
	kf := p.un("VCVTDQ2PS", k)
	z := p.times(f, f)
	rest := p.fma(kf, p.c(-2.12194440e-4), p.times(p.times(p.poly(f, logC...), f), z))
	a := p.fnma(z, p.c(0.5), f)
	lo := p.fma(p.fnma(f, f, z), p.c(0.5), p.fnma(z, p.c(0.5), p.minus(f, a)))
	whole := p.times(kf, p.c(0.693359375)) // exact
	hi := p.plus(whole, a)
	lo = p.plus(p.plus(lo, p.minus(a, p.minus(hi, whole))), rest)
	l := p.plus(hi, lo)
	lo = p.minus(lo, p.minus(l, hi))
	w := y()
	t := p.times(w, l)
	less := p.fnma(w, lo, p.fnma(w, l, t)) // t - y log x
	less = p.max(p.min(less, p.c(1)), p.c(-1))
	n, r := p.reduced(p.max(p.c(-106), p.min(p.c(91), t)))
	e := p.scale(p.poly(p.minus(r, less), append([]float32{1, 1}, expC...)...), n)
	v = x()
	return p.pick(p.compare(equal, y(), p.c(2)), p.times(v, v), e)
}

// tangent is tan x: r = x - q pi/2, tan r for even q, -1/tan r for odd q.
func (p *prog) tangent(x val) val {
	q := p.round(0, p.times(x, p.c(0.63661975)))
	r := x
	for _, part := range piParts {
		r = p.fnma(q, p.c(part/2), r)
	}
	s := p.times(r, r)
	t := p.fma(p.times(p.poly(s, tanC...), s), r, r)
	odd := p.imm("VPSLLD", 31, p.un("VCVTPS2DQ", q)) // -0 for odd q
	turned := p.compare(less, p.commute("VORPS", odd, p.c(1)), p.c(0))
	return p.over(p.pick(turned, p.c(-1), t), p.pick(turned, t, p.c(1)))
}

// erfOf is x P(x^2)/Q(x^2) for a scaled x: erf(k x) a with P and Q scaled to match.
func (p *prog) erfOf(x val, k, a float64) val {
	x = p.max(p.c(float32(-erfEnd/k)), p.min(p.c(float32(erfEnd/k)), x))
	s := p.times(x, x)
	P, Q := make([]float32, len(erfP)), make([]float32, len(erfQ))
	for i, f := 0, 1.0; i < len(P); i, f = i+1, f*k*k {
		P[i], Q[i] = float32(float64(erfP[i])*f*k*a), float32(float64(erfQ[i])*f)
	}
	return p.over(p.times(x, p.poly(s, P...)), p.poly(s, Q...))
}

const sqrtHalf = 0.70710678118654752

// phi is the normal distribution's cumulative function, 1/2 + erf(x/sqrt 2)/2.
func (p *prog) phi(x val) val { return p.plus(p.erfOf(x, sqrtHalf, 0.5), p.c(0.5)) }

// gate is 1 + e^(-2u), u as in geluA.
func (p *prog) gate(x val) val {
	return p.plus(p.exp(p.times(p.fma(p.times(x, x), p.c(-geluB), p.c(-geluA)), x)), p.c(1))
}

// onePlusExp is 1 + e^-x.
func (p *prog) onePlusExp(x val) val { return p.plus(p.exp(p.neg(x)), p.c(1)) }

func (p *prog) tanh(x val) val {
	e := p.expm1(p.times(p.abs(x), p.c(-2)))
	t := p.over(e, p.plus(e, p.c(2)))
	return p.commute("VORPS", p.abs(t), p.sign(x))
}

// mish is x tanh(log(1+e^x)) = x n/(n+2), n = w (w+2), w = e^x (Misra, arXiv 1908.08681).
func (p *prog) mish(x val) val {
	w := p.exp(p.min(p.c(20), x))
	n := p.times(w, p.plus(w, p.c(2)))
	return p.times(p.over(n, p.plus(n, p.c(2))), x)
}

// sine is sin(x) for even, of cos(x) otherwise: r = x - m pi, m whole or halfway.
func (p *prog) sine(x val, cos bool) val {
	var q, m val
	if cos {
		q = p.round(0, p.fma(x, p.c(0.31830987), p.c(-0.5)))
		m = p.plus(q, p.c(0.5))
	} else {
		q = p.round(0, p.times(x, p.c(0.31830987)))
		m = q
	}
	r := x
	for _, part := range piParts {
		r = p.fnma(m, p.c(part), r)
	}
	s := p.times(r, r)
	y := p.fma(p.times(p.poly(s, sinC...), s), r, r)
	k := p.un("VCVTPS2DQ", q)
	if cos {
		k = p.op("VPADDD", k, p.bits(1))
	}
	return p.xor(y, p.imm("VPSLLD", 31, k))
}

// piParts sum up to pi; products of the first two with a whole number below 2^13 are exact.
var piParts = []float32{3.140625, 0.0009670257568359375, 6.2771141529083252e-07, 1.2154201256553420e-10}

// hard is max(0, min(1, a)), NaN stays.
func (p *prog) hard(a val) val { return p.max(p.c(0), p.min(p.c(1), a)) }

// functions are the kernels of one operand.
func functions() []kernelFn {
	un := func(name, doc string, f func(p *prog, x val) val, f32s ...string) kernelFn {
		return kernelFn{name: name, doc: doc, ptrs: []string{"dst", "x"}, f32s: f32s, prog: func(p *prog) { p.store("dst", f(p, p.load("x"))) }}
	}
	return []kernelFn{
		un("vexp", "is dst = e^x.", func(p *prog, x val) val { return p.exp(x) }),
		un("vlog", "is dst = log x.", func(p *prog, x val) val { return p.log(x) }),
		un("verf", "is dst = erf x.", func(p *prog, x val) val {
			one := p.commute("VORPS", p.sign(x), p.c(1))
			return p.pick(p.compare(less, p.c(erfEnd), p.abs(x)), one, p.erfOf(x, 1, 1))
		}),
		un("vgelu", "is the tanh form of the Gaussian error linear unit.", func(p *prog, x val) val { return p.over(x, p.gate(x)) }),
		un("vgeluerf", "is the Gaussian error linear unit.", func(p *prog, x val) val { return p.times(p.phi(x), x) }),
		un("vtanh", "is dst = tanh x.", func(p *prog, x val) val { return p.tanh(x) }),
		un("vsigmoid", "is dst = 1/(1+e^-x).", func(p *prog, x val) val { return p.over(p.c(1), p.onePlusExp(x)) }),
		un("vsilu", "is dst = x/(1+e^-x).", func(p *prog, x val) val { return p.over(x, p.onePlusExp(x)) }),
		un("vsoftplus", "is dst = log(1+e^x).", func(p *prog, x val) val { return p.softplus(x) }),
		un("vmish", "is dst = x tanh(log(1+e^x)).", func(p *prog, x val) val { return p.mish(x) }),
		un("vsin", "is dst = sin x for |x| at most sinEnd.", func(p *prog, x val) val { return p.sine(x, false) }),
		un("vcos", "is dst = cos x for |x| at most sinEnd.", func(p *prog, x val) val { return p.sine(x, true) }),
		un("vsqrt", "is dst = sqrt x.", func(p *prog, x val) val { return p.un("VSQRTPS", x) }),
		un("vabs", "is dst = |x|.", func(p *prog, x val) val { return p.abs(x) }),
		un("vneg", "is dst = -x.", func(p *prog, x val) val { return p.neg(x) }),
		un("vfloor", "is x rounded down.", func(p *prog, x val) val { return p.round(1, x) }),
		un("vceil", "is x rounded up.", func(p *prog, x val) val { return p.round(2, x) }),
		un("vround", "is x rounded to the nearest whole number, ties to even.", func(p *prog, x val) val { return p.round(0, x) }),
		un("vrelu", "is dst = max(x, 0).", func(p *prog, x val) val { return p.max(p.c(0), x) }),
		un("vhardswish", "is dst = x max(0, min(1, x/6 + 1/2)).", func(p *prog, x val) val {
			return p.times(p.hard(p.fma(x, p.c(1.0/6), p.c(0.5))), x)
		}),
		un("vsoftsign", "is dst = x/(1+|x|).", func(p *prog, x val) val {
			x = p.max(p.c(-math.MaxFloat32), p.min(p.c(math.MaxFloat32), x))
			return p.over(x, p.plus(p.abs(x), p.c(1)))
		}),
		un("vtan", "is dst = tan x for |x| at most sinEnd.", func(p *prog, x val) val { return p.tangent(x) }),
		un("vsign", "is -1, 0 or 1.", func(p *prog, x val) val {
			return p.pick(p.compare(less, p.c(0), x), p.c(1), p.pick(p.compare(less, x, p.c(0)), p.c(-1), x))
		}),
		un("vthreshold", "is x where it is above a, 0 elsewhere.", func(p *prog, x val) val {
			return p.pick(p.compare(less, p.scalar(0), x), x, p.c(0))
		}, "a"),
		un("vhardsigmoid", "is dst = max(0, min(1, a x + b)).", func(p *prog, x val) val {
			return p.hard(p.fma(x, p.scalar(0), p.scalar(1)))
		}, "a", "b"),
		un("vleaky", "is dst = x, or a x below 0.", func(p *prog, x val) val {
			return p.pick(p.compare(less, x, p.c(0)), p.times(x, p.scalar(0)), x)
		}, "a"),
		un("velu", "is dst = b x, or a (e^x - 1) below 0.", func(p *prog, x val) val {
			low := p.times(p.expm1(x), p.scalar(0))
			return p.pick(p.compare(less, x, p.c(0)), low, p.times(x, p.scalar(1)))
		}, "a", "b"),
		un("vclip", "is dst = min(max(x, lo), hi).", func(p *prog, x val) val {
			return p.min(p.scalar(1), p.max(p.scalar(0), x))
		}, "lo", "hi"),
	}
}

// gradients multiply dy by the derivative of an activation at x, or where y is named at its result.
func gradients() []kernelFn {
	grad := func(name, doc, at string, f func(p *prog, x val) val) kernelFn {
		return kernelFn{name: name, doc: doc, ptrs: []string{"dx", "dy", at}, prog: func(p *prog) {
			p.store("dx", p.times(f(p, p.load(at)), p.load("dy")))
		}}
	}
	return []kernelFn{
		grad("vgelugrad", "is dx = dy times the derivative of vgelu at x.", "x", func(p *prog, x val) val {
			s := p.over(p.c(1), p.gate(x))
			q := p.times(p.times(p.minus(p.c(1), s), s), x) // x s (1-s)
			return p.fma(q, p.fma(p.times(x, x), p.c(3*geluB), p.c(geluA)), s)
		}),
		grad("vgeluerfgrad", "is dx = dy times the derivative of vgeluerf at x.", "x", func(p *prog, x val) val {
			e := p.expNeg(p.times(p.times(x, x), p.c(-0.5)))
			return p.fma(p.times(e, p.c(0.3989422804014327)), x, p.phi(x))
		}),
		{name: "vrelugrad", doc: "is dx = dy where x is above 0, 0 elsewhere.", ptrs: []string{"dx", "dy", "x"}, prog: func(p *prog) {
			p.store("dx", p.pick(p.compare(less, p.c(0), p.load("x")), p.load("dy"), p.c(0)))
		}},
		grad("vtanhgrad", "is dx = dy (1 - y^2).", "y", func(p *prog, y val) val { return p.fnma(y, y, p.c(1)) }),
		grad("vsigmoidgrad", "is dx = dy y (1-y).", "y", func(p *prog, y val) val { return p.times(p.minus(p.c(1), y), y) }),
	}
}
