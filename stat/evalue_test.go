package stat

import (
	"math"
	"math/big"
	"sort"
	"testing"

	"muster/rng"
)

// bigMixture is the closed form of the mixture in exact rational arithmetic, p0 = 1/2:
// sum of C(n+1, k), k <= x, over (n+1) C(n, x).
func bigMixture(x, n int64) float64 {
	sum := new(big.Int)
	for k := int64(0); k <= x; k++ {
		sum.Add(sum, new(big.Int).Binomial(n+1, k))
	}
	den := new(big.Int).Mul(big.NewInt(n+1), new(big.Int).Binomial(n, x))
	f, _ := new(big.Float).SetPrec(200).Quo(new(big.Float).SetInt(sum), new(big.Float).SetInt(den)).Float64()
	return math.Log(f)
}

func TestPairEExact(t *testing.T) {
	for _, n := range []int{0, 1, 2, 5, 30, 200, 900} {
		for x := 0; x <= n; x += 1 + n/17 {
			got := PairE{N: 10 * n, Worse: x, Better: n - x}.Value()
			near(t, "log e", got, bigMixture(int64(x), int64(n)), 1e-11)
		}
	}
	if v := (PairE{}).Value(); v != 0 {
		t.Errorf("no data: log e = %v, want 0", v)
	}
	// Far outside the range of float64 probabilities nothing overflows and order is kept.
	last := math.Inf(-1)
	for _, w := range []int{0, 1000, 499000, 500000, 501000, 999000, 1000000} {
		v := PairE{N: 2000000, Worse: w, Better: 1000000 - w}.Value()
		if math.IsNaN(v) || math.IsInf(v, 0) || v <= last {
			t.Errorf("worse=%d: log e = %v after %v", w, v, last)
		}
		last = v
	}
}

// For any rate at or below p0 the expectation of the e-value is at most 1, at every
// n: exact sums over the binomial distribution. At p0 itself it is 1.
func TestExpectation(t *testing.T) {
	for _, p0 := range []float64{0.01, 0.05, 0.5, 0.9} {
		for _, n := range []int{1, 10, 200} {
			for _, share := range []float64{1, 0.8} {
				up, down := 0.0, 0.0
				for x := 0; x <= n; x++ {
					e := BernoulliE{N: n, Hits: x}
					up += math.Exp(logBinomial(float64(x), float64(n), p0*share) + e.LogAbove(p0))
					down += math.Exp(logBinomial(float64(n-x), float64(n), (1-p0)*share) + e.LogBelow(p0))
				}
				if share == 1 {
					near(t, "expectation at the boundary", up, 1, 1e-10)
					near(t, "expectation at the boundary", down, 1, 1e-10)
				} else if up > 1 || down > 1 {
					t.Errorf("p0=%v n=%d: expectations %v, %v exceed 1", p0, n, up, down)
				}
			}
		}
	}
	// The betting process: at a mean of exactly -margin.
	const n, margin = 60, 0.05
	for _, pb := range []float64{0.01, 0.1} {
		sum := 0.0
		for w := 0; w <= n; w++ {
			for b := 0; b <= n-w; b++ {
				sum += trinomial(n, w, b, pb+margin, pb) * math.Exp(PairE{N: n, Worse: w, Better: b}.LogWithin(margin))
			}
		}
		near(t, "expectation of the bets", sum, 1, 1e-10)
	}
}

// stream simulates pairs until look says stop or n pairs are seen; it returns the
// pairs used, or -1. The e-value changes at discordant pairs only for Value, so
// looking there is looking after every pair.
func simulatePairs(s *rng.Stream, n int, pw, pb float64, everyPair bool, look func(PairE) bool) int {
	var e PairE
	for e.N < n {
		u := s.Float64()
		switch {
		case u < pw:
			e.Observe(false, true)
		case u < pw+pb:
			e.Observe(true, false)
		default:
			e.Observe(true, true)
			if !everyPair {
				continue
			}
		}
		if look(e) {
			return e.N
		}
	}
	return -1
}

func runs(t *testing.T, rounds, n int, pw, pb float64, every bool, look func(PairE) bool) (stopped int, median int) {
	t.Helper()
	var at []int
	root := rng.New(77).Named(t.Name())
	for r := range rounds {
		if k := simulatePairs(root.Split(uint64(r)).Stream(), n, pw, pb, every, look); k >= 0 {
			at = append(at, k)
		}
	}
	sort.Ints(at)
	if len(at) <= rounds/2 {
		return len(at), -1
	}
	return len(at), at[rounds/2]
}

// False rollback: 1,000 healthy canaries of 10,000 pairs, 3 % + 3 % discordant, a look after every pair.
func TestFalseRollback(t *testing.T) {
	const rounds = 1000
	stopped, _ := runs(t, rounds, 10000, .03, .03, false, func(e PairE) bool { return e.Stop(0.05) })
	iv := ClopperPearson(stopped, rounds, 0.95)
	t.Logf("false rollbacks: %d of %d = %.2f%% [%.2f, %.2f]", stopped, rounds, 100*float64(stopped)/float64(rounds), 100*iv.Low, 100*iv.High)
	if float64(stopped) > 0.05*float64(rounds) {
		t.Errorf("%d of %d healthy canaries were rolled back", stopped, rounds)
	}
}

