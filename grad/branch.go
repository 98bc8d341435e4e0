package grad

import (
	"fmt"

	"muster/graph"
	"muster/op"
)

// The gradient of an If is another If over the same condition. Each of its branches runs the forward branch again and
// then its gradient, for the values from outside that need one; what a branch does not read gets zeros from it.

// takeBranches replaces every If whose condition is constant by the branch it takes.
func takeBranches(g *graph.Graph) error {
	for {
		n, err := op.InlineAll(g, func(n *graph.Node) bool { return op.Taken(n) != nil })
		if err != nil || n == 0 {
			return err
		}
		if err := op.InlineFunctions(g); err != nil {
			return err
		}
		if err := op.Infer(g); err != nil {
			return err
		}
	}
}

// branch is a subgraph that runs g, a subgraph of n, again and puts out the gradients by wrt.
func (w *walk) branch(n *graph.Node, g *graph.Graph, dys, wrt []*graph.Value) (*graph.Graph, error) {
	if err := op.Infer(w.b.G); err != nil { // the types of dys
		return nil, err
	}
	same := map[*graph.Value]*graph.Value{}
	for _, v := range n.Captured() {
		same[v] = v
	}
	c := g.CloneInto(same)
	c.Name = w.b.Unique(g.Name + "_grad")
	rename(c, c.Name+"/")
	c.Model = w.b.G.Model
	if err := op.InlineFunctions(c); err != nil {
		return nil, err
	}
	b := graph.NewBuilder(c)
	b.Prefix = c.Name + "/grad/"
	var ys, ds []*graph.Value
	for i, d := range dys {
		if d != nil {
			ys, ds = append(ys, c.Outputs[i]), append(ds, d)
		}
	}
	grads, err := vjp(b, ys, ds, wrt)
	if err != nil {
		return nil, err
	}
	c.Outputs = nil
	for i, v := range grads {
		if v == nil {
			v = op.ZerosLike(b, wrt[i])
		}
		c.Outputs = append(c.Outputs, b.Op("Identity", v)) // a value of its own, made inside
	}
	c.Prune()
	c.Model = nil
	return c, nil
}

// rename puts a prefix before every name that g and its subgraphs define: names are unique over all graphs of a model.
func rename(g *graph.Graph, prefix string) {
	names := func(vs []*graph.Value) {
		for _, v := range vs {
			if v != nil {
				v.Name = fmt.Sprint(prefix, v.Name)
			}
		}
	}
	names(g.Inputs)
	names(g.Inits)
	for _, n := range g.Nodes {
		names(n.Outputs)
		n.Subgraphs(func(s *graph.Graph) { rename(s, prefix) })
	}
}
