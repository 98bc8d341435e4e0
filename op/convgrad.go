package op

import (
	"muster/graph"
	"muster/tensor"
)

// resolved is a forward window with its sizes; false (and a reason) if the spatial sizes are not known where they matter.
func (c *GradCall) resolved(kernel []int) (window, bool) {
	win, err := windowOf(c.Node, kernel)
	if err == nil {
		err = win.over(c.Node, sizes(c.In[0].Shape[2:]))
	}
	if err != nil {
		c.Err = err
		return nil, false
	}
	auto := c.Node.Str("auto_pad", "NOTSET")
	for i, s := range win {
		if s.taps < 0 || s.in < 0 && (s.stride > 1 || auto != "NOTSET" && auto != "") {
			c.Fail("it is not known whether the last window ends at the border of axis %d", i+2)
			return nil, false
		}
	}
	return win, true
}

// spread is the adjoint of reading windows: the ConvTranspose of dy by w back to the size of the forward input.
func (c *GradCall) spread(dy, w *graph.Value, win window, group int64) *graph.Value {
	back := append(window{}, win...)
	rest := make([]int64, len(win))
	for i := range back {
		s := &back[i]
		if s.in < 0 || s.stride == 1 && s.out-1+s.reach()-s.lo-s.hi == s.in {
			continue
		}
		over := (s.out-1)*s.stride + s.reach() - s.lo - s.in // the last window hangs over by so much
		s.hi, rest[i] = max(over, 0), int64(max(-over, 0))
	}
	attrs := append(back.attrs(), graph.Int("group", group))
	for _, r := range rest {
		if r != 0 {
			attrs = append(attrs, graph.Ints("output_padding", rest...))
			break
		}
	}
	return c.B.OpA("ConvTranspose", attrs, dy, w)
}

// convGrad: dX is the ConvTranspose of dY by W, dW the correlation of X and dY, dB the sum of dY.
func convGrad(c *GradCall) []*graph.Value {
	d := make([]*graph.Value, len(c.In))
	if c.In[0].Shape == nil || c.In[1].Shape == nil {
		c.Fail("the rank of an input is not known")
		return d
	}
	win, ok := c.resolved(sizes(c.In[1].Shape[2:]))
	if !ok {
		return d
	}
	group := c.Node.Int("group", 1)
	if c.Need[0] {
		d[0] = c.spread(c.DOut[0], c.In[1], win, group)
	}
	if c.Need[1] {
		d[1] = convGradWeight(c.B, c.In[0], c.DOut[0], win, group)
	}
	if len(d) > 2 && c.Need[2] {
		d[2] = sumChannels(c.B, c.DOut[0], len(c.In[0].Shape))
	}
	return d
}

func convGradWeight(b *graph.Builder, x, dy *graph.Value, win window, group int64) *graph.Value {
	return b.Node(graph.Domain, "ConvGradWeight", 1, []*graph.Value{x, dy}, append(win.attrs(), graph.Int("group", group))...)[0]
}

// sumChannels adds up a tensor [N, C, ...] to [C].
func sumChannels(b *graph.Builder, v *graph.Value, rank int) *graph.Value {
	return b.ReduceSum(v, 0, append([]int64{0}, spatialAxes(rank)...)...)
}

// ConvGradWeight(X, dY) is the gradient of a convolution by its weights [M, C/group, K]:
// dW[m, c, k] = sum over n, o of X[n, c, o*stride + k*dilation - pad] dY[n, m, o].
var opConvGradWeight = Op{
	Domain: graph.Domain, Name: "ConvGradWeight", Since: 1, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
	Attrs:    "dilations group kernel_shape pads strides",
	Defaults: []graph.Attr{graph.Ints("kernel_shape"), graph.Ints("strides"), graph.Ints("dilations"), graph.Ints("pads"), graph.Int("group", 1)},
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.sameTypes(), c.spatialRank()); err != nil {
			return err
		}
		x, dy, g := c.In[0].Shape, c.In[1].Shape, int(c.Node.Int("group", 1))
		win, err := windowOf(c.Node, nil)
		if err != nil {
			return err
		}
		rank := 2 + len(win)
		if err := firstErr(c.wantRank(0, rank), c.wantRank(1, rank)); err != nil {
			return err
		}
		s := unknown(rank)
		if x != nil && x[1].Known() {
			if g < 1 || x[1].Size%g != 0 {
				return c.Errorf("%v in %d groups", x, g)
			}
			s[1] = graph.D(x[1].Size / g)
		}
		if dy != nil {
			if s[0] = dy[1]; s[0].Known() && s[0].Size%g != 0 {
				return c.Errorf("%v in %d groups", dy, g)
			}
		}
		if x != nil && dy != nil && x[0].Known() && dy[0].Known() && x[0].Size != dy[0].Size {
			return c.Errorf("X is %v, dY %v", x, dy)
		}
		for i := range win {
			s[2+i] = graph.D(win[i].taps)
		}
		c.Set(0, c.In[0].DType, s)
		return nil
	},
	Ref:     convGradWeightRef,
	Body:    convGradWeightBody,
	Prepare: func(p *Prep) (Kernel, bool) { return convGradWeightKernel(p, false) },
	Flops: func(in, out []*graph.Value) int64 {
		w, _ := out[0].Static()
		y, _ := in[1].Static()
		if len(w) == 0 || len(y) == 0 || w[0] == 0 {
			return 0
		}
		return 2 * int64(y.Elems()) * int64(w.Elems()/w[0])
	},
}

