package op

import (
	"math"

	"muster/tensor"
)

// numeric reports whether operators compute on d. Strings and types of few bits are only stored.
func numeric(d tensor.DType) bool { return d.Bits() >= 8 && !d.Stored() }

func widen[T float32 | int8 | int16 | int32 | uint8 | uint16 | uint32](v []T) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// floats returns the elements of t as float64.
func floats(t *tensor.Tensor) []float64 {
	switch t.DType {
	case tensor.Float32:
		return widen(t.Float32s())
	case tensor.Float64:
		return append([]float64(nil), t.Float64s()...)
	}
	out := make([]float64, t.Elems())
	for i := range out {
		out[i] = t.Float(i)
	}
	return out
}

// setFloats rounds v to the floating-point type of t, to nearest, ties to even.
func setFloats(t *tensor.Tensor, v []float64) {
	switch t.DType {
	case tensor.Float32:
		for i, d := 0, t.Float32s(); i < len(d); i++ {
			d[i] = float32(v[i])
		}
	case tensor.Float64:
		copy(t.Float64s(), v)
	case tensor.Float16:
		for i, d := 0, t.Uint16s(); i < len(d); i++ {
			d[i] = toFloat16(v[i])
		}
	case tensor.BFloat16:
		for i, d := 0, t.Uint16s(); i < len(d); i++ {
			d[i] = toBFloat16(v[i])
		}
	default:
		panic("op: setFloats of " + t.DType.String())
	}
}

// setNumbers stores v as floating-point numbers, or truncated towards zero as integers.
func setNumbers(t *tensor.Tensor, v []float64) {
	if t.DType.IsFloat() {
		setFloats(t, v)
		return
	}
	setInts(t, truncate(v))
}

// ints returns the elements of an integer or bool tensor; uint64 keeps its bits.
func ints(t *tensor.Tensor) []int64 {
	switch t.DType {
	case tensor.Int64:
		return append([]int64(nil), t.Int64s()...)
	case tensor.Uint64:
		out := make([]int64, t.Elems())
		for i, x := range t.Uint64s() {
			out[i] = int64(x)
		}
		return out
	}
	out := make([]int64, t.Elems())
	for i := range out {
		out[i] = int64(t.Float(i))
	}
	return out
}

// setInts stores v with the wrap-around of t's integer type; a bool is v != 0.
func setInts(t *tensor.Tensor, v []int64) {
	for i, x := range v {
		switch t.DType {
		case tensor.Int64:
			t.Int64s()[i] = x
		case tensor.Uint64:
			t.Uint64s()[i] = uint64(x)
		case tensor.Int32:
			t.Int32s()[i] = int32(x)
		case tensor.Uint32:
			t.Uint32s()[i] = uint32(x)
		case tensor.Int16:
			t.Int16s()[i] = int16(x)
		case tensor.Uint16:
			t.Uint16s()[i] = uint16(x)
		case tensor.Int8:
			t.Int8s()[i] = int8(x)
		case tensor.Uint8:
			t.Uint8s()[i] = uint8(x)
		case tensor.Bool:
			t.Data[i] = 0
			if x != 0 {
				t.Data[i] = 1
			}
		default:
			panic("op: setInts of " + t.DType.String())
		}
	}
}

// toBFloat16 rounds x to bfloat16. It rounds to odd on the way through float32,
// so that the result is rounded once.
func toBFloat16(x float64) uint16 {
	f := float32(x)
	b := math.Float32bits(f)
	switch {
	case x != x:
		return uint16(b>>16) | 0x40
	case math.IsInf(float64(f), 0):
		return uint16(b >> 16)
	case float64(f) != x:
		if math.Abs(float64(f)) > math.Abs(x) {
			b--
		}
		b |= 1 // inexact: odd, so that it is not taken for a tie
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// toFloat16 rounds x to an IEEE 754 half.
func toFloat16(x float64) uint16 {
	sign := uint16(math.Float64bits(x)>>48) & 0x8000
	a := math.Abs(x)
	switch {
	case x != x:
		return sign | 0x7e00
	case a >= 65520: // half way from the largest half to the next power
		return sign | 0x7c00
	case a < 1.0/(1<<14): // subnormal: a multiple of 2^-24
		return sign | uint16(math.RoundToEven(a*(1<<24)))
	}
	m, e := math.Frexp(a) // a = m * 2^e, m in [1/2, 1)
	f := uint16(math.RoundToEven(m * (1 << 11)))
	return sign | (uint16(e+13)<<10 + f) // f carries into the exponent
}

// Scalar returns x as a scalar of dtype d, false if d is not numeric.
func Scalar(d tensor.DType, x float64) (*tensor.Tensor, bool) {
	if !numeric(d) {
		return nil, false
	}
	t := tensor.New(d)
	if d.IsFloat() {
		setFloats(t, []float64{x})
	} else {
		setInts(t, []int64{int64(x)})
	}
	return t, true
}
