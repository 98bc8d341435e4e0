package serve

import (
	"context"
	"sync/atomic"
	"time"

	"muster/exec"
	"muster/fault"
	"muster/tensor"
)

// BatchConfig are the settings of dynamic batching; zero values take the defaults in brackets.
type BatchConfig struct {
	MaxRows int           // rows per run [64]
	Wait    time.Duration // how long the first request of a batch waits for company [500us]; negative: none
	Queue   int           // requests that may wait; more are refused [1024]
}

func (c BatchConfig) withDefaults() BatchConfig {
	if c.MaxRows == 0 {
		c.MaxRows = 64
	}
	if c.Wait == 0 {
		c.Wait = 500 * time.Microsecond
	}
	if c.Queue == 0 {
		c.Queue = 1024
	}
	return c
}

// job is one request in the queue. Its inputs were checked against the model, so
// that it cannot make the batch of others fail.
type job struct {
	in   []*tensor.Tensor
	rows int
	done chan result // buffered, one entry
}

type result struct {
	out []*tensor.Tensor
	err error
}

// batcher joins waiting requests along axis 0 and runs them as one.
type batcher struct {
	cfg   BatchConfig
	s     *exec.Session
	queue chan job
	quit  chan struct{}
	gone  chan struct{}
	runs  atomic.Int64
	seen  func(requests, rows int) // called for every run
}

func newBatcher(s *exec.Session, cfg BatchConfig, seen func(requests, rows int)) *batcher {
	b := &batcher{cfg: cfg.withDefaults(), s: s, quit: make(chan struct{}), gone: make(chan struct{}), seen: seen}
	b.queue = make(chan job, b.cfg.Queue)
	go b.loop()
	return b
}

// run queues one request and waits for its outputs.
func (b *batcher) run(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	j := job{in: in, rows: in[0].Shape[0], done: make(chan result, 1)}
	select {
	case b.queue <- j:
	default:
		return nil, fault.New(fault.Exhausted, "queue", "%d requests are waiting", b.cfg.Queue).WithHint("try again later")
	}
	select {
	case r := <-j.done:
		return r.out, r.err
	case <-ctx.Done():
		return nil, fault.New(fault.Exhausted, "request", "given up while waiting: %w", ctx.Err())
	case <-b.gone:
		select { // answered in the last round
		case r := <-j.done:
			return r.out, r.err
		default:
			return nil, fault.New(fault.Exhausted, "model", "it was unloaded").WithHint("try again")
		}
	}
}

// close answers what is queued and stops.
func (b *batcher) close() {
	close(b.quit)
	<-b.gone
	b.s.Close()
}

func (b *batcher) loop() {
	defer close(b.gone)
	for {
		select {
		case j := <-b.queue:
			b.serve(b.collect(j))
		case <-b.quit:
			for {
				select {
				case j := <-b.queue:
					b.serve([]job{j})
				default:
					return
				}
			}
		}
	}
}

// collect adds requests to the first one until the batch is full or the wait is over.
// Requests with other trailing shapes cannot join; they run on their own, after.
func (b *batcher) collect(first job) []job {
	jobs, rows := []job{first}, first.rows
	var timer <-chan time.Time
	for rows < b.cfg.MaxRows {
		select {
		case j := <-b.queue:
			jobs, rows = append(jobs, j), rows+j.rows
			continue
		default:
		}
		if b.cfg.Wait < 0 {
			break
		}
		if timer == nil {
			t := time.NewTimer(b.cfg.Wait)
			defer t.Stop()
			timer = t.C
		}
		select {
		case j := <-b.queue:
			jobs, rows = append(jobs, j), rows+j.rows
		case <-timer:
			return jobs
		}
	}
	return jobs
}

// serve runs groups of jobs that fit together.
func (b *batcher) serve(jobs []job) {
	for len(jobs) > 0 {
		group, rest := jobs[:1:1], []job(nil)
		for _, j := range jobs[1:] {
			if joins(group[0], j) {
				group = append(group, j)
			} else {
				rest = append(rest, j)
			}
		}
		b.group(group)
		jobs = rest
	}
}

func joins(a, b job) bool {
	for i := range a.in {
		if !a.in[i].Shape[1:].Equal(b.in[i].Shape[1:]) {
			return false
		}
	}
	return true
}

func (b *batcher) group(jobs []job) {
	rows := 0
	for _, j := range jobs {
		rows += j.rows
	}
	b.runs.Add(1)
	b.seen(len(jobs), rows)
	if len(jobs) == 1 {
		out, err := b.s.Run(jobs[0].in...)
		jobs[0].done <- result{out, err}
		return
	}
	out, err := b.s.Run(join(jobs, rows)...)
	if err != nil { // one by one, so that each gets its own answer
		for _, j := range jobs {
			o, e := b.s.Run(j.in...)
			j.done <- result{o, e}
		}
		return
	}
	at := 0
	for _, j := range jobs {
		part := make([]*tensor.Tensor, len(out))
		for i, t := range out {
			part[i] = t.Rows(at, at+j.rows)
		}
		at += j.rows
		j.done <- result{part, nil}
	}
}

// join concatenates the inputs of all jobs along axis 0.
func join(jobs []job, rows int) []*tensor.Tensor {
	in := make([]*tensor.Tensor, len(jobs[0].in))
	for i, first := range jobs[0].in {
		shape := first.Shape.Clone()
		shape[0] = rows
		t := tensor.New(first.DType, shape...)
		at := 0
		for _, j := range jobs {
			at += copy(t.Data[at:], j.in[i].Data)
		}
		in[i] = t
	}
	return in
}
