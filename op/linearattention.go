package op

import (
	"math"

	"muster/graph"
	"muster/internal/detmath"
	"muster/internal/kernel"
	"muster/tensor"
)

// LinearAttention(Q, K, V, past, decay, beta) -> Y, state keeps a matrix S [D, Dv] for every head of keys and
// updates it token by token, with g = exp(decay) and the update rule
//
//	linear       S += k v'                  gated        S = g S + k v'
//	delta        S += k beta (v - S'k)'     gated_delta  S = g S, then S += k beta (v - S'k)'
//
// then y = scale S'q (Yang et al., arXiv 2412.06464). Q is [B, T, H*D], K [B, T, KV*D], V [B, T, KV*Dv], decay
// [B, T, KV*D] or [B, T, KV], beta [B, T, KV] or [B, T, 1]. chunk_size is a hint for other algorithms and changes nothing.
var opLinearAttention = Op{
	Name: "LinearAttention", Since: 27, MinIn: 3, MaxIn: 6, MinOut: 1, MaxOut: 2, Attrs: "chunk_size kv_num_heads q_num_heads scale update_rule",
	Infer:   linearAttentionInfer,
	Ref:     linearAttentionRef,
	Body:    linearAttentionBody,
	Prepare: linearAttentionKernel,
	Flops: func(in, out []*graph.Value) int64 {
		k, ok1 := in[1].Static()
		y, ok2 := out[0].Static()
		if !ok1 || !ok2 {
			return 0
		}
		return 6 * int64(y.Elems()) * int64(lastAxis(k))
	},
}

// recurrence is a call with concrete shapes.
type recurrence struct {
	B, T, H, KV, D, Dv int
	scale              float64
	gated, delta       bool
	decays, betas      int // per token: KV*D or KV; KV or 1
}

func linearRule(n *graph.Node) (gated, delta, ok bool) {
	switch n.Str("update_rule", "gated_delta") {
	case "linear":
		return false, false, true
	case "gated":
		return true, false, true
	case "delta":
		return false, true, true
	case "gated_delta":
		return true, true, true
	}
	return false, false, false
}

func linearAttentionInfer(c *InferCall) error {
	gated, delta, ok := linearRule(c.Node)
	H, KV := int(c.Node.Int("q_num_heads", 0)), int(c.Node.Int("kv_num_heads", 0))
	if !ok || H < 1 || KV < 1 || H%KV != 0 {
		return c.Errorf("update_rule %q, %d heads of queries, %d of keys", c.Node.Str("update_rule", ""), H, KV)
	}
	if gated != (c.in(4) != nil) || delta != (c.in(5) != nil) {
		return c.Errorf("update_rule %q with decay %v, beta %v", c.Node.Str("update_rule", "gated_delta"), c.in(4) != nil, c.in(5) != nil)
	}
	for i := range c.In {
		rank := 3
		if i == 3 {
			rank = 4
		}
		if err := firstErr(c.wantFloat(i), c.wantRank(i, rank)); err != nil {
			return err
		}
	}
	q, k, v := c.In[0].Shape, c.In[1].Shape, c.In[2].Shape
	if q == nil || k == nil || v == nil {
		c.Set(0, c.In[0].DType, nil)
		c.Set(1, c.In[0].DType, nil)
		return nil
	}
	D, ok1 := divDim(q[2], H)
	Dk, ok2 := divDim(k[2], KV)
	Dv, ok3 := divDim(v[2], KV)
	if !ok1 || !ok2 || !ok3 {
		return c.Errorf("%v, %v and %v for %d and %d heads", q, k, v, H, KV)
	}
	state := []graph.Dim{q[0], graph.D(KV), Dk, Dv}
	if err := firstErr(c.agree("batches", q[0], k[0], v[0]), c.agree("lengths", q[1], k[1], v[1]), c.agree("sizes of a head", D, Dk), c.has(3, state)); err != nil {
		return err
	}
	for i, allowed := range map[int][2]graph.Dim{4: {k[2], graph.D(KV)}, 5: {graph.D(KV), graph.D(1)}} {
		w := c.in(i)
		if w == nil || w.Shape == nil {
			continue
		}
		if d := w.Shape[2]; d.Known() && allowed[0].Known() && d.Size != allowed[0].Size && d.Size != allowed[1].Size {
			return c.Errorf("input %d is %v", i, w.Shape)
		}
		if err := firstErr(c.agree("batches", q[0], w.Shape[0]), c.agree("lengths", q[1], w.Shape[1])); err != nil {
			return err
		}
	}
	c.Set(0, c.In[0].DType, []graph.Dim{q[0], q[1], mulDim(graph.D(H), Dv)})
	c.Set(1, c.In[0].DType, state)
	return nil
}

