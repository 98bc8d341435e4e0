package op

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// convolveInts is convolve in integers with zero points subtracted, wz by output channel (one entry: for all).
// Padding reads the zero point of X, so it adds nothing.
func convolveInts(x, w []int64, xs, ws tensor.Shape, win window, groups int, xz int64, wz []int64) []int64 {
	in, out, taps := win.volumes()
	N, C, M, D := xs[0], xs[1], ws[0], ws[1]
	y := make([]int64, N*M*out)
	at := make([]int, taps)
	for o := 0; o < out; o++ {
		win.read(o, at)
		for n := 0; n < N; n++ {
			for m := 0; m < M; m++ {
				z, first, sum := wz[min(m, len(wz)-1)], m/(M/groups)*D, int64(0)
				for d := 0; d < D; d++ {
					xc, wc := x[(n*C+first+d)*in:][:in], w[(m*D+d)*taps:][:taps]
					for k, i := range at {
						if i >= 0 {
							sum += (xc[i] - xz) * (wc[k] - z)
						}
					}
				}
				y[(n*M+m)*out+o] = sum
			}
		}
	}
	return y
}

// oneOr checks that input i has one element, or (if channels is not nil) as many as the axis.
func (c *InferCall) oneOr(i int, channels []graph.Dim) error {
	v := c.in(i)
	if v == nil || v.Shape == nil {
		return nil
	}
	n, ok := known(v.Shape)
	if !ok || n == 1 {
		return nil
	}
	if len(channels) > 0 && len(v.Shape) == 1 && (!channels[0].Known() || channels[0].Size == n) {
		return nil
	}
	return c.Errorf("input %d is %v", i, v.Shape)
}

// intsOr are the elements of a tensor, or a single 0.
func intsOr(t *tensor.Tensor) []int64 {
	if t == nil {
		return []int64{0}
	}
	return ints(t)
}

// ConvInteger is the convolution of X - x_zero_point and W - w_zero_point in int32.
var opConvInteger = Op{
	Name: "ConvInteger", Since: 10, MinIn: 2, MaxIn: 4, MinOut: 1, MaxOut: 1, Attrs: convAttrs, NoGrad: "its output is an integer",
	Infer: func(c *InferCall) error {
		if err := firstErr(c.bytes8(0, 1, 2, 3), c.sameType(0, 2), c.sameType(1, 3), c.oneOr(2, nil), c.oneOr(3, c.In[1].Shape)); err != nil {
			return err
		}
		s, err := c.convDims(0, 1, -1)
		c.Set(0, tensor.Int32, s)
		return err
	},
	Ref: func(c *Call) error {
		win, g, err := convWindow(c.Node, c.In[0].Shape, c.In[1].Shape)
		if err == nil {
			setInts(c.Out[0], convolveInts(ints(c.In[0]), ints(c.In[1]), c.In[0].Shape, c.In[1].Shape, win, g, intsOr(c.in(2))[0], intsOr(c.in(3))))
		}
		return err
	},
	Prepare: convIntegerKernel,
	Flops:   convFlops,
}

// QLinearConv(x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, B) convolves quantized tensors and quantizes the
// result. w's parameters are scalars or by output channel; B is int32 in units of x_scale w_scale.
var opQLinearConv = Op{
	Name: "QLinearConv", Since: 10, MinIn: 8, MaxIn: 9, MinOut: 1, MaxOut: 1, Attrs: convAttrs, NoGrad: "its output is an integer",
	Infer: func(c *InferCall) error {
		w := c.In[3].Shape
		if err := firstErr(c.bytes8(0, 2, 3, 5, 7), c.wantType(1, tensor.Float32), c.wantType(4, tensor.Float32), c.wantType(6, tensor.Float32), c.wantType(8, tensor.Int32),
			c.sameType(0, 2), c.sameType(3, 5), c.oneOr(1, nil), c.oneOr(2, nil), c.oneOr(4, w), c.oneOr(5, w), c.oneOr(6, nil), c.oneOr(7, nil)); err != nil {
			return err
		}
		s, err := c.convDims(0, 3, 8)
		c.Set(0, c.In[7].DType, s)
		return err
	},
	Ref: func(c *Call) error {
		xs, ws := c.In[0].Shape, c.In[3].Shape
		win, g, err := convWindow(c.Node, xs, ws)
		if err != nil {
			return err
		}
		acc := convolveInts(ints(c.In[0]), ints(c.In[3]), xs, ws, win, g, ints(c.In[2])[0], ints(c.In[5]))
		bias, sw := intsOr(c.in(8)), floats(c.In[4])
		sx, sy, zero := floats(c.In[1])[0], floats(c.In[6])[0], floats(c.In[7])[0]
		lo, hi := quantRange(c.Out[0].DType)
		O := c.Out[0].Shape[2:].Elems()
		for i := range acc {
			m := i / O % ws[0]
			v := float64(acc[i] + bias[min(m, len(bias)-1)])
			q := math.RoundToEven(float64(float32(v * (sx * pick(sw, m) / sy))))
			acc[i] = int64(min(max(q+zero, lo), hi))
		}
		setInts(c.Out[0], acc)
		return nil
	},
	Prepare: qlinearConvKernel,
	Flops:   func(in, out []*graph.Value) int64 { return convFlops([]*graph.Value{in[0], in[3]}, out) },
}
