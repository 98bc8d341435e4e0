package op

import (
	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// Axes: N images, H and W (or any spatial axes) positions, C input and M output channels, last in memory.

// ConvNHWC(X, W, B, R) is activation(Conv(X, W, B) + R) for tensors whose channels come last: X [N, ..., C],
// R and Y [N, ..., M]; W is [M, C/group, ...] as in Conv. With transposed it is ConvTranspose (W [C, M/group, ...]).
// B and R may be absent. Pads are explicit.
var opConvNHWC = Op{
	Domain: graph.Domain, Name: "ConvNHWC", Since: 1, MinIn: 2, MaxIn: 4, MinOut: 1, MaxOut: 1,
	Attrs: "activation alpha beta dilations group output_padding pads strides transposed",
	Defaults: []graph.Attr{graph.Str("activation", ""), graph.Float("alpha", 0), graph.Float("beta", 0), graph.Ints("strides"), graph.Ints("dilations"),
		graph.Ints("pads"), graph.Int("group", 1), graph.Int("transposed", 0), graph.Ints("output_padding")},
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.sameTypes(), c.knownActivation()); err != nil {
			return err
		}
		f := &InferCall{Node: c.Node, In: []*graph.Value{channelsFirst(c.In[0]), c.In[1], c.in(2)}}
		dims := f.transposeDims
		if c.Node.Int("transposed", 0) == 0 {
			dims = func() ([]graph.Dim, error) { return f.convDims(0, 1, 2) }
		}
		s, err := dims()
		if err != nil || s == nil {
			c.Set(0, c.In[0].DType, nil)
			return err
		}
		s = append(append([]graph.Dim{s[0]}, s[2:]...), s[1])
		if r := c.in(3); r != nil && r.Shape != nil {
			if len(r.Shape) != len(s) {
				return c.Errorf("a residual of %v for %v", r.Shape, s)
			}
			for i, d := range r.Shape {
				if d.Known() && s[i].Known() && d.Size != s[i].Size {
					return c.Errorf("a residual of %v for %v", r.Shape, s)
				}
			}
		}
		c.Set(0, c.In[0].DType, s)
		return nil
	},
	Ref:     convNHWCRef,
	Body:    convNHWCBody,
	Prepare: convNHWCKernel,
	Flops: func(in, out []*graph.Value) int64 {
		w, _ := in[1].Static()
		x, _ := in[0].Static()
		y, _ := out[0].Static()
		if len(w) == 0 || len(y) == 0 || w[0] == 0 {
			return 0
		}
		if w[0] == x[len(x)-1] && w[0] != y[len(y)-1] {
			y = x // transposed
		}
		return 2 * int64(y.Elems()) * int64(w.Elems()/w[0])
	},
}

// channelsFirst is v with its shape in the order of the standard; nil stays nil.
func channelsFirst(v *graph.Value) *graph.Value {
	w := &graph.Value{DType: v.DType}
	if n := len(v.Shape); n > 1 {
		w.Shape = append([]graph.Dim{v.Shape[0], v.Shape[n-1]}, v.Shape[1:n-1]...)
	}
	return w
}

// shapeFirst is a channels-last shape in the order of the standard.
func shapeFirst(s tensor.Shape) tensor.Shape {
	n := len(s)
	return append(tensor.Shape{s[0], s[n-1]}, s[1:n-1]...)
}

// swapped3 reorders elements from [N, O, C] to [N, C, O].
func swapped3(x []float64, O, C int) []float64 {
	y := make([]float64, len(x))
	for i := range x {
		n, o, c := i/C/O, i/C%O, i%C
		y[(n*C+c)*O+o] = x[i]
	}
	return y
}

// convGeometry is the window of a ConvNHWC or a Conv of these shapes in the order of the standard.
func convGeometry(n *graph.Node, x, w tensor.Shape, back bool) (window, error) {
	if back {
		return transposeWindow(n, spatial(x), spatial(w))
	}
	win, _, err := convWindow(n, x, w)
	return win, err
}

func convNHWCRef(c *Call) error {
	xs, ws, back := shapeFirst(c.In[0].Shape), c.In[1].Shape, c.Node.Int("transposed", 0) != 0
	win, err := convGeometry(c.Node, xs, ws, back)
	if err != nil {
		return err
	}
	x, group := swapped3(floats(c.In[0]), xs[2:].Elems(), xs[1]), int(c.Node.Int("group", 1))
	var y []float64
	if back {
		y = spreadOut(x, floats(c.In[1]), xs, ws, win, group)
	} else {
		y = convolve(x, floats(c.In[1]), xs, ws, win, group)
	}
	ys := shapeFirst(c.Out[0].Shape)
	if t := c.in(2); t != nil {
		addChannels(y, floats(t), ys[2:].Elems())
	}
	y = swapped3(y, ys[1], ys[2:].Elems())
	var r []float64
	if t := c.in(3); t != nil {
		r = floats(t)
	}
	p := post(c.Node)
	for i := range y {
		if r != nil {
			y[i] += r[i]
		}
		y[i] = activation(p.Act, y[i], float64(p.Lo), float64(p.Hi))
	}
	setFloats(c.Out[0], y)
	return nil
}

