package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"muster/fault"
	"muster/monitor"
	"muster/record"
	"muster/release/policy"
	"muster/release/store"
	"muster/stat"
)

// Bundle is a checked release, ready to be served.
type Bundle struct {
	Model     *Model
	Reference *monitor.Reference // what clean traffic looks like; nil: the release carries none
	Policy    *policy.Policy
}

// model is nil for no bundle.
func (b *Bundle) model() *Model {
	if b == nil {
		return nil
	}
	return b.Model
}

// RolloutConfig are the settings of a rollout; zero values take the defaults in brackets.
type RolloutConfig struct {
	Share float64       // of requests that a canary answers [0.1]
	Mode  monitor.Mode  // what a canary compares [labelled]
	Poll  time.Duration // how often the store is asked for moved pointers [200ms]
	Log   *slog.Logger
}

// Rollout keeps one deployment at what the store's pointers say, compares a
// candidate with the release in production on the same requests, watches the
// traffic, and moves pointers back by itself where the policy of the release in
// production allows it. Every decision is an entry of the store's log.
type Rollout struct {
	*Deployment
	st   *store.Store
	load func(ctx context.Context, digest record.Digest) (*Bundle, error)
	cfg  RolloutConfig

	mu      sync.Mutex
	seq     int64
	bundle  *Bundle // in production
	cand    *Bundle
	prev    *Bundle // in production before, kept loaded for a rollback
	canary  *monitor.Canary
	kept    int           // pairs of the trial when its state was last recorded
	join    *monitor.Join // pairs that wait for their label
	watch   *monitor.Watch
	last    *monitor.Report
	alarms  int
	windows int
	acted   string // the last automatic act, for the status page
	badRows int    // rows that could not be measured
}

// Pointer names of a deployment.
func pointerName(name, stage string) string { return name + "/" + stage }

// NewRollout returns a rollout of the deployment name; call Sync to load what is live.
func NewRollout(name string, st *store.Store, load func(context.Context, record.Digest) (*Bundle, error), cfg RolloutConfig) *Rollout {
	if cfg.Share == 0 {
		cfg.Share = 0.1
	}
	if cfg.Mode == "" {
		cfg.Mode = monitor.Labelled
	}
	if cfg.Poll == 0 {
		cfg.Poll = 200 * time.Millisecond
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	r := &Rollout{Deployment: NewDeployment(name), st: st, load: load, cfg: cfg}
	r.Observe, r.Label, r.Report, r.End = r.observe, r.label, r.report, r.Finish
	return r
}

// Run follows the pointers until ctx ends.
func (r *Rollout) Run(ctx context.Context) {
	t := time.NewTicker(r.cfg.Poll)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := r.Sync(ctx); err != nil && ctx.Err() == nil {
				r.cfg.Log.Error("the pointers cannot be followed; what is loaded goes on", "model", r.Name, "err", err)
			}
		}
	}
}

// Finish is called after the last request: what was answered is observed, the open
// window is judged, and the evidence of a trial is recorded for the next start.
func (r *Rollout) Finish() {
	r.Flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watch != nil && r.watch.Open() > 0 {
		if rep, err := r.watch.Flush(); err != nil {
			r.cfg.Log.Error("the open window could not be judged", "model", r.Name, "err", err)
		} else {
			r.window(rep)
		}
	}
	if r.canary != nil && r.canary.State().Seen > r.kept {
		r.record()
	}
}

// Sync loads what the pointers name, if they moved. A release that cannot be
// loaded leaves everything as it is.
func (r *Rollout) Sync(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	seq, err := r.st.Seq(ctx)
	if err != nil || seq == r.seq {
		return err
	}
	if err := r.follow(ctx); err != nil {
		return err
	}
	r.seq = seq
	return nil
}

