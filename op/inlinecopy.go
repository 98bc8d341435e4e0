package op

import (
	"maps"

	"muster/fault"
	"muster/graph"
)

// Copying the body of a function: what its call binds, and the subgraphs in it.

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
		attrs := resolveAttrs(k, n, f)
		if err := copySubgraphs(b, attrs, m, n, f); err != nil {
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
func resolveAttrs(k, call *graph.Node, f *graph.Function) []graph.Attr {
	var attrs []graph.Attr
	for _, a := range k.Attrs {
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
	return attrs
}

// copySubgraphs gives the attributes of a body node their own subgraphs: values of the function are those of the
// call, references are resolved, and names are new.
func copySubgraphs(b *graph.Builder, attrs []graph.Attr, m map[*graph.Value]*graph.Value, call *graph.Node, f *graph.Function) error {
	for i := range attrs {
		a := &attrs[i]
		if a.G != nil {
			g, err := copySubgraph(b, a.G, m, call, f)
			if err != nil {
				return err
			}
			a.G = g
		}
		for k, s := range a.Graphs {
			if k == 0 {
				a.Graphs = append([]*graph.Graph{}, a.Graphs...)
			}
			g, err := copySubgraph(b, s, m, call, f)
			if err != nil {
				return err
			}
			a.Graphs[k] = g
		}
	}
	return nil
}

func copySubgraph(b *graph.Builder, g *graph.Graph, m map[*graph.Value]*graph.Value, call *graph.Node, f *graph.Function) (*graph.Graph, error) {
	outer := maps.Clone(m)
	delete(outer, nil)
	c := g.CloneInto(outer)
	var rename func(g *graph.Graph) error
	rename = func(g *graph.Graph) error {
		names := func(vs []*graph.Value) {
			for _, v := range vs {
				if v != nil {
					v.Name = b.Unique(v.Name)
				}
			}
		}
		names(g.Inputs)
		names(g.Inits)
		for _, n := range g.Nodes {
			if err := sameMeaning(b.G, f, n); err != nil {
				return err
			}
			names(n.Outputs)
			n.Attrs = resolveAttrs(n, call, f)
			var err error
			n.Subgraphs(func(s *graph.Graph) {
				if err == nil {
					err = rename(s)
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	return c, rename(c)
}
