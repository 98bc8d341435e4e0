package op

import (
	"slices"

	"muster/graph"
)

// FusedConv of com.microsoft is activation(Conv(X, W, B) + Z); B and Z may be absent.
var opFusedConv = Op{
	Domain: "com.microsoft", Name: "FusedConv", Since: 1, MinIn: 2, MaxIn: 4, MinOut: 1, MaxOut: 1, Attrs: convAttrs + " activation activation_params",
	Infer: func(c *InferCall) error {
		switch c.Node.Str("activation", "") {
		case "", "Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid":
		default:
			return c.unsupported("activation %q is not supported", c.Node.Str("activation", ""))
		}
		if err := firstErr(c.wantFloat(0), c.sameTypes()); err != nil {
			return err
		}
		s, err := c.convDims(0, 1, 2)
		c.Set(0, c.In[0].DType, s)
		return err
	},
	Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
		var attrs []graph.Attr
		for _, a := range n.Attrs {
			if a.Name != "activation" && a.Name != "activation_params" {
				attrs = append(attrs, a)
			}
		}
		args := []*graph.Value{in[0], in[1], nil}
		if len(in) > 2 {
			args[2] = in[2]
		}
		y := b.OpA("Conv", attrs, args...)
		if len(in) > 3 && in[3] != nil {
			y = b.Op("Add", y, in[3])
		}
		y.DType = in[0].DType
		act := &graph.Node{Attrs: []graph.Attr{graph.Str("activation", n.Str("activation", ""))}}
		values := []float32{0, 0}
		switch n.Str("activation", "") {
		case "LeakyRelu":
			values[0] = 0.01
		case "HardSigmoid":
			values = []float32{0.2, 0.5}
		}
		if a := n.Attr("activation_params"); a != nil {
			copy(values, a.Floats)
		}
		act.Attrs = append(act.Attrs, graph.Float("alpha", values[0]), graph.Float("beta", values[1]))
		return one(activationBody(b, act, y))
	},
	Flops: convFlops,
}

// channelsInfer is the rule of the group norms of com.microsoft: [N, ..., C] by default, gamma and beta [C].
func channelsInfer(c *InferCall) error {
	if err := firstErr(c.wantFloat(0), c.wantFloat(1), c.sameType(1, 2), c.wantRank(1, 1), c.wantRank(2, 1), sameAs(c)); err != nil {
		return err
	}
	x := c.In[0].Shape
	if a := c.Node.Int("activation", 0); a != 0 && a != 1 {
		return c.unsupported("activation %d is not supported", a)
	}
	if x == nil {
		return nil
	}
	if len(x) < 3 {
		return c.Errorf("input 0 is %v, want [N, ..., C]", x)
	}
	ch := x[len(x)-1]
	if c.Node.Int("channels_last", 1) == 0 {
		ch = x[1]
	}
	if g := c.Node.Int("groups", 0); g < 1 || g > maxSlide || ch.Known() && ch.Size%int(g) != 0 {
		return c.Errorf("%d groups of %v channels", g, ch)
	}
	return nil
}

// msGroupNorm normalises x, applies gamma and beta, and SiLU if activation is 1.
func msGroupNorm(b *graph.Builder, n *graph.Node, x, gamma, beta *graph.Value, like *graph.Value) *graph.Value {
	rank, last := len(like.Shape), n.Int("channels_last", 1) != 0
	first := x
	if last {
		first = transpose(b, x, ToFirst(rank)...)
	}
	first.DType = like.DType
	r := b.Op("Reshape", first, b.Ints(0, n.Int("groups", 1), -1))
	d := b.Op("Sub", r, b.ReduceMean(r, 1, 2))
	variance := b.ReduceMean(b.Op("Mul", d, d), 1, 2)
	h := b.Op("Mul", d, b.Op("Reciprocal", b.Op("Sqrt", b.Op("Add", variance, fill(b, like, float64(n.Float("epsilon", 1e-5)))))))
	h = b.Op("Reshape", h, b.Op("Shape", first))
	y := b.Op("Add", b.Op("Mul", h, perChannel(b, castTo(b, gamma, like), rank)), perChannel(b, castTo(b, beta, like), rank))
	if n.Int("activation", 0) == 1 {
		y = b.Op("Mul", y, b.Op("Sigmoid", y))
	}
	if last {
		y = transpose(b, y, ToLast(rank)...)
	}
	return y
}

