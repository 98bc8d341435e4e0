package op

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// Attention written as other operators, for shapes that may be known by name only.

// lowestOf is the lowest finite number of like's dtype (float32 if that is not known).
func lowestOf(like *graph.Value) float64 {
	switch like.DType {
	case tensor.Float16:
		return -65504
	case tensor.BFloat16:
		return -3.3895313892515355e38
	}
	return -math.MaxFloat32
}

// splitHeads makes [B, T, heads*size] to [B, heads, T, size].
func splitHeads(b *graph.Builder, x *graph.Value, heads int64) *graph.Value {
	return transpose(b, reshape(b, x, 0, 0, heads, -1), 0, 2, 1, 3)
}

// mergeHeads makes [B, heads, T, size] to [B, T, heads*size].
func mergeHeads(b *graph.Builder, x *graph.Value) *graph.Value {
	return reshape(b, transpose(b, x, 0, 2, 1, 3), 0, 0, -1)
}

// repeatHeads gives every query head its keys or values: head h reads h*KV/H.
func repeatHeads(b *graph.Builder, x *graph.Value, H, KV int64) *graph.Value {
	if H == KV {
		return x
	}
	at := make([]int64, H)
	for h := range at {
		at[h] = int64(h) * KV / H
	}
	return b.OpA("Gather", []graph.Attr{graph.Int("axis", 1)}, x, b.Ints(at...))
}

// sumHeads adds up the gradients of heads that read the same keys: the transpose of repeatHeads.
func sumHeads(b *graph.Builder, x *graph.Value, H, KV int64) *graph.Value {
	if H == KV {
		return x
	}
	shape := concat(b, axisSize(b, x, 0), b.Ints(KV, H/KV), axisSize(b, x, 2), axisSize(b, x, 3))
	return b.ReduceSum(reshapeTo(b, x, shape), 0, 2)
}

// intScalar is an int64 scalar constant.
func intScalar(b *graph.Builder, v int64) *graph.Value {
	return b.Init("int", tensor.OfInt64([]int64{v}))
}

// sizeScalar is the size of one axis of x as a scalar.
func sizeScalar(b *graph.Builder, x *graph.Value, axis int) *graph.Value {
	if x.Shape != nil && x.Shape[axis].Known() {
		return intScalar(b, int64(x.Shape[axis].Size))
	}
	return b.Op("Gather", b.Op("Shape", x), intScalar(b, int64(axis)))
}

// visible says which keys of scores [B, H, T, S] a query sees: offset (int64, broadcast to [B, 1, T, 1])
// is the position of query 0; lens [B] the valid keys, or nil.
type visible struct {
	causal      bool
	left, right int64
	offset      *graph.Value // nil: 0
	lens        *graph.Value
}

// apply sets the scores of other keys to -inf.
func (v visible) apply(b *graph.Builder, s *graph.Value) *graph.Value {
	if !v.causal && v.left < 0 && v.right < 0 && v.lens == nil {
		return s
	}
	zero, one := intScalar(b, 0), intScalar(b, 1)
	p := b.Unsqueeze(b.Op("Range", zero, sizeScalar(b, s, 2), one), 1)
	key := b.Unsqueeze(b.Op("Range", zero, sizeScalar(b, s, 3), one), 0)
	if v.offset != nil {
		p = b.Op("Add", p, v.offset)
	}
	var seen *graph.Value
	and := func(c *graph.Value) {
		if seen == nil {
			seen = c
		} else {
			seen = b.Op("And", seen, c)
		}
	}
	if v.causal {
		and(b.Op("Less", key, b.Op("Add", p, one)))
	}
	if v.right >= 0 {
		and(b.Op("Less", key, b.Op("Add", p, intScalar(b, v.right+1))))
	}
	if v.left >= 0 {
		and(b.Op("Not", b.Op("Less", key, b.Op("Sub", p, intScalar(b, v.left)))))
	}
	if v.lens != nil {
		and(b.Op("Less", key, b.Unsqueeze(v.lens, 1, 2, 3)))
	}
	return b.Op("Where", seen, s, fill(b, s, math.Inf(-1)))
}

// addMask adds a mask of floats, or sets scores to -inf where a mask of bools is false.
func addMask(b *graph.Builder, s, mask *graph.Value) *graph.Value {
	switch {
	case mask == nil:
		return s
	case mask.DType == tensor.Bool:
		return b.Op("Where", mask, s, fill(b, s, math.Inf(-1)))
	}
	return b.Op("Add", s, mask)
}

// softmaxBody is the softmax of the last axis in which a row of -inf gives 0, and the logarithm of the
// sums of exponentials without that axis.
func softmaxBody(b *graph.Builder, s *graph.Value) (p, lse *graph.Value) {
	low := fill(b, s, lowestOf(s))
	s = like(b.Op("Max", s, low), s)
	top := b.ReduceMax(s, 1, -1)
	p = b.OpA("Softmax", []graph.Attr{graph.Int("axis", -1)}, s)
	p = b.Op("Where", b.Op("Greater", top, low), p, fill(b, s, 0))
	sum := b.ReduceSum(b.Op("Exp", b.Op("Sub", s, top)), 0, -1)
	return p, b.Op("Add", b.Squeeze(top, -1), b.Op("Log", sum))
}

