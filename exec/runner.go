package exec

import (
	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// runner runs one graph: that of a session, a subgraph of control flow, or what follows a node whose output
// shapes depend on data. It keeps a plan for every set of shapes seen lately.
type runner struct {
	env   *env
	g     *graph.Graph
	root  bool
	depth int // of runners inside runners
	plans map[string]*plan
	order []string // plan keys, least recently used first
	key   []byte
	subs  map[*graph.Graph]*runner // subgraphs of nodes
	rests map[string]*runner       // what follows a segment, by which nodes that is

	bodies []*runner // of operators defined by others
}

// env is what the runners of a session share.
type env struct {
	cfg   Config
	debug debug
	steps int // of loops that this run may still take
}

// maxSegments bounds how deep runners are nested; behind it nodes run one by one on their references.
const maxSegments = 64

func newRunner(g *graph.Graph, e *env, depth int) *runner {
	return &runner{env: e, g: g, depth: depth, plans: map[string]*plan{}, subs: map[*graph.Graph]*runner{}, rests: map[string]*runner{}}
}

// run computes the outputs; they are valid until the next run. known says which inputs may serve as constants
// (their values are part of the plan's key); nil: none.
func (r *runner) run(feeds []*tensor.Tensor, known []bool, step uint64) ([]*tensor.Tensor, error) {
	if r.depth > maxSegments {
		return evaluate(r.g, feeds, r.env, step)
	}
	p, err := r.planFor(feeds, known)
	if err != nil {
		return nil, err
	}
	return p.run(feeds, step)
}

// planFor finds or makes the plan for the shapes of feeds.
func (r *runner) planFor(feeds []*tensor.Tensor, known []bool) (*plan, error) {
	r.key = r.key[:0]
	for i, t := range feeds {
		if t == nil {
			return nil, fault.New(fault.Mismatch, "input "+r.g.Inputs[i].Name, "it is not fed")
		}
		r.key = append(r.key, byte(t.DType), byte(len(t.Shape)), byte(len(t.Shape)>>8))
		for _, d := range t.Shape {
			r.key = append(r.key, byte(d), byte(d>>8), byte(d>>16), byte(d>>24), byte(d>>32), byte(d>>40))
		}
		if known != nil && known[i] {
			r.key = append(append(r.key, 1), t.Data...)
		} else {
			r.key = append(r.key, 0)
		}
	}
	if p, ok := r.plans[string(r.key)]; ok {
		r.used()
		return p, nil
	}
	p, err := r.plan(feeds, known)
	if err != nil {
		return nil, err
	}
	if len(r.order) == r.env.cfg.MaxPlans {
		r.plans[r.order[0]].free()
		delete(r.plans, r.order[0])
		r.order = append(r.order[:0], r.order[1:]...)
	}
	k := string(r.key)
	r.plans[k], r.order = p, append(r.order, k)
	return p, nil
}

// used makes the plan of r.key the last to be dropped.
func (r *runner) used() {
	last := len(r.order) - 1
	if r.order[last] == string(r.key) {
		return
	}
	for i, k := range r.order {
		if k == string(r.key) {
			copy(r.order[i:], r.order[i+1:])
			r.order[last] = k
			return
		}
	}
}

// plan specialises the graph to feeds.
func (r *runner) plan(feeds []*tensor.Tensor, known []bool) (*plan, error) {
	dims := map[string]int{}
	if r.root {
		if err := bindings(r.g, feeds, dims); err != nil {
			return nil, err
		}
	}
	in := make([]*tensor.Tensor, len(feeds))
	for i, t := range feeds {
		in[i] = &tensor.Tensor{DType: t.DType, Shape: t.Shape.Clone(), Items: t.Items}
		if known != nil && known[i] && !t.DType.IsContainer() {
			in[i].Data = append(tensor.Alloc(len(t.Data))[:0], t.Data...)
		}
	}
	b, err := op.Specialise(r.g, in, dims)
	if err != nil {
		return nil, err
	}
	p := &plan{r: r}
	if op.Static(b.Graph) == nil {
		return p, p.build(b.Graph)
	}
	return p, p.segment(b)
}

// sub is the runner of a closed subgraph.
func (r *runner) sub(g *graph.Graph) *runner {
	s := r.subs[g]
	if s == nil {
		s = newRunner(g, r.env, r.depth+1)
		r.subs[g] = s
	}
	return s
}

// each calls f for every plan that is kept.
func (r *runner) each(f func(*plan)) {
	for _, k := range r.order {
		f(r.plans[k])
	}
	for _, s := range r.subs {
		s.each(f)
	}
	for _, s := range r.rests {
		s.each(f)
	}
	for _, s := range r.bodies {
		s.each(f)
	}
}

func (r *runner) free() {
	r.each((*plan).free)
	r.plans, r.order = map[string]*plan{}, nil
	r.subs, r.rests, r.bodies = map[*graph.Graph]*runner{}, map[string]*runner{}, nil
}

// call makes the reference call of a node, with the runners of its subgraphs.
func (r *runner) call(n *graph.Node, in, out []*tensor.Tensor) *op.Call {
	return newCall(n, in, out, r.env, func(g *graph.Graph, feeds []*tensor.Tensor, known []bool, step uint64) ([]*tensor.Tensor, error) {
		return r.sub(g).run(feeds, known, step)
	})
}
