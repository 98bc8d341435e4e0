package kernel

import (
	"math"

	"muster/internal/cpu"
	"muster/internal/detmath"
)

// Element-wise and row kernels. Each call is single-threaded; the caller splits rows
// over threads by shape. dst may be one of the sources. A sum runs in 16 lanes (lane l
// takes elements l, l+16, ...) and ends in one tree: l with l+8, l+4, l+2, l+1.
// What is left after whole vectors runs under a mask that leaves the missing lanes alone.

// fast reports whether assembly runs.
func fast() bool { return haveAsm && cpu.Active() != cpu.Ref }

// lanes is one vector.
type lanes [16]float32

// Binary is an element-wise operation of two operands.
type Binary uint8

// The operations of Map2 and MapScalar.
const (
	Add Binary = iota
	Sub
	Mul
	Div
	Max     // NaN if an operand is
	Min     // NaN if an operand is
	Leak    // a, or a b below 0
	SubFrom // s - a, MapScalar only
	DivBy   // s / a, MapScalar only
)

// Map2 is dst = a op b; a, b and dst have the same length.
func Map2(op Binary, dst, a, b []float32) {
	n := len(a)
	if !fast() || n == 0 {
		map2Ref(op, dst, a, b)
		return
	}
	d, x, y := &dst[:n][0], &a[0], &b[:n][0]
	switch op {
	case Add:
		vadd(n, d, x, y)
	case Sub:
		vsub(n, d, x, y)
	case Mul:
		vmul(n, d, x, y)
	case Div:
		vdiv(n, d, x, y)
	case Max:
		vmaxi(n, d, x, y)
	case Min:
		vmini(n, d, x, y)
	case Leak:
		vleak(n, d, x, y)
	}
}

// MapScalar is dst = a op s.
func MapScalar(op Binary, dst, a []float32, s float32) {
	n := len(a)
	if !fast() || n == 0 {
		mapScalarRef(op, dst, a, s)
		return
	}
	d, x := &dst[:n][0], &a[0]
	switch op {
	case Add:
		vadds(n, d, x, s)
	case Sub:
		vsubs(n, d, x, s)
	case Mul:
		vmuls(n, d, x, s)
	case Div:
		vdivs(n, d, x, s)
	case Max:
		vmaxis(n, d, x, s)
	case Min:
		vminis(n, d, x, s)
	case Leak:
		vleaks(n, d, x, s)
	case SubFrom:
		vrsubs(n, d, x, s)
	case DivBy:
		vrdivs(n, d, x, s)
	}
}

// Sum returns the sum of x.
func Sum(x []float32) float32 {
	if !fast() || len(x) == 0 {
		return sumRef(x)
	}
	return vsum(len(x), &x[0])
}

// AbsSum returns the sum of |x|.
func AbsSum(x []float32) float32 {
	if !fast() || len(x) == 0 {
		return absSumRef(x)
	}
	return vabssum(len(x), &x[0])
}

// Dot returns the sum of a*b.
func Dot(a, b []float32) float32 {
	if !fast() || len(a) == 0 {
		return dotRef(a, b)
	}
	return vdot(len(a), &a[0], &b[:len(a)][0])
}

// Squares returns the sum of (x-m)^2.
func Squares(x []float32, m float32) float32 {
	if !fast() || len(x) == 0 {
		return squaresRef(x, m)
	}
	return vsquares(len(x), &x[0], m)
}

// Greatest returns the largest element of x, NaN if there is one, -Inf of none.
func Greatest(x []float32) float32 {
	if !fast() || len(x) == 0 {
		m := float32(math.Inf(-1))
		for _, v := range x {
			m = greatest(m, v)
		}
		return m + 0 // of two zeros the positive one
	}
	if nan := vnans(len(x), &x[0]); nan != nan {
		return nan
	}
	return vmax(len(x), &x[0]) + 0
}

// Least returns the smallest element of x, NaN if there is one, +Inf of none.
func Least(x []float32) float32 {
	if !fast() || len(x) == 0 {
		m := float32(math.Inf(1))
		for _, v := range x {
			m = least(m, v)
		}
		return m + 0
	}
	if nan := vnans(len(x), &x[0]); nan != nan {
		return nan
	}
	return vmin(len(x), &x[0]) + 0
}

