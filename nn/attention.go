package nn

import (
	"math"

	"muster/graph"
)

// Attention is multi-head self-attention over x [B, T, C] with one joint
// projection to queries, keys and values (Vaswani et al., arXiv 1706.03762, section 3.2).
// outGain scales the output projection's initial weights.
func (n *Net) Attention(name string, x *graph.Value, C, heads int, outGain float64) *graph.Value {
	D := C / heads
	qkv := n.Node("", "Split", 3, []*graph.Value{n.Linear(name+".qkv", x, C, 3*C, 1)},
		graph.Int("axis", -1), graph.Int("num_outputs", 3))
	head := func(v *graph.Value) *graph.Value { // [B, T, C] to [B, H, T, D]
		return n.transpose(n.reshape(v, 0, 0, int64(heads), int64(D)), 0, 2, 1, 3)
	}
	q := n.Op("Mul", head(qkv[0]), n.Scalar(float32(1/math.Sqrt(float64(D)))))
	kT := n.transpose(head(qkv[1]), 0, 1, 3, 2)
	p := n.OpA("Softmax", []graph.Attr{graph.Int("axis", -1)}, n.Op("MatMul", q, kT))
	y := n.transpose(n.Op("MatMul", p, head(qkv[2])), 0, 2, 1, 3) // [B, T, H, D]
	return n.Linear(name+".out", n.reshape(y, 0, 0, int64(C)), C, C, outGain)
}

// Block is one pre-norm transformer block: attention, then a two-layer perceptron, each added to its input.
func (n *Net) Block(name string, x *graph.Value, C, heads, hidden int, outGain float64) *graph.Value {
	return n.block(name, x, n.Attention, C, heads, hidden, outGain)
}

// attention is a form of attention as Attention and CausalAttention.
type attention func(name string, x *graph.Value, C, heads int, outGain float64) *graph.Value

func (n *Net) block(name string, x *graph.Value, attend attention, C, heads, hidden int, outGain float64) *graph.Value {
	x = n.Op("Add", x, attend(name+".attn", n.LayerNorm(name+".norm1", x, C), C, heads, outGain))
	h := n.Gelu(n.Linear(name+".mlp1", n.LayerNorm(name+".norm2", x, C), C, hidden, 1))
	return n.Op("Add", x, n.Linear(name+".mlp2", h, hidden, C, outGain))
}
