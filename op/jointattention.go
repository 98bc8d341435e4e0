package op

import (
	"muster/graph"
	"muster/tensor"
)

// com.microsoft.Attention(input, weights, bias, mask_index, past, attention_bias) -> Y, present projects X [B, T, C] to
// queries, keys and values at once. QAttention does so with integers. The past and the present are [2, B, H, P, D].
var (
	opMicrosoftAttention = Op{
		Domain: microsoft, Name: "Attention", Since: 1, MinIn: 2, MaxIn: 7, MinOut: 1, MaxOut: 2,
		Attrs: "do_rotary mask_filter_value num_heads past_present_share_buffer qkv_hidden_sizes rotary_embedding_dim scale unidirectional",
		Infer: func(c *InferCall) error {
			if err := firstErr(c.wantFloat(0), c.wantType(1, c.In[0].DType), c.wantType(2, c.In[0].DType), c.wantType(4, c.In[0].DType), c.wantType(5, c.In[0].DType)); err != nil {
				return err
			}
			if c.in(6) != nil {
				return c.unsupported("a shared buffer of the past is not supported")
			}
			return c.joint(jointInputs{mask: 3, past: 4}, c.In[0].DType)
		},
		Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
			if _, ok := staticIn(in); !ok {
				return nil
			}
			x := addAll(b, b.Op("MatMul", in[0], in[1]), optional(in, 2))
			return jointBody(b, n, in, jointInputs{mask: 3, past: 4}, like(x, in[0]), optional(in, 5))
		},
	}
	opQAttention = Op{
		Domain: microsoft, Name: "QAttention", Since: 1, MinIn: 5, MaxIn: 9, MinOut: 1, MaxOut: 2,
		Attrs:  "do_rotary mask_filter_value num_heads past_present_share_buffer scale unidirectional",
		NoGrad: "its input is an integer",
		Infer: func(c *InferCall) error {
			f := tensor.Float32
			if err := firstErr(c.bytes8(0, 1, 6, 7), c.wantType(2, f), c.wantType(3, f), c.wantType(4, f), c.wantType(8, f)); err != nil {
				return err
			}
			return c.joint(jointInputs{mask: 5, past: 8}, f)
		},
		Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
			if _, ok := staticIn(in); !ok {
				return nil
			}
			x := b.Node(microsoft, "MatMulIntegerToFloat", 1, []*graph.Value{in[0], in[1], in[3], in[4], optional(in, 6), optional(in, 7), in[2]})[0]
			x.DType = tensor.Float32
			return jointBody(b, n, in, jointInputs{mask: 5, past: 8}, x, nil)
		},
	}
)

// jointInputs says which inputs are the mask and the past.
type jointInputs struct{ mask, past int }

// jointSizes returns the channels of queries, of keys and of values.
func jointSizes(n *graph.Node, W int) (c [3]int, ok bool) {
	if s := n.Ints("qkv_hidden_sizes"); s != nil {
		if len(s) != 3 || min(s[0], s[1], s[2]) < 1 || max(s[0], s[1], s[2]) > maxElems {
			return c, false
		}
		c = [3]int{int(s[0]), int(s[1]), int(s[2])}
	} else {
		c = [3]int{W / 3, W / 3, W / 3}
	}
	H := int(n.Int("num_heads", 0))
	return c, H > 0 && c[0] == c[1] && c[0]+c[1]+c[2] == W && c[0]%H == 0 && c[2]%H == 0 && W > 0
}

func (c *InferCall) joint(at jointInputs, d tensor.DType) error {
	n := c.Node
	if n.Int("do_rotary", 0) != 0 || n.Int("past_present_share_buffer", 0) != 0 {
		return c.unsupported("do_rotary and past_present_share_buffer are not supported")
	}
	if err := firstErr(c.wantRank(0, 3), c.wantRank(1, 2), c.wantRank(at.past, 5)); err != nil {
		return err
	}
	x, w := c.In[0].Shape, c.In[1].Shape
	c.Set(0, d, nil)
	c.Set(1, d, nil)
	if x == nil || w == nil {
		return nil
	}
	if err := firstErr(c.maskKind(at.mask, x[0]), c.agree("channels", x[2], w[0])); err != nil || !w[1].Known() {
		return err
	}
	s, ok := jointSizes(n, w[1].Size)
	if !ok {
		return c.Errorf("weights %v, %d heads, sizes %d", w, n.Int("num_heads", 0), n.Ints("qkv_hidden_sizes"))
	}
	H := int(n.Int("num_heads", 0))
	total := x[1]
	if p := c.in(at.past); p != nil && p.Shape != nil {
		if err := firstErr(c.agree("sizes of the past", graph.D(2), p.Shape[0]), c.agree("batches", x[0], p.Shape[1]), c.agree("heads", graph.D(H), p.Shape[2]), c.agree("sizes of a head", graph.D(s[0]/H), p.Shape[4])); err != nil {
			return err
		}
		total = addDims(p.Shape[3], x[1])
	} else if p != nil {
		total = graph.Dim{Size: -1}
	}
	c.Set(0, d, []graph.Dim{x[0], x[1], graph.D(s[2])})
	c.Set(1, d, []graph.Dim{graph.D(2), x[0], graph.D(H), total, graph.D(s[0] / H)})
	return nil
}

// jointBody attends with the queries, keys and values in x [B, T, W]; a pass reads them there in place.
func jointBody(b *graph.Builder, n *graph.Node, in []*graph.Value, at jointInputs, x, bias *graph.Value) []*graph.Value {
	shape, _ := in[0].Static()
	W := in[1].Shape[1].Size
	s, _ := jointSizes(n, W)
	H := n.Int("num_heads", 1)
	attrs := []graph.Attr{graph.Int("heads", H), graph.Int("kv_heads", H), causalAttr(n), graph.Float("scale", scaleOf(n, s[0]/int(H)))}
	S := shape[1]
	past := optional(in, at.past)
	if past != nil {
		S += past.Shape[3].Size
	}
	var mask *graph.Value
	if m := optional(in, at.mask); m != nil {
		mask = keyMask(b, n, m, x, shape[0], S)
	}
	mask = addAll(b, mask, bias)
	q, k, v := channels(b, x, 0, s[0]), channels(b, x, s[0], s[0]+s[1]), channels(b, x, s[0]+s[1], W)
	if past == nil && n.Out(1) == nil {
		return []*graph.Value{fusedNode(b, q, k, v, mask, attrs...)}
	}
	k, v = splitHeads(b, k, H), splitHeads(b, v, H)
	if past != nil {
		axis := []graph.Attr{graph.Int("axis", 2)}
		of := func(i int64) *graph.Value {
			return b.Squeeze(b.Op("Slice", past, b.Ints(i), b.Ints(i+1), b.Ints(0)), 0)
		}
		k, v = b.OpA("Concat", axis, of(0), k), b.OpA("Concat", axis, of(1), v)
	}
	y := fusedNode(b, q, k, v, mask, append(attrs, graph.Str("layout", "3443"))...)
	outs := []*graph.Value{y, nil}
	if n.Out(1) != nil {
		outs[1] = b.OpA("Concat", []graph.Attr{graph.Int("axis", 0)}, b.Unsqueeze(k, 0), b.Unsqueeze(v, 0))
	}
	return outs[:max(1, len(n.Outputs))]
}
