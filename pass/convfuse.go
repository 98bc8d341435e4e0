package pass

import (
	"muster/graph"
	"muster/tensor"
)

// convFuse lets a channels-last convolution add a residual and apply an activation while its results are in
// the cache. It comes after layout, which makes those convolutions.
func convFuse(g *graph.Graph) int {
	uses, fired := g.Uses(), 0
	b := graph.NewBuilder(g)
	for _, n := range append([]*graph.Node{}, g.Nodes...) {
		if n.Domain != graph.Domain || n.Op != "ConvNHWC" || n.Str("activation", "") != "" {
			continue
		}
		in, attrs := append([]*graph.Value{}, n.Inputs...), append([]graph.Attr{}, n.Attrs...)
		y, any := n.Outputs[0], false
		if add := use(uses, y); add != nil && add.Domain == "" && add.Op == "Add" && n.In(3) == nil {
			if r := other(add, y); r != y && sameStatic(r, y) {
				for len(in) < 3 {
					in = append(in, nil)
				}
				in, y, any = append(in[:3], r), add.Outputs[0], true
			}
		}
		if name, more, out := activationAfter(uses, y); name != "" {
			attrs, y, any = append(append(attrs, graph.Str("activation", name)), more...), out, true
		}
		if any {
			fuse(b, y, n.Domain, n.Op, in, attrs...)
			fired++
		}
	}
	return fired
}

func sameStatic(a, b *graph.Value) bool {
	s, ok1 := a.Static()
	t, ok2 := b.Static()
	return ok1 && ok2 && s.Equal(t) && a.DType == b.DType
}

// activationAfter finds the activation that alone reads y: its name as an attribute, its parameters and its output.
func activationAfter(uses map[*graph.Value][]graph.Use, y *graph.Value) (name string, attrs []graph.Attr, out *graph.Value) {
	n := use(uses, y)
	if n == nil || n.Inputs[0] != y {
		return "", nil, nil
	}
	if n.FullOp() == "muster.Activation" {
		for _, a := range n.Attrs {
			if a.Name != "activation" {
				attrs = append(attrs, a)
			}
		}
		return n.Str("activation", ""), attrs, n.Outputs[0]
	}
	if n.Domain != "" || len(n.Outputs) != 1 {
		return "", nil, nil
	}
	pair := func(alpha, beta float32) []graph.Attr {
		return []graph.Attr{graph.Float("alpha", alpha), graph.Float("beta", beta)}
	}
	switch n.Op {
	case "Relu", "Sigmoid", "Tanh", "HardSwish":
		return n.Op, nil, n.Outputs[0]
	case "Swish":
		if n.Float("alpha", 1) == 1 {
			return "Silu", nil, n.Outputs[0]
		}
	case "LeakyRelu":
		return n.Op, pair(n.Float("alpha", 0.01), 0), n.Outputs[0]
	case "HardSigmoid":
		return n.Op, pair(n.Float("alpha", 0.2), n.Float("beta", 0.5)), n.Outputs[0]
	case "Gelu":
		if n.Str("approximate", "none") == "none" {
			return "Gelu", nil, n.Outputs[0]
		}
		return "GeluTanh", nil, n.Outputs[0]
	case "Clip":
		if lo, hi, ok := clipBounds(n); ok {
			return "Clip", pair(lo, hi), n.Outputs[0]
		}
	}
	return "", nil, nil
}

// clipBounds are the constant bounds of a Clip, from attributes or inputs; false if one is missing.
func clipBounds(n *graph.Node) (lo, hi float32, ok bool) {
	if a, b := n.Attr("min"), n.Attr("max"); a != nil && b != nil {
		return a.F, b.F, true
	}
	v := [2]float32{}
	for i := range v {
		t := n.In(1 + i)
		if t == nil || t.Const == nil || t.Const.DType != tensor.Float32 || t.Const.Elems() != 1 {
			return 0, 0, false
		}
		v[i] = t.Const.Float32s()[0]
	}
	return v[0], v[1], true
}