// follow brings the deployment to the pointers. r.mu is held.
func (r *Rollout) follow(ctx context.Context) error {
	prod, err := r.st.Standing(ctx, pointerName(r.Name, "production"))
	if err != nil {
		return err
	}
	stage, cand := Canary, record.Digest("")
	if cand, err = r.st.Standing(ctx, pointerName(r.Name, string(Canary))); err == nil && cand == "" {
		stage = Shadow
		cand, err = r.st.Standing(ctx, pointerName(r.Name, string(Shadow)))
	}
	if err != nil {
		return err
	}
	if cand == "" {
		stage = NoCandidate
	}
	return r.bring(ctx, prod, cand, stage)
}

// bring loads and assigns releases by digest; what is loaded already is used again.
func (r *Rollout) bring(ctx context.Context, prod, cand record.Digest, stage Stage) (err error) {
	now := r.Current()
	if digestOf(now.Production) == prod && digestOf(now.Candidate) == cand && now.Stage == stage {
		return nil
	}
	newProd, err := r.get(ctx, prod)
	if err != nil {
		return err
	}
	newCand, err := r.get(ctx, cand)
	defer func() {
		if err != nil {
			r.drop(newProd)
			r.drop(newCand)
		}
	}()
	if err != nil {
		return err
	}
	if newCand != nil && newProd == nil {
		return fault.New(fault.Mismatch, "model "+r.Name, "a candidate needs a release in production to be compared with")
	}
	watch, canary := r.watch, r.canary // nothing changes before everything is there
	if newProd != nil && newProd != r.bundle {
		if watch, err = r.watchOver(newProd); err != nil {
			return err
		}
	}
	if newCand != r.cand || newProd != r.bundle {
		if canary, err = r.trial(ctx, newCand, newProd); err != nil {
			return err
		}
	}
	switch {
	case r.bundle != nil && newProd != r.bundle:
		r.prev = r.bundle
	case r.bundle == nil && newProd != nil:
		r.prev = r.before(ctx, prod, newCand)
	}
	r.bundle, r.cand, r.watch = newProd, newCand, watch
	if canary != r.canary {
		r.compare(canary)
	}
	a := Assignment{Production: newProd.model(), Candidate: newCand.model(), Previous: r.prev.model(), Stage: stage, Share: r.cfg.Share}
	r.Assign(a)
	r.cfg.Log.Info("now serving", "model", r.Name, "production", versionOf(a.Production), "candidate", versionOf(a.Candidate), "stage", stage)
	return nil
}

// get returns the bundle of a release: one that is loaded, or from the store. "" is none.
func (r *Rollout) get(ctx context.Context, d record.Digest) (*Bundle, error) {
	if d == "" {
		return nil, nil
	}
	for _, b := range []*Bundle{r.bundle, r.cand, r.prev} {
		if b != nil && b.Model.Release == d {
			return b, nil
		}
	}
	return r.load(ctx, d)
}

// drop closes a bundle that was loaded but is not going to be served.
func (r *Rollout) drop(b *Bundle) {
	if b != nil && b != r.bundle && b != r.cand && b != r.prev {
		b.Model.Close()
	}
}

// before loads the release that was in production before, so that a rollback after a
// restart is a pointer swap too. It is no reason not to start: nil if it cannot be loaded.
func (r *Rollout) before(ctx context.Context, prod record.Digest, cand *Bundle) *Bundle {
	d, err := r.st.Before(ctx, pointerName(r.Name, "production"), prod)
	if err == nil && cand != nil && d == cand.Model.Release {
		return cand
	}
	var b *Bundle
	if err == nil {
		b, err = r.get(ctx, d)
	}
	if err != nil {
		r.cfg.Log.Warn("the previous release cannot be loaded; a rollback will have to", "model", r.Name, "err", err)
		return nil
	}
	return b
}

func digestOf(m *Model) record.Digest {
	if m == nil {
		return ""
	}
	return m.Release
}

func versionOf(m *Model) string {
	if m == nil {
		return "none"
	}
	return m.Version
}

