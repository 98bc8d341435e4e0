package op

import (
	"fmt"
	"strings"

	"muster/fault"
	"muster/graph"
)

// Function returns a private operator as an ONNX local function whose body is
// standard operators of opset graph.Opset. Float attributes become references
// with their defaults; integers and strings are fixed to attrs (or their
// defaults), because they choose what the body looks like. All inputs are present.
func Function(domain, name string, attrs ...graph.Attr) (*graph.Function, error) {
	o := Find(domain, name, 1<<30)
	if o == nil {
		return nil, fault.New(fault.NotFound, domain+"."+name, "there is no such operator")
	}
	n := &graph.Node{Domain: domain, Op: name, Attrs: attrs}
	for i := 0; i < o.MaxIn; i++ {
		n.Inputs = append(n.Inputs, &graph.Value{Name: fmt.Sprint("in", i)})
	}
	for i := 0; i < o.MaxOut; i++ {
		n.Outputs = append(n.Outputs, &graph.Value{Name: fmt.Sprint("out", i)})
	}
	return functionFor(o, n)
}

// AddFunctions gives g's model the functions that g's private nodes need, so that
// the file runs where Muster's operators are not known. A model has one function
// per operator: nodes whose fixed attributes or inputs differ from the first are inlined.
func AddFunctions(g *graph.Graph) error {
	if g.Model == nil {
		return fault.New(fault.Mismatch, "graph "+g.Name, "a subgraph has no functions")
	}
	var keep []*graph.Function
	for _, f := range g.Model.Functions {
		if f.Domain != graph.Domain || Find(f.Domain, f.Name, 1) == nil {
			keep = append(keep, f)
		}
	}
	g.Model.Functions = keep
	a := adder{g: g, shape: map[string]string{}}
	for _, n := range append([]*graph.Node{}, g.Nodes...) {
		if n.Domain != graph.Domain {
			continue
		}
		ok, err := a.add(n, 0)
		if err != nil {
			return err
		}
		if !ok {
			if err := Inline(g, n); err != nil {
				return err
			}
		}
	}
	return nil
}

type adder struct {
	g     *graph.Graph
	shape map[string]string // what the function of an operator is fixed to
}

// add makes the function for n, and those its body calls. It returns false if there is another one already.
func (a *adder) add(n *graph.Node, depth int) (bool, error) {
	o, err := Of(a.g, n)
	if err != nil {
		return false, err
	}
	key := fixed(o, n)
	if have, ok := a.shape[n.Op]; ok {
		return have == key, nil
	}
	if depth > 8 {
		return false, fault.New(fault.Exhausted, n.Place(), "bodies are nested more than 8 deep")
	}
	f, err := functionFor(o, n)
	if err != nil {
		return false, err
	}
	a.shape[n.Op] = key
	for _, k := range f.Body.Nodes {
		if k.Domain == graph.Domain {
			if ok, err := a.add(k, depth+1); err != nil || !ok {
				return false, fault.New(fault.Internal, n.Place(), "the body needs two forms of %s: %v", k.Op, err)
			}
		}
	}
	a.g.Model.Functions = append(a.g.Model.Functions, f)
	return true, nil
}

// fixed describes what the body of n depends on: attributes that are not floats, and which inputs are there.
func fixed(o *Op, n *graph.Node) string {
	var s strings.Builder
	for _, a := range formals(o, n) {
		if a.Kind != graph.AttrFloat {
			fmt.Fprintf(&s, "%s=%d,%d,%q;", a.Name, a.I, a.Ints, a.S)
		}
	}
	for i := 0; i < o.MaxIn; i++ {
		fmt.Fprint(&s, n.In(i) != nil, " ")
	}
	return s.String()
}

// formals are the attributes of o with the values of n, or their defaults.
func formals(o *Op, n *graph.Node) []graph.Attr {
	var attrs []graph.Attr
	for _, d := range o.Defaults {
		if a := n.Attr(d.Name); a != nil {
			d = *a
		}
		attrs = append(attrs, d)
	}
	return attrs
}

func functionFor(o *Op, n *graph.Node) (*graph.Function, error) {
	if o.Domain != graph.Domain || o.Body == nil {
		return nil, fault.New(fault.Unsupported, n.Place(), "only private operators with a body become functions")
	}
	body := &graph.Graph{Name: o.Name, Model: &graph.Model{Opsets: map[string]int{"": graph.Opset}}}
	b := graph.NewBuilder(body)
	call := &graph.Node{Name: n.Name, Domain: o.Domain, Op: o.Name, Attrs: formals(o, n)}
	for i := range call.Attrs {
		if a := &call.Attrs[i]; a.Kind == graph.AttrFloat {
			*a = graph.Attr{Name: a.Name, Kind: a.Kind, Ref: a.Name}
		}
	}
	for i := range n.Inputs {
		v := &graph.Value{Name: b.Unique(fmt.Sprint("in", i))}
		body.Inputs = append(body.Inputs, v)
		if n.Inputs[i] == nil {
			v = nil
		}
		call.Inputs = append(call.Inputs, v)
	}
	for _, v := range o.Body(b, call, call.Inputs) {
		if v.Producer == nil || isOut(body, v) {
			v = b.Op("Identity", v)
		}
		body.Outputs = append(body.Outputs, v)
	}
	initsToConstants(b)
	f := &graph.Function{Domain: o.Domain, Name: o.Name, AttrDefaults: o.Defaults, Opsets: body.Model.Opsets, Body: body}
	body.Model = nil
	return f, nil
}

func isOut(g *graph.Graph, v *graph.Value) bool {
	for _, o := range g.Outputs {
		if o == v {
			return true
		}
	}
	return false
}

// initsToConstants replaces initialisers, which a function cannot have, by Constant nodes at the front.
func initsToConstants(b *graph.Builder) {
	g := b.G
	var nodes []*graph.Node
	for _, v := range g.Inits {
		n := &graph.Node{Name: b.Unique("Constant"), Op: "Constant", Outputs: []*graph.Value{v}, Attrs: []graph.Attr{graph.Ten("value", v.Const)}}
		v.Producer, v.Const = n, nil
		nodes = append(nodes, n)
	}
	g.Inits, g.Nodes = nil, append(nodes, g.Nodes...)
}
