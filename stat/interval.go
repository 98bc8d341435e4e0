// Package stat has the statistics behind every number and every decision of
// Muster: intervals, paired tests, evidence that stays valid under continuous
// looks, and sketches that merge exactly.
//
// All functions are pure and give the same bits on every architecture: they use
// internal/detmath and never let a product and a sum fuse. A level is the
// coverage of an interval (0.95); alpha is an error rate (0.05). Both must lie in
// (0, 1): functions with an error result report it, the others panic, because a
// policy is checked by CheckRate before it gets here.
package stat

import (
	"math"

	"muster/fault"
	"muster/internal/detmath"
)

// Interval is an uncertainty statement. It has the fields of record.Interval, so
// that record.Interval(iv) converts it.
type Interval struct {
	Low, High float64
	Level     float64
	Method    string
}

// Contains reports whether x lies in the closed interval.
func (v Interval) Contains(x float64) bool { return v.Low <= x && x <= v.High }

// CheckRate reports an error unless p is strictly between 0 and 1.
func CheckRate(what string, p float64) error {
	if !(p > 0 && p < 1) {
		return fault.New(fault.Numeric, "", "stat: %s is %v, must lie between 0 and 1", what, p).
			WithHint("usual values: level 0.95, alpha 0.05, power 0.8")
	}
	return nil
}

func mustRate(what string, p float64) {
	if err := CheckRate(what, p); err != nil {
		panic(err.Error())
	}
}

func mustCount(k, n int) {
	if k < 0 || n < 0 || k > n {
		panic("stat: count outside 0..n")
	}
}

// Wilson returns the score interval of a proportion k/n (Wilson, JASA 22, 1927).
// It keeps its coverage near 0 and 1, where the Wald interval fails; n = 0 gives [0, 1].
func Wilson(k, n int, level float64) Interval {
	mustRate("level", level)
	mustCount(k, n)
	iv := Interval{Low: 0, High: 1, Level: level, Method: "wilson"}
	if n == 0 {
		return iv
	}
	z := detmath.NormalQuantile(0.5 + level/2)
	N, p := float64(n), float64(k)/float64(n)
	z2 := float64(z * z)
	mid := p + z2/(2*N)
	half := float64(z * math.Sqrt(float64(p*(1-p))/N+z2/float64(4*float64(N*N))))
	if k > 0 {
		iv.Low = math.Max(0, (mid-half)/(1+z2/N))
	}
	if k < n {
		iv.High = math.Min(1, (mid+half)/(1+z2/N))
	}
	return iv
}

// ClopperPearson returns the exact interval of a proportion k/n (Clopper and
// Pearson, Biometrika 26, 1934): coverage is never below the level. n = 0 gives [0, 1].
func ClopperPearson(k, n int, level float64) Interval {
	mustRate("level", level)
	mustCount(k, n)
	iv := Interval{Low: 0, High: 1, Level: level, Method: "clopper-pearson"}
	tail := (1 - level) / 2
	if k > 0 {
		iv.Low = BetaQuantile(tail, float64(k), float64(n-k)+1)
	}
	if k < n {
		iv.High = BetaQuantile(1-tail, float64(k)+1, float64(n-k))
	}
	return iv
}

// Mean returns the mean of x with Student's t interval. Fewer than two values, or
// a value that is not finite, is an error.
func Mean(x []float64, level float64) (mean float64, iv Interval, err error) {
	if err := CheckRate("level", level); err != nil {
		return 0, iv, err
	}
	if len(x) < 2 {
		return 0, iv, fault.New(fault.Numeric, "", "stat: an interval of a mean needs 2 values, there are %d", len(x))
	}
	var m Moments
	for _, v := range x {
		m.Add(v)
	}
	if m.Missing > 0 {
		return 0, iv, fault.New(fault.Numeric, "", "stat: %d of %d values are not finite", m.Missing, len(x))
	}
	n := float64(len(x))
	mean = m.Mean()
	half := float64(TQuantile(0.5+level/2, n-1) * math.Sqrt(m.Variance()/n))
	return mean, Interval{Low: mean - half, High: mean + half, Level: level, Method: "t"}, nil
}