// watchOver returns the watch over the traffic of a release, nil if it carries no reference.
func (r *Rollout) watchOver(b *Bundle) (*monitor.Watch, error) {
	if b.Reference == nil {
		return nil, nil
	}
	cfg := monitor.WatchConfig{Size: b.Policy.Monitor.Window}
	if b.Policy.Monitor.RollbackOnDrift {
		cfg.Alarm.Rollback = []monitor.Kind{monitor.DriftAlarm}
	}
	return monitor.NewWatch(b.Reference, cfg, []record.Subject{{Kind: "model", Name: r.Name, Digest: b.Model.Digest}})
}

// promoteMargin is the loss of accuracy that must be excluded before a candidate may take over.
const promoteMargin = 0.02

// trial returns the comparison of a candidate under the policy of the release in
// production, or the one that an earlier process began; nil if there is nothing to compare.
func (r *Rollout) trial(ctx context.Context, cand, prod *Bundle) (*monitor.Canary, error) {
	if cand == nil || prod == nil {
		return nil, nil
	}
	p := prod.Policy.Canary
	c, err := monitor.NewCanary(monitor.CanaryConfig{Mode: r.cfg.Mode, Alpha: p.Alpha, Tolerance: p.Margin, Margin: max(promoteMargin, 2*p.Margin),
		ShadowPairs: p.ShadowPairs, MinPairs: p.MinPairs, MaxPairs: p.MaxPairs})
	if err != nil {
		return nil, err
	}
	last, err := LastTrial(ctx, r.st, r.Name, cand.Model.Release, prod.Model.Release)
	if err != nil || last == nil || last.State.Config != c.State().Config || last.State.Stage == monitor.RolledBack {
		return c, err
	}
	return monitor.ResumeCanary(last.State)
}

// compare makes c the trial under way; nil ends it.
func (r *Rollout) compare(c *monitor.Canary) {
	r.canary, r.join, r.kept = c, nil, 0
	if c != nil {
		r.join, r.kept = monitor.NewJoin(monitor.JoinConfig{}), c.State().Seen
	}
}

// Trial is how far the comparison of a candidate with the release in production had come.
type Trial struct {
	Release      record.Digest        `json:"release"` // the candidate
	Against      record.Digest        `json:"against"`
	Decision     monitor.Decision     `json:"decision"`
	State        monitor.CanaryState  `json:"state"`
	Measurements []record.Measurement `json:"measurements"`
}

// kindTrial begins the kind of every log entry about a trial.
const kindTrial = "canary/"

// LastTrial returns the last recorded state of the trial of one release against another
// under a name, nil if there is none.
func LastTrial(ctx context.Context, st *store.Store, name string, cand, against record.Digest) (*Trial, error) {
	evs, err := st.Events(ctx, store.EventFilter{Subject: name})
	if err != nil {
		return nil, err
	}
	for _, e := range slices.Backward(evs) {
		if !strings.HasPrefix(e.Kind, kindTrial) {
			continue
		}
		t := new(Trial)
		if err := json.Unmarshal(e.Body, t); err != nil {
			return nil, fault.New(fault.Malformed, fmt.Sprintf("log entry %d", e.Seq), "%w", err)
		}
		if t.Release == cand && t.Against == against {
			return t, fault.At(fmt.Sprintf("log entry %d", e.Seq), t.State.Valid())
		}
	}
	return nil, nil
}

// recordEvery is the number of pairs between two records of a trial: what a killed
// server forgets at most. The count does not depend on the answers, so what is
// forgotten does not bias the evidence.
const recordEvery = 50

// record writes the state of the trial to the log. r.mu is held.
func (r *Rollout) record() {
	st := r.canary.State()
	r.kept = st.Seen
	subjects := []record.Subject{{Kind: "model", Name: r.Name, Digest: r.cand.Model.Digest}, {Kind: "model", Name: r.Name, Digest: r.bundle.Model.Digest}}
	r.log(kindTrial+strings.ReplaceAll(string(st.Stage), " ", "-"), Trial{Release: digestOf(r.cand.Model), Against: digestOf(r.bundle.Model),
		Decision: st.Decision(), State: st, Measurements: st.Measurements(subjects)})
}

