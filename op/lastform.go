package op

import (
	"slices"

	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// lastForm is an operator of the standard (or a private one) on tensors whose channels come last. Its meaning is
// that of the operator on transposed tensors; attributes and the values of indices are unchanged.
type lastForm struct {
	name     string
	base     *Op
	inputs   []int // which inputs have channels last
	outputs  []int // which outputs
	defaults []graph.Attr
	prepare  func(p *Prep) (Kernel, bool)
	inner    func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value // the body between the transposes; nil: the base operator
	flops    func(in, out []*graph.Value) int64
}

func (f lastForm) op() Op {
	return Op{
		Domain: graph.Domain, Name: f.name, Since: 1, MinIn: f.base.MinIn, MaxIn: f.base.MaxIn, MinOut: f.base.MinOut, MaxOut: f.base.MaxOut,
		Attrs: f.base.Attrs + " rank", Defaults: append([]graph.Attr{graph.Int("rank", 4)}, f.defaults...),
		NoGrad: f.base.NoGrad, Infer: f.infer, Ref: f.ref, Body: f.body, Prepare: f.prepare, Flops: f.flops,
	}
}

func (f lastForm) infer(c *InferCall) error {
	b := &InferCall{Node: c.Node}
	for i, v := range c.In {
		if v != nil && slices.Contains(f.inputs, i) {
			if v.Shape != nil && len(v.Shape) != int(c.Node.Int("rank", 4)) {
				return c.Errorf("input %d is %v, want rank %d", i, v.Shape, c.Node.Int("rank", 4))
			}
			v = channelsFirst(v)
		}
		b.In = append(b.In, v)
	}
	for _, v := range c.Out {
		if v != nil {
			v = &graph.Value{}
		}
		b.Out = append(b.Out, v)
	}
	if err := f.base.Infer(b); err != nil {
		return err
	}
	for i, v := range b.Out {
		if v == nil {
			continue
		}
		if s := v.Shape; len(s) > 1 && slices.Contains(f.outputs, i) {
			v.Shape = append(append([]graph.Dim{s[0]}, s[2:]...), s[1])
		}
		c.Set(i, v.DType, v.Shape)
	}
	return nil
}

// reordered is t with its channels moved: to the front or to the end.
func reordered(t *tensor.Tensor, front bool) *tensor.Tensor {
	s := t.Shape
	perm, st := ToFirst(len(s)), s.Strides()
	if !front {
		perm = ToLast(len(s))
	}
	shape, strides := make(tensor.Shape, len(s)), make([]int, len(s))
	for i, p := range perm {
		shape[i], strides[i] = s[p], st[p]
	}
	out := tensor.New(t.DType, shape...)
	copyElems(out, t, offsets(shape, strides, 0))
	return out
}

func (f lastForm) ref(c *Call) error {
	b := &Call{Node: c.Node, Step: c.Step}
	for i, t := range c.In {
		if t != nil && slices.Contains(f.inputs, i) {
			t = reordered(t, true)
		}
		b.In = append(b.In, t)
	}
	for i, t := range c.Out {
		if t != nil && slices.Contains(f.outputs, i) {
			t = tensor.New(t.DType, shapeFirst(t.Shape)...)
		}
		b.Out = append(b.Out, t)
	}
	if err := f.base.Ref(b); err != nil {
		return err
	}
	for i, t := range c.Out {
		if t != nil && slices.Contains(f.outputs, i) {
			copy(t.Data, reordered(b.Out[i], false).Data)
		}
	}
	return nil
}

func (f lastForm) body(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	rank := int(n.Int("rank", 4))
	args := append([]*graph.Value{}, in...)
	for _, i := range f.inputs {
		if i < len(args) && args[i] != nil {
			args[i] = transpose(b, args[i], ToFirst(rank)...)
		}
	}
	var attrs []graph.Attr
	for _, a := range n.Attrs {
		if a.Name != "rank" && !(a.Kind == graph.AttrInts && len(a.Ints) == 0) && !(a.Name == "auto_pad" && len(a.S) == 0) {
			attrs = append(attrs, a)
		}
	}
	count := max(len(n.Outputs), f.base.MinOut)
	if len(n.Outputs) == 0 {
		count = f.base.MaxOut // the exported function
	}
	if f.inner != nil {
		args[0].DType, args[0].Shape = in[0].DType, unknown(rank)
		y := f.inner(b, n, args)[0]
		return one(transpose(b, y, ToLast(rank)...))
	}
	out := append([]*graph.Value{}, b.Node(f.base.Domain, f.base.Name, count, args, attrs...)...)
	for _, i := range f.outputs {
		if i < len(out) {
			out[i] = transpose(b, out[i], ToLast(rank)...)
		}
	}
	return out
}

// poolDefaults are the attributes of pools.
func poolDefaults(more ...graph.Attr) []graph.Attr {
	return append([]graph.Attr{graph.Str("auto_pad", ""), graph.Ints("kernel_shape"), graph.Ints("strides"), graph.Ints("dilations"), graph.Ints("pads"), graph.Int("ceil_mode", 0)}, more...)
}

// MaxPoolNHWC and AveragePoolNHWC are the pools for channels-last tensors.
var (
	opMaxPoolNHWC = lastForm{name: "MaxPoolNHWC", base: &opMaxPool, inputs: []int{0}, outputs: []int{0, 1},
		defaults: poolDefaults(graph.Int("storage_order", 0)),
		prepare:  func(p *Prep) (Kernel, bool) { return pooling(p, true) }}.op()
	opAveragePoolNHWC = lastForm{name: "AveragePoolNHWC", base: &opAveragePool, inputs: []int{0}, outputs: []int{0},
		defaults: poolDefaults(graph.Int("count_include_pad", 0)),
		prepare:  func(p *Prep) (Kernel, bool) { return planesKernel(p, kernel.MeanPool) }}.op()
)

// newPlanes prepares a pool for X [N, C, ...] in the order of the standard.
func newPlanes(n *graph.Node, xs tensor.Shape, kind kernel.PlaneKind) (*kernel.Planes, bool) {
	win, err := poolWindow(n, xs)
	if err != nil || len(win) > 3 {
		return nil, false
	}
	v := &kernel.Planes{Window: win.lifted(xs[0], xs[1], xs[1], false), Kind: kind}
	if n.Int("count_include_pad", 0) != 0 && kind == kernel.MeanPool {
		full := make(window, 3-len(win), 3)
		for i := range full {
			full[i] = slide{taps: 1, stride: 1, dilation: 1, in: 1, out: 1}
		}
		full = append(full, win...)
		v.Count = func(d, h, w int) int { return full.padded((d*full[1].out+h)*full[2].out + w) }
	}
	v.Plan()
	return v, true
}

// planesKernel runs a pool on channels-last data.
func planesKernel(p *Prep, kind kernel.PlaneKind) (Kernel, bool) {
	if p.In[0].DType != tensor.Float32 || p.out(1) != nil || p.Out[0].Elems() == 0 {
		return Kernel{}, false
	}
	v, ok := newPlanes(p.Node, shapeFirst(p.In[0].Shape), kind)
	if !ok {
		return Kernel{}, false
	}
	return Kernel{Run: func(in, out []*tensor.Tensor, _ []byte) {
		v.X, v.Y = in[0].Float32s(), out[0].Float32s()
		v.Run()
	}}, true
}

// poolKernel runs a pool on channels-last copies.
func poolKernel(p *Prep, kind kernel.PlaneKind) (Kernel, bool) {
	xs, ys := p.In[0].Shape, p.Out[0].Shape
	if p.In[0].DType != tensor.Float32 || p.out(1) != nil || p.Out[0].Elems() == 0 {
		return Kernel{}, false
	}
	v, ok := newPlanes(p.Node, xs, kind)
	if !ok {
		return Kernel{}, false
	}
	nx, ny := p.In[0].Elems(), p.Out[0].Elems()
	there, home := swapper(xs[0], xs[1], xs[2:].Elems()), swapper(ys[0], ys[2:].Elems(), ys[1])
	return Kernel{Scratch: 4 * (nx + ny + 32), Run: func(in, out []*tensor.Tensor, scratch []byte) {
		all := floatsIn(scratch)
		v.X, v.Y = all[:nx], all[(nx+15)&^15:][:ny]
		there(v.X, in[0].Float32s())
		v.Run()
		home(out[0].Float32s(), v.Y)
	}}, true
}

// ConvGeometry returns the attributes group, strides, dilations and pads (and output_padding) of a Conv or
// ConvTranspose node with known shapes, with auto_pad resolved; false if it has none.
func ConvGeometry(n *graph.Node) ([]graph.Attr, bool) {
	x, ok1 := n.Inputs[0].Static()
	w, ok2 := n.Inputs[1].Static()
	if !ok1 || !ok2 {
		return nil, false
	}
	back := n.Op == "ConvTranspose"
	win, err := convGeometry(n, x, w, back)
	if err != nil {
		return nil, false
	}
	rest := make([]int64, len(win))
	for i := range win {
		if s := &win[i]; back {
			over := (s.out-1)*s.stride + s.reach() - s.lo - s.in
			s.hi, rest[i] = max(over, 0), int64(max(-over, 0))
		}
	}
	attrs := append(win.attrs()[1:], graph.Int("group", n.Int("group", 1)))
	if back {
		attrs = append(attrs, graph.Ints("output_padding", rest...), graph.Int("transposed", 1))
	}
	return attrs, true
}
