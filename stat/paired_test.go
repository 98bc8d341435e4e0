package stat

import (
	"math"
	"testing"

	"muster/fault"
	"muster/rng"
)

// Golden: SciPy, 12 against 25 discordant items.
func TestMcNemar(t *testing.T) {
	exact, mid := McNemar(12, 25)
	near(t, "exact", exact, .047031, 5e-7)
	near(t, "mid-p", mid, .033552, 5e-7)
	e2, m2 := McNemar(25, 12)
	if e2 != exact || m2 != mid {
		t.Error("McNemar is not symmetric")
	}
	if e, m := McNemar(0, 0); e != 1 || m != 1 {
		t.Errorf("no discordant items: %v, %v", e, m)
	}
	if e, _ := McNemar(5, 5); e != 1 {
		t.Errorf("5 against 5: %v", e)
	}
	near(t, "0 against 10", first(McNemar(0, 10)), 2*math.Pow(0.5, 10), 1e-15)
}

func first(a, _ float64) float64 { return a }

// With no discordant item the score limits have a closed form, |d| = z^2/(n + z^2).
func TestPairedDifference(t *testing.T) {
	d, iv := PairedDifference(0, 0, 50, 0.95)
	z2 := 1.959963984540054 * 1.959963984540054
	near(t, "0/0 difference", d, 0, 0)
	near(t, "0/0 low", iv.Low, -z2/(50+z2), 1e-12)
	near(t, "0/0 high", iv.High, z2/(50+z2), 1e-12)
	d1, a := PairedDifference(9, 4, 200, 0.95)
	d2, b := PairedDifference(4, 9, 200, 0.95)
	if d1 != -d2 || math.Abs(a.Low+b.High) > 1e-12 || math.Abs(a.High+b.Low) > 1e-12 {
		t.Error("the interval is not antisymmetric")
	}
	if _, iv := PairedDifference(0, 0, 0, 0.95); iv.Low != -1 || iv.High != 1 {
		t.Error("no data must give [-1, 1]")
	}
	if _, iv := PairedDifference(7, 0, 7, 0.95); iv.Low < -1 || iv.High > 1 || iv.High > 0 {
		t.Errorf("all worse: %+v", iv)
	}
}

// The restricted estimate inside the score statistic maximises the likelihood
// worse log(q+loss) + better log(q) + rest log(1-2q-loss): compare with a search.
func TestScoreZRestrictedEstimate(t *testing.T) {
	for _, c := range []struct {
		worse, better, n int
		d                float64
	}{{5, 3, 100, -0.02}, {0, 4, 50, -0.1}, {12, 1, 360, 0}, {7, 7, 40, -0.3}} {
		w, b, n := float64(c.worse), float64(c.better), float64(c.n)
		best, q := math.Inf(-1), 0.0
		for i := 1; i < 200000; i++ {
			pb := (1 + c.d) / 2 * float64(i) / 200000 // P(better); P(worse) = pb - d
			if l := w*math.Log(pb-c.d) + b*math.Log(pb) + (n-w-b)*math.Log(1-2*pb+c.d); l > best {
				best, q = l, pb
			}
		}
		variance := n * (2*q - c.d - c.d*c.d)
		near(t, "score z", scoreZ(c.worse, c.better, c.n, c.d), (b-w-n*c.d)/math.Sqrt(variance), 2e-3)
	}
}

// Coverage of Tango's interval by exact enumeration of the trinomial distribution.
func TestPairedDifferenceCoverage(t *testing.T) {
	for _, c := range []struct {
		n      int
		pw, pb float64
	}{{100, .03, .03}, {100, .06, .01}, {360, .01, .01}, {360, .03, .03}, {360, .05, .02}, {360, .12, .10}} {
		cover := 0.0
		for w := 0; w <= c.n; w++ {
			for b := 0; b <= c.n-w; b++ {
				p := trinomial(c.n, w, b, c.pw, c.pb)
				if p < 1e-9 {
					continue
				}
				if _, iv := PairedDifference(w, b, c.n, 0.95); iv.Contains(c.pb - c.pw) {
					cover += p
				}
			}
		}
		t.Logf("n=%d worse %.2f better %.2f: coverage of 95%% is %.4f", c.n, c.pw, c.pb, cover)
		if cover < 0.938 || cover > 0.985 {
			t.Errorf("coverage %.4f", cover)
		}
	}
}

func trinomial(n, w, b int, pw, pb float64) float64 {
	return math.Exp(logBinomial(float64(w), float64(n), pw) + logBinomial(float64(b), float64(n-w), pb/(1-pw)))
}

