package pass

import (
	"slices"

	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// layout runs regions of convolutions, pools and what lies between them with the channels last. NCHW stays
// the meaning of the graph: every value of a region has a twin, and a Transpose leads back where a node
// outside reads it. Transposes that nobody reads are pruned.
func layout(g *graph.Graph) int {
	l := &last{b: graph.NewBuilder(g), twin: map[*graph.Value]*graph.Value{}}
	for _, n := range append([]*graph.Node{}, g.Nodes...) {
		l.node(n)
	}
	return l.fired
}

type last struct {
	b     *graph.Builder
	twin  map[*graph.Value]*graph.Value // by value of the graph: the same with channels last
	fired int

	convolutional bool // a convolution was met
}

// of returns v with its channels last.
func (l *last) of(v *graph.Value) *graph.Value {
	if t := l.twin[v]; t != nil {
		return t
	}
	t := l.b.OpA("Transpose", []graph.Attr{graph.Ints("perm", op.ToLast(len(v.Shape))...)}, v)
	l.shape(t, v)
	l.twin[v] = t
	return t
}

// shape gives t the dtype and the reordered shape of v.
func (l *last) shape(t, v *graph.Value) {
	t.DType = v.DType
	t.Shape = append(append([]graph.Dim{v.Shape[0]}, v.Shape[2:]...), v.Shape[1])
}

// became makes t the twin of v and lets readers of v that stay outside read a Transpose of it.
func (l *last) became(v, t *graph.Value) {
	l.shape(t, v)
	back := l.b.OpA("Transpose", []graph.Attr{graph.Ints("perm", op.ToFirst(len(v.Shape))...)}, t)
	back.DType, back.Shape = v.DType, v.Shape
	l.b.G.Replace(v, back)
	l.twin[back] = t
}

// spatialValue reports whether v is a float32 tensor [N, C, ...] of known shape with elements.
func spatialValue(v *graph.Value) bool {
	if v == nil || v.DType != tensor.Float32 || len(v.Shape) < 3 || len(v.Shape) > 5 {
		return false
	}
	s, ok := v.Static()
	return ok && s.Elems() > 0
}

func (l *last) node(n *graph.Node) {
	if n.Domain != "" && n.Domain != graph.Domain || len(n.Inputs) == 0 || n.Inputs[0] == nil || n.Out(0) == nil || n.Outputs[0].Const != nil {
		return
	}
	done := false
	if n.Domain == graph.Domain && n.Op != "Activation" {
		if f, ok := forms[n.Op]; ok && l.form(n, f) {
			l.fired++
		}
		return
	}
	switch n.Op {
	case "Conv", "ConvTranspose":
		done = l.conv(n)
	case "MaxPool", "AveragePool":
		done = l.pool(n)
	case "GlobalAveragePool":
		done = l.global(n)
	case "BatchNormalization":
		done = l.batchNorm(n)
	case "GroupNormalization", "InstanceNormalization":
		done = elems(n.Inputs[1]) == n.Inputs[0].Shape[1].Size && l.form(n, form{in: []int{0}, out: []int{0}})
	case "Concat", "Split":
		done = l.along(n)
	case "QuantizeLinear", "DequantizeLinear":
		done = elems(n.Inputs[1]) == 1 && l.pointwise(n)
	case "Resize":
		done = l.resize(n)
	case "ReduceMean":
		done = l.mean(n)
	case "ReduceSum":
		done = l.channelSum(n)
	case "Expand":
		done = l.expand(n)
	default:
		done = pointwise[n.Op] && l.pointwise(n)
	}
	if done {
		l.fired++
	}
}

func (l *last) conv(n *graph.Node) bool {
	x, w := n.Inputs[0], n.Inputs[1]
	if !spatialValue(x) || !spatialValue(n.Outputs[0]) || w.DType != tensor.Float32 {
		return false
	}
	attrs, ok := op.ConvGeometry(n)
	if !ok {
		return false
	}
	l.convolutional = true
	l.became(n.Outputs[0], l.b.Node(graph.Domain, "ConvNHWC", 1, []*graph.Value{l.of(x), w, n.In(2)}, attrs...)[0])
	return true
}

func (l *last) pool(n *graph.Node) bool {
	x := n.Inputs[0]
	if !spatialValue(x) || !spatialValue(n.Outputs[0]) || l.twin[x] == nil {
		return false
	}
	return l.form(n, form{in: []int{0}, out: []int{0, 1}})
}

// form says which inputs and outputs of an operator have a channels-last form.
type form struct{ in, out []int }

// forms are the private operators that have a twin named ...NHWC.
var forms = map[string]form{
	"BatchNormalizationTraining": {[]int{0}, []int{0}}, "BatchNormalizationGrad": {[]int{0, 1}, []int{0}},
	"ConvGradWeight": {[]int{0, 1}, nil}, "MaxPoolGrad": {[]int{0, 1, 2}, []int{0}},
}

// form puts the channels-last form of n in its place; at least one operand must be a twin.
func (l *last) form(n *graph.Node, f form) bool {
	in, known := append([]*graph.Value{}, n.Inputs...), false
	for _, i := range f.in {
		if _, ok := in[i].Static(); !ok || len(in[i].Shape) < 3 || len(in[i].Shape) > 5 {
			return false
		}
		known = known || l.twin[in[i]] != nil
	}
	if !known || !spatialValue(n.Inputs[0]) {
		return false
	}
	for _, i := range f.in {
		in[i] = l.of(in[i])
	}
	attrs := append(append([]graph.Attr{}, n.Attrs...), graph.Int("rank", int64(len(n.Inputs[0].Shape))))
	outs := append([]*graph.Value{}, l.b.Node(graph.Domain, n.Op+"NHWC", len(n.Outputs), in, attrs...)...)
	for i, v := range n.Outputs {
		switch {
		case v == nil:
			outs[i].Producer.Outputs[i] = nil
		case slices.Contains(f.out, i):
			l.became(v, outs[i])
		default:
			instead(l.b.G, v, outs[i])
		}
	}
	return true
}

// resize reorders the scales or sizes, which are constants.
func (l *last) resize(n *graph.Node) bool {
	x, y := n.Inputs[0], n.Outputs[0]
	if !spatialValue(x) || !spatialValue(y) || l.twin[x] == nil || n.Attr("axes") != nil || len(n.Inputs) < 3 ||
		n.Str("coordinate_transformation_mode", "") == "tf_crop_and_resize" {
		return false
	}
	in := []*graph.Value{l.of(x)}
	for i, v := range n.Inputs[1:] {
		switch {
		case v == nil || i == 0: // without cropping the region is not read
			in = append(in, nil)
		case v.Const == nil:
			return false
		case v.Const.Elems() == 0:
			in = append(in, nil)
		case v.Const.Elems() != len(x.Shape):
			return false
		default:
			in = append(in, l.b.Init("resize", reorder(v.Const)))
		}
	}
	l.became(y, l.b.Node("", "Resize", 1, in, n.Attrs...)[0])
	return true
}

// reorder moves the entry of the channels to the end of a vector of one entry per axis.
func reorder(t *tensor.Tensor) *tensor.Tensor {
	out, size := t.Clone(), t.DType.Bits()/8
	for i, p := range op.ToLast(t.Elems()) {
		copy(out.Data[i*size:(i+1)*size], t.Data[int(p)*size:])
	}
	return out
}

// channelSum is a ReduceSum over all axes but the channels: the gradient of a bias.
func (l *last) channelSum(n *graph.Node) bool {
	x, y := n.Inputs[0], n.Outputs[0]
	if !spatialValue(x) || l.twin[x] == nil || len(y.Shape) != 1 || n.In(1) == nil || n.In(1).Const == nil || n.In(1).Const.DType != tensor.Int64 {
		return false
	}
	var axes []int64
	for i := range x.Shape[1:] {
		axes = append(axes, int64(i))
	}
	kept := true // all but axis 1
	for _, a := range n.In(1).Const.Int64s() {
		kept = kept && a != 1 && a != 1-int64(len(x.Shape))
	}
	if !kept || n.In(1).Const.Elems() != len(axes) {
		return false
	}
	s := l.b.ReduceSum(l.of(x), 0, axes...)
	instead(l.b.G, y, s)
	return true
}

// expand repeats a tensor [N, C, 1, 1] or so along spatial axes: the gradient of a mean.
func (l *last) expand(n *graph.Node) bool {
	x, y := n.Inputs[0], n.Outputs[0]
	if !spatialValue(x) || !spatialValue(y) || len(x.Shape) != len(y.Shape) || l.twin[x] == nil && !l.convolutional {
		return false
	}
	s, _ := y.Static()
	var shape []int64
	for _, i := range op.ToLast(len(s)) {
		shape = append(shape, int64(s[i]))
	}
	l.became(y, l.b.Op("Expand", l.of(x), l.b.Ints(shape...)))
	return true
}

// global is an average over one window of the size of the input.
func (l *last) global(n *graph.Node) bool {
	x := n.Inputs[0]
	if !spatialValue(x) || l.twin[x] == nil {
		return false
	}
	l.became(n.Outputs[0], l.average(x))
	return true
}

// average is the mean of x, which has a twin, over all spatial axes, with the channels last.
func (l *last) average(x *graph.Value) *graph.Value {
	s, _ := x.Static()
	var kernel []int64
	for _, d := range s[2:] {
		kernel = append(kernel, int64(d))
	}
	return l.b.Node(graph.Domain, "AveragePoolNHWC", 1, []*graph.Value{l.of(x)}, graph.Ints("kernel_shape", kernel...), graph.Int("rank", int64(len(s))))[0]
}

// mean is a ReduceMean over all spatial axes.
func (l *last) mean(n *graph.Node) bool {
	x := n.Inputs[0]
	if !spatialValue(x) || l.twin[x] == nil {
		return false
	}
	axes := n.Ints("axes")
	if v := n.In(1); v != nil {
		if v.Const == nil || v.Const.DType != tensor.Int64 {
			return false
		}
		axes = v.Const.Int64s()
	}
	rank := len(x.Shape)
	if len(axes) != rank-2 {
		return false
	}
	for _, a := range axes {
		if a < 0 {
			a += int64(rank)
		}
		if a < 2 {
			return false
		}
	}
	y, t := n.Outputs[0], l.average(x)
	if len(y.Shape) == rank {
		l.became(y, t)
		return true
	}
	flat := l.b.Op("Reshape", t, l.b.Ints(int64(x.Shape[0].Size), int64(x.Shape[1].Size)))
	instead(l.b.G, y, flat)
	return true
}

// batchNorm is the inference form with constant parameters that no convolution took in: one product and one sum per channel.
func (l *last) batchNorm(n *graph.Node) bool {
	x := n.Inputs[0]
	if !spatialValue(x) || l.twin[x] == nil || n.Int("training_mode", 0) != 0 {
		return false
	}
	scale, shift, ok := affine(n)
	if !ok {
		return false
	}
	a, c := l.b.Init("bn_scale", tensor.OfFloat32(narrow(scale), len(scale))), l.b.Init("bn_shift", tensor.OfFloat32(narrow(shift), len(shift)))
	l.became(n.Outputs[0], l.b.Op("Add", l.b.Op("Mul", l.of(x), a), c))
	return true
}

// along is a Concat or Split whose axis moves with the channels.
func (l *last) along(n *graph.Node) bool {
	rank, known := len(n.Inputs[0].Shape), false
	count := len(n.Inputs)
	if n.Op == "Split" {
		count = 1
	}
	for _, v := range n.Inputs[:count] {
		if !spatialValue(v) || len(v.Shape) != rank {
			return false
		}
		known = known || l.twin[v] != nil
	}
	for _, v := range n.Outputs {
		if !spatialValue(v) {
			return false
		}
	}
	if !known {
		return false
	}
	in := append([]*graph.Value{}, n.Inputs...)
	for i := range in[:count] {
		in[i] = l.of(in[i])
	}
	attrs := append([]graph.Attr{}, n.Attrs...)
	at := n.Int("axis", 0)
	if at < 0 {
		at += int64(rank)
	}
	for i, p := range op.ToLast(rank) {
		if p == at {
			attrs = append(graph.Without(attrs, "axis"), graph.Int("axis", int64(i)))
			break
		}
	}
	outs := l.b.Node("", n.Op, len(n.Outputs), in, attrs...)
	for i, t := range append([]*graph.Value{}, outs...) {
		l.became(n.Outputs[i], t)
	}
	return true
}

// pointwise are operators that treat every element alike, whatever its place.
var pointwise = map[string]bool{"Abs": true, "Activation": true, "Add": true, "Cast": true, "Ceil": true, "Clip": true, "Div": true, "Elu": true, "Equal": true, "Erf": true,
	"Exp": true, "Floor": true, "Gelu": true, "Greater": true, "GreaterOrEqual": true, "HardSigmoid": true, "HardSwish": true, "LeakyRelu": true,
	"Less": true, "LessOrEqual": true, "Log": true, "Max": true, "Min": true, "Mish": true, "Mul": true, "Neg": true, "Not": true, "Pow": true, "PRelu": true,
	"Reciprocal": true, "Relu": true, "Round": true, "Selu": true, "Sigmoid": true, "Sign": true, "Softplus": true, "Softsign": true, "Sqrt": true,
	"Sub": true, "Sum": true, "Swish": true, "Tanh": true, "Where": true}

// pointwise moves a node whose operands are twins, or can be made so at little cost.
func (l *last) pointwise(n *graph.Node) bool {
	y := n.Outputs[0]
	rank := len(y.Shape)
	if s, ok := y.Static(); !ok || rank < 3 || rank > 5 || s.Elems() == 0 || len(n.Outputs) != 1 {
		return false
	}
	known := false
	for _, v := range n.Inputs {
		if v == nil {
			continue
		}
		s, ok := v.Static()
		if !ok {
			return false
		}
		known = known || l.twin[v] != nil && s.Elems()*2 >= elems(y)
	}
	if !known {
		return false
	}
	var in []*graph.Value
	for _, v := range n.Inputs {
		if v != nil {
			v = l.operand(v, rank)
		}
		in = append(in, v)
	}
	l.became(y, l.b.Node(n.Domain, n.Op, 1, in, n.Attrs...)[0])
	return true
}

func elems(v *graph.Value) int {
	s, _ := v.Static()
	return s.Elems()
}

// operand is v as it is broadcast to a channels-last tensor of this rank.
func (l *last) operand(v *graph.Value, rank int) *graph.Value {
	s, _ := v.Static()
	if s.Elems() == 1 && len(s) <= rank {
		return v
	}
	if len(s) == rank {
		return l.of(v)
	}
	shape := make([]int64, rank)
	dims := make([]graph.Dim, rank)
	for i := range shape {
		shape[i] = 1
		if k := i - rank + len(s); k >= 0 {
			shape[i] = int64(s[k])
		}
		dims[i] = graph.D(int(shape[i]))
	}
	r := l.b.Op("Reshape", v, l.b.Ints(shape...))
	r.DType, r.Shape = v.DType, dims
	return l.of(r)
}
