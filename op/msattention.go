package op

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// What ONNX Runtime's attention operators (domain com.microsoft) have in common: they are
// written as muster.Attention with a mask of floats.

const microsoft = "com.microsoft"

// scaleOf is the attribute, or 1/sqrt(D) where it is absent or 0.
func scaleOf(n *graph.Node, D int) float32 {
	if s := n.Float("scale", 0); s != 0 {
		return s
	}
	return float32(1 / math.Sqrt(float64(D)))
}

// keyMask turns a mask of integers into numbers to add to the scores: the attribute mask_filter_value where a key
// is not seen. The mask is [B, S] or [B, T, S] with 0 for such keys, or [B] lengths, or [2B] ends and starts.
func keyMask(b *graph.Builder, n *graph.Node, mask, x *graph.Value, B, S int) *graph.Value {
	var seen *graph.Value
	if rank := len(mask.Shape); rank == 1 {
		key := b.Op("Range", intScalar(b, 0), intScalar(b, int64(S)), intScalar(b, 1))
		m := cast(b, mask, tensor.Int64)
		part := func(i int) *graph.Value {
			return b.Unsqueeze(b.Op("Slice", m, b.Ints(int64(i*B)), b.Ints(int64((i+1)*B)), b.Ints(0)), 1, 2, 3)
		}
		seen = b.Op("Less", key, part(0))
		if mask.Shape[0].Size == 2*B && B > 0 {
			seen = b.Op("And", seen, b.Op("Not", b.Op("Less", key, part(1))))
		}
	} else {
		seen = cast(b, mask, tensor.Bool)
		if rank == 2 {
			seen = b.Unsqueeze(seen, 1)
		}
		seen = b.Unsqueeze(seen, 1)
	}
	out := b.Op("Where", seen, fill(b, x, 0), fill(b, x, float64(n.Float("mask_filter_value", -10000))))
	return like(out, x)
}

// maskKind refuses masks of other forms.
func (c *InferCall) maskKind(i int, B graph.Dim) error {
	m := c.in(i)
	if m == nil || m.Shape == nil {
		return nil
	}
	if err := c.wantIndex(i); err != nil {
		return err
	}
	s := m.Shape
	switch {
	case len(s) == 2 || len(s) == 3:
		return nil
	case len(s) == 1 && (!s[0].Known() || !B.Known() || s[0].Size == B.Size || s[0].Size == 2*B.Size):
		return nil
	}
	return c.unsupported("a mask of shape %v is not supported", s)
}

// addAll adds what is there.
func addAll(b *graph.Builder, x ...*graph.Value) *graph.Value {
	var s *graph.Value
	for _, v := range x {
		switch {
		case v == nil:
		case s == nil:
			s = v
		default:
			s = b.Op("Add", s, v)
		}
	}
	return s
}

// channels are those from lo to hi of the last axis of x.
func channels(b *graph.Builder, x *graph.Value, lo, hi int) *graph.Value {
	return b.Op("Slice", x, b.Ints(int64(lo)), b.Ints(int64(hi)), b.Ints(-1))
}

// fusedNode is muster.Attention over x.
func fusedNode(b *graph.Builder, q, k, v, mask *graph.Value, attrs ...graph.Attr) *graph.Value {
	return b.Node(graph.Domain, "Attention", 1, []*graph.Value{q, k, v, mask}, attrs...)[0]
}

// causalAttr is the attribute of muster.Attention for "unidirectional": the last query meets the last key.
func causalAttr(n *graph.Node) graph.Attr {
	if n.Int("unidirectional", 0) != 0 {
		return graph.Int("causal", 2)
	}
	return graph.Int("causal", 0)
}

// staticIn returns the concrete shapes of the inputs; ok is false if one that is there has none.
func staticIn(in []*graph.Value) (s []tensor.Shape, ok bool) {
	s = make([]tensor.Shape, len(in))
	for i, v := range in {
		if v == nil {
			continue
		}
		if s[i], ok = v.Static(); !ok {
			return nil, false
		}
	}
	return s, true
}
