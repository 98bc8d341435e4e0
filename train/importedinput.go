package train

import (
	"math"
	"regexp"
	"slices"
	"strconv"

	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// What the inputs of an imported model read: the rows of the set, or constants.
//
// Axis letters: B rows, C H W of an image.

// feed replaces every input of the model: one by the rows, the others by constants.
func (w *wiring) feed() error {
	g := w.net.G
	if len(g.Inputs) == 0 {
		return fault.New(fault.Mismatch, w.spec.From, "the model has no input")
	}
	inputs := g.Inputs
	g.Inputs = nil
	at := 0
	if w.spec.Input != "" {
		for at = 0; at < len(inputs) && inputs[at].Name != w.spec.Input; at++ {
		}
		if at == len(inputs) {
			return fault.New(fault.NotFound, "model.input", "the model has no input %q", w.spec.Input)
		}
	}
	w.decl = inputs[at]
	x, err := w.fromRows(w.decl)
	if err != nil {
		return err
	}
	w.rows = x
	g.Replace(w.decl, x)
	for i, v := range inputs {
		if i == at {
			continue
		}
		c, err := w.constant(v)
		if err != nil {
			return err
		}
		g.Replace(v, c)
	}
	for name := range w.spec.Feed {
		if !named(inputs, name) {
			return fault.New(fault.NotFound, "model.feed", "the model has no input %q", name)
		}
	}
	return nil
}

func named(vs []*graph.Value, name string) bool {
	for _, v := range vs {
		if v.Name == name {
			return true
		}
	}
	return false
}

// fromRows appends the graph's new input and brings it into the form of the model's input v.
func (w *wiring) fromRows(v *graph.Value) (*graph.Value, error) {
	b := w.net.Builder
	if len(v.Shape) > 0 && v.Shape[0].Known() && w.batch >= 0 && v.Shape[0].Size != w.batch {
		return nil, fault.New(fault.Mismatch, "input "+v.Name, "the model takes batches of %d, the specification says %d", v.Shape[0].Size, w.batch).
			WithHint("export the model with an open first axis, or set batch")
	}
	shape := []graph.Dim{{Size: w.batch}}
	if w.batch < 0 {
		shape[0] = graph.Sym("B")
	}
	for _, d := range w.set.X(nil).Shape[1:] {
		shape = append(shape, graph.D(d))
	}
	if img := w.set.Image(); img != nil {
		return w.pixels(b.Input("image", tensor.Float32, shape...), v)
	}
	x := b.Input("features", tensor.Float32, shape...)
	if len(v.Shape) == 0 {
		return nil, fault.New(fault.Mismatch, "input "+v.Name, "the model does not say which shape it takes")
	}
	if len(v.Shape) != 2 {
		to := []int64{int64(w.batch)}
		open := 0
		for _, d := range v.Shape[1:] {
			n := int64(d.Size)
			if !d.Known() {
				n, open = -1, open+1
			}
			to = append(to, n)
		}
		if w.batch < 0 {
			to[0] = 0
		}
		if open > 1 {
			return nil, fault.New(fault.Mismatch, "input "+v.Name, "%v leaves more than one axis open for %d features", v.Shape, shape[1].Size)
		}
		x = b.Op("Reshape", x, b.Ints(to...))
	}
	if v.DType != tensor.Float32 {
		x = b.OpA("Cast", []graph.Attr{graph.Int("to", int64(v.DType))}, x)
	}
	return x, nil
}

// pixels brings an image to what v declares, [B, C, H, W]: resized, grey channels repeated, standardised.
func (w *wiring) pixels(x, v *graph.Value) (*graph.Value, error) {
	b := w.net.Builder
	if v.DType != tensor.Float32 || len(v.Shape) != 4 {
		return nil, fault.New(fault.Mismatch, "input "+v.Name, "it takes %s %v, not images [B, C, H, W] of float32", v.DType, v.Shape)
	}
	C, want := x.Shape[1].Size, v.Shape[1].Size
	if w.spec.Mean == nil && w.spec.Std == nil && x.Shape[1].Same(v.Shape[1]) && x.Shape[2].Same(v.Shape[2]) && x.Shape[3].Same(v.Shape[3]) {
		return x, nil
	}
	lo, hi := w.set.Image().Range()
	if !(hi > lo) {
		return nil, fault.New(fault.Mismatch, "data "+w.set.Name, "the pixel range [%g, %g] is empty", lo, hi)
	}
	if H, W := v.Shape[2], v.Shape[3]; H.Known() && W.Known() && (H.Size != x.Shape[2].Size || W.Size != x.Shape[3].Size) {
		if b.Version() < 13 {
			return nil, fault.New(fault.Unsupported, "input "+v.Name, "images of %vx%v are resized to %vx%v only in models of opset 13 and later", x.Shape[2], x.Shape[3], H, W)
		}
		fh, fw := float32(H.Size)/float32(x.Shape[2].Size), float32(W.Size)/float32(x.Shape[3].Size)
		x = b.OpA("Resize", []graph.Attr{graph.Str("mode", "linear")}, x, nil, b.Init("scales", tensor.OfFloat32([]float32{1, 1, fh, fw}, 4)))
	}
	switch {
	case !v.Shape[1].Known() || want == C:
		want = C
	case C == 1:
		in := make([]*graph.Value, want)
		for i := range in {
			in[i] = x
		}
		x = b.OpA("Concat", []graph.Attr{graph.Int("axis", 1)}, in...)
	default:
		return nil, fault.New(fault.Mismatch, "input "+v.Name, "it takes %d channels, the images have %d", want, C)
	}
	return w.standardised(x, want, lo, hi)
}

// standardised maps pixels in [lo, hi] to [0, 1], takes the mean off and divides by the deviation of each channel.
func (w *wiring) standardised(x *graph.Value, C int, lo, hi float64) (*graph.Value, error) {
	mean, std := w.spec.Mean, w.spec.Std
	if mean == nil && std == nil && C == 3 {
		mean, std = []float64{0.485, 0.456, 0.406}, []float64{0.229, 0.224, 0.225}
	}
	if mean == nil {
		mean = make([]float64, C)
	}
	if std == nil {
		std = slices.Repeat([]float64{1}, C)
	}
	if len(mean) != C || len(std) != C {
		return nil, fault.New(fault.Mismatch, "model.mean, std", "%d and %d numbers for %d channels", len(mean), len(std), C)
	}
	scale, shift := tensor.New(tensor.Float32, C, 1, 1), tensor.New(tensor.Float32, C, 1, 1)
	for i := range mean {
		s := 1 / ((hi - lo) * std[i])
		if math.IsInf(s, 0) || math.IsNaN(s) {
			return nil, fault.New(fault.Mismatch, "model.std", "channel %d has the deviation %g", i, std[i])
		}
		scale.Float32s()[i], shift.Float32s()[i] = float32(s), float32(-lo*s-mean[i]/std[i])
	}
	b := w.net.Builder
	return b.Op("Add", b.Op("Mul", x, b.Init("pixel_scale", scale)), b.Init("pixel_shift", shift)), nil
}

// constant is the value of an input that the rows do not go to: Feed's, else 1 for a mask and 0.
func (w *wiring) constant(v *graph.Value) (*graph.Value, error) {
	b := w.net.Builder
	f, ok := w.spec.Feed[v.Name]
	if !ok && maskName.MatchString(v.Name) {
		f.Value = 1
	}
	one, ok := op.Scalar(v.DType, f.Value)
	if !ok || !v.DType.IsFloat() && f.Value != math.Trunc(f.Value) {
		return nil, fault.New(fault.Mismatch, "input "+v.Name, "%g is no %s", f.Value, v.DType)
	}
	sizes, free, err := w.sizes(v, f.Shape)
	if err != nil {
		return nil, err
	}
	c := b.Init(v.Name+"_value", one)
	if len(sizes) == 0 {
		return c, nil
	}
	if !free {
		return b.Op("Expand", c, b.Ints(sizes...)), nil
	}
	rows := b.Op("Gather", b.Op("Shape", w.rows), b.Ints(0))
	parts := make([]*graph.Value, len(sizes))
	for i, n := range sizes {
		if parts[i] = rows; n >= 0 {
			parts[i] = b.Ints(n)
		}
	}
	return b.Op("Expand", c, b.OpA("Concat", []graph.Attr{graph.Int("axis", 0)}, parts...)), nil
}

var maskName = regexp.MustCompile(`(?i)mask`)

// sizes are the axes of a constant input; -1 is the number of rows (free).
func (w *wiring) sizes(v *graph.Value, given []string) (sizes []int64, free bool, err error) {
	place := "model.feed." + v.Name
	add := func(n int64) {
		if n < 0 && w.batch >= 0 {
			n = int64(w.batch)
		}
		sizes, free = append(sizes, n), free || n < 0
	}
	for _, s := range given {
		n, err := strconv.ParseInt(s, 10, 40)
		switch {
		case s == "B":
			add(-1)
		case err == nil && n >= 0:
			add(n)
		default:
			return nil, false, fault.New(fault.Malformed, place, "%q is neither a size nor B", s)
		}
	}
	if given != nil {
		return sizes, free, nil
	}
	if v.Shape == nil {
		return nil, false, fault.New(fault.Mismatch, place, "the model does not say which shape the input has").WithHint("give feed.%s.shape", v.Name)
	}
	for i, d := range v.Shape {
		n, ok := w.size(d, i)
		if !ok {
			return nil, false, fault.New(fault.Mismatch, place, "the size of axis %d (%v) is not known", i, d).WithHint("give feed.%s.shape", v.Name)
		}
		add(n)
	}
	return sizes, free, nil
}

// size is that of an axis d at position i: its own, that of the rows' axis of the same name, or the rows if it is the first.
func (w *wiring) size(d graph.Dim, i int) (int64, bool) {
	if d.Known() {
		return int64(d.Size), true
	}
	for k, e := range w.decl.Shape {
		if d.Name == "" || d.Name != e.Name {
			continue
		}
		if k == 0 {
			return -1, true
		}
		if x := w.set.X(nil).Shape; k < len(x) {
			return int64(x[k]), true
		}
	}
	return -1, i == 0
}
