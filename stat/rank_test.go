package stat

import (
	"math"
	"testing"

	"muster/rng"
)

func flags(s string) []bool {
	var b []bool
	for _, c := range s {
		b = append(b, c == '1')
	}
	return b
}

// Golden: the DeLong fixture of the reference tables (SciPy).
func TestDeLong(t *testing.T) {
	y := flags("0000111110")
	a := []float64{.1, .4, .35, .8, .9, .6, .65, .3, .7, .2}
	b := []float64{.2, .3, .5, .6, .7, .4, .9, .55, .8, .1}
	r, err := DeLong(a, b, y)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "AUC a", r.A.Value, .76, 1e-12)
	near(t, "AUC b", r.B.Value, .88, 1e-12)
	near(t, "var a", r.A.Variance, .0312, 1e-12)
	near(t, "var b", r.B.Variance, .0128, 1e-12)
	near(t, "cov", r.Covariance, .0136, 1e-12)
	near(t, "z", r.Z, -.925820, 5e-7)
	near(t, "p", r.P, .354539, 5e-7)
	same, err := DeLong(a, a, y)
	if err != nil || same.P != 1 || same.Z != 0 {
		t.Errorf("a score against itself: %+v, %v", same, err)
	}
}

func TestAUROCTies(t *testing.T) {
	s := rng.New(5).Stream()
	for range 50 {
		n := 2 + s.Intn(30)
		score, y := make([]float64, n), make([]bool, n)
		for i := range score {
			score[i], y[i] = float64(s.Intn(5)), s.Bernoulli(0.5)
		}
		y[0], y[1] = true, false
		got, err := AUROC(score, y)
		if err != nil {
			t.Fatal(err)
		}
		wins, pairs := 0.0, 0.0
		for i := range y {
			for j := range y {
				if y[i] && !y[j] {
					pairs++
					if score[i] > score[j] {
						wins++
					} else if score[i] == score[j] {
						wins += 0.5
					}
				}
			}
		}
		near(t, "AUROC", got.Value, wins/pairs, 1e-12)
	}
	for _, bad := range []string{"", "11", "00"} {
		if _, err := AUROC(make([]float64, len(bad)), flags(bad)); err == nil {
			t.Errorf("classes %q gave no error", bad)
		}
	}
	if _, err := AUROC([]float64{math.NaN(), 1}, flags("10")); err == nil {
		t.Error("NaN score gave no error")
	}
	if _, err := AUROC([]float64{1}, flags("10")); err == nil {
		t.Error("lengths differ without an error")
	}
}

// Golden: the out-of-distribution fixtures of the reference tables.
func TestFPR95(t *testing.T) {
	id := []float64{.99, .98, .97, .95, .9, .85, .8, .75, .7, .4}
	ood := []float64{.9, .6, .5, .45, .3}
	var score, neg []float64
	var isOOD, isID []bool
	for _, v := range id {
		score, neg, isOOD, isID = append(score, v), append(neg, -v), append(isOOD, false), append(isID, true)
	}
	for _, v := range ood {
		score, neg, isOOD, isID = append(score, v), append(neg, -v), append(isOOD, true), append(isID, false)
	}
	a, err := AUROC(neg, isOOD)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "AUROC", a.Value, .83, 1e-12)
	f, _, _ := FPRAtTPR(neg, isOOD, 0.95)
	near(t, "FPR95, positive is OOD", f, .60, 1e-12)
	f, _, _ = FPRAtTPR(score, isID, 0.95)
	near(t, "FPR95, positive is ID", f, .80, 1e-12)
	score, isID = nil, nil
	for i := range 200 {
		v := .9
		if i >= 100 {
			v = .95 - .1*float64((i-100)/50)
		}
		score, isID = append(score, v), append(isID, i < 100)
	}
	f, _, _ = FPRAtTPR(score, isID, 0.95)
	near(t, "FPR95 of torch-uncertainty's test", f, .5, 0)
}

// DeLong's interval covers, and the paired test has its level: normal scores with a known area.
func TestDeLongSimulated(t *testing.T) {
	const shift, n, rounds = 1.0, 120, 1500
	truth := 0.76024993890652326884 // P(N(1,1) > N(0,1)) = Phi(1/sqrt 2)
	s := rng.New(21).Stream()
	cover, reject := 0, 0
	for range rounds {
		a, b, y := make([]float64, n), make([]float64, n), make([]bool, n)
		for i := range y {
			y[i] = i%2 == 0
			common := s.Norm()
			a[i], b[i] = (common+s.Norm())/math.Sqrt2, (common+s.Norm())/math.Sqrt2
			if y[i] {
				a[i] += shift
				b[i] += shift
			}
		}
		r, err := DeLong(a, b, y)
		if err != nil {
			t.Fatal(err)
		}
		if r.A.Interval(0.95).Contains(truth) {
			cover++
		}
		if r.P < 0.05 {
			reject++
		}
	}
	t.Logf("coverage %.3f, level of the paired test %.3f", float64(cover)/rounds, float64(reject)/rounds)
	near(t, "coverage", float64(cover)/rounds, 0.95, 0.025)
	near(t, "level", float64(reject)/rounds, 0.05, 0.02)
}

func TestQuantile(t *testing.T) {
	x := []float64{1, 2, 4, 8} // NumPy: quantile(.25) 1.75, (.5) 3, (.9) 6.8
	for p, want := range map[float64]float64{0: 1, .25: 1.75, .5: 3, .9: 6.8, 1: 8, -1: 1, 2: 8} {
		near(t, "quantile", Quantile(x, p), want, 1e-12)
	}
	long := make([]float64, 1000)
	for i := range long {
		long[i] = float64(i)
	}
	v, iv, err := Percentile(long, 0.99, 0.95)
	if err != nil || !iv.Contains(v) || iv.Low < 980 {
		t.Errorf("p99 of 1000: %v %+v %v", v, iv, err)
	}
	if _, _, err := Percentile(long[:999], 0.99, 0.95); err == nil {
		t.Error("p99 of 999 values was not refused")
	}
	if _, _, err := Percentile(long[:20], 0.5, 0.95); err != nil {
		t.Errorf("median of 20: %v", err)
	}
	if _, _, err := Percentile(nil, 0.5, 0.95); err == nil {
		t.Error("median of nothing was not refused")
	}
	// Coverage of the order-statistic interval of p95, exponential data.
	s := rng.New(8).Stream()
	cover := 0
	for range 1000 {
		for i := range long[:300] {
			long[i] = s.Exp()
		}
		_, iv, err := Percentile(sorted(long[:300]), 0.95, 0.9)
		if err != nil {
			t.Fatal(err)
		}
		if iv.Contains(-math.Log(0.05)) {
			cover++
		}
	}
	if cover < 880 || cover > 960 {
		t.Errorf("p95 interval at 0.9 covered %d of 1000", cover)
	}
}

func TestMultiple(t *testing.T) {
	p := []float64{0.01, 0.04, 0.03, 0.005} // R: p.adjust
	for i, want := range []float64{0.03, 0.06, 0.06, 0.02} {
		near(t, "Holm", Holm(p)[i], want, 1e-15)
	}
	for i, want := range []float64{0.02, 0.04, 0.04, 0.02} {
		near(t, "BH", BenjaminiHochberg(p)[i], want, 1e-15)
	}
	if len(Holm(nil)) != 0 || BenjaminiHochberg([]float64{0.7})[0] != 0.7 {
		t.Error("empty or single p-values")
	}
}
