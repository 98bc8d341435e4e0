package train

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"

	"muster/data"
	"muster/fault"
	"muster/graph"
	"muster/nn"
	"muster/op"
	"muster/rng"
	"muster/tensor"
)

// Axis letters: B rows, C H W of an image, T tokens, K classes.

// ImportSpec says how the model of a file is fine-tuned (family "onnx").
type ImportSpec struct {
	From   string               `yaml:"from" json:"from,omitempty"`     // the ONNX file
	Digest string               `yaml:"digest" json:"digest,omitempty"` // of the file; "" takes what is there
	Input  string               `yaml:"input" json:"input,omitempty"`   // takes the rows; "" is the first input
	Output string               `yaml:"output" json:"output,omitempty"` // is trained on; "" is the first floating-point output
	Head   string               `yaml:"head" json:"head,omitempty"`     // "linear": a new layer; "logits": Output are the classes' logits; "probability": Output is P(second class)
	Pool   string               `yaml:"pool" json:"pool,omitempty"`     // for a linear head over tokens [B, T, C]: "mean" or "first"
	Train  string               `yaml:"train" json:"train,omitempty"`   // regular expression of the parameters that are trained; "" is all
	Feed   map[string]FeedValue `yaml:"feed" json:"feed,omitempty"`     // constant values of the other inputs
	// Mean and Std standardise pixels mapped to [0, 1], per channel. If neither is given, images of the size
	// that the model declares go in as they are, and others get ImageNet's (3 channels), or 0 and 1.
	Mean []float64 `yaml:"mean" json:"mean,omitempty"`
	Std  []float64 `yaml:"std" json:"std,omitempty"`
}

// FeedValue is what an input that the rows do not go to is filled with.
type FeedValue struct {
	Value float64  `yaml:"value" json:"value"`
	Shape []string `yaml:"shape" json:"shape,omitempty"` // sizes, or "B" for the rows; nil: as the model declares, open axes as in the rows' input
}

// imported is a file that is fine-tuned: the model as it was read, and what of it is trained.
type imported struct {
	spec ImportSpec
	g    *graph.Graph // functions inlined, constants lifted to initialisers
}

func readImported(s ImportSpec) (*imported, error) {
	g, err := graph.Load(s.From)
	if err != nil {
		return nil, err
	}
	d, err := g.Digest()
	if err != nil {
		return nil, err
	}
	if s.Digest != "" && s.Digest != string(d) {
		return nil, fault.New(fault.Mismatch, s.From, "its digest is %s, the specification says %s", d, s.Digest)
	}
	if err := op.InlineFunctions(g); err != nil {
		return nil, err
	}
	liftConstants(graph.NewBuilder(g), g)
	s.Digest = string(d)
	return &imported{s, g}, nil
}

// liftConstants makes the initialisers of subgraphs and all floating-point Constant nodes initialisers of b's
// graph, where parameters are looked for.
func liftConstants(b *graph.Builder, g *graph.Graph) {
	if g != b.G {
		for _, v := range g.Inits {
			v.Name = b.Unique(v.Name)
		}
		b.G.Inits, g.Inits = append(b.G.Inits, g.Inits...), nil
	}
	nodes := g.Nodes[:0:0]
	for _, n := range g.Nodes {
		n.Subgraphs(func(s *graph.Graph) { liftConstants(b, s) })
		a := n.Attr("value")
		if n.Domain != "" || n.Op != "Constant" || a == nil || a.T == nil || !a.T.DType.IsFloat() || len(n.Outputs) != 1 || n.Outputs[0] == nil {
			nodes = append(nodes, n)
			continue
		}
		v := n.Outputs[0]
		if g != b.G {
			v.Name = b.Unique(v.Name)
		}
		v.Producer, v.Const = nil, a.T
		v.SetStatic(a.T.DType, a.T.Shape)
		b.G.Inits = append(b.G.Inits, v)
	}
	g.Nodes = nodes
}

// settle infers the shapes of g and puts the branch that is taken in the place of every If whose condition is known now.
func settle(g *graph.Graph) error {
	for {
		if err := op.Infer(g); err != nil {
			return err
		}
		n, err := op.InlineAll(g, func(n *graph.Node) bool { return op.Taken(n) != nil })
		if err != nil || n == 0 {
			return err
		}
		g.Prune()
	}
}

