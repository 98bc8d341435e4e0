package pass

import (
	"slices"

	"muster/graph"
	"muster/tensor"
)

// identity removes nodes that return their input, and joins Reshapes of Reshapes and Transposes of Transposes.
func identity(g *graph.Graph) int {
	r := newRewrite(g)
	for _, n := range g.Nodes {
		if n.Domain != "" || len(n.Outputs) == 0 || n.Outputs[0] == nil || r.outs[n.Outputs[0]] {
			continue
		}
		if v := r.same(n); v != nil {
			r.replace(n.Outputs[0], v)
			continue
		}
		switch n.Op {
		case "Reshape", "Squeeze", "Unsqueeze", "Flatten":
			r.joinReshape(n)
		case "Transpose":
			r.joinTranspose(n)
		}
	}
	return r.done()
}

// same is the input that n returns unchanged, nil if it does not.
func (r *rewrite) same(n *graph.Node) *graph.Value {
	x, y := r.in(n, 0), n.Outputs[0]
	if x == nil {
		return nil
	}
	switch n.Op {
	case "Identity":
		return x
	case "Dropout":
		if off(r.in(n, 2)) && (len(n.Outputs) == 1 || n.Outputs[1] == nil) {
			return x
		}
		return nil
	}
	if x.DType != y.DType || x.DType == tensor.Undefined || !sameShape(x, y) {
		return r.neutral(n, y)
	}
	switch n.Op {
	case "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Expand", "CastLike":
		return x
	case "Transpose":
		for i, p := range n.Ints("perm") {
			if p != int64(i) {
				return nil
			}
		}
		if len(n.Ints("perm")) == 0 && len(x.Shape) > 1 {
			return nil
		}
		return x
	case "Slice": // of everything, forwards: the shape is kept, so the steps are 1 or -1
		if steps := n.In(4); steps == nil || steps.Const != nil && onlyOnes(steps.Const) {
			return x
		}
	case "Concat", "Sum", "Max", "Min", "Mean":
		if len(n.Inputs) == 1 {
			return x
		}
	case "Tile":
		if reps := n.In(1); reps != nil && reps.Const != nil && onlyOnes(reps.Const) {
			return x
		}
	}
	return r.neutral(n, y)
}

func onlyOnes(t *tensor.Tensor) bool {
	for i := range t.Elems() {
		if t.Float(i) != 1 {
			return false
		}
	}
	return true
}

// neutral is the operand that adding 0 or multiplying by 1 returns.
func (r *rewrite) neutral(n *graph.Node, y *graph.Value) *graph.Value {
	unit, ok := map[string]float64{"Add": 0, "Sub": 0, "Mul": 1, "Div": 1, "Pow": 1}[n.Op]
	if !ok || len(n.Inputs) != 2 {
		return nil
	}
	for i := range 2 {
		x, c := r.in(n, i), r.in(n, 1-i)
		if i == 1 && n.Op != "Add" && n.Op != "Mul" {
			break
		}
		if v, ok := number(c); ok && v == unit && x.DType == y.DType && sameShape(x, y) {
			return x
		}
	}
	return nil
}

// joinReshape lets a change of shape read what the change before it read.
func (r *rewrite) joinReshape(n *graph.Node) {
	before := r.maker(n.In(0), "Reshape", "Squeeze", "Unsqueeze", "Flatten")
	y := n.Outputs[0]
	s, ok := y.Static()
	if before == nil || !ok || slices.Contains(s, 0) {
		return
	}
	x := r.in(before, 0)
	if sameShape(x, y) {
		r.replace(y, x)
		return
	}
	dims := make([]int64, len(s))
	for i, d := range s {
		dims[i] = int64(d)
	}
	r.fuse(y, "", "Reshape", []*graph.Value{x, r.b().Ints(dims...)})
}

// joinTranspose composes two permutations.
func (r *rewrite) joinTranspose(n *graph.Node) {
	before := r.maker(n.In(0), "Transpose")
	if before == nil || swapsLastTwo(n) && len(r.readers(n.Outputs[0], "MatMul")) > 0 {
		return // a product reads its operand transposed for nothing
	}
	p, q := n.Ints("perm"), before.Ints("perm")
	if len(p) != len(q) || len(p) == 0 {
		return
	}
	both, unchanged := make([]int64, len(p)), true
	for i := range p {
		both[i] = q[p[i]]
		unchanged = unchanged && both[i] == int64(i)
	}
	if unchanged {
		r.replace(n.Outputs[0], r.in(before, 0))
		return
	}
	r.fuse(n.Outputs[0], "", "Transpose", []*graph.Value{r.in(before, 0)}, graph.Ints("perm", both...))
}

// off reports whether a flag is absent or a constant false.
func off(v *graph.Value) bool {
	return v == nil || v.Const != nil && v.Const.Elems() == 1 && v.Const.Float(0) == 0
}