// observe sees one answered row. It is called from one goroutine, in order.
func (r *Rollout) observe(o Observation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	byProduction, byCandidate := o.P, o.Other
	if o.Candidate {
		byProduction, byCandidate = o.Other, o.P
	}
	if r.watch != nil && byProduction != nil && o.X != nil {
		rep, err := r.watch.Observe(monitor.Sample{RequestID: o.ID, Input: o.X, Probabilities: byProduction, Time: o.At.UnixNano()})
		if err != nil {
			if r.badRows++; r.badRows == 1 { // once: a broken client must not fill the log
				r.cfg.Log.Error("a row could not be measured", "model", r.Name, "id", o.ID, "err", err)
			}
		}
		if rep != nil {
			r.window(rep)
		}
	}
	if r.canary == nil || byProduction == nil || byCandidate == nil && !o.Failed {
		return
	}
	p := monitor.Pair{RequestID: o.ID, CandidateClass: -1, BaselineClass: stat.ArgMax(byProduction)}
	if byCandidate != nil {
		p.CandidateClass = stat.ArgMax(byCandidate)
	}
	r.join.Predict(p, o.At)
	if r.cfg.Mode == monitor.Agreement {
		r.decide(p)
	}
}

// label takes late labels for the window and for the trial.
func (r *Rollout) label(labels []Label) (LabelReport, error) {
	var rep LabelReport
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range labels {
		joined := r.watch != nil && r.watch.Label(l.ID, l.Label, now)
		if r.canary != nil {
			if p, ok := r.join.Label(l.ID, l.Label, now); ok {
				joined = true
				if r.cfg.Mode == monitor.Labelled {
					r.decide(p)
				}
			}
		}
		if joined {
			rep.Joined++
		} else {
			rep.Unknown++
		}
	}
	return rep, nil
}

// decide adds a pair to the trial and acts on what it says. r.mu is held.
func (r *Rollout) decide(p monitor.Pair) {
	if r.canary == nil {
		return
	}
	before := r.canary.State().Stage
	d := r.canary.Observe(p)
	if d.Stage != before || r.canary.State().Seen >= r.kept+recordEvery {
		r.record()
	}
	if d.Action != monitor.Rollback {
		return
	}
	if r.bundle.Policy.Canary.OnAlarm != policy.Rollback {
		r.acted = "the candidate is worse (" + d.Reason + "); the policy only notifies"
		return
	}
	r.withdraw(d.Reason)
}

// withdraw clears the candidate's pointer and serves without it. What answers the
// users does not stop: the release in production was loaded all the time.
func (r *Rollout) withdraw(reason string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	now := r.Current()
	r.Assign(Assignment{Production: now.Production, Previous: now.Previous})
	cand := r.cand
	r.cand = nil
	r.compare(nil)
	r.acted = fmt.Sprintf("version %s was rolled back from %s: %s", cand.Model.Version, now.Stage, reason)
	_, err := r.st.Move(ctx, store.MoveRequest{Pointer: pointerName(r.Name, string(now.Stage)), Expect: cand.Model.Release,
		Act: store.ActRollback, Actor: "muster (policy " + r.bundle.Policy.Name + ")", Reason: reason})
	if err != nil {
		r.cfg.Log.Error("the rollback is in force but could not be recorded", "model", r.Name, "err", err)
	}
	r.cfg.Log.Warn("rolled back", "model", r.Name, "version", cand.Model.Version, "reason", reason)
}

