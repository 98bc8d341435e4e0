package monitor

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"muster/fault"
	"muster/record"
	"muster/stat"
)

// Kind is what an alarm is about.
type Kind string

// The kinds of alarm.
const (
	DriftAlarm    Kind = "drift"    // inputs, confidence or classes differ from the reference
	EstimateAlarm Kind = "estimate" // the estimated accuracy is below the floor
	LiveAlarm     Kind = "live"     // the labelled accuracy is below the floor
)

// Alarm is a finding that somebody or something should act on.
type Alarm struct {
	Kind         Kind                 `json:"kind"`
	Time         time.Time            `json:"time"` // end of the window
	Reason       string               `json:"reason"`
	Windows      int                  `json:"windows"` // consecutive windows with this alarm, this one included
	Measurements []record.Measurement `json:"measurements"`
}

// AlarmConfig says when alarms are raised and which of them call for a rollback.
// The zero value raises drift alarms and never rolls back.
type AlarmConfig struct {
	AccuracyFloor float64 `json:"accuracy_floor"` // for the estimate and live alarms; 0: none
	Rate          float64 `json:"rate"`           // false alarms of those two per window at an accuracy equal to the floor; default 0.01
	Rollback      []Kind  `json:"rollback"`       // kinds that call for a rollback
	Persist       int     `json:"persist"`        // consecutive windows before they do; default 1
}

func (c AlarmConfig) withDefaults() (AlarmConfig, error) {
	if c.Rate == 0 {
		c.Rate = 0.01
	}
	if c.Persist == 0 {
		c.Persist = 1
	}
	if !(c.AccuracyFloor >= 0 && c.AccuracyFloor < 1) || !(c.Rate > 0 && c.Rate < 0.5) || c.Persist < 0 {
		return c, fault.New(fault.Numeric, "alarm", "monitor: accuracy_floor %v, rate %v, persist %d", c.AccuracyFloor, c.Rate, c.Persist)
	}
	for _, k := range c.Rollback {
		if k != DriftAlarm && k != EstimateAlarm && k != LiveAlarm {
			return c, fault.New(fault.Malformed, "alarm", "monitor: %q is no kind of alarm", k).WithHint("kinds: drift, estimate, live")
		}
	}
	return c, nil
}

// Act returns Rollback if the policy wants this alarm to roll back, otherwise Hold.
func (c AlarmConfig) Act(a Alarm) Action {
	if slices.Contains(c.Rollback, a.Kind) && a.Windows >= max(1, c.Persist) {
		return Rollback
	}
	return Hold
}

// Report is what one window showed.
type Report struct {
	Window       record.Subject       `json:"window"`
	N            int                  `json:"n"`
	First        time.Time            `json:"first"`
	Last         time.Time            `json:"last"`
	Measurements []record.Measurement `json:"measurements"`
	Alarms       []Alarm              `json:"alarms,omitempty"`
	Action       Action               `json:"action"` // Rollback if any alarm calls for it
}

