package kernel

import (
	"math"

	"muster/internal/cpu"
	"muster/internal/detmath"
)

// Element-wise and row kernels. Each call is single-threaded; the caller splits rows
// over threads by shape. dst may be one of the sources. A sum runs in 16 lanes (lane l
// takes elements l, l+16, ...) and ends in one tree: l with l+8, l+4, l+2, l+1.
//
// Assembly handles multiples of 16; the rest goes through a padded copy, which
// gives the same bits as a loop that leaves the missing lanes alone.

// fast reports whether assembly runs.
func fast() bool { return haveAsm && cpu.Active() != cpu.Ref }

// lanes is one vector.
type lanes [16]float32

// tailOf copies the last n%16 elements of x into a padded vector.
func tailOf(x []float32, pad float32) (v lanes) {
	n := copy(v[:], x[len(x)&^15:])
	for i := n; i < 16; i++ {
		v[i] = pad
	}
	return v
}

// Exp is dst = e^x, error at most 2 ulp (largest seen 1.2e-7 relative). NaN stays NaN.
func Exp(dst, x []float32) {
	if !fast() {
		for i, v := range x {
			dst[i] = expRef(v)
		}
		return
	}
	n := len(x) &^ 15
	if n > 0 {
		vexp(n, &dst[0], &x[0])
	}
	if n < len(x) {
		a := tailOf(x, 0)
		vexp(16, &a[0], &a[0])
		copy(dst[n:len(x)], a[:])
	}
}

// GeluTanh is the Gaussian error linear unit in its tanh form, x/(1+e^-2u) with
// u = sqrt(2/pi) (x + 0.044715 x^3) (Hendrycks and Gimpel, arXiv 1606.08415).
func GeluTanh(dst, x []float32) {
	if !fast() {
		for i, v := range x {
			dst[i] = v / gateRef(v)
		}
		return
	}
	n := len(x) &^ 15
	if n > 0 {
		vgelu(n, &dst[0], &x[0])
	}
	if n < len(x) {
		a := tailOf(x, 0)
		vgelu(16, &a[0], &a[0])
		copy(dst[n:len(x)], a[:])
	}
}

// GeluTanhGrad is dx = dy times the derivative of GeluTanh at x.
func GeluTanhGrad(dx, dy, x []float32) {
	if !fast() {
		for i, v := range x {
			dx[i] = geluGradRef(dy[i], v)
		}
		return
	}
	n := len(x) &^ 15
	if n > 0 {
		vgelugrad(n, &dx[0], &dy[0], &x[0])
	}
	if n < len(x) {
		a, b := tailOf(x, 0), tailOf(dy, 0)
		vgelugrad(16, &a[0], &b[0], &a[0])
		copy(dx[n:len(x)], a[:])
	}
}

// Binary is an element-wise operation of two operands.
type Binary uint8

// The operations of Map2 and MapScalar.
const (
	Add Binary = iota
	Sub
	Mul
	Div
)

// Map2 is dst = a op b; a, b and dst have the same length.
func Map2(op Binary, dst, a, b []float32) {
	if !fast() {
		map2Ref(op, dst, a, b)
		return
	}
	n := len(a) &^ 15
	if n > 0 {
		switch op {
		case Add:
			vadd(n, &dst[0], &a[0], &b[0])
		case Sub:
			vsub(n, &dst[0], &a[0], &b[0])
		case Mul:
			vmul(n, &dst[0], &a[0], &b[0])
		case Div:
			vdiv(n, &dst[0], &a[0], &b[0])
		}
	}
	map2Ref(op, dst[n:len(a)], a[n:], b[n:len(a)])
}

// MapScalar is dst = a op s.
func MapScalar(op Binary, dst, a []float32, s float32) {
	if !fast() {
		mapScalarRef(op, dst, a, s)
		return
	}
	n := len(a) &^ 15
	if n > 0 {
		switch op {
		case Add:
			vadds(n, &dst[0], &a[0], s)
		case Sub:
			vsubs(n, &dst[0], &a[0], s)
		case Mul:
			vmuls(n, &dst[0], &a[0], s)
		case Div:
			vdivs(n, &dst[0], &a[0], s)
		}
	}
	mapScalarRef(op, dst[n:len(a)], a[n:], s)
}

// maxTail is the longest row with a length that is not a multiple of 16 that runs in assembly.
const maxTail = 1024

// Sum returns the sum of x.
func Sum(x []float32) float32 {
	switch {
	case !fast() || len(x) == 0 || len(x)%16 != 0 && len(x) > maxTail:
		return sumRef(x)
	case len(x)%16 == 0:
		return vsum(len(x), &x[0])
	}
	var b [maxTail]float32
	copy(b[:], x)
	return vsum((len(x)+15)&^15, &b[0])
}

