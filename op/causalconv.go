package op

import (
	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// CausalConvWithState(X, W, bias, past) is a depthwise convolution along the last axis that sees only the
// past, as Mamba-like models use it: Y[b, c, t] = act(bias[c] + sum over j of W[c, 0, j] Z[b, c, t+j]), where Z is
// the past (or zeros) [B, C, k-1] before X [B, C, L]. The second output is the end of Z, the next call's past.
var opCausalConv = Op{
	Name: "CausalConvWithState", Since: 27, MinIn: 2, MaxIn: 4, MinOut: 1, MaxOut: 2, Attrs: "activation",
	Infer: causalConvInfer,
	Ref: func(c *Call) error {
		B, C, L, K := causalConvSizes(c.In)
		x, w := floats(c.In[0]), floats(c.In[1])
		bias, past := zeros(c.in(2), C), zeros(c.in(3), B*C*(K-1))
		y, next := make([]float64, B*C*L), make([]float64, B*C*(K-1))
		z := make([]float64, K-1+L)
		for i := 0; i < B*C; i++ {
			copy(z, past[i*(K-1):(i+1)*(K-1)])
			copy(z[K-1:], x[i*L:(i+1)*L])
			for t := 0; t < L; t++ {
				s := bias[i%C]
				for j := 0; j < K; j++ {
					s += float64(w[i%C*K+j] * z[t+j])
				}
				if c.Node.Str("activation", "none") != "none" {
					s *= sigmoid(s)
				}
				y[i*L+t] = s
			}
			copy(next[i*(K-1):(i+1)*(K-1)], z[L:])
		}
		setFloats(c.Out[0], y)
		if t := c.out(1); t != nil {
			setFloats(t, next)
		}
		return nil
	},
	Body: causalConvBody,
	Flops: func(in, out []*graph.Value) int64 {
		w, ok1 := in[1].Static()
		y, ok2 := out[0].Static()
		if !ok1 || !ok2 {
			return 0
		}
		return 2 * int64(y.Elems()) * int64(w[2])
	},
	Prepare: causalConvKernel,
}

func causalConvSizes(in []*tensor.Tensor) (B, C, L, K int) {
	s := in[0].Shape
	return s[0], s[1], s[2], in[1].Shape[2]
}

func causalConvInfer(c *InferCall) error {
	if a := c.Node.Str("activation", "none"); a != "none" && a != "silu" && a != "swish" {
		return c.Errorf("activation %q", a)
	}
	if err := firstErr(c.wantFloat(0), c.sameTypes(), c.wantRank(0, 3), c.wantRank(1, 3), c.wantRank(2, 1), c.wantRank(3, 3)); err != nil {
		return err
	}
	x, w := c.In[0].Shape, c.In[1].Shape
	c.Set(0, c.In[0].DType, x)
	if x == nil || w == nil {
		c.Set(1, c.In[0].DType, nil)
		return nil
	}
	state := []graph.Dim{x[0], x[1], {Size: -1}}
	if w[2].Known() {
		if w[2].Size < 1 {
			return c.Errorf("weights %v", w)
		}
		state[2] = graph.D(w[2].Size - 1)
	}
	c.Set(1, c.In[0].DType, state)
	if err := firstErr(c.agree("channels", x[1], w[0]), c.agree("channels of a group", graph.D(1), w[1]), c.has(3, state)); err != nil {
		return err
	}
	if b := c.in(2); b != nil && b.Shape != nil {
		return c.agree("channels", x[1], b.Shape[0])
	}
	return nil
}

// causalConvBody adds up K products of shifted inputs; K is small.
func causalConvBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	x, w := in[0], in[1]
	if !w.Shape[2].Known() || w.Shape[2].Size > 256 {
		return nil
	}
	K := int64(w.Shape[2].Size)
	z := optional(in, 3)
	if z == nil {
		shape := concat(b, axisSize(b, x, 0), axisSize(b, x, 1), b.Ints(K-1))
		z = b.OpA("ConstantOfShape", []graph.Attr{graph.Ten("value", tensor.New(x.DType, 1))}, shape)
	}
	z = b.OpA("Concat", []graph.Attr{graph.Int("axis", 2)}, z, x)
	L := axisSize(b, x, 2)
	var y *graph.Value
	if bias := optional(in, 2); bias != nil {
		y = b.Unsqueeze(bias, 0, 2)
	}
	for j := range K {
		tap := b.Op("Slice", z, b.Ints(j), b.Op("Add", L, b.Ints(j)), b.Ints(2))
		p := b.Op("Mul", tap, b.Squeeze(b.Op("Slice", w, b.Ints(j), b.Ints(j+1), b.Ints(2)), 1))
		if y == nil {
			y = p
		} else {
			y = b.Op("Add", y, p)
		}
	}
	if n.Str("activation", "none") != "none" {
		y = b.Op("Mul", y, b.Op("Sigmoid", y))
	}
	return []*graph.Value{y, b.Op("Slice", z, L, b.Ints(1<<40), b.Ints(2))}
}

// causalConvKernel runs channel by channel, tap by tap.
func causalConvKernel(p *Prep) (Kernel, bool) {
	B, C, L, K := causalConvSizes(p.In)
	if p.In[0].DType != tensor.Float32 {
		return Kernel{}, false
	}
	act := p.Node.Str("activation", "none") != "none"
	per := rowsPer(L * K)
	return Kernel{Run: split((B*C+per-1)/per, func(in, out []*tensor.Tensor, _ []byte, task int) {
		for i := task * per; i < min(B*C, (task+1)*per); i++ {
			causalRow(in, out, i, C, L, K, act)
		}
	})}, true
}

// causalRow is one channel of one batch item.
func causalRow(in, out []*tensor.Tensor, i, C, L, K int, act bool) {
	x, y, w := in[0].Float32s()[i*L:(i+1)*L], out[0].Float32s()[i*L:(i+1)*L], in[1].Float32s()[i%C*K:(i%C+1)*K]
	var past, next []float32
	if t := optional(in, 3); t != nil {
		past = t.Float32s()[i*(K-1) : (i+1)*(K-1)]
	}
	if t := optional(out, 1); t != nil {
		next = t.Float32s()[i*(K-1) : (i+1)*(K-1)]
	}
	at := func(t int) float32 { // element t of Z
		switch {
		case t >= K-1:
			return x[t-K+1]
		case past != nil:
			return past[t]
		}
		return 0
	}
	start := float32(0)
	if t := optional(in, 2); t != nil {
		start = t.Float32s()[i%C]
	}
	for t := range y {
		y[t] = start
	}
	for j, f := range w {
		head := min(K-1-j, L)
		for t := 0; t < head; t++ {
			y[t] += float32(f * at(t+j))
		}
		for t := head; t < L; t++ {
			y[t] += float32(f * x[t+j-K+1])
		}
	}
	if act {
		kernel.Activate(kernel.ActSilu, y, y, 0, 0)
	}
	for t := range next {
		next[t] = at(L + t)
	}
}
