package pass

import "muster/graph"

// activationGrad joins what the gradient rules of Relu, Tanh and Sigmoid append: dy where x > 0, dy (1 - y y), dy (y (1 - y)).
func activationGrad(g *graph.Graph) int {
	r := newRewrite(g)
	for _, n := range g.Nodes {
		if n.Domain != "" || len(n.Outputs) != 1 || n.Outputs[0] == nil {
			continue
		}
		var dy, v *graph.Value
		name := ""
		switch n.Op {
		case "Where":
			test := r.maker(r.in(n, 0), "Greater")
			if test != nil && is(r.in(test, 1), 0) && is(r.in(n, 2), 0) {
				dy, v, name = r.in(n, 1), r.in(test, 0), "Relu"
			}
		case "Mul":
			for i := range 2 {
				if y, of := r.slope(r.in(n, 1-i)); y != nil && name == "" {
					dy, v, name = r.in(n, i), y, of
				}
			}
		}
		if name == "" || !dy.DType.IsFloat() || dy.DType != v.DType || !sameShape(dy, v) || !sameShape(dy, n.Outputs[0]) {
			continue
		}
		r.fuse(n.Outputs[0], graph.Domain, "ActivationGrad", []*graph.Value{dy, v}, graph.Str("activation", name))
	}
	return r.done()
}

// slope matches 1 - y y and y (1 - y).
func (r *rewrite) slope(v *graph.Value) (y *graph.Value, name string) {
	if n := r.maker(v, "Sub"); n != nil && is(r.in(n, 0), 1) {
		if sq := r.maker(r.in(n, 1), "Mul"); sq != nil && r.in(sq, 0) == r.in(sq, 1) {
			return r.in(sq, 0), "Tanh"
		}
	}
	if n := r.maker(v, "Mul"); n != nil {
		for i := range 2 {
			y := r.in(n, i)
			if sub := r.maker(r.in(n, 1-i), "Sub"); sub != nil && is(r.in(sub, 0), 1) && r.in(sub, 1) == y {
				return y, "Sigmoid"
			}
		}
	}
	return nil, ""
}
