package op

import (
	"muster/graph"
	"muster/tensor"
)

// com.microsoft.GroupQueryAttention(query, key, value, past_key, past_value, seqlens_k, total_sequence_length, cos, sin,
// position_ids, attention_bias) -> Y, present_key, present_value is the attention of decoders: causal, with
// rotation of queries and keys, a cache, and a window. Item b has seqlens_k[b]+1 valid keys after the call; its new
// ones follow the past, which is empty for the first prompt (T = total). The query may hold keys and values too:
// [B, T, (H + 2 KV) D]. The cache is [B, KV, S, D] with S the greater of the past's length and the total.
var opGroupQueryAttention = Op{
	Domain: microsoft, Name: "GroupQueryAttention", Since: 1, MinIn: 1, MaxIn: 11, MinOut: 1, MaxOut: 3, Dynamic: true,
	Attrs:  "do_rotary kv_num_heads local_window_size num_heads rotary_interleaved scale smooth_softmax softcap",
	NoGrad: "it writes the cache of a decoder, which nothing is trained through",
	Infer:  groupQueryInfer,
	Ref: func(c *Call) error {
		g := decoderOf(c.Node, c.In)
		if err := g.check(c.In); err != nil {
			return err
		}
		S := max(g.P, int(index(c.In[6], 0)))
		for i := 1; i <= 2; i++ {
			if t := c.out(i); t != nil && t.Data == nil {
				t.Shape = tensor.Shape{g.B, g.KV, S, g.D}
				t.Data = tensor.Alloc(t.DType.Bytes(t.Shape.Elems()))
			}
		}
		g.setCache(S)
		g.place(c.In)
		y := make([]float64, g.B*g.T*g.H*g.D)
		q, cache := make([]float64, len(y)), [2][]float64{make([]float64, g.B*g.KV*S*g.D), make([]float64, g.B*g.KV*S*g.D)}
		in := make([][]float64, len(c.In))
		for i, t := range c.In {
			if t != nil && t.DType.IsFloat() {
				in[i] = floats(t)
			}
		}
		for b := 0; b < g.B; b++ {
			prepareItem(&g, in, q, cache, b, c.In)
		}
		g.ref(q, cache[0], cache[1], optional(in, 10), y, nil, nil, 0)
		setFloats(c.Out[0], y)
		for i := range cache {
			if t := c.out(1 + i); t != nil {
				setFloats(t, cache[i])
			}
		}
		return nil
	},
	Prepare: groupQueryKernel,
}

func groupQueryInfer(c *InferCall) error {
	if err := c.groupQueryOperands(); err != nil {
		return err
	}
	d, H, KV := c.In[0].DType, int(c.Node.Int("num_heads", 0)), int(c.Node.Int("kv_num_heads", 0))
	q := c.In[0].Shape
	for i := range 3 {
		c.Set(i, d, nil)
	}
	if q == nil {
		return nil
	}
	heads := H
	if c.in(1) == nil {
		heads += 2 * KV
	}
	D, ok := divDim(q[2], heads)
	if !ok {
		return c.Errorf("a query of %v channels for %d heads", q[2], heads)
	}
	if k := c.in(1); k != nil && k.Shape != nil {
		if err := firstErr(c.agree("batches", q[0], k.Shape[0]), c.agree("lengths", q[1], k.Shape[1]), c.agree("channels", mulDim(D, graph.D(KV)), k.Shape[2])); err != nil {
			return err
		}
	}
	if t := c.in(7); t != nil && t.Shape != nil && D.Known() && t.Shape[1].Known() && 2*t.Shape[1].Size > D.Size {
		return c.Errorf("%d angles for heads of %d", t.Shape[1].Size, D.Size)
	}
	S, err := c.cacheLength(q[0], graph.D(KV), D)
	if err != nil {
		return err
	}
	if s := c.In[5].Shape; s != nil {
		if n, ok := known(s); ok && q[0].Known() && n != q[0].Size {
			return c.Errorf("%v lengths for a batch of %v", s, q[0])
		}
	}
	c.Set(0, d, []graph.Dim{q[0], q[1], mulDim(D, graph.D(H))})
	c.Set(1, d, []graph.Dim{q[0], graph.D(KV), S, D})
	c.Set(2, d, []graph.Dim{q[0], graph.D(KV), S, D})
	return nil
}

// cacheLength is the length of the caches after the call, for a batch of B and KV heads of D; open if it depends on data.
func (c *InferCall) cacheLength(B, KV, D graph.Dim) (graph.Dim, error) {
	S, P := graph.Dim{Size: -1}, graph.D(0)
	if p := c.in(3); p != nil {
		P = graph.Dim{Size: -1}
		if p.Shape != nil {
			P = p.Shape[2]
			if err := firstErr(c.agree("batches", B, p.Shape[0]), c.agree("heads", KV, p.Shape[1]), c.agree("sizes of a head", D, p.Shape[3])); err != nil {
				return S, err
			}
		}
	}
	if t := c.Const(6); t != nil && P.Known() {
		total := index(t, 0)
		if total < 0 || total > maxElems {
			return S, c.Errorf("a total of %d", total)
		}
		S = graph.D(max(P.Size, int(total)))
	}
	return S, nil
}

