package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"muster/fault"
	"muster/record"
	"muster/rng"
)

func TestKindsAreComplete(t *testing.T) {
	names := kindNames()
	if !slices.IsSorted(names) {
		t.Errorf("the table of kinds is not sorted: %v", names)
	}
	for _, n := range names {
		src, err := os.ReadFile(n + ".go")
		if err != nil || !bytes.Contains(src, []byte("var "+n+"Kind = ")) {
			t.Errorf("the kind %q has no file %s.go that defines it: %v", n, n, err)
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(f, ".go")
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(src, []byte("var "+name+"Kind = ")) && !slices.Contains(names, name) {
			t.Errorf("%s is not in the table of kinds", f)
		}
	}
}

func TestDefault(t *testing.T) {
	p := Default()
	if p != Default() {
		t.Error("the default is parsed twice")
	}
	if p.Subject().Kind != "policy" || p.Subject().Digest != record.DigestBytes(p.Source()) {
		t.Errorf("subject %v does not name the source", p.Subject())
	}
	p.Source()[0] = 'x'
	if p.Source()[0] == 'x' {
		t.Error("Source hands out the policy's own bytes")
	}
	want := Canary{Alpha: 0.05, MinPairs: 200, ShadowPairs: 200, MaxPairs: 5000, OnAlarm: Rollback}
	if p.Canary != want {
		t.Errorf("canary %+v", p.Canary)
	}
	if want := (Monitor{DriftAlarmRate: 0.01, Window: 200}); p.Monitor != want {
		t.Errorf("monitor %+v", p.Monitor)
	}
	q, err := Parse("p", []byte("version: 1\nname: x\nrules: [{name: a, kind: present, measurement: nll}]"))
	if err != nil || q.Canary != defaultCanary || q.Monitor != defaultMonitor || q.Canary.OnAlarm != Notify || q.Confidence != 0.95 {
		t.Errorf("without sections: %+v, %v", q, err)
	}
}

// evidenceOf reads the policy and one named evidence of a truth table.
func evidenceOf(t testing.TB, file, name string) (*Policy, Evidence) {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", "decide", file))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Parse(file, a.Files[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Files {
		if f.Name == "evidence "+name {
			return p, parseEvidence(t, string(f.Data))
		}
	}
	t.Fatalf("no evidence %q in %s", name, file)
	return nil, Evidence{}
}

// The verdict's bytes depend on the set of measurements only: not on their
// order, not on exact repeats, not on whether they came from memory or a file.
func TestDecideIsDeterministic(t *testing.T) {
	p, ev := evidenceOf(t, "default.txtar", "int8 with two flips")
	want, err := record.Canonical(p.Decide(ev))
	if err != nil {
		t.Fatal(err)
	}
	s := rng.New(7).Stream()
	var wg sync.WaitGroup
	for range 50 {
		ms := append(slices.Clone(ev.Measurements), ev.Measurements[s.Intn(len(ev.Measurements))])
		s.Shuffle(len(ms), func(i, j int) { ms[i], ms[j] = ms[j], ms[i] })
		wg.Go(func() {
			got, err := record.Canonical(p.Decide(Evidence{ev.Candidate, ev.Baseline, ms}))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("another order, another verdict: %s, %v", got, err)
			}
		})
	}
	wg.Wait()
	var v record.Verdict
	if err := json.Unmarshal(want, &v); err != nil {
		t.Fatal(err)
	}
	var ms []record.Measurement
	b, err := json.Marshal(ev.Measurements)
	if err == nil {
		err = json.Unmarshal(b, &ms)
	}
	if err != nil {
		t.Fatal(err)
	}
	got, _ := record.Canonical(p.Decide(Evidence{ev.Candidate, ev.Baseline, ms}))
	again, _ := record.Canonical(v)
	if !bytes.Equal(got, want) || !bytes.Equal(again, want) {
		t.Error("a verdict from files differs from one from memory")
	}
}

// Adding evidence that is worse can never make a verdict better.
func TestWorseEvidenceNeverHelps(t *testing.T) {
	p, ev := evidenceOf(t, "bound.txtar", "inside")
	for _, low := range []float64{0.97, 0.95, 0.94, 0.5} {
		more := ev
		m := ev.Measurements[0]
		m.Subjects = []record.Subject{candidate, fashion}
		m.Interval = &record.Interval{Low: low, High: low + 0.02, Level: 0.95, Method: "wilson"}
		more.Measurements = append(slices.Clone(ev.Measurements), m)
		before, after := p.Decide(ev).Outcome, p.Decide(more).Outcome
		if severity[after] < severity[before] {
			t.Errorf("low %v: %s became %s", low, before, after)
		}
	}
}

func TestUnusableSubjects(t *testing.T) {
	p, ev := evidenceOf(t, "bound.txtar", "inside")
	ev.Candidate.Digest = "sha256:short"
	if v := p.Decide(ev); v.Outcome != record.Unsure || len(v.Refused) == 0 || len(v.Rules) != 0 {
		t.Errorf("a candidate without a digest: %+v", v)
	}
	_, ev = evidenceOf(t, "bound.txtar", "inside")
	ev.Baseline = &record.Subject{Kind: "model", Name: "b"}
	if v := p.Decide(ev); v.Outcome != record.Unsure || len(v.Refused) == 0 {
		t.Errorf("a baseline without a digest: %+v", v)
	}
	_, ev = evidenceOf(t, "bound.txtar", "inside")
	ev.Measurements[0].Settings = map[string]any{"f": func() {}}
	if v := p.Decide(ev); v.Outcome != record.Unsure || len(v.Refused) == 0 {
		t.Errorf("a measurement that is no record: %+v", v)
	}
}

