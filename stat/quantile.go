package stat

import (
	"math"

	"muster/fault"
)

// Quantile returns the p-quantile of sorted values by linear interpolation between
// order statistics (type 7 of Hyndman and Fan, 1996, the default of NumPy and R).
// It panics on an empty slice; p is clamped to [0, 1].
func Quantile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		panic("stat: quantile of nothing")
	}
	h := float64(float64(len(sorted)-1) * math.Max(0, math.Min(1, p)))
	i := int(h)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + float64((h-float64(i))*(sorted[i+1]-sorted[i]))
}

// Percentile returns the p-quantile with a distribution-free interval from order
// statistics, and refuses one that the sample cannot support: a quantile needs about
// ten values beyond it, so 10/(1-p) of them above the median and 10/p below.
func Percentile(sorted []float64, p, level float64) (float64, Interval, error) {
	iv := Interval{Level: level, Method: "order-statistics"}
	if err := CheckRate("percentile", p); err != nil {
		return 0, iv, err
	}
	if err := CheckRate("level", level); err != nil {
		return 0, iv, err
	}
	n := len(sorted)
	if need := math.Ceil(10/math.Min(p, 1-p) - 1e-9); float64(n) < need {
		return 0, iv, fault.New(fault.Numeric, "", "stat: p%g needs %.0f values, there are %d", p*100, need, n).
			WithHint("measure more, or ask for a percentile nearer to the median")
	}
	// x[lo] <= quantile with probability P(X > lo) and so on, X ~ Binomial(n, p) values below.
	tail := (1 - level) / 2
	lo := bisectInt(0, n, func(k int) bool { return BinomialCDF(k, n, p) > tail })
	hi := bisectInt(0, n, func(k int) bool { return BinomialCDF(k, n, p) >= 1-tail })
	iv.Low, iv.High = sorted[max(0, lo-1)], sorted[min(n-1, hi)]
	return Quantile(sorted, p), iv, nil
}

// bisectInt returns the smallest k in [lo, hi) for which the rising predicate holds, or hi.
func bisectInt(lo, hi int, holds func(int) bool) int {
	for lo < hi {
		mid := (lo + hi) / 2
		if holds(mid) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}
