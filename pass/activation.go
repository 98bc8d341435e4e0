package pass

import (
	"math"

	"muster/graph"
)

// activation recognises activations that are spelled out and gives them to muster.Activation: both forms of
// Gelu, and x sigmoid(x).
func activation(g *graph.Graph) int {
	r := newRewrite(g)
	for _, n := range g.Nodes {
		if n.Domain != "" || len(n.Outputs) == 0 || n.Outputs[0] == nil {
			continue
		}
		switch n.Op {
		case "Erf":
			if x := r.scaled(r.in(n, 0), math.Sqrt2); x != nil {
				r.halfGate(n, x, "Gelu")
			}
		case "Tanh":
			if x := r.cubic(r.in(n, 0)); x != nil {
				r.halfGate(n, x, "GeluTanh")
			}
		case "Sigmoid":
			x := r.in(n, 0)
			for _, m := range r.readers(n.Outputs[0], "Mul") {
				if _, o, ok := r.operands(m, but(r.now(n.Outputs[0]))); ok && o == x {
					r.fuse(m.Outputs[0], graph.Domain, "Activation", []*graph.Value{x}, graph.Str("activation", "Silu"))
				}
			}
		}
	}
	return r.done()
}

// readers are the nodes of one operator that read v.
func (r *rewrite) readers(v *graph.Value, name string) (list []*graph.Node) {
	for _, u := range r.uses[v] {
		if u.Node != nil && u.In >= 0 && u.Node.Domain == "" && u.Node.Op == name {
			list = append(list, u.Node)
		}
	}
	return list
}

// scaled is x if v = x / c, or x times 1/c.
func (r *rewrite) scaled(v *graph.Value, c float64) *graph.Value {
	if n := r.maker(v, "Div"); n != nil && is(r.in(n, 1), c) {
		return r.in(n, 0)
	}
	if n := r.maker(v, "Mul"); n != nil {
		if _, x, ok := r.operands(n, near(1/c)); ok {
			return x
		}
	}
	return nil
}

// cubic is x if v = sqrt(2/pi) (x + 0.044715 x^3), or the same as x sqrt(2/pi) (1 + 0.044715 x^2).
func (r *rewrite) cubic(v *graph.Value) *graph.Value {
	root := math.Sqrt(2 / math.Pi)
	if x := r.scaled(v, 1/root); x != nil {
		if add := r.maker(x, "Add"); add != nil {
			for i := range 2 {
				x := r.in(add, i)
				if cube := r.scaled(r.in(add, 1-i), 1/0.044715); cube != nil && r.power(cube, x, 3) {
					return x
				}
			}
		}
		if mul := r.maker(x, "Mul"); mul != nil {
			for i := range 2 {
				if x := r.in(mul, i); r.onePlusSquare(r.in(mul, 1-i), x) {
					return x
				}
			}
		}
	}
	if mul := r.maker(v, "Mul"); mul != nil {
		for i := range 2 {
			if x := r.scaled(r.in(mul, i), 1/root); x != nil && r.onePlusSquare(r.in(mul, 1-i), x) {
				return x
			}
		}
	}
	return nil
}

// onePlusSquare matches v = 1 + 0.044715 x^2, with the products in either order.
func (r *rewrite) onePlusSquare(v, x *graph.Value) bool {
	add := r.maker(v, "Add")
	if add == nil {
		return false
	}
	_, s, ok := r.operands(add, near(1))
	if !ok {
		return false
	}
	if q := r.scaled(s, 1/0.044715); q != nil && r.power(q, x, 2) {
		return true
	}
	if mul := r.maker(s, "Mul"); mul != nil { // (0.044715 x) x
		_, p, ok := r.operands(mul, but(x))
		return ok && r.scaled(p, 1/0.044715) == x
	}
	return false
}

// power matches v = x^k for k 2 or 3.
func (r *rewrite) power(v, x *graph.Value, k int) bool {
	if n := r.maker(v, "Pow"); n != nil {
		return r.in(n, 0) == x && is(r.in(n, 1), float64(k))
	}
	n := r.maker(v, "Mul")
	if n == nil {
		return false
	}
	_, rest, ok := r.operands(n, but(x))
	if !ok {
		return false
	}
	if k == 2 {
		return rest == x
	}
	return r.power(rest, x, k-1)
}

// halfGate replaces x (1 + g) / 2 by an activation, for g made by n, whatever the order of the products.
func (r *rewrite) halfGate(n *graph.Node, x *graph.Value, name string) {
	add := r.user(n.Outputs[0])
	if add == nil || add.Op != "Add" || add.Domain != "" {
		return
	}
	if _, _, ok := r.operands(add, near(1)); !ok {
		return
	}
	first := r.user(add.Outputs[0])
	if first == nil || first.Op != "Mul" || first.Domain != "" {
		return
	}
	_, o, ok := r.operands(first, but(r.now(add.Outputs[0])))
	if !ok {
		return
	}
	last := first
	if r.scaled(o, 2) != x {
		last = r.user(first.Outputs[0])
		if last == nil || last.Domain != "" || last.Op != "Mul" && !(last.Op == "Div" && is(r.in(last, 1), 2)) {
			return
		}
		var p *graph.Value
		if last.Op == "Div" {
			p = r.b().Scalar(0.5)
		} else if _, p, ok = r.operands(last, but(r.now(first.Outputs[0]))); !ok {
			return
		}
		if !(o == x && is(p, 0.5) || is(o, 0.5) && p == x) {
			return
		}
	}
	if sameShape(x, last.Outputs[0]) {
		r.fuse(last.Outputs[0], graph.Domain, "Activation", []*graph.Value{x}, graph.Str("activation", name))
	}
}