// groupQueryOperands checks what does not depend on sizes: which operands are there, their types and ranks.
func (c *InferCall) groupQueryOperands() error {
	n, d := c.Node, c.In[0].DType
	if c.in(5) == nil || c.in(6) == nil {
		return c.Errorf("seqlens_k or total_sequence_length is absent")
	}
	if n.Int("smooth_softmax", 0) > 0 {
		return c.unsupported("smooth_softmax is not supported")
	}
	for _, i := range []int{0, 1, 2, 3, 4, 7, 8, 10} {
		if v := c.in(i); v != nil && v.DType != d {
			return c.Errorf("input %d is %s, input 0 is %s", i, v.DType, d)
		}
	}
	if err := firstErr(c.wantFloat(0), c.wantRank(0, 3), c.wantRank(1, 3), c.wantRank(2, 3), c.wantRank(3, 4), c.wantRank(4, 4), c.wantRank(7, 2), c.wantRank(8, 2), c.wantRank(10, 4),
		c.wantIndex(5), c.wantIndex(6), c.wantIndex(9), c.single(6), c.alike(1, 2), c.alike(3, 4), c.alike(7, 8)); err != nil {
		return err
	}
	H, KV := int(n.Int("num_heads", 0)), int(n.Int("kv_num_heads", 0))
	if H < 1 || KV < 1 || H%KV != 0 || H > maxElems || (c.in(1) == nil) != (c.in(2) == nil) || (c.in(3) == nil) != (c.in(4) == nil) {
		return c.Errorf("%d heads of queries, %d of keys; keys without values, or the reverse", H, KV)
	}
	if n.Int("do_rotary", 0) != 0 && (c.in(7) == nil || c.in(8) == nil) {
		return c.Errorf("do_rotary without tables of angles")
	}
	return nil
}

// decoder is a call: attention over the cache, and how the cache is made.
type decoder struct {
	attend
	P           int  // length of the past
	joint       bool // keys and values are in the query
	rotate      bool
	interleaved bool
	half        int // angles of a row
	past        []int
}

func decoderOf(n *graph.Node, in []*tensor.Tensor) decoder {
	s := in[0].Shape
	g := decoder{joint: optional(in, 1) == nil, rotate: n.Int("do_rotary", 0) != 0, interleaved: n.Int("rotary_interleaved", 0) != 0}
	g.B, g.T, g.H, g.KV = s[0], s[1], int(n.Int("num_heads", 1)), int(n.Int("kv_num_heads", 1))
	heads := g.H
	if g.joint {
		heads += 2 * g.KV
	}
	g.D = s[2] / heads
	g.Dv = g.D
	if t := optional(in, 3); t != nil {
		g.P = t.Shape[2]
	}
	if g.rotate {
		g.half = in[7].Shape[1]
	}
	g.scale, g.softcap = float64(scaleOf(n, max(g.D, 1))), float64(n.Float("softcap", 0))
	g.Causal, g.Left, g.Right = true, int(n.Int("local_window_size", -1))-1, -1
	if g.Left < 0 {
		g.Left = -1
	}
	g.q, g.y = heads3(g.T, g.H*g.D, g.D, 0), heads3(g.T, g.H*g.D, g.D, 0)
	g.past, g.Lens, g.Offsets = make([]int, g.B), make([]int, g.B), make([]int, g.B)
	return g
}

// setCache gives the cache its length.
func (g *decoder) setCache(S int) {
	g.S, g.Cols = S, S
	g.k, g.v = heads4(g.KV, S, g.D), heads4(g.KV, S, g.D)
}

// check refuses lengths that do not fit.
func (g *decoder) check(in []*tensor.Tensor) error {
	total := index(in[6], 0)
	if total < int64(g.T) || total > maxElems {
		return (&Call{}).errorf("%d queries, a total of %d", g.T, total)
	}
	for b := 0; b < g.B; b++ {
		n := index(in[5], b) + 1
		if n < 0 || n > total || total != int64(g.T) && (n < int64(g.T) || n-int64(g.T) > int64(g.P)) {
			return (&Call{}).errorf("item %d has %d keys of %d, %d of them new, with a past of %d", b, n, total, g.T, g.P)
		}
		if g.rotate {
			for t := 0; t < g.T; t++ {
				if p := g.position(in, b, t, total); p < 0 || p >= int64(in[7].Shape[0]) {
					return (&Call{}).errorf("position %d is not in a table of %d", p, in[7].Shape[0])
				}
			}
		}
	}
	if t := optional(in, 10); t != nil && (t.Shape[2] != g.T || t.Shape[0] != 1 && t.Shape[0] != g.B || t.Shape[1] != 1 && t.Shape[1] != g.H || int64(t.Shape[3]) < total) {
		return (&Call{}).errorf("attention_bias is %v", t.Shape)
	}
	return nil
}

