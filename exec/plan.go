package exec

import (
	"runtime"
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
	direct []direct // how the outputs reach the caller; nil in subgraphs
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
	nanos, least int64
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
	var states [][2]*graph.Value
	if p.sources == nil {
		states = p.r.statePairs(g)
	}
	hasten(g, states)
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
	l.overwrite(p.steps, states)
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
	if p.r.root && p.sources == nil {
		p.direct = l.directs(g.Outputs[:len(g.Outputs)-len(p.r.env.cfg.State)])
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
		d := time.Since(start).Nanoseconds()
		if st.runs == 0 || d < st.least {
			st.least = d
		}
		st.runs, st.nanos = st.runs+1, st.nanos+d
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
