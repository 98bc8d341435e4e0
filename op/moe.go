package op

import (
	"math"
	"sort"

	"muster/graph"
	"muster/internal/detmath"
	"muster/internal/kernel"
	"muster/tensor"
)

// com.microsoft.MoE(X, router, W1, b1, W2, b2) sends every token to the k experts of greatest router score
// (Shazeer et al., arXiv 1701.06538): Y = sum of p_e (W2_e act(W1_e x + b1_e) + b2_e), where p is the softmax of the
// router over all experts, with normalize_routing_weights divided by its sum over those chosen. X is [.., C],
// router [tokens, E], W1 [E, F, C], W2 [E, C, I]. F is I, or 2 I for swiglu(g, l) = g sigmoid(alpha g) (l + beta),
// where g and l alternate (swiglu_fusion 1) or follow each other (2). gelu is the tanh form.
var opMoE = Op{
	Domain: microsoft, Name: "MoE", Since: 1, MinIn: 1, MaxIn: 8, MinOut: 1, MaxOut: 1,
	Attrs:  "activation_alpha activation_beta activation_type k normalize_routing_weights swiglu_fusion swiglu_limit use_sparse_mixer",
	NoGrad: "which experts a token is sent to has no gradient",
	Infer:  moeInfer,
	Ref: func(c *Call) error {
		m := expertsOf(c.Node, c.In)
		x, router, w1, w2 := floats(c.In[0]), floats(c.In[1]), floats(c.In[2]), floats(c.In[4])
		b1, b2 := zeros(c.In[3], m.E*m.F), zeros(c.in(5), m.E*m.C)
		y, h := make([]float64, len(x)), make([]float64, m.F)
		for t := 0; t < m.T; t++ {
			chosen, weight := m.choose(router[t*m.E:][:m.E])
			for i, e := range chosen {
				for f := range h {
					h[f] = b1[e*m.F+f]
					for j := 0; j < m.C; j++ {
						h[f] += float64(w1[(e*m.F+f)*m.C+j] * x[t*m.C+j])
					}
				}
				m.activate(h)
				for j := 0; j < m.C; j++ {
					s := b2[e*m.C+j]
					for f := 0; f < m.I; f++ {
						s += float64(w2[(e*m.C+j)*m.I+f] * h[f])
					}
					y[t*m.C+j] += float64(weight[i] * s)
				}
			}
		}
		setFloats(c.Out[0], y)
		return nil
	},
	Prepare: moeKernel,
	Flops: func(in, out []*graph.Value) int64 {
		w, ok1 := in[2].Static()
		x, ok2 := in[0].Static()
		if !ok1 || !ok2 {
			return 0
		}
		return 4 * int64(w[1]) * int64(x.Elems()) // one expert a token, at least
	},
}

func moeInfer(c *InferCall) error {
	n := c.Node
	for i := range c.In {
		if v := c.In[i]; v != nil && v.DType != c.In[0].DType {
			return c.Errorf("input %d is %s, input 0 is %s", i, v.DType, c.In[0].DType)
		}
	}
	if err := firstErr(c.wantFloat(0), c.wantRank(1, 2), c.wantRank(2, 3), c.wantRank(3, 2), c.wantRank(4, 3), c.wantRank(5, 2)); err != nil {
		return err
	}
	switch {
	case c.in(6) != nil || c.in(7) != nil || n.Int("use_sparse_mixer", 0) != 0:
		return c.unsupported("a third product and the sparse mixer are not supported")
	case c.in(1) == nil || c.in(2) == nil || c.in(4) == nil:
		return c.Errorf("the router or weights are absent")
	}
	act, fusion := n.Str("activation_type", "relu"), n.Int("swiglu_fusion", 0)
	switch act {
	case "relu", "gelu", "silu", "identity":
	case "swiglu":
		if fusion != 1 && fusion != 2 {
			return c.unsupported("swiglu_fusion %d is not supported", fusion)
		}
	default:
		return c.unsupported("activation_type %q is not supported", act)
	}
	c.Set(0, c.In[0].DType, c.In[0].Shape)
	x, r, w1, w2 := c.In[0].Shape, c.In[1].Shape, c.In[2].Shape, c.In[4].Shape
	if x == nil || r == nil || w1 == nil || w2 == nil {
		return nil
	}
	if len(x) != 2 && len(x) != 3 {
		return c.Errorf("input 0 is %v", x)
	}
	C, I := x[len(x)-1], w2[2]
	if act == "swiglu" {
		I = mulDim(I, graph.D(2))
	}
	k := n.Int("k", 1)
	if k < 1 || r[1].Known() && k > int64(r[1].Size) {
		return c.Errorf("%d of %v experts", k, r[1])
	}
	if err := firstErr(c.agree("experts", r[1], w1[0], w2[0]), c.agree("channels", C, w1[2], w2[1]), c.agree("hidden channels", I, w1[1]), c.has(3, w1[:2]), c.has(5, w2[:2])); err != nil {
		return err
	}
	if t, ok := known(x[:len(x)-1]); ok && r[0].Known() && r[0].Size != t {
		return c.Errorf("%v router rows for %v", r[0], x)
	}
	return nil
}