// window keeps the report of a full window and acts on its alarms. r.mu is held.
func (r *Rollout) window(rep *monitor.Report) {
	r.last = rep
	r.windows++
	r.log("monitor/window", rep)
	if len(rep.Alarms) == 0 {
		return
	}
	r.alarms++
	r.log("monitor/alarm", map[string]any{"window": rep.Window, "alarms": rep.Alarms})
	if rep.Action != monitor.Rollback {
		return
	}
	r.revert(rep.Alarms[0].Reason)
}

// revert puts the previous release back into production, if there is one.
func (r *Rollout) revert(reason string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	now := r.Current()
	if now.Previous == nil {
		r.acted = "an alarm calls for a rollback (" + reason + "), but there is no previous release"
		return
	}
	_, err := r.st.Move(ctx, store.MoveRequest{Pointer: pointerName(r.Name, "production"), To: now.Previous.Release, Expect: now.Production.Release,
		Act: store.ActRollback, Actor: "muster (policy " + r.bundle.Policy.Name + ")", Reason: reason})
	if err == nil {
		err = r.follow(ctx)
	}
	if err != nil {
		r.cfg.Log.Error("rolling back failed", "model", r.Name, "err", err)
		return
	}
	r.acted = fmt.Sprintf("version %s was rolled back to %s: %s", now.Production.Version, now.Previous.Version, reason)
}

func (r *Rollout) log(kind string, body any) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := r.st.AppendEvent(ctx, kind, r.Name, body); err != nil {
		r.cfg.Log.Error("an event could not be recorded", "kind", kind, "model", r.Name, "err", err)
	}
}

// Line is one line about the watch, for the status page.
type Line struct {
	Name  string `json:"name"`
	Text  string `json:"text"`
	Alarm bool   `json:"alarm"`
}

// State is what the watch over a deployment knows.
type State struct {
	Lines    []Line              `json:"lines"`
	Windows  int                 `json:"windows"`
	Alarms   int                 `json:"alarms"`
	Last     *monitor.Report     `json:"last_window,omitempty"`
	Decision *monitor.Decision   `json:"canary,omitempty"`
	Labels   *monitor.JoinCounts `json:"labels,omitempty"`
	Acted    string              `json:"last_act,omitempty"`
	Refused  int                 `json:"rows_not_measured"`
}

// report returns the state of the watch. It never waits for a decision under way longer than that takes.
func (r *Rollout) report() any { return r.State() }

// State returns the state of the watch.
func (r *Rollout) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := State{Windows: r.windows, Alarms: r.alarms, Last: r.last, Acted: r.acted, Refused: r.badRows}
	add := func(name string, alarm bool, format string, args ...any) {
		s.Lines = append(s.Lines, Line{name, fmt.Sprintf(format, args...), alarm})
	}
	if r.watch == nil {
		add("Watch", false, "the release carries no reference of clean traffic")
	} else {
		c := r.watch.Counts()
		s.Labels = &c
		add("Watch", r.alarms > 0, "%d windows judged, %d with an alarm, %d labels joined", r.windows, r.alarms, c.Matched)
	}
	if r.last != nil {
		for _, al := range r.last.Alarms {
			add("Alarm", true, "%s", al.Reason)
		}
		for i := range r.last.Measurements {
			if m := &r.last.Measurements[i]; m.Name == "estimate/accuracy" || m.Name == "live/accuracy" {
				add("Last window", false, "%s %s", m.Name, words(m))
			}
		}
	}
	if r.canary != nil {
		d := r.canary.Decision()
		s.Decision = &d
		add("Trial", d.Action == monitor.Rollback, "%s", d.Reason)
	}
	if r.acted != "" {
		add("Last act", true, "%s", r.acted)
	}
	return s
}

// words prints a measurement.
func words(m *record.Measurement) string {
	if m.Value == nil {
		return "not given: " + m.Absent
	}
	s := fmt.Sprintf("%.3f", *m.Value)
	if m.Interval != nil {
		s += fmt.Sprintf(" [%.3f, %.3f]", m.Interval.Low, m.Interval.High)
	}
	return s + fmt.Sprintf(", n=%d", m.N)
}
