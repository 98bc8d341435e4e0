package op

import (
	"muster/graph"
	"muster/tensor"
)

// sym is one element of an integer vector that is known in part: shape
// arithmetic on dimensions that have a name instead of a size.
type sym struct {
	v     int64
	known bool
	name  string // of a dimension, if v is not known
}

func (s sym) dim() graph.Dim {
	if s.known {
		return graph.D(int(s.v))
	}
	return graph.Dim{Size: -1, Name: s.name}
}

// maxList bounds the vectors that are tracked; shapes are short.
const maxList = 64

// list returns what is known of the elements of a vector or scalar, false if nothing is.
func (c *InferCall) list(i int) ([]sym, bool) {
	l, ok := listed(c.in(i), c.lists)
	if v := c.in(i); v != nil && v.Const == nil && !(ok && named(l)) {
		c.asked = append(c.asked, i)
	}
	return l, ok
}

// named reports whether every element has a value or a name.
func named(l []sym) bool {
	for _, s := range l {
		if !s.known && s.name == "" {
			return false
		}
	}
	return true
}

func listed(v *graph.Value, lists map[*graph.Value][]sym) ([]sym, bool) {
	if v == nil {
		return nil, false
	}
	if s, ok := v.Static(); ok && len(s) == 1 && s[0] == 0 && (v.DType == tensor.Int64 || v.DType == tensor.Int32) {
		return []sym{}, true
	}
	if t := v.Const; t != nil {
		if t.DType != tensor.Int64 && t.DType != tensor.Int32 || len(t.Shape) > 1 || t.Elems() > maxList {
			return nil, false
		}
		out := make([]sym, t.Elems())
		for i, x := range ints(t) {
			out[i] = sym{v: x, known: true}
		}
		return out, true
	}
	l, ok := lists[v]
	return l, ok
}

// track follows integer vectors through the operators that shape arithmetic is made of.
func track(n *graph.Node, lists map[*graph.Value][]sym) {
	out := n.Out(0)
	if out == nil || out.Const != nil || n.Domain != "" {
		return
	}
	l, ok := trackShape(n)
	if !ok && len(n.Inputs) > 0 {
		var in []sym
		if in, ok = listed(n.Inputs[0], lists); ok {
			l, ok = trackList(n, in, lists)
		}
	}
	if ok && len(l) <= maxList {
		lists[out] = l
	}
}

func trackShape(n *graph.Node) ([]sym, bool) {
	if n.Op != "Shape" || n.Inputs[0].Shape == nil {
		return nil, false
	}
	lo, hi := shapeRange(n, len(n.Inputs[0].Shape))
	var l []sym
	for _, d := range n.Inputs[0].Shape[lo:hi] {
		l = append(l, sym{int64(d.Size), d.Known(), d.Name})
	}
	return l, true
}

func trackList(n *graph.Node, in []sym, lists map[*graph.Value][]sym) ([]sym, bool) {
	switch n.Op {
	case "Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape":
		d := n.Outputs[0].DType
		return in, (d == tensor.Int64 || d == tensor.Int32) && len(n.Outputs[0].Shape) <= 1
	case "Concat":
		var all []sym
		for _, v := range n.Inputs {
			l, ok := listed(v, lists)
			if !ok {
				return nil, false
			}
			all = append(all, l...)
		}
		return all, true
	case "Gather":
		at, ok := listed(n.Inputs[1], lists)
		if !ok {
			return nil, false
		}
		var l []sym
		for _, i := range at {
			if !i.known || i.v < -int64(len(in)) || i.v >= int64(len(in)) {
				return nil, false
			}
			l = append(l, in[wrap(i.v, len(in))])
		}
		return l, true
	case "Slice":
		return trackSlice(n, in)
	}
	return nil, false
}

func trackSlice(n *graph.Node, in []sym) ([]sym, bool) {
	var consts [5]*tensor.Tensor
	for i, v := range n.Inputs {
		if v != nil {
			consts[i] = v.Const
		}
	}
	sp, ok, err := slicing(n, consts[:], 1)
	if err != nil || !ok || !sp[0].set {
		return nil, false
	}
	var l []sym
	start, count := sp[0].resolve(len(in))
	for i := 0; i < count; i++ {
		l = append(l, in[start+i*sp[0].step])
	}
	return l, true
}
