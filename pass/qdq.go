package pass

import (
	"muster/graph"
	"muster/tensor"
)

// qdq recognises the standard quantized linear layer and gives it to the integer kernels:
//
//	y = MatMul(DequantizeLinear(x u8), DequantizeLinear(w s8, scale [N])) (+ bias [N])
//
// becomes muster.QLinearFloat, or muster.QLinear where a QuantizeLinear is the only reader of y.
// Weights must be constant and symmetric (zero point 0), which is what integer kernels compute exactly.
func qdq(g *graph.Graph) int {
	uses, fired := g.Uses(), 0
	b := graph.NewBuilder(g)
	for _, n := range g.Nodes {
		if n.Domain != "" || n.Op != "MatMul" || !isQuantPair(n) {
			continue
		}
		x, w := n.Inputs[0].Producer, n.Inputs[1].Producer
		in := []*graph.Value{x.Inputs[0], x.Inputs[1], x.In(2), w.Inputs[0], channelScale(b, w), nil}
		y := n.Outputs[0]
		if add := use(uses, y); add != nil && add.Domain == "" && add.Op == "Add" {
			bias := add.Inputs[0]
			if bias == y {
				bias = add.Inputs[1]
			}
			if bias.Const != nil && len(bias.Shape) == 1 && bias.Shape[0].Same(w.Inputs[0].Shape[1]) {
				in[5], y = bias, add.Outputs[0]
			}
		}
		if q := use(uses, y); q != nil && q.Domain == "" && q.Op == "QuantizeLinear" && scalarU8(q) {
			in = append(in, q.Inputs[1], q.In(2))
			fuse(b, q.Outputs[0], graph.Domain, "QLinear", in)
		} else {
			fuse(b, y, graph.Domain, "QLinearFloat", in)
		}
		fired++
	}
	return fired
}

// isQuantPair checks that a MatMul reads a per-tensor u8 and a constant symmetric s8 [K, N] operand.
func isQuantPair(n *graph.Node) bool {
	if !made(n.Inputs[0], "", "DequantizeLinear") || !made(n.Inputs[1], "", "DequantizeLinear") {
		return false
	}
	x, w := n.Inputs[0].Producer, n.Inputs[1].Producer
	if !scalarU8(x) || x.Inputs[0].DType != tensor.Uint8 || len(x.Inputs[0].Shape) < 2 {
		return false
	}
	v, s, z := w.Inputs[0], w.Inputs[1], w.In(2)
	if v.Const == nil || v.DType != tensor.Int8 || len(v.Shape) != 2 || s.Const == nil {
		return false
	}
	if axis := w.Int("axis", 1); s.Const.Elems() > 1 && axis != 1 && axis != -1 {
		return false
	}
	if z != nil {
		if z.Const == nil {
			return false
		}
		for _, q := range z.Const.Int8s() {
			if q != 0 {
				return false
			}
		}
	}
	return true
}

// scalarU8 checks that a (De)QuantizeLinear node has constant per-tensor parameters of type uint8.
func scalarU8(n *graph.Node) bool {
	s, z := n.Inputs[1], n.In(2)
	if s.Const == nil || s.Const.Elems() != 1 {
		return false
	}
	return z == nil || z.Const != nil && z.Const.Elems() == 1 && z.DType == tensor.Uint8
}

// channelScale returns w's scale as a vector of one entry per output channel.
func channelScale(b *graph.Builder, w *graph.Node) *graph.Value {
	s := w.Inputs[1]
	n := w.Inputs[0].Const.Shape
	if len(s.Const.Shape) == 1 && s.Const.Elems() == n[1] {
		return s
	}
	v := make([]float32, n[1])
	for i := range v {
		v[i] = s.Const.Float32s()[0]
	}
	return b.Init("w_scale", tensor.OfFloat32(v, n[1]))
}
