package nn

import (
	"math"

	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// GPTConfig are the settings of a causal language model with learned positions and
// tied embeddings (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019).
type GPTConfig struct {
	Vocab, Context       int // tokens that exist; tokens in a row
	Dim                  int // channels of a token
	Depth, Heads, Hidden int // blocks, attention heads, channels inside the perceptron
}

// causalOpset is the first opset that has Attention.
const causalOpset = 23

// GPT appends a causal language model with input "tokens" [B, Context] (int64) and
// returns the logits of the next token, [B, Context, Vocab].
func (n *Net) GPT(c GPTConfig) (*graph.Value, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	ids := n.Input("tokens", tensor.Int64, graph.Sym("B"), graph.D(c.Context))
	table := n.param("token", n.normal("token", 0.02, c.Vocab, c.Dim), true)
	x := n.OpA("Gather", []graph.Attr{graph.Int("axis", 0)}, table, ids)
	x = n.Op("Add", x, n.param("position", n.normal("position", 0.02, c.Context, c.Dim), true))
	gain := 1 / math.Sqrt(2*float64(c.Depth))
	for i := 0; i < c.Depth; i++ {
		x = n.CausalBlock(name("block", i), x, c.Dim, c.Heads, c.Hidden, gain)
	}
	rows := n.reshape(n.LayerNorm("norm", x, c.Dim), -1, int64(c.Dim))
	logits := n.OpA("Gemm", []graph.Attr{graph.Int("transB", 1)}, rows, table) // no copy of the table the other way round
	return n.reshape(logits, -1, int64(c.Context), int64(c.Vocab)), nil
}

func (c GPTConfig) validate() error {
	switch {
	case c.Heads < 1 || c.Dim%c.Heads != 0:
		return fault.New(fault.Mismatch, "model.heads", "%d channels do not split into %d heads", c.Dim, c.Heads)
	case c.Vocab < 2 || c.Context < 1 || c.Dim < 1 || c.Depth < 1 || c.Hidden < 1:
		return fault.New(fault.Mismatch, "model", "vocab must be at least 2, context, dim, depth and hidden at least 1")
	}
	return nil
}

// CausalAttention is Attention in which a token sees itself and those before it.
func (n *Net) CausalAttention(name string, x *graph.Value, C, heads int, outGain float64) *graph.Value {
	m := n.G.Model
	m.Opsets[""], m.IRVersion = max(m.Opsets[""], causalOpset), max(m.IRVersion, 11)
	qkv := n.Node("", "Split", 3, []*graph.Value{n.Linear(name+".qkv", x, C, 3*C, 1)},
		graph.Int("axis", -1), graph.Int("num_outputs", 3))
	y := n.OpA("Attention", []graph.Attr{graph.Int("is_causal", 1), graph.Int("q_num_heads", int64(heads)), graph.Int("kv_num_heads", int64(heads))}, qkv...)
	return n.Linear(name+".out", y, C, C, outGain)
}

// CausalBlock is Block with CausalAttention.
func (n *Net) CausalBlock(name string, x *graph.Value, C, heads, hidden int, outGain float64) *graph.Value {
	return n.block(name, x, n.CausalAttention, C, heads, hidden, outGain)
}
