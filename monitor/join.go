package monitor

import (
	"sync"
	"time"

	"muster/record"
	"muster/stat"
)

// JoinConfig bounds the memory of a Join. The zero value is ready to use.
type JoinConfig struct {
	Capacity int           `json:"capacity"` // predictions that wait for a label; default 100,000
	TTL      time.Duration `json:"ttl_ns"`   // how long one waits; default 7 days
	MaxID    int           `json:"max_id"`   // bytes of a request id; default 256
}

// Join waits for labels that come later than the prediction and pairs them by
// request id. The oldest prediction goes first when the capacity is reached. Each id
// is answered once, so a repeated label or a retried request does not count twice.
// It is safe for concurrent use; time is what the caller says it is, so a log replays.
type Join struct {
	cfg     JoinConfig
	mu      sync.Mutex
	waiting map[string]waiting
	order   []arrival // a queue; entries that were answered stay until they reach the front
	head    int
	serial  uint64
	counts  JoinCounts
}

type waiting struct {
	pair   Pair
	serial uint64
}

type arrival struct {
	id     string
	serial uint64
	at     time.Time
}

// JoinCounts says what became of predictions and labels.
type JoinCounts struct {
	Waiting   int `json:"waiting"`
	Matched   int `json:"matched"`
	Expired   int `json:"expired"`   // predictions whose label did not come within the TTL
	Dropped   int `json:"dropped"`   // predictions pushed out by newer ones at full capacity
	Unknown   int `json:"unknown"`   // labels for an id that is not waiting (answered, expired or never seen)
	Duplicate int `json:"duplicate"` // predictions under an id that is waiting already; the first one is kept
	Refused   int `json:"refused"`   // predictions without an id or with one that is too long
}

// NewJoin returns an empty join.
func NewJoin(c JoinConfig) *Join {
	if c.Capacity <= 0 {
		c.Capacity = 100000
	}
	if c.TTL <= 0 {
		c.TTL = 7 * 24 * time.Hour
	}
	if c.MaxID <= 0 {
		c.MaxID = 256
	}
	return &Join{cfg: c, waiting: map[string]waiting{}}
}

// Predict stores the answer to a request until its label comes. The pair's label is
// ignored; a prediction of one model alone has the same class on both sides.
func (j *Join) Predict(p Pair, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.expire(now)
	if p.RequestID == "" || len(p.RequestID) > j.cfg.MaxID {
		j.counts.Refused++
		return
	}
	if _, ok := j.waiting[p.RequestID]; ok {
		j.counts.Duplicate++
		return
	}
	for len(j.waiting) >= j.cfg.Capacity {
		if j.pop() {
			j.counts.Dropped++
		}
	}
	p.Label = nil
	j.serial++
	j.waiting[p.RequestID] = waiting{p, j.serial}
	j.order = append(j.order, arrival{p.RequestID, j.serial, now})
	if len(j.order)-j.head > 2*j.cfg.Capacity { // mostly answered entries: drop them
		j.compact()
	}
}

// Label answers the prediction with this id and returns the pair with its label;
// false if none is waiting.
func (j *Join) Label(id string, label int, now time.Time) (Pair, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.expire(now)
	w, ok := j.waiting[id]
	if !ok {
		j.counts.Unknown++
		return Pair{}, false
	}
	delete(j.waiting, id)
	j.counts.Matched++
	w.pair.Label = &label
	return w.pair, true
}

// Counts returns what became of predictions and labels so far.
func (j *Join) Counts() JoinCounts {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.counts
	c.Waiting = len(j.waiting)
	return c
}

// expire removes the predictions that have waited too long.
func (j *Join) expire(now time.Time) {
	for j.head < len(j.order) && now.Sub(j.order[j.head].at) > j.cfg.TTL {
		if j.pop() {
			j.counts.Expired++
		}
	}
}

// pop removes the front of the queue and reports whether it was still waiting.
func (j *Join) pop() bool {
	a := j.order[j.head]
	j.order[j.head] = arrival{}
	j.head++
	if j.head > 1024 && j.head*2 > len(j.order) {
		j.order = append(j.order[:0:0], j.order[j.head:]...)
		j.head = 0
	}
	w, ok := j.waiting[a.id]
	if !ok || w.serial != a.serial {
		return false
	}
	delete(j.waiting, a.id)
	return true
}

func (j *Join) compact() {
	kept := make([]arrival, 0, len(j.waiting))
	for _, a := range j.order[j.head:] {
		if w, ok := j.waiting[a.id]; ok && w.serial == a.serial {
			kept = append(kept, a)
		}
	}
	j.order, j.head = kept, 0
}

// Live counts right answers among labelled requests.
type Live struct {
	N     int `json:"n"`
	Right int `json:"right"`
}

// Add counts a labelled answer; a failed one (-1) is wrong.
func (l *Live) Add(class, label int) {
	l.N++
	if class == label && class >= 0 {
		l.Right++
	}
}

// Merge adds the counts of o.
func (l *Live) Merge(o Live) { l.N, l.Right = l.N+o.N, l.Right+o.Right }

// Measurement returns live/accuracy with Wilson's interval.
func (l Live) Measurement(subjects []record.Subject) record.Measurement {
	m := record.Measurement{Name: "live/accuracy", Check: "live", Version: 1, Subjects: subjects, Direction: record.Higher, N: l.N}
	if l.N == 0 {
		m.Absent = "no labels have arrived for this window"
		return m
	}
	iv := record.Interval(stat.Wilson(l.Right, l.N, 0.95))
	m.Value, m.Interval = record.Val(float64(l.Right)/float64(l.N)), &iv
	return m
}