// ToFirst is the permutation that brings channels that are last to axis 1.
func ToFirst(rank int) []int64 {
	p := []int64{0, int64(rank - 1)}
	for i := 1; i < rank-1; i++ {
		p = append(p, int64(i))
	}
	return p
}

// ToLast is the permutation that brings axis 1, the channels, to the end.
func ToLast(rank int) []int64 {
	p := []int64{0}
	for i := 2; i < rank; i++ {
		p = append(p, int64(i))
	}
	return append(p, 1)
}

func convNHWCBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	rank := 2 + len(n.Ints("strides"))
	op, attrs := "Conv", []graph.Attr{graph.Int("group", n.Int("group", 1))}
	if n.Int("transposed", 0) != 0 {
		op = "ConvTranspose"
	}
	for _, name := range []string{"strides", "dilations", "pads", "output_padding"} {
		if v := n.Ints(name); len(v) > 0 {
			attrs = append(attrs, graph.Ints(name, v...))
		}
	}
	args := []*graph.Value{transpose(b, in[0], ToFirst(rank)...), in[1], nil}
	if len(in) > 2 {
		args[2] = in[2]
	}
	y := transpose(b, b.OpA(op, attrs, args...), ToLast(rank)...)
	if len(in) > 3 && in[3] != nil {
		y = b.Op("Add", y, in[3])
	}
	y.DType = in[0].DType
	return one(activationBody(b, n, y))
}

// lifted is a window as the kernels take it, with three axes.
func (w window) lifted(N, C, M int, back bool) kernel.Window {
	k := kernel.Window{N: N, C: C, M: M, Back: back}
	for i := range k.Axes {
		k.Axes[i] = kernel.ConvAxis{In: 1, Out: 1, Taps: 1, Stride: 1, Dilation: 1}
	}
	for i, s := range w {
		in, out := s.in, s.out
		if back {
			in, out = out, in
		}
		k.Axes[3-len(w)+i] = kernel.ConvAxis{In: in, Out: out, Taps: s.taps, Stride: s.stride, Dilation: s.dilation, Pad: s.lo}
	}
	return k
}

// convRunner is a prepared f32 convolution of channels-last data.
type convRunner struct {
	gemm   *kernel.Gemm // 1x1 with stride 1: the rows of X are the rows of the product
	conv   *kernel.Conv
	planes *kernel.Planes
	wino   *kernel.Winograd
	packed []float32 // weights that are known now; nil: packed by every run
	size   int       // of packed weights, in elements
	own    int       // scratch of the product in bytes
}

// newConvRunner chooses the kernel; shapes are in the order of the standard. w is nil if the weights are not known yet.
func newConvRunner(win window, xs, ws tensor.Shape, M, group int, back bool, p kernel.Post, w []float32) *convRunner {
	k := win.lifted(xs[0], xs[1], M, back)
	r := &convRunner{}
	switch {
	case group == xs[1] && group == M && group > 1:
		r.planes = &kernel.Planes{Window: k, Kind: kernel.Depthwise, Post: p}
		r.planes.Plan()
		r.size = r.planes.PackedSize()
		if w != nil {
			r.packed = make([]float32, r.size)
			r.planes.Pack(r.packed, w)
		}
	case group == 1 && win.pointwise():
		rows := xs[0] * xs[2:].Elems()
		r.gemm = &kernel.Gemm{M: rows, N: M, K: xs[1], LDA: xs[1], LDB: xs[1], TransB: !back, LDC: M, Post: p}
		r.gemm.Post.LDR = M
		if back {
			r.gemm.LDB = M
		}
		if w != nil {
			r.gemm.Packed = kernel.PackB(w, r.gemm.LDB, r.gemm.TransB, M, xs[1])
		}
		r.own = r.gemm.ScratchBytes()
	case group == 1 && win.threeByThree() && xs[1] >= 32 && M >= 32 && kernel.WinogradFits(xs[1]) && (w != nil || k.Positions() >= winogradRows):
		h, x := k.Axes[1], k.Axes[2]
		r.wino = &kernel.Winograd{N: xs[0], C: xs[1], M: M, H: h.In, W: x.In, OutH: h.Out, OutW: x.Out, PadH: h.Pad, PadW: x.Pad, Back: back, Post: p}
		if back {
			r.wino.PadH, r.wino.PadW = 2-h.Pad, 2-x.Pad
		}
		r.wino.Plan()
		r.size = r.wino.PackedSize()
		if w != nil {
			r.packed = make([]float32, r.size)
			r.wino.Pack(r.packed, w)
		}
	default:
		r.conv = &kernel.Conv{Window: k, Groups: group, Post: p}
		r.conv.Plan()
		r.size = r.conv.PackedSize()
		if w != nil {
			r.packed = make([]float32, r.size)
			r.conv.Pack(r.packed, w)
		}
	}
	return r
}

// pointwise reports whether every output reads the input at its own place.
func (w window) pointwise() bool {
	for _, s := range w {
		if s.taps != 1 || s.stride != 1 || s.lo != 0 || s.hi != 0 || s.in != s.out {
			return false
		}
	}
	return true
}

