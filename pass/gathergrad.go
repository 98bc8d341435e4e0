package pass

import "muster/graph"

// gatherGrad lets the gradient of a table that is looked up begin with what else is added to it (the gradient of the
// logits, where embeddings are tied): a few rows are added in place, and there is no second gradient of the table's size.
func gatherGrad(g *graph.Graph) int {
	r := newRewrite(g)
	for _, n := range g.Nodes {
		if n.Domain != graph.Domain || n.Op != "GatherGrad" || r.in(n, 3) != nil {
			continue
		}
		add := r.user(n.Outputs[0])
		if add == nil || add.Domain != "" || add.Op != "Add" {
			continue
		}
		_, base, ok := r.operands(add, but(r.now(n.Outputs[0])))
		if ok && base != r.now(n.Outputs[0]) && sameShape(base, n.Outputs[0]) {
			r.fuse(add.Outputs[0], graph.Domain, "GatherGrad", []*graph.Value{r.in(n, 0), r.in(n, 1), r.in(n, 2), base}, n.Attrs...)
		}
	}
	return r.done()
}
