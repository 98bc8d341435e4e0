package kernel

import "math"

// Comparison is a test of two numbers. NaN fails all but NotEqual.
type Comparison uint8

// The comparisons of Compare and CompareScalar.
const (
	Equal Comparison = iota
	Less
	LessEqual
	Greater
	GreaterEqual
	NotEqual
)

// ordered are the types that compareRef tests.
type ordered interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

// compareRef is q = a op b; the step of b is 0 for a scalar.
func compareRef[T ordered](op Comparison, q []bool, a, b []T, step int) {
	j := 0
	switch op {
	case Equal:
		for i, v := range a {
			q[i] = v == b[j]
			j += step
		}
	case Less:
		for i, v := range a {
			q[i] = v < b[j]
			j += step
		}
	case LessEqual:
		for i, v := range a {
			q[i] = v <= b[j]
			j += step
		}
	case Greater:
		for i, v := range a {
			q[i] = v > b[j]
			j += step
		}
	case GreaterEqual:
		for i, v := range a {
			q[i] = v >= b[j]
			j += step
		}
	case NotEqual:
		for i, v := range a {
			q[i] = v != b[j]
			j += step
		}
	}
}

// CompareOf is q = a op b for any type, element by element; the step of b is 0 for a scalar.
func CompareOf[T ordered](op Comparison, q []bool, a, b []T, step int) { compareRef(op, q, a, b, step) }

// Compare is q = a op b.
func Compare(op Comparison, q []bool, a, b []float32) {
	n := len(a) &^ 15
	if !fast() {
		n = 0
	}
	if n > 0 {
		d, x, y := truth(q), &a[0], &b[:len(a)][0]
		switch op {
		case Equal:
			veq(n, d, x, y)
		case Less:
			vlt(n, d, x, y)
		case LessEqual:
			vle(n, d, x, y)
		case Greater:
			vgt(n, d, x, y)
		case GreaterEqual:
			vge(n, d, x, y)
		case NotEqual:
			vne(n, d, x, y)
		}
	}
	if n < len(a) {
		compareRef(op, q[n:], a[n:], b[n:], 1)
	}
}

// CompareScalar is q = a op s.
func CompareScalar(op Comparison, q []bool, a []float32, s float32) {
	n := len(a) &^ 15
	if !fast() {
		n = 0
	}
	if n > 0 {
		d, x := truth(q), &a[0]
		switch op {
		case Equal:
			veqs(n, d, x, s)
		case Less:
			vlts(n, d, x, s)
		case LessEqual:
			vles(n, d, x, s)
		case Greater:
			vgts(n, d, x, s)
		case GreaterEqual:
			vges(n, d, x, s)
		case NotEqual:
			vnes(n, d, x, s)
		}
	}
	if n < len(a) {
		compareRef(op, q[n:], a[n:], []float32{s}, 0)
	}
}

// Select is dst = q ? a : b, for words of any meaning; q holds 0 or 1.
func Select(dst []float32, q []uint8, a, b []float32) {
	n := 0
	if fast() {
		if n = len(dst) &^ 15; n > 0 {
			vselect(n, &dst[0], &q[:len(dst)][0], &a[:len(dst)][0], &b[:len(dst)][0])
		}
	}
	for i := n; i < len(dst); i++ {
		dst[i] = b[i]
		if q[i] != 0 {
			dst[i] = a[i]
		}
	}
}

// Widen converts IEEE 754 halves to single precision.
func Widen(dst []float32, half []uint16) {
	n := 0
	if fast() {
		if n = len(half) &^ 15; n > 0 {
			vwiden(n, &dst[:len(half)][0], &half[0])
		}
	}
	for i := n; i < len(half); i++ {
		dst[i] = widenRef(half[i])
	}
}

// Narrow converts single precision to IEEE 754 halves, to nearest even.
func Narrow(half []uint16, x []float32) {
	n := 0
	if fast() {
		if n = len(x) &^ 15; n > 0 {
			vnarrow(n, &half[:len(x)][0], &x[0])
		}
	}
	for i := n; i < len(x); i++ {
		half[i] = narrowRef(x[i])
	}
}

// FromBytes is dst = (q - zero) scale; q is taken as signed if signed is set.
func FromBytes(dst []float32, q []uint8, signed bool, zero, scale float32) {
	n := 0
	if fast() {
		if n = len(q) &^ 15; n > 0 && signed {
			vsignedbytes(n, &dst[:len(q)][0], &q[0], zero, scale)
		} else if n > 0 {
			vbytes(n, &dst[:len(q)][0], &q[0], zero, scale)
		}
	}
	for i := n; i < len(q); i++ {
		v := float32(q[i])
		if signed {
			v = float32(int8(q[i]))
		}
		dst[i] = float32(v-zero) * scale
	}
}

// FromBFloat16 converts bfloat16 to single precision.
func FromBFloat16(dst []float32, half []uint16) {
	n := 0
	if fast() {
		if n = len(half) &^ 15; n > 0 {
			vfrombf16(n, &dst[:len(half)][0], &half[0])
		}
	}
	for i := n; i < len(half); i++ {
		dst[i] = math.Float32frombits(uint32(half[i]) << 16)
	}
}

// ToBFloat16 converts single precision to bfloat16, to nearest even.
func ToBFloat16(half []uint16, x []float32) {
	n := 0
	if fast() {
		if n = len(x) &^ 15; n > 0 {
			vtobf16(n, &half[:len(x)][0], &x[0])
		}
	}
	for i := n; i < len(x); i++ {
		b := math.Float32bits(x[i])
		if x[i] != x[i] {
			half[i] = uint16(b>>16) | 0x40
		} else {
			half[i] = uint16((b + 0x7fff + b>>16&1) >> 16)
		}
	}
}

// widenRef makes a NaN quiet, as the instruction does.
func widenRef(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch {
	case exp == 31 && frac != 0:
		return math.Float32frombits(sign | 0xff<<23 | frac<<13 | 1<<22)
	case exp == 31:
		return math.Float32frombits(sign | 0xff<<23)
	case exp == 0:
		return math.Float32frombits(sign | math.Float32bits(float32(frac)/(1<<24)))
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

func narrowRef(x float32) uint16 {
	b := math.Float32bits(x)
	sign, a := uint16(b>>16)&0x8000, b&0x7fffffff
	switch {
	case a > 0x7f800000: // NaN, made quiet
		return sign | 0x7e00 | uint16(a>>13)&0x1ff
	case a >= 0x477ff000: // 65520 and up round to infinity
		return sign | 0x7c00
	case a < 0x38800000: // subnormal halves: whole multiples of 2^-24
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(a))*(1<<24)))
	}
	return sign | uint16((a+0xfff+(a>>13)&1)>>13-(112<<10))
}
