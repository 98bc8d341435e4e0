package exec

import (
	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// A graph with shapes that depend on data runs in segments. The first is everything whose shapes are known: an
// ordinary plan. Then come, one by one, the nodes whose output shapes the data decide (NonZero, Loop, Range of a
// computed length, ...). What is left is a graph of its own, planned for the shapes that came out; it may have
// segments again.

// cut divides the nodes of a bound graph.
type cut struct {
	head, tail []*graph.Node // run now; of unknown output shapes
	rest       []int         // indices of the nodes that follow
	ready      map[*graph.Value]bool
}

// segment plans b up to the nodes whose shapes depend on data.
func (p *plan) segment(b *op.Bound) error {
	c := divide(b)
	w := &wiring{head: &graph.Graph{Name: b.Graph.Name, Inputs: b.Graph.Inputs, Inits: b.Graph.Inits, Nodes: c.head, Model: b.Graph.Model},
		at: map[*graph.Value]source{}}
	for k, n := range c.tail {
		t, err := p.tailNode(b, n, w)
		if err != nil {
			return err
		}
		for i, v := range n.Outputs {
			w.at[v] = source{k, i}
		}
		p.tail = append(p.tail, t)
	}
	p.restOf(b.Graph, c, w)
	for _, v := range b.Graph.Outputs {
		p.sources = append(p.sources, w.source(v))
	}
	p.final = make([]*tensor.Tensor, len(b.Graph.Outputs))
	return p.build(w.head)
}

func divide(b *op.Bound) *cut {
	g := b.Graph
	c := &cut{ready: make(map[*graph.Value]bool, len(g.Nodes))}
	for _, v := range g.Inputs {
		c.ready[v] = true
	}
	for _, v := range g.Inits {
		c.ready[v] = true
	}
	for i, n := range g.Nodes {
		_, open := b.Asked[n]
		switch {
		case !c.all(n.Inputs):
			c.rest = append(c.rest, i)
		case open:
			c.tail = append(c.tail, n)
		default:
			c.head = append(c.head, n)
			for _, v := range n.Outputs {
				c.ready[v] = true
			}
		}
	}
	return c
}

func (c *cut) all(vs []*graph.Value) bool {
	for _, v := range vs {
		if v != nil && v.Const == nil && !c.ready[v] {
			return false
		}
	}
	return true
}

// source is where a value comes from: an output of the head, of a node of the tail, or of the rest.
type source struct{ from, index int }

// Values of source.from that are not the index of a node of the tail.
const (
	fromHead = -1
	fromRest = -2
)

// rest is the part of a plan that is planned when it runs.
type rest struct {
	r     *runner // nil: nothing is left
	in    []source
	known []bool
	feeds []*tensor.Tensor
	out   []*tensor.Tensor
}

// wiring collects what the head has to put out.
type wiring struct {
	head *graph.Graph
	at   map[*graph.Value]source
}

// source finds v, which becomes an output of the head if nothing else has it.
func (w *wiring) source(v *graph.Value) source {
	s, ok := w.at[v]
	if !ok {
		s = source{fromHead, len(w.head.Outputs)}
		w.at[v] = s
		w.head.Outputs = append(w.head.Outputs, v)
	}
	return s
}

// restOf makes the graph of the nodes that follow from the graph that is not bound.
func (p *plan) restOf(g *graph.Graph, c *cut, w *wiring) {
	if len(c.rest) == 0 {
		return
	}
	from := p.r.g
	sub := &graph.Graph{Name: from.Name, Inits: from.Inits, Model: from.Model}
	own, inits := map[*graph.Value]bool{}, map[*graph.Value]bool{}
	for _, v := range from.Inits {
		inits[v] = true
	}
	var sig []byte
	for _, i := range c.rest {
		n := from.Nodes[i]
		sub.Nodes = append(sub.Nodes, n)
		sig = append(sig, byte(i), byte(i>>8), byte(i>>16), byte(i>>24))
		for _, v := range n.Outputs {
			own[v] = true
		}
	}
	seen := map[*graph.Value]bool{}
	var elems []*graph.Type // of inputs that are containers
	for _, i := range c.rest {
		for k, v := range from.Nodes[i].Inputs {
			if v == nil || own[v] || inits[v] || seen[v] {
				continue
			}
			seen[v] = true
			bound := g.Nodes[i].Inputs[k]
			sub.Inputs = append(sub.Inputs, v)
			p.rest.in = append(p.rest.in, w.source(bound))
			elems = append(elems, bound.Elem)
			p.rest.known = append(p.rest.known, keyed(bound))
		}
	}
	for i, v := range from.Outputs {
		if own[v] {
			w.at[g.Outputs[i]] = source{fromRest, len(sub.Outputs)}
			sub.Outputs = append(sub.Outputs, v)
		}
	}
	p.rest.feeds = make([]*tensor.Tensor, len(sub.Inputs))
	p.rest.r = p.r.rests[string(sig)]
	if p.rest.r == nil {
		alone := detached(sub)
		for i, v := range alone.Inputs {
			if e := elems[i]; e != nil {
				v.Elem = &graph.Type{DType: e.DType, Elem: e.Elem}
			}
		}
		p.rest.r = newRunner(alone, p.r.env, p.r.depth+1)
		p.r.rests[string(sig)] = p.rest.r
	}
}

// detached is a copy of g whose inputs are made by nothing.
func detached(g *graph.Graph) *graph.Graph {
	c, _ := g.Clone()
	for _, v := range c.Inputs {
		v.Producer, v.Const = nil, nil
	}
	return c
}

// runTail runs what follows the head and gathers the outputs.
func (p *plan) runTail(step uint64) ([]*tensor.Tensor, error) {
	for _, t := range p.tail {
		for i, k := range t.from {
			if k >= 0 {
				t.call.In[i] = p.out[k]
			}
		}
		if err := t.run(step); err != nil {
			return nil, fault.At(t.node.Place(), err)
		}
	}
	if p.rest.r != nil {
		for i, s := range p.rest.in {
			p.rest.feeds[i] = p.value(s)
		}
		var err error
		if p.rest.out, err = p.rest.r.run(p.rest.feeds, p.rest.known, step); err != nil {
			return nil, err
		}
	}
	for i, s := range p.sources {
		p.final[i] = p.value(s)
	}
	return p.final, nil
}

func (p *plan) value(s source) *tensor.Tensor {
	switch s.from {
	case fromHead:
		return p.out[s.index]
	case fromRest:
		return p.rest.out[s.index]
	}
	return p.tail[s.from].call.Out[s.index]
}
