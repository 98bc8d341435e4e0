package pass

import "muster/graph"

// transposeMatMul folds a Transpose of the last two axes into the MatMul that
// reads it, as com.microsoft.FusedMatMul: the kernel reads either order.
func transposeMatMul(g *graph.Graph) int {
	r := newRewrite(g)
	for _, n := range g.Nodes {
		if n.Domain != "" || n.Op != "MatMul" {
			continue
		}
		in, trans, any := [2]*graph.Value{r.in(n, 0), r.in(n, 1)}, [2]int64{}, false
		for i, v := range in {
			if made(v, "", "Transpose") && swapsLastTwo(v.Producer) {
				in[i], trans[i], any = r.in(v.Producer, 0), 1, true
			}
		}
		if !any {
			continue
		}
		r.fuse(n.Outputs[0], "com.microsoft", "FusedMatMul", in[:],
			graph.Int("transA", trans[0]), graph.Int("transB", trans[1]))
	}
	return r.done()
}

func swapsLastTwo(n *graph.Node) bool {
	p := n.Ints("perm")
	r := len(p)
	if r < 2 || len(n.Inputs[0].Shape) != r {
		return false
	}
	for i := 0; i < r-2; i++ {
		if p[i] != int64(i) {
			return false
		}
	}
	return p[r-2] == int64(r-1) && p[r-1] == int64(r-2)
}