// Dot returns the sum of a*b.
func Dot(a, b []float32) float32 {
	switch {
	case !fast() || len(a) == 0 || len(a)%16 != 0 && len(a) > maxTail:
		return dotRef(a, b)
	case len(a)%16 == 0:
		return vdot(len(a), &a[0], &b[0])
	}
	var x, y [maxTail]float32
	copy(x[:], a)
	copy(y[:], b[:len(a)])
	return vdot((len(a)+15)&^15, &x[0], &y[0])
}

// Softmax writes e^(x-max)/sum for every row of x [rows, cols].
func Softmax(dst, x []float32, rows, cols int) {
	for r := 0; r < rows; r++ {
		d, v := dst[r*cols:(r+1)*cols], x[r*cols:(r+1)*cols]
		s := expRow(d, v, rowMax(v))
		MapScalar(Div, d, d, s)
	}
}

// LogSoftmax writes x - max - log(sum e^(x-max)) for every row.
func LogSoftmax(dst, x []float32, rows, cols int) {
	for r := 0; r < rows; r++ {
		d, v := dst[r*cols:(r+1)*cols], x[r*cols:(r+1)*cols]
		m := rowMax(v)
		var buf [maxTail]float32
		e := buf[:]
		if cols > maxTail {
			e = make([]float32, cols) // long rows only
		}
		s := expRow(e[:cols], v, m)
		l := float32(detmath.Log(float64(s)))
		for i, t := range v {
			d[i] = float32(t-m) - l
		}
	}
}

// rowMax returns the largest element of one row.
func rowMax(x []float32) float32 {
	if !fast() || len(x) < 16 {
		return maxRef(x)
	}
	n := len(x) &^ 15
	m := vmax(n, &x[0])
	for _, v := range x[n:] {
		if !(m > v) {
			m = v
		}
	}
	return m
}

// expRow is d = e^(x-m) and returns the sum.
func expRow(d, x []float32, m float32) float32 {
	switch n := len(x); {
	case !fast() || n == 0 || n%16 != 0 && n > maxTail:
		return expRowRef(d, x, m)
	case n%16 == 0:
		return vexpsum(n, &d[0], &x[0], m)
	default:
		var b [maxTail]float32
		up := (n + 15) &^ 15
		copy(b[:], x)
		for i := n; i < up; i++ {
			b[i] = float32(math.Inf(-1))
		}
		s := vexpsum(up, &b[0], &b[0], m)
		copy(d[:n], b[:])
		return s
	}
}

// SoftmaxGrad is dx = y*(dy - sum(dy*y)) for every row.
func SoftmaxGrad(dx, dy, y []float32, rows, cols int) {
	for r := 0; r < rows; r++ {
		lo, hi := r*cols, (r+1)*cols
		mulSub(dx[lo:hi], y[lo:hi], dy[lo:hi], Dot(dy[lo:hi], y[lo:hi]))
	}
}

// mulSub is dst = y*(x-s).
func mulSub(dst, y, x []float32, s float32) {
	n := 0
	if fast() {
		if n = len(x) &^ 15; n > 0 {
			vmulsub(n, &dst[0], &y[0], &x[0], s)
		}
	}
	for i := n; i < len(x); i++ {
		dst[i] = float32(x[i]-s) * y[i]
	}
}

// LayerNorm normalises every row of x [rows, cols] to mean 0 and variance 1, then
// applies scale and bias [cols]. mean and invstd [rows] are kept for the gradient; either may be nil.
func LayerNorm(y, mean, invstd, x, scale, bias []float32, rows, cols int, eps float32) {
	asm := fast() && cols%16 == 0 && cols > 0
	for r := 0; r < rows; r++ {
		v := x[r*cols : (r+1)*cols]
		m := Sum(v) / float32(cols)
		var q float32
		if asm {
			q = vsquares(cols, &v[0], m)
		} else {
			q = squaresRef(v, m)
		}
		inv := 1 / float32(math.Sqrt(float64(float32(q/float32(cols))+eps)))
		d := y[r*cols : (r+1)*cols]
		if asm {
			vnorm(cols, &d[0], &v[0], &scale[0], &bias[0], m, inv)
		} else {
			for i, t := range v {
				d[i] = FMA(float32(t-m)*inv, scale[i], bias[i])
			}
		}
		if mean != nil {
			mean[r] = m
		}
		if invstd != nil {
			invstd[r] = inv
		}
	}
}

// LayerNormGrad is the gradient of LayerNorm by its input: with g = dy*scale and the
// normalised x^, dx = invstd*(g - mean(g) - x^*mean(g*x^)) (Ba et al., arXiv 1607.06450).
func LayerNormGrad(dx, dy, x, scale, mean, invstd []float32, rows, cols int) {
	asm := fast() && cols%16 == 0 && cols > 0
	n := float32(cols)
	for r := 0; r < rows; r++ {
		d, v, o := dy[r*cols:(r+1)*cols], x[r*cols:(r+1)*cols], dx[r*cols:(r+1)*cols]
		m, inv := mean[r], invstd[r]
		if asm {
			g, gx := vnormsums(cols, &d[0], &v[0], &scale[0], m, inv)
			vnormgrad(cols, &o[0], &d[0], &v[0], &scale[0], m, inv, g/n, gx/n)
			continue
		}
		g, gx := normSumsRef(d, v, scale, m, inv)
		normGradRef(o, d, v, scale, m, inv, g/n, gx/n)
	}
}

