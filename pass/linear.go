package pass

import "muster/graph"

// linear turns MatMul(x, w) + bias into muster.Linear(x, w, bias), whose kernel
// starts the accumulators at the bias. x [..., K], w [K, N], bias [N].
func linear(g *graph.Graph) int {
	uses, fired := g.Uses(), 0
	b := graph.NewBuilder(g)
	for _, n := range g.Nodes {
		if n.Domain != "" || n.Op != "Add" {
			continue
		}
		for i := 0; i < 2; i++ {
			mm, bias := n.Inputs[i], n.Inputs[1-i]
			if !made(mm, "", "MatMul") || use(uses, mm) != n || !isLinear(mm.Producer, bias) {
				continue
			}
			fuse(b, n.Outputs[0], graph.Domain, "Linear", []*graph.Value{mm.Producer.Inputs[0], mm.Producer.Inputs[1], bias})
			fired++
			break
		}
	}
	return fired
}

func isLinear(mm *graph.Node, bias *graph.Value) bool {
	x, w := mm.Inputs[0], mm.Inputs[1]
	return len(w.Shape) == 2 && len(x.Shape) >= 2 && len(bias.Shape) == 1 && bias.Shape[0].Same(w.Shape[1])
}