// Planted losses of 1, 2 and 5 points: the medians to match are 3743, 829 and 164 pairs.
func TestDetection(t *testing.T) {
	for _, c := range []struct {
		pw, pb    float64
		median    int
		rounds, n int
	}{{.035, .025, 4100, 2000, 10000}, {.04, .02, 900, 2000, 10000}, {.06, .01, 180, 2000, 10000}} {
		stopped, median := runs(t, c.rounds, c.n, c.pw, c.pb, false, func(e PairE) bool { return e.Stop(0.05) })
		t.Logf("loss %.0f points: caught in %.1f%% of runs, median %d pairs", 100*(c.pw-c.pb), 100*float64(stopped)/float64(c.rounds), median)
		if median < 0 || median > c.median {
			t.Errorf("loss %.2f: median %d pairs, want at most %d", c.pw-c.pb, median, c.median)
		}
	}
}

// Promotion: the false rate at a loss of exactly the margin, and the median time for an equal candidate.
func TestPromotion(t *testing.T) {
	const margin = 0.02
	look := func(e PairE) bool { return e.N%10 == 0 && e.LogWithin(margin) >= Threshold(0.05) }
	rounds := 300
	false1, _ := runs(t, rounds, 5000, .04, .02, true, look)
	false2, _ := runs(t, rounds, 5000, .02+1e-9, 1e-9, true, look)
	stopped, median := runs(t, rounds, 5000, .03, .03, true, look)
	_, quick := runs(t, rounds, 5000, .005, .005, true, look)
	t.Logf("false promotions at the margin: %d and %d of %d; equal candidates promoted: %d, median %d pairs at 6%% discordance, %d at 1%%", false1, false2, rounds, stopped, median, quick)
	if false1 > rounds/20 || false2 > rounds/20 {
		t.Errorf("false promotions %d, %d of %d", false1, false2, rounds)
	}
	if median < 0 || median > 2500 || quick < 0 || quick > 700 {
		t.Errorf("median %d and %d pairs to promotion", median, quick)
	}
}

// The confidence sequence covers the true difference at all times together.
func TestConfidenceSequence(t *testing.T) {
	const pw, pb = .05, .03
	missed, rounds := 0, 100
	for r := range rounds {
		simulatePairs(rng.New(9).Split(uint64(r)).Stream(), 2000, pw, pb, true, func(e PairE) bool {
			if e.N%50 == 0 && !e.Interval(0.95).Contains(pb-pw) {
				missed++
				return true
			}
			return false
		})
	}
	iv := PairE{N: 2000, Worse: 100, Better: 60}.Interval(0.95)
	t.Logf("ever missed in %d of %d runs; width after 2000 pairs %.4f", missed, rounds, iv.High-iv.Low)
	if missed > rounds/20 || iv.High-iv.Low > 0.05 || !iv.Contains(-0.02) {
		t.Errorf("missed %d of %d, interval %+v", missed, rounds, iv)
	}
	if iv := (PairE{}).Interval(0.95); iv.Low != -1 || iv.High != 1 {
		t.Errorf("no data: %+v", iv)
	}
}

// Agreement without labels, limit 5 % disagreement: false alarms at the limit, both directions.
func TestAgreement(t *testing.T) {
	const limit, rounds = 0.05, 300
	above, below, found, proven := 0, 0, 0, 0
	for r := range rounds {
		s := rng.New(13).Split(uint64(r)).Stream()
		var at, bad, good BernoulliE
		seenAbove, seenBelow := false, false
		for range 3000 {
			at.Observe(s.Bernoulli(limit))
			bad.Observe(s.Bernoulli(0.1))
			good.Observe(s.Bernoulli(0.02))
			if at.N%5 == 0 {
				seenAbove = seenAbove || at.LogAbove(limit) >= Threshold(0.05)
				seenBelow = seenBelow || at.LogBelow(limit) >= Threshold(0.05)
			}
		}
		above, below = above+count(seenAbove), below+count(seenBelow)
		found += count(bad.LogAbove(limit) >= Threshold(0.05))
		proven += count(good.LogBelow(limit) >= Threshold(0.05))
	}
	t.Logf("at the limit: rolled back %d, promoted %d of %d; 10%% found in %d, 2%% proven in %d", above, below, rounds, found, proven)
	if above > rounds/20 || below > rounds/20 || found < rounds*9/10 || proven < rounds*9/10 {
		t.Error("error rates are off")
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func BenchmarkPairEValue(b *testing.B) {
	e := PairE{N: 10000, Worse: 310, Better: 290}
	for b.Loop() {
		e.Value()
	}
}

func BenchmarkLogWithin(b *testing.B) {
	e := PairE{N: 10000, Worse: 310, Better: 290}
	for b.Loop() {
		e.LogWithin(0.02)
	}
}