// attentionBody writes the common forms as muster.Attention, which has a gradient of its own, and
// the others as matrix products.
func attentionBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	a, ok := bodyHeads(n, in)
	if !ok {
		return nil
	}
	q, k, v, mask := in[0], in[1], in[2], optional(in, 3)
	if a.simple(n, in) {
		return one(b.Node(graph.Domain, "Attention", 1, in[:3], a.attrs(n.Int("is_causal", 0) != 0)...)[0])
	}
	if a.threeKV {
		k, v = splitHeads(b, k, a.KV), splitHeads(b, v, a.KV)
	}
	see := visible{causal: n.Int("is_causal", 0) != 0, left: n.Int("left_window_size", -1), right: n.Int("right_window_size", -1)}
	if past := optional(in, 4); past != nil {
		see.offset = sizeScalar(b, past, 2)
		axis := []graph.Attr{graph.Int("axis", 2)}
		k, v = b.OpA("Concat", axis, past, k), b.OpA("Concat", axis, in[5], v)
	}
	outs := []*graph.Value{nil, k, v, nil}
	if see.lens = optional(in, 6); see.lens != nil {
		see.offset = b.Unsqueeze(b.Op("Sub", see.lens, sizeScalar(b, q, len(q.Shape)-2)), 1, 2, 3) // T is next to last in both forms
	}
	if mask != nil { // keys that it does not cover are not seen
		w := axisSize(b, mask, len(mask.Shape)-1)
		k, v = b.Op("Slice", k, b.Ints(0), w, b.Ints(2)), b.Op("Slice", v, b.Ints(0), w, b.Ints(2))
	}
	softcap := float64(n.Float("softcap", 0))
	if softcap <= 0 && n.Out(3) == nil && see.lens == nil && see.left < 0 && see.right < 0 && (!see.causal || see.offset == nil) {
		if mask != nil && mask.DType == tensor.Bool {
			mask = b.Op("Where", mask, fill(b, in[0], 0), fill(b, in[0], math.Inf(-1)))
		}
		a.threeKV = false
		outs[0] = b.Node(graph.Domain, "Attention", 1, []*graph.Value{q, k, v, mask}, a.attrs(see.causal)...)[0]
		return outs
	}
	if a.three {
		q = splitHeads(b, q, a.H)
	}
	s := like(b.Op("MatMul", b.Op("Mul", q, fill(b, in[0], a.scale)), swapLast(b, repeatHeads(b, k, a.H, a.KV), 4)), in[0])
	stages := [4]*graph.Value{seeScores: s}
	if softcap > 0 {
		s = like(b.Op("Mul", b.Op("Tanh", b.Op("Div", s, fill(b, in[0], softcap))), fill(b, in[0], softcap)), in[0])
	}
	stages[seeCapped] = s
	s = like(see.apply(b, like(addMask(b, s, mask), in[0])), in[0])
	stages[seeBiased] = s
	p, _ := softmaxBody(b, s)
	stages[seeSoftmax] = p
	outs[0] = b.Op("MatMul", p, repeatHeads(b, v, a.H, a.KV))
	if a.three {
		outs[0] = mergeHeads(b, outs[0])
	}
	outs[3] = stages[n.Int("qk_matmul_output_mode", 0)]
	return outs
}

// heads is what the body of Attention needs to know.
type heads struct {
	H, KV          int64
	three, threeKV bool // rank of the queries, of the keys and values
	scale          float64
}

// bodyHeads reads the sizes; ok is false if one is not known.
func bodyHeads(n *graph.Node, in []*graph.Value) (a heads, ok bool) {
	q, k := in[0].Shape, in[1].Shape
	a = heads{H: n.Int("q_num_heads", 0), KV: n.Int("kv_num_heads", 0), three: len(q) == 3, threeKV: len(k) == 3, scale: float64(n.Float("scale", 0))}
	if !a.three {
		a.H = int64(q[1].Size)
	}
	if !a.threeKV {
		a.KV = int64(k[1].Size)
	}
	if a.H <= 0 || a.KV <= 0 || len(in[2].Shape) != len(k) {
		return a, false
	}
	if n.Attr("scale") != nil {
		return a, true
	}
	D := q[len(q)-1]
	if a.three {
		D, _ = divDim(D, int(a.H)) // size 0 where it does not divide
	}
	a.scale = float64(float32(1 / math.Sqrt(float64(D.Size))))
	return a, D.Known() && D.Size > 0
}

// simple reports whether Q, K and V can be read where they are: there is nothing but them, and only Y is asked for.
func (a heads) simple(n *graph.Node, in []*graph.Value) bool {
	for i := 3; i < len(in); i++ {
		if in[i] != nil {
			return false
		}
	}
	return n.Out(1) == nil && n.Out(2) == nil && n.Out(3) == nil && len(n.Outputs) == 1 && n.Float("softcap", 0) <= 0 && n.Int("left_window_size", -1) < 0 && n.Int("right_window_size", -1) < 0
}

// attrs are those of muster.Attention.
func (a heads) attrs(causal bool) []graph.Attr {
	of := map[bool]string{true: "3", false: "4"}
	layout := of[a.three] + of[a.threeKV] + of[a.threeKV] + of[a.three]
	c := int64(0)
	if causal {
		c = 1
	}
	return []graph.Attr{graph.Int("heads", a.H), graph.Int("kv_heads", a.KV), graph.Str("layout", layout), graph.Int("causal", c), graph.Float("scale", float32(a.scale))}
}