// The false pass rate at the margin, exactly: over all tables whose decision is
// pass, the probability when the true loss is the margin.
func TestNonInferiorFalsePass(t *testing.T) {
	const alpha = 0.05
	for _, c := range []struct {
		n       int
		margin  float64
		betters []float64
	}{{60, .1, []float64{0, .05, .15}}, {200, .02, []float64{0, .005, .01, .03, .06}}} {
		limit := passLimits(t, c.n, c.margin, alpha)
		for _, pb := range c.betters {
			rate := 0.0
			for w, lim := range limit {
				for b := lim; b <= c.n-w; b++ {
					if p := trinomial(c.n, w, b, pb+c.margin, math.Max(pb, 1e-12)); p > 1e-12 {
						rate += p
					}
				}
			}
			t.Logf("n=%d margin %.2f, better %.3f: false pass rate %.4f", c.n, c.margin, pb, rate)
			if rate > alpha {
				t.Errorf("false pass rate %.5f exceeds %v", rate, alpha)
			}
		}
	}
}

// passLimits returns for each number of worse items the least number of better ones that passes.
func passLimits(t *testing.T, n int, margin, alpha float64) []int {
	t.Helper()
	var limit []int
	b := 0
	for w := 0; w <= n/3; w++ {
		for ; b <= n-w; b++ {
			r, err := NonInferior(w, b, n, margin, alpha)
			if err != nil {
				t.Fatal(err)
			}
			if r.Decision == Pass {
				break
			}
		}
		limit = append(limit, b)
	}
	return limit
}

func TestNonInferiorDecisions(t *testing.T) {
	for _, c := range []struct {
		worse, better, n int
		margin           float64
		want             Decision
	}{
		{1, 1, 360, 0.02, Pass},  // int8 against float: two flips
		{40, 5, 360, 0.02, Fail}, // a candidate that lost ten points
		{3, 2, 60, 0.02, Unsure}, // too few rows
		{0, 0, 0, 0.02, Unsure},  // none
		{0, 0, 30, 0.02, Unsure}, // identical on 30 rows: the rule of three says up to 9.5 %
		{0, 0, 200, 0.02, Pass},  // identical on 200 rows
		{0, 12, 360, 0, Pass},    // superiority is margin 0
		{300, 0, 360, 0.02, Fail},
		{30, 28, 20000, 0.02, Pass},
	} {
		r, err := NonInferior(c.worse, c.better, c.n, c.margin, 0.05)
		if err != nil || r.Decision != c.want {
			t.Errorf("%+v: %s (p %.4g, p worse %.4g, %+v), %v", c, r.Decision, r.P, r.PWorse, r.Interval, err)
		}
		if c.n > 0 && !r.Interval.Contains(r.Difference) {
			t.Errorf("%+v: interval %+v without the difference %v", c, r.Interval, r.Difference)
		}
	}
	for _, bad := range []struct {
		w, b, n       int
		margin, alpha float64
	}{{-1, 0, 5, .1, .05}, {3, 3, 5, .1, .05}, {0, 0, 5, -.1, .05}, {0, 0, 5, 1, .05}, {0, 0, 5, .1, 0}, {0, 0, 5, .1, .7}, {0, 0, 5, math.NaN(), .05}} {
		if _, err := NonInferior(bad.w, bad.b, bad.n, bad.margin, bad.alpha); fault.ClassOf(err) != fault.Numeric {
			t.Errorf("%+v: error %v, want class numeric", bad, err)
		}
	}
}

// The planned power is reached: simulate the loss that MinDetectable names.
func TestMinDetectable(t *testing.T) {
	const n, psi, alpha, power = 1000, 0.08, 0.05, 0.8
	d, err := MinDetectable(n, psi, alpha, power)
	if err != nil {
		t.Fatal(err)
	}
	back, err := PairsNeeded(d, psi, alpha, power)
	if err != nil || back < n-1 || back > n+1 {
		t.Errorf("PairsNeeded(MinDetectable(%d)) = %d, %v", n, back, err)
	}
	s := rng.New(11).Stream()
	found, rounds := 0, 3000
	for range rounds {
		w, b := 0, 0
		for range n {
			u := s.Float64()
			switch {
			case u < (psi+d)/2:
				w++
			case u < psi:
				b++
			}
		}
		if z := scoreZ(w, b, n, 0); z < -1.6448536269514722 {
			found++
		}
	}
	rate := float64(found) / float64(rounds)
	t.Logf("smallest loss found with power 0.8 at n=1000, 8%% discordance: %.4f; simulated power %.3f", d, rate)
	near(t, "simulated power", rate, power, 0.04)
	if _, err := MinDetectable(20, 0.01, 0.05, 0.8); fault.ClassOf(err) != fault.Exhausted {
		t.Errorf("20 pairs at 1 %% discordance: error %v", err)
	}
	for _, bad := range [][4]float64{{0, .1, .05, .8}, {9, 0, .05, .8}, {9, 1.5, .05, .8}, {9, .1, 0, .8}, {9, .1, .05, 1}, {9, .1, .3, .2}} {
		if _, err := MinDetectable(int(bad[0]), bad[1], bad[2], bad[3]); err == nil {
			t.Errorf("MinDetectable(%v) gave no error", bad)
		}
	}
}
