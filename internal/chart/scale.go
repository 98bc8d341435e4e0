package chart

import (
	"math"
	"strconv"
	"strings"
)

// scale maps data to user units: from lo..hi to from..to.
type scale struct{ lo, hi, from, to float64 }

func (s scale) at(x float64) float64 {
	// The conversion keeps the product from fusing with the sum: the same
	// bytes on every architecture.
	return s.from + float64((x-s.lo)/(s.hi-s.lo)*(s.to-s.from))
}

// clamp is at, held inside the plot.
func (s scale) clamp(x float64) float64 {
	return s.at(math.Min(math.Max(x, s.lo), s.hi))
}

// ticks returns round numbers inside [lo, hi], about want of them: steps of 1, 2
// or 5 times a power of ten.
func ticks(lo, hi float64, want int) []float64 {
	step := niceStep(lo, hi, want)
	first := math.Ceil(lo/step - 1e-9)
	var out []float64
	for i := 0.0; i < 100; i++ {
		x := (first + i) * step
		if x > hi+float64(1e-9*step) {
			break
		}
		if math.Abs(x) < float64(1e-9*step) {
			x = 0
		}
		out = append(out, x)
	}
	return out
}

func niceStep(lo, hi float64, want int) float64 {
	raw := (hi - lo) / float64(max(want, 1))
	mag := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if raw <= float64(m*mag*1.0000001) {
			return m * mag
		}
	}
	return 10 * mag
}

// spread gives room around a range that is too narrow to be drawn.
func spread(lo, hi float64) (float64, float64) {
	size := math.Max(math.Abs(lo), math.Abs(hi))
	if d := hi - lo; d > float64(1e-9*size) && d > 1e-200 {
		return lo, hi
	}
	if size < 1e-199 {
		return lo - 1, hi + 1
	}
	return lo - size/10, hi + size/10
}

// niceRange widens [lo, hi] to round ends.
func niceRange(lo, hi float64) (float64, float64) {
	lo, hi = spread(lo, hi)
	step := niceStep(lo, hi, 5)
	return math.Floor(lo/step+1e-9) * step, math.Ceil(hi/step-1e-9) * step
}

// tickText prints tick values with the decimals that their step needs, large and
// tiny ones with a power of ten.
func tickText(x float64, all []float64) string {
	step, top := math.Abs(x), math.Abs(x)
	for i, t := range all {
		top = math.Max(top, math.Abs(t))
		if i == 1 {
			step = all[1] - all[0]
		}
	}
	if top >= 1e6 || top < 1e-3 && top > 0 {
		return exponent(x)
	}
	decimals := 0
	if step > 0 && step < 1 {
		decimals = int(math.Ceil(-math.Log10(step) - 1e-9))
	}
	return strconv.FormatFloat(x, 'f', min(decimals, 6), 64)
}

// exponent prints 2e+06 as 2e6.
func exponent(x float64) string {
	s := strconv.FormatFloat(x, 'g', 3, 64)
	mantissa, exp, ok := strings.Cut(s, "e")
	if !ok {
		return s
	}
	sign := strings.TrimRight(exp[:1], "+")
	return mantissa + "e" + sign + strings.TrimLeft(exp[1:], "0")
}

// value prints a number in a hover text.
func value(x float64) string {
	r, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 4, 64), 64)
	return strconv.FormatFloat(r, 'g', -1, 64)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) && math.Abs(x) < 1e300 }

// extent returns the smallest and largest finite value; ok is false if there is none.
func extent(lists ...[]float64) (lo, hi float64, ok bool) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, l := range lists {
		for _, x := range l {
			if finite(x) {
				lo, hi, ok = math.Min(lo, x), math.Max(hi, x), true
			}
		}
	}
	return lo, hi, ok
}
