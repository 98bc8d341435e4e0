package pass

import "muster/graph"

// linear turns MatMul(x, w) + bias and Gemm(x, w, bias) into muster.Linear(x, w, bias), whose kernel
// starts the accumulators at the bias, so that later passes know one form. x [..., K], w [K, N], bias [N].
func linear(g *graph.Graph) int {
	uses, fired := g.Uses(), 0
	b := graph.NewBuilder(g)
	for _, n := range g.Nodes {
		if n.Domain == "" && n.Op == "Gemm" && isLinearGemm(n) {
			fuse(b, n.Outputs[0], graph.Domain, "Linear", n.Inputs, graph.Int("transB", n.Int("transB", 0)))
			fired++
			continue
		}
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

// isLinearGemm checks for a floating-point Gemm without scales whose C is a row, if there is one.
func isLinearGemm(n *graph.Node) bool {
	if !n.Inputs[0].DType.IsFloat() || n.Int("transA", 0) != 0 || n.Float("alpha", 1) != 1 {
		return false
	}
	c, y := n.In(2), n.Outputs[0].Shape
	return c == nil || n.Float("beta", 1) == 1 && len(c.Shape) == 1 && len(y) == 2 && c.Shape[0].Same(y[1])
}
