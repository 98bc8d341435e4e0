package op

import (
	"strings"

	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// muster.Attention(Q, K, V, mask) -> Y, LSE is softmax(scale Q K' + mask) V for every head, LSE the logarithm of
// the sum of exponentials [B, heads, T] that the gradient reads. layout has a letter for each of Q, K, V
// and Y: "3" is [B, T, heads*size], "4" is [B, heads, T, size]. With packed 1, those of Q, K and V with letter "3" are
// heads*size channels from q_offset, k_offset and v_offset on of their inputs, which may be one tensor. causal 1 lets query t see
// keys up to t, causal 2 up to t + S - T. The mask, of floats, is broadcast to [B, heads, T, S]. A query
// that sees no key (all at -inf) gives 0.
var opMusterAttention = Op{
	Domain: graph.Domain, Name: "Attention", Since: 1, MinIn: 3, MaxIn: 4, MinOut: 1, MaxOut: 2,
	Attrs: "heads kv_heads layout packed size v_size q_offset k_offset v_offset causal scale",
	Defaults: []graph.Attr{graph.Int("heads", 1), graph.Int("kv_heads", 1), graph.Str("layout", "3333"), graph.Int("packed", 0), graph.Int("size", 0),
		graph.Int("v_size", 0), graph.Int("q_offset", 0), graph.Int("k_offset", 0), graph.Int("v_offset", 0), graph.Int("causal", 0), graph.Float("scale", 1)},
	Infer: fusedInfer,
	Ref: func(c *Call) error {
		a := fusedForm(c.Node, c.In)
		var mask, lse []float64
		if a.masked {
			mask = floats(c.In[3])
		}
		if c.out(1) != nil {
			lse = make([]float64, c.Out[1].Elems())
		}
		y := make([]float64, c.Out[0].Elems())
		a.ref(floats(c.In[0]), floats(c.In[1]), floats(c.In[2]), mask, y, lse, nil, 0)
		setFloats(c.Out[0], y)
		if lse != nil {
			setFloats(c.Out[1], lse)
		}
		return nil
	},
	Body:    fusedBody,
	Grad:    fusedGrad,
	Prepare: fusedKernel,
	Flops:   attentionFlops,
}

// attrs are the attributes that muster.Attention and muster.AttentionGrad share.
func (f fused) attrs() []graph.Attr {
	return []graph.Attr{graph.Int("heads", f.H), graph.Int("kv_heads", f.KV), graph.Str("layout", f.layout), graph.Int("causal", f.causal), graph.Float("scale", f.scale)}
}

// fused are the attributes of a node.
type fused struct {
	H, KV, causal int64
	layout        string
	packed        bool
	size, vsize   int64
	at            [3]int64
	scale         float32
}

func fusedOf(n *graph.Node) fused {
	return fused{H: n.Int("heads", 1), KV: n.Int("kv_heads", 1), causal: n.Int("causal", 0), layout: n.Str("layout", "3333"), packed: n.Int("packed", 0) != 0,
		size: n.Int("size", 0), vsize: n.Int("v_size", 0), at: [3]int64{n.Int("q_offset", 0), n.Int("k_offset", 0), n.Int("v_offset", 0)}, scale: n.Float("scale", 1)}
}

// three reports whether tensor i of Q, K, V, Y has its heads in the last axis.
func (f fused) three(i int) bool { return f.layout[i] == '3' }

// check refuses attributes that mean nothing.
func (f fused) check(c *InferCall) error {
	if len(f.layout) != 4 || strings.Trim(f.layout, "34") != "" || f.H < 1 || f.KV < 1 || f.H%f.KV != 0 || f.causal < 0 || f.causal > 2 || f.H > maxElems {
		return c.Errorf("layout %q, %d heads of queries and %d of keys, causal %d", f.layout, f.H, f.KV, f.causal)
	}
	if f.packed && (f.size < 1 || f.vsize < 1 || min(f.at[0], f.at[1], f.at[2]) < 0 || max(f.size, f.vsize, f.at[0], f.at[1], f.at[2]) > maxElems) {
		return c.Errorf("packed with layout %q, sizes %d and %d, offsets %d", f.layout, f.size, f.vsize, f.at)
	}
	return nil
}

// dims is the shape of input i, which is Q, K or V by which, as [B, heads, T, size].
func (f fused) dims(c *InferCall, i, which int) ([]graph.Dim, error) {
	s, n, size := c.In[i].Shape, f.KV, f.size
	if which == 0 {
		n = f.H
	}
	if which == 2 {
		size = f.vsize
	}
	if s == nil {
		return unknown(4), nil
	}
	if len(s) != int(f.layout[which]-'0') {
		return nil, c.Errorf("input %d is %v, want rank %c", i, s, f.layout[which])
	}
	if len(s) == 4 {
		return s, c.agree("heads", s[1], graph.D(int(n)))
	}
	if f.packed { // rank 3
		if s[2].Known() && int64(s[2].Size) < f.at[which]+n*size {
			return nil, c.Errorf("input %d is %v, which does not hold channels %d to %d", i, s, f.at[which], f.at[which]+n*size)
		}
		return []graph.Dim{s[0], graph.D(int(n)), s[1], graph.D(int(size))}, nil
	}
	d, ok := divDim(s[2], int(n))
	if !ok {
		return nil, c.Errorf("input %d is %v for %d heads", i, s, n)
	}
	return []graph.Dim{s[0], graph.D(int(n)), s[1], d}, nil
}

// merged is [B, heads, T, size] in the layout of tensor i.
func (f fused) merged(i int, s []graph.Dim) []graph.Dim {
	if f.three(i) {
		return []graph.Dim{s[0], s[2], mulDim(s[1], s[3])}
	}
	return s
}

// statType is the type of LSE.
func statType(d tensor.DType) tensor.DType {
	if d == tensor.Float64 {
		return d
	}
	return tensor.Float32
}

// operands checks Q, K and V, which are inputs at to at+2, and returns [B, heads, T, size] of each.
func (f fused) operands(c *InferCall, at int) (s [3][]graph.Dim, err error) {
	if err := f.check(c); err != nil {
		return s, err
	}
	for i := range s {
		if s[i], err = f.dims(c, at+i, i); err != nil {
			return s, err
		}
	}
	q, k, v := s[0], s[1], s[2]
	return s, firstErr(c.agree("batches", q[0], k[0], v[0]), c.agree("lengths", k[2], v[2]), c.agree("sizes of a head", q[3], k[3]))
}

func fusedInfer(c *InferCall) error {
	f := fusedOf(c.Node)
	if err := firstErr(c.wantFloat(0), c.wantFloat(1), c.wantFloat(2)); err != nil {
		return err
	}
	if c.In[1].DType != c.In[0].DType || c.In[2].DType != c.In[0].DType {
		return c.Errorf("the inputs are %s, %s and %s", c.In[0].DType, c.In[1].DType, c.In[2].DType)
	}
	s, err := f.operands(c, 0)
	if err != nil {
		return err
	}
	if err := f.maskRule(c, 3, s); err != nil {
		return err
	}
	q, v := s[0], s[2]
	c.Set(0, c.In[0].DType, f.merged(3, []graph.Dim{q[0], q[1], q[2], v[3]}))
	c.Set(1, statType(c.In[0].DType), []graph.Dim{q[0], q[1], q[2]})
	return nil
}

// maskRule checks that input i broadcasts to the scores.
func (f fused) maskRule(c *InferCall, i int, s [3][]graph.Dim) error {
	m := c.in(i)
	if m == nil {
		return nil
	}
	if m.DType != c.In[0].DType {
		return c.Errorf("the mask is %s", m.DType)
	}
	return c.broadcastsTo(i, []graph.Dim{s[0][0], s[0][1], s[0][2], s[1][2]})
}

// fusedForm reads a call with concrete shapes; the mask is input 3.
func fusedForm(n *graph.Node, in []*tensor.Tensor) attend {
	f := fusedOf(n)
	a := f.form(in[0].Shape, in[1].Shape, in[2].Shape)
	if m := optional(in, 3); m != nil {
		a.fullMask(m)
	}
	return a
}

// fullMask is setMask for a mask that is broadcast along the keys too.
func (a *attend) fullMask(m *tensor.Tensor) {
	S := a.Cols
	a.setMask(m.Shape, m.DType)
	a.Cols = S
	if n := len(m.Shape); n == 0 || m.Shape[n-1] == 1 {
		a.maskAt[3] = 0
	}
}

// form is the call for these shapes of Q, K and V, without a mask.
func (f fused) form(q, k, v tensor.Shape) attend {
	a := attend{H: int(f.H), KV: int(f.KV), scale: float64(f.scale), B: q[0]}
	a.Causal, a.Left, a.Right = f.causal != 0, -1, -1
	a.T, a.S = q[len(q)-2], k[len(k)-2] // next to last in both layouts
	a.D, a.Dv = int(f.size), int(f.vsize)
	if !f.packed {
		a.D, a.Dv = q[len(q)-1], v[len(v)-1]
		if f.three(0) {
			a.D /= a.H
		}
		if f.three(2) {
			a.Dv /= a.KV
		}
	}
	see := func(i, heads, T, size int, s tensor.Shape) kernel.Heads {
		switch {
		case !f.three(i):
			return heads4(heads, T, size)
		case f.packed && i < 3:
			return heads3(T, s[2], size, int(f.at[i]))
		}
		return heads3(T, heads*size, size, 0)
	}
	a.q, a.k, a.v = see(0, a.H, a.T, a.D, q), see(1, a.KV, a.S, a.D, k), see(2, a.KV, a.S, a.Dv, v)
	a.y = see(3, a.H, a.T, a.Dv, nil)
	a.Cols = a.S
	if f.causal == 2 {
		a.Offset = a.S - a.T
	}
	return a
}

// open writes Q, K or V as [B, heads of queries, T, size].
func (f fused) open(b *graph.Builder, x *graph.Value, i int) *graph.Value {
	n, size := f.KV, f.size
	if i == 0 {
		n = f.H
	}
	if i == 2 {
		size = f.vsize
	}
	if f.packed && f.three(i) {
		x = b.Op("Slice", x, b.Ints(f.at[i]), b.Ints(f.at[i]+n*size), b.Ints(2))
	}
	if f.three(i) {
		x = splitHeads(b, x, n)
	}
	if i == 0 {
		return x
	}
	return repeatHeads(b, x, f.H, f.KV)
}

// scores writes scale Q K' + mask of x's dtype; q and k are [B, heads, T, size].
func (f fused) scores(b *graph.Builder, q, k, mask, scale, x *graph.Value) *graph.Value {
	s := like(b.Op("MatMul", b.Op("Mul", q, scale), swapLast(b, k, 4)), x)
	s = like(addMask(b, s, mask), x)
	see := visible{causal: f.causal != 0, left: -1, right: -1}
	if f.causal == 2 {
		see.offset = b.Op("Sub", sizeScalar(b, k, 2), sizeScalar(b, q, 2))
	}
	return like(see.apply(b, s), x)
}

func fusedBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	f := fusedOf(n)
	q, k, v := f.open(b, in[0], 0), f.open(b, in[1], 1), f.open(b, in[2], 2)
	p, lse := softmaxBody(b, f.scores(b, q, k, optional(in, 3), param(b, n, in[0], "scale", 1), in[0]))
	y := b.Op("MatMul", p, v)
	if f.three(3) {
		y = mergeHeads(b, y)
	}
	if d := in[0].DType; statType(d) != d && d != tensor.Undefined {
		lse = cast(b, lse, statType(d))
	}
	return []*graph.Value{y, lse}
}

