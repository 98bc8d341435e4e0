package pass

import "muster/graph"

// constants turns what was computed while shapes were inferred into initialisers, so that later
// passes and shape inference do not walk over the nodes that made it.
func constants(g *graph.Graph) int {
	r := newRewrite(g)
	for _, n := range g.Nodes {
		if n.Op == "DequantizeLinear" {
			continue // integer kernels read what it reads
		}
		for _, v := range n.Outputs {
			if v == nil || v.Const == nil || r.outs[v] || len(r.uses[v]) == 0 {
				continue
			}
			r.replace(v, r.b().Init(v.Name+"_value", v.Const))
		}
	}
	return r.done()
}
