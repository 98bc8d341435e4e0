package exec

import (
	"runtime"
	"sort"
	"time"

	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/pass"
	"muster/tensor"
)

// plan is a graph specialised to concrete shapes: prepared steps over one arena, and behind them what can be
// planned only when it runs.
type plan struct {
	r      *runner
	steps  []step
	in     []*tensor.Tensor // headers of the inputs; their data changes with every run
	views  []view           // tensors that share an input's bytes
	out    []*tensor.Tensor
	arena  *arena
	report Report

	tail    []*tailNode
	rest    rest
	sources []source // of the outputs; nil: they are out
	final   []*tensor.Tensor
}

// step is one prepared node.
type step struct {
	node    *graph.Node
	op      *op.Op
	in, out []*tensor.Tensor
	kernel  op.Kernel
	scratch []byte
	ref     *op.Call // set when there is no kernel
	body    *runner  // set when there is no reference either
	args    []int    // inputs of body

	runs         int
	nanos        int64
	flops, bytes int64
}

// view is a tensor that must follow the data of an input.
type view struct{ t, root *tensor.Tensor }

// maxPassNodes bounds the graphs that passes rewrite: their time grows with the square of the size.
const maxPassNodes = 1 << 16

// build makes a graph with static shapes fast, prepares every node and places every buffer.
func (p *plan) build(g *graph.Graph) error {
	if err := p.expand(g); err != nil {
		return err
	}
	if !p.r.env.cfg.NoPasses && len(g.Nodes) <= maxPassNodes {
		if err := pass.Optimize(g, p.r.env.debug.passes()); err != nil {
			return err
		}
		if err := p.expand(g); err != nil {
			return err
		}
	}
	l := newLayout(g)
	for _, n := range g.Nodes {
		if constant(n) {
			continue
		}
		st, err := l.prepare(p.r, g, n)
		if err != nil {
			return err
		}
		p.steps = append(p.steps, st)
	}
	for _, v := range g.Outputs {
		l.buf[v].persistent = true
	}
	l.lifetimes(p.steps)
	size, scratch := l.place(p.steps)
	a, err := newArena(size + scratch)
	if err != nil {
		return err
	}
	p.arena = a
	runtime.AddCleanup(p, (*arena).free, a)
	l.bind(a.data)
	for i := range p.steps {
		p.steps[i].scratch = a.data[size : size+scratch]
	}
	for _, v := range g.Inputs {
		p.in = append(p.in, l.tensor(v))
	}
	for _, v := range g.Outputs {
		p.out = append(p.out, l.tensor(v))
	}
	p.views = l.inputViews()
	p.report = l.reportOf(p.steps, size+scratch)
	p.report.Later = len(p.tail)
	if p.rest.r != nil {
		p.report.Later += len(p.rest.r.g.Nodes)
	}
	p.r.env.debug.plan(p)
	return nil
}

// constant reports whether every output was computed while shapes were inferred.
func constant(n *graph.Node) bool {
	for _, v := range n.Outputs {
		if v != nil && v.Const == nil {
			return false
		}
	}
	return true
}

// run executes the steps over the fed tensors. The outputs are valid until the next run.
func (p *plan) run(feeds []*tensor.Tensor, step uint64) ([]*tensor.Tensor, error) {
	for i, t := range p.in {
		t.Data, t.Items = feeds[i].Data, feeds[i].Items
	}
	for _, v := range p.views {
		v.t.Data = v.root.Data
	}
	for i := range p.steps {
		if err := p.runStep(&p.steps[i], step); err != nil {
			return nil, err
		}
	}
	if p.sources == nil {
		return p.out, nil
	}
	return p.runTail(step)
}

func (p *plan) runStep(st *step, step uint64) error {
	var start time.Time
	if p.r.env.cfg.Profile {
		start = time.Now()
	}
	switch {
	case st.ref != nil:
		for _, t := range st.out {
			if t != nil {
				clear(t.Data)
				t.Items = nil
			}
		}
		st.ref.Step = step
		if err := st.reference(); err != nil {
			return fault.At(st.node.Place(), err)
		}
	case st.kernel.Run != nil:
		if st.kernel.Check != nil {
			if err := st.kernel.Check(st.in); err != nil {
				return fault.At(st.node.Place(), err)
			}
		}
		if st.kernel.Step != nil {
			st.kernel.Step(step)
		}
		st.kernel.Run(st.in, st.out, st.scratch)
	}
	if p.r.env.cfg.Profile {
		st.runs++
		st.nanos += time.Since(start).Nanoseconds()
	}
	return p.r.env.debug.step(st)
}

