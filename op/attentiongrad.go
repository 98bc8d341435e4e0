package op

import (
	"slices"

	"muster/graph"
	"muster/internal/detmath"
	"muster/internal/kernel"
	"muster/tensor"
)

// muster.AttentionGrad(dY, Q, K, V, Y, LSE, mask) -> dQ, dK, dV is the gradient of muster.Attention. With the
// weights P = exp(scale Q K' + mask - LSE), computed again: dV = P' dY, dS = P (dY V' - sum of dY Y),
// dQ = scale dS K and dK = scale dS' Q (Dao, arXiv 2307.08691, algorithm 2). With joint the gradients, all of
// three axes, lie beside each other in one output: that by a joint projection.
var opAttentionGrad = Op{
	Domain: graph.Domain, Name: "AttentionGrad", Since: 1, MinIn: 6, MaxIn: 7, MinOut: 1, MaxOut: 3,
	Attrs:    "heads kv_heads layout packed size v_size q_offset k_offset v_offset causal scale joint",
	Defaults: append(slices.Clone(opMusterAttention.Defaults), graph.Int("joint", 0)),
	Infer: func(c *InferCall) error {
		f := fusedOf(c.Node)
		for i := range 6 {
			if err := c.wantFloat(i); err != nil {
				return err
			}
		}
		s, err := f.operands(c, 1)
		if err != nil {
			return err
		}
		q, k, v := s[0], s[1], s[2]
		y := f.merged(3, []graph.Dim{q[0], q[1], q[2], v[3]})
		for _, i := range []int{0, 4} {
			if err := c.has(i, y); err != nil {
				return err
			}
		}
		if err := firstErr(c.has(5, q[:3]), f.maskRule(c, 6, s)); err != nil {
			return err
		}
		if joint(c.Node) {
			if !f.three(0) || !f.three(1) || !f.three(2) {
				return c.Errorf("joint gradients have three axes each")
			}
			return c.beside(f.merged(0, q), f.merged(1, k), f.merged(2, v))
		}
		c.Set(0, c.In[1].DType, f.merged(0, q))
		c.Set(1, c.In[2].DType, f.merged(1, k))
		c.Set(2, c.In[3].DType, f.merged(2, v))
		return nil
	},
	Ref:     attentionGradRef,
	Body:    attentionGradBody,
	Prepare: attentionGradKernel,
	Flops: func(in, out []*graph.Value) int64 {
		return 5 * attentionFlops(in[1:], []*graph.Value{in[4]}) / 2
	},
}

// joint reports whether the gradients are one output.
func joint(n *graph.Node) bool { return n.Int("joint", 0) != 0 }

// beside makes output 0 the shapes beside each other along their last axis.
func (c *InferCall) beside(s ...[]graph.Dim) error {
	width := graph.D(0)
	for _, d := range s {
		if err := firstErr(c.agree("batches", s[0][0], d[0]), c.agree("tokens", s[0][1], d[1])); err != nil {
			return err
		}
		width = addDims(width, d[2])
	}
	c.Set(0, c.In[1].DType, []graph.Dim{s[0][0], s[0][1], width})
	return nil
}

// has checks that input i does not certainly differ from a shape.
func (c *InferCall) has(i int, s []graph.Dim) error {
	v := c.in(i)
	if v == nil || v.Shape == nil {
		return nil
	}
	if len(v.Shape) != len(s) {
		return c.Errorf("input %d is %v, want %v", i, v.Shape, s)
	}
	for k, d := range v.Shape {
		if d.Known() && s[k].Known() && d.Size != s[k].Size {
			return c.Errorf("input %d is %v, want %v", i, v.Shape, s)
		}
	}
	return nil
}

// gradForm reads a call with concrete shapes; dq, dk and dv are where the gradients go.
func gradForm(n *graph.Node, in []*tensor.Tensor) (a attend, dq, dk, dv kernel.Heads) {
	f := fusedOf(n)
	a = f.form(in[1].Shape, in[2].Shape, in[3].Shape)
	if m := optional(in, 6); m != nil {
		a.fullMask(m)
	}
	if joint(n) {
		k, v := a.H*a.D, a.H*a.D+a.KV*a.D
		w := v + a.KV*a.Dv
		return a, heads3(a.T, w, a.D, 0), heads3(a.S, w, a.D, k), heads3(a.S, w, a.Dv, v)
	}
	dq, dk, dv = a.q, a.k, a.v
	if f.three(0) {
		dq = heads3(a.T, a.H*a.D, a.D, 0)
	}
	if f.three(1) {
		dk = heads3(a.S, a.KV*a.D, a.D, 0)
	}
	if f.three(2) {
		dv = heads3(a.S, a.KV*a.Dv, a.Dv, 0)
	}
	return a, dq, dk, dv
}

