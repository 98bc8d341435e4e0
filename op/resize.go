package op

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// Resize interpolates along each axis on its own (resizeaxis.go). Sizes are input floor(scale), or given, or given
// up to the aspect ratio. Results of integer types are cut towards 0 and saturate.
//
// Before opset 11 coordinates are output / scale, and nearest is the pixel below, above if the axis shrinks (ONNX
// Runtime's reading of what that text leaves open). The output size is float32 arithmetic, as there.
func resizeOp(name string, since, minIn, maxIn int, attrs string) Op {
	return Op{
		Name: name, Since: since, MinIn: minIn, MaxIn: maxIn, MinOut: 1, MaxOut: 1, Attrs: attrs, Dynamic: true,
		Infer: resizeInfer,
		Ref: func(c *Call) error {
			r, err := newResizer(c.Node, c.In[0].Shape, c.In)
			if err != nil {
				return err
			}
			if n, ok := r.out.CheckedElems(); !ok || n > maxElems {
				return c.errorf("the output would have the shape %s", r.out)
			}
			out := c.resize(0, r.out...)
			if r.nearest() {
				m := r.maps()
				m.copyRef(out, c.In[0], r.fill(out.DType))
				return nil
			}
			r.interpolate(out, c.In[0])
			return nil
		},
		Grad:    resizeGrad,
		Prepare: resizeKernel,
	}
}

const resizeAttrs = "antialias axes coordinate_transformation_mode cubic_coeff_a exclude_outside extrapolation_value keep_aspect_ratio_policy mode nearest_mode"

var (
	opResize10  = resizeOp("Resize", 10, 2, 2, "mode")
	opResize11  = resizeOp("Resize", 11, 1, 4, resizeAttrs)
	opUpsample7 = resizeOp("Upsample", 7, 1, 1, "mode scales")
	opUpsample9 = resizeOp("Upsample", 9, 2, 2, "mode")
)

// resizeInputs are the places of roi, scales and sizes among the inputs; 9 is none. Two inputs are those of opset
// 10 and of Upsample, whose second is scales: later a third or fourth must be there.
func resizeInputs(n *graph.Node) (roi, scales, sizes int) {
	if n.Op == "Upsample" || len(n.Inputs) == 2 {
		return 9, 1, 9
	}
	return 1, 2, 3
}

func resizeInfer(c *InferCall) error {
	iRoi, iScales, iSizes := resizeInputs(c.Node)
	if err := firstErr(c.wantFloat(iRoi), c.wantFloat(iScales), c.wantType(iSizes, tensor.Int64)); err != nil {
		return err
	}
	x := c.In[0].Shape
	if x == nil {
		c.Set(0, c.In[0].DType, nil)
		return nil
	}
	out := unknown(len(x))
	c.Set(0, c.In[0].DType, out)
	at := tensor.Shape{}
	in := make([]*tensor.Tensor, len(c.In))
	for i := 1; i < len(in); i++ {
		if c.In[i] != nil && i != iRoi {
			if in[i] = c.Const(i); in[i] == nil {
				return nil
			}
		}
	}
	// An axis whose size is not known keeps its name where it is not resized.
	for _, d := range x {
		at = append(at, max(d.Size, 1))
	}
	r := resizer{node: c.Node, in: at}
	if err := r.sizes(in); err != nil {
		return err
	}
	for a := range x {
		switch {
		case !r.sized[a] || !x[a].Known() && r.sizesGiven == nil && r.scale[a] == 1:
			out[a] = x[a]
		case x[a].Known() || r.sizesGiven != nil && r.policy == "stretch":
			out[a] = graph.D(r.out[a])
		}
	}
	c.Set(0, c.In[0].DType, out)
	return r.check()
}

// resizer is one resize with everything resolved.
type resizer struct {
	node       *graph.Node
	in, out    tensor.Shape
	scale      []float64
	sized      []bool // axes that are resized
	sizesGiven []int64
	policy     string
	roi        [][2]float64 // start and end per axis; nil: none
	mode       string
	transform  string
	closest    string
	a          float64
	antialias  bool
	exclude    bool
}

func newResizer(n *graph.Node, shape tensor.Shape, in []*tensor.Tensor) (*resizer, error) {
	r := &resizer{node: n, in: shape}
	if err := firstErr(r.check(), r.sizes(in)); err != nil {
		return nil, err
	}
	return r, r.regions(in)
}