func recurrenceOf(n *graph.Node, in []*tensor.Tensor) recurrence {
	q, k, v := in[0].Shape, in[1].Shape, in[2].Shape
	r := recurrence{B: q[0], T: q[1], H: int(n.Int("q_num_heads", 0)), KV: int(n.Int("kv_num_heads", 0)), scale: float64(n.Float("scale", 0))}
	r.D, r.Dv = k[2]/r.KV, v[2]/r.KV
	r.gated, r.delta, _ = linearRule(n)
	if r.scale == 0 {
		r.scale = 1 / math.Sqrt(float64(r.D))
	}
	if r.gated {
		r.decays = in[4].Shape[2]
	}
	if r.delta {
		r.betas = in[5].Shape[2]
	}
	return r
}

func linearAttentionRef(c *Call) error {
	r := recurrenceOf(c.Node, c.In)
	var in [6][]float64
	for i, t := range c.In {
		if t != nil {
			in[i] = floats(t)
		}
	}
	state := in[3]
	if state == nil {
		state = make([]float64, r.B*r.KV*r.D*r.Dv)
	}
	y := make([]float64, r.B*r.T*r.H*r.Dv)
	read := make([]float64, r.Dv)
	for b := 0; b < r.B; b++ {
		for h := 0; h < r.KV; h++ {
			S := state[(b*r.KV+h)*r.D*r.Dv:][:r.D*r.Dv]
			for t := 0; t < r.T; t++ {
				row := b*r.T + t
				k, v := in[1][(row*r.KV+h)*r.D:][:r.D], in[2][(row*r.KV+h)*r.Dv:][:r.Dv]
				clear(read)
				for d := range k {
					g := 1.0
					if r.gated {
						g = detmath.Exp(in[4][row*r.decays+h*r.decays/r.KV+d%(r.decays/r.KV)])
					}
					for e := range read {
						S[d*r.Dv+e] *= g
						read[e] += float64(S[d*r.Dv+e] * k[d])
					}
				}
				for d := range k {
					for e := range v {
						w := v[e]
						if r.delta {
							w = in[5][row*r.betas+h*r.betas/r.KV] * (v[e] - read[e])
						}
						S[d*r.Dv+e] += float64(k[d] * w)
					}
				}
				for i := h * r.H / r.KV; i < (h+1)*r.H/r.KV; i++ {
					q, out := in[0][(row*r.H+i)*r.D:][:r.D], y[(row*r.H+i)*r.Dv:][:r.Dv]
					for d := range q {
						for e := range out {
							out[e] += float64(q[d]*S[d*r.Dv+e]) * r.scale
						}
					}
				}
			}
		}
	}
	setFloats(c.Out[0], y)
	if t := c.out(1); t != nil {
		setFloats(t, state)
	}
	return nil
}

// maxUnroll is the longest sequence that the body is written out for.
const maxUnroll = 1024