// winogradRows is the number of outputs from which on it pays to transform weights that change with every run.
const winogradRows = 1500

// threeByThree reports whether the window is what Winograd's algorithm is for.
func (w window) threeByThree() bool {
	for _, s := range w {
		if s.taps != 3 || s.stride != 1 || s.dilation != 1 || s.lo > 2 {
			return false
		}
	}
	return len(w) == 2
}

// scratch is the bytes that run needs.
func (r *convRunner) scratch() int {
	if r.packed != nil {
		return r.own
	}
	return r.own + 4*r.size
}

// run computes y; bias and residual may be nil.
func (r *convRunner) run(x, w, bias, residual, y []float32, scratch []byte) {
	packed := r.packed
	if packed == nil && r.size > 0 {
		packed = floatsIn(scratch)[:r.size]
	}
	switch {
	case r.planes != nil:
		if r.packed == nil {
			r.planes.Pack(packed, w)
		}
		v := r.planes
		v.X, v.Y, v.W, v.Bias, v.Post.Residual = x, y, packed, bias, residual
		v.Run()
	case r.gemm != nil:
		v := r.gemm
		v.A, v.B, v.C, v.Bias, v.Post.Residual = x, w, y, bias, residual
		v.Run(scratch)
	case r.wino != nil:
		v := r.wino
		if r.packed == nil {
			v.Pack(packed, w)
		}
		v.U = packed
		v.X, v.Y, v.Bias, v.Post.Residual = x, y, bias, residual
		v.Run()
	default:
		if r.packed == nil {
			r.conv.Pack(packed, w)
		}
		v := r.conv
		v.X, v.Y, v.W, v.Bias, v.Post.Residual = x, y, packed, bias, residual
		v.Run()
	}
}

// dataOf are the elements of a constant input, nil if they are not known.
func dataOf(t *tensor.Tensor) []float32 {
	if t == nil || t.Data == nil || t.DType != tensor.Float32 {
		return nil
	}
	return t.Float32s()
}

// floatsOf are the elements of an optional input of a run.
func floatsOf(in []*tensor.Tensor, i int) []float32 {
	if i < len(in) && in[i] != nil {
		return in[i].Float32s()
	}
	return nil
}

func convNHWCKernel(p *Prep) (Kernel, bool) {
	xs, ws, back := shapeFirst(p.In[0].Shape), p.In[1].Shape, p.Node.Int("transposed", 0) != 0
	if p.In[0].DType != tensor.Float32 || len(xs) > 5 || p.Out[0].Elems() == 0 || p.In[1].Elems() == 0 {
		return Kernel{}, false
	}
	win, err := convGeometry(p.Node, xs, ws, back)
	if err != nil {
		return Kernel{}, false
	}
	ys := p.Out[0].Shape
	r := newConvRunner(win, xs, ws, ys[len(ys)-1], int(p.Node.Int("group", 1)), back, post(p.Node), dataOf(p.In[1]))
	return Kernel{Scratch: r.scratch(), Run: func(in, out []*tensor.Tensor, scratch []byte) {
		r.run(in[0].Float32s(), in[1].Float32s(), floatsOf(in, 2), floatsOf(in, 3), out[0].Float32s(), scratch)
	}}, true
}

// convKernel runs Conv and ConvTranspose on channels-last copies of X and Y.
func convKernel(p *Prep, back bool) (Kernel, bool) {
	xs, ws, ys := p.In[0].Shape, p.In[1].Shape, p.Out[0].Shape
	if p.In[0].DType != tensor.Float32 || len(xs) > 5 || p.Out[0].Elems() == 0 || p.In[1].Elems() == 0 || p.In[0].Elems() == 0 {
		return Kernel{}, false
	}
	win, err := convGeometry(p.Node, xs, ws, back)
	if err != nil {
		return Kernel{}, false
	}
	r := newConvRunner(win, xs, ws, ys[1], int(p.Node.Int("group", 1)), back, kernel.Post{}, dataOf(p.In[1]))
	nx, ny := p.In[0].Elems(), p.Out[0].Elems()
	there := swapper(xs[0], xs[1], xs[2:].Elems())
	home := swapper(ys[0], ys[2:].Elems(), ys[1])
	return Kernel{Scratch: 4*(nx+ny+32) + r.scratch(), Run: func(in, out []*tensor.Tensor, scratch []byte) {
		all := floatsIn(scratch)
		x, y, rest := all[:nx], all[(nx+15)&^15:][:ny], scratch[4*((nx+15)&^15+(ny+15)&^15):]
		there(x, in[0].Float32s())
		r.run(x, in[1].Float32s(), floatsOf(in, 2), nil, y, rest)
		home(out[0].Float32s(), y)
	}}, true
}

// swapper returns a transpose of batch matrices [rows, cols] on the team.
func swapper(batch, rows, cols int) func(dst, src []float32) {
	t := &kernel.Transposer{Batch: batch, Rows: rows, Cols: cols}
	return t.Run
}
