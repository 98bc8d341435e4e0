package serve

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"time"

	"muster/fault"
	"muster/tensor"
)

// Stage is how far a candidate has come.
type Stage string

// Stages of a candidate. In shadow it sees traffic and answers nobody; in canary
// it answers its share of the requests.
const (
	NoCandidate Stage = ""
	Shadow      Stage = "shadow"
	Canary      Stage = "canary"
)

// Observation is one answered row. P and Other are class probabilities; Other is
// the answer of the model that did not answer the request, nil if there is no candidate.
type Observation struct {
	ID        string // request id, with "#row" if the request has several rows
	At        time.Time
	X         []float32 // the row's input
	Candidate bool      // whether the candidate answered
	P, Other  []float32
	Failed    bool // the candidate could not compute the row
}

// Deployment is a name under which releases are served: one in production, at
// most one candidate, and the previous production release, still loaded.
type Deployment struct {
	Name string
	// Observe sees every answered row, one at a time and in order; nil: nobody looks.
	Observe func(Observation)
	// Label takes late labels; Report is the monitor's state. nil: not offered.
	Label  func(labels []Label) (LabelReport, error)
	Report func() any
	// End is called by a server after the last request, before Close; nil: nobody waits for it.
	End func()

	cur     atomic.Pointer[snapshot]
	set     sync.Mutex // one change at a time
	metrics *metrics
	pending chan observed
	flushed sync.WaitGroup
	closed  sync.Once

	requests, rows, dropped, errors atomic.Int64
	answeredNanos, failedNanos      atomic.Int64 // time that requests and errors took in sum
}

// Label is the truth about an answered row, told later.
type Label struct {
	ID    string `json:"id"`
	Label int    `json:"label"`
}

// LabelReport says what became of late labels.
type LabelReport struct {
	Joined  int `json:"joined"`
	Unknown int `json:"unknown"` // no such request, or too long ago
}

// Assignment is what a deployment serves.
type Assignment struct {
	Production *Model // nil: nothing is served
	Candidate  *Model
	Previous   *Model // kept loaded, so that a rollback is a pointer swap
	Stage      Stage
	Share      float64 // of requests that a canary answers, in [0, 1]
}

// snapshot is an immutable assignment with the number of requests that use it.
type snapshot struct {
	Assignment
	refs atomic.Int64
	idle chan struct{} // closed when it is replaced and no request uses it
	gone atomic.Bool
	once sync.Once
}

// NewDeployment returns a deployment that serves nothing yet.
func NewDeployment(name string) *Deployment {
	d := &Deployment{Name: name, pending: make(chan observed, 4096)}
	d.cur.Store(&snapshot{idle: make(chan struct{})})
	d.flushed.Add(1)
	go d.watch()
	return d
}

// acquire returns the current snapshot with a reference on it.
func (d *Deployment) acquire() *snapshot {
	for {
		s := d.cur.Load()
		s.refs.Add(1)
		if d.cur.Load() == s {
			return s
		}
		s.release()
	}
}

func (s *snapshot) release() {
	if s.refs.Add(-1) == 0 && s.gone.Load() {
		s.once.Do(func() { close(s.idle) })
	}
}

// Assign replaces what is served in one step: requests in work finish on the old
// assignment, new ones get the new one, none fails. Models that are in neither
// role any more are closed once nobody uses them.
func (d *Deployment) Assign(a Assignment) {
	d.set.Lock()
	defer d.set.Unlock()
	next := &snapshot{Assignment: a, idle: make(chan struct{})}
	old := d.cur.Swap(next)
	old.gone.Store(true)
	old.refs.Add(1)
	old.release()
	keep := map[*Model]bool{a.Production: true, a.Candidate: true, a.Previous: true, nil: true}
	var drop []*Model
	for _, m := range []*Model{old.Production, old.Candidate, old.Previous} {
		if !keep[m] {
			keep[m] = true
			drop = append(drop, m)
		}
	}
	if len(drop) > 0 {
		go func() {
			<-old.idle
			for _, m := range drop {
				m.Close()
			}
		}()
	}
}

// Current returns what is served now.
func (d *Deployment) Current() Assignment { return d.cur.Load().Assignment }

// Production returns the release in production, nil if there is none.
func (d *Deployment) Production() *Model { return d.cur.Load().Production }

// Ready reports whether requests can be answered.
func (d *Deployment) Ready() bool { return d.Production() != nil }

// Close stops observing after what is pending was seen, and closes all models.
func (d *Deployment) Close() {
	d.closed.Do(func() {
		d.Assign(Assignment{})
		close(d.pending)
		d.flushed.Wait()
	})
}

