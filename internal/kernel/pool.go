package kernel

import (
	"sync"

	"muster/internal/team"
)

// pool keeps what was made for one call to be used by the next, so that a call
// allocates nothing. Unlike a sync.Pool it is not emptied by the collector. What is made first
// is enough for every thread, twice: how many work at the same time is a matter of chance.
type pool[T any] struct {
	mu   sync.Mutex
	free []*T
	make func() *T
}

func (p *pool[T]) get() *T {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		for range 2 * team.Size() {
			p.free = append(p.free, p.make())
		}
	}
	n := len(p.free) - 1
	x := p.free[n]
	p.free = p.free[:n]
	return x
}

func (p *pool[T]) put(x *T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, x)
}

// pooled is a product on the team: its state and the closures over it.
type pooled struct {
	r    run
	pack func(int)
	task func(int)
}

var runs = pool[pooled]{make: func() *pooled {
	x := &pooled{}
	x.pack = func(t int) { x.r.pack(t) }
	x.task = func(t int) { x.r.task(t) }
	return x
}}

// slices are the buffers of tasks that pack as they go.
var slices = pool[slice]{make: func() *slice { return &slice{} }}

// qpooled is the same for integer products.
type qpooled struct {
	r           qrun
	copyA, task func(int)
}

var qruns = pool[qpooled]{make: func() *qpooled {
	x := &qpooled{}
	x.copyA = func(t int) { x.r.copyA(t) }
	x.task = func(t int) { x.r.task(t) }
	return x
}}

var qbuffers = pool[qbuffer]{make: func() *qbuffer { return &qbuffer{} }}