// Judge measures a window and the labels that came during it, and raises alarms.
// before holds the number of consecutive earlier windows with each kind of alarm.
// It is pure: the same window, labels and config give the same report.
func Judge(w *Window, live Live, c AlarmConfig, before map[Kind]int, model []record.Subject) (*Report, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	self, err := w.Subject()
	if err != nil {
		return nil, err
	}
	subjects := append(slices.Clone(model), self)
	r := &Report{Window: self, N: int(w.N), First: time.Unix(0, w.First).UTC(), Last: time.Unix(0, w.Last).UTC(), Action: Hold}
	drift := w.Drift()
	r.Measurements = drift.measurements(w, subjects)
	est := w.Estimate(0.95)
	estimate, lived := est.measurement(w, subjects, drift.Alarm()), live.Measurement(subjects)
	r.Measurements = append(r.Measurements, estimate, lived)
	raise := func(k Kind, m record.Measurement, format string, args ...any) {
		a := Alarm{Kind: k, Time: r.Last, Reason: fmt.Sprintf(format, args...), Windows: before[k] + 1, Measurements: []record.Measurement{m}}
		r.Alarms = append(r.Alarms, a)
		if c.Act(a) == Rollback {
			r.Action = Rollback
		}
	}
	if drift.Alarm() {
		raise(DriftAlarm, r.Measurements[0], "%s is %.2f times what one clean window in %.0f exceeds", drift.Top, drift.Score, 1/w.ref.Config.AlarmRate)
	}
	if c.AccuracyFloor > 0 && est.Absent == "" {
		if high := w.Estimate(1 - 2*c.Rate).Interval.High; high < c.AccuracyFloor {
			raise(EstimateAlarm, estimate, "estimated accuracy %.3f, at most %.3f, is below the floor %.3f", est.Value, high, c.AccuracyFloor)
		}
	}
	if c.AccuracyFloor > 0 && live.N > 0 {
		if p := stat.BinomialCDF(live.Right, live.N, c.AccuracyFloor); p <= c.Rate {
			raise(LiveAlarm, lived, "accuracy %.3f on %d labelled requests is below the floor %.3f (p %.2g)", *lived.Value, live.N, c.AccuracyFloor, p)
		}
	}
	return r, nil
}

// WatchConfig sets how live traffic is cut into windows. The zero value is ready to use.
type WatchConfig struct {
	Size  int         `json:"size"` // requests per window; default 200
	Alarm AlarmConfig `json:"alarm"`
	Join  JoinConfig  `json:"join"`
}

// Watch cuts live traffic into windows and judges each. It is safe for many goroutines.
// A label counts in the window that is open when it arrives.
type Watch struct {
	mu     sync.Mutex
	ref    *Reference
	cfg    WatchConfig
	model  []record.Subject
	open   *Window
	live   Live
	join   *Join
	streak map[Kind]int
}

// NewWatch returns a watch of the model (named by its subjects) against its reference.
func NewWatch(ref *Reference, c WatchConfig, model []record.Subject) (*Watch, error) {
	if c.Size == 0 {
		c.Size = 200
	}
	if c.Size < MinWindow || c.Size > 1<<30 {
		return nil, fault.New(fault.Numeric, "watch", "monitor: windows of %d requests; needs at least %d", c.Size, MinWindow)
	}
	var err error
	if c.Alarm, err = c.Alarm.withDefaults(); err != nil {
		return nil, err
	}
	return &Watch{ref: ref, cfg: c, model: model, open: ref.NewWindow(), join: NewJoin(c.Join), streak: map[Kind]int{}}, nil
}

// Observe adds a request. It returns a report when the request completes a window,
// otherwise nil. A request that cannot be measured gives an error and is only counted.
func (w *Watch) Observe(s Sample) (*Report, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.open.Add(s); err != nil {
		return nil, err
	}
	if s.RequestID != "" {
		class, _, _ := answer(s.Probabilities, w.ref.Classes) // checked by Add
		w.join.Predict(Pair{RequestID: s.RequestID, CandidateClass: class, BaselineClass: class}, time.Unix(0, s.Time))
	}
	if w.open.N < uint64(w.cfg.Size) {
		return nil, nil
	}
	return w.close()
}

// Label joins a late label to its request and reports whether one was waiting.
func (w *Watch) Label(id string, label int, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.join.Label(id, label, now)
	if ok {
		w.live.Add(p.CandidateClass, label)
	}
	return ok
}

// Flush judges the open window, however small, and starts a new one.
func (w *Watch) Flush() (*Report, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.close()
}

// Open returns the number of requests in the open window.
func (w *Watch) Open() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int(w.open.N)
}

// Counts returns what became of predictions and labels.
func (w *Watch) Counts() JoinCounts { return w.join.Counts() }

func (w *Watch) close() (*Report, error) {
	r, err := Judge(w.open, w.live, w.cfg.Alarm, w.streak, w.model)
	if err != nil {
		return nil, err
	}
	next := map[Kind]int{}
	for _, a := range r.Alarms {
		next[a.Kind] = a.Windows
	}
	w.streak, w.live, w.open = next, Live{}, w.ref.NewWindow()
	return r, nil
}
