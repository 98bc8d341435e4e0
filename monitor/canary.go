// Package monitor watches live traffic with the measures that evaluated the model
// and decides with stated error rates.
//
// Data flows in one direction: a Canary compares a candidate with the model in
// service on the same requests and answers hold, promote or roll back. Afterwards a
// Watch fills Windows of live requests, compares each with the Reference that was
// built at release time, estimates accuracy without labels, joins late labels, and
// raises Alarms. Everything is counts and exact sums: windows merge in any order to
// the same bits, states are JSON, and a decision is computed again from a log.
package monitor

import (
	"encoding/json"
	"fmt"
	"math"
	"sync"

	"muster/fault"
	"muster/record"
	"muster/stat"
)

// Mode is what a canary compares.
type Mode string

// The modes of a canary.
const (
	Labelled  Mode = "labelled"  // right and wrong, on the pairs whose label is known
	Agreement Mode = "agreement" // whether both models give the same class; needs no labels
)

// CanaryConfig sets the error rates of a canary. The zero value is ready to use.
type CanaryConfig struct {
	Mode Mode `json:"mode"` // default Labelled
	// Alpha bounds, each on its own and over unlimited looks, the probability of
	// rolling back a candidate within Tolerance and of promoting one beyond Margin. Default 0.05.
	Alpha     float64 `json:"alpha"`
	Margin    float64 `json:"margin"`    // loss of accuracy that must be excluded for promotion; default 0.02
	Tolerance float64 `json:"tolerance"` // loss that is no reason to roll back; default 0: any proven loss is one
	// MaxDisagreement is the share of changed answers, in Agreement mode, above which
	// a candidate is rolled back and below which it is promoted. Default 0.05.
	MaxDisagreement float64 `json:"max_disagreement"`
	ShadowPairs     int     `json:"shadow_pairs"` // pairs before the candidate serves anybody; default 200
	MinPairs        int     `json:"min_pairs"`    // pairs before promotion; default 300
	MaxPairs        int     `json:"max_pairs"`    // pairs after which a person must decide; default 1,000,000
}

// Default returns c with zero fields replaced by their defaults.
func (c CanaryConfig) Default() CanaryConfig {
	set := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	setInt := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if c.Mode == "" {
		c.Mode = Labelled
	}
	set(&c.Alpha, 0.05)
	set(&c.Margin, 0.02)
	set(&c.MaxDisagreement, 0.05)
	setInt(&c.ShadowPairs, 200)
	setInt(&c.MinPairs, 300)
	setInt(&c.MaxPairs, 1000000)
	return c
}

// Valid reports what is wrong with a config after defaults.
func (c CanaryConfig) Valid() error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Numeric, "canary", "monitor: "+format, args...)
	}
	switch {
	case c.Mode != Labelled && c.Mode != Agreement:
		return bad("mode %q is neither %q nor %q", c.Mode, Labelled, Agreement)
	case !(c.Alpha > 0 && c.Alpha < 0.5):
		return bad("alpha %v must lie in (0, 0.5)", c.Alpha)
	case !(c.Margin > 0 && c.Margin < 1):
		return bad("margin %v must lie in (0, 1)", c.Margin)
	case !(c.Tolerance >= 0 && c.Tolerance < c.Margin):
		return bad("tolerance %v must be at least 0 and below the margin %v", c.Tolerance, c.Margin)
	case !(c.MaxDisagreement > 0 && c.MaxDisagreement < 1):
		return bad("max_disagreement %v must lie in (0, 1)", c.MaxDisagreement)
	case c.ShadowPairs < 0 || c.MinPairs < 0 || c.MaxPairs < 1 || c.MaxPairs > 1<<30 || c.MaxPairs < max(c.ShadowPairs, c.MinPairs):
		return bad("pairs: shadow %d, min %d, max %d do not fit together", c.ShadowPairs, c.MinPairs, c.MaxPairs)
	}
	return nil
}

