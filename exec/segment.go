package exec

import (
	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// A graph with shapes that depend on data runs in segments. The first is everything whose shapes are known: an
// ordinary plan. Then come the nodes that find their own output shapes (NonZero, Loop, ...), on their references.
// What is left is a graph of its own, run for the shapes (and, where a shape rule asks for them, the values) that
// came out; it may have segments again.

// cut divides the nodes of a bound graph.
type cut struct {
	head, tail []*graph.Node // run now; of unknown output shapes
	rest       []int         // indices of the nodes that follow
	ready      map[*graph.Value]bool
	known      map[*graph.Value]bool // values that shape rules of the rest ask for
}

// segment plans b up to the nodes whose shapes depend on data.
func (p *plan) segment(b *op.Bound) error {
	c, err := divide(b)
	if err != nil {
		return err
	}
	return p.buildSegments(b.Graph, c)
}

func divide(b *op.Bound) (*cut, error) {
	g := b.Graph
	c := &cut{ready: make(map[*graph.Value]bool, len(g.Nodes)), known: map[*graph.Value]bool{}}
	for _, v := range g.Inputs {
		c.ready[v] = true
	}
	for _, v := range g.Inits {
		c.ready[v] = true
	}
	for i, n := range g.Nodes {
		if !c.all(n.Inputs) {
			c.rest = append(c.rest, i)
			continue
		}
		asked, open := b.Asked[n]
		switch {
		case !open:
			c.head = append(c.head, n)
			for _, v := range n.Outputs {
				c.ready[v] = true
			}
			continue
		case dynamic(g, n):
			c.tail = append(c.tail, n)
			continue
		}
		c.rest = append(c.rest, i)
		if err := c.ask(n, asked); err != nil {
			return nil, err
		}
	}
	for _, n := range c.tail { // their outputs can be read by the rest only
		for _, v := range n.Outputs {
			c.ready[v] = true
		}
	}
	return c, nil
}

func dynamic(g *graph.Graph, n *graph.Node) bool {
	o, err := op.Of(g, n)
	return err == nil && o.Dynamic
}

// ask makes the values that decide the output shapes of n known to the rest.
func (c *cut) ask(n *graph.Node, asked []int) error {
	if len(asked) == 0 { // the rule does not say which
		for i := range n.Inputs {
			asked = append(asked, i)
		}
	}
	any := false
	for _, i := range asked {
		if v := n.Inputs[i]; v != nil && v.Const == nil {
			c.known[v], any = true, true
		}
	}
	if !any {
		return fault.New(fault.Unsupported, n.Place(), "the shapes of its outputs cannot be inferred")
	}
	return nil
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

// tailNode is a node that finds its own output shapes.
type tailNode struct {
	op   *op.Op
	call *op.Call
	body *runner // of an operator that is defined by others
	args []int   // inputs of body
	in   []int   // outputs of the head; -1: absent
}

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

func (p *plan) buildSegments(g *graph.Graph, c *cut) error {
	w := &wiring{head: &graph.Graph{Name: g.Name, Inputs: g.Inputs, Inits: g.Inits, Nodes: c.head, Model: g.Model}, at: map[*graph.Value]source{}}
	for k, n := range c.tail {
		t, err := p.tailNode(g, n, w)
		if err != nil {
			return err
		}
		for i, v := range n.Outputs {
			w.at[v] = source{k, i}
		}
		p.tail = append(p.tail, t)
	}
	p.restOf(g, c, w)
	for _, v := range g.Outputs {
		p.sources = append(p.sources, w.source(v))
	}
	p.final = make([]*tensor.Tensor, len(g.Outputs))
	return p.build(w.head)
}

func (p *plan) tailNode(g *graph.Graph, n *graph.Node, w *wiring) (*tailNode, error) {
	o, err := op.Of(g, n)
	if err != nil {
		return nil, err
	}
	t := &tailNode{op: o}
	for _, v := range n.Inputs {
		if v == nil {
			t.in = append(t.in, -1)
			continue
		}
		t.in = append(t.in, w.source(v).index)
	}
	t.call = p.r.call(n, make([]*tensor.Tensor, len(n.Inputs)), make([]*tensor.Tensor, len(n.Outputs)))
	if o.Ref == nil {
		t.body, t.args, err = p.r.body(g, o, n)
	}
	return t, err
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
	for _, i := range c.rest {
		for k, v := range from.Nodes[i].Inputs {
			if v == nil || own[v] || inits[v] || seen[v] {
				continue
			}
			seen[v] = true
			bound := g.Nodes[i].Inputs[k]
			sub.Inputs = append(sub.Inputs, v)
			p.rest.in = append(p.rest.in, w.source(bound))
			p.rest.known = append(p.rest.known, keyed(bound) || c.known[bound] && !bound.DType.IsContainer())
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
		p.rest.r = newRunner(detached(sub), p.r.env, p.r.depth+1)
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
		if err := p.runTailNode(t, step); err != nil {
			return nil, fault.At(t.call.Node.Place(), err)
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

func (p *plan) runTailNode(t *tailNode, step uint64) error {
	c := t.call
	for i, k := range t.in {
		if k >= 0 {
			c.In[i] = p.out[k]
		}
	}
	for i, v := range c.Node.Outputs {
		if c.Out[i] = nil; v == nil {
			continue
		}
		c.Out[i] = &tensor.Tensor{DType: v.DType}
		if s, ok := v.Static(); ok {
			c.Out[i] = tensor.New(v.DType, s...)
		}
	}
	c.Step = step
	if t.body != nil {
		return runBody(t.body, t.args, c)
	}
	if err := t.op.Ref(c); err != nil {
		return err
	}
	for i, v := range c.Node.Outputs {
		if v != nil {
			if err := whole(c.Node, v, c.Out[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// body is the runner of an operator's body and which of n's inputs it takes.
func (r *runner) body(g *graph.Graph, o *op.Op, n *graph.Node) (*runner, []int, error) {
	b, args, err := bodyGraph(g, o, n)
	if err != nil {
		return nil, nil, err
	}
	if b, err = prepared(b); err != nil {
		return nil, nil, err
	}
	s := newRunner(detached(b), r.env, r.depth+1)
	r.bodies = append(r.bodies, s)
	return s, args, nil
}

// runBody runs a body as the reference of a node: outputs whose shape is known are copied, the others handed over.
func runBody(r *runner, args []int, c *op.Call) error {
	feeds, known := make([]*tensor.Tensor, len(args)), make([]bool, len(args))
	for i, k := range args {
		feeds[i], known[i] = c.In[k], keyed(c.Node.Inputs[k])
	}
	out, err := r.run(feeds, known, c.Step)
	if err != nil {
		return err
	}
	for i, t := range c.Out {
		switch {
		case t == nil:
		case i >= len(out) || t.DType != out[i].DType || t.Shape != nil && !t.Shape.Equal(out[i].Shape):
			return fault.New(fault.Internal, c.Node.Place(), "output %d of the body is not %s %s", i, t.DType, t.Shape)
		case t.DType.IsContainer() || t.Shape == nil:
			c.Out[i] = out[i].Clone()
		default:
			copy(t.Data, out[i].Data)
		}
	}
	return nil
}