// experts is a call: T tokens of C channels, E experts of F channels after the first product and I before the second.
type experts struct {
	T, C, E, F, I, k   int
	act                string
	normal, alternate  bool
	alpha, beta, limit float64
}

func expertsOf(n *graph.Node, in []*tensor.Tensor) experts {
	w1, w2 := in[2].Shape, in[4].Shape
	return experts{T: in[1].Shape[0], C: w1[2], E: w1[0], F: w1[1], I: w2[2], k: int(n.Int("k", 1)), act: n.Str("activation_type", "relu"),
		normal: n.Int("normalize_routing_weights", 0) != 0, alternate: n.Int("swiglu_fusion", 0) == 1,
		alpha: float64(n.Float("activation_alpha", 1)), beta: float64(n.Float("activation_beta", 0)), limit: float64(n.Float("swiglu_limit", math.MaxFloat32))}
}

// choose returns the experts of a token, greatest score first, the lower index at a tie, and their weights.
func (m *experts) choose(score []float64) (chosen []int, weight []float64) {
	p := append([]float64{}, score...)
	all := make([]int, len(p))
	for e := range all {
		all[e] = e
	}
	softmaxLane(p, all, false)
	sort.SliceStable(all, func(i, j int) bool { return score[all[i]] > score[all[j]] })
	chosen, weight = all[:m.k], make([]float64, m.k)
	sum := 0.0
	for i, e := range chosen {
		weight[i] = p[e]
		sum += p[e]
	}
	for i := range weight {
		if m.normal {
			weight[i] /= sum
		}
	}
	return chosen, weight
}

// activate replaces F numbers by I.
func (m *experts) activate(h []float64) {
	for i := 0; i < m.I; i++ {
		switch m.act {
		case "relu":
			h[i] = max(h[i], 0)
		case "gelu":
			h[i] = 0.5 * h[i] * (1 + tanh(geluInner(h[i])))
		case "silu":
			h[i] *= sigmoid(h[i])
		}
	}
	if m.act != "swiglu" {
		return
	}
	x := append([]float64{}, h...)
	for i := 0; i < m.I; i++ {
		g, l := x[i], x[(m.I+i)%len(x)]
		if m.alternate {
			g, l = x[2*i], x[2*i+1]
		}
		g, l = min(g, m.limit), min(max(l, -m.limit), m.limit)
		h[i] = g / (1 + detmath.Exp(-m.alpha*g)) * (l + m.beta)
	}
}