// check reads the attributes and refuses what is not understood.
func (r *resizer) check() error {
	n, c := r.node, &InferCall{Node: r.node}
	r.mode, r.a = n.Str("mode", "nearest"), float64(n.Float("cubic_coeff_a", -0.75))
	r.transform, r.closest = n.Str("coordinate_transformation_mode", "half_pixel"), n.Str("nearest_mode", "round_prefer_floor")
	r.antialias, r.exclude = n.Int("antialias", 0) != 0, n.Int("exclude_outside", 0) != 0
	if _, _, sizes := resizeInputs(n); sizes == 9 {
		r.transform, r.closest = "asymmetric", "simple"
	}
	switch r.mode {
	case "nearest", "linear", "cubic":
	case "bilinear":
		r.mode = "linear"
	default:
		return c.unsupported("mode %q is not supported", r.mode)
	}
	switch r.transform {
	case "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize", "tf_half_pixel_for_nn":
	default:
		return c.unsupported("coordinate_transformation_mode %q is not supported", r.transform)
	}
	switch r.closest {
	case "round_prefer_floor", "round_prefer_ceil", "floor", "ceil", "simple":
	default:
		return c.unsupported("nearest_mode %q is not supported", r.closest)
	}
	if r.antialias && r.mode == "nearest" {
		return c.unsupported("antialias is not defined for mode nearest")
	}
	return nil
}

// sizes sets the axes, their scales and the shape of the output.
func (r *resizer) sizes(in []*tensor.Tensor) error {
	n, c := r.node, &InferCall{Node: r.node}
	get := func(i int) *tensor.Tensor {
		if i < len(in) && in[i] != nil && in[i].Elems() > 0 {
			return in[i]
		}
		return nil
	}
	_, iScales, iSizes := resizeInputs(n)
	axes, err := cropAxes(n, len(r.in))
	if err != nil {
		return err
	}
	r.out, r.scale, r.sized = r.in.Clone(), make([]float64, len(r.in)), make([]bool, len(r.in))
	for a := range r.scale {
		r.scale[a] = 1
	}
	for _, a := range axes {
		r.sized[a] = true
	}
	scales, sizes := n.Attr("scales"), get(iSizes)
	switch {
	case sizes != nil && get(iScales) == nil:
		r.sizesGiven, r.policy = ints(sizes), n.Str("keep_aspect_ratio_policy", "stretch")
		return r.fromSizes(axes)
	case get(iScales) != nil && sizes == nil:
		return r.fromScales(axes, floats(get(iScales)))
	case scales != nil:
		v := make([]float64, len(scales.Floats))
		for i, s := range scales.Floats {
			v[i] = float64(s)
		}
		return r.fromScales(axes, v)
	}
	return c.Errorf("one of scales and sizes must be given")
}

func (r *resizer) fromScales(axes []int, s []float64) error {
	c := &InferCall{Node: r.node}
	if len(s) != len(axes) {
		return c.Errorf("%d scales for %d axes", len(s), len(axes))
	}
	for i, a := range axes {
		n := math.Floor(float64(float32(s[i]) * float32(r.in[a])))
		if !(s[i] > 0) || !(n < maxAxis) {
			return c.Errorf("a scale is %g", s[i])
		}
		r.scale[a], r.out[a] = s[i], int(n)
	}
	return nil
}

func (r *resizer) fromSizes(axes []int) error {
	c := &InferCall{Node: r.node}
	if len(r.sizesGiven) != len(axes) {
		return c.Errorf("%d sizes for %d axes", len(r.sizesGiven), len(axes))
	}
	lo, hi := math.Inf(1), 0.0
	for i, a := range axes {
		n := r.sizesGiven[i]
		if n < 0 || n > maxAxis || r.in[a] == 0 && n > 0 {
			return c.Errorf("a size is %d", n)
		}
		r.out[a] = int(n)
		if r.in[a] > 0 {
			r.scale[a] = float64(n) / float64(r.in[a])
		}
		lo, hi = min(lo, r.scale[a]), max(hi, r.scale[a])
	}
	switch r.policy {
	case "stretch":
		return nil
	case "not_larger":
		hi = lo
	case "not_smaller":
	default:
		return c.unsupported("keep_aspect_ratio_policy %q is not supported", r.policy)
	}
	for _, a := range axes {
		n := math.Floor(hi*float64(r.in[a]) + 0.5)
		if !(n <= maxAxis) {
			return c.Errorf("a size is %g", n)
		}
		r.scale[a], r.out[a] = hi, int(n)
	}
	return nil
}

// regions reads roi for tf_crop_and_resize.
func (r *resizer) regions(in []*tensor.Tensor) error {
	if r.transform != "tf_crop_and_resize" {
		return nil
	}
	c := &InferCall{Node: r.node}
	axes, _ := cropAxes(r.node, len(r.in))
	if len(in) < 2 || in[1] == nil || in[1].Elems() != 2*len(axes) {
		return c.Errorf("tf_crop_and_resize needs a roi of two values per axis")
	}
	v := floats(in[1])
	r.roi = make([][2]float64, len(r.in))
	for a := range r.roi {
		r.roi[a] = [2]float64{0, 1}
	}
	for i, a := range axes {
		r.roi[a] = [2]float64{v[i], v[len(axes)+i]}
	}
	return nil
}