// like gives v the dtype of x for constants that are made for it; inference confirms it.
func like(v, x *graph.Value) *graph.Value {
	v.DType = x.DType
	return v
}

func fusedGrad(c *GradCall) []*graph.Value {
	f := fusedOf(c.Node)
	d := make([]*graph.Value, len(c.In))
	if f.packed {
		c.Fail("the packed form, which a pass makes for a run, has no gradient")
		return d
	}
	if len(c.DOut) > 1 && c.DOut[1] != nil {
		c.Fail("the gradient by the sums of exponentials is not supported")
		return d
	}
	extraOutputs(c.B, c.Node, 2)
	in := []*graph.Value{c.DOut[0], c.In[0], c.In[1], c.In[2], c.Out[0], c.Node.Outputs[1], optional(c.In, 3)}
	copy(d, c.B.Node(graph.Domain, "AttentionGrad", 3, in, f.attrs()...))
	if len(c.In) > 3 && c.Need[3] {
		like(c.Node.Outputs[1], &graph.Value{DType: statType(c.In[0].DType)})
		ds, s := f.scoreGrad(c.B, in, fill(c.B, c.In[0], float64(f.scale)))
		q, k := c.In[0].Shape, c.In[1].Shape
		s.Shape = []graph.Dim{q[0], graph.D(int(f.H)), q[len(q)-2], k[len(k)-2]}
		d[3] = c.sumTo(ds, s, c.In[3])
	}
	return d
}