// GroupNorm of com.microsoft is GroupNormalization, channels last by default, and SiLU if activation is 1.
var opGroupNorm = Op{
	Domain: "com.microsoft", Name: "GroupNorm", Since: 1, MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: "activation channels_last epsilon groups",
	Infer: channelsInfer,
	Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
		return one(msGroupNorm(b, n, in[0], in[1], in[2], in[0]))
	},
}

// SkipGroupNorm of com.microsoft is GroupNorm of X + skip + bias; the sum is a second output.
var opSkipGroupNorm = Op{
	Domain: "com.microsoft", Name: "SkipGroupNorm", Since: 1, MinIn: 4, MaxIn: 5, MinOut: 1, MaxOut: 2, Attrs: "activation channels_last epsilon groups",
	Infer: func(c *InferCall) error {
		if err := firstErr(channelsInfer(c), c.sameType(0, 3), c.sameType(0, 4)); err != nil {
			return err
		}
		if c.in(4) != nil && c.Node.Int("channels_last", 1) == 0 {
			return c.unsupported("a bias with channels_last 0 is not supported")
		}
		for _, i := range []int{3, 4} {
			if v := c.in(i); i == 3 && len(v.Shape) == 2 {
				continue // [N, C]
			}
			if err := c.broadcastsTo(i, c.In[0].Shape); err != nil {
				return err
			}
		}
		c.Set(1, c.In[0].DType, c.In[0].Shape)
		return nil
	},
	Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
		skip := in[3]
		if s := skip.Shape; len(s) == 2 { // [N, C]
			axes := make([]int64, len(in[0].Shape)-2)
			for i := range axes {
				axes[i] = int64(i + 1)
			}
			skip = b.Unsqueeze(skip, axes...)
		}
		sum := b.Op("Add", in[0], skip)
		if len(in) > 4 && in[4] != nil {
			sum = b.Op("Add", sum, in[4])
		}
		return []*graph.Value{msGroupNorm(b, n, sum, in[1], in[2], in[0]), sum}[:max(1, len(n.Outputs))]
	},
}

// BiasSplitGelu of com.microsoft is left * Gelu(right) of the two halves of X + bias, X [N, S, D], bias [D].
var opBiasSplitGelu = Op{
	Domain: "com.microsoft", Name: "BiasSplitGelu", Since: 1, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.sameTypes(), c.wantRank(0, 3), c.wantRank(1, 1), c.broadcastsTo(1, c.In[0].Shape)); err != nil {
			return err
		}
		x := c.In[0].Shape
		if x == nil {
			c.Set(0, c.In[0].DType, nil)
			return nil
		}
		half := graph.Dim{Size: -1}
		if x[2].Known() {
			if x[2].Size%2 != 0 {
				return c.Errorf("an axis of %v to split", x[2])
			}
			half = graph.D(x[2].Size / 2)
		}
		c.Set(0, c.In[0].DType, append(slices.Clone(x[:2]), half))
		return nil
	},
	Body: func(b *graph.Builder, _ *graph.Node, in []*graph.Value) []*graph.Value {
		x := b.Op("Add", in[0], in[1])
		size := axisSize(b, in[0], 2)
		half := b.Op("Div", size, b.Ints(2))
		cut := func(lo, hi *graph.Value) *graph.Value {
			v := b.Op("Slice", x, lo, hi, b.Ints(2))
			v.DType = in[0].DType
			return v
		}
		right := cut(half, size)
		act := &graph.Node{Attrs: []graph.Attr{graph.Str("activation", "Gelu")}}
		return one(b.Op("Mul", cut(b.Ints(0), half), activationBody(b, act, right)))
	},
}
