package kernel

// Functions of one number. Each is dst = f(x); dst may be x. Errors are the largest seen in the sweeps of func_test.go.

// Exp is dst = e^x, error at most 2 ulp. NaN stays NaN.
func Exp(dst, x []float32) {
	if fast() && len(x) > 0 {
		vexp(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = expRef(v)
	}
}

// Log is dst = log x: -Inf at 0, NaN below.
func Log(dst, x []float32) {
	if fast() && len(x) > 0 {
		vlog(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = logRef(v)
	}
}

// Erf is dst = erf x; relative error below 4e-7.
func Erf(dst, x []float32) {
	if fast() && len(x) > 0 {
		verf(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = erfRef(v)
	}
}

// GeluTanh is the Gaussian error linear unit in its tanh form, x/(1+e^-2u) with
// u = sqrt(2/pi) (x + 0.044715 x^3) (Hendrycks and Gimpel, arXiv 1606.08415).
func GeluTanh(dst, x []float32) {
	if fast() && len(x) > 0 {
		vgelu(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = geluRef(v)
	}
}

// Gelu is the Gaussian error linear unit, x (1 + erf(x/sqrt 2))/2; error below 4e-7 |x|.
func Gelu(dst, x []float32) {
	if fast() && len(x) > 0 {
		vgeluerf(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = geluErfRef(v)
	}
}

// Tanh is dst = tanh x.
func Tanh(dst, x []float32) {
	if fast() && len(x) > 0 {
		vtanh(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = tanhRef(v)
	}
}

// Sigmoid is dst = 1/(1+e^-x).
func Sigmoid(dst, x []float32) {
	if fast() && len(x) > 0 {
		vsigmoid(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = sigmoidRef(v)
	}
}

// Silu is dst = x/(1+e^-x).
func Silu(dst, x []float32) {
	if fast() && len(x) > 0 {
		vsilu(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = siluRef(v)
	}
}

// Softplus is dst = log(1+e^x).
func Softplus(dst, x []float32) {
	if fast() && len(x) > 0 {
		vsoftplus(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = softplusRef(v)
	}
}

// Mish is dst = x tanh(log(1+e^x)) (Misra, arXiv 1908.08681).
func Mish(dst, x []float32) {
	if fast() && len(x) > 0 {
		vmish(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = mishRef(v)
	}
}

// Sqrt is dst = sqrt x.
func Sqrt(dst, x []float32) {
	if fast() && len(x) > 0 {
		vsqrt(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = sqrtRef(v)
	}
}

// Abs is dst = |x|.
func Abs(dst, x []float32) {
	if fast() && len(x) > 0 {
		vabs(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = abs32(v)
	}
}

// Neg is dst = -x.
func Neg(dst, x []float32) {
	if fast() && len(x) > 0 {
		vneg(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = negRef(v)
	}
}

// Floor rounds down.
func Floor(dst, x []float32) {
	if fast() && len(x) > 0 {
		vfloor(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = floorRef(v)
	}
}

// Ceil rounds up.
func Ceil(dst, x []float32) {
	if fast() && len(x) > 0 {
		vceil(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = ceilRef(v)
	}
}

// Round rounds to the nearest whole number, ties to even.
func Round(dst, x []float32) {
	if fast() && len(x) > 0 {
		vround(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = nearest(v)
	}
}

// Relu is dst = max(x, 0); NaN stays.
func Relu(dst, x []float32) {
	if fast() && len(x) > 0 {
		vrelu(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = reluRef(v)
	}
}

// HardSwish is dst = x max(0, min(1, x/6 + 1/2)).
func HardSwish(dst, x []float32) {
	if fast() && len(x) > 0 {
		vhardswish(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = hardSwishRef(v)
	}
}

// Softsign is dst = x/(1+|x|).
func Softsign(dst, x []float32) {
	if fast() && len(x) > 0 {
		vsoftsign(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = softsignRef(v)
	}
}

// Sign is -1, 0 or 1; NaN stays.
func Sign(dst, x []float32) {
	if fast() && len(x) > 0 {
		vsign(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = signRef(v)
	}
}

// Threshold is dst = x where it is above a, 0 elsewhere.
func Threshold(dst, x []float32, a float32) {
	if fast() && len(x) > 0 {
		vthreshold(len(x), &dst[:len(x)][0], &x[0], a)
		return
	}
	for i, v := range x {
		dst[i] = thresholdRef(v, a)
	}
}

// HardSigmoid is dst = max(0, min(1, a x + b)).
func HardSigmoid(dst, x []float32, a, b float32) {
	if fast() && len(x) > 0 {
		vhardsigmoid(len(x), &dst[:len(x)][0], &x[0], a, b)
		return
	}
	for i, v := range x {
		dst[i] = hardSigmoidRef(v, a, b)
	}
}

// LeakyRelu is dst = x, or a x below 0.
func LeakyRelu(dst, x []float32, a float32) {
	if fast() && len(x) > 0 {
		vleaky(len(x), &dst[:len(x)][0], &x[0], a)
		return
	}
	for i, v := range x {
		dst[i] = leakyRef(v, a)
	}
}

// Elu is dst = b x, or a (e^x - 1) below 0.
func Elu(dst, x []float32, a, b float32) {
	if fast() && len(x) > 0 {
		velu(len(x), &dst[:len(x)][0], &x[0], a, b)
		return
	}
	for i, v := range x {
		dst[i] = eluRef(v, a, b)
	}
}

// Clip is dst = min(max(x, lo), hi); NaN stays.
func Clip(dst, x []float32, lo, hi float32) {
	if fast() && len(x) > 0 {
		vclip(len(x), &dst[:len(x)][0], &x[0], lo, hi)
		return
	}
	for i, v := range x {
		dst[i] = clipRef(v, lo, hi)
	}
}

// GeluTanhGrad is dx = dy times the derivative of GeluTanh at x.
func GeluTanhGrad(dx, dy, x []float32) {
	if fast() && len(x) > 0 {
		vgelugrad(len(x), &dx[:len(x)][0], &dy[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dx[i] = geluGradRef(dy[i], v)
	}
}

// GeluGrad is dx = dy times the derivative of Gelu at x.
func GeluGrad(dx, dy, x []float32) {
	if fast() && len(x) > 0 {
		vgeluerfgrad(len(x), &dx[:len(x)][0], &dy[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dx[i] = geluErfGradRef(dy[i], v)
	}
}

// TanhGrad is dx = dy (1 - y^2), y = tanh x.
func TanhGrad(dx, dy, y []float32) {
	if fast() && len(y) > 0 {
		vtanhgrad(len(y), &dx[:len(y)][0], &dy[:len(y)][0], &y[0])
		return
	}
	for i, v := range y {
		dx[i] = tanhGradRef(dy[i], v)
	}
}

// SigmoidGrad is dx = dy y (1-y), y = sigmoid x.
func SigmoidGrad(dx, dy, y []float32) {
	if fast() && len(y) > 0 {
		vsigmoidgrad(len(y), &dx[:len(y)][0], &dy[:len(y)][0], &y[0])
		return
	}
	for i, v := range y {
		dx[i] = sigmoidGradRef(dy[i], v)
	}
}

// ReluGrad is dx = dy where x is above 0, 0 elsewhere.
func ReluGrad(dx, dy, x []float32) {
	if fast() && len(x) > 0 {
		vrelugrad(len(x), &dx[:len(x)][0], &dy[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dx[i] = reluGradRef(dy[i], v)
	}
}

// Sin is dst = sin x.
func Sin(dst, x []float32) {
	if fast() && len(x) > 0 && !far(x) {
		vsin(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = sinRef(v)
	}
}

// Cos is dst = cos x.
func Cos(dst, x []float32) {
	if fast() && len(x) > 0 && !far(x) {
		vcos(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = cosRef(v)
	}
}

// Tan is dst = tan x.
func Tan(dst, x []float32) {
	if fast() && len(x) > 0 && !far(x) {
		vtan(len(x), &dst[:len(x)][0], &x[0])
		return
	}
	for i, v := range x {
		dst[i] = tanRef(v)
	}
}

// far reports whether an argument is outside what the vector functions reduce.
func far(x []float32) bool { return vmaxabs(len(x), &x[0]) > sinEnd }