func (r *resizer) nearest() bool { return r.mode == "nearest" }

// fill is the element of extrapolation_value.
func (r *resizer) fill(d tensor.DType) []byte {
	v := float64(r.node.Float("extrapolation_value", 0))
	t := tensor.New(d)
	storeFloats(t, []float64{v})
	return t.Data
}

// storeFloats stores v in any type: integers are cut towards 0 and saturate.
func storeFloats(t *tensor.Tensor, v []float64) {
	if t.DType.IsFloat() {
		setFloats(t, v)
		return
	}
	bits := t.DType.Bits()
	lo, hi := -math.Ldexp(1, bits-1), math.Ldexp(1, bits-1)-1
	switch t.DType {
	case tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64:
		lo, hi = 0, math.Ldexp(1, bits)-1
	}
	for i, x := range v {
		v[i] = min(max(x, lo), hi)
	}
	setInts(t, truncate(v))
}

// interpolate applies the axes one after the other in float64.
func (r *resizer) interpolate(out, in *tensor.Tensor) {
	v, shape := floats(in), r.in.Clone()
	for a := range r.in {
		if r.same(a) {
			continue
		}
		m := r.axis(a)
		shape[a] = r.out[a]
		P, Q := shape[:a].Elems(), shape[a+1:].Elems()
		y := make([]float64, shape.Elems())
		for p := 0; p < P; p++ {
			for i := 0; i < r.out[a]; i++ {
				d := y[(p*r.out[a]+i)*Q:][:Q]
				for t := i * m.taps; t < (i+1)*m.taps; t++ {
					for q, x := range v[(p*r.in[a]+m.index[t])*Q:][:Q] {
						d[q] += float64(m.weight[t] * x)
					}
				}
				if m.outside != nil && m.outside[i] {
					for q := range d {
						d[q] = float64(r.node.Float("extrapolation_value", 0))
					}
				}
			}
		}
		v = y
	}
	storeFloats(out, v)
}

// maps are the lists of nearest pixels.
func (r *resizer) maps() axisMap {
	m := newAxisMap(r.in)
	for a := range r.in {
		if r.same(a) {
			continue
		}
		x := r.axis(a)
		for i := range x.outside {
			if x.outside[i] {
				x.index[i] = -1
			}
		}
		m.set(a, x.index)
	}
	return m
}

// resizeGrad is the transpose of the interpolation, axis by axis: MixGrad with the lists of the forward pass.
func resizeGrad(c *GradCall) []*graph.Value {
	b, x := c.B, c.In[0]
	in := make([]*tensor.Tensor, len(c.In))
	shape := tensor.Shape{}
	for _, d := range x.Shape {
		shape = append(shape, max(d.Size, 1))
	}
	for i, v := range c.In[1:] {
		if v != nil && v.Const == nil {
			c.Fail("scales or sizes are not constant")
			return one(nil)
		}
		if v != nil {
			in[i+1] = v.Const
		}
	}
	r, err := newResizer(c.Node, shape, in)
	if err != nil {
		c.Fail("%v", err)
		return one(nil)
	}
	dy := c.DOut[0]
	for a := len(shape) - 1; a >= 0; a-- {
		if !r.sized[a] || !x.Shape[a].Known() && r.sizesGiven == nil && r.scale[a] == 1 || x.Shape[a].Known() && r.same(a) {
			continue
		}
		if !x.Shape[a].Known() {
			c.Fail("the size of a resized axis is not known")
			return one(nil)
		}
		dy = r.mixGrad(b, dy, x.DType, a)
	}
	return one(dy)
}

// mixGrad leads dy, of dtype d, back along axis a.
func (r *resizer) mixGrad(b *graph.Builder, dy *graph.Value, d tensor.DType, a int) *graph.Value {
	m, rank := r.axis(a), len(r.in)
	weight := tensor.New(d, r.out[a], m.taps)
	setFloats(weight, m.weight)
	index := make([]int64, len(m.index))
	for i, k := range m.index {
		index[i] = int64(k)
	}
	sizes := make([]*graph.Value, rank)
	for i := range sizes {
		sizes[i] = b.Op("Gather", b.Op("Shape", dy), b.Ints(int64(i)))
	}
	sizes[a] = b.Ints(int64(r.in[a]))
	return b.Node(graph.Domain, "MixGrad", 1, []*graph.Value{dy, b.Init("index", tensor.OfInt64(index, r.out[a], m.taps)),
		b.Init("weight", weight), concat(b, sizes...)}, graph.Int("axis", int64(a-rank)))[0]
}