func TestExprCostIsLimited(t *testing.T) {
	list := `["a","b","c","d","e","f","g","h","i","j"]`
	src := "version: 1\nname: x\nrules:\n  - name: a\n    kind: expr\n    expr: '" +
		list + ".all(a, " + list + ".all(b, " + list + ".all(c, " + list + ".all(d, " + list + ".all(e, a + b + c + d + e != \"\")))))'\n"
	p, err := Parse("p", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	v := p.Decide(Evidence{Candidate: candidate})
	if v.Outcome != record.Unsure || !strings.Contains(v.Rules[0].Reason, "cost limit") {
		t.Errorf("%s: %s", v.Outcome, v.Rules[0].Reason)
	}
}

func TestTooLarge(t *testing.T) {
	_, err := Parse("p", bytes.Repeat([]byte("# fill\n"), 20_000))
	if fault.ClassOf(err) != fault.Exhausted {
		t.Errorf("%v", err)
	}
	var b strings.Builder
	b.WriteString("version: 1\nname: x\nrules:\n")
	for range maxRules + 1 {
		b.WriteString("- {name: a, kind: present, measurement: nll}\n")
	}
	if _, err := Parse("p", []byte(b.String())); fault.ClassOf(err) != fault.Exhausted {
		t.Errorf("%v", err)
	}
}

// At a true loss equal to the margin the rule may pass with probability alpha at
// most; well inside the margin it must pass most of the time. 360 rows, alpha 5 %.
func TestNoninferiorErrorRate(t *testing.T) {
	p, err := Parse("p", []byte("version: 1\nname: x\nrules: [{name: a, kind: noninferior, measurement: compare/accuracy_diff, margin: 0.02, alpha: 0.05}]"))
	if err != nil {
		t.Fatal(err)
	}
	const n, runs = 360, 400
	s := rng.New(20261124).Stream()
	for _, c := range []struct {
		worse, better       float64 // probabilities of the two discordant cells
		passAtMost, atLeast float64
	}{
		{0.02, 0, 0.05, 0},      // at the margin, one-sided flips
		{0.03, 0.01, 0.05, 0},   // at the margin, flips both ways
		{0.06, 0.02, 0.01, 0},   // beyond it
		{0.003, 0.003, 1, 0.85}, // equal models that seldom differ
	} {
		passed, failed := 0, 0
		cache := map[[2]int]record.Outcome{} // many simulated tables repeat
		for range runs {
			w, b := 0, 0
			for range n {
				switch u := s.Float64(); {
				case u < c.worse:
					w++
				case u < c.worse+c.better:
					b++
				}
			}
			out, ok := cache[[2]int{w, b}]
			if !ok {
				d, _ := json.Marshal(pairs{N: n, BothRight: n - w - b, OnlyCandidate: b, OnlyBaseline: w})
				bl := baseline
				out = p.Decide(Evidence{candidate, &bl, []record.Measurement{{
					Name: "compare/accuracy_diff", Subjects: []record.Subject{candidate, baseline}, Role: "test", N: n,
					Value: record.Val(float64(b-w) / n), Detail: d}}}).Outcome
				cache[[2]int{w, b}] = out
			}
			switch out {
			case record.Pass:
				passed++
			case record.Fail:
				failed++
			}
		}
		rate := float64(passed) / runs
		t.Logf("worse %v better %v: passed %.3f, failed %.3f of %d", c.worse, c.better, rate, float64(failed)/runs, runs)
		// three standard errors of the simulation above the promise
		if rate > c.passAtMost+3*0.011 || rate < c.atLeast {
			t.Errorf("worse %v better %v: passed %.3f, must lie in [%v, %v]", c.worse, c.better, rate, c.atLeast, c.passAtMost)
		}
	}
}

func TestNearest(t *testing.T) {
	for _, c := range [][2]string{{"measurment", "measurement"}, {"nmae", "name"}, {"kind", "kind"}, {"zzz", ""}, {"margn", "margin"}, {strings.Repeat("x", 100), ""}} {
		if got := nearest(c[0], []string{"kind", "margin", "measurement", "name"}); got != c[1] {
			t.Errorf("nearest(%q) = %q, want %q", c[0], got, c[1])
		}
	}
	for _, c := range []struct {
		a, b string
		d    int
	}{{"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"ab", "ba", 1}, {"flaw", "lawn", 2}, {"same", "same", 0}} {
		if got := editDistance(c.a, c.b); got != c.d {
			t.Errorf("editDistance(%q, %q) = %d, want %d", c.a, c.b, got, c.d)
		}
	}
}

// Whatever the bytes: no panic, and either a policy that decides or a fault with a class.
func FuzzParse(f *testing.F) {
	f.Add(defaultYAML)
	for _, dir := range []string{"load", "decide"} {
		files, _ := filepath.Glob(filepath.Join("testdata", dir, "*.txtar"))
		for _, file := range files {
			a, err := txtar.ParseFile(file)
			if err != nil {
				f.Fatal(err)
			}
			for _, s := range a.Files {
				if strings.HasPrefix(s.Name, "policy") {
					f.Add(s.Data)
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse("fuzz.yaml", b)
		if err != nil {
			var e *fault.Error
			if !errors.As(err, &e) || e.Class == fault.Internal || p != nil {
				t.Fatalf("%v, %T", err, err)
			}
			return
		}
		if len(p.rules) == 0 || p.Name == "" {
			t.Fatalf("a policy without rules or name: %+v", p)
		}
		v := p.Decide(Evidence{Candidate: candidate})
		if _, err := record.Canonical(v); err != nil || len(v.Rules) != len(p.rules) {
			t.Fatalf("%+v, %v", v, err)
		}
	})
}