// Stage is where a candidate stands.
type Stage string

// The stages, in order; the last two are final.
const (
	Shadow     Stage = "shadow"      // answers are compared, nobody sees the candidate's
	Serving    Stage = "canary"      // the candidate answers a share of the traffic
	Promoted   Stage = "promoted"    // the candidate replaces the baseline
	RolledBack Stage = "rolled back" // the baseline stays
)

// Pair is the outcome of both models on one request. Log pairs to replay a decision.
type Pair struct {
	RequestID      string `json:"id"`
	CandidateClass int    `json:"candidate"` // -1: the candidate failed to answer, which counts as wrong and as disagreement
	BaselineClass  int    `json:"baseline"`
	Label          *int   `json:"label,omitempty"`
}

// CanaryState is all that a canary knows. It is plain data: store it as JSON after
// each pair or batch, and go on from it after a restart.
type CanaryState struct {
	Version   int             `json:"version"`
	Config    CanaryConfig    `json:"config"`
	Stage     Stage           `json:"stage"`
	Reason    string          `json:"reason"`    // why the stage was entered
	Seen      int             `json:"seen"`      // pairs offered
	Unlabeled int             `json:"unlabeled"` // pairs without a label
	Outcome   stat.PairE      `json:"outcome"`   // labelled pairs
	Disagree  stat.BernoulliE `json:"disagree"`  // all pairs; a hit is a different answer
	DecidedAt int             `json:"decided_at,omitempty"`
}

// NewCanaryState returns the state before the first pair.
func NewCanaryState(c CanaryConfig) (CanaryState, error) {
	c = c.Default()
	return CanaryState{Version: 1, Config: c, Stage: Shadow, Reason: "started"}, c.Valid()
}

// Next returns the state after one more pair. It is pure: the same pairs in the
// same order give the same states, and a final stage never changes.
func (s CanaryState) Next(p Pair) CanaryState {
	if s.final() || s.evidence() >= s.Config.MaxPairs {
		return s
	}
	s.Seen++
	s.Disagree.Observe(p.CandidateClass != p.BaselineClass || p.CandidateClass < 0)
	if p.Label == nil {
		s.Unlabeled++
	} else {
		s.Outcome.Observe(p.CandidateClass == *p.Label && p.CandidateClass >= 0, p.BaselineClass == *p.Label && p.BaselineClass >= 0)
	}
	if p.Label == nil && s.Config.Mode == Labelled {
		return s
	}
	return s.advance()
}

// advance moves to the stage that the evidence calls for.
func (s CanaryState) advance() CanaryState {
	need, n := stat.Threshold(s.Config.Alpha), s.evidence()
	switch worse := s.logWorse(); {
	case worse >= need:
		s.Stage, s.DecidedAt = RolledBack, n
		s.Reason = fmt.Sprintf("%s refuted: e-value %.3g after %d pairs, limit %.3g", s.claim(), math.Exp(math.Min(worse, 700)), n, 1/s.Config.Alpha)
	case s.Stage == Shadow && n >= s.Config.ShadowPairs:
		s.Stage = Serving
		s.Reason = fmt.Sprintf("no evidence of loss in %d shadow pairs", n)
	case s.Stage == Serving && n >= s.Config.MinPairs:
		if within := s.logWithin(); within >= need {
			s.Stage, s.DecidedAt = Promoted, n
			s.Reason = fmt.Sprintf("%s excluded: e-value %.3g after %d pairs, limit %.3g", s.danger(), math.Exp(math.Min(within, 700)), n, 1/s.Config.Alpha)
		}
	}
	return s
}

func (s CanaryState) final() bool { return s.Stage == Promoted || s.Stage == RolledBack }

// evidence returns the number of pairs that count in the mode.
func (s CanaryState) evidence() int {
	if s.Config.Mode == Agreement {
		return s.Disagree.N
	}
	return s.Outcome.N
}