func (st *step) reference() error {
	if st.body == nil {
		return st.op.Ref(st.ref)
	}
	return runBody(st.body, st.args, nil, st.ref)
}

func (p *plan) free() { p.arena.free() }

// buffer is one stretch of memory with the values that live in it.
type buffer struct {
	size       int
	first      int // step that writes it first
	last       int // last step that reads it
	offset     int
	constant   *tensor.Tensor
	input      *tensor.Tensor
	tensors    []*tensor.Tensor
	persistent bool // outputs stay to the end
}

// layout assigns a buffer to every value.
type layout struct {
	buf  map[*graph.Value]*buffer
	ten  map[*graph.Value]*tensor.Tensor
	list []*buffer // arena buffers in the order of their first step
	now  int
	cons int
}

func newLayout(g *graph.Graph) *layout {
	l := &layout{buf: map[*graph.Value]*buffer{}, ten: map[*graph.Value]*tensor.Tensor{}}
	for _, v := range g.Inits {
		l.addConst(v)
	}
	for _, v := range g.Inputs {
		s, _ := v.Static()
		t := &tensor.Tensor{DType: v.DType, Shape: s}
		if v.Const != nil { // its value is part of the plan's key
			t.Data = v.Const.Data
		}
		l.ten[v], l.buf[v] = t, &buffer{input: t, first: -1}
	}
	for _, n := range g.Nodes {
		for _, v := range n.Outputs {
			if v != nil && v.Const != nil {
				l.addConst(v)
			}
		}
	}
	return l
}

func (l *layout) addConst(v *graph.Value) {
	l.ten[v], l.buf[v] = v.Const, &buffer{constant: v.Const, first: -1}
	l.cons += len(v.Const.Data)
}

func (l *layout) tensor(v *graph.Value) *tensor.Tensor {
	if v == nil {
		return nil
	}
	return l.ten[v]
}

// prepare chooses a kernel for n and makes the headers of its outputs.
func (l *layout) prepare(r *runner, g *graph.Graph, n *graph.Node) (step, error) {
	o, err := op.Of(g, n)
	if err != nil {
		return step{}, err
	}
	st := step{node: n, op: o}
	for _, v := range n.Inputs {
		st.in = append(st.in, l.tensor(v))
	}
	for _, v := range n.Outputs {
		if v == nil {
			st.out = append(st.out, nil)
			continue
		}
		s, _ := v.Static()
		t := &tensor.Tensor{DType: v.DType, Shape: s}
		l.ten[v] = t
		st.out = append(st.out, t)
		st.bytes += int64(v.DType.Bytes(s.Elems()))
	}
	for _, t := range st.in {
		if t != nil {
			st.bytes += int64(t.DType.Bytes(t.Elems()))
		}
	}
	st.flops = flops(o, n)
	l.now++
	if st.isView() {
		l.share(n.Inputs[0], n.Outputs[0])
		return st, nil
	}
	if o.Prepare != nil {
		k, ok := o.Prepare(&op.Prep{Node: n, In: st.in, Out: st.out})
		if ok {
			st.kernel = k
		}
	}
	if st.kernel.Run == nil {
		st.ref = r.call(n, st.in, st.out)
		if o.Ref == nil {
			if st.body, st.args, err = r.body(g, o, n); err != nil {
				return step{}, err
			}
		}
	}
	for i, v := range n.Outputs {
		if v != nil {
			l.output(st, i, v)
		}
	}
	return st, nil
}

// isView reports whether the node's output is its input under another shape.
func (st *step) isView() bool { return st.op.View && !st.node.Inputs[0].DType.IsContainer() }

func flops(o *op.Op, n *graph.Node) int64 {
	if o.Flops != nil {
		return o.Flops(n.Inputs, n.Outputs)
	}
	if o.View || len(n.Outputs) == 0 || n.Outputs[0] == nil {
		return 0
	}
	s, _ := n.Outputs[0].Static()
	return int64(s.Elems())
}

func (l *layout) share(from, to *graph.Value) {
	b := l.buf[from]
	l.buf[to] = b
	b.tensors = append(b.tensors, l.ten[to])
}