// rowsBound is how many elements one call goes over at most: assembly cannot be interrupted.
const rowsBound = 1 << 15

// batches calls f for groups of rows that one call may go over.
func batches(rows, cols int, f func(r, n int)) {
	step := max(1, rowsBound/cols)
	for r := 0; r < rows; r += step {
		f(r, min(step, rows-r))
	}
}

// Softmax writes e^(x-max)/sum for every row of x [rows, cols].
func Softmax(dst, x []float32, rows, cols int) {
	if fast() && rows > 0 && cols > 0 && cols <= 1<<18 {
		d, v := dst[:rows*cols], x[:rows*cols]
		batches(rows, cols, func(r, n int) { rsoftmax(n, cols, &d[r*cols], &v[r*cols]) })
		return
	}
	for r := 0; r < rows; r++ {
		d, v := dst[r*cols:(r+1)*cols], x[r*cols:(r+1)*cols]
		MapScalar(Mul, d, d, 1/expRow(d, v, rowMax(v)))
	}
}

// LogSoftmax writes x - max - log(sum e^(x-max)) for every row.
func LogSoftmax(dst, x []float32, rows, cols int) {
	for r := 0; r < rows; r++ {
		d, v := dst[r*cols:(r+1)*cols], x[r*cols:(r+1)*cols]
		m := rowMax(v)
		l := float32(detmath.Log(float64(ExpSum(v, m))))
		MapScalar(Sub, d, v, m)
		MapScalar(Sub, d, d, l)
	}
}

// Top returns the largest element of x; NaN may be lost if it is finite.
func Top(x []float32) float32 {
	if m := rowMax(x); m < float32(math.Inf(1)) && len(x) > 0 {
		return m + 0
	}
	return Greatest(x)
}

// rowMax returns the largest element of one row; NaN may be lost.
func rowMax(x []float32) float32 {
	if !fast() || len(x) == 0 {
		return maxRef(x)
	}
	return vmax(len(x), &x[0])
}

// expRow is d = e^(x-m) for an m that is not below any x, and returns the sum.
func expRow(d, x []float32, m float32) float32 {
	if !fast() || len(x) == 0 {
		return expRowRef(d, x, m)
	}
	return vexpsum(len(x), &d[:len(x)][0], &x[0], m)
}

// ExpSum returns the sum of e^(x-m) for an m that is not below any x by more than 80.
func ExpSum(x []float32, m float32) float32 {
	if !fast() || len(x) == 0 {
		return expSumRef(x, m)
	}
	return vexpsumonly(len(x), &x[0], m)
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
	if fast() && len(x) > 0 {
		vmulsub(len(x), &dst[:len(x)][0], &y[:len(x)][0], &x[0], s)
		return
	}
	for i, v := range x {
		dst[i] = float32(v-s) * y[i]
	}
}

// LayerNorm normalises every row of x [rows, cols] to mean 0 and variance 1, then
// applies scale and bias [cols]. mean and invstd [rows] are kept for the gradient; either may be nil.
func LayerNorm(y, mean, invstd, x, scale, bias []float32, rows, cols int, eps float32) {
	if fast() && rows > 0 && cols > 0 && cols <= 1<<18 {
		d, v, s, b := y[:rows*cols], x[:rows*cols], &scale[:cols][0], &bias[:cols][0]
		batches(rows, cols, func(r, n int) {
			rlayernorm(n, cols, &d[r*cols], &v[r*cols], s, b, at(mean, r, n), at(invstd, r, n), float32(cols), eps)
		})
		return
	}
	for r := 0; r < rows; r++ {
		v := x[r*cols : (r+1)*cols]
		m, inv := normRow(y[r*cols:(r+1)*cols], v, Sum(v), scale, bias, eps)
		if mean != nil {
			mean[r] = m
		}
		if invstd != nil {
			invstd[r] = inv
		}
	}
}

