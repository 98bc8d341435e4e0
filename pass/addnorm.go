package pass

import "muster/graph"

// addNorm joins the residual sum in front of a normalisation with it: one pass over memory instead of
// two. The sum stays an output where others read it.
func addNorm(g *graph.Graph) int {
	r := newRewrite(g)
	for _, n := range g.Nodes {
		in, attrs, ok := r.normForm(n)
		if !ok {
			continue
		}
		add := r.maker(in[0], "Add")
		if add == nil || r.outs[add.Outputs[0]] || !sameShape(r.in(add, 0), in[0]) || !sameShape(r.in(add, 1), in[0]) {
			continue
		}
		sum := in[0]
		in[0], in[1] = r.in(add, 0), r.in(add, 1)
		outs := 2
		if r.user(sum) == n {
			outs = 1
		}
		v := r.b().Node(graph.Domain, "AddNormalization", outs, in, attrs...)
		r.become(n.Outputs[0], v[0])
		if outs == 2 {
			r.become(sum, v[1])
		}
	}
	return r.done()
}

// normForm is what AddNormalization would read in place of n; ok is false if n is another node.
func (r *rewrite) normForm(n *graph.Node) (in []*graph.Value, attrs []graph.Attr, ok bool) {
	for i := range n.Outputs {
		if i > 0 && n.Outputs[i] != nil && len(r.uses[n.Outputs[i]]) > 0 {
			return nil, nil, false
		}
	}
	x := r.in(n, 0)
	switch {
	case n.Domain == graph.Domain && n.Op == "AddNormalization" && n.In(1) == nil:
		return []*graph.Value{x, nil, r.in(n, 2), r.in(n, 3)}, n.Attrs, true
	case n.Domain == "" && (n.Op == "LayerNormalization" || n.Op == "RMSNormalization"):
		axis := n.Int("axis", -1)
		if x.Shape == nil || axis != -1 && axis != int64(len(x.Shape)-1) {
			return nil, nil, false
		}
		in = []*graph.Value{x, nil, r.in(n, 1), r.in(n, 2)}
		for _, v := range in[2:] {
			if v != nil && (len(v.Shape) != 1 || !v.Shape[0].Same(x.Shape[len(x.Shape)-1])) {
				return nil, nil, false
			}
		}
		rms := int64(0)
		if n.Op == "RMSNormalization" {
			rms = 1
		}
		return in, []graph.Attr{graph.Float("epsilon", n.Float("epsilon", 1e-5)), graph.Int("rms", rms)}, true
	}
	return nil, nil, false
}
