package serve

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"muster/fault"
	"muster/graph"
	"muster/monitor"
	"muster/record"
	"muster/release/policy"
	"muster/release/store"
	"muster/tensor"
)

// stage is a store with three releases of one model: "good", "twin", which answers the
// same, and "bad", which always errs.
type stage struct {
	t      *testing.T
	st     *store.Store
	d      map[string]record.Digest
	names  map[record.Digest]string
	loads  []string // which release was loaded, in order
	broken string   // the release that cannot be loaded
	policy *policy.Policy
}

func newStage(t *testing.T) *stage {
	t.Helper()
	st, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	s := &stage{t: t, st: st, policy: policy.Default(), d: map[string]record.Digest{}, names: map[record.Digest]string{}}
	for i, name := range []string{"good", "twin", "bad"} {
		sub, err := st.PutBytes(t.Context(), "release", name, []byte(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := st.PutRelease(t.Context(), &store.ReleaseRow{Digest: sub.Digest, Name: "m", Version: i + 1, Model: sub.Digest, Created: time.Now()}); err != nil {
			t.Fatal(err)
		}
		s.d[name], s.names[sub.Digest] = sub.Digest, name
	}
	return s
}

// load makes the bundle of a release: logits [x, -x], negated for "bad".
func (s *stage) load(_ context.Context, d record.Digest) (*Bundle, error) {
	name := s.names[d]
	if name == s.broken {
		return nil, fault.New(fault.Denied, name, "its signature is wrong")
	}
	s.loads = append(s.loads, name)
	sign := float32(1)
	if name == "bad" {
		sign = -1
	}
	g := graph.New("signs")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.Sym("B"), graph.D(1))
	factors := b.Init("factors", tensor.OfFloat32([]float32{sign, -sign}, 1, 2))
	b.Output("logits", b.Op("Mul", x, factors))
	m, err := NewModel(g, ModelConfig{Name: "m", Version: name, Release: d, Digest: d, Batch: BatchConfig{Wait: -1}}, nil)
	return &Bundle{Model: m, Policy: s.policy, Reference: s.reference()}, err
}

// reference is of inputs 1, 2, 3, ... 7 with confident answers.
func (s *stage) reference() *monitor.Reference {
	x, p, y := make([][]float32, 200), make([][]float32, 200), make([]int, 200)
	for i := range x {
		x[i], p[i] = []float32{float32(i%7 + 1)}, []float32{0.9, 0.1}
	}
	r, err := monitor.NewReference(monitor.ReferenceConfig{Input: monitor.InputConfig{Width: 1}}, x, p, y)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *stage) move(pointer, to string) {
	s.t.Helper()
	now, err := s.st.Standing(s.t.Context(), "m/"+pointer)
	if err == nil {
		_, err = s.st.Move(s.t.Context(), store.MoveRequest{Pointer: "m/" + pointer, To: s.d[to], Expect: now, Act: store.ActRelease, Actor: "test", Reason: "a test"})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// start is a server process: a new rollout at the pointers.
func (s *stage) start() *Rollout {
	s.t.Helper()
	r := NewRollout("m", s.st, s.load, RolloutConfig{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	s.t.Cleanup(r.Close)
	s.sync(r)
	return r
}

func (s *stage) sync(r *Rollout) {
	s.t.Helper()
	if err := r.Sync(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// ask sends n requests, labelled 0, which "good" and "twin" get right.
func (s *stage) ask(r *Rollout, id string, n int) {
	s.t.Helper()
	for i := range n {
		q := &Infer{ID: fmt.Sprint(id, i), Inputs: map[string]*tensor.Tensor{"x": tensor.OfFloat32([]float32{float32(i%7 + 1)}, 1, 1)}}
		if _, err := r.infer(s.t.Context(), q); err != nil {
			s.t.Fatal(err)
		}
		r.Flush()
		if rep, err := r.Label([]Label{{ID: q.ID}}); err != nil || rep.Joined != 1 {
			s.t.Fatal(rep, err)
		}
	}
}

func (s *stage) serving(r *Rollout, production, candidate, previous string) {
	s.t.Helper()
	a := r.Current()
	for _, c := range []struct {
		m    *Model
		want string
	}{{a.Production, production}, {a.Candidate, candidate}, {a.Previous, previous}} {
		if got := versionOf(c.m); got != c.want {
			s.t.Errorf("production %s, candidate %s, previous %s; want %s, %s, %s", versionOf(a.Production), versionOf(a.Candidate), versionOf(a.Previous), production, candidate, previous)
			return
		}
	}
}

// TestRollbackLoadsNothing: the previous release stays loaded, after a restart too.
func TestRollbackLoadsNothing(t *testing.T) {
	s := newStage(t)
	s.move("production", "good")
	r := s.start()
	s.move("production", "twin")
	s.sync(r)
	s.serving(r, "twin", "none", "good")
	again := s.start()
	s.serving(again, "twin", "none", "good")
	s.loads = nil
	s.move("production", "good")
	for _, r := range []*Rollout{r, again} {
		s.sync(r)
		s.serving(r, "good", "none", "twin")
	}
	if len(s.loads) != 0 {
		t.Errorf("rolling back loaded %v", s.loads)
	}
	s.broken = "twin" // a previous release that cannot be loaded is no reason not to start
	s.serving(s.start(), "good", "none", "none")
}

// TestTrialGoesOnAfterRestart: a stopped server forgets nothing of a trial, a killed one
// at most recordEvery pairs, and another candidate starts with no evidence.
func TestTrialGoesOnAfterRestart(t *testing.T) {
	s := newStage(t)
	s.move("production", "good")
	s.move("shadow", "twin")
	r := s.start()
	s.ask(r, "a", 60)
	if got := s.start().canary.State().Seen; got != 50 { // r was not finished, as if killed
		t.Errorf("a killed server remembers %d pairs of 60, want 50", got)
	}
	r.Finish()
	r = s.start()
	if got := r.canary.State(); got.Seen != 60 || got.Outcome.N != 60 {
		t.Errorf("a stopped server remembers %+v, want 60 pairs", got)
	}
	s.ask(r, "b", 140) // 200 pairs: the default number for shadow
	if got := r.canary.State().Stage; got != monitor.Serving {
		t.Errorf("after 200 pairs the trial says %s", got)
	}
	r.Finish()
	s.move("shadow", "bad")
	if got := s.start().canary.State(); got.Seen != 0 || got.Stage != monitor.Shadow {
		t.Errorf("another candidate starts with %+v", got)
	}
}

// TestBadCandidateIsWithdrawn: the pointer is cleared on record, production goes on, and the
// same candidate forced back begins a new trial.
func TestBadCandidateIsWithdrawn(t *testing.T) {
	s := newStage(t)
	s.move("production", "good")
	s.move("shadow", "bad")
	r := s.start()
	for i := 0; r.Current().Candidate != nil; i++ {
		if i == 200 {
			t.Fatal("200 wrong answers were not enough")
		}
		s.ask(r, fmt.Sprint("r", i, "-"), 1)
	}
	s.serving(r, "good", "none", "none")
	moves, err := s.st.History(t.Context(), "m/shadow")
	if last := moves[len(moves)-1]; err != nil || last.To != "" || last.Act != store.ActRollback {
		t.Errorf("%+v %v", last, err)
	}
	s.move("shadow", "bad")
	s.sync(r)
	if got := r.canary.State(); got.Seen != 0 {
		t.Errorf("the new trial starts with %+v", got)
	}
}

// TestUnreadableTrialChangesNothing: what is loaded goes on, with its watch and its trial.
func TestUnreadableTrialChangesNothing(t *testing.T) {
	s := newStage(t)
	s.move("production", "good")
	s.move("shadow", "twin")
	r := s.start()
	s.ask(r, "a", 5)
	watch, canary := r.watch, r.canary
	body := Trial{Release: s.d["bad"], Against: s.d["good"], State: canary.State()}
	body.State.Version = 99
	if _, err := s.st.AppendEvent(t.Context(), "canary/shadow", "m", body); err != nil {
		t.Fatal(err)
	}
	s.move("shadow", "bad")
	if err := r.Sync(t.Context()); fault.ClassOf(err) != fault.Unsupported || !strings.Contains(err.Error(), "log entry") {
		t.Errorf("%v", err)
	}
	s.serving(r, "good", "twin", "none")
	if r.watch != watch || r.canary != canary || r.canary.State().Seen != 5 {
		t.Error("the watch or the trial was touched")
	}
}

// TestAlarmOfTheLastWindow: a server that ends judges what it answered, and a policy that
// wants a rollback on drift gets it.
func TestAlarmOfTheLastWindow(t *testing.T) {
	s := newStage(t)
	text := strings.Replace(string(policy.Default().Source()), "rollback_on_drift: false", "rollback_on_drift: true", 1)
	var err error
	if s.policy, err = policy.Parse("policy", []byte(text)); err != nil || !s.policy.Monitor.RollbackOnDrift {
		t.Fatal(err)
	}
	s.move("production", "good")
	s.move("production", "twin")
	r := s.start()
	srv := NewServer(Config{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	srv.Add(r.Deployment)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 { // far outside the reference
		q := &Infer{ID: fmt.Sprint(i), Inputs: map[string]*tensor.Tensor{"x": tensor.OfFloat32([]float32{1000}, 1, 1)}}
		if _, err := r.infer(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := srv.Serve(ctx, l); err != nil {
		t.Fatal(err)
	}
	if d, err := s.st.Standing(t.Context(), "m/production"); err != nil || d != s.d["good"] {
		t.Errorf("production holds %q, want the release before; state %+v", s.names[d], r.State())
	}
}

// TestFinishJudgesTheOpenWindow: what was answered before a stop is measured and on record.
func TestFinishJudgesTheOpenWindow(t *testing.T) {
	s := newStage(t)
	s.move("production", "good")
	r := s.start()
	s.ask(r, "a", 30)
	r.Finish()
	evs, err := s.st.Events(t.Context(), store.EventFilter{Subject: "m", Kind: "monitor/window"})
	if err != nil || len(evs) != 1 || r.State().Windows != 1 || r.State().Last.N != 30 {
		t.Errorf("%d windows on record, state %+v, %v", len(evs), r.State(), err)
	}
	r.Finish() // nothing new, nothing more to say
	if got := r.State().Windows; got != 1 {
		t.Errorf("%d windows after the second end", got)
	}
	if st := r.stats(r.Production())["model_stats"].([]map[string]any)[0]["inference_stats"].(map[string]any)["success"].(map[string]any); st["count"] != int64(30) || st["ns"].(int64) <= 0 {
		t.Errorf("statistics %v", st)
	}
}