// AddLayerNorm is LayerNorm of a + b, which goes to sum [rows, cols]. y may be sum.
func AddLayerNorm(y, sum, a, b, scale, bias []float32, rows, cols int, eps float32) {
	if fast() && rows > 0 && cols > 0 && cols <= 1<<18 {
		n := rows * cols
		y, sum, a, b, s, o := y[:n], sum[:n], a[:n], b[:n], &scale[:cols][0], &bias[:cols][0]
		batches(rows, cols, func(r, n int) {
			raddnorm(n, cols, &y[r*cols], &sum[r*cols], &a[r*cols], &b[r*cols], s, o, nil, nil, float32(cols), eps)
		})
		return
	}
	for r := 0; r < rows; r++ {
		lo, hi := r*cols, (r+1)*cols
		t := addSum(sum[lo:hi], a[lo:hi], b[lo:hi])
		normRow(y[lo:hi], sum[lo:hi], t, scale, bias, eps)
	}
}

// AddRMSNorm is RMSNorm of a + b, which goes to sum [rows, cols]. y may be sum.
func AddRMSNorm(y, sum, a, b, scale []float32, rows, cols int, eps float32) {
	for r := 0; r < rows; r++ {
		lo, hi := r*cols, (r+1)*cols
		Map2(Add, sum[lo:hi], a[lo:hi], b[lo:hi])
		RMSNorm(y[lo:hi], nil, sum[lo:hi], scale, 1, cols, eps)
	}
}

// at is the place of n rows from r on in optional statistics.
func at(stats []float32, r, n int) *float32 {
	if stats == nil {
		return nil
	}
	return &stats[r : r+n][0]
}

// addSum is d = a + b and returns the sum.
func addSum(d, a, b []float32) float32 {
	if !fast() || len(a) == 0 {
		return addSumRef(d, a, b)
	}
	return vaddsum(len(a), &d[:len(a)][0], &a[0], &b[:len(a)][0])
}

// normRow normalises one row with a known sum.
func normRow(y, x []float32, sum float32, scale, bias []float32, eps float32) (m, inv float32) {
	n := float32(len(x))
	m = sum / n
	inv = 1 / float32(math.Sqrt(float64(float32(Squares(x, m)/n)+eps)))
	if fast() && len(x) > 0 {
		vnorm(len(x), &y[:len(x)][0], &x[0], &scale[:len(x)][0], &bias[:len(x)][0], m, inv)
		return m, inv
	}
	for i, t := range x {
		y[i] = FMA(float32(t-m)*inv, scale[i], bias[i])
	}
	return m, inv
}

// RMSNorm divides every row by the root of its mean square plus eps and multiplies by scale
// [cols] (Zhang and Sennrich, arXiv 1910.07467). inv [rows] is kept for the gradient; it may be nil.
func RMSNorm(y, inv, x, scale []float32, rows, cols int, eps float32) {
	if fast() && rows > 0 && cols > 0 && cols <= 1<<18 {
		d, v, s := y[:rows*cols], x[:rows*cols], &scale[:cols][0]
		batches(rows, cols, func(r, n int) { rrms(n, cols, &d[r*cols], &v[r*cols], s, at(inv, r, n), float32(cols), eps) })
		return
	}
	for r := 0; r < rows; r++ {
		v, d := x[r*cols:(r+1)*cols], y[r*cols:(r+1)*cols]
		s := 1 / float32(math.Sqrt(float64(float32(Dot(v, v)/float32(cols))+eps)))
		if inv != nil {
			inv[r] = s
		}
		if fast() && cols > 0 {
			vrms(cols, &d[0], &v[0], &scale[:cols][0], s)
			continue
		}
		for i, t := range v {
			d[i] = float32(t*s) * scale[i]
		}
	}
}

// LayerNormGrad is the gradient of LayerNorm by its input: with g = dy*scale and the
// normalised x^, dx = invstd*(g - mean(g) - x^*mean(g*x^)) (Ba et al., arXiv 1607.06450).
func LayerNormGrad(dx, dy, x, scale, mean, invstd []float32, rows, cols int) {
	asm := fast() && cols > 0
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
	asm := fast() && cols > 0
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
