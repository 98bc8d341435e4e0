package stat

import (
	"math"

	"muster/fault"
	"muster/internal/detmath"
	"muster/rng"
)

// KS returns the two-sample Kolmogorov-Smirnov statistic, the largest distance
// between the two empirical distribution functions, and its asymptotic p-value
// with Stephens' correction (J. R. Statist. Soc. B 32, 1970). Ties are handled; with
// many of them the p-value is conservative. It is an error if a sample is empty or holds NaN.
func KS(x, y []float64) (d, p float64, err error) {
	if len(x) == 0 || len(y) == 0 {
		return 0, 1, fault.New(fault.Numeric, "", "stat: samples of %d and %d values cannot be compared", len(x), len(y))
	}
	a, b := sorted(x), sorted(y)
	if math.IsNaN(a[0]) || math.IsNaN(b[0]) {
		return 0, 1, fault.New(fault.Numeric, "", "stat: a sample holds NaN")
	}
	d = ksSorted(a, b)
	n, m := float64(len(x)), float64(len(y))
	root := math.Sqrt(n / (n + m) * m)
	return d, kolmogorovTail(float64((root + 0.12 + 0.11/root) * d)), nil
}

func ksSorted(a, b []float64) float64 {
	d, i, j := 0.0, 0, 0
	for i < len(a) && j < len(b) {
		v := math.Min(a[i], b[j])
		for i < len(a) && a[i] <= v {
			i++
		}
		for j < len(b) && b[j] <= v {
			j++
		}
		d = math.Max(d, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	return d
}

// kolmogorovTail returns P(K > t) = 2 sum (-1)^(k-1) exp(-2 k^2 t^2).
func kolmogorovTail(t float64) float64 {
	if t < 0.2 {
		return 1
	}
	sum := 0.0
	for k := 1.0; k < 100; k++ {
		e := detmath.Exp(-2 * float64(float64(k*t)*float64(k*t)))
		if int(k)%2 == 1 {
			sum += e
		} else {
			sum -= e
		}
		if e < 1e-18 {
			break
		}
	}
	return math.Max(0, math.Min(1, 2*sum))
}

// KSPermutation returns the KS statistic and its permutation p-value, exact in
// level for any ties: (1 + permutations at least as extreme) / (1 + rounds).
func KSPermutation(x, y []float64, rounds int, key rng.Key) (d, p float64, err error) {
	if d, _, err = KS(x, y); err != nil {
		return d, 1, err
	}
	if rounds < 1 || rounds > 1e7 {
		return d, 1, fault.New(fault.Numeric, "", "stat: %d permutations", rounds)
	}
	pool := append(append([]float64(nil), x...), y...)
	hits := 1
	for r := range rounds {
		key.Split(uint64(r)).Stream().Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
		if ksSorted(sorted(pool[:len(x)]), sorted(pool[len(x):])) >= d-1e-12 {
			hits++
		}
	}
	return d, float64(hits) / float64(rounds+1), nil
}

// Stability is a population stability index with what it takes to read it.
type Stability struct {
	Value     float64
	NullMean  float64 // its expectation without any shift: (bins-1)(1/n + 1/m)
	Threshold float64 // exceeded with probability alpha without any shift
	P         float64
}

// PSI returns the population stability index sum (p-q) log(p/q) of two histograms
// over the same bins, with half a count added to each bin. The fixed limits 0.1 and
// 0.25 have no error rate; without shift the index is (1/n + 1/m) times a chi-square
// with bins-1 degrees of freedom, to first order, and that gives Threshold and P.
func PSI(ref, cur []uint64, alpha float64) (Stability, error) {
	if err := CheckRate("alpha", alpha); err != nil {
		return Stability{}, err
	}
	if len(ref) != len(cur) || len(ref) < 2 {
		return Stability{}, fault.New(fault.Mismatch, "", "stat: PSI of %d against %d bins; needs the same 2 or more", len(cur), len(ref))
	}
	n, m := total(ref), total(cur)
	if n == 0 || m == 0 {
		return Stability{}, fault.New(fault.Numeric, "", "stat: PSI of histograms with %v and %v counts", n, m)
	}
	var s Stability
	half := float64(len(ref)) / 2
	for i := range ref {
		p, q := (float64(ref[i])+0.5)/(n+half), (float64(cur[i])+0.5)/(m+half)
		s.Value += float64((p - q) * detmath.Log(p/q))
	}
	df, scale := float64(len(ref)-1), 1/n+1/m
	s.NullMean = float64(df * scale)
	s.Threshold = float64(scale * ChiSquareQuantile(1-alpha, df))
	s.P = ChiSquareTail(s.Value/scale, df)
	return s, nil
}

func total(c []uint64) float64 {
	n := uint64(0)
	for _, v := range c {
		n += v
	}
	return float64(n)
}
