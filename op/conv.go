package op

import (
	"muster/graph"
	"muster/tensor"
)

// Axes: N batch, C input channels, G groups, M output channels, O output positions, K taps.

// convAttrs are the attributes that convolutions share.
const convAttrs = "auto_pad dilations group kernel_shape pads strides"

// Conv is Y[n, m, o] = B[m] + sum over c, k of X[n, c, o*stride + k*dilation - pad] W[m, c, k], where c are the channels of m's group.
var opConv = Op{
	Name: "Conv", Since: 1, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: convAttrs,
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.sameTypes()); err != nil {
			return err
		}
		s, err := c.convDims(0, 1, 2)
		c.Set(0, c.In[0].DType, s)
		return err
	},
	Ref: func(c *Call) error {
		w, g, err := convWindow(c.Node, c.In[0].Shape, c.In[1].Shape)
		if err != nil {
			return err
		}
		y := convolve(floats(c.In[0]), floats(c.In[1]), c.In[0].Shape, c.In[1].Shape, w, g)
		if t := c.in(2); t != nil {
			addChannels(y, floats(t), c.Out[0].Shape[2:].Elems())
		}
		setFloats(c.Out[0], y)
		return nil
	},
	Grad:    convGrad,
	Prepare: func(p *Prep) (Kernel, bool) { return convKernel(p, false) },
	Flops:   convFlops,
}

// convDims checks X, W and bias at these inputs and returns the shape of the output; nil if the rank is not known.
func (c *InferCall) convDims(x, w, bias int) ([]graph.Dim, error) {
	xs, ws := c.In[x].Shape, c.In[w].Shape
	if xs == nil || ws == nil {
		return nil, nil
	}
	if len(xs) < 3 || len(xs) > 2+maxSpatial || len(xs) != len(ws) {
		return nil, c.Errorf("X is %v, W is %v", xs, ws)
	}
	group := c.Node.Int("group", 1)
	if group < 1 || group > maxSlide {
		return nil, c.Errorf("group %d", group)
	}
	g := int(group)
	if d := ws[0]; d.Known() && d.Size%g != 0 {
		return nil, c.Errorf("%d output channels in %d groups", d.Size, g)
	}
	if a, b := xs[1], ws[1]; a.Known() && b.Known() && a.Size != b.Size*g {
		return nil, c.Errorf("X has %d channels, W wants %d in %d groups", a.Size, b.Size, g)
	}
	if bias < 0 {
	} else if v := c.in(bias); v != nil && v.Shape != nil {
		if len(v.Shape) != 1 || v.Shape[0].Known() && ws[0].Known() && v.Shape[0].Size != ws[0].Size {
			return nil, c.Errorf("a bias of %v for weights %v", v.Shape, ws)
		}
	}
	win, err := windowOf(c.Node, sizes(ws[2:]))
	if err != nil {
		return nil, err
	}
	if err := win.over(c.Node, sizes(xs[2:])); err != nil {
		return nil, err
	}
	return append([]graph.Dim{xs[0], ws[0]}, win.outDims(c.Node, xs[2:])...), nil
}

// convWindow is the window of a convolution of concrete shapes, and its number of groups.
func convWindow(n *graph.Node, x, w tensor.Shape) (window, int, error) {
	win, err := windowOf(n, append([]int{}, spatial(w)...))
	if err == nil {
		err = win.over(n, spatial(x))
	}
	return win, int(n.Int("group", 1)), err
}

// convolve is the reference: y [N, M, O], in float64.
func convolve(x, w []float64, xs, ws tensor.Shape, win window, groups int) []float64 {
	in, out, taps := win.volumes()
	N, C, M, D := xs[0], xs[1], ws[0], ws[1] // D channels per group
	y := make([]float64, N*M*out)
	at := make([]int, taps)
	for o := 0; o < out; o++ {
		win.read(o, at)
		for n := 0; n < N; n++ {
			for m := 0; m < M; m++ {
				first := m / (M / groups) * D
				sum := 0.0
				for d := 0; d < D; d++ {
					xc, wc := x[(n*C+first+d)*in:][:in], w[(m*D+d)*taps:][:taps]
					for k, i := range at {
						if i >= 0 {
							sum += float64(xc[i] * wc[k])
						}
					}
				}
				y[(n*M+m)*out+o] = sum
			}
		}
	}
	return y
}

// addChannels adds bias[m] to every element of y [N, M, O].
func addChannels(y, bias []float64, O int) {
	for i := range y {
		y[i] += bias[i/O%len(bias)]
	}
}

// convFlops is 2 per output element, channel of its group and tap.
func convFlops(in, out []*graph.Value) int64 {
	w, _ := in[1].Static()
	y, _ := out[0].Static()
	if len(w) == 0 || len(y) == 0 || w[0] == 0 {
		return 0
	}
	return 2 * int64(y.Elems()) * int64(w.Elems()/w[0])
}
