package stat

import (
	"math"
	"sort"

	"muster/fault"
	"muster/rng"
)

// Bootstrap returns the percentile interval of a statistic under resampling of n
// units with replacement (Efron 1979). f receives the chosen units, as many as there
// are, and must not keep the slice. A unit is whatever is independent: an item, or a
// cluster of items that belong together. Resamples on which f is not finite are left
// out; more than one in ten of them is an error. Round r draws from key.Split(r), so
// the result does not depend on the order of rounds.
func Bootstrap(n, rounds int, level float64, key rng.Key, f func(units []int) float64) (Interval, error) {
	iv := Interval{Level: level, Method: "bootstrap-percentile"}
	if err := CheckRate("level", level); err != nil {
		return iv, err
	}
	if n < 2 || float64(rounds) < 20/(1-level) || rounds > 1e7 {
		return iv, fault.New(fault.Numeric, "", "stat: bootstrap of %d units in %d rounds; needs 2 units and %.0f rounds at level %v", n, rounds, math.Ceil(20/(1-level)), level)
	}
	units := make([]int, n)
	values := make([]float64, 0, rounds)
	for r := range rounds {
		s := key.Split(uint64(r)).Stream()
		for i := range units {
			units[i] = s.Intn(n)
		}
		if v := f(units); !math.IsNaN(v) && !math.IsInf(v, 0) {
			values = append(values, v)
		}
	}
	if len(values)*10 < rounds*9 {
		return iv, fault.New(fault.Numeric, "", "stat: the statistic is undefined on %d of %d resamples", rounds-len(values), rounds)
	}
	sort.Float64s(values)
	iv.Low, iv.High = Quantile(values, (1-level)/2), Quantile(values, (1+level)/2)
	return iv, nil
}

// PairedBootstrap returns the mean of candidate[i] - baseline[i] over the same items
// and its percentile interval.
func PairedBootstrap(candidate, baseline []float64, rounds int, level float64, key rng.Key) (float64, Interval, error) {
	if len(candidate) != len(baseline) {
		return 0, Interval{}, fault.New(fault.Mismatch, "", "stat: %d candidate and %d baseline values are not pairs", len(candidate), len(baseline))
	}
	d := make([]float64, len(candidate))
	for i := range d {
		d[i] = candidate[i] - baseline[i]
		if math.IsNaN(d[i]) || math.IsInf(d[i], 0) {
			return 0, Interval{}, fault.New(fault.Numeric, "", "stat: pair %d has a difference that is not finite", i)
		}
	}
	mean := func(rows []int) float64 {
		s := 0.0
		for _, i := range rows {
			s += d[i]
		}
		return s / float64(len(rows))
	}
	iv, err := Bootstrap(len(d), rounds, level, key, mean)
	if err != nil {
		return 0, iv, err
	}
	iv.Method = "paired-bootstrap"
	all := make([]int, len(d))
	for i := range all {
		all[i] = i
	}
	return mean(all), iv, nil
}
