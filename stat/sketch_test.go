package stat

import (
	"bytes"
	"encoding/json"
	"hash/fnv"
	"math"
	"testing"

	"muster/rng"
)

// wild returns numbers of all magnitudes and signs.
func wild(s *rng.Stream, n, spread int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = math.Ldexp(s.Norm(), s.Intn(2*spread+1)-spread)
	}
	return x
}

func TestSumExact(t *testing.T) {
	var s Sum
	for _, v := range []float64{1e308, 1e308, 3.5, -1e308, 5e-324, -1e308} {
		s.Add(v)
	}
	if s.Value() != 3.5 {
		t.Errorf("sum = %v, want 3.5", s.Value())
	}
	text, _ := s.MarshalText()
	s.Add(-3.5)
	if s.Value() != 5e-324 {
		t.Errorf("sum = %v, want the smallest subnormal (text before: %s)", s.Value(), text)
	}
	s.Add(-5e-324)
	if text, _ := s.MarshalText(); string(text) != "0" || s.Value() != 0 {
		t.Errorf("sum = %v, %s; want 0", s.Value(), text)
	}
	if s.Add(math.NaN()) || s.Add(math.Inf(-1)) || s.Value() != 0 {
		t.Error("a value that is not finite was added")
	}
	for v, want := range map[float64]string{1.5: "3p-1", -0.75: "-3p-2", 4096: "1p12", 0: "0"} {
		var one Sum
		one.Add(v)
		if text, _ := one.MarshalText(); string(text) != want || one.Value() != v {
			t.Errorf("%v is %s (%v), want %s", v, text, one.Value(), want)
		}
	}
	// A tenth is not a tenth: the exact sum of 10 x 0.1 rounds to 1, the running sum does not.
	var ten Sum
	for range 10 {
		ten.Add(0.1)
	}
	if ten.Value() != 1 {
		t.Errorf("10 x 0.1 = %v", ten.Value())
	}
}

func TestSumCarries(t *testing.T) {
	var s Sum
	s.pending = carryEvery - 3 // force carries in the middle
	for range 10 {
		s.Add(-math.MaxFloat64)
		s.Add(1)
	}
	s.carry()
	s.carry()
	for range 10 {
		s.Add(math.MaxFloat64)
	}
	if s.Value() != 10 {
		t.Errorf("sum = %v, want 10", s.Value())
	}
}

// Any order, any split, any nesting of merges, through JSON or not: the same bytes.
func TestMergeExact(t *testing.T) {
	s := rng.New(4).Stream()
	for _, spread := range []int{0, 10, 400} {
		x := wild(s, 500, spread)
		x[7], x[9], x[11] = math.NaN(), math.Inf(1), 0
		edges, err := QuantileEdges(append([]float64(nil), x[20:]...), 10)
		if err != nil {
			t.Fatal(err)
		}
		one, hist := accumulate(t, x, edges)
		want := text(t, one)
		wantHist := text(t, hist)
		for range 20 {
			s.Shuffle(len(x), func(i, j int) { x[i], x[j] = x[j], x[i] })
			var total Moments
			histTotal, _ := NewHist(edges)
			for at := 0; at < len(x); {
				n := min(len(x)-at, 1+s.Intn(200))
				part, h := accumulate(t, x[at:at+n], edges)
				var back Moments
				if err := json.Unmarshal([]byte(text(t, part)), &back); err != nil {
					t.Fatal(err)
				}
				total.Merge(&back)
				if err := histTotal.Merge(h); err != nil {
					t.Fatal(err)
				}
				at += n
			}
			if got := text(t, total); got != want {
				t.Fatalf("spread %d: merged moments differ:\n%s\n%s", spread, got, want)
			}
			if got := text(t, histTotal); got != wantHist {
				t.Fatalf("merged histogram differs:\n%s\n%s", got, wantHist)
			}
			if total.Mean() != one.Mean() || total.Variance() != one.Variance() {
				t.Fatal("merged results differ in bits")
			}
		}
	}
}

