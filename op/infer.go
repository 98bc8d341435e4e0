package op

import (
	"slices"

	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// Bounds on what is computed while shapes are inferred: a small file can name a million constants. What is beyond
// them is left for run time, but for shape arithmetic.
const (
	foldLimit = 1 << 16   // elements of one value
	foldSmall = 64        // elements of values that are computed even when foldTotal is spent
	foldTotal = 256 << 20 // bytes of all values of one inference
	foldWork  = 1 << 28   // operations of one node
)

// maxElems bounds every inferred tensor: 2^34 elements are beyond any machine Muster targets.
const maxElems = 1 << 34

// inference is what the shape rules of one graph share.
type inference struct {
	lists map[*graph.Value][]sym // integer vectors that are known in part
	model *graph.Model
	nest  int                   // of subgraphs
	asked map[*graph.Node][]int // nodes with open shapes: inputs whose values decide them
	spent *int                  // bytes of values computed so far, subgraphs included

	// sub infers a subgraph. It is a field, for the table of operators refers to the rules that call it.
	sub func(g *graph.Graph, depth int) error
}

func newInference(g *graph.Graph) *inference {
	f := &inference{lists: map[*graph.Value][]sym{}, model: g.Model, asked: map[*graph.Node][]int{}, spent: new(int)}
	f.sub = func(g *graph.Graph, depth int) error {
		if err := InlineFunctions(g); err != nil {
			return err
		}
		in := newInference(g)
		in.nest, in.spent = depth, f.spent
		return in.graph(g)
	}
	return f
}

// Infer sets dtype and shape of every value of g, and Const of every value that
// depends on constants only (shape arithmetic). Dimensions known by name stay so.
func Infer(g *graph.Graph) error { return newInference(g).graph(g) }

func (f *inference) graph(g *graph.Graph) error {
	for _, n := range g.Nodes {
		o, err := Of(g, n)
		if err != nil {
			return err
		}
		if err := f.node(o, n); err != nil {
			return err
		}
		f.fold(o, n)
		track(n, f.lists)
	}
	return nil
}

// InferNode sets the types of n's outputs from those of its inputs.
func InferNode(g *graph.Graph, n *graph.Node) (*Op, error) {
	o, err := Of(g, n)
	if err != nil {
		return nil, err
	}
	return o, newInference(g).node(o, n)
}

func (f *inference) node(o *Op, n *graph.Node) error {
	for i, v := range n.Inputs {
		if v != nil && v.Const != nil && v.Shape == nil {
			v.SetStatic(v.Const.DType, v.Const.Shape)
		}
		if v != nil && v.DType == tensor.Undefined {
			return fault.New(fault.Mismatch, n.Place(), "the type of input %d, %q, is not known", i, v.Name)
		}
		if v != nil && !numeric(v.DType) && !(o.Types && v.DType.IsContainer()) && !((o.Stored || o.View && i == 0) && v.DType.Stored()) {
			return fault.New(fault.Unsupported, n.Place(), "input %d is %s", i, v.DType)
		}
	}
	declared := make([]graph.Value, len(n.Outputs))
	for i, v := range n.Outputs {
		if v != nil {
			declared[i] = *v
			v.Const = nil // it may come from constants that have changed since
		}
	}
	c := &InferCall{Node: n, In: n.Inputs, Out: n.Outputs, inference: f}
	if err := o.Infer(c); err != nil {
		return err
	}
	open := false
	for i, v := range n.Outputs {
		if v == nil {
			continue
		}
		trust := !o.Dynamic && len(c.asked) == 0
		if err := firstErr(merge(n, v, &declared[i], trust), checkShape(n, v)); err != nil { // of what the file declared, too
			return err
		}
		open = open || !isStatic(v)
	}
	if open {
		f.asked[n] = c.asked
	}
	return nil
}

func isStatic(v *graph.Value) bool {
	for _, d := range v.Shape {
		if !d.Known() {
			return false
		}
	}
	return v.Shape != nil
}

func checkShape(n *graph.Node, v *graph.Value) error {
	s, ok := v.Static()
	if !ok {
		return nil
	}
	if c, ok := s.CheckedElems(); !ok || c > maxElems {
		return fault.New(fault.Exhausted, n.Place(), "output %q would have the shape %s", v.Name, s).
			WithHint("the limit is 2^34 elements per tensor")
	}
	return nil
}

// merge keeps what the file declared where inference knows less. Another dtype is refused; another shape than the
// inferred one is not believed, for exporters declare shapes of branches that they never ran.
// A size that decides over data is not taken on trust: the data may say another.
func merge(n *graph.Node, v, declared *graph.Value, trust bool) error {
	if declared.DType != tensor.Undefined && v.DType != declared.DType {
		return fault.New(fault.Mismatch, n.Place(), "output %q is declared %s but is %s", v.Name, declared.DType, v.DType)
	}
	if v.DType.IsContainer() {
		return nil
	}
	if v.Shape == nil {
		v.Shape = append([]graph.Dim(nil), declared.Shape...)
		for i := range v.Shape {
			if !trust {
				v.Shape[i] = graph.Dim{Size: -1, Name: v.Shape[i].Name}
			}
		}
		if declared.Shape != nil && len(v.Shape) == 0 && trust {
			v.Shape = []graph.Dim{}
		}
		return nil
	}
	if len(v.Shape) != len(declared.Shape) {
		return nil
	}
	for i, d := range declared.Shape {
		switch {
		case !v.Shape[i].Known() && d.Known() && !trust:
		case !v.Shape[i].Known() && (d.Known() || v.Shape[i].Name == ""):
			v.Shape[i] = d
		}
	}
	return nil
}

// fold computes small outputs of nodes whose inputs are all constant. A node that
// cannot be computed is left for run time, where its error has its place.
func (f *inference) fold(o *Op, n *graph.Node) {
	if n.Out(0) != nil && n.Outputs[0].Const != nil {
		return
	}
	c := &Call{Node: n}
	for _, v := range n.Inputs {
		if v != nil && v.Const == nil {
			// Shape and Size need only the shape of their input.
			if _, ok := v.Static(); !ok || n.FullOp() != "Shape" && n.FullOp() != "Size" {
				return
			}
		}
		switch {
		case v == nil:
			c.In = append(c.In, nil)
		case v.Const != nil:
			c.In = append(c.In, v.Const)
		default:
			s, _ := v.Static()
			c.In = append(c.In, &tensor.Tensor{DType: v.DType, Shape: s})
		}
	}
	if o.Ref == nil || o.Random || !f.affords(o, n) {
		return
	}
	for _, v := range n.Outputs {
		if v == nil {
			c.Out = append(c.Out, nil)
			continue
		}
		s, _ := v.Static()
		c.Out = append(c.Out, tensor.New(v.DType, s...))
	}
	if o.Ref(c) != nil {
		return
	}
	for i, v := range n.Outputs {
		if v != nil {
			v.Const = c.Out[i]
		}
	}
}

// affords counts the outputs of n, a node with constant inputs, and reports whether they may be computed now.
func (f *inference) affords(o *Op, n *graph.Node) bool {
	bytes, most := 0, 0
	for _, v := range n.Outputs {
		if v == nil {
			continue
		}
		s, ok := v.Static()
		if !ok || s.Elems() > foldLimit || v.DType.IsContainer() {
			return false
		}
		bytes, most = bytes+v.DType.Bytes(s.Elems()), max(most, s.Elems())
	}
	if most > foldSmall && *f.spent+bytes > foldTotal || o.Flops != nil && o.Flops(n.Inputs, n.Outputs) > foldWork {
		return false
	}
	*f.spent += bytes
	return true
}

// inferComposites infers every shape and writes operators that are defined by their body alone as that body.
func inferComposites(g *graph.Graph) error {
	for depth := 0; ; depth++ {
		if err := Infer(g); err != nil {
			return err
		}
		again := false
		for _, n := range slices.Clone(g.Nodes) {
			o, err := Of(g, n)
			if err != nil {
				return err
			}
			if o.Ref != nil || o.Prepare != nil {
				continue
			}
			if depth > maxDepth || len(g.Nodes) > maxNodes {
				return fault.New(fault.Exhausted, n.Place(), "bodies are nested too deep")
			}
			if err := Inline(g, n); err != nil {
				return err
			}
			again = true
		}
		if !again {
			return nil
		}
	}
}

// Bind returns a copy of g in which the named dimensions of the inputs have the
// given sizes, with every shape inferred. Unknown rank, an unbound name or a shape that depends on data is an error.
func Bind(g *graph.Graph, dims map[string]int) (*graph.Graph, map[*graph.Value]*graph.Value, error) {
	c, m := g.Clone()
	if err := InlineFunctions(c); err != nil {
		return nil, nil, err
	}
	setNames(c, dims)
	for _, v := range c.Inputs {
		if _, ok := v.Static(); !ok {
			return nil, nil, fault.New(fault.Mismatch, "input "+v.Name, "the shape %v is not bound", v.Shape)
		}
	}
	if err := inferComposites(c); err != nil {
		return nil, nil, err
	}
	return c, m, Static(c)
}

// Static returns an error that names a value whose shape is not known, nil if there is none.
func Static(g *graph.Graph) error {
	for _, n := range g.Nodes {
		for _, v := range n.Outputs {
			if v != nil && !isStatic(v) {
				return fault.New(fault.Unsupported, n.Place(), "the shape of %q depends on data", v.Name)
			}
		}
	}
	return nil
}

// setNames gives the named dimensions of inputs and node outputs their sizes.
func setNames(g *graph.Graph, dims map[string]int) {
	set := func(v *graph.Value) {
		for i, d := range v.Shape {
			if n, ok := dims[d.Name]; ok && !d.Known() {
				v.Shape[i] = graph.Dim{Size: n, Name: d.Name}
			}
		}
	}
	for _, v := range g.Inputs {
		set(v)
	}
	for _, n := range g.Nodes {
		for _, v := range n.Outputs {
			if v != nil {
				set(v)
			}
		}
	}
}

// Bound is a graph specialised to its inputs.
type Bound struct {
	Graph *graph.Graph

	// Asked are, for nodes whose output shapes are still open, the inputs whose values decide them
	// (none: the operator itself finds them while it runs).
	Asked map[*graph.Node][]int
}

// Specialise returns a copy of g for inputs of these dtypes and shapes; where Data is set, the value counts as a
// constant. dims are the sizes of named dimensions. Shapes that depend on other data stay open.
func Specialise(g *graph.Graph, in []*tensor.Tensor, dims map[string]int) (*Bound, error) {
	c, _ := g.Clone()
	setNames(c, dims)
	for i, v := range c.Inputs {
		setInput(v, in[i])
	}
	f := newInference(c)
	if err := f.graph(c); err != nil {
		return nil, err
	}
	return &Bound{c, f.asked}, nil
}

func setInput(v *graph.Value, t *tensor.Tensor) {
	SetType(v, t)
	if v.Const = nil; t.Data != nil {
		v.Const = t
	}
}

// SetType gives v the dtype and shape of t, and to a container whose items have no declared type that of t's items.
func SetType(v *graph.Value, t *tensor.Tensor) {
	v.SetStatic(t.DType, t.Shape)
	if e := elemOf(t); t.DType.IsContainer() && (v.Elem == nil || v.Elem.DType == tensor.Undefined) && e != nil {
		v.Elem = e
	}
}

// elemOf is the dtype of a container's items; nil if there are none.
func elemOf(t *tensor.Tensor) *graph.Type {
	if len(t.Items) == 0 {
		return nil
	}
	return &graph.Type{DType: t.Items[0].DType, Elem: elemOf(t.Items[0])}
}
