package pass

import (
	"math"
	"slices"

	"muster/graph"
	"muster/tensor"
)

// rewrite collects what a pass replaces and carries it out in one walk over the graph, so that
// a pass costs no more than the nodes it looks at. Values must be read through in and uses
// while it is open: nodes still name what was replaced.
type rewrite struct {
	g     *graph.Graph
	uses  map[*graph.Value][]graph.Use
	outs  map[*graph.Value]bool
	to    map[*graph.Value]*graph.Value
	build *graph.Builder
	fired int
}

func newRewrite(g *graph.Graph) *rewrite {
	r := &rewrite{g: g, uses: g.Uses(), outs: map[*graph.Value]bool{}, to: map[*graph.Value]*graph.Value{}}
	for _, v := range g.Outputs {
		r.outs[v] = true
	}
	return r
}

// b is a builder that appends to the graph; names are collected when it is first needed.
func (r *rewrite) b() *graph.Builder {
	if r.build == nil {
		r.build = graph.NewBuilder(r.g)
	}
	return r.build
}

// now is what stands for v.
func (r *rewrite) now(v *graph.Value) *graph.Value {
	for {
		w, ok := r.to[v]
		if !ok {
			return v
		}
		v = w
	}
}

// in is input i of n, nil if it is absent.
func (r *rewrite) in(n *graph.Node, i int) *graph.Value {
	if v := n.In(i); v != nil {
		return r.now(v)
	}
	return nil
}

// replace makes readers of old read new. A graph output can only be replaced by a value that a new node makes.
func (r *rewrite) replace(old, new *graph.Value) {
	r.to[old] = new
	for _, u := range r.uses[old] {
		r.uses[new] = append(r.uses[new], u)
		if u.In == -1 {
			r.g.Replace(old, new) // read in a subgraph
		}
	}
	if r.outs[old] {
		r.outs[new] = true
	}
	r.fired++
}

// fuse replaces old by the result of a new node.
func (r *rewrite) fuse(old *graph.Value, domain, name string, in []*graph.Value, attrs ...graph.Attr) *graph.Value {
	v := r.b().Node(domain, name, 1, in, attrs...)[0]
	r.become(old, v)
	return v
}

// become replaces old by new, which computes the same.
func (r *rewrite) become(old, new *graph.Value) {
	new.DType, new.Shape = old.DType, old.Shape
	r.replace(old, new)
}

// user is the only reader of v, nil if there are several, or it is a graph output or read in a subgraph.
func (r *rewrite) user(v *graph.Value) *graph.Node {
	n := use(r.uses, v)
	if n == nil || len(n.Outputs) == 0 {
		return nil
	}
	if _, gone := r.to[n.Outputs[0]]; gone {
		return nil
	}
	return n
}

// maker is the node of domain ai.onnx and one of these operators that makes v, or nil.
func (r *rewrite) maker(v *graph.Value, names ...string) *graph.Node {
	if v == nil {
		return nil
	}
	n := r.now(v).Producer
	if n == nil || n.Domain != "" || !slices.Contains(names, n.Op) {
		return nil
	}
	return n
}

// done carries the replacements out and returns how many there were.
func (r *rewrite) done() int {
	if len(r.to) == 0 {
		return r.fired
	}
	for _, n := range r.g.Nodes {
		for i, v := range n.Inputs {
			if v != nil {
				n.Inputs[i] = r.now(v)
			}
		}
	}
	named := map[*graph.Value]bool{}
	for i, v := range r.g.Outputs {
		if w := r.now(v); w != v {
			r.g.Outputs[i] = w
			if w.Producer != nil && !named[v] {
				v.Name, w.Name = w.Name, v.Name
				named[v] = true
			}
		}
	}
	return r.fired
}

// number is the value of a constant with one element.
func number(v *graph.Value) (float64, bool) {
	if v == nil || v.Const == nil || v.Const.DType == tensor.String || v.Const.Elems() != 1 {
		return 0, false
	}
	return v.Const.Float(0), true
}

// is reports whether v is a constant that means want: written with at least six digits, or rounded to its own dtype.
func is(v *graph.Value, want float64) bool {
	x, ok := number(v)
	if !ok {
		return false
	}
	tol := 1e-6
	switch v.DType {
	case tensor.Float16:
		tol = 1.0 / (1 << 11)
	case tensor.BFloat16:
		tol = 1.0 / (1 << 8)
	}
	return math.Abs(x-want) <= tol*math.Abs(want)
}

// sameShape reports whether both shapes are known and equal.
func sameShape(a, b *graph.Value) bool {
	if a.Shape == nil || b.Shape == nil || len(a.Shape) != len(b.Shape) {
		return false
	}
	for i := range a.Shape {
		if !a.Shape[i].Same(b.Shape[i]) {
			return false
		}
	}
	return true
}

// operands returns the inputs of a commutative node with the one that f accepts first; ok is false if there is none.
func (r *rewrite) operands(n *graph.Node, f func(v *graph.Value) bool) (first, second *graph.Value, ok bool) {
	a, b := r.in(n, 0), r.in(n, 1)
	switch {
	case a == nil || b == nil:
		return nil, nil, false
	case f(a):
		return a, b, true
	case f(b):
		return b, a, true
	}
	return nil, nil, false
}

// near accepts a constant close to want.
func near(want float64) func(*graph.Value) bool {
	return func(v *graph.Value) bool { return is(v, want) }
}

// but accepts exactly v.
func but(v *graph.Value) func(*graph.Value) bool {
	return func(w *graph.Value) bool { return w == v }
}

// use is the only reader of v, or nil if there are several or it is a graph output.
func use(uses map[*graph.Value][]graph.Use, v *graph.Value) *graph.Node {
	if u := uses[v]; len(u) == 1 && u[0].Node != nil && u[0].In >= 0 {
		return u[0].Node
	}
	return nil
}

// made reports whether v is made by operator name of domain.
func made(v *graph.Value, domain, name string) bool {
	return v != nil && v.Producer != nil && v.Producer.Op == name && v.Producer.Domain == domain
}

// fuse puts a node that makes dst's value in place of what made it.
func fuse(b *graph.Builder, dst *graph.Value, domain, name string, in []*graph.Value, attrs ...graph.Attr) {
	instead(b.G, dst, b.Node(domain, name, 1, in, attrs...)[0])
}

// instead puts new, which computes the same, in place of old.
func instead(g *graph.Graph, old, new *graph.Value) {
	new.DType, new.Shape = old.DType, old.Shape
	g.Replace(old, new)
}
