package op

import (
	"muster/graph"
)

// com.microsoft.MultiHeadAttention(query, key, value, bias, key_padding_mask, attention_bias, past_key, past_value) -> Y,
// present_key, present_value. The query is [B, T, C], or everything in one [B, T, H, 3, D]; the key [B, S, C],
// with the values as [B, S, H, 2, D], or both projected before as [B, H, S, D].
var opMultiHeadAttention = Op{
	Domain: microsoft, Name: "MultiHeadAttention", Since: 1, MinIn: 1, MaxIn: 10, MinOut: 1, MaxOut: 3,
	Attrs: "mask_filter_value num_heads scale unidirectional",
	Infer: multiHeadInfer,
	Body:  multiHeadBody,
}

// multiHead are the sizes of a call.
type multiHead struct {
	B, T, S, P   graph.Dim
	H            int
	D, Dv        graph.Dim
	packed, pair bool // one tensor for all, one for keys and values
	cross        bool // keys and values are [B, H, S, D]
}

func (c *InferCall) multiHead() (m multiHead, err error) {
	m.H = int(c.Node.Int("num_heads", 0))
	if m.H < 1 || m.H > maxElems {
		return m, c.Errorf("num_heads %d", m.H)
	}
	shape := func(i int) []graph.Dim {
		if v := c.in(i); v != nil {
			return v.Shape
		}
		return nil
	}
	q, k, v := shape(0), shape(1), shape(2)
	m.P = graph.D(0)
	if c.in(6) != nil {
		if p := shape(6); len(p) == 4 {
			m.P = p[2]
		} else {
			return m, c.Errorf("past_key is %v", p)
		}
	}
	over := func(d graph.Dim) (graph.Dim, error) {
		r, ok := divDim(d, m.H)
		if !ok {
			return r, c.Errorf("%v channels for %d heads", d, m.H)
		}
		return r, nil
	}
	var e1, e2 error
	switch m.B, m.T = q[0], q[1]; {
	case len(q) == 5:
		m.packed, m.S, m.D, m.Dv = true, q[1], q[4], q[4]
	case len(q) != 3 || c.in(1) == nil:
		return m, c.Errorf("the query is %v, with key: %v", q, c.in(1) != nil)
	case len(k) == 5:
		m.pair, m.S, m.D, m.Dv = true, k[1], k[4], k[4]
	case c.in(2) == nil:
		return m, c.Errorf("there is a key %v without a value", k)
	case len(k) == 4 && len(v) == 4:
		m.cross, m.S, m.D, m.Dv = true, k[2], k[3], v[3]
	case len(k) == 3 && len(v) == 3:
		m.S = k[1]
		m.D, e1 = over(q[2])
		m.Dv, e2 = over(v[2])
	default:
		return m, c.Errorf("the key is %v, the value %v", k, v)
	}
	return m, firstErr(e1, e2)
}

func multiHeadInfer(c *InferCall) error {
	for _, i := range []int{8, 9} {
		if c.in(i) != nil {
			return c.unsupported("a shared buffer of the past is not supported")
		}
	}
	for _, i := range []int{0, 1, 2, 3, 5, 6, 7} {
		if v := c.in(i); v != nil && v.DType != c.In[0].DType {
			return c.Errorf("input %d is %s, input 0 is %s", i, v.DType, c.In[0].DType)
		}
	}
	if err := firstErr(c.wantFloat(0), c.wantRank(3, 1), c.wantRank(5, 4)); err != nil {
		return err
	}
	d := c.In[0].DType
	for i := range 3 {
		c.Set(i, d, nil)
		if v := c.in(i); v != nil && v.Shape == nil {
			return nil
		}
	}
	if (c.in(6) == nil) != (c.in(7) == nil) {
		return c.Errorf("one of past_key and past_value is absent")
	}
	m, err := c.multiHead()
	if err != nil {
		return err
	}
	if err := c.maskKind(4, m.B); err != nil {
		return err
	}
	S := addDims(m.P, m.S)
	c.Set(0, d, []graph.Dim{m.B, m.T, mulDim(graph.D(m.H), m.Dv)})
	c.Set(1, d, []graph.Dim{m.B, graph.D(m.H), S, m.D})
	c.Set(2, d, []graph.Dim{m.B, graph.D(m.H), S, m.Dv})
	return nil
}

func multiHeadBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	if _, ok := staticIn(in); !ok {
		return nil
	}
	m, err := (&InferCall{Node: n, In: in}).multiHead()
	if err != nil {
		return nil
	}
	H, D, Dv := m.H, m.D.Size, m.Dv.Size
	pick := func(x *graph.Value, i, size int) *graph.Value { // [B, T, H, n, D] to [B, T, H*D]
		x = b.Op("Slice", x, b.Ints(int64(i)), b.Ints(int64(i+1)), b.Ints(3))
		return reshape(b, x, int64(m.B.Size), -1, int64(H*size))
	}
	q, k, v := in[0], optional(in, 1), optional(in, 2)
	switch {
	case m.packed:
		q, k, v = pick(in[0], 0, D), pick(in[0], 1, D), pick(in[0], 2, Dv)
	case m.pair:
		k, v = pick(in[1], 0, D), pick(in[1], 1, Dv)
	}
	if bias := optional(in, 3); bias != nil {
		q = b.Op("Add", q, channels(b, bias, 0, H*D))
		if !m.cross {
			k, v = b.Op("Add", k, channels(b, bias, H*D, 2*H*D)), b.Op("Add", v, channels(b, bias, 2*H*D, 2*H*D+H*Dv))
		}
	}
	layout := "3333"
	outs := []*graph.Value{nil, nil, nil}
	if m.cross {
		layout = "3443"
	} else if optional(in, 6) != nil || n.Out(1) != nil || n.Out(2) != nil {
		layout = "3443"
		k, v = splitHeads(b, k, int64(H)), splitHeads(b, v, int64(H))
	}
	if past := optional(in, 6); past != nil {
		axis := []graph.Attr{graph.Int("axis", 2)}
		k, v = b.OpA("Concat", axis, past, k), b.OpA("Concat", axis, in[7], v)
	}
	S := m.P.Size + m.S.Size
	var mask *graph.Value
	if x := optional(in, 4); x != nil {
		mask = keyMask(b, n, x, in[0], m.B.Size, S)
	}
	mask = addAll(b, mask, optional(in, 5))
	outs[0] = fusedNode(b, q, k, v, mask, graph.Int("heads", int64(H)), graph.Int("kv_heads", int64(H)), graph.Str("layout", layout), causalAttr(n), graph.Float("scale", scaleOf(n, D)))
	outs[1], outs[2] = k, v
	return outs[:max(1, len(n.Outputs))]
}
