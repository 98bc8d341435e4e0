package check

import (
	"encoding/json"
	"math"
	"testing"

	"muster/record"
	"muster/rng"
	"muster/stat"
)

// fixtureF is the shared fixture of eight predictions over three classes; the expected
// values were computed with scikit-learn 1.2.1 and by exact fractions.
var fixtureF = struct {
	p [][]float64
	y []int
}{
	[][]float64{{.7, .2, .1}, {.1, .8, .1}, {.2, .3, .5}, {.6, .3, .1}, {.34, .33, .33}, {.05, .05, .9}, {.45, .5, .05}, {1, 0, 0}},
	[]int{0, 1, 1, 0, 2, 2, 0, 1},
}

func classes(k int) []string { return []string{"a", "b", "c", "d", "e", "f"}[:k] }

// scored runs every metric over rows.
func scored(p [][]float64, y []int) map[string]record.Measurement {
	out := map[string]record.Measurement{}
	for _, m := range Metrics(classes(3)) {
		for i := range p {
			m.Add(p[i], y[i])
		}
		for _, r := range m.Result() {
			if r.Slice == "" {
				out[r.Name] = r
			}
		}
	}
	return out
}

func TestGoldenValues(t *testing.T) {
	got := scored(fixtureF.p, fixtureF.y)
	for name, want := range map[string]float64{
		"accuracy":        4.0 / 8,
		"brier":           8 * 0.560425 / 8, // mean over rows of the sum over classes
		"nll":             4.855741,         // clipped at 1e-15
		"calibration/ece": 0.4175,           // 15 bins, (low, high]
		"confusion":       4,
	} {
		m := got[name]
		if m.Value == nil || math.Abs(*m.Value-want) > 1e-6 {
			t.Errorf("%s: %v, want %g", name, m.Value, want)
		}
	}
}

// TestECEEdges uses the edge test that float64 edges get wrong: 0.6 belongs to (0.4, 0.6] of 5 bins,
// and here to (8/15, 9/15].
func TestECEEdges(t *testing.T) {
	for _, c := range []struct {
		conf float64
		bin  int
	}{{0, 0}, {1.0 / 15, 0}, {0.0667, 1}, {0.6, 8}, {0.2, 2}, {0.4, 5}, {0.8, 11}, {1, 14}, {0.9999999, 14}} {
		if b := binOf(c.conf); b != c.bin {
			t.Errorf("confidence %g is in bin %d, want %d", c.conf, b, c.bin)
		}
	}
}

// randomRows are n rows of probabilities with labels.
func randomRows(n int, seed uint64) ([][]float64, []int) {
	s := rng.New(seed).Stream()
	p, y := make([][]float64, n), make([]int, n)
	for i := range p {
		z := []float32{float32(s.Norm()), float32(s.Norm()), float32(s.Norm())}
		p[i], y[i] = Softmax(z, 0.5), s.Intn(3)
	}
	return p, y
}

// TestContract is what every metric promises: a reason instead of a number for no
// rows, something sensible for one row, the same bits for any order and any split.
func TestContract(t *testing.T) {
	p, y := randomRows(101, 7)
	perm := rng.New(9).Stream().Perm(len(p))
	for i, row := range metrics {
		t.Run(row.Name, func(t *testing.T) {
			whole, shuffled, one := row.New(classes(3)), row.New(classes(3)), row.New(classes(3))
			for _, r := range row.New(classes(3)).Result() {
				if r.Value != nil || r.Absent == "" {
					t.Errorf("no rows give %v without a reason", r.Value)
				}
			}
			one.Add(p[0], y[0])
			for _, r := range one.Result() {
				if r.Value != nil && (math.IsNaN(*r.Value) || math.IsInf(*r.Value, 0)) {
					t.Errorf("one row gives %v", *r.Value)
				}
			}
			parts := []Metric{row.New(classes(3)), row.New(classes(3)), row.New(classes(3))}
			for i := range p {
				whole.Add(p[i], y[i])
				shuffled.Add(p[perm[i]], y[perm[i]])
				parts[i*i%3].Add(p[i], y[i])
			}
			parts[2].Merge(parts[0])
			parts[2].Merge(parts[1])
			want := encode(t, whole)
			if got := encode(t, shuffled); got != want {
				t.Errorf("another order gives\n%s\nnot\n%s", got, want)
			}
			if got := encode(t, parts[2]); got != want {
				t.Errorf("split and merged gives\n%s\nnot\n%s", got, want)
			}
			for _, r := range whole.Result() {
				if r.Interval != nil && r.Value != nil && (*r.Value < r.Interval.Low || *r.Value > r.Interval.High) {
					t.Errorf("%s %g is outside its interval [%g, %g]", r.Name, *r.Value, r.Interval.Low, r.Interval.High)
				}
			}
		})
		if i > 0 && metrics[i-1].Name >= row.Name {
			t.Errorf("the table is not sorted at %s", row.Name)
		}
	}
}

func encode(t *testing.T, m Metric) string {
	t.Helper()
	b, err := json.Marshal(m.Result())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestTemperature checks that the fit finds the temperature that made the labels, and that no temperature moves an argmax.
func TestTemperature(t *testing.T) {
	s := rng.New(3).Stream()
	const n, true_ = 4000, 1.7
	z, y := make([][]float32, n), make([]int, n)
	for i := range z {
		z[i] = []float32{float32(3 * s.Norm()), float32(3 * s.Norm()), float32(3 * s.Norm())}
		u, acc := s.Float64(), 0.0
		for k, p := range Softmax(z[i], true_) {
			if acc += p; u < acc {
				y[i] = k
				break
			}
		}
	}
	fit := FitTemperature(func(temp float64) float64 {
		nll := 0.0
		for i := range z {
			nll -= math.Log(max(Softmax(z[i], temp)[y[i]], clip))
		}
		return nll
	})
	if math.Abs(fit-true_) > 0.12 {
		t.Errorf("fitted %g, the labels were drawn at %g", fit, true_)
	}
	for i := range z[:100] {
		if stat.ArgMax(Softmax(z[i], 1)) != stat.ArgMax(Softmax(z[i], fit)) {
			t.Errorf("the temperature moved the answer of row %d", i)
		}
	}
}
