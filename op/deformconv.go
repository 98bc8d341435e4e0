package op

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// Axes: N images, C input channels, M output channels, K taps, O output positions, D groups of offsets.

// DeformConv is a 2-D convolution whose tap k of output o reads X at o*stride + k*dilation - pad + offset, by bilinear
// interpolation with zeros outside, times mask (Dai et al., arXiv 1703.06211; Zhu et al., arXiv 1811.11168). offset is
// [N, D K 2, O] with the row before the column, mask [N, D K, O].
var opDeformConv = Op{
	Name: "DeformConv", Since: 19, MinIn: 3, MaxIn: 5, MinOut: 1, MaxOut: 1, Attrs: "dilations group kernel_shape offset_group pads strides",
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.sameTypes(), c.wantRank(0, 4), c.wantRank(1, 4), c.wantRank(2, 4), c.wantRank(4, 4)); err != nil {
			return err
		}
		s, err := c.convDims(0, 1, 3)
		if err != nil || s == nil {
			c.Set(0, c.In[0].DType, nil)
			return err
		}
		c.Set(0, c.In[0].DType, s)
		return c.offsetDims(s)
	},
	Ref:   deformConv,
	Body:  deformConvBody,
	Flops: convFlops,
}

// offsetDims checks offset and mask for an output of shape s.
func (c *InferCall) offsetDims(s []graph.Dim) error {
	d := c.Node.Int("offset_group", 1)
	if ch := c.In[0].Shape[1]; d < 1 || d > maxSlide || ch.Known() && ch.Size%int(d) != 0 {
		return c.Errorf("%d groups of offsets for %v channels", d, ch)
	}
	kh, kw := c.In[1].Shape[2], c.In[1].Shape[3]
	for i, per := range map[int]int{2: 2, 4: 1} {
		v := c.in(i)
		if v == nil || v.Shape == nil {
			continue
		}
		want := []graph.Dim{s[0], {Size: -1}, s[2], s[3]}
		if kh.Known() && kw.Known() {
			want[1] = graph.D(int(d) * kh.Size * kw.Size * per)
		}
		for k, w := range want {
			if e := v.Shape[k]; w.Known() && e.Known() && w.Size != e.Size {
				return c.Errorf("input %d is %v, want %v", i, v.Shape, want)
			}
		}
	}
	return nil
}

// bilinear reads plane [H, W] at a place between its elements; outside is 0.
func bilinear(plane []float64, H, W int, y, x float64) float64 {
	y0, x0 := math.Floor(y), math.Floor(x)
	sum := 0.0
	for i := 0.0; i < 2; i++ {
		for j := 0.0; j < 2; j++ {
			r, q := y0+i, x0+j
			if !(r >= 0 && q >= 0 && r < float64(H) && q < float64(W)) { // an offset may be NaN
				continue
			}
			sum += (1 - math.Abs(y-r)) * (1 - math.Abs(x-q)) * plane[int(r)*W+int(q)]
		}
	}
	return sum
}

func deformConv(c *Call) error {
	xs, ws := c.In[0].Shape, c.In[1].Shape
	win, groups, err := convWindow(c.Node, xs, ws)
	if err != nil {
		return err
	}
	x, w, off := floats(c.In[0]), floats(c.In[1]), floats(c.In[2])
	var mask, bias []float64
	if t := c.in(4); t != nil {
		mask = floats(t)
	}
	if t := c.in(3); t != nil {
		bias = floats(t)
	}
	N, C, M, depth, D := xs[0], xs[1], ws[0], ws[1], int(c.Node.Int("offset_group", 1))
	in, out, taps := win.volumes()
	y := make([]float64, c.Out[0].Elems())
	column := make([]float64, C*taps) // what all taps of one output read
	for n := 0; n < N; n++ {
		for o := 0; o < out; o++ {
			for ch := 0; ch < C; ch++ {
				d := ch / (C / D)
				for k := 0; k < taps; k++ {
					at := ((n*D+d)*taps+k)*2*out + o
					r := float64(o/win[1].out*win[0].stride-win[0].lo+k/win[1].taps*win[0].dilation) + off[at]
					q := float64(o%win[1].out*win[1].stride-win[1].lo+k%win[1].taps*win[1].dilation) + off[at+out]
					v := bilinear(x[(n*C+ch)*in:][:in], win[0].in, win[1].in, r, q)
					if mask != nil {
						v *= mask[((n*D+d)*taps+k)*out+o]
					}
					column[ch*taps+k] = v
				}
			}
			for m := 0; m < M; m++ {
				sum := 0.0
				if bias != nil {
					sum = bias[m]
				}
				for i, v := range column[m/(M/groups)*depth*taps:][:depth*taps] {
					sum += float64(v * w[m*depth*taps+i])
				}
				y[(n*M+m)*out+o] = sum
			}
		}
	}
	setFloats(c.Out[0], y)
	return nil
}