// Evidence returns the log e-values against "the candidate is good enough" (large:
// roll back) and against "the candidate is too bad" (large: promote).
func (s CanaryState) Evidence() (worse, within float64) { return s.logWorse(), s.logWithin() }

func (s CanaryState) logWorse() float64 {
	switch {
	case s.Config.Mode == Agreement:
		return s.Disagree.LogAbove(s.Config.MaxDisagreement)
	case s.Config.Tolerance == 0:
		return s.Outcome.Value()
	}
	return s.Outcome.LogBeyond(s.Config.Tolerance)
}

func (s CanaryState) logWithin() float64 {
	if s.Config.Mode == Agreement {
		return s.Disagree.LogBelow(s.Config.MaxDisagreement)
	}
	return s.Outcome.LogWithin(s.Config.Margin)
}

func (s CanaryState) claim() string {
	switch {
	case s.Config.Mode == Agreement:
		return fmt.Sprintf("at most %.3g disagreement", s.Config.MaxDisagreement)
	case s.Config.Tolerance == 0:
		return "not worse than the baseline"
	}
	return fmt.Sprintf("at most %.3g loss of accuracy", s.Config.Tolerance)
}

func (s CanaryState) danger() string {
	if s.Config.Mode == Agreement {
		return fmt.Sprintf("%.3g or more disagreement", s.Config.MaxDisagreement)
	}
	return fmt.Sprintf("a loss of accuracy of %.3g or more", s.Config.Margin)
}

// Valid reports an error for a state that cannot be, for instance one read from a damaged file.
func (s CanaryState) Valid() error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Malformed, "canary state", "monitor: "+format, args...)
	}
	if err := s.Config.Valid(); err != nil {
		return fault.At("canary state", err)
	}
	o, d := s.Outcome, s.Disagree
	switch {
	case s.Version != 1:
		return fault.New(fault.Unsupported, "canary state", "monitor: version %d is unknown", s.Version)
	case s.Stage != Shadow && s.Stage != Serving && !s.final():
		return bad("stage %q is unknown", s.Stage)
	case o.N < 0 || o.Worse < 0 || o.Better < 0 || o.Worse > o.N || o.Better > o.N-o.Worse:
		return bad("%d worse and %d better of %d pairs", o.Worse, o.Better, o.N)
	case d.N < 0 || d.Hits < 0 || d.Hits > d.N || d.N != s.Seen || s.Unlabeled != s.Seen-o.N || int64(s.Seen) > 1<<40 || s.Unlabeled < 0:
		return bad("%d pairs, %d unlabelled, %d labelled, %d disagreements of %d", s.Seen, s.Unlabeled, o.N, d.Hits, d.N)
	}
	return nil
}

// ParseCanary reads a stored state.
func ParseCanary(b []byte) (CanaryState, error) {
	var s CanaryState
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fault.New(fault.Malformed, "canary state", "monitor: %w", err)
	}
	return s, s.Valid()
}

// Replay derives the final state from a log of pairs.
func Replay(c CanaryConfig, pairs []Pair) (CanaryState, error) {
	s, err := NewCanaryState(c)
	for i := 0; err == nil && i < len(pairs); i++ {
		s = s.Next(pairs[i])
	}
	return s, err
}

// Action is what a decision asks for.
type Action string

// The actions.
const (
	Hold     Action = "hold" // go on as before: not enough evidence, or all is well
	Promote  Action = "promote"
	Rollback Action = "rollback"
)

// Decision is the answer of a canary with what it rests on.
type Decision struct {
	Action   Action  `json:"action"`
	Stage    Stage   `json:"stage"`
	Reason   string  `json:"reason"`
	Pairs    int     `json:"pairs"`      // pairs that count in the mode
	LogWorse float64 `json:"log_worse"`  // log e-value for rolling back
	LogOK    float64 `json:"log_within"` // log e-value for promoting
	Need     float64 `json:"log_need"`   // what either must reach: log(1/alpha)
}

