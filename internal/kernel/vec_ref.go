package kernel

import "math"

// The plain Go twins. Every float32 conversion is a rounding that assembly makes too;
// it also keeps the compiler from fusing a product with a sum.

func map2Ref(op Binary, dst, a, b []float32) {
	switch op {
	case Add:
		for i, v := range a {
			dst[i] = v + b[i]
		}
	case Sub:
		for i, v := range a {
			dst[i] = v - b[i]
		}
	case Mul:
		for i, v := range a {
			dst[i] = v * b[i]
		}
	case Div:
		for i, v := range a {
			dst[i] = v / b[i]
		}
	case Max:
		for i, v := range a {
			dst[i] = greatest(v, b[i])
		}
	case Min:
		for i, v := range a {
			dst[i] = least(v, b[i])
		}
	case Leak:
		for i, v := range a {
			dst[i] = leakyRef(v, b[i])
		}
	}
}

// greatest is the larger of a and b, NaN if one of them is.
func greatest(a, b float32) float32 {
	if a != a {
		return a
	}
	return larger(a, b)
}

// least is the smaller of a and b, NaN if one of them is.
func least(a, b float32) float32 {
	if a != a {
		return a
	}
	return smaller(a, b)
}

func mapScalarRef(op Binary, dst, a []float32, s float32) {
	switch op {
	case Add:
		for i, v := range a {
			dst[i] = v + s
		}
	case Sub:
		for i, v := range a {
			dst[i] = v - s
		}
	case Mul:
		for i, v := range a {
			dst[i] = v * s
		}
	case Div:
		for i, v := range a {
			dst[i] = v / s
		}
	case Max:
		for i, v := range a {
			dst[i] = greatest(v, s)
		}
	case Min:
		for i, v := range a {
			dst[i] = least(v, s)
		}
	case Leak:
		for i, v := range a {
			dst[i] = leakyRef(v, s)
		}
	case SubFrom:
		for i, v := range a {
			dst[i] = s - v
		}
	case DivBy:
		for i, v := range a {
			dst[i] = s / v
		}
	}
}

// tree adds the lanes: l with l+8, l+4, l+2, l+1.
func (v *lanes) tree() float32 {
	for h := 8; h > 0; h /= 2 {
		for l := 0; l < h; l++ {
			v[l] = v[l] + v[l+h]
		}
	}
	return v[0]
}

func sumRef(x []float32) float32 {
	var v lanes
	for i, t := range x {
		v[i&15] = v[i&15] + t
	}
	return v.tree()
}

func absSumRef(x []float32) float32 {
	var v lanes
	for i, t := range x {
		v[i&15] = v[i&15] + abs32(t)
	}
	return v.tree()
}

func dotRef(a, b []float32) float32 {
	var v lanes
	for i, t := range a {
		v[i&15] = FMA(t, b[i], v[i&15])
	}
	return v.tree()
}

func squaresRef(x []float32, m float32) float32 {
	var v lanes
	for i, t := range x {
		d := float32(t - m)
		v[i&15] = FMA(d, d, v[i&15])
	}
	return v.tree()
}

// maxRef keeps the running maximum unless the next element is larger or either is NaN.
func maxRef(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, t := range x {
		if !(m > t) {
			m = t
		}
	}
	return m
}

func expRowRef(d, x []float32, m float32) float32 {
	var v lanes
	for i, t := range x {
		e := expRef(float32(t - m))
		d[i] = e
		v[i&15] = v[i&15] + e
	}
	return v.tree()
}

// expSumRef is expRowRef without its row.
func expSumRef(x []float32, m float32) float32 {
	var v lanes
	for i, t := range x {
		v[i&15] = v[i&15] + expRef(float32(t-m))
	}
	return v.tree()
}

// addSumRef is d = a + b and returns the sum.
func addSumRef(d, a, b []float32) float32 {
	var v lanes
	for i, t := range a {
		s := t + b[i]
		d[i] = s
		v[i&15] = v[i&15] + s
	}
	return v.tree()
}

func normSumsRef(dy, x, scale []float32, m, inv float32) (g, gx float32) {
	var a, b lanes
	for i, t := range dy {
		h := float32(t * scale[i])
		a[i&15] = a[i&15] + h
		b[i&15] = FMA(h, float32(float32(x[i]-m)*inv), b[i&15])
	}
	return a.tree(), b.tree()
}

func normGradRef(dx, dy, x, scale []float32, m, inv, g, gx float32) {
	for i, t := range dy {
		h := float32(float32(t*scale[i]) - g)
		dx[i] = FMA(-float32(float32(x[i]-m)*inv), gx, h) * inv
	}
}

func quantRef(x, scale float32, zero uint8) uint8 {
	v := x / scale
	if !(v < 1e6) {
		v = 1e6
	}
	if !(v > -1e6) {
		v = -1e6
	}
	return uint8(min(max(int32(math.RoundToEven(float64(v)))+int32(zero), 0), 255))
}
