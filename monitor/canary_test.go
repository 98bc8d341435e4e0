package monitor

import (
	"encoding/json"
	"math"
	"strings"
	"sync"
	"testing"

	"muster/fault"
	"muster/record"
	"muster/rng"
	"muster/stat"
)

// pairs simulates labelled pairs: only the baseline right with probability worse,
// only the candidate with probability better, both otherwise.
func pairs(s *rng.Stream, n int, worse, better float64) []Pair {
	out := make([]Pair, n)
	for i := range out {
		label := s.Intn(10)
		p := Pair{CandidateClass: label, BaselineClass: label, Label: &label}
		switch u := s.Float64(); {
		case u < worse:
			p.CandidateClass = (label + 1) % 10
		case u < worse+better:
			p.BaselineClass = (label + 1) % 10
		}
		out[i] = p
	}
	return out
}

// Through the state machine, with a look after every pair: healthy canaries are
// rolled back in at most 5 % of runs, equal ones are promoted, bad ones are neither
// served for long nor promoted.
func TestCanaryErrorRates(t *testing.T) {
	for _, c := range []struct {
		name          string
		worse, better float64
		rolled, ok    [2]float64 // admissible shares of runs
	}{
		{"equal, 6% discordant", .03, .03, [2]float64{0, .05}, [2]float64{.88, 1}},
		{"int8, 0.6% discordant", .003, .003, [2]float64{0, .05}, [2]float64{.95, 1}},
		{"two points worse", .04, .02, [2]float64{.75, 1}, [2]float64{0, .05}},
		{"ten points worse", .12, .02, [2]float64{1, 1}, [2]float64{0, 0}},
	} {
		rolled, promoted, n, rounds := 0, 0, 3000, 80
		if c.worse == c.better {
			rounds = 400 // the stated rates are those of harmless candidates
		}
		for r := range rounds {
			s := rng.New(41).Split(uint64(r)).Stream()
			st, err := Replay(CanaryConfig{}, pairs(s, n, c.worse, c.better))
			if err != nil {
				t.Fatal(err)
			}
			switch st.Stage {
			case RolledBack:
				rolled++
			case Promoted:
				promoted++
			}
		}
		a, b := float64(rolled)/float64(rounds), float64(promoted)/float64(rounds)
		iv := stat.ClopperPearson(rolled, rounds, 0.95)
		t.Logf("%-22s: rolled back %.1f%% [%.1f, %.1f], promoted %.1f%% of %d runs of %d pairs", c.name, 100*a, 100*iv.Low, 100*iv.High, 100*b, rounds, n)
		if a < c.rolled[0] || a > c.rolled[1] || b < c.ok[0] || b > c.ok[1] {
			t.Errorf("%s: rolled back %.3f, promoted %.3f", c.name, a, b)
		}
	}
}

func TestCanaryAgreement(t *testing.T) {
	cfg := CanaryConfig{Mode: Agreement}
	for _, c := range []struct {
		disagree float64
		want     Stage
	}{{0.01, Promoted}, {0.15, RolledBack}} {
		s := rng.New(42).Stream()
		var log []Pair
		for range 3000 {
			p := Pair{CandidateClass: 1, BaselineClass: 1}
			if s.Bernoulli(c.disagree) {
				p.CandidateClass = 2
			}
			log = append(log, p)
		}
		st, err := Replay(cfg, log)
		if err != nil || st.Stage != c.want {
			t.Errorf("disagreement %v: %s (%s), %v", c.disagree, st.Stage, st.Reason, err)
		}
	}
	// A candidate that fails to answer never agrees.
	var log []Pair
	for range 400 {
		log = append(log, Pair{CandidateClass: -1, BaselineClass: -1})
	}
	if st, _ := Replay(cfg, log); st.Stage != RolledBack {
		t.Errorf("a candidate that never answers is %s", st.Stage)
	}
}

