package monitor

import (
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"muster/fault"
	"muster/record"
	"muster/rng"
)

var ordinary = sync.OnceValue(func() *Reference {
	return digits().reference(&testing.T{}, span(700, 1060), 1)
})

// Any order and any split of the requests, through JSON, gives the same bytes and the same report.
func TestWindowMerge(t *testing.T) {
	f, r := digits(), ordinary()
	traffic := f.traffic(f.images[1060:1360])
	s := rng.New(8).Stream()
	whole := r.NewWindow()
	for _, x := range traffic {
		if err := whole.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	want := digest(t, whole)
	for range 5 {
		s.Shuffle(len(traffic), func(i, j int) { traffic[i], traffic[j] = traffic[j], traffic[i] })
		sum := r.NewWindow()
		for at := 0; at < len(traffic); {
			n := min(len(traffic)-at, 1+s.Intn(120))
			part := r.NewWindow()
			for _, x := range traffic[at : at+n] {
				part.Add(x)
			}
			b, err := json.Marshal(part)
			if err != nil {
				t.Fatal(err)
			}
			back, err := r.ParseWindow(b)
			if err != nil {
				t.Fatal(err)
			}
			if err := sum.Merge(back); err != nil {
				t.Fatal(err)
			}
			at += n
		}
		if got := digest(t, sum); got != want {
			t.Fatalf("merged window is %s, want %s", got, want)
		}
	}
	other := f.reference(t, span(700, 1061), 2)
	if err := whole.Merge(other.NewWindow()); fault.ClassOf(err) != fault.Mismatch {
		t.Errorf("windows of two references: %v", err)
	}
}

func digest(t *testing.T, w *Window) record.Digest {
	t.Helper()
	s, err := w.Subject()
	if err != nil {
		t.Fatal(err)
	}
	return s.Digest
}

// The same rows and seed give the same reference, and JSON keeps it.
func TestReferenceRoundTrip(t *testing.T) {
	f, r := digits(), ordinary()
	again := f.reference(t, span(700, 1060), 1)
	if again.Digest() != r.Digest() {
		t.Error("the same rows give another reference")
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseReference(b)
	if err != nil || back.Digest() != r.Digest() {
		t.Fatalf("round trip: %v", err)
	}
	t.Logf("a reference of 360 digits is %d bytes", len(b))
}

func TestReferenceRefused(t *testing.T) {
	x, p, y := make([][]float32, 120), make([][]float32, 120), make([]int, 120)
	for i := range x {
		x[i], p[i] = []float32{float32(i), 1, 2}, []float32{0.3, 0.7}
	}
	good := ReferenceConfig{Input: InputConfig{Width: 3}}
	if _, err := NewReference(good, x, p, y); err != nil {
		t.Fatalf("a plain vector: %v", err)
	}
	withNaN := append([][]float32{{1, 2, float32(math.NaN())}}, x[1:]...)
	badProb := append([][]float32{{2, -1}}, p[1:]...)
	for name, call := range map[string]func() (*Reference, error){
		"few rows": func() (*Reference, error) { return NewReference(good, x[:50], p[:50], y[:50]) },
		"lengths":  func() (*Reference, error) { return NewReference(good, x, p[:119], y) },
		"size": func() (*Reference, error) {
			return NewReference(ReferenceConfig{Input: InputConfig{Width: 4}}, x, p, y)
		},
		"shape": func() (*Reference, error) { return NewReference(ReferenceConfig{}, x, p, y) },
		"negative": func() (*Reference, error) {
			return NewReference(ReferenceConfig{Input: InputConfig{Width: -3}}, x, p, y)
		},
		"huge": func() (*Reference, error) {
			return NewReference(ReferenceConfig{Input: InputConfig{Channels: 3, Height: 1 << 20, Width: 1 << 20}}, x, p, y)
		},
		"NaN input": func() (*Reference, error) { return NewReference(good, withNaN, p, y) },
		"bad prob":  func() (*Reference, error) { return NewReference(good, x, badProb, y) },
		"rate": func() (*Reference, error) {
			return NewReference(ReferenceConfig{Input: InputConfig{Width: 3}, AlarmRate: 2}, x, p, y)
		},
		"no rows": func() (*Reference, error) { return NewReference(good, nil, nil, nil) },
	} {
		if r, err := call(); err == nil || r != nil || fault.ClassOf(err) == fault.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A vector reference finds a shifted coordinate and names it.
func TestVectorDrift(t *testing.T) {
	s := rng.New(12).Stream()
	draw := func(n int, shift float32) ([][]float32, [][]float32, []int) {
		x, p, y := make([][]float32, n), make([][]float32, n), make([]int, n)
		for i := range x {
			x[i] = []float32{float32(s.Norm()), float32(s.Norm())*5 + shift, float32(s.Exp())}
			c := float32(0.5 + s.Float64()/2)
			p[i] = []float32{c, 1 - c}
			if !s.Bernoulli(float64(c)) {
				y[i] = 1
			}
		}
		return x, p, y
	}
	x, p, y := draw(500, 0)
	r, err := NewReference(ReferenceConfig{Input: InputConfig{Width: 3}}, x, p, y)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		shift float32
		alarm bool
	}{{0, false}, {4, true}} {
		x, p, _ := draw(300, c.shift)
		w := r.NewWindow()
		for i := range x {
			if err := w.Add(Sample{Input: x[i], Probabilities: p[i]}); err != nil {
				t.Fatal(err)
			}
		}
		d := w.Drift()
		if d.Alarm() != c.alarm {
			t.Errorf("shift %v: score %.2f by %s", c.shift, d.Score, d.Top)
		}
		if c.alarm && (d.Scaled[1] <= 1 || d.Scaled[0] > 1 || d.Scaled[2] > 1) {
			t.Errorf("shift of x1: scores %v", d.Scaled[:3])
		}
	}
}

// Requests that cannot be measured are counted and change nothing else.
func TestWindowRefuses(t *testing.T) {
	r := ordinary()
	w := r.NewWindow()
	ok := make([]float32, 10)
	ok[0] = 1
	nan := make([]float32, 64)
	nan[5] = float32(math.NaN())
	for _, s := range []Sample{{}, {Input: make([]float32, 63), Probabilities: ok}, {Input: nan, Probabilities: ok}, {Input: make([]float32, 64), Probabilities: ok[:9]}, {Input: make([]float32, 64), Probabilities: nan[:10]}} {
		if err := w.Add(s); fault.ClassOf(err) != fault.Mismatch && fault.ClassOf(err) != fault.Numeric {
			t.Errorf("%v", err)
		}
	}
	if w.N != 0 || w.Refused != 5 {
		t.Errorf("%d counted, %d refused", w.N, w.Refused)
	}
	if d := w.Drift(); d.Alarm() || d.Absent == "" {
		t.Errorf("an empty window: %+v", d)
	}
	if e := w.Estimate(0.95); e.Absent == "" {
		t.Errorf("an empty window has the estimate %+v", e)
	}
}

// Over clean windows of 200 requests, none repeated, the interval contains the accuracy
// that the labels show at about its level.
func TestEstimateCoverage(t *testing.T) {
	f := digits()
	s := rng.New(15).Stream()
	cover, total, bias := 0, 0, 0.0
	for range 60 {
		held := span(700, 1797)
		s.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
		r := f.sketchOnly(t, held[:360])
		for b := range 3 {
			w, right := r.NewWindow(), 0
			for _, i := range held[360+200*b : 560+200*b] {
				x := Sample{Input: f.images[i], Probabilities: f.predict(f.images[i])}
				w.Add(x)
				if c, _, _ := answer(x.Probabilities, 10); c == f.labels[i] {
					right++
				}
			}
			e := w.Estimate(0.95)
			total++
			truth := float64(right) / 200
			bias += e.Value - truth
			if e.Interval.Contains(truth) {
				cover++
			}
		}
	}
	t.Logf("95%% interval covers %.3f of %d windows, mean error %+.4f", float64(cover)/float64(total), total, bias/float64(total))
	if float64(cover) < 0.9*float64(total) || math.Abs(bias/float64(total)) > 0.01 {
		t.Errorf("covers %d of %d, bias %v", cover, total, bias/float64(total))
	}
}

// Half of the traffic from outside the support takes the estimate away, with the reason.
func TestEstimateRefuses(t *testing.T) {
	f, r := digits(), ordinary()
	s := rng.New(16).Stream()
	noise := make([][]float32, 100)
	for i := range noise {
		noise[i] = make([]float32, 64)
		for k := range noise[i] {
			noise[i][k] = float32(s.Intn(2)) * 9
		}
	}
	e := window(t, r, f.traffic(noise), 100, s).Estimate(0.95)
	if e.Absent == "" || e.Outside < 0.99 {
		t.Errorf("noise far outside the range: %+v", e)
	}
	if e := window(t, r, f.traffic(f.images[1060:1420]), 200, s).Estimate(0.95); e.Absent != "" || e.Outside > 0.05 {
		t.Errorf("clean traffic: %+v", e)
	}
}

func TestJoin(t *testing.T) {
	j := NewJoin(JoinConfig{Capacity: 3, TTL: time.Minute, MaxID: 8})
	at := time.Unix(1000, 0)
	for i := range 5 {
		j.Predict(Pair{RequestID: fmt.Sprint(i), CandidateClass: i}, at)
	}
	j.Predict(Pair{RequestID: "4"}, at)
	j.Predict(Pair{RequestID: "far too long"}, at)
	j.Predict(Pair{}, at)
	if _, ok := j.Label("0", 0, at); ok {
		t.Error("a prediction beyond the capacity was kept")
	}
	if p, ok := j.Label("3", 7, at); !ok || p.CandidateClass != 3 || *p.Label != 7 {
		t.Errorf("%+v %v", p, ok)
	}
	if _, ok := j.Label("3", 7, at); ok {
		t.Error("a label counted twice")
	}
	if _, ok := j.Label("2", 7, at.Add(2*time.Minute)); ok {
		t.Error("an expired prediction was joined")
	}
	if got, want := j.Counts(), (JoinCounts{Waiting: 0, Matched: 1, Expired: 2, Dropped: 2, Unknown: 3, Duplicate: 1, Refused: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Memory stays bounded whatever the order of predictions and labels.
func TestJoinBounded(t *testing.T) {
	j := NewJoin(JoinConfig{Capacity: 100, TTL: time.Hour})
	s := rng.New(2).Stream()
	for i := range 20000 {
		at := time.Unix(int64(i), 0)
		j.Predict(Pair{RequestID: fmt.Sprint(i)}, at)
		j.Label(fmt.Sprint(i-s.Intn(3)), 1, at)
		if len(j.waiting) > 100 || len(j.order)-j.head > 201 || cap(j.order) > 8192 {
			t.Fatalf("after %d: %d waiting, %d queued, capacity %d", i, len(j.waiting), len(j.order)-j.head, cap(j.order))
		}
	}
	c := j.Counts()
	if c.Matched+c.Expired+c.Dropped+c.Waiting != 20000 {
		t.Errorf("%+v do not add up", c)
	}
}

// The whole path: clean windows are quiet, corrupted ones raise alarms, and only a
// policy that says so turns a lasting one into a rollback.
func TestWatch(t *testing.T) {
	f, r := digits(), ordinary()
	clean := f.traffic(f.images[1060:1460])
	bad := f.traffic(corrupt(t, f.images[1060:1460], "impulse-noise", 5, 3))
	cfg := WatchConfig{Size: 200, Alarm: AlarmConfig{AccuracyFloor: 0.9, Rollback: []Kind{DriftAlarm, LiveAlarm}, Persist: 2}}
	w, err := NewWatch(r, cfg, []record.Subject{{Kind: "model", Name: "m"}})
	if err != nil {
		t.Fatal(err)
	}
	var reports []*Report
	for round, traffic := range [][]Sample{clean, bad} {
		for i, s := range traffic {
			s.RequestID = fmt.Sprint(round, "/", i)
			s.Time = int64(round*1000+i) * int64(time.Second)
			if i%200 < 199 {
				rep, err := w.Observe(s)
				if err != nil || rep != nil {
					t.Fatal(rep, err)
				}
				if !w.Label(s.RequestID, f.labels[1060+i], time.Unix(0, s.Time)) {
					t.Fatal("a label found no request")
				}
				continue
			}
			rep, err := w.Observe(s)
			if err != nil || rep == nil {
				t.Fatal(rep, err)
			}
			reports = append(reports, rep)
		}
	}
	kinds := func(r *Report) (out []Kind) {
		for _, a := range r.Alarms {
			out = append(out, a.Kind)
		}
		return out
	}
	for i, rep := range reports {
		t.Logf("window %d: %v %s", i, kinds(rep), rep.Action)
		for _, m := range rep.Measurements {
			if (m.Value == nil) == (m.Absent == "") {
				t.Errorf("%s has value %v and reason %q", m.Name, m.Value, m.Absent)
			}
			if _, err := record.Canonical(m); err != nil {
				t.Error(err)
			}
		}
	}
	if len(reports) != 4 || len(reports[0].Alarms)+len(reports[1].Alarms) != 0 {
		t.Fatal("clean windows raised alarms")
	}
	if len(reports[2].Alarms) < 2 || reports[2].Action != Hold || reports[3].Action != Rollback {
		t.Error("corrupted windows: want alarms, then, as they persist, a rollback")
	}
	if rep, err := w.Flush(); err != nil || rep.N != 0 || len(rep.Alarms) != 0 {
		t.Errorf("an empty window: %+v, %v", rep, err)
	}
	if _, err := NewWatch(r, WatchConfig{Alarm: AlarmConfig{Rollback: []Kind{"whim"}}}, nil); err == nil {
		t.Error("an unknown kind of alarm was accepted")
	}
	if (AlarmConfig{}).Act(Alarm{Kind: DriftAlarm, Windows: 9}) != Hold {
		t.Error("the default policy rolls back")
	}
}

func TestWatchConcurrent(t *testing.T) {
	f, r := digits(), ordinary()
	traffic := f.traffic(f.images[1060:1260])
	w, _ := NewWatch(r, WatchConfig{Size: 100}, nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	closed := 0
	for g := range 4 {
		wg.Go(func() {
			for i, s := range traffic {
				s.RequestID = fmt.Sprint(g, "/", i)
				rep, err := w.Observe(s)
				if err != nil {
					t.Error(err)
				}
				if rep != nil {
					mu.Lock()
					closed++
					mu.Unlock()
				}
				w.Label(s.RequestID, 1, time.Unix(0, s.Time))
			}
		})
	}
	wg.Wait()
	if c := w.Counts(); closed != 8 || c.Matched != 800 {
		t.Errorf("%d windows, %+v", closed, c)
	}
}

// Larger images are averaged into cells; channels stay apart.
func TestCells(t *testing.T) {
	c := InputConfig{Channels: 2, Height: 28, Width: 20, High: 1}
	x := make([]float32, 2*28*20)
	for i := range x[28*20:] {
		x[28*20+i] = 1
	}
	out := make([]float64, c.cells())
	c.localMeans(x, out)
	for i, v := range out {
		if want := float64(i / 64); v != want {
			t.Fatalf("cell %d of %d is %v, want %v", i, len(out), v, want)
		}
	}
	f := make([]float64, len(c.featureNames()))
	c.features(x, f)
	if f[0] != 0.5 || f[1] != 0.5 || f[2] != 0 || f[3] != 0 || f[4] != 0.5 || f[5] != 0.5 {
		t.Errorf("features %v", f)
	}
}

// FuzzParseReference and FuzzParseWindow: any bytes are refused with a class, or work.
func FuzzParseReference(f *testing.F) {
	x, p, y := make([][]float32, 100), make([][]float32, 100), make([]int, 100)
	for i := range x {
		x[i], p[i] = []float32{float32(i % 7)}, []float32{float32(i%5) / 10, 1 - float32(i%5)/10}
	}
	r, err := NewReference(ReferenceConfig{Input: InputConfig{Width: 1}}, x, p, y)
	if err != nil {
		f.Fatal(err)
	}
	r.Null = r.Null[:2] // shorter seeds fuzz better
	b, _ := json.Marshal(r)
	f.Add(b)
	f.Add([]byte(`{"version":1,"config":{"input":{"channels":3,"height":4194304,"width":4194304}}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := ParseReference(in)
		if err != nil {
			if fault.ClassOf(err) == fault.Internal {
				t.Fatalf("error without a class: %v", err)
			}
			return
		}
		if r.Config.Input.size() > 1<<16 {
			return
		}
		w := r.NewWindow()
		p := make([]float32, r.Classes)
		p[0] = 1
		for range MinWindow {
			if err := w.Add(Sample{Input: make([]float32, r.Config.Input.size()), Probabilities: p}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Judge(w, Live{}, AlarmConfig{AccuracyFloor: 0.5}, nil, nil); err != nil && fault.ClassOf(err) == fault.Internal {
			t.Fatal(err)
		}
	})
}

func FuzzParseWindow(f *testing.F) {
	x, p, y := make([][]float32, 100), make([][]float32, 100), make([]int, 100)
	for i := range x {
		x[i], p[i] = []float32{float32(i % 7)}, []float32{float32(i%5) / 10, 1 - float32(i%5)/10}
	}
	r, err := NewReference(ReferenceConfig{Input: InputConfig{Width: 1}}, x, p, y)
	if err != nil {
		f.Fatal(err)
	}
	w := r.NewWindow()
	for i := range x[:30] {
		w.Add(Sample{Input: x[i], Probabilities: p[i]})
	}
	b, _ := json.Marshal(w)
	f.Add(b)
	f.Add([]byte(`{"n":1e30}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		w, err := r.ParseWindow(in)
		if err != nil {
			if fault.ClassOf(err) == fault.Internal {
				t.Fatalf("error without a class: %v", err)
			}
			return
		}
		if err := w.Merge(w); err != nil {
			t.Fatal(err)
		}
		if _, err := Judge(w, Live{N: 3, Right: 2}, AlarmConfig{AccuracyFloor: 0.5}, nil, nil); err != nil && fault.ClassOf(err) == fault.Internal {
			t.Fatal(err)
		}
	})
}

func BenchmarkNewReference(b *testing.B) {
	f := digits()
	for b.Loop() {
		f.reference(b, span(700, 1060), 1)
	}
}

func BenchmarkWindowAdd(b *testing.B) {
	f, r := digits(), ordinary()
	w, s := r.NewWindow(), f.traffic(f.images[:1])[0]
	for b.Loop() {
		w.Add(s)
	}
}

func BenchmarkDrift(b *testing.B) {
	f, r := digits(), ordinary()
	w := window(b, r, f.traffic(f.images[1060:1420]), 200, rng.New(1).Stream())
	for b.Loop() {
		w.Drift()
	}
}

// TestWindowNowHasADigest uses today's time: nanoseconds beyond 2^53, which canonical JSON takes as text only.
func TestWindowNowHasADigest(t *testing.T) {
	w := &Window{First: 1_795_500_000_000_000_001, Last: 1_795_500_000_000_000_003}
	if _, err := w.Subject(); err != nil {
		t.Fatal(err)
	}
}
