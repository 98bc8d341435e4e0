package kernel

import "math"

// The plain Go twins. Every float32 conversion is a rounding that assembly makes too;
// it also keeps the compiler from fusing a product with a sum.

// expRef is e^x: x = n ln 2 + r, a Taylor polynomial of degree 7 in r, two steps of scaling.
func expRef(x float32) float32 {
	if !(-104 > x) { // NaN and everything from -104 up
	} else {
		x = -104
	}
	if 89 < x {
		x = 89
	}
	n := float32(math.RoundToEven(float64(x * 1.44269504)))
	x = FMA(-n, 0.693359375, x)
	x = FMA(-n, -2.12194440e-4, x)
	p := float32(1.0 / 5040)
	for _, c := range [...]float32{1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1, 1} {
		p = FMA(p, x, c)
	}
	if n != n {
		return n
	}
	i := int32(n)
	h := i >> 1
	return float32(p*math.Float32frombits(uint32(h+127)<<23)) * math.Float32frombits(uint32(i-h+127)<<23)
}

const (
	geluA = float32(1.5957691216057308)
	geluB = float32(0.07135481282850852)
)

// gateRef is 1 + e^(-2u).
func gateRef(x float32) float32 {
	return expRef(float32(FMA(float32(x*x), -geluB, -geluA)*x)) + 1
}

func geluGradRef(dy, x float32) float32 {
	s := 1 / gateRef(x)
	q := float32(float32(float32(1-s)*s) * x)
	u := FMA(float32(x*x), 3*0.07135481282850852, geluA)
	return FMA(q, u, s) * dy
}

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
	}
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
