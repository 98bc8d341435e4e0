// Package kernel has the numeric kernels: functions on slices that check nothing
// and allocate nothing. Every kernel exists as a plain Go loop (x_ref.go), which is
// its meaning, and as generated assembly that gives the same bits: the same
// operations in the same order, fused multiply-adds where the loop says FMA.
//
//	go generate ./internal/kernel
//
// writes the assembly again; the generator is in gen and has no dependencies.
package kernel

import "math"

//go:generate go run ./gen

// FMA returns a*b + c with one rounding, as the hardware instruction does.
//
// The product of two float32 is exact in float64. The sum may be rounded there, and
// rounding it again to float32 would be wrong only if the first rounding ended on a
// half-way case of the second one (or in float32's subnormal range); then the sum is
// rounded to odd first, which makes the second rounding right (Boldo and Melquiond,
// IEEE Trans. Computers 57, 2008).
func FMA(a, b, c float32) float32 {
	p := float64(a) * float64(b)
	s := p + float64(c)
	bits := math.Float64bits(s)
	if bits&(1<<29-1) != 1<<28 && (s > 0x1p-125 || s < -0x1p-125) || s == 0 || s != s {
		return float32(s)
	}
	// The error of the sum, exactly (Knuth's two-sum).
	d := float64(c)
	bb := s - p
	err := (p - (s - bb)) + (d - bb)
	if err != 0 && bits&1 == 0 { // inexact and even: the odd neighbour towards the error
		if (err > 0) == (s > 0) {
			bits++
		} else {
			bits--
		}
		s = math.Float64frombits(bits)
	}
	return float32(s)
}
