package op

import (
	"math"
	"sort"

	"muster/graph"
	"muster/tensor"
)

// Conversion to types that are stored only, by the tables of the Cast operator's text.

// roundMode checks the attribute that matters for float8e8m0 only.
func (c *InferCall) roundMode() error {
	switch m := c.Node.Str("round_mode", "up"); m {
	case "up", "down", "nearest":
		return nil
	default:
		return c.Errorf("round_mode %q", m)
	}
}

// encode stores the elements of src in the stored type of dst.
func encode(n *graph.Node, dst, src *tensor.Tensor) {
	switch d := dst.DType; d {
	case tensor.Int2, tensor.Uint2, tensor.Int4, tensor.Uint4:
		v := []int64(nil)
		if src.DType.IsFloat() || src.DType.Stored() {
			v = truncate(floats(src))
		} else {
			v = ints(src)
		}
		for i, x := range v {
			dst.SetCode(i, byte(x)) // higher bits are discarded
		}
	default:
		saturate, mode := n.Int("saturate", 1) != 0, n.Str("round_mode", "up")
		for i, x := range floats(src) {
			if d == tensor.Float8E8M0 {
				dst.SetCode(i, encodePower(x, saturate, mode))
			} else {
				dst.SetCode(i, encodeFloat(d, x, saturate))
			}
		}
	}
}

// smallFloat is what rounding needs to know of a type: codes 0 to top are finite numbers of ascending size.
type smallFloat struct {
	top, sign byte
	nan       byte // positive
	inf       byte // what an infinite number becomes without saturation: positive
	unsigned  bool // there is neither -0 nor -NaN
}

var smallFloats = map[tensor.DType]smallFloat{
	tensor.Float4E2M1:     {top: 0x7, sign: 0x8, nan: 0x8, inf: 0x7}, // always saturates; NaN becomes -0, as in the ONNX project's ml_dtypes
	tensor.Float8E4M3FN:   {top: 0x7e, sign: 0x80, nan: 0x7f, inf: 0x7f},
	tensor.Float8E4M3FNUZ: {top: 0x7f, sign: 0x80, nan: 0x80, inf: 0x80, unsigned: true},
	tensor.Float8E5M2:     {top: 0x7b, sign: 0x80, nan: 0x7f, inf: 0x7c},
	tensor.Float8E5M2FNUZ: {top: 0x7f, sign: 0x80, nan: 0x80, inf: 0x80, unsigned: true},
}

// encodeFloat rounds x to nearest, ties to even.
func encodeFloat(d tensor.DType, x float64, saturate bool) byte {
	f := smallFloats[d]
	sign := byte(0)
	if math.Signbit(x) {
		sign = f.sign
	}
	special := func(code byte) byte {
		if f.unsigned {
			return code
		}
		return code | sign
	}
	if x != x {
		return special(f.nan)
	}
	code, beyond := nearestCode(d, f.top, math.Abs(x))
	switch {
	case beyond && !saturate:
		return special(f.inf)
	case code == 0:
		return special(0)
	}
	return code | sign
}

// nearestCode is the code nearest to a >= 0, and whether a rounds to more than the greatest number.
func nearestCode(d tensor.DType, top byte, a float64) (code byte, beyond bool) {
	// The first code above a; the one before is at most a.
	k := sort.Search(int(top)+1, func(i int) bool { return d.Decode(byte(i)) > a })
	lo := d.Decode(byte(k - 1))
	if k > int(top) { // half a step above the greatest number, the tie to what would be even
		step := lo - d.Decode(top-1)
		return top, a > lo+step/2 || a == lo+step/2 && top%2 == 1
	}
	hi := d.Decode(byte(k))
	if m := lo + (hi-lo)/2; a > m || a == m && k%2 == 0 {
		return byte(k), false
	}
	return byte(k - 1), false
}

// encodePower rounds x to a power of two: away from zero, towards it, or to the nearest, ties up. A sign is not kept.
func encodePower(x float64, saturate bool, mode string) byte {
	const nan = 0xff
	a := math.Abs(x)
	switch {
	case x != x:
		return nan
	case math.IsInf(a, 0) || a == 0:
		if !saturate {
			return nan
		}
		if a == 0 {
			return 0
		}
		return 0xfe
	}
	m, e := math.Frexp(a) // m in [1/2, 1): x lies in [2^(e-1), 2^e)
	e--
	if m > 0.5 && mode == "up" || m >= 0.75 && mode == "nearest" {
		e++
	}
	switch {
	case e >= -127 && e <= 127:
		return byte(e + 127)
	case !saturate:
		return nan
	case e < 0:
		return 0
	}
	return 0xfe
}