// answer is what a request gets.
type answer struct {
	model   *Model
	outputs []named
	params  map[string]any
}

// observed is a finished request on its way to the observer.
type observed struct {
	s         *snapshot // referenced until it was observed
	id        string
	at        time.Time
	in        []*tensor.Tensor
	p         *tensor.Tensor
	candidate bool
	failed    bool
}

func (d *Deployment) infer(ctx context.Context, q *Infer) (*answer, error) {
	s, start := d.acquire(), time.Now()
	hold := false
	defer func() {
		if !hold {
			s.release()
		}
	}()
	if s.Production == nil {
		return nil, fault.New(fault.NotFound, "model "+d.Name, "it has no release in production")
	}
	in, err := s.Production.bind(q.Inputs)
	if err != nil {
		return nil, err
	}
	if q.ID == "" {
		q.ID = newID()
	}
	m, byCandidate, failed := s.Production, s.Stage == Canary && chosen(q.ID, s.Share), false
	if byCandidate {
		m = s.Candidate
	}
	out, err := m.Run(ctx, in)
	if err != nil && byCandidate { // a failing candidate fails nobody
		m, byCandidate, failed = s.Production, false, true
		out, err = m.Run(ctx, in)
	}
	if err != nil {
		d.errors.Add(1)
		d.failedNanos.Add(int64(time.Since(start)))
		return nil, err
	}
	picked, err := m.pick(q, out)
	if err != nil {
		return nil, err
	}
	d.requests.Add(1)
	d.answeredNanos.Add(int64(time.Since(start)))
	d.rows.Add(int64(in[0].Shape[0]))
	if p := m.probabilities(out); p != nil && d.Observe != nil {
		select {
		case d.pending <- observed{s, q.ID, time.Now(), in, p, byCandidate, failed}:
			hold = true
		default: // observing must never slow an answer; what it misses is counted
			d.dropped.Add(1)
		}
	}
	return &answer{m, picked, map[string]any{"release": m.Release}}, nil
}

// watch runs the other model of a pair and hands every row to the observer.
func (d *Deployment) watch() {
	defer d.flushed.Done()
	for o := range d.pending {
		var other *tensor.Tensor
		if o.s.Stage != NoCandidate && !o.failed {
			m := o.s.Candidate
			if o.candidate {
				m = o.s.Production
			}
			if out, err := m.Run(context.Background(), o.in); err == nil {
				other = m.probabilities(out)
			} else {
				o.failed = !o.candidate
			}
		}
		d.rowsOf(o, other)
		o.s.release() // after the rows were seen: Flush waits for it
	}
}

func (d *Deployment) rowsOf(o observed, other *tensor.Tensor) {
	n := o.p.Shape[0]
	for i := 0; i < n; i++ {
		ob := Observation{ID: RowID(o.id, i, n), At: o.at, Candidate: o.candidate, P: o.p.Rows(i, i+1).Float32s(), Failed: o.failed}
		if x := o.in[0]; x.DType == tensor.Float32 {
			ob.X = x.Rows(i, i+1).Float32s()
		}
		if other != nil {
			ob.Other = other.Rows(i, i+1).Float32s()
		}
		d.Observe(ob)
	}
}

// RowID is the id by which a row of a request is labelled: the request's id, with "#row" if it has several.
func RowID(id string, row, rows int) string {
	if rows == 1 {
		return id
	}
	return id + "#" + itoa(row)
}

// chosen sends a fixed share of ids to the canary: the same id always gets the same model.
func chosen(id string, share float64) bool {
	h := fnv.New64a()
	h.Write([]byte(id))
	x := h.Sum64() // FNV's high bits are weak on short ids: mix them (finaliser of MurmurHash3)
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return float64(x>>11)/(1<<53) < share
}

func newID() string {
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Flush waits until every answered row was observed. It is for tests and orderly ends of a story.
func (d *Deployment) Flush() {
	for {
		s := d.acquire()
		busy := s.refs.Load() > 1 || len(d.pending) > 0
		s.release()
		if !busy {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// stats answers Triton's statistics extension with the fields that are counted.
func (d *Deployment) stats(m *Model) map[string]any {
	return map[string]any{"model_stats": []map[string]any{{
		"name": m.Name, "version": m.Version, "inference_count": d.rows.Load(), "execution_count": m.batch.runs.Load(),
		"inference_stats": map[string]any{"success": map[string]any{"count": d.requests.Load(), "ns": d.answeredNanos.Load()}, "fail": map[string]any{"count": d.errors.Load(), "ns": d.failedNanos.Load()}},
	}}}
}
