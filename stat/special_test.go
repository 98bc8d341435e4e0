package stat

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol) {
		t.Errorf("%s = %.12g, want %.12g ± %.2g", what, got, want, tol)
	}
}

// The special functions against gonum's, over the range that intervals and tests use.
func TestSpecialAgainstGonum(t *testing.T) {
	for _, a := range []float64{0.5, 1, 2.5, 10, 180, 3000} {
		for _, b := range []float64{0.5, 1, 3, 25, 360, 9000} {
			for _, x := range []float64{1e-6, 0.01, 0.2, 0.5, 0.77, 0.99} {
				near(t, "BetaCDF", BetaCDF(x, a, b), mathext.RegIncBeta(a, b, x), 1e-11)
			}
			for _, p := range []float64{1e-6, 0.025, 0.5, 0.9, 0.9999} {
				x := BetaQuantile(p, a, b) // near 1 the spacing of float64 limits what any x can reach
				slope := BetaCDF(math.Min(1, x+2e-16), a, b) - BetaCDF(x-2e-16, a, b)
				near(t, "BetaCDF(BetaQuantile)", BetaCDF(x, a, b), p, 1e-12+8*slope)
			}
		}
	}
	for _, df := range []float64{1, 2, 5, 29, 358} {
		for _, p := range []float64{0.001, 0.2, 0.5, 0.975, 0.9999} {
			near(t, "TQuantile", TQuantile(p, df), distuv.StudentsT{Mu: 0, Sigma: 1, Nu: df}.Quantile(p), 1e-6*math.Abs(TQuantile(p, df)))
			near(t, "ChiSquareTail(ChiSquareQuantile)", ChiSquareTail(ChiSquareQuantile(p, df), df), 1-p, 1e-11)
			near(t, "ChiSquareTail", ChiSquareTail(df*p*2, df), 1-mathext.GammaIncReg(df/2, df*p), 1e-12)
		}
	}
	for _, n := range []int{1, 7, 360, 20000} {
		for _, p := range []float64{0.001, 0.3, 0.5, 0.97} {
			sum := 0.0
			b := distuv.Binomial{N: float64(n), P: p}
			for k := 0; k <= n && k <= 2000; k++ {
				sum += math.Exp(b.LogProb(float64(k)))
				if k%max(1, n/9) == 0 {
					near(t, "BinomialCDF", BinomialCDF(k, n, p), sum, 1e-9)
				}
			}
		}
	}
	// Published table values: t(0.975, 10), chi-square(0.95, 9).
	near(t, "t", TQuantile(0.975, 10), 2.228138852, 1e-9)
	near(t, "chi-square", ChiSquareQuantile(0.95, 9), 16.918977605, 1e-9)
}

func TestIntervals(t *testing.T) {
	// Golden: SciPy, see the reference tables of Wilson intervals at 95 %.
	w := Wilson(90, 100, 0.95)
	near(t, "Wilson low 90/100", w.Low, .825634, 5e-7)
	near(t, "Wilson high 90/100", w.High, .944771, 5e-7)
	w = Wilson(0, 30, 0.95)
	near(t, "Wilson low 0/30", w.Low, 0, 0)
	near(t, "Wilson high 0/30", w.High, .113513, 5e-7)
	// Clopper-Pearson closed forms: 0/n has the upper limit 1-(tail)^(1/n).
	c := ClopperPearson(0, 30, 0.95)
	near(t, "Clopper-Pearson 0/30", c.High, 1-math.Pow(0.025, 1./30), 1e-12)
	c = ClopperPearson(30, 30, 0.95)
	near(t, "Clopper-Pearson 30/30", c.Low, math.Pow(0.025, 1./30), 1e-12)
	c = ClopperPearson(81, 263, 0.95) // R binom.test(81, 263): 0.2527, 0.3676
	near(t, "Clopper-Pearson low 81/263", c.Low, 0.2527, 1e-4)
	near(t, "Clopper-Pearson high 81/263", c.High, 0.3676, 1e-4)
	for _, f := range []func(int, int, float64) Interval{Wilson, ClopperPearson} {
		if iv := f(0, 0, 0.95); iv.Low != 0 || iv.High != 1 {
			t.Errorf("no data: %+v, want [0, 1]", iv)
		}
	}
	m, iv, err := Mean([]float64{1, 2, 3, 4}, 0.95) // t(.975, 3) = 3.182446; sd 1.290994
	if err != nil || m != 2.5 {
		t.Fatal(m, err)
	}
	near(t, "t interval", iv.High-m, 3.182446305*1.2909944487/2, 1e-8)
	for _, bad := range [][]float64{nil, {1}, {1, math.NaN()}, {1, math.Inf(1)}} {
		if _, _, err := Mean(bad, 0.95); err == nil {
			t.Errorf("Mean(%v) gave no error", bad)
		}
	}
	if _, _, err := Mean([]float64{1, 2}, 1.5); err == nil {
		t.Error("level 1.5 gave no error")
	}
}

// Coverage by exact enumeration: the probability that the interval contains p.
func TestProportionCoverage(t *testing.T) {
	for _, n := range []int{20, 100, 360} {
		low := map[string]float64{"wilson": 1, "clopper-pearson": 1}
		mean := map[string]float64{}
		const steps = 200
		for s := 1; s < steps; s++ {
			p := float64(s) / steps
			for name, f := range map[string]func(int, int, float64) Interval{"wilson": Wilson, "clopper-pearson": ClopperPearson} {
				cover := 0.0
				for k := 0; k <= n; k++ {
					if iv := intervalCache(name, f, k, n); iv.Contains(p) {
						cover += math.Exp(logBinomial(float64(k), float64(n), p))
					}
				}
				low[name] = math.Min(low[name], cover)
				mean[name] += cover / (steps - 1)
			}
		}
		t.Logf("n=%d coverage of 95%%: wilson min %.4f mean %.4f, clopper-pearson min %.4f mean %.4f",
			n, low["wilson"], mean["wilson"], low["clopper-pearson"], mean["clopper-pearson"])
		if low["clopper-pearson"] < 0.95-1e-12 {
			t.Errorf("n=%d: Clopper-Pearson covers only %.5f", n, low["clopper-pearson"])
		}
		if math.Abs(mean["wilson"]-0.95) > 0.01 || low["wilson"] < 0.83 {
			t.Errorf("n=%d: Wilson covers %.4f on average, %.4f at worst", n, mean["wilson"], low["wilson"])
		}
	}
}

var cached = map[[2]int]map[string]Interval{}

func intervalCache(name string, f func(int, int, float64) Interval, k, n int) Interval {
	key := [2]int{k, n}
	if cached[key] == nil {
		cached[key] = map[string]Interval{}
	}
	iv, ok := cached[key][name]
	if !ok {
		iv = f(k, n, 0.95)
		cached[key][name] = iv
	}
	return iv
}
