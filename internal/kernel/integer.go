package kernel

import (
	"math"
	"unsafe"
)

// Integer is an operation of two 32-bit integers.
type Integer uint8

// The operations of Map2Int.
const (
	AddInt Integer = iota
	SubInt
	MulInt
)

// Map2Int is dst = a op b, with wrap-around.
func Map2Int(op Integer, dst, a, b []int32) {
	if n := len(a); fast() && n > 0 {
		d, x, y := bitsOf(dst[:n]), bitsOf(a), bitsOf(b[:n])
		switch op {
		case AddInt:
			vaddi(n, d, x, y)
		case SubInt:
			vsubi(n, d, x, y)
		case MulInt:
			vmuli(n, d, x, y)
		}
		return
	}
	for i, v := range a {
		switch op {
		case AddInt:
			dst[i] = v + b[i]
		case SubInt:
			dst[i] = v - b[i]
		case MulInt:
			dst[i] = v * b[i]
		}
	}
}

// bitsOf views integers as what vector registers of float32 hold.
func bitsOf(v []int32) *float32 { return (*float32)(unsafe.Pointer(&v[0])) }

// Mod is dst = a modulo b, with the sign of b, or that of a if toZero is set; modulo 0 is 0. dst is another slice than a and b.
func Mod(dst, a, b []int64, toZero bool) {
	const block = 256
	for len(a) > 0 {
		n := min(len(a), block)
		d, x, y := dst[:n], a[:n], b[:n]
		dst, a, b = dst[n:], a[n:], b[n:]
		whole := 0
		if fast() && n >= 16 {
			whole = n &^ 15
			wrong := float32(0)
			if toZero {
				wrong = vmodzero(whole, &d[0], &x[0], &y[0])
			} else {
				wrong = vmodfloor(whole, &d[0], &x[0], &y[0])
			}
			if math.Float32bits(wrong) != 0 {
				whole = 0
			}
		}
		for i := whole; i < n; i++ {
			d[i] = modRef(x[i], y[i], toZero)
		}
	}
}

func modRef(x, y int64, toZero bool) int64 {
	if y == 0 || y == -1 {
		return 0
	}
	m := x % y
	if !toZero && m != 0 && (m < 0) != (y < 0) {
		m += y
	}
	return m
}

// small reports whether all of x lies inside the 32-bit integers.
func small(x []float32) bool {
	return fast() && len(x) > 0 && vnans(len(x), &x[0]) == 0 && vmaxabs(len(x), &x[0]) < 1<<31
}

// truncBlock is how many numbers are looked at before they are rounded together.
const truncBlock = 512

// Truncate rounds towards zero. What int64 cannot hold is clamped to it, and wraps around in a smaller type; NaN is 0.
func Truncate[T int8 | uint8 | int32 | int64](dst []T, x []float32) {
	for len(x) > 0 {
		n := min(len(x), truncBlock)
		d, v := dst[:n], x[:n]
		dst, x = dst[n:], x[n:]
		whole := 0
		if small(v) {
			if whole = n &^ 15; whole > 0 {
				truncAsm(unsafe.Pointer(&d[0]), int(unsafe.Sizeof(d[0])), v[:whole])
			}
		}
		truncRef(d[whole:], v[whole:])
	}
}

// truncAsm writes integers of size bytes; the length of x is a multiple of 16.
func truncAsm(d unsafe.Pointer, size int, x []float32) {
	switch size {
	case 1:
		vtruncb(len(x), (*uint8)(d), &x[0])
	case 4:
		vtruncs(len(x), (*int32)(d), &x[0])
	default:
		vtruncl(len(x), (*int64)(d), &x[0])
	}
}

func truncRef[T int8 | uint8 | int32 | int64](dst []T, x []float32) {
	for i, v := range x {
		switch {
		case v > -0x1p63 && v < 0x1p63:
			dst[i] = T(int64(v))
		case v != v:
			dst[i] = 0
		case v > 0:
			top := int64(1<<63 - 1)
			dst[i] = T(top)
		default:
			low := int64(-1 << 63)
			dst[i] = T(low)
		}
	}
}

// Twice writes every word of x twice.
func Twice(dst, x []float32) {
	n := 0
	if fast() {
		if n = len(x) &^ 15; n > 0 {
			vtwice(n, &dst[:2*len(x)][0], &x[0])
		}
	}
	for i := n; i < len(x); i++ {
		dst[2*i], dst[2*i+1] = x[i], x[i]
	}
}

// SelectLong is dst = q ? a : b, for words of 64 bits; q holds 0 or 1.
func SelectLong(dst []int64, q []uint8, a, b []int64) {
	n := 0
	if fast() {
		if n = len(dst) &^ 15; n > 0 {
			vselectl(n, &dst[0], &q[:len(dst)][0], &a[:len(dst)][0], &b[:len(dst)][0])
		}
	}
	for i := n; i < len(dst); i++ {
		dst[i] = b[i]
		if q[i] != 0 {
			dst[i] = a[i]
		}
	}
}

// Weave writes the words of a and b in turn.
func Weave(dst, a, b []float32) {
	n := 0
	if fast() {
		if n = len(a) &^ 15; n > 0 {
			vweave(n, &dst[:2*len(a)][0], &a[0], &b[:len(a)][0])
		}
	}
	for i := n; i < len(a); i++ {
		dst[2*i], dst[2*i+1] = a[i], b[i]
	}
}
