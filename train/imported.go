package train

import (
	"fmt"
	"regexp"

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
