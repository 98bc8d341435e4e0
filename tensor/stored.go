package tensor

import "math"

// Stored reports whether values of d are only kept and converted: integers of 2 and 4 bits, floats of 4 and 8 bits.
func (d DType) Stored() bool { return d >= Float8E4M3FN && d <= Int2 }

// Code returns the bits of element i of a stored type.
func (t *Tensor) Code(i int) byte {
	switch t.DType.Bits() {
	case 2:
		return t.Data[i/4] >> (i % 4 * 2) & 3
	case 4:
		return t.Data[i/2] >> (i % 2 * 4) & 15
	}
	return t.Data[i]
}

// SetCode sets the bits of element i of a stored type.
func (t *Tensor) SetCode(i int, code byte) {
	bits := t.DType.Bits()
	per := 8 / bits
	shift := i % per * bits
	mask := byte(1<<bits-1) << shift
	t.Data[i/per] = t.Data[i/per]&^mask | code<<shift&mask
}

// Decode returns the number that the bits of an element of stored type d mean
// (OCP 8-bit floating point and microscaling formats; FNUZ: arXiv 2206.02915).
func (d DType) Decode(code byte) float64 {
	switch d {
	case Uint2, Uint4:
		return float64(code)
	case Int2:
		return float64(int8(code<<6) >> 6)
	case Int4:
		return float64(int8(code<<4) >> 4)
	case Float4E2M1:
		return decodeFloat(code, 2, 1, 1)
	case Float8E8M0:
		if code == 0xff {
			return math.NaN()
		}
		return math.Ldexp(1, int(code)-127)
	case Float8E4M3FN:
		if code&0x7f == 0x7f {
			return math.NaN()
		}
		return decodeFloat(code, 4, 3, 7)
	case Float8E5M2:
		if code&0x7c == 0x7c {
			if code&3 != 0 {
				return math.NaN()
			}
			return math.Inf(1 - 2*int(code>>7))
		}
		return decodeFloat(code, 5, 2, 15)
	}
	if code == 0x80 { // the FNUZ types
		return math.NaN()
	}
	if d == Float8E4M3FNUZ {
		return decodeFloat(code, 4, 3, 8)
	}
	return decodeFloat(code, 5, 2, 16)
}

// decodeFloat reads a sign, exp bits of exponent with the given bias, and mant bits of fraction.
func decodeFloat(code byte, exp, mant, bias int) float64 {
	m := int(code) & (1<<mant - 1)
	e := int(code) >> mant & (1<<exp - 1)
	v := math.Ldexp(float64(m), 1-bias-mant) // subnormal
	if e > 0 {
		v = math.Ldexp(float64(m+1<<mant), e-bias-mant)
	}
	if code>>(exp+mant)&1 != 0 {
		return -v
	}
	return v
}
