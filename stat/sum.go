package stat

import (
	"bytes"
	"math"
	"math/big"
	"math/bits"
	"strconv"

	"muster/fault"
)

// Sum adds float64 values exactly: any order and any split into partial sums
// that are merged later gives the same bits. It is a fixed-point number wide
// enough for every float64 (Kulisch's long accumulator), kept sparse. The zero
// Sum is 0. Its text form is "<hex integer>p<binary exponent>", for example
// "3p-1" for 1.5.
type Sum struct {
	low     int     // index of digit[0]; digit i counts units of 2^(32 i - 1074)
	digit   []int64 // not normalised: each may hold up to 2^62
	pending int     // additions since the last carry
}

const (
	sumBias    = 1074    // 2^-1074 is the smallest float64
	carryEvery = 1 << 29 // each addition puts less than 2^33 into a digit
)

// Add adds x. It reports false, and adds nothing, if x is NaN or infinite.
func (s *Sum) Add(x float64) bool {
	b := math.Float64bits(x)
	exp := int(b >> 52 & 0x7ff)
	mant := b & (1<<52 - 1)
	switch {
	case exp == 0x7ff:
		return false
	case exp == 0:
		exp = 1
	default:
		mant |= 1 << 52
	}
	if mant == 0 {
		return true
	}
	at, shift := (exp-1)>>5, uint(exp-1)&31
	hi, lo := bits.Mul64(mant, 1<<shift)
	s.reserve(at, 3)
	d := s.digit[at-s.low : at-s.low+3]
	if b>>63 == 0 {
		d[0] += int64(lo & 0xffffffff)
		d[1] += int64(lo >> 32)
		d[2] += int64(hi)
	} else {
		d[0] -= int64(lo & 0xffffffff)
		d[1] -= int64(lo >> 32)
		d[2] -= int64(hi)
	}
	if s.pending++; s.pending >= carryEvery {
		s.carry()
	}
	return true
}

// reserve makes room for n digits from index at.
func (s *Sum) reserve(at, n int) {
	if len(s.digit) == 0 {
		s.low = at
	}
	if at < s.low {
		s.digit = append(make([]int64, s.low-at), s.digit...)
		s.low = at
	}
	for len(s.digit) < at+n-s.low {
		s.digit = append(s.digit, 0)
	}
}

// carry brings every digit but the last into [0, 2^32).
func (s *Sum) carry() {
	s.pending = 0
	for i := 0; i < len(s.digit); i++ {
		c := s.digit[i] >> 32
		if c == 0 || i == len(s.digit)-1 && (c == -1 || s.digit[i] < 1<<33) {
			continue
		}
		if i == len(s.digit)-1 {
			s.digit = append(s.digit, 0)
		}
		s.digit[i] -= c << 32
		s.digit[i+1] += c
	}
}

// Merge adds the sum o.
func (s *Sum) Merge(o *Sum) {
	if len(o.digit) == 0 {
		return
	}
	t := Sum{low: o.low, digit: append([]int64(nil), o.digit...)}
	t.carry()
	s.carry()
	s.reserve(t.low, len(t.digit))
	for i, d := range t.digit {
		s.digit[t.low-s.low+i] += d
	}
	s.pending++
}

// exact returns the sum as an integer of units 2^-1074.
func (s *Sum) exact() *big.Int {
	v := new(big.Int)
	for i := len(s.digit) - 1; i >= 0; i-- {
		v.Lsh(v, 32).Add(v, big.NewInt(s.digit[i]))
	}
	return v.Lsh(v, uint(32*s.low))
}

// Value returns the float64 nearest to the exact sum (ties to even; infinite if beyond the range).
func (s *Sum) Value() float64 { return toFloat(s.exact(), -sumBias) }

// toFloat returns the float64 nearest to v * 2^exp.
func toFloat(v *big.Int, exp int) float64 {
	if v.Sign() == 0 {
		return 0
	}
	f := new(big.Float).SetPrec(uint(v.BitLen())).SetInt(v)
	f.SetMantExp(f, exp)
	x, _ := f.Float64()
	return x
}

// MarshalText writes the canonical text: equal sums have equal texts.
func (s Sum) MarshalText() ([]byte, error) {
	v := s.exact()
	if v.Sign() == 0 {
		return []byte("0"), nil
	}
	zeros := v.TrailingZeroBits()
	v.Rsh(v, zeros) // arithmetic, exact: the low bits are zero
	return strconv.AppendInt(append(v.Append(nil, 16), 'p'), int64(zeros)-sumBias, 10), nil
}

// maxSumText bounds the text of a sum: 2200 bits are 550 hex digits.
const maxSumText = 600

// UnmarshalText reads the text form.
func (s *Sum) UnmarshalText(text []byte) error {
	*s = Sum{}
	if string(text) == "0" {
		return nil
	}
	bad := func(why string) error {
		return fault.New(fault.Malformed, "", "stat: sum %.40q %s", text, why)
	}
	if len(text) > maxSumText {
		return bad("is too long")
	}
	mant, exp, ok := bytes.Cut(text, []byte("p"))
	v, okInt := new(big.Int).SetString(string(mant), 16)
	e, err := strconv.Atoi(string(exp))
	if !ok || !okInt || err != nil {
		return bad("is not <hex>p<exponent>")
	}
	if e < -sumBias || e+v.BitLen() > 1024+64 {
		return bad("is outside the range of float64 sums")
	}
	neg := v.Sign() < 0
	v.Abs(v).Lsh(v, uint(e+sumBias))
	skip := v.TrailingZeroBits() / 32
	s.low = int(skip)
	v.Rsh(v, 32*skip)
	mask := big.NewInt(0xffffffff)
	for v.Sign() > 0 {
		d := int64(new(big.Int).And(v, mask).Uint64())
		if neg {
			d = -d
		}
		s.digit = append(s.digit, d)
		v.Rsh(v, 32)
	}
	return nil
}
