package stat

import (
	"math"
	"testing"

	"muster/rng"
)

func TestKS(t *testing.T) {
	d, p, err := KS([]float64{1, 2, 3, 4}, []float64{3, 4, 5, 6, 7})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "D", d, 0.6, 1e-15)
	if p < 0.2 || p > 0.5 {
		t.Errorf("p = %v", p)
	}
	if d, p, _ := KS([]float64{1, 1, 1}, []float64{1, 1}); d != 0 || p != 1 {
		t.Errorf("all ties: %v %v", d, p)
	}
	near(t, "Kolmogorov tail at 1.358", kolmogorovTail(1.3580986393), 0.05, 1e-9) // the 5 % point of every table
	near(t, "Kolmogorov tail at 1.628", kolmogorovTail(1.6276236115), 0.01, 1e-9)
	for _, bad := range [][]float64{nil, {math.NaN()}} {
		if _, _, err := KS(bad, []float64{1}); err == nil {
			t.Errorf("KS(%v) gave no error", bad)
		}
	}
}

// Both p-values keep their level on samples of one distribution, and find a shift.
func TestKSLevel(t *testing.T) {
	s := rng.New(31).Stream()
	asym, perm, power := 0, 0, 0
	const rounds = 400
	for r := range rounds {
		x, y, z := make([]float64, 60), make([]float64, 80), make([]float64, 80)
		for i := range x {
			x[i] = math.Round(s.Norm() * 4)
		}
		for i := range y {
			y[i] = math.Round(s.Norm() * 4)
			z[i] = y[i] + 4
		}
		if _, p, _ := KS(x, y); p <= 0.05 {
			asym++
		}
		if _, p, _ := KSPermutation(x, y, 99, rng.New(uint64(r))); p <= 0.05 {
			perm++
		}
		if _, p, _ := KS(x, z); p <= 0.05 {
			power++
		}
	}
	t.Logf("level 5%%: asymptotic %.3f, permutation %.3f; one-sd shift found in %.3f", float64(asym)/rounds, float64(perm)/rounds, float64(power)/rounds)
	if asym > rounds/10 || perm > rounds/10 || power < rounds*9/10 {
		t.Errorf("asymptotic %d, permutation %d, power %d of %d", asym, perm, power, rounds)
	}
}

// The fixed limits of PSI alarm on healthy batches (measured: 10 bins, 100 rows on each
// side exceed 0.1 in 86 % and 0.25 in 21 % of batches); the threshold here does not.
func TestPSILevel(t *testing.T) {
	s := rng.New(32).Stream()
	const rounds = 2000
	for _, n := range []int{100, 500} {
		over1, over25, own, sum, null := 0, 0, 0, 0.0, 0.0
		for range rounds {
			a, b := make([]uint64, 10), make([]uint64, 10)
			for range n {
				a[s.Intn(10)]++
				b[s.Intn(10)]++
			}
			r, err := PSI(a, b, 0.05)
			if err != nil {
				t.Fatal(err)
			}
			sum += r.Value / rounds
			null = r.NullMean
			if r.Value > 0.1 {
				over1++
			}
			if r.Value > 0.25 {
				over25++
			}
			if r.Value > r.Threshold {
				own++
			}
		}
		t.Logf("n=%d: PSI over 0.1 in %.1f%%, over 0.25 in %.1f%%, over its own 5%% threshold in %.1f%%; mean %.4f, null mean %.4f",
			n, 100*float64(over1)/rounds, 100*float64(over25)/rounds, 100*float64(own)/rounds, sum, null)
		near(t, "mean of PSI", sum, null, 0.1*null)
		near(t, "rate over the threshold", float64(own)/rounds, 0.05, 0.02)
		if n == 100 {
			near(t, "rate over 0.1", float64(over1)/rounds, 0.84, 0.05)
			near(t, "rate over 0.25", float64(over25)/rounds, 0.2, 0.05)
		}
	}
	for _, bad := range [][2][]uint64{{{1}, {1}}, {{1, 2}, {1, 2, 3}}, {{0, 0}, {1, 1}}, {nil, nil}} {
		if _, err := PSI(bad[0], bad[1], 0.05); err == nil {
			t.Errorf("PSI(%v) gave no error", bad)
		}
	}
}

func TestBootstrap(t *testing.T) {
	s := rng.New(33).Stream()
	const rounds = 300
	cover := 0
	for r := range rounds {
		a, b := make([]float64, 80), make([]float64, 80)
		for i := range a {
			b[i] = s.Exp()
			a[i] = b[i] + 0.2 + s.Norm()
		}
		_, iv, err := PairedBootstrap(a, b, 400, 0.95, rng.New(uint64(r)))
		if err != nil {
			t.Fatal(err)
		}
		if iv.Contains(0.2) {
			cover++
		}
	}
	t.Logf("paired bootstrap at 95%% covers %.3f", float64(cover)/rounds)
	near(t, "coverage", float64(cover)/rounds, 0.945, 0.03)
	x := []float64{1, 2, 3, 4, 5}
	d1, i1, _ := PairedBootstrap(x, make([]float64, 5), 400, 0.95, rng.New(1))
	d2, i2, _ := PairedBootstrap(x, make([]float64, 5), 400, 0.95, rng.New(1))
	if d1 != 3 || d1 != d2 || i1 != i2 {
		t.Error("the same key gives different intervals")
	}
	for _, err := range []error{
		third(PairedBootstrap(x, x[:2], 400, 0.95, rng.Key{})), third(PairedBootstrap(x[:1], x[:1], 400, 0.95, rng.Key{})),
		third(PairedBootstrap(x, x, 10, 0.95, rng.Key{})), third(PairedBootstrap([]float64{1, math.NaN()}, x[:2], 400, 0.95, rng.Key{})),
		second(Bootstrap(5, 400, 0.95, rng.Key{}, func([]int) float64 { return math.NaN() })),
	} {
		if err == nil {
			t.Error("an impossible bootstrap gave no error")
		}
	}
}

func third(_ float64, _ Interval, err error) error { return err }
func second(_ Interval, err error) error           { return err }