func attentionGradRef(c *Call) error {
	a, dqv, dkv, dvv := gradForm(c.Node, c.In)
	dy, q, k, v, y, lse := floats(c.In[0]), floats(c.In[1]), floats(c.In[2]), floats(c.In[3]), floats(c.In[4]), floats(c.In[5])
	var mask []float64
	if a.masked {
		mask = floats(c.In[6])
	}
	var d [3][]float64
	for i, n := range []int{a.B * a.H * a.T * a.D, a.B * a.KV * a.S * a.D, a.B * a.KV * a.S * a.Dv} {
		d[i] = make([]float64, n)
	}
	if joint(c.Node) {
		all := make([]float64, len(d[0])+len(d[1])+len(d[2]))
		d = [3][]float64{all, all, all}
	}
	for b := 0; b < a.B; b++ {
		for h := 0; h < a.H; h++ {
			g := h * a.KV / a.H
			for t := 0; t < a.T; t++ {
				from, out := a.q.At(b, h, t), a.y.At(b, h, t)
				delta := 0.0
				for e := 0; e < a.Dv; e++ {
					delta += float64(dy[out+e] * y[out+e])
				}
				lo, hi := a.Keys(b, t)
				for j := lo; j < hi; j++ {
					kj, vj, s, dp := a.k.At(b, g, j), a.v.At(b, g, j), 0.0, 0.0
					for e := 0; e < a.D; e++ {
						s += float64(q[from+e] * k[kj+e])
					}
					p := detmath.Exp(s*a.scale + a.bias(mask, b, h, t, j) - lse[(b*a.H+h)*a.T+t])
					for e := 0; e < a.Dv; e++ {
						dp += float64(dy[out+e] * v[vj+e])
						d[2][dvv.At(b, g, j)+e] += float64(p * dy[out+e])
					}
					ds := p * (dp - delta) * a.scale
					for e := 0; e < a.D; e++ {
						d[0][dqv.At(b, h, t)+e] += float64(ds * k[kj+e])
						d[1][dkv.At(b, g, j)+e] += float64(ds * q[from+e])
					}
				}
			}
		}
	}
	for i := range d {
		if t := c.out(i); t != nil {
			setFloats(t, d[i])
		}
	}
	return nil
}

// scoreGrad writes dS [B, heads, T, S], without the scale, and returns the weights P too. in is as for AttentionGrad.
func (f fused) scoreGrad(b *graph.Builder, in []*graph.Value, scale *graph.Value) (ds, p *graph.Value) {
	dy, q, k, v, y := in[0], f.open(b, in[1], 0), f.open(b, in[2], 1), f.open(b, in[3], 2), in[4]
	if f.three(3) {
		dy, y = splitHeads(b, dy, f.H), splitHeads(b, y, f.H)
	}
	lse := b.Unsqueeze(in[5], -1)
	if d := in[1].DType; statType(d) != d && d != tensor.Undefined {
		lse = cast(b, lse, d)
	}
	p = b.Op("Exp", b.Op("Sub", f.scores(b, q, k, optional(in, 6), scale, in[1]), lse))
	dp := b.Op("MatMul", dy, swapLast(b, v, 4))
	delta := b.ReduceSum(b.Op("Mul", dy, y), 1, -1)
	return b.Op("Mul", p, b.Op("Sub", dp, delta)), p
}

func attentionGradBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	f := fusedOf(n)
	scale := param(b, n, in[1], "scale", 1)
	ds, p := f.scoreGrad(b, in, scale)
	ds = b.Op("Mul", ds, scale)
	dy := in[0]
	if f.three(3) {
		dy = splitHeads(b, dy, f.H)
	}
	d := []*graph.Value{
		b.Op("MatMul", ds, f.open(b, in[2], 1)),
		sumHeads(b, b.Op("MatMul", swapLast(b, ds, 4), f.open(b, in[1], 0)), f.H, f.KV),
		sumHeads(b, b.Op("MatMul", swapLast(b, p, 4), dy), f.H, f.KV),
	}
	for i := range d {
		if f.three(i) {
			d[i] = mergeHeads(b, d[i])
		}
	}
	if joint(n) {
		return one(b.OpA("Concat", []graph.Attr{graph.Int("axis", 2)}, d...))
	}
	return d
}
