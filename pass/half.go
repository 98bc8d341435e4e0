package pass

import (
	"muster/graph"
	"muster/tensor"
)

// Half lets the products of g with a matrix round their operands to bfloat16: MatMul and Gemm of float32 become
// muster.Linear with that precision. Products and sums stay float32, and so does everything else. It returns how many
// there were. Shapes must be inferred. It is no pass of the list: it changes what g computes, and is asked for.
func Half(g *graph.Graph) int {
	r := newRewrite(g)
	for _, n := range g.Nodes {
		if n.Domain != "" || n.Op != "MatMul" && n.Op != "Gemm" || n.Outputs[0] == nil || r.outs[n.Outputs[0]] {
			continue
		}
		l, ok := r.halfOf(n)
		if ok {
			l.half = true
			l.fuse(r)
		}
	}
	return r.done()
}

// halfOf is linearOf with a first operand that may be transposed.
func (r *rewrite) halfOf(n *graph.Node) (l product, ok bool) {
	x, w := r.in(n, 0), r.in(n, 1)
	if x.DType != tensor.Float32 {
		return l, false
	}
	if n.Op == "Gemm" && n.Int("transA", 0) != 0 {
		ok = n.Float("alpha", 1) == 1 && r.in(n, 2) == nil
		return product{in: [4]*graph.Value{x, w}, transA: 1, transB: n.Int("transB", 0), last: n.Outputs[0]}, ok
	}
	return r.linearOf(n)
}
