package pass

import (
	"slices"

	"muster/graph"
)

// attentionGrad lets the gradients by queries, keys and values lie beside each other from the start, where all that
// reads them puts them there: they are the gradient by a joint projection.
func attentionGrad(g *graph.Graph) int {
	r := newRewrite(g)
	for _, n := range g.Nodes {
		if n.Domain != "" || n.Op != "Concat" || len(n.Inputs) != 3 {
			continue
		}
		a := r.in(n, 0).Producer
		if a == nil || a.Domain != graph.Domain || a.Op != "AttentionGrad" || a.Int("joint", 0) != 0 || len(a.Outputs) != 3 ||
			a.Str("layout", "3333")[:3] != "333" || !lastAxisOf(n) {
			continue
		}
		all := true
		for i := range 3 {
			all = all && r.in(n, i) == a.Outputs[i] && r.user(a.Outputs[i]) == n
		}
		if !all {
			continue
		}
		in := make([]*graph.Value, len(a.Inputs))
		for i := range in {
			in[i] = r.in(a, i)
		}
		r.fuse(n.Outputs[0], graph.Domain, "AttentionGrad", in, append(slices.Clone(a.Attrs), graph.Int("joint", 1))...)
	}
	return r.done()
}

// lastAxisOf reports whether a Concat joins along the last axis.
func lastAxisOf(n *graph.Node) bool {
	axis, rank := n.Int("axis", 0), int64(len(n.Outputs[0].Shape))
	return rank > 0 && (axis == -1 || axis == rank-1)
}