// gradWindow is the window of a ConvGradWeight between these spatial sizes.
func gradWindow(n *graph.Node, x, dy tensor.Shape) (window, error) {
	win, err := windowOf(n, nil)
	for i := range win {
		win[i].in, win[i].out = x[2+i], dy[2+i]
	}
	return win, err
}

func convGradWeightRef(c *Call) error {
	xs, ds, ws := c.In[0].Shape, c.In[1].Shape, c.Out[0].Shape
	win, err := gradWindow(c.Node, xs, ds)
	if err != nil {
		return err
	}
	x, dy := floats(c.In[0]), floats(c.In[1])
	in, out, taps := win.volumes()
	N, C, M, D, G := xs[0], xs[1], ws[0], ws[1], int(c.Node.Int("group", 1))
	dw := make([]float64, M*D*taps)
	at := make([]int, taps)
	for o := 0; o < out; o++ {
		win.read(o, at)
		for n := 0; n < N; n++ {
			for m := 0; m < M; m++ {
				g, first := dy[(n*M+m)*out+o], m/(M/G)*D
				for d := 0; d < D; d++ {
					xc, wc := x[(n*C+first+d)*in:][:in], dw[(m*D+d)*taps:][:taps]
					for k, i := range at {
						if i >= 0 {
							wc[k] += float64(xc[i] * g)
						}
					}
				}
			}
		}
	}
	setFloats(c.Out[0], dw)
	return nil
}

// convGradWeightBody is a convolution in which batch and channels change places, and strides and dilations too.
func convGradWeightBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	g := n.Int("group", 1)
	rank := 2 + len(n.Ints("kernel_shape"))
	xs := b.Op("Shape", in[0])
	part := func(lo, hi int64) *graph.Value { return b.Op("Slice", xs, b.Ints(lo), b.Ints(hi), b.Ints(0)) }
	batch, depth, space := part(0, 1), b.Op("Div", part(1, 2), b.Ints(g)), part(2, int64(rank))
	perm, flip := []int64{2, 1, 0}, []int64{1, 0}
	for i := 2; i < rank; i++ {
		perm, flip = append(perm, int64(i+1)), append(flip, int64(i))
	}
	x := reshapeTo(b, in[0], concat(b, batch, b.Ints(g), depth, space)) // [N, G, D, ...]
	x = reshapeTo(b, transpose(b, x, perm...), concat(b, depth, b.Op("Mul", batch, b.Ints(g)), space))
	attrs := []graph.Attr{graph.Int("group", g), graph.Ints("pads", n.Ints("pads")...)}
	if s := n.Ints("strides"); s != nil {
		attrs = append(attrs, graph.Ints("dilations", s...))
	}
	if d := n.Ints("dilations"); d != nil {
		attrs = append(attrs, graph.Ints("strides", d...))
	}
	if len(n.Ints("pads")) == 0 {
		attrs[1] = graph.Ints("pads", make([]int64, 2*(rank-2))...)
	}
	y := b.OpA("Conv", attrs, x, transpose(b, in[1], flip...)) // [D, M, at least K]
	from := make([]int64, rank-2)
	y = b.Op("Slice", y, b.Ints(from...), b.Ints(n.Ints("kernel_shape")...), b.Ints(spatialAxes(rank)...))
	return one(transpose(b, y, flip...))
}
