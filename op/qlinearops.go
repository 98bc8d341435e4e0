package op

import (
	"muster/graph"
	"muster/tensor"
)

// The QLinear operators of com.microsoft compute on numbers behind 8-bit integers: the integers become
// floats, the operator runs, its result is quantized again. Each operand is three inputs: the integers,
// their scale and their zero point, which may be absent.

// qop is one of them.
type qop struct {
	name     string
	operands int // before the scale of the result
	attrs    string
	rule     func(c *InferCall) ([]graph.Dim, error)
	body     func(b *graph.Builder, n *graph.Node, x []*graph.Value) *graph.Value
}

func (q qop) op() Op {
	at := 3 * q.operands // scale of the result
	return Op{
		Domain: microsoft, Name: q.name, Since: 1, MinIn: 1, MaxIn: at + 2, MinOut: 1, MaxOut: 1, Attrs: q.attrs,
		NoGrad: "its input is an integer",
		Infer: func(c *InferCall) error {
			if err := c.bytes8(0); err != nil {
				return err
			}
			for i := 0; i <= at; i++ {
				if (i%3 < 2 || i == at) && c.in(i) == nil {
					return c.Errorf("input %d is absent", i)
				}
			}
			for i := range c.In {
				want := c.In[0].DType
				if i < at && i%3 == 1 || i == at {
					want = tensor.Float32
				}
				if err := c.wantType(i, want); err != nil {
					return err
				}
				if i < at && i%3 == 0 {
					continue
				}
				if err := c.single(i); err != nil {
					return err
				}
			}
			s, err := q.rule(c)
			c.Set(0, c.In[0].DType, s)
			return err
		},
		Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
			x := make([]*graph.Value, q.operands)
			for i := range x {
				x[i] = dequantized(b, in[3*i], in[3*i+1], optional(in, 3*i+2))
			}
			y := q.body(b, n, x)
			if y == nil {
				return nil
			}
			return one(quantizedLike(b, y, in[at], optional(in, at+1), in[0]))
		},
	}
}

// asScalar makes a vector of one element a scalar, which every opset takes.
func asScalar(b *graph.Builder, x *graph.Value) *graph.Value {
	if x != nil && len(x.Shape) == 1 {
		return b.Squeeze(x, 0)
	}
	return x
}

// dequantized is the number behind x.
func dequantized(b *graph.Builder, x, scale, zero *graph.Value) *graph.Value {
	y := b.Op("DequantizeLinear", x, asScalar(b, scale), asScalar(b, zero))
	y.DType, y.Shape = tensor.Float32, x.Shape
	return y
}

// quantizedLike quantizes y to the type of x.
func quantizedLike(b *graph.Builder, y, scale, zero, x *graph.Value) *graph.Value {
	if zero == nil {
		zero = b.Init("zero", tensor.New(x.DType))
	}
	return b.Op("QuantizeLinear", y, asScalar(b, scale), asScalar(b, zero))
}

func first(c *InferCall) ([]graph.Dim, error) { return c.In[0].Shape, nil }

// pairShape broadcasts operands 0 and 1.
func pairShape(c *InferCall) ([]graph.Dim, error) {
	return c.broadcastDims(c.In[0].Shape, c.In[3].Shape)
}

// withChannelsFirst runs f on x with channels as axis 1, and puts them back to the end if the attribute says so.
func withChannelsFirst(b *graph.Builder, n *graph.Node, x *graph.Value, f func(x *graph.Value) *graph.Value) *graph.Value {
	if n.Int("channels_last", 0) == 0 {
		return f(x)
	}
	r := len(x.Shape)
	to, back := []int64{0, int64(r - 1)}, []int64{0}
	for i := 1; i < r-1; i++ {
		to, back = append(to, int64(i)), append(back, int64(i+1))
	}
	return transpose(b, f(transpose(b, x, to...)), append(back, 1)...)
}