// position is that of query t of item b in the tables of angles.
func (g *decoder) position(in []*tensor.Tensor, b, t int, total int64) int64 {
	if p := optional(in, 9); p != nil && p.Elems() == g.B*g.T {
		return index(p, b*g.T+t)
	}
	if total == int64(g.T) {
		return int64(t)
	}
	return index(in[5], b) + 1 - int64(g.T) + int64(t)
}

// place reads the lengths of this run.
func (g *decoder) place(in []*tensor.Tensor) {
	first := index(in[6], 0) == int64(g.T)
	for b := 0; b < g.B; b++ {
		g.Lens[b] = int(index(in[5], b)) + 1
		if g.past[b] = g.Lens[b] - g.T; first {
			g.past[b] = 0
		}
		g.Offsets[b] = g.past[b]
	}
	if t := optional(in, 10); t != nil {
		g.masked = true
		st := t.Shape.Strides()
		for i := range st {
			if g.maskAt[i] = st[i]; t.Shape[i] == 1 && i < 2 {
				g.maskAt[i] = 0
			}
		}
		g.Cols = min(g.S, t.Shape[3])
	}
}

// prepareItem rotates the queries of item b and writes its part of the cache. in are the inputs as numbers.
func prepareItem[E float32 | float64](g *decoder, in [][]E, q []E, cache [2][]E, b int, raw []*tensor.Tensor) {
	width, total := g.H*g.D, index(raw[6], 0)
	if g.joint {
		width += 2 * g.KV * g.D
	}
	for i := range cache {
		for h := 0; h < g.KV; h++ {
			dst := cache[i][(b*g.KV+h)*g.S*g.D:][:g.S*g.D]
			clear(dst)
			if optional(raw, 3) != nil {
				copy(dst, in[3+i][(b*g.KV+h)*g.P*g.D:][:min(g.P, g.past[b])*g.D])
			}
		}
	}
	for t := 0; t < g.T; t++ {
		row := b*g.T + t
		var cos, sin []E
		if g.rotate {
			p := int(g.position(raw, b, t, total)) * g.half
			cos, sin = in[7][p:][:g.half], in[8][p:][:g.half]
		}
		for h := 0; h < g.H; h++ {
			turnHead(q[(row*g.H+h)*g.D:][:g.D], in[0][row*width+h*g.D:][:g.D], cos, sin, g.interleaved)
		}
		at := g.past[b] + t
		if at >= g.S {
			continue
		}
		for h := 0; h < g.KV; h++ {
			var k, v []E
			if g.joint {
				k, v = in[0][row*width+(g.H+h)*g.D:][:g.D], in[0][row*width+(g.H+g.KV+h)*g.D:][:g.D]
			} else {
				k, v = in[1][(row*g.KV+h)*g.D:][:g.D], in[2][(row*g.KV+h)*g.D:][:g.D]
			}
			to := ((b*g.KV+h)*g.S + at) * g.D
			turnHead(cache[0][to:][:g.D], k, cos, sin, g.interleaved)
			copy(cache[1][to:][:g.D], v)
		}
	}
}

// turnHead writes x with its first channels rotated; no angles: as it is.
func turnHead[E float32 | float64](y, x, cos, sin []E, interleaved bool) {
	copy(y, x)
	n := len(cos)
	for i, c := range cos {
		j, k := i, i+n
		if interleaved {
			j, k = 2*i, 2*i+1
		}
		x1, x2 := x[j], x[k]
		y[j], y[k] = E(c*x1)-E(sin[i]*x2), E(sin[i]*x1)+E(c*x2)
	}
}

// groupQueryKernel needs to know the length of the cache.
func groupQueryKernel(p *Prep) (Kernel, bool) {
	present := p.out(1)
	if !floatInputs(p.In, 0, 1, 2, 3, 4, 7, 8, 10) || present == nil || p.out(2) == nil || len(present.Shape) != 4 || present.Shape[2] < 0 || p.In[6].Data == nil {
		return Kernel{}, false
	}
	g := decoderOf(p.Node, p.In)
	g.setCache(present.Shape[2])
	if t := p.in(10); t != nil {
		g.Cols = min(g.S, t.Shape[3])
	}
	k := g.fast()
	nq := g.B * g.T * g.H * g.D
	floats := make([][]float32, 11)
	var q []float32
	var cache [2][]float32
	prepare := split(g.B, func(in, _ []*tensor.Tensor, _ []byte, b int) { prepareItem(&g, floats, q, cache, b, in) })
	return Kernel{Scratch: 4*nq + 64 + k.ScratchBytes(), Check: g.check, Run: func(in, out []*tensor.Tensor, scratch []byte) {
		for i, t := range in {
			if t != nil && t.DType == tensor.Float32 {
				floats[i] = t.Float32s()
			}
		}
		q, cache[0], cache[1] = floatsIn(scratch)[:nq], out[1].Float32s(), out[2].Float32s()
		g.place(in)
		prepare(in, out, scratch)
		k.Reach, k.AtMask = g.Reach, g.maskAt
		k.Q, k.K, k.V, k.Y = q, cache[0], cache[1], out[0].Float32s()
		setMask(&k, optional(in, 10))
		k.Run(scratch[(4*nq+63)&^63:])
	}}, true
}