func (l *layout) output(st step, i int, v *graph.Value) {
	t := l.ten[v]
	b := &buffer{size: len64(t), first: l.now - 1, last: l.now - 1, tensors: []*tensor.Tensor{t}}
	if i == 0 && st.kernel.Over > 0 {
		b.first = l.now - 1
	}
	l.buf[v] = b
	l.list = append(l.list, b)
}

func len64(t *tensor.Tensor) int { return (t.DType.Bytes(t.Elems()) + 63 + 64) &^ 63 }

// lifetimes finds the last reader of every buffer; then lets kernels that may
// write over an input that dies there do so.
func (l *layout) lifetimes(steps []step) {
	for i := range steps {
		for _, v := range steps[i].node.Inputs {
			if v != nil && l.buf[v] != nil {
				l.buf[v].last = max(l.buf[v].last, i)
			}
		}
	}
	for i := range steps {
		st := &steps[i]
		if st.kernel.Over == 0 {
			continue
		}
		src, dst := l.buf[st.node.Inputs[st.kernel.Over-1]], l.buf[st.node.Outputs[0]]
		if src.constant != nil || src.input != nil || src.persistent || src.last != i || src.size < dst.size || src == dst {
			continue
		}
		src.last = dst.last
		src.persistent = src.persistent || dst.persistent
		src.tensors = append(src.tensors, dst.tensors...)
		for v, b := range l.buf {
			if b == dst {
				l.buf[v] = src
			}
		}
		dst.size, dst.tensors = -1, nil
	}
}

// place gives every buffer an offset: largest first, lowest gap that is free
// during its life. It returns the arena size and the largest scratch.
func (l *layout) place(steps []step) (size, scratch int) {
	live := l.list[:0:0]
	for _, b := range l.list {
		if b.size >= 0 {
			live = append(live, b)
		}
	}
	sort.SliceStable(live, func(i, j int) bool { return live[i].size > live[j].size })
	var placed []*buffer
	for _, b := range live {
		if b.persistent {
			b.last = len(steps)
		}
		b.offset = 0
		for _, o := range placed { // sorted by offset
			if o.last < b.first || b.last < o.first {
				continue
			}
			if b.offset+b.size <= o.offset {
				break
			}
			b.offset = max(b.offset, o.offset+o.size)
		}
		at := sort.Search(len(placed), func(i int) bool { return placed[i].offset > b.offset })
		placed = append(placed, nil)
		copy(placed[at+1:], placed[at:])
		placed[at] = b
		size = max(size, b.offset+b.size)
	}
	for i := range steps {
		scratch = max(scratch, steps[i].kernel.Scratch)
	}
	return size, scratch
}

// bind points every tensor header at its bytes.
func (l *layout) bind(mem []byte) {
	for _, b := range l.list {
		for _, t := range b.tensors {
			n := t.DType.Bytes(t.Elems())
			t.Data = mem[b.offset : b.offset+n : b.offset+b.size]
		}
	}
	for _, b := range l.buf {
		if b.constant != nil {
			for _, t := range b.tensors {
				t.Data = b.constant.Data
			}
		}
	}
}

// inputViews lists the tensors that share the bytes of an input.
func (l *layout) inputViews() []view {
	var vs []view
	seen := map[*buffer]bool{}
	for _, b := range l.buf {
		if b.input != nil && !seen[b] {
			seen[b] = true
			for _, t := range b.tensors {
				vs = append(vs, view{t, b.input})
			}
		}
	}
	return vs
}

func (l *layout) reportOf(steps []step, arena int) Report {
	r := Report{Nodes: len(steps), ArenaBytes: arena, ConstBytes: l.cons, Operators: map[string]int{}, Reference: map[string]int{}, IntegerOps: map[string]int{}}
	for i := range steps {
		st := &steps[i]
		r.Flops += st.flops
		r.Operators[st.node.FullOp()]++
		if st.kernel.Integer {
			r.Integer++
			r.IntegerOps[st.node.FullOp()]++
			r.IntegerFlops += st.flops
		}
		if st.ref != nil {
			r.Reference[st.node.FullOp()]++
		}
	}
	return r
}

// supported looks for operators that the table does not have, in subgraphs too.
func supported(g *graph.Graph) error {
	for _, n := range g.Nodes {
		if _, err := op.Of(g, n); err != nil {
			return err
		}
		var err error
		n.Subgraphs(func(s *graph.Graph) {
			if err == nil {
				err = fault.At(n.Place(), supported(s))
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