var (
	opQLinearAdd = qop{name: "QLinearAdd", operands: 2, rule: pairShape, body: func(b *graph.Builder, _ *graph.Node, x []*graph.Value) *graph.Value {
		return b.Op("Add", x[0], x[1])
	}}.op()
	opQLinearMul = qop{name: "QLinearMul", operands: 2, rule: pairShape, body: func(b *graph.Builder, _ *graph.Node, x []*graph.Value) *graph.Value {
		return b.Op("Mul", x[0], x[1])
	}}.op()
	opQLinearSigmoid = qop{name: "QLinearSigmoid", operands: 1, rule: first, body: func(b *graph.Builder, _ *graph.Node, x []*graph.Value) *graph.Value {
		return b.Op("Sigmoid", x[0])
	}}.op()
	opQLinearLeakyRelu = qop{name: "QLinearLeakyRelu", operands: 1, attrs: "alpha", rule: first, body: func(b *graph.Builder, n *graph.Node, x []*graph.Value) *graph.Value {
		return b.OpA("LeakyRelu", []graph.Attr{graph.Float("alpha", n.Float("alpha", 0.01))}, x[0])
	}}.op()
	opQLinearSoftmax = qop{name: "QLinearSoftmax", operands: 1, attrs: "axis opset", rule: func(c *InferCall) ([]graph.Dim, error) {
		if s := c.In[0].Shape; s != nil {
			_, err := axis(c.Node.Place(), c.Node.Int("axis", -1), len(s))
			return s, err
		}
		return nil, nil
	}, body: qlinearSoftmax}.op()
	opQLinearAveragePool = qop{name: "QLinearAveragePool", operands: 1, attrs: "auto_pad ceil_mode channels_last count_include_pad kernel_shape pads strides",
		rule: func(c *InferCall) ([]graph.Dim, error) { return c.pooled(opAveragePool) }, body: func(b *graph.Builder, n *graph.Node, x []*graph.Value) *graph.Value {
			return withChannelsFirst(b, n, x[0], func(x *graph.Value) *graph.Value {
				return b.OpA("AveragePool", graph.Without(n.Attrs, "channels_last"), x)
			})
		}}.op()
	opQLinearGlobalAveragePool = qop{name: "QLinearGlobalAveragePool", operands: 1, attrs: "channels_last",
		rule: func(c *InferCall) ([]graph.Dim, error) { return c.pooled(opGlobalAveragePool) }, body: func(b *graph.Builder, n *graph.Node, x []*graph.Value) *graph.Value {
			return withChannelsFirst(b, n, x[0], func(x *graph.Value) *graph.Value { return b.Op("GlobalAveragePool", x) })
		}}.op()
)

// qlinearSoftmax: before opset 13 all axes from `axis` on are normalised together.
func qlinearSoftmax(b *graph.Builder, n *graph.Node, x []*graph.Value) *graph.Value {
	a, r := wrap(n.Int("axis", -1), len(x[0].Shape)), len(x[0].Shape)
	soft := func(x *graph.Value, axis int64) *graph.Value {
		return b.OpA("Softmax", []graph.Attr{graph.Int("axis", axis)}, x)
	}
	switch {
	case a == r-1:
		return soft(x[0], -1)
	case n.Int("opset", 13) < 13:
		flat := b.OpA("Flatten", []graph.Attr{graph.Int("axis", int64(a))}, x[0])
		return reshapeLike(b, soft(flat, 1), x[0])
	}
	perm := axisRange(0, r)
	perm[a], perm[r-1] = perm[r-1], perm[a]
	return transpose(b, soft(transpose(b, x[0], perm...), -1), perm...)
}

// pooled is the shape that a pooling operator gives input 0.
func (c *InferCall) pooled(o Op) ([]graph.Dim, error) {
	s := c.In[0].Shape
	if s == nil {
		return nil, nil
	}
	if len(s) < 3 {
		return nil, c.Errorf("input 0 is %v", s)
	}
	last := c.Node.Int("channels_last", 0) != 0
	if last {
		s = append([]graph.Dim{s[0], s[len(s)-1]}, s[1:len(s)-1]...)
	}
	out := &graph.Value{}
	n := &graph.Node{Name: c.Node.Name, Op: o.Name, Attrs: graph.Without(c.Node.Attrs, "channels_last")}
	if err := o.Infer(&InferCall{Node: n, In: []*graph.Value{{DType: tensor.Float32, Shape: s}}, Out: []*graph.Value{out}}); err != nil {
		return nil, err
	}
	if y := out.Shape; last && y != nil {
		return append(append([]graph.Dim{y[0]}, y[2:]...), y[1]), nil
	}
	return out.Shape, nil
}