// linearAttentionBody writes the recurrence out token by token.
func linearAttentionBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	q, k, v := in[0].Shape, in[1].Shape, in[2].Shape
	H, KV := n.Int("q_num_heads", 0), n.Int("kv_num_heads", 0)
	if !q[1].Known() || !k[2].Known() || !v[2].Known() || q[1].Size > maxUnroll || q[1].Size == 0 || q[2].Size == 0 || v[2].Size == 0 {
		return nil
	}
	gated, delta, _ := linearRule(n)
	D, Dv := int64(k[2].Size)/KV, int64(v[2].Size)/KV
	scale := float64(n.Float("scale", 0))
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(D))
	}
	S := optional(in, 3)
	if S == nil {
		shape := concat(b, axisSize(b, in[0], 0), b.Ints(KV, D, Dv))
		S = b.OpA("ConstantOfShape", []graph.Attr{graph.Ten("value", tensor.New(in[0].DType, 1))}, shape)
	}
	at := func(x *graph.Value, t, heads int64, column bool) *graph.Value { // [B, heads, size, 1] or [B, heads, 1, size]
		x = b.Op("Slice", x, b.Ints(t), b.Ints(t+1), b.Ints(1))
		if column {
			return reshape(b, x, 0, heads, -1, 1)
		}
		return reshape(b, x, 0, heads, 1, -1)
	}
	var ys []*graph.Value
	for t := range int64(q[1].Size) {
		kt, vt := at(in[1], t, KV, true), at(in[2], t, KV, false)
		if gated {
			S = b.Op("Mul", S, b.Op("Exp", at(in[4], t, KV, true)))
		}
		if delta {
			heads := KV
			if in[5].Shape[2].Size == 1 {
				heads = 1
			}
			vt = b.Op("Mul", b.Op("Sub", vt, b.Op("MatMul", swapLast(b, kt, 4), S)), at(in[5], t, heads, true))
		}
		S = b.Op("Add", S, b.Op("MatMul", kt, vt))
		y := b.Op("MatMul", at(in[0], t, H, false), repeatHeads(b, S, H, KV))
		ys = append(ys, reshape(b, y, 0, 1, H*Dv))
	}
	y := b.OpA("Concat", []graph.Attr{graph.Int("axis", 1)}, ys...)
	return []*graph.Value{b.Op("Mul", y, fill(b, in[0], scale)), S}
}

// linearAttentionKernel runs one head of one batch item per task; the state is a matrix of rows of Dv.
func linearAttentionKernel(p *Prep) (Kernel, bool) {
	for _, t := range p.In {
		if t != nil && t.DType != tensor.Float32 {
			return Kernel{}, false
		}
	}
	r := recurrenceOf(p.Node, p.In)
	size, own := r.D*r.Dv, r.D*r.Dv+2*r.Dv+r.D
	return Kernel{Scratch: 4*r.B*r.KV*own + 64, Run: split(r.B*r.KV, func(in, out []*tensor.Tensor, scratch []byte, task int) {
		w := floatsIn(scratch)[task*own : (task+1)*own]
		S, tmp, g := w[:size], w[size:size+2*r.Dv], w[size+2*r.Dv:]
		if past := optional(in, 3); past != nil {
			copy(S, past.Float32s()[task*size:])
		} else {
			clear(S)
		}
		for t := 0; t < r.T; t++ {
			r.step(in, out[0].Float32s(), S, tmp[:r.Dv], tmp[r.Dv:], g, task/r.KV, task%r.KV, t)
		}
		if next := optional(out, 1); next != nil {
			copy(next.Float32s()[task*size:(task+1)*size], S)
		}
	})}, true
}

// step is one token of one head.
func (r *recurrence) step(in []*tensor.Tensor, y, S, read, row, g []float32, b, h, t int) {
	at := b*r.T + t
	k, v := in[1].Float32s()[(at*r.KV+h)*r.D:][:r.D], in[2].Float32s()[(at*r.KV+h)*r.Dv:][:r.Dv]
	if r.gated {
		n := r.decays / r.KV
		kernel.Exp(g[:n], in[4].Float32s()[at*r.decays+h*n:][:n])
		for d := 0; d < r.D; d++ {
			kernel.MapScalar(kernel.Mul, S[d*r.Dv:(d+1)*r.Dv], S[d*r.Dv:(d+1)*r.Dv], g[d%n])
		}
	}
	if r.delta {
		clear(read)
		for d, x := range k {
			axpy(read, S[d*r.Dv:(d+1)*r.Dv], x)
		}
		beta := in[5].Float32s()[at*r.betas+h*r.betas/r.KV]
		for e := range row {
			row[e] = float32(v[e]-read[e]) * beta
		}
		v = row
	}
	for d, x := range k {
		axpy(S[d*r.Dv:(d+1)*r.Dv], v, x)
	}
	for i := h * r.H / r.KV; i < (h+1)*r.H/r.KV; i++ {
		q, out := in[0].Float32s()[(at*r.H+i)*r.D:][:r.D], y[(at*r.H+i)*r.Dv:][:r.Dv]
		clear(out)
		for d, x := range q {
			axpy(out, S[d*r.Dv:(d+1)*r.Dv], x*float32(r.scale))
		}
	}
}

// axpy is y += x s, every product rounded.
func axpy(y, x []float32, s float32) {
	for i, v := range x[:len(y)] {
		y[i] += float32(v * s)
	}
}