// deformConvBody gathers the four neighbours of every place, weighs them, and multiplies with the weights as a matrix.
func deformConvBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	xs, ws := sizes(in[0].Shape), sizes(in[1].Shape)
	win, err := windowOf(n, ws[2:])
	if err == nil {
		err = win.over(n, xs[2:])
	}
	if err != nil || win[0].out < 0 || win[1].out < 0 {
		win = window{{taps: 1, stride: 1, dilation: 1}, {taps: 1, stride: 1, dilation: 1}} // its shapes will not fit, which is reported
	}
	N, C, M, D, G := int64(xs[0]), int64(xs[1]), int64(ws[0]), n.Int("offset_group", 1), n.Int("group", 1)
	_, out, taps := win.volumes()
	K, O, H, W := int64(taps), int64(out), win[0].in, win[1].in
	off := reshape(b, in[2], N, D, K, 2, O)
	part := func(i int64) *graph.Value {
		return b.Squeeze(b.Op("Slice", off, b.Ints(i), b.Ints(i+1), b.Ints(3)), 3)
	}
	place := func(i int, s slide) *graph.Value { // [N, D, K, O]
		base := make([]float64, taps*out)
		for k := 0; k < taps; k++ {
			for o := 0; o < out; o++ {
				tap, pos := k/win[1].taps, o/win[1].out
				if i == 1 {
					tap, pos = k%win[1].taps, o%win[1].out
				}
				base[k*out+o] = float64(pos*s.stride - s.lo + tap*s.dilation)
			}
		}
		t := tensor.New(in[0].DType, taps, out)
		setFloats(t, base)
		return b.Op("Add", part(int64(i)), b.Init("base", t))
	}
	py, px := place(0, win[0]), place(1, win[1])
	y0, x0 := b.Op("Floor", py), b.Op("Floor", px)
	ly, lx := b.Op("Sub", py, y0), b.Op("Sub", px, x0)
	f := func(v float64) *graph.Value { return fill(b, in[0], v) }
	planes := reshape(b, in[0], N, D, C/D, int64(H*W))
	neighbour := func(i int) *graph.Value { // times its weight: [N, D, C/D, K O]
		r, q := b.Op("Add", y0, f(float64(i/2))), b.Op("Add", x0, f(float64(i%2)))
		hy, hx := ly, lx
		if i/2 == 0 {
			hy = b.Op("Sub", f(1), ly)
		}
		if i%2 == 0 {
			hx = b.Op("Sub", f(1), lx)
		}
		top, right := f(float64(H-1)), f(float64(W-1))
		cr, cq := b.Op("Max", b.Op("Min", r, top), f(0)), b.Op("Max", b.Op("Min", q, right), f(0))
		inside := b.Op("And", b.Op("Equal", cr, r), b.Op("Equal", cq, q))
		weight := b.Op("Where", inside, b.Op("Mul", hy, hx), f(0))
		index := cast(b, b.Op("Add", b.Op("Mul", cr, f(float64(W))), cq), tensor.Int64)
		index = b.Op("Expand", reshape(b, index, N, D, 1, K*O), b.Ints(N, D, C/D, K*O))
		v := b.OpA("GatherElements", []graph.Attr{graph.Int("axis", 3)}, planes, index)
		return b.Op("Mul", v, reshape(b, weight, N, D, 1, K*O))
	}
	sum := addAll(b, neighbour(0), neighbour(1), neighbour(2), neighbour(3))
	if len(in) > 4 && in[4] != nil {
		sum = b.Op("Mul", sum, reshape(b, in[4], N, D, 1, K*O))
	}
	columns := reshape(b, sum, N, G, C/G*K, O)
	y := reshape(b, b.Op("MatMul", reshape(b, in[1], G, M/G, C/G*K), columns), N, M, int64(win[0].out), int64(win[1].out))
	if len(in) > 3 && in[3] != nil {
		y = b.Op("Add", y, reshape(b, in[3], M, 1, 1))
	}
	return one(y)
}