// com.microsoft.QLinearConcat(Y_scale, Y_zero, then X, scale, zero of every part).
var opQLinearConcat = Op{
	Domain: microsoft, Name: "QLinearConcat", Since: 1, MinIn: 5, MaxIn: -1, MinOut: 1, MaxOut: 1, Attrs: "axis",
	NoGrad: "its input is an integer",
	Infer: func(c *InferCall) error {
		if len(c.In)%3 != 2 || c.In[1] == nil || c.Node.Attr("axis") == nil {
			return c.Errorf("%d inputs, want two and three for every part, and an axis", len(c.In))
		}
		var parts []*graph.Value
		for i, v := range c.In {
			want := c.In[1].DType
			if i%3 == 0 {
				want = tensor.Float32
			}
			if v == nil || v.DType != want {
				return c.Errorf("input %d is absent or not %s", i, want)
			}
			if i%3 == 2 {
				parts = append(parts, v)
			} else if err := c.single(i); err != nil {
				return err
			}
		}
		if err := c.bytes8(1); err != nil {
			return err
		}
		return opConcat.Infer(&InferCall{Node: c.Node, In: parts, Out: c.Out})
	},
	Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
		var parts []*graph.Value
		for i := 2; i+2 < len(in); i += 3 {
			parts = append(parts, dequantized(b, in[i], in[i+1], in[i+2]))
		}
		y := b.OpA("Concat", []graph.Attr{graph.Int("axis", n.Int("axis", 0))}, parts...)
		return one(quantizedLike(b, y, in[0], in[1], in[1]))
	},
}

// com.microsoft.QGemm(A, a_scale, a_zero, B, b_scale, b_zero, C, y_scale, y_zero) is alpha A B + C, where C is of int32 in
// units of alpha a_scale b_scale. Scales of B may be one for every column. Without y_scale the result is float32.
var opQGemm = Op{
	Domain: microsoft, Name: "QGemm", Since: 1, MinIn: 6, MaxIn: 9, MinOut: 1, MaxOut: 1, Attrs: "alpha transA transB",
	NoGrad: "its input is an integer",
	Infer: func(c *InferCall) error {
		f := tensor.Float32
		if err := firstErr(c.bytes8(0, 3), c.wantType(1, f), c.wantType(2, c.In[0].DType), c.wantType(4, f), c.wantType(5, c.In[3].DType), c.wantType(6, tensor.Int32), c.wantType(7, f),
			c.wantRank(0, 2), c.wantRank(3, 2), c.single(1), c.single(2), c.single(7), c.single(8)); err != nil {
			return err
		}
		d := f
		if c.in(7) != nil {
			if d = tensor.Uint8; c.in(8) != nil {
				d = c.In[8].DType
			}
		}
		c.Set(0, d, nil)
		a, w := c.In[0].Shape, c.In[3].Shape
		if a == nil || w == nil {
			return nil
		}
		M, K, N, L := a[0], a[1], w[1], w[0]
		if c.Node.Int("transA", 0) != 0 {
			M, K = K, M
		}
		if c.Node.Int("transB", 0) != 0 {
			N, L = L, N
		}
		for _, i := range []int{4, 5} {
			if s := c.In[i].Shape; len(s) > 1 {
				return c.Errorf("input %d is %v", i, s)
			}
		}
		s := []graph.Dim{M, N}
		if err := firstErr(c.agree("summed axes", K, L), c.broadcastsTo(4, s), c.broadcastsTo(5, s), c.broadcastsTo(6, s)); err != nil {
			return err
		}
		c.Set(0, d, s)
		return nil
	},
	Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
		num := func(x, zero *graph.Value) *graph.Value {
			x = cast(b, x, tensor.Float32)
			if zero != nil {
				x = b.Op("Sub", x, cast(b, zero, tensor.Float32))
			}
			return x
		}
		A, W := num(in[0], asScalar(b, in[2])), in[3]
		if n.Int("transA", 0) != 0 {
			A = transpose(b, A, 1, 0)
		}
		if n.Int("transB", 0) != 0 {
			W = transpose(b, W, 1, 0) // a zero point may be one for every column
		}
		y := b.Op("MatMul", A, num(W, in[5]))
		if C := optional(in, 6); C != nil {
			y = b.Op("Add", y, cast(b, C, tensor.Float32))
		}
		scale := b.Op("Mul", asScalar(b, in[1]), in[4])
		if alpha := n.Float("alpha", 1); alpha != 1 {
			scale = b.Op("Mul", scale, b.Scalar(alpha))
		}
		y = b.Op("Mul", y, scale)
		if s := optional(in, 7); s != nil {
			zero := optional(in, 8)
			if zero == nil {
				zero = b.Init("zero", tensor.New(tensor.Uint8))
			}
			y = b.Op("QuantizeLinear", y, asScalar(b, s), asScalar(b, zero))
		}
		return one(y)
	},
}
