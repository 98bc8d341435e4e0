package kernel

import "math"

// Kernels of one row that fold it into running rows, column by column: what operators along an axis that is not
// the last are made of.

// RunningSum adds x to total, in double precision, and is dst = total.
func RunningSum(dst []float32, total []float64, x []float32) {
	n := 0
	if fast() {
		if n = len(x) &^ 15; n > 0 {
			vrunsum(n, &dst[:len(x)][0], &total[:len(x)][0], &x[0])
		}
	}
	for i := n; i < len(x); i++ {
		total[i] += float64(x[i])
		dst[i] = float32(total[i])
	}
}

// RunningProduct multiplies total by x, in double precision, and is dst = total.
func RunningProduct(dst []float32, total []float64, x []float32) {
	n := 0
	if fast() {
		if n = len(x) &^ 15; n > 0 {
			vrunprod(n, &dst[:len(x)][0], &total[:len(x)][0], &x[0])
		}
	}
	for i := n; i < len(x); i++ {
		total[i] *= float64(x[i])
		dst[i] = float32(total[i])
	}
}

// ColumnProduct multiplies total by x, in double precision.
func ColumnProduct(total []float64, x []float32) {
	n := 0
	if fast() {
		if n = len(x) &^ 15; n > 0 {
			vcolprod(n, &total[:len(x)][0], &x[0])
		}
	}
	for i := n; i < len(x); i++ {
		total[i] *= float64(x[i])
	}
}

// Product returns the product of x, in double precision in 16 lanes and then their tree, as sums have it.
func Product(x []float32) float32 {
	var v [16]float64
	for l := range v {
		v[l] = 1
	}
	n := 0
	if fast() {
		if n = len(x) &^ 15; n > 0 {
			vrowprod(n, &v[0], &x[0])
		}
	}
	for i := n; i < len(x); i++ {
		v[i&15] *= float64(x[i])
	}
	for h := 8; h > 0; h /= 2 {
		for l := range h {
			v[l] *= v[l+h]
		}
	}
	return float32(v[0])
}

// ExpColumns is dst = e^(x-m) for m that is not below x, and adds it to total.
func ExpColumns(dst, total, x, m []float32) {
	if n := len(x); fast() && n > 0 {
		vexpcols(n, &dst[:n][0], &total[:n][0], &x[0], &m[:n][0])
		return
	}
	for i, v := range x {
		e := expRef(float32(v - m[i]))
		dst[i] = e
		total[i] += e
	}
}

// ExpColumnSum adds e^(x-m), for m that is not below x by more than 80, to total.
func ExpColumnSum(total, x, m []float32) {
	if n := len(x); fast() && n > 0 {
		vexpcolsum(n, &total[:n][0], &x[0], &m[:n][0])
		return
	}
	for i, v := range x {
		total[i] += expRef(float32(v - m[i]))
	}
}

// TopColumns puts sign*x into best and row into at where that is larger than best, with last also where it is equal.
func TopColumns(best, at, x []float32, sign, row float32, last bool) {
	if n := len(x); fast() && n > 0 {
		b, a := &best[:n][0], &at[:n][0]
		if last {
			vtopcolslast(n, b, a, &x[0], sign, row)
		} else {
			vtopcols(n, b, a, &x[0], sign, row)
		}
		return
	}
	for i, v := range x {
		if v *= sign; v > best[i] || last && v == best[i] {
			best[i], at[i] = v, row
		}
	}
}

// powBlock is how many powers are looked at for arguments that the vector kernel does not have.
const powBlock = 256

// Pow is dst = x^y. Errors are below 2e-6 relative, far smaller where |y log x| is small.
func Pow(dst, x, y []float32) {
	var wide [powBlock]float32
	for len(x) > 0 {
		n := min(len(x), powBlock)
		d, a, b := dst[:n], x[:n], y[:n]
		dst, x, y = dst[n:], x[n:], y[n:]
		switch {
		case !fast():
			for i, v := range a {
				d[i] = powRef(v, b[i])
			}
		case positive(a) && finite(b):
			vpow(n, &d[0], &a[0], &b[0])
		default:
			vpow(n, &wide[0], &a[0], &b[0])
			for i, v := range a {
				if powable(v, b[i]) {
					d[i] = wide[i]
				} else {
					d[i] = powRef(v, b[i])
				}
			}
		}
	}
}

// PowScalar is dst = x^s.
func PowScalar(dst, x []float32, s float32) {
	var wide [powBlock]float32
	for len(x) > 0 {
		n := min(len(x), powBlock)
		d, a := dst[:n], x[:n]
		dst, x = dst[n:], x[n:]
		switch {
		case !fast():
			for i, v := range a {
				d[i] = powRef(v, s)
			}
		case positive(a) && finite([]float32{s}):
			vpows(n, &d[0], &a[0], s)
		default:
			vpows(n, &wide[0], &a[0], s)
			for i, v := range a {
				if powable(v, s) {
					d[i] = wide[i]
				} else {
					d[i] = powRef(v, s)
				}
			}
		}
	}
}

// positive reports whether all of x is normal, finite and above 0.
func positive(x []float32) bool {
	low, all := math.Float32frombits(0x00800000), math.Float32frombits(1<<32-1)
	return math.Float32bits(vbits(len(x), &x[0], low, all)) < 0x7f000000
}

func finite(x []float32) bool {
	return math.Float32bits(vbits(len(x), &x[0], 0, math.Float32frombits(1<<31-1))) < 0x7f800000
}

// RunningRows is RunningSum, or RunningProduct, for many rows x of 16 columns that follow each other.
func RunningRows(dst []float32, total *[16]float64, x []float32, product bool) {
	n := len(x) &^ 15
	switch {
	case n == 0:
	case fast() && product:
		vrowprods(n, &dst[:n][0], &total[0], &x[0])
	case fast():
		vrowsums(n, &dst[:n][0], &total[0], &x[0])
	default:
		for i := 0; i < n; i += 16 {
			if product {
				RunningProduct(dst[i:i+16], total[:], x[i:i+16])
			} else {
				RunningSum(dst[i:i+16], total[:], x[i:i+16])
			}
		}
	}
}

// Affine is dst = (x-m)*a + b.
func Affine(dst, x []float32, m, a, b float32) {
	if n := len(x); fast() && n > 0 {
		vaffine(n, &dst[:n][0], &x[0], m, a, b)
		return
	}
	for i, v := range x {
		dst[i] = FMA(float32(v-m), a, b)
	}
}

// Mix adds w[0]*a + w[1]*b + w[2]*c + w[3]*d to dst, in this order.
func Mix(dst, a, b, c, d []float32, w [4]float32) {
	if n := len(dst); fast() && n > 0 {
		vmix(n, &dst[0], &a[:n][0], &b[:n][0], &c[:n][0], &d[:n][0], w[0], w[1], w[2], w[3])
		return
	}
	for i := range dst {
		dst[i] = FMA(d[i], w[3], FMA(c[i], w[2], FMA(b[i], w[1], FMA(a[i], w[0], dst[i]))))
	}
}