func accumulate(t *testing.T, x, edges []float64) (Moments, *Hist) {
	t.Helper()
	var m Moments
	h, err := NewHist(edges)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range x {
		m.Add(v)
		h.Add(v)
	}
	return m, h
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestMoments(t *testing.T) {
	var m Moments
	for _, v := range []float64{2, 4, 4, 4, 5, 5, 7, 9} {
		m.Add(v + 1e9) // the textbook formula in float64 loses everything here
	}
	if m.Mean() != 1e9+5 {
		t.Errorf("mean %v", m.Mean())
	}
	near(t, "variance", m.Variance(), 32./7, 1e-15)
	if m.Min != 1e9+2 || m.Max != 1e9+9 || m.N != 8 {
		t.Errorf("%+v", m)
	}
	var tenth Moments
	tenth.Add(0.1)
	tenth.Add(0.1)
	if tenth.Variance() != 0 {
		t.Errorf("variance of two equal values: %v", tenth.Variance())
	}
	tenth.Add(1e200)
	if tenth.Missing != 1 || tenth.N != 2 {
		t.Errorf("1e200: %+v", tenth)
	}
	if (&Moments{}).Mean() != 0 || (&Moments{}).Variance() != 0 {
		t.Error("empty moments")
	}
}

func TestHist(t *testing.T) {
	h, err := NewHist([]float64{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []float64{-1, 0, 0.5, 1, 2, math.Inf(1), math.Inf(-1), math.NaN()} {
		h.Add(v)
	}
	if h.Counts[0] != 2 || h.Counts[1] != 2 || h.Counts[2] != 3 || h.Missing != 1 || h.N() != 7 {
		t.Errorf("%+v", h)
	}
	for _, bad := range [][]float64{{1, 1}, {2, 1}, {math.NaN()}, {math.Inf(1)}} {
		if _, err := NewHist(bad); err == nil {
			t.Errorf("edges %v were accepted", bad)
		}
	}
	other, _ := NewHist([]float64{0, 2})
	if h.Merge(other) == nil {
		t.Error("merged histograms with different edges")
	}
	if e, _ := QuantileEdges([]float64{3, 3, 3}, 10); len(e) != 1 || e[0] != 3 {
		t.Errorf("edges of a constant: %v", e)
	}
	for _, bad := range [][]float64{nil, {math.NaN(), 1}, {1, math.Inf(1)}} {
		if _, err := QuantileEdges(bad, 4); err == nil {
			t.Errorf("QuantileEdges(%v) gave no error", bad)
		}
	}
}

// FuzzSumText: any text is refused or read back to the same canonical text and value.
func FuzzSumText(f *testing.F) {
	for _, s := range []string{"0", "3p-1", "-1p-1074", "fp99999999999", "1p-9999", "p", "-0p0", "+1p1", "1_0p0", "zz"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var a, b Sum
		if a.UnmarshalText(in) != nil {
			return
		}
		once, _ := a.MarshalText()
		if err := b.UnmarshalText(once); err != nil {
			t.Fatalf("%q became %q: %v", in, once, err)
		}
		twice, _ := b.MarshalText()
		if !bytes.Equal(once, twice) || a.Value() != b.Value() {
			t.Fatalf("%q, %q", once, twice)
		}
	})
}

// TestBits pins the bits of the statistics that enter verdicts: they must be the
// same on every architecture and GOAMD64 level.
func TestBits(t *testing.T) {
	h := fnv.New64a()
	put := func(vs ...float64) {
		for _, v := range vs {
			b := math.Float64bits(v)
			for i := range 8 {
				h.Write([]byte{byte(b >> (8 * i))})
			}
		}
	}
	s := rng.New(99).Stream()
	for range 60 {
		n := 50 + s.Intn(400)
		w, b := s.Intn(n/5), s.Intn(n/5)
		iv, cp := Wilson(w, n, 0.95), ClopperPearson(w, n, 0.95)
		_, tango := PairedDifference(w, b, n, 0.9)
		exact, mid := McNemar(w, b)
		e := PairE{N: n, Worse: w, Better: b}
		cs := e.Interval(0.95)
		put(iv.Low, iv.High, cp.Low, cp.High, tango.Low, tango.High, exact, mid, e.Value(), e.LogWithin(0.02), cs.Low, cs.High)
		put(BernoulliE{N: n, Hits: w}.LogAbove(0.05), BernoulliE{N: n, Hits: w}.LogBelow(0.05))
		x := wild(s, n, 3)
		mean, ti, _ := Mean(x, 0.95)
		d, p, _ := KS(x[:n/2], x[n/2:])
		auc, _ := AUROC(x, append(make([]bool, n-20), flags("11111111111111111111")...))
		put(mean, ti.Low, d, p, auc.Value, auc.Variance, Quantile(sorted(x), 0.37))
		psi, _ := PSI([]uint64{uint64(n), uint64(w), 9}, []uint64{uint64(n), uint64(b), 7}, 0.01)
		put(psi.Value, psi.Threshold, psi.P)
	}
	for _, c := range [][3]int{{3, 2, 360}, {40, 5, 360}, {1, 9, 100}} {
		r, _ := NonInferior(c[0], c[1], c[2], 0.02, 0.05)
		put(r.P, r.PWorse)
	}
	const want = 0xdbc5671f0c536cb3
	if got := h.Sum64(); got != want {
		t.Errorf("hash of the results = %#x, want %#x", got, uint64(want))
	}
}