// LayerNormParamGrad adds, over rows in ascending order, dy*x^ to dscale and dy to dbias [cols].
func LayerNormParamGrad(dscale, dbias, dy, x, mean, invstd []float32, rows, cols int) {
	asm := fast() && cols%16 == 0 && cols > 0
	for r := 0; r < rows; r++ {
		d, v := dy[r*cols:(r+1)*cols], x[r*cols:(r+1)*cols]
		if asm {
			vnormparam(cols, &dscale[0], &dbias[0], &d[0], &v[0], mean[r], invstd[r])
			continue
		}
		for i := range d {
			h := float32(v[i]-mean[r]) * invstd[r]
			dscale[i] = FMA(d[i], h, dscale[i])
			dbias[i] += d[i]
		}
	}
}

// ColSum adds every row of x [rows, cols] to dst [cols], in ascending order.
func ColSum(dst, x []float32, rows, cols int) {
	for r := 0; r < rows; r++ {
		Map2(Add, dst[:cols], dst[:cols], x[r*cols:(r+1)*cols])
	}
}

// AdamWStep are the scalars of one step of AdamW.
type AdamWStep struct {
	LR, Beta1, Beta2, Eps, WeightDecay float32
	Step                               int64 // from 1
}

// AdamW updates p and its moments m and w in place, with the formula of PyTorch's
// AdamW: p -= lr*wd*p; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
// p -= lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps) (Loshchilov and Hutter, arXiv 1711.05101).
func AdamW(p, m, w, g []float32, s AdamWStep) {
	k := s.scalars()
	n := 0
	if fast() {
		if n = len(p) &^ 15; n > 0 {
			var wide [8 * 16]float32
			for i, v := range k {
				for l := 0; l < 16; l++ {
					wide[16*i+l] = v
				}
			}
			vadamw(n, &p[0], &m[0], &w[0], &g[0], &wide[0])
		}
	}
	for i := n; i < len(p); i++ {
		m[i] = FMA(g[i], k[2], m[i]*k[1])
		w[i] = FMA(float32(g[i]*g[i]), k[4], w[i]*k[3])
		d := float32(float32(math.Sqrt(float64(w[i])))*k[6]) + k[7]
		p[i] = FMA(-(m[i] / d), k[5], float32(p[i]*k[0]))
	}
}

// scalars returns what a step multiplies with: decay, b1, 1-b1, b2, 1-b2, step size, 1/sqrt(1-b2^t), eps.
func (s AdamWStep) scalars() [8]float32 {
	b1, b2, t := float64(s.Beta1), float64(s.Beta2), float64(s.Step)
	c1, c2 := 1-detmath.Exp(t*detmath.Log(b1)), 1-detmath.Exp(t*detmath.Log(b2))
	if b1 == 0 {
		c1 = 1
	}
	if b2 == 0 {
		c2 = 1
	}
	return [8]float32{float32(1 - float64(float64(s.LR)*float64(s.WeightDecay))), s.Beta1, float32(1 - b1), s.Beta2, float32(1 - b2),
		float32(float64(s.LR) / c1), float32(1 / math.Sqrt(c2)), s.Eps}
}

// QuantizeU8 is q = clamp(round(x/scale) + zero, 0, 255), ties to even. x/scale is clamped to
// 1e6 on both sides first; NaN takes the upper end.
func QuantizeU8(q []uint8, x []float32, scale float32, zero uint8) {
	z := math.Float32frombits(uint32(zero)) // the integer in a float's clothes: it travels as a float argument
	n := 0
	if fast() {
		if n = len(x) &^ 15; n > 0 {
			vquantu8(n, &q[0], &x[0], scale, z)
		}
	}
	for i := n; i < len(x); i++ {
		q[i] = quantRef(x[i], scale, zero)
	}
}

// DequantAcc is y = float32(acc)*scale + bias for every row of acc [rows, cols]; scale and bias are [cols].
func DequantAcc(y []float32, acc []int32, rows, cols int, scale, bias []float32) {
	n := 0
	if fast() {
		n = cols &^ 15
	}
	for r := 0; r < rows; r++ {
		o, a := y[r*cols:(r+1)*cols], acc[r*cols:(r+1)*cols]
		if n > 0 {
			vdequant(n, &o[0], &a[0], &scale[0], &bias[0])
		}
		for i := n; i < cols; i++ {
			o[i] = FMA(float32(a[i]), scale[i], bias[i])
		}
	}
}
