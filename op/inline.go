package op

import (
	"fmt"
	"slices"

	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// Limits on what calls of functions expand to; calls that double at every level are cheap to write.
const (
	maxNodes = 1 << 18
	maxDepth = 64
)

// Inline replaces node n of g by its body: that of the table, or of a function of
// the model if the table has no such operator. Output values stay the same objects.
func Inline(g *graph.Graph, n *graph.Node) error {
	o, err := Of(g, n)
	switch {
	case err == nil && o.Body == nil:
		return fault.New(fault.Unsupported, n.Place(), "%s has no body", n.FullOp())
	case err == nil:
		for i, v := range n.Inputs {
			if v != nil && v.Shape == nil {
				return fault.New(fault.Mismatch, n.Place(), "the rank of input %d is not known", i)
			}
		}
		return replace(g, n, func(l *inliner) error {
			return l.splice(n, func() ([]*graph.Value, error) {
				outs := o.Body(l.b, n, n.Inputs)
				if outs == nil {
					return nil, fault.New(fault.Unsupported, n.Place(), "%s of unknown sizes, or in this form, has no body: it has no gradient", n.FullOp())
				}
				return outs, nil
			})
		})
	case callee(g, n) == nil:
		return err
	}
	return replace(g, n, func(l *inliner) error { return l.call(n) })
}

// InlineFunctions inlines every call of a model's own function that the table does not know.
func InlineFunctions(g *graph.Graph) error {
	any := false
	for _, n := range g.Nodes {
		any = any || callee(g, n) != nil
	}
	if !any {
		return nil
	}
	l := newInliner(g)
	nodes := g.Nodes
	g.Nodes = nil
	for _, n := range nodes {
		if err := l.call(n); err != nil {
			g.Nodes = nodes
			return err
		}
	}
	return nil
}

// InlineAll replaces every node that pick chooses: by the body of its operator, or, for an If whose condition is
// constant, by the branch it takes. It returns how many it replaced.
func InlineAll(g *graph.Graph, pick func(*graph.Node) bool) (int, error) {
	l := newInliner(g)
	nodes, fired := g.Nodes, 0
	g.Nodes = make([]*graph.Node, 0, len(nodes))
	for _, n := range nodes {
		if !pick(n) {
			g.Nodes = append(g.Nodes, n)
			continue
		}
		fired++
		err := l.splice(n, func() ([]*graph.Value, error) {
			if br := Taken(n); br != nil {
				return l.branch(n, br), nil
			}
			o, err := Of(g, n)
			if err != nil {
				return nil, err
			}
			return o.Body(l.b, n, n.Inputs), nil
		})
		if err == nil && len(g.Nodes) > maxNodes+len(nodes) {
			err = fault.New(fault.Exhausted, n.Place(), "more than %d nodes after inlining", maxNodes)
		}
		if err != nil {
			return fired, err
		}
	}
	return fired, nil
}

// Taken is the branch that an If with a constant condition takes; nil for any other node.
func Taken(n *graph.Node) *graph.Graph {
	if n.Op != "If" || n.Domain != "" || n.In(0) == nil {
		return nil
	}
	c := n.Inputs[0].Const
	if c == nil || c.DType != tensor.Bool || c.Elems() != 1 {
		return nil
	}
	name := "else_branch"
	if c.Bools()[0] {
		name = "then_branch"
	}
	if a := n.Attr(name); a != nil && a.G != nil && len(a.G.Inputs) == len(n.Inputs)-1 && len(a.G.Outputs) == len(n.Outputs) {
		return a.G
	}
	return nil
}

// branch appends the nodes of a subgraph that reads n's captured inputs, or, if it is not closed, values of l.g themselves.
func (l *inliner) branch(n *graph.Node, br *graph.Graph) []*graph.Value {
	m := map[*graph.Value]*graph.Value{}
	for _, v := range n.Captured() {
		m[v] = v
	}
	for i, v := range br.Inputs {
		m[v] = n.Inputs[1+i]
	}
	c := br.CloneInto(m)
	for _, v := range c.Inits {
		v.Name = l.b.Unique(v.Name)
		l.g.Inits = append(l.g.Inits, v)
	}
	for _, k := range c.Nodes {
		for _, v := range k.Outputs {
			if v != nil {
				v.Name = l.b.Unique(v.Name)
			}
		}
		l.g.Nodes = append(l.g.Nodes, k)
	}
	return c.Outputs
}

// callee is the function that n calls, nil if its operator is in the table or nowhere.
func callee(g *graph.Graph, n *graph.Node) *graph.Function {
	if Find(n.Domain, n.Op, 1<<30) != nil {
		return nil
	}
	return g.Function(n.Domain, n.Op)
}

// replace runs f where n was; on an error g is as before.
func replace(g *graph.Graph, n *graph.Node, f func(l *inliner) error) error {
	at := slices.Index(g.Nodes, n)
	if at < 0 {
		return fault.New(fault.NotFound, n.Place(), "the node is not in the graph")
	}
	l := newInliner(g)
	nodes := g.Nodes
	g.Nodes = append([]*graph.Node{}, nodes[:at]...)
	if err := f(l); err != nil {
		g.Nodes = nodes
		return err
	}
	g.Nodes = append(g.Nodes, nodes[at+1:]...)
	return nil
}

// inliner appends nodes to g, calls replaced by bodies.
type inliner struct {
	g     *graph.Graph
	b     *graph.Builder
	costs map[*graph.Function]cost
}

func newInliner(g *graph.Graph) *inliner {
	return &inliner{g: g, b: graph.NewBuilder(g), costs: map[*graph.Function]cost{}}
}

// call appends n, or what the function it calls expands to.
func (l *inliner) call(n *graph.Node) error {
	f := callee(l.g, n)
	if f == nil {
		l.g.Nodes = append(l.g.Nodes, n)
		return nil
	}
	c, err := l.cost(f, 0)
	if err != nil {
		return err
	}
	if len(l.g.Nodes)+c.nodes > maxNodes {
		return fault.New(fault.Exhausted, n.Place(), "more than %d nodes after inlining", maxNodes)
	}
	start := len(l.g.Nodes)
	if err := l.splice(n, func() ([]*graph.Value, error) { return expand(l.b, n, f) }); err != nil {
		return err
	}
	body := append([]*graph.Node{}, l.g.Nodes[start:]...)
	l.g.Nodes = l.g.Nodes[:start]
	for _, m := range body {
		if err := l.call(m); err != nil {
			return err
		}
	}
	return nil
}

// splice appends a body and makes n's outputs its outputs.
func (l *inliner) splice(n *graph.Node, body func() ([]*graph.Value, error)) error {
	start := len(l.g.Nodes)
	old := l.b.Prefix
	if l.b.Prefix = ""; n.Name != "" {
		l.b.Prefix = n.Name + "/"
	}
	defer func() { l.b.Prefix = old }()
	outs, err := body()
	if err == nil && outs == nil {
		err = fault.New(fault.Unsupported, n.Place(), "%s can be written as other operators only where more of its sizes is known", n.FullOp())
	}
	if err == nil && len(outs) < len(n.Outputs) {
		err = fault.New(fault.Malformed, n.Place(), "%d outputs, the body makes %d", len(n.Outputs), len(outs))
	}
	if err != nil {
		return err
	}
	made := map[*graph.Node]bool{}
	for _, m := range l.g.Nodes[start:] {
		made[m] = true
	}
	for i, v := range n.Outputs {
		if v != nil {
			takeOver(l.b, v, outs[i], made, l.g.Nodes[start:])
		}
	}
	return nil
}

// takeOver makes v the output that w was.
func takeOver(b *graph.Builder, v, w *graph.Value, made map[*graph.Node]bool, body []*graph.Node) {
	if w.Producer == nil || !made[w.Producer] {
		id := b.Op("Identity", w)
		v.Producer, id.Producer.Outputs[0] = id.Producer, v
		return
	}
	for i, o := range w.Producer.Outputs {
		if o == w {
			w.Producer.Outputs[i] = v
		}
	}
	v.Producer, w.Producer = w.Producer, nil
	for _, m := range body {
		for i, in := range m.Inputs {
			if in == w {
				m.Inputs[i] = v
			}
		}
		m.Subgraphs(func(s *graph.Graph) {
			if !s.Closed {
				s.Replace(w, v)
			}
		})
	}
}

// cost is what a function expands to.
type cost struct {
	nodes, depth int
	open         bool // being computed: reached again, the function calls itself
}

func (l *inliner) cost(f *graph.Function, level int) (cost, error) {
	place := fmt.Sprintf("function %s.%s", f.Domain, f.Name)
	c, ok := l.costs[f]
	if ok && c.open {
		return c, fault.New(fault.Malformed, place, "the function calls itself")
	}
	if ok {
		return c, nil
	}
	l.costs[f] = cost{open: true}
	var err error
	eachNode(f.Body, func(n *graph.Node) {
		c.nodes++
		k := callee(l.g, n)
		if k == nil || err != nil {
			return
		}
		var d cost
		if d, err = l.cost(k, level+1); err != nil {
			return
		}
		c.nodes, c.depth = min(c.nodes+d.nodes, maxNodes+1), max(c.depth, d.depth+1)
		if max(c.depth, level) > maxDepth {
			err = fault.New(fault.Exhausted, place, "functions are nested more than %d deep", maxDepth)
		}
	})
	if err == nil {
		l.costs[f] = c
	}
	return c, err
}

// eachNode calls f for the nodes of g and of its subgraphs.
func eachNode(g *graph.Graph, f func(*graph.Node)) {
	for _, n := range g.Nodes {
		f(n)
		n.Subgraphs(func(s *graph.Graph) { eachNode(s, f) })
	}
}