// scores returns the model over the rows of set: one input [batch, ...] and logits [batch, K].
// batch is the size of axis 0, or -1 for any.
func (m *imported) scores(spec Spec, set *data.Set, batch int) (*nn.Net, *graph.Value, error) {
	g, names := m.g.Clone()
	inits := append([]*graph.Value{}, m.g.Inits...)
	for _, n := range g.Nodes { // inferred again for the rows
		for _, v := range n.Outputs {
			if v != nil {
				v.Shape = nil
			}
		}
	}
	n := &nn.Net{Builder: graph.NewBuilder(g), Key: rng.New(spec.Seed).Named("init"), Decay: map[*graph.Value]bool{}}
	w := &wiring{imported: m, net: n, set: set, batch: batch}
	if err := w.feed(); err != nil {
		return nil, nil, err
	}
	y, err := w.output()
	if err != nil {
		return nil, nil, err
	}
	g.Outputs = []*graph.Value{y}
	g.Prune()
	if err := g.Sort(); err != nil {
		return nil, nil, err
	}
	if err := settle(g); err != nil {
		return nil, nil, err
	}
	y = g.Outputs[0]
	for i := range inits {
		inits[i] = names[inits[i]]
	}
	if err := w.params(inits); err != nil {
		return nil, nil, err
	}
	logits, err := w.head(y)
	g.Outputs = nil
	return n, logits, err
}

// wiring connects a clone of the model with the rows of a set.
type wiring struct {
	*imported
	net   *nn.Net
	set   *data.Set
	batch int
	rows  *graph.Value // what the rows' input of the model is now
	decl  *graph.Value // what it was declared as
}

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

// output is the value that is trained on.
func (w *wiring) output() (*graph.Value, error) {
	for _, v := range w.net.G.Outputs {
		if v.Name == w.spec.Output || w.spec.Output == "" && (v.DType.IsFloat() || v.DType == tensor.Undefined) {
			return v, nil
		}
	}
	return nil, fault.New(fault.NotFound, "model.output", "the model has no floating-point output %q", w.spec.Output)
}

// params are the initialisers that are trained: float32, more than one element, of a name that Train matches.
func (w *wiring) params(inits []*graph.Value) error {
	re, err := regexp.Compile(w.spec.Train)
	if err != nil {
		return fault.New(fault.Malformed, "model.train", "%w", err)
	}
	live := map[*graph.Value]bool{}
	for _, v := range w.net.G.Inits {
		live[v] = true
	}
	for _, v := range inits {
		if live[v] && v.DType == tensor.Float32 && v.Const.Elems() > 1 && len(v.Shape) > 0 && re.MatchString(v.Name) {
			w.net.Params = append(w.net.Params, v)
			w.net.Decay[v] = len(v.Shape) > 1
		}
	}
	if len(w.net.Params) == 0 && w.spec.Head != "linear" {
		return fault.New(fault.Mismatch, w.spec.From, "no parameter is to be trained").
			WithHint("trained are float32 initialisers with more than one element whose name matches model.train")
	}
	return nil
}

// head makes logits [B, K] of the output.
func (w *wiring) head(y *graph.Value) (*graph.Value, error) {
	b, K := w.net.Builder, len(w.set.Classes())
	shape := fmt.Sprint(y.Shape)
	last := -1
	if len(y.Shape) > 0 {
		last = y.Shape[len(y.Shape)-1].Size
	}
	bad := func(want string) error {
		return fault.New(fault.Mismatch, "output "+y.Name, "its shape is %s, the head %q needs %s", shape, w.spec.Head, want).
			WithHint("choose model.output, or another model.head")
	}
	switch w.spec.Head {
	case "logits":
		if len(y.Shape) != 2 || last != K {
			return nil, bad(fmt.Sprintf("[B, %d]", K))
		}
		return y, nil
	case "probability":
		if len(y.Shape) != 2 || last != 1 || K != 2 {
			return nil, bad("[B, 1] and data of two classes")
		}
		p := b.OpA("Concat", []graph.Attr{graph.Int("axis", 1)}, b.Op("Sub", b.Scalar(1), y), y)
		return b.Op("Log", b.Op("Max", p, b.Scalar(1e-6))), nil
	}
	switch {
	case len(y.Shape) == 3 && last > 0 && w.spec.Pool == "first":
		y = b.OpA("Gather", []graph.Attr{graph.Int("axis", 1)}, y, b.Init("first", tensor.OfInt64([]int64{0})))
	case len(y.Shape) == 3 && last > 0:
		y = b.ReduceMean(y, 0, 1)
	case len(y.Shape) == 4 && y.Shape[1].Known():
		last = y.Shape[1].Size
		y = b.ReduceMean(y, 0, 2, 3)
	case len(y.Shape) != 2 || last < 1:
		return nil, bad("[B, C], [B, T, C] or [B, C, H, W] with a known C")
	}
	return w.net.Linear("head", y, last, K, 1), nil
}

// tuned is the model as it was read with the parameters that value returns by name.
func (m *imported) tuned(value func(name string) *tensor.Tensor) *graph.Graph {
	g, _ := m.g.Clone()
	for _, v := range g.Inits {
		if t := value(v.Name); t != nil {
			v.Const = t
		}
	}
	g.Prune() // constants that nothing reads
	return g
}
