package kernel

import "sync"

// A product that runs on the team needs two closures over its state. They are made
// once and used again, so that a call allocates nothing.
type pooled struct {
	r    run
	pack func(int)
	tile func(int)
	next *pooled
}

type runPool struct {
	mu   sync.Mutex
	free *pooled
}

var runs runPool

func (p *runPool) get() *pooled {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.free
	if x == nil {
		x = &pooled{}
		x.pack = func(t int) { x.r.pack(t) }
		x.tile = func(t int) { x.r.tile(t) }
		return x
	}
	p.free = x.next
	return x
}

func (p *runPool) put(x *pooled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x.next, p.free = p.free, x
}

// qpooled is the same for integer products.
type qpooled struct {
	r    qrun
	tile func(int)
	next *qpooled
}

type qrunPool struct {
	mu   sync.Mutex
	free *qpooled
}

var qruns qrunPool

func (p *qrunPool) get() *qpooled {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.free
	if x == nil {
		x = &qpooled{}
		x.tile = func(t int) { x.r.tile(t) }
		return x
	}
	p.free = x.next
	return x
}

func (p *qrunPool) put(x *qpooled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x.next, p.free = p.free, x
}