// moeKernel gathers the tokens of one expert after the other and multiplies them together.
func moeKernel(p *Prep) (Kernel, bool) {
	m := expertsOf(p.Node, p.In)
	if !floatInputs(p.In, 0, 1, 2, 3, 4, 5) || m.T*m.C*m.F*m.I == 0 {
		return Kernel{}, false
	}
	up := kernel.Gemm{M: m.T, N: m.F, K: m.C, LDA: m.C, LDB: m.C, TransB: true, LDC: m.F}
	down := kernel.Gemm{M: m.T, N: m.C, K: m.I, LDA: m.F, LDB: m.I, TransB: true, LDC: m.C}
	own := (max(up.ScratchBytes(), down.ScratchBytes()) + 63) &^ 63
	rows := m.T * (2*m.C + m.F)
	return Kernel{Scratch: own + 4*rows + 4*m.T*m.E + 128, Run: func(in, out []*tensor.Tensor, scratch []byte) {
		f := floatsIn(scratch[own:])
		x, h, z, gate := f[:m.T*m.C], f[m.T*m.C:][:m.T*m.F], f[m.T*(m.C+m.F):][:m.T*m.C], f[rows:][:m.T*m.E]
		m.route(gate, in[1].Float32s())
		clear(out[0].Float32s())
		for e := 0; e < m.E; e++ {
			n := m.gather(x, in[0].Float32s(), gate, e)
			if n == 0 {
				continue
			}
			up.M, up.A, up.B, up.C, up.Bias = n, x, in[2].Float32s()[e*m.F*m.C:], h, expertPart(in, 3, e, m.F)
			up.Run(scratch[:own])
			for t := 0; t < n; t++ {
				m.activateRow(h[t*m.F : (t+1)*m.F])
			}
			down.M, down.A, down.B, down.C, down.Bias = n, h, in[4].Float32s()[e*m.C*m.I:], z, expertPart(in, 5, e, m.C)
			down.Run(scratch[:own])
			m.scatter(out[0].Float32s(), z, gate, e)
		}
	}}, true
}

// expertPart is the bias of one expert, nil if there is none.
func expertPart(in []*tensor.Tensor, i, e, n int) []float32 {
	if t := optional(in, i); t != nil {
		return t.Float32s()[e*n : (e+1)*n]
	}
	return nil
}

// route writes the weight of every expert for every token, negative where it is not chosen.
func (m *experts) route(gate, router []float32) {
	for t := 0; t < m.T; t++ {
		g, r := gate[t*m.E:(t+1)*m.E], router[t*m.E:(t+1)*m.E]
		kernel.Softmax(g, r, 1, m.E)
		sum := float32(0)
		for i := 0; i < m.k; i++ { // chosen ones are marked by a sign
			best := -1
			for e := range g {
				if !math.Signbit(float64(g[e])) && (best < 0 || r[e] > r[best]) {
					best = e
				}
			}
			if best >= 0 {
				sum += g[best]
				g[best] = -g[best]
			}
		}
		for e := range g {
			switch g[e] = -g[e]; {
			case math.Signbit(float64(g[e])):
				g[e] = -1
			case m.normal:
				g[e] /= sum
			}
		}
	}
}

func (m *experts) gather(dst, x, gate []float32, e int) (n int) {
	for t := 0; t < m.T; t++ {
		if gate[t*m.E+e] >= 0 {
			copy(dst[n*m.C:(n+1)*m.C], x[t*m.C:(t+1)*m.C])
			n++
		}
	}
	return n
}

func (m *experts) scatter(y, z, gate []float32, e int) {
	n := 0
	for t := 0; t < m.T; t++ {
		if g := gate[t*m.E+e]; g >= 0 {
			row, part := y[t*m.C:(t+1)*m.C], z[n*m.C:(n+1)*m.C]
			kernel.MapScalar(kernel.Mul, part, part, g)
			kernel.Map2(kernel.Add, row, row, part)
			n++
		}
	}
}

// activateRow is activate in float32.
func (m *experts) activateRow(h []float32) {
	switch m.act {
	case "relu":
		kernel.Activate(kernel.ActRelu, h, h, 0, 0)
	case "gelu":
		kernel.Activate(kernel.ActGeluTanh, h, h, 0, 0)
	case "silu":
		kernel.Activate(kernel.ActSilu, h, h, 0, 0)
	}
	if m.act != "swiglu" {
		return
	}
	for i := 0; i < m.I; i++ {
		g, l := h[i], h[(m.I+i)%len(h)]
		if m.alternate {
			g, l = h[2*i], h[2*i+1]
		}
		x := min(float64(g), m.limit)
		h[i] = float32(x / (1 + detmath.Exp(-m.alpha*x)) * (min(max(float64(l), -m.limit), m.limit) + m.beta))
	}
}
