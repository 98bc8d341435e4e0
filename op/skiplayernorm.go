package op

import (
	"muster/graph"
	"muster/tensor"
)

// skipNormOp makes SkipLayerNormalization or SkipSimplifiedLayerNormalization of com.microsoft: the normalisation of
// input + skip (+ bias), which is output 3. Outputs 1 and 2 are the statistics.
func skipNormOp(name string, simplified bool) Op {
	bias := 4
	if simplified {
		bias = 3
	}
	return Op{
		Domain: microsoft, Name: name, Since: 1, MinIn: 3, MaxIn: bias + 1, MinOut: 1, MaxOut: 4, Attrs: "epsilon",
		Infer: func(c *InferCall) error {
			if err := firstErr(c.wantFloat(0), c.sameTypes()); err != nil {
				return err
			}
			x := c.In[0].Shape
			c.Set(0, c.In[0].DType, x)
			c.Set(3, c.In[0].DType, x)
			c.Set(1, statType(c.In[0].DType), nil)
			c.Set(2, statType(c.In[0].DType), nil)
			if x == nil {
				return nil
			}
			if len(x) < 2 {
				return c.Errorf("input 0 is %v", x)
			}
			for i := 1; i < len(c.In); i++ {
				if err := c.broadcastsTo(i, x); err != nil {
					return err
				}
			}
			s := append([]graph.Dim{}, x...)
			s[len(s)-1] = graph.D(1)
			c.Set(1, statType(c.In[0].DType), s)
			c.Set(2, statType(c.In[0].DType), s)
			return nil
		},
		Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
			x := addAll(b, in[0], in[1], optional(in, bias))
			attrs := []graph.Attr{graph.Int("axis", -1), graph.Float("epsilon", n.Float("epsilon", 1e-12))}
			if simplified {
				y := b.Node("", "SimplifiedLayerNormalization", 2, []*graph.Value{x, in[2]}, attrs...)
				return []*graph.Value{y[0], b.Op("Identity", y[1]), y[1], x}
			}
			y := b.Node("", "LayerNormalization", 3, []*graph.Value{x, in[2], optional(in, 3)}, attrs...)
			return []*graph.Value{y[0], y[1], y[2], x}
		},
	}
}

var (
	opSkipLayerNormalization           = skipNormOp("SkipLayerNormalization", false)
	opSkipSimplifiedLayerNormalization = skipNormOp("SkipSimplifiedLayerNormalization", true)
)

// com.microsoft.EmbedLayerNormalization(ids, segments, words, positions, segment table, gamma, beta, mask, position_ids) -> Y,
// mask_index, sum is the normalised sum of three embeddings; mask_index [B] counts the ones of the mask.
// mask_index_type tells shape inference whether there is a mask, which the node says by itself.
var opEmbedLayerNormalization = Op{
	Domain: microsoft, Name: "EmbedLayerNormalization", Since: 1, MinIn: 1, MaxIn: 9, MinOut: 1, MaxOut: 3, Attrs: "epsilon mask_index_type",
	Infer: func(c *InferCall) error {
		for _, i := range []int{0, 1, 7, 8} {
			if err := c.wantIndex(i); err != nil {
				return err
			}
		}
		for _, i := range []int{2, 3, 5, 6} {
			if c.in(i) == nil {
				return c.Errorf("input %d is absent", i)
			}
		}
		for _, i := range []int{2, 3, 4, 5, 6} {
			if v := c.in(i); v != nil && v.DType != c.In[2].DType {
				return c.Errorf("input %d is %s, input 2 is %s", i, v.DType, c.In[2].DType)
			}
		}
		if err := firstErr(c.wantFloat(2), c.wantRank(0, 2), c.wantRank(1, 2), c.wantRank(2, 2), c.wantRank(3, 2), c.wantRank(4, 2), c.wantRank(7, 2), c.wantRank(8, 2)); err != nil {
			return err
		}
		if (c.in(1) == nil) != (c.in(4) == nil) {
			return c.Errorf("segments without their table, or the reverse")
		}
		ids, w := c.In[0].Shape, c.In[2].Shape
		c.Set(1, tensor.Int32, nil)
		for _, i := range []int{0, 2} {
			c.Set(i, c.In[2].DType, nil)
			if ids != nil && w != nil {
				c.Set(i, c.In[2].DType, []graph.Dim{ids[0], ids[1], w[1]})
			}
		}
		if ids != nil {
			c.Set(1, tensor.Int32, []graph.Dim{ids[0]})
		}
		return nil
	},
	Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
		look := func(table, at *graph.Value) *graph.Value {
			return b.OpA("Gather", []graph.Attr{graph.Int("axis", 0)}, table, at)
		}
		pos := optional(in, 8)
		if pos == nil {
			pos = b.Unsqueeze(b.Op("Range", intScalar(b, 0), sizeScalar(b, in[0], 1), intScalar(b, 1)), 0)
		}
		x := b.Op("Add", look(in[2], in[0]), look(in[3], pos))
		if in[1] != nil {
			x = b.Op("Add", x, look(in[4], in[1]))
		}
		y := b.Node("", "LayerNormalization", 1, []*graph.Value{x, in[5], in[6]}, graph.Int("axis", -1), graph.Float("epsilon", n.Float("epsilon", 1e-12)))[0]
		outs := []*graph.Value{y, nil, x}
		if n.Out(1) != nil {
			ones := optional(in, 7)
			if ones == nil {
				ones = b.Op("Mul", cast(b, in[0], tensor.Int64), intScalar(b, 0))
			}
			ones = cast(b, b.Op("Equal", cast(b, ones, tensor.Int64), intScalar(b, 1)), tensor.Int32)
			outs[1] = b.ReduceSum(ones, 0, 1)
		}
		return outs[:max(1, len(n.Outputs))]
	},
}
