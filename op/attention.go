package op

import (
	"math"

	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// attentionOp makes a row of Attention. Since 24 an input gives the number of valid keys of
// every batch item, since 25 a window may bound the keys that a query sees.
//
//	Attention(Q, K, V, mask, past_key, past_value, nonpad_kv_seqlen) -> Y, present_key, present_value, qk
//
// Q, K and V are [B, heads, T, D] or [B, T, heads*D]; the past is always [B, KV, P, D]. A causal
// query sees the keys up to its own position, which is counted from the end of the past, or such that
// the last query meets the last valid key. A query that sees nothing gives 0. softmax_precision is met by any value: the
// softmax of every type is computed in float32 or better.
func attentionOp(since, maxIn int, attrs string) Op {
	return Op{
		Name: "Attention", Since: since, MinIn: 3, MaxIn: maxIn, MinOut: 1, MaxOut: 4,
		Attrs:   "is_causal kv_num_heads q_num_heads qk_matmul_output_mode scale softcap softmax_precision" + attrs,
		Infer:   attentionInfer,
		Ref:     attentionRef,
		Body:    attentionBody,
		Prepare: attentionKernel,
		Flops:   attentionFlops,
	}
}

var (
	opAttention23 = attentionOp(23, 6, "")
	opAttention24 = attentionOp(24, 7, "")
	opAttention25 = attentionOp(25, 7, " left_window_size right_window_size")
)

// headShape is the shape of input i as [B, heads, T, D].
func (c *InferCall) headShape(i int, attr string) ([]graph.Dim, error) {
	s := c.In[i].Shape
	switch {
	case s == nil:
		return unknown(4), nil
	case len(s) == 4:
		return s, nil
	case len(s) != 3:
		return nil, c.Errorf("input %d is %v, want rank 3 or 4", i, s)
	}
	n := int(c.Node.Int(attr, 0))
	d, ok := divDim(s[2], n)
	if n <= 0 || !ok {
		return nil, c.Errorf("input %d is %v with %s %d", i, s, attr, n)
	}
	return []graph.Dim{s[0], graph.D(n), s[1], d}, nil
}

func attentionInfer(c *InferCall) error {
	if err := firstErr(c.wantFloat(0), c.wantFloat(1), c.wantFloat(2), c.wantFloat(4), c.wantFloat(5), c.wantType(6, tensor.Int64), c.wantRank(6, 1)); err != nil {
		return err
	}
	if m := c.in(3); m != nil && m.DType != tensor.Bool && !m.DType.IsFloat() {
		return c.Errorf("the mask is %s", m.DType)
	}
	if c.In[0].Shape == nil || c.In[1].Shape == nil || c.In[2].Shape == nil {
		for i := range 4 {
			c.Set(i, c.In[0].DType, nil)
		}
		return nil
	}
	q, err1 := c.headShape(0, "q_num_heads")
	k, err2 := c.headShape(1, "kv_num_heads")
	v, err3 := c.headShape(2, "kv_num_heads")
	if err := firstErr(err1, err2, err3); err != nil {
		return err
	}
	S, err := c.withPast(q, k, v)
	if err != nil {
		return err
	}
	if c.in(6) != nil && c.in(4) != nil {
		return c.Errorf("nonpad_kv_seqlen with a past")
	}
	if err := firstErr(c.agree("batches", q[0], k[0], v[0]), c.agree("heads", k[1], v[1]), c.agree("lengths", k[2], v[2]), c.agree("sizes of a head", q[3], k[3])); err != nil {
		return err
	}
	if q[1].Known() && k[1].Known() && (k[1].Size == 0 || q[1].Size%k[1].Size != 0) {
		return c.Errorf("%d heads of queries for %d of keys", q[1].Size, k[1].Size)
	}
	if n := c.in(6); n != nil && n.Shape != nil {
		if err := c.agree("batches", q[0], n.Shape[0]); err != nil {
			return err
		}
	}
	qk := []graph.Dim{q[0], q[1], q[2], S}
	if err := c.maskFits(3, qk); err != nil {
		return err
	}
	y := []graph.Dim{q[0], q[1], q[2], v[3]}
	if len(c.In[0].Shape) == 3 {
		y = []graph.Dim{q[0], q[2], mulDim(q[1], v[3])}
	}
	if m := c.Node.Int("qk_matmul_output_mode", 0); m < seeScores || m > seeSoftmax {
		return c.Errorf("qk_matmul_output_mode %d", m)
	}
	c.Set(0, c.In[0].DType, y)
	c.Set(1, c.In[1].DType, []graph.Dim{k[0], k[1], S, k[3]})
	c.Set(2, c.In[2].DType, []graph.Dim{k[0], k[1], S, v[3]})
	c.Set(3, c.In[0].DType, qk)
	return nil
}

// withPast is the number of keys S, those of the past among them.
func (c *InferCall) withPast(q, k, v []graph.Dim) (S graph.Dim, err error) {
	if (c.in(4) == nil) != (c.in(5) == nil) {
		return S, c.Errorf("one of past_key and past_value is absent")
	}
	if c.in(4) == nil {
		return k[2], nil
	}
	if err := firstErr(c.wantRank(4, 4), c.wantRank(5, 4)); err != nil {
		return S, err
	}
	pk, pv := c.In[4].Shape, c.In[5].Shape
	if pk == nil || pv == nil {
		pk, pv = unknown(4), unknown(4)
	}
	return addDims(pk[2], k[2]), firstErr(c.agree("batches", q[0], pk[0], pv[0]), c.agree("heads", k[1], pk[1], pv[1]),
		c.agree("lengths of the past", pk[2], pv[2]), c.agree("sizes of keys", k[3], pk[3]), c.agree("sizes of values", v[3], pv[3]))
}

// maskFits checks that a mask broadcasts to the scores; its last axis may be shorter.
func (c *InferCall) maskFits(i int, qk []graph.Dim) error {
	m := c.in(i)
	if m == nil || m.Shape == nil {
		return nil
	}
	if len(m.Shape) > 4 || len(m.Shape) == 0 {
		return c.Errorf("the mask is %v", m.Shape)
	}
	for j, d := range m.Shape {
		e, last := qk[4-len(m.Shape)+j], j == len(m.Shape)-1
		if d.Known() && e.Known() && d.Size != e.Size && !(last && d.Size < e.Size) && (last || d.Size != 1) {
			return c.Errorf("the mask is %v for scores %v", m.Shape, qk)
		}
	}
	return nil
}

// attentionForm reads a call of Attention with concrete shapes. A past makes the keys and values those of
// outputs 1 and 2, or of room elsewhere: [B, KV, S, D].
func attentionForm(n *graph.Node, in []*tensor.Tensor) attend {
	at := func(i int) *tensor.Tensor { return optional(in, i) }
	a := attend{scale: float64(n.Float("scale", 0)), softcap: float64(n.Float("softcap", 0))}
	a.Causal, a.Left, a.Right = n.Int("is_causal", 0) != 0, int(n.Int("left_window_size", -1)), int(n.Int("right_window_size", -1))
	q, k, v := in[0].Shape, in[1].Shape, in[2].Shape
	if len(q) == 4 {
		a.B, a.H, a.T, a.D = q[0], q[1], q[2], q[3]
		a.q = heads4(a.H, a.T, a.D)
	} else {
		a.B, a.H, a.T = q[0], int(n.Int("q_num_heads", 1)), q[1]
		a.D = q[2] / a.H
		a.q = heads3(a.T, q[2], a.D, 0)
	}
	if len(k) == 4 {
		a.KV, a.S = k[1], k[2]
		a.k = heads4(a.KV, a.S, a.D)
	} else {
		a.KV, a.S = int(n.Int("kv_num_heads", 1)), k[1]
		a.k = heads3(a.S, k[2], a.D, 0)
	}
	if len(v) == 4 {
		a.Dv = v[3]
		a.v = heads4(a.KV, a.S, a.Dv)
	} else {
		a.Dv = v[2] / a.KV
		a.v = heads3(a.S, v[2], a.Dv, 0)
	}
	if p := at(4); p != nil {
		a.Offset, a.S = p.Shape[2], a.S+p.Shape[2]
		a.k, a.v = heads4(a.KV, a.S, a.D), heads4(a.KV, a.S, a.Dv)
	}
	a.y = heads4(a.H, a.T, a.Dv)
	if len(q) == 3 {
		a.y = heads3(a.T, a.H*a.Dv, a.Dv, 0)
	}
	if a.scale == 0 && n.Attr("scale") == nil {
		a.scale = 1 / math.Sqrt(float64(a.D))
	}
	a.Cols = a.S
	if m := at(3); m != nil {
		a.setMask(m.Shape, m.DType)
	}
	return a
}

// joined writes the past and new keys (or values) of head bh, counted over the batch, as [S, size].
func joined[E any](dst, past, new []E, a *attend, bh, P, size int, three bool) {
	N, b, h := a.S-P, bh/a.KV, bh%a.KV
	d := dst[bh*a.S*size:][:a.S*size]
	copy(d, past[bh*P*size:][:P*size])
	if !three {
		copy(d[P*size:], new[bh*N*size:][:N*size])
		return
	}
	for t := 0; t < N; t++ {
		copy(d[(P+t)*size:], new[((b*N+t)*a.KV+h)*size:][:size])
	}
}

func attentionRef(c *Call) error {
	a := attentionForm(c.Node, c.In)
	if t := c.in(6); t != nil {
		k := kernel.Attention{Reach: a.Reach, B: a.B, T: a.T}
		k.Lens, k.Offsets = make([]int, a.B), make([]int, a.B)
		k.SetLens(t.Int64s())
		a.Reach = k.Reach
	}
	var past [2][]float64
	P := 0
	if c.in(4) != nil {
		P = c.In[4].Shape[2]
		past[0], past[1] = floats(c.In[4]), floats(c.In[5])
	}
	kv := [2][]float64{floats(c.In[1]), floats(c.In[2])}
	for i, size := range []int{a.D, a.Dv} {
		if c.in(4) == nil && c.out(1+i) == nil {
			continue
		}
		all := make([]float64, a.B*a.KV*a.S*size)
		for bh := 0; bh < a.B*a.KV; bh++ {
			joined(all, past[i], kv[i], &a, bh, P, size, len(c.In[1+i].Shape) == 3)
		}
		if c.in(4) != nil {
			kv[i] = all
		}
		if t := c.out(1 + i); t != nil {
			setFloats(t, all)
		}
	}
	var mask, qk []float64
	if a.masked {
		mask = floats(c.In[3])
	}
	if c.out(3) != nil {
		qk = make([]float64, c.Out[3].Elems())
	}
	y := make([]float64, c.Out[0].Elems())
	a.ref(floats(c.In[0]), kv[0], kv[1], mask, y, nil, qk, int(c.Node.Int("qk_matmul_output_mode", 0)))
	setFloats(c.Out[0], y)
	if qk != nil {
		setFloats(c.Out[3], qk)
	}
	return nil
}

// attentionFlops is 2 B H T S (D + Dv), without what a causal form leaves out.
func attentionFlops(in, out []*graph.Value) int64 {
	q, ok1 := in[0].Static()
	y, ok2 := out[0].Static()
	k, ok3 := in[1].Static()
	if !ok1 || !ok2 || !ok3 || len(k) < 3 {
		return 0
	}
	S := k[len(k)-2]
	return 2 * int64(S) * int64(q.Elems()+y.Elems())
}