// Little or unlabelled traffic is hold, and the stages come in order.
func TestCanaryHolds(t *testing.T) {
	c, err := NewCanary(CanaryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if d := c.Decision(); d.Action != Hold || d.Stage != Shadow {
		t.Errorf("no traffic: %+v", d)
	}
	for range 5000 {
		if d := c.Observe(Pair{CandidateClass: 1, BaselineClass: 2}); d.Action != Hold || d.Stage != Shadow {
			t.Fatalf("unlabelled traffic in labelled mode: %+v", d)
		}
	}
	var stages []Stage
	for _, p := range pairs(rng.New(3).Stream(), 3000, 0.001, 0.001) {
		d := c.Observe(p)
		if len(stages) == 0 || stages[len(stages)-1] != d.Stage {
			stages = append(stages, d.Stage)
		}
		if d.Pairs <= 30 && d.Action != Hold {
			t.Fatalf("decided after %d pairs", d.Pairs)
		}
	}
	if len(stages) != 3 || stages[0] != Shadow || stages[1] != Serving || stages[2] != Promoted {
		t.Errorf("stages %v", stages)
	}
	before := c.State()
	c.Observe(Pair{CandidateClass: 3, BaselineClass: 4})
	if after := c.State(); after != before {
		t.Error("a pair after the final decision changed the state")
	}
	limited, _ := Replay(CanaryConfig{ShadowPairs: 10, MinPairs: 20, MaxPairs: 50}, pairs(rng.New(3).Stream(), 100, 0.05, 0.05))
	if d := limited.Decision(); d.Action != Hold || d.Pairs != 50 || !strings.Contains(d.Reason, "a person must decide") {
		t.Errorf("at the most pairs: %+v", d)
	}
}

// A restart at any pair, through JSON, ends in the same bits as an unbroken run.
func TestCanaryRestart(t *testing.T) {
	log := pairs(rng.New(4).Stream(), 800, 0.06, 0.02)
	want, err := Replay(CanaryConfig{}, log)
	if err != nil || want.Stage != RolledBack {
		t.Fatal(want, err)
	}
	for _, cut := range []int{0, 1, 57, 199, 200, 201, 799} {
		s, _ := Replay(CanaryConfig{}, log[:cut])
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseCanary(b)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ResumeCanary(back)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range log[cut:] {
			c.Observe(p)
		}
		if c.State() != want {
			t.Errorf("cut at %d: %+v, want %+v", cut, c.State(), want)
		}
	}
}

// Counts alone carry the evidence: many goroutines in any order lose no pair.
func TestCanaryConcurrent(t *testing.T) {
	c, _ := NewCanary(CanaryConfig{ShadowPairs: 10000, MinPairs: 20000})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for _, p := range pairs(rng.New(9).Split(uint64(g)).Stream(), 200, 0.02, 0.02) {
				c.Observe(p)
				c.Decision()
			}
		})
	}
	wg.Wait()
	s := c.State()
	if s.Seen != 1600 || s.Outcome.N != 1600 || s.Valid() != nil {
		t.Errorf("%+v", s)
	}
}

func TestCanaryMeasurements(t *testing.T) {
	s, _ := NewCanaryState(CanaryConfig{})
	for _, m := range s.Measurements(nil) {
		if m.Value != nil || m.Absent == "" {
			t.Errorf("%s before any pair: %+v", m.Name, m)
		}
	}
	s, _ = Replay(CanaryConfig{}, pairs(rng.New(5).Stream(), 500, 0.03, 0.02))
	for _, m := range s.Measurements([]record.Subject{{Kind: "model"}}) {
		if m.Value == nil || m.Absent != "" || math.IsNaN(*m.Value) || m.N != 500 {
			t.Errorf("%+v", m)
		}
		if _, err := record.Canonical(m); err != nil {
			t.Error(err)
		}
	}
}

func TestCanaryConfigRefused(t *testing.T) {
	for _, c := range []CanaryConfig{
		{Mode: "guess"}, {Alpha: 0.6}, {Alpha: -1}, {Margin: 1}, {Margin: math.NaN()}, {Tolerance: 0.02}, {Tolerance: -0.1},
		{MaxDisagreement: 1.5}, {MaxPairs: 10}, {ShadowPairs: -1},
	} {
		if _, err := NewCanary(c); fault.ClassOf(err) != fault.Numeric {
			t.Errorf("%+v: error %v, want class numeric", c, err)
		}
	}
	if s, err := Replay(CanaryConfig{Tolerance: 0.01, Margin: 0.05}, pairs(rng.New(6).Stream(), 3000, 0.015, 0.01)); err != nil || s.Stage != Promoted {
		t.Errorf("half a point of loss with a tolerance of one: %s, %v", s.Stage, err)
	}
}

// FuzzParseCanary: any bytes are refused with a class, or give a state that goes on without panic.
func FuzzParseCanary(f *testing.F) {
	s, _ := Replay(CanaryConfig{}, pairs(rng.New(1).Stream(), 250, 0.03, 0.02))
	b, _ := json.Marshal(s)
	f.Add(b)
	f.Add([]byte(`{"version":1,"config":{"mode":"agreement","alpha":0.05,"margin":0.02,"max_disagreement":0.05,"max_pairs":10},"stage":"canary","seen":-1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := ParseCanary(in)
		if err != nil {
			if fault.ClassOf(err) == fault.Internal {
				t.Fatalf("error without a class: %v", err)
			}
			return
		}
		if s.Outcome.N > 1<<20 || s.Disagree.N > 1<<20 {
			return // valid, but slow to evaluate under the fuzzer
		}
		one := 1
		s = s.Next(Pair{CandidateClass: 1, BaselineClass: 2, Label: &one})
		d := s.Decision()
		if math.IsNaN(d.LogOK) || math.IsNaN(d.LogWorse) {
			t.Fatalf("%+v", d)
		}
		s.Measurements(nil)
	})
}