// Decision returns what to do now. Too little traffic is hold.
func (s CanaryState) Decision() Decision {
	d := Decision{Action: Hold, Stage: s.Stage, Reason: s.Reason, Pairs: s.evidence(), Need: stat.Threshold(s.Config.Alpha)}
	d.LogWorse, d.LogOK = s.Evidence()
	switch {
	case s.Stage == Promoted:
		d.Action = Promote
	case s.Stage == RolledBack:
		d.Action = Rollback
	case d.Pairs >= s.Config.MaxPairs:
		d.Reason = fmt.Sprintf("not enough evidence after %d pairs, the most allowed; a person must decide", d.Pairs)
	default:
		d.Reason = fmt.Sprintf("not enough evidence yet: %d pairs, %d worse, %d better, %d different answers", d.Pairs, s.Outcome.Worse, s.Outcome.Better, s.Disagree.Hits)
	}
	return d
}

// Measurements returns the canary's numbers: the difference of accuracy with its
// confidence sequence, the disagreement, and both e-values (as natural logarithms).
func (s CanaryState) Measurements(subjects []record.Subject) []record.Measurement {
	settings := map[string]any{"mode": string(s.Config.Mode), "alpha": s.Config.Alpha, "margin": s.Config.Margin, "tolerance": s.Config.Tolerance, "max_disagreement": s.Config.MaxDisagreement}
	blank := func(name string, dir record.Direction, n int) record.Measurement {
		return record.Measurement{Name: name, Check: "canary", Version: 1, Subjects: subjects, Direction: dir, N: n, Settings: settings, Absent: "no pairs yet"}
	}
	diff := blank("canary/accuracy-difference", record.Higher, s.Outcome.N)
	if s.Outcome.N > 0 {
		iv := record.Interval(s.Outcome.Interval(1 - s.Config.Alpha))
		diff.Absent, diff.Interval = "", &iv
		diff.Value = record.Val(float64(s.Outcome.Better-s.Outcome.Worse) / float64(s.Outcome.N))
	} else if s.Seen > 0 {
		diff.Absent = "no labels yet"
	}
	changed := blank("canary/disagreement", record.Lower, s.Disagree.N)
	worse, within := blank("canary/log-e-worse", record.Lower, s.evidence()), blank("canary/log-e-within", record.Higher, s.evidence())
	if s.Disagree.N > 0 {
		iv := record.Interval(stat.Wilson(s.Disagree.Hits, s.Disagree.N, 0.95))
		changed.Absent, changed.Interval = "", &iv
		changed.Value = record.Val(float64(s.Disagree.Hits) / float64(s.Disagree.N))
	}
	if s.evidence() > 0 {
		w, o := s.Evidence()
		worse.Absent, worse.Value, worse.Unit = "", record.Val(w), "nats"
		within.Absent, within.Value, within.Unit = "", record.Val(o), "nats"
	}
	return []record.Measurement{diff, changed, worse, within}
}

// Canary is a CanaryState for many goroutines.
type Canary struct {
	mu    sync.Mutex
	state CanaryState
}

// NewCanary returns a canary in the shadow stage.
func NewCanary(c CanaryConfig) (*Canary, error) {
	s, err := NewCanaryState(c)
	return &Canary{state: s}, err
}

// ResumeCanary returns a canary that goes on from a stored state.
func ResumeCanary(s CanaryState) (*Canary, error) { return &Canary{state: s}, s.Valid() }

// Observe adds a pair and returns the decision after it. Pairs after the final
// decision change nothing.
func (c *Canary) Observe(p Pair) Decision {
	c.mu.Lock()
	c.state = c.state.Next(p)
	s := c.state
	c.mu.Unlock()
	return s.Decision()
}

// Decision returns what to do now.
func (c *Canary) Decision() Decision { return c.State().Decision() }

// State returns a copy of the state.
func (c *Canary) State() CanaryState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}
