package op

import (
	"fmt"

	"muster/fault"
	"muster/graph"
)

// maxNodes bounds what inlining may make of a graph: calls that double at every level are cheap to write.
const maxNodes = 1 << 20

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
		return splice(g, n, func(b *graph.Builder) ([]*graph.Value, error) { return o.Body(b, n, n.Inputs), nil })
	}
	f := g.Function(n.Domain, n.Op)
	if f == nil || Find(n.Domain, n.Op, 1<<30) != nil {
		return err
	}
	if err := acyclic(g, f, map[*graph.Function]int{}); err != nil {
		return err
	}
	return splice(g, n, func(b *graph.Builder) ([]*graph.Value, error) { return expand(b, n, f) })
}

// InlineFunctions inlines every call of a model's own function that the table does not know.
func InlineFunctions(g *graph.Graph) error {
	for again := true; again; {
		again = false
		for _, n := range append([]*graph.Node{}, g.Nodes...) {
			if Find(n.Domain, n.Op, 1<<30) != nil || g.Function(n.Domain, n.Op) == nil {
				continue
			}
			if err := Inline(g, n); err != nil {
				return err
			}
			again = true
		}
	}
	return nil
}

// splice puts the nodes that body appends in n's place.
func splice(g *graph.Graph, n *graph.Node, body func(b *graph.Builder) ([]*graph.Value, error)) error {
	if len(g.Nodes) > maxNodes {
		return fault.New(fault.Exhausted, n.Place(), "more than %d nodes after inlining", maxNodes)
	}
	at := -1
	for i := range g.Nodes {
		if g.Nodes[i] == n {
			at = i
		}
	}
	if at < 0 {
		return fault.New(fault.NotFound, n.Place(), "the node is not in the graph")
	}
	b := graph.NewBuilder(g)
	if n.Name != "" {
		b.Prefix = n.Name + "/"
	}
	before, after := g.Nodes[:at:at], g.Nodes[at+1:]
	g.Nodes = before
	outs, err := body(b)
	if err == nil && len(outs) < len(n.Outputs) {
		err = fault.New(fault.Malformed, n.Place(), "%d outputs, the body makes %d", len(n.Outputs), len(outs))
	}
	if err != nil {
		g.Nodes = append(append(before, n), after...)
		return err
	}
	made := map[*graph.Node]bool{}
	for _, m := range g.Nodes[at:] {
		made[m] = true
	}
	for i, v := range n.Outputs {
		if v != nil {
			takeOver(b, v, outs[i], made, g.Nodes[at:])
		}
	}
	g.Nodes = append(g.Nodes[:len(g.Nodes):len(g.Nodes)], after...)
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
	}
}

// acyclic refuses a function that calls itself. seen: 1 being visited, 2 done.
func acyclic(g *graph.Graph, f *graph.Function, seen map[*graph.Function]int) error {
	place := fmt.Sprintf("function %s.%s", f.Domain, f.Name)
	switch {
	case seen[f] == 1:
		return fault.New(fault.Malformed, place, "the function calls itself")
	case seen[f] == 2:
		return nil
	case len(seen) > 1000:
		return fault.New(fault.Exhausted, place, "more than 1000 functions call each other")
	}
	seen[f] = 1
	for _, n := range f.Body.Nodes {
		if c := g.Function(n.Domain, n.Op); c != nil {
			if err := acyclic(g, c, seen); err != nil {
				return err
			}
		}
	}
	seen[f] = 2
	return nil
}

// expand copies the body of f with the inputs and attributes of its call n.
func expand(b *graph.Builder, n *graph.Node, f *graph.Function) ([]*graph.Value, error) {
	if len(n.Inputs) > len(f.Body.Inputs) {
		return nil, fault.New(fault.Malformed, n.Place(), "%d inputs, the function takes %d", len(n.Inputs), len(f.Body.Inputs))
	}
	m := map[*graph.Value]*graph.Value{nil: nil}
	for i, v := range f.Body.Inputs {
		m[v] = n.In(i)
	}
	for _, v := range f.Body.Inits {
		m[v] = b.Init(v.Name, v.Const)
	}
	for _, k := range f.Body.Nodes {
		if err := sameMeaning(b.G, f, k); err != nil {
			return nil, err
		}
		attrs, err := resolveAttrs(k, n, f)
		if err != nil {
			return nil, err
		}
		in := make([]*graph.Value, len(k.Inputs))
		for i, v := range k.Inputs {
			w, ok := m[v]
			if !ok {
				return nil, fault.New(fault.Malformed, k.Place(), "input %q is not defined in the function", v.Name)
			}
			in[i] = w
		}
		for i, w := range b.Node(k.Domain, k.Op, len(k.Outputs), in, attrs...) {
			if k.Outputs[i] == nil {
				w.Producer.Outputs[i] = nil
				continue
			}
			m[k.Outputs[i]] = w
		}
	}
	var outs []*graph.Value
	for _, v := range f.Body.Outputs {
		w := m[v]
		if w == nil {
			return nil, fault.New(fault.Malformed, n.Place(), "output %q of the function is not made", v.Name)
		}
		outs = append(outs, w)
	}
	return outs, nil
}

// sameMeaning refuses a body node whose operator means something else at the model's opset.
func sameMeaning(g *graph.Graph, f *graph.Function, k *graph.Node) error {
	own, ok := f.Opsets[k.Domain]
	if g.Model == nil || !ok || own == g.Model.Opsets[k.Domain] {
		return nil
	}
	if _, set := g.Model.Opsets[k.Domain]; !set {
		g.Model.Opsets[k.Domain] = own
		return nil
	}
	if Find(k.Domain, k.Op, own) != Find(k.Domain, k.Op, g.Model.Opsets[k.Domain]) {
		return fault.New(fault.Unsupported, k.Place(), "function %s.%s is written in opset %d, the model in %d", f.Domain, f.Name, own, g.Model.Opsets[k.Domain])
	}
	return nil
}

// resolveAttrs replaces references by the attributes of the call or the function's defaults.
func resolveAttrs(k, call *graph.Node, f *graph.Function) ([]graph.Attr, error) {
	var attrs []graph.Attr
	for _, a := range k.Attrs {
		if a.G != nil || len(a.Graphs) > 0 {
			return nil, fault.New(fault.Unsupported, k.Place(), "a subgraph inside a function is not supported")
		}
		if a.Ref == "" {
			attrs = append(attrs, a)
			continue
		}
		v := call.Attr(a.Ref)
		for i := range f.AttrDefaults {
			if d := &f.AttrDefaults[i]; v == nil && d.Name == a.Ref {
				v = d
			}
		}
		if v != nil { // otherwise the attribute is absent
			w := *v
			w.Name = a.Name
			attrs = append(attrs, w)
		}
	}
	return attrs, nil
}
