package pass

import "muster/graph"

// norm recognises normalisation along the last axis that is spelled out, as exporters before opset 17 (and for
// RMSNorm before 23) do, and gives it to muster.AddNormalization:
//
//	d = x - mean(x); d / sqrt(mean(d^2) + eps) * scale + bias
//	x / sqrt(mean(x^2) + eps) * scale
func norm(g *graph.Graph) int {
	r := newRewrite(g)
	for _, n := range g.Nodes {
		if n.Domain != "" || n.Op != "Div" && n.Op != "Mul" || n.Outputs[0] == nil {
			continue
		}
		d, eps, ok := r.overRoot(n)
		if !ok {
			continue
		}
		x, rms := d, int64(1)
		if sub := r.maker(d, "Sub"); sub != nil {
			if mean := r.maker(r.in(sub, 1), "ReduceMean"); mean != nil && r.in(mean, 0) == r.in(sub, 0) && r.lastOnly(mean) {
				x, rms = r.in(sub, 0), 0
			}
		}
		r.normalise(n, x, eps, rms)
	}
	return r.done()
}

// overRoot matches n = d / sqrt(mean(d^2) + eps), also written as a product with the reciprocal.
func (r *rewrite) overRoot(n *graph.Node) (d *graph.Value, eps float64, ok bool) {
	if n.Op == "Div" {
		if root := r.maker(r.in(n, 1), "Sqrt"); root != nil {
			d = r.in(n, 0)
			eps, ok = r.meanSquare(r.in(root, 0), d)
		}
		return d, eps, ok
	}
	for i := range 2 {
		inv := r.maker(r.in(n, i), "Reciprocal", "Div")
		if inv == nil {
			continue
		}
		under := r.in(inv, 0)
		if inv.Op == "Div" {
			if !is(under, 1) {
				continue
			}
			under = r.in(inv, 1)
		}
		if root := r.maker(under, "Sqrt"); root != nil {
			d = r.in(n, 1-i)
			if eps, ok = r.meanSquare(r.in(root, 0), d); ok {
				return d, eps, true
			}
		}
	}
	return nil, 0, false
}

// meanSquare matches v = mean(d^2) + eps.
func (r *rewrite) meanSquare(v, d *graph.Value) (eps float64, ok bool) {
	add := r.maker(v, "Add")
	if add == nil {
		return 0, false
	}
	for i := range 2 {
		e, isNumber := number(r.in(add, i))
		mean := r.maker(r.in(add, 1-i), "ReduceMean")
		if !isNumber || mean == nil || !r.lastOnly(mean) {
			continue
		}
		square := r.maker(r.in(mean, 0), "Pow", "Mul")
		if square != nil && r.in(square, 0) == d && (square.Op == "Mul" && r.in(square, 1) == d || square.Op == "Pow" && is(r.in(square, 1), 2)) {
			return e, true
		}
	}
	return 0, false
}

// lastOnly reports whether a reduction is over the last axis alone and keeps it.
func (r *rewrite) lastOnly(n *graph.Node) bool {
	axes := n.Ints("axes")
	if v := r.in(n, 1); v != nil {
		if v.Const == nil || v.Const.Elems() != 1 {
			return false
		}
		axes = []int64{int64(v.Const.Float(0))}
	}
	x := n.In(0)
	return len(axes) == 1 && n.Int("keepdims", 1) != 0 && x.Shape != nil && (axes[0] == -1 || axes[0] == int64(len(x.Shape)-1))
}

// normalise takes the scale and the bias that follow n, and replaces them all.
func (r *rewrite) normalise(n *graph.Node, x *graph.Value, eps float64, rms int64) {
	in := []*graph.Value{x, nil, nil, nil}
	last := n.Outputs[0]
	if !sameShape(x, last) {
		return
	}
	after := func(name string, i int) {
		m := r.user(last)
		if m == nil || m.Domain != "" || m.Op != name {
			return
		}
		_, v, ok := r.operands(m, but(r.now(last)))
		if ok && len(v.Shape) == 1 && v.Shape[0].Same(x.Shape[len(x.Shape)-1]) {
			in[i], last = v, m.Outputs[0]
		}
	}
	after("Mul", 2)
	if rms == 0 {
		after("Add", 3)
	}
	r.fuse(last, graph.Domain, "AddNormalization", in, graph.Float("epsilon", float32(eps)), graph.Int("rms", rms))
}
