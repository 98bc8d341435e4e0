// Package graph is the one representation of Muster: the ONNX graph, linked.
//
// What is trained, imported, differentiated, attacked, quantized, served and
// exported is a *Graph. A training step is a Graph too; a checkpoint is a Graph
// with initialisers. Every Value is in SSA form: one producer, one name.
package graph

import (
	"fmt"
	"slices"

	"muster/tensor"
)

// Graph is an ONNX GraphProto with its names resolved to pointers.
// Nodes are in topological order. Model is nil in subgraphs.
type Graph struct {
	Name    string
	Doc     string
	Inputs  []*Value // what the caller feeds; initialisers are not among them
	Outputs []*Value
	Nodes   []*Node
	Inits   []*Value // values with Const set (ONNX initialisers)
	Model   *Model

	// Closed says that a subgraph reads nothing from outside (op.Lift). Clones share it, so nobody may change it.
	Closed bool

	Unknown []byte // unknown protobuf fields, kept for a lossless round trip
}

// Model is what ONNX keeps beside the top graph.
type Model struct {
	IRVersion       int64
	Opsets          map[string]int // domain ("" is ai.onnx) to version
	Producer        string
	ProducerVersion string
	Domain          string
	Version         int64
	Doc             string
	Metadata        []Property
	Functions       []*Function

	Unknown []byte
}

// Property is one metadata_props entry.
type Property struct{ Key, Value string }

// Function is an ONNX local function: an operator with a body of other operators.
type Function struct {
	Domain, Name string
	Doc          string
	AttrNames    []string // attributes without default
	AttrDefaults []Attr
	Opsets       map[string]int
	Body         *Graph // Inputs and Outputs are the formal parameters

	Unknown []byte
}

// Dim is one axis of a shape: a size, or a name for a size not known yet.
type Dim struct {
	Size int    // -1 if not known
	Name string // symbolic name, "" if none
}

// D returns a known dimension, Sym a named one.
func D(n int) Dim { return Dim{Size: n} }

// Sym returns a dimension that is known by name only.
func Sym(name string) Dim { return Dim{Size: -1, Name: name} }

// Known reports whether the size is known.
func (d Dim) Known() bool { return d.Size >= 0 }

// Same reports whether d and e certainly are the same size.
func (d Dim) Same(e Dim) bool {
	if d.Known() || e.Known() {
		return d.Size == e.Size
	}
	return d.Name != "" && d.Name == e.Name
}

// String returns the size, the name, or "?".
func (d Dim) String() string {
	if d.Known() {
		return fmt.Sprint(d.Size)
	}
	if d.Name != "" {
		return d.Name
	}
	return "?"
}

// Value is an edge of the graph.
type Value struct {
	Name     string
	DType    tensor.DType // Undefined if not known yet
	Shape    []Dim        // nil if the rank is not known yet; empty for a scalar
	Const    *tensor.Tensor
	Producer *Node // nil for inputs and initialisers
	Elem     *Type // of the items, if DType is a sequence or an optional; nil if not known

	Unknown []byte
}

// Type is the type of the items of a sequence or an optional.
type Type struct {
	DType tensor.DType
	Shape []Dim // nil if the rank is not known
	Elem  *Type // of items that are sequences themselves
}

// Static returns the concrete shape, or false if a dimension is not known.
func (v *Value) Static() (tensor.Shape, bool) {
	if v.Shape == nil {
		return nil, false
	}
	s := make(tensor.Shape, len(v.Shape))
	for i, d := range v.Shape {
		if !d.Known() {
			return nil, false
		}
		s[i] = d.Size
	}
	return s, true
}

// SetStatic sets dtype and a concrete shape.
func (v *Value) SetStatic(d tensor.DType, s tensor.Shape) {
	v.DType = d
	v.Shape = make([]Dim, len(s))
	for i, n := range s {
		v.Shape[i] = D(n)
	}
}

// Node is one operator application. An absent optional input is a nil *Value;
// an unused optional output is a nil *Value.
type Node struct {
	Name    string
	Domain  string // "" is ai.onnx
	Op      string
	Inputs  []*Value
	Outputs []*Value
	Attrs   []Attr
	Doc     string

	Unknown []byte
}

// AttrKind is ONNX AttributeProto.AttributeType.
type AttrKind uint8

// Attribute kinds by their ONNX numbers.
const (
	AttrFloat   AttrKind = 1
	AttrInt     AttrKind = 2
	AttrString  AttrKind = 3
	AttrTensor  AttrKind = 4
	AttrGraph   AttrKind = 5
	AttrFloats  AttrKind = 6
	AttrInts    AttrKind = 7
	AttrStrings AttrKind = 8
	AttrTensors AttrKind = 9
	AttrGraphs  AttrKind = 10
	AttrType    AttrKind = 13
)

// Attr is a named attribute; Kind says which field is set.
// Ref, if not empty, names the function attribute that replaces it (inside function bodies).
type Attr struct {
	Name    string
	Kind    AttrKind
	F       float32
	I       int64
	S       []byte
	T       *tensor.Tensor
	G       *Graph
	Floats  []float32
	Ints    []int64
	Strings [][]byte
	Tensors []*tensor.Tensor
	Graphs  []*Graph
	Type    *Type
	Ref     string

	Unknown []byte
}

// Attribute constructors.

// Int returns an integer attribute.
func Int(name string, v int64) Attr { return Attr{Name: name, Kind: AttrInt, I: v} }

// Float returns a float attribute.
func Float(name string, v float32) Attr { return Attr{Name: name, Kind: AttrFloat, F: v} }

// Str returns a string attribute.
func Str(name, v string) Attr { return Attr{Name: name, Kind: AttrString, S: []byte(v)} }

// Ints returns an integer list attribute.
func Ints(name string, v ...int64) Attr { return Attr{Name: name, Kind: AttrInts, Ints: v} }

// Ten returns a tensor attribute.
func Ten(name string, t *tensor.Tensor) Attr { return Attr{Name: name, Kind: AttrTensor, T: t} }

// Without returns attrs less the one with this name.
func Without(attrs []Attr, name string) []Attr {
	return slices.DeleteFunc(slices.Clone(attrs), func(a Attr) bool { return a.Name == name })
}

// Attr returns the attribute with the given name, or nil.
func (n *Node) Attr(name string) *Attr {
	for i := range n.Attrs {
		if n.Attrs[i].Name == name {
			return &n.Attrs[i]
		}
	}
	return nil
}

// Int returns an integer attribute or its default.
func (n *Node) Int(name string, def int64) int64 {
	if a := n.Attr(name); a != nil && a.Kind == AttrInt {
		return a.I
	}
	return def
}

// Float returns a float attribute or its default.
func (n *Node) Float(name string, def float32) float32 {
	if a := n.Attr(name); a != nil && a.Kind == AttrFloat {
		return a.F
	}
	return def
}

// Str returns a string attribute or its default.
func (n *Node) Str(name, def string) string {
	if a := n.Attr(name); a != nil && a.Kind == AttrString {
		return string(a.S)
	}
	return def
}

// Ints returns an integer list attribute; nil if it is absent.
func (n *Node) Ints(name string) []int64 {
	if a := n.Attr(name); a != nil && a.Kind == AttrInts {
		return a.Ints
	}
	return nil
}

// In returns input i, nil if it is absent.
func (n *Node) In(i int) *Value {
	if i < len(n.Inputs) {
		return n.Inputs[i]
	}
	return nil
}

// Out returns output i, nil if it is unused.
func (n *Node) Out(i int) *Value {
	if i < len(n.Outputs) {
		return n.Outputs[i]
	}
	return nil
}

// FullOp returns "Op" or "domain.Op".
func (n *Node) FullOp() string {
	if n.Domain == "" {
		return n.Op
	}
	return n.Domain + "." + n.Op
}

// Place names the node for error messages.
func (n *Node) Place() string {
	if n.Name != "" {
		return fmt.Sprintf("node %q (%s)", n.Name, n.FullOp())
	}
	if len(n.Outputs) > 0 && n.Outputs[0] != nil {
		return fmt.Sprintf("node (%s) that makes %q", n.FullOp(), n.Outputs[0].Name)
	}
	return fmt.Sprintf("node (%s)", n.FullOp())
}

// State ties an initialiser to the output that replaces it after every run:
// a parameter or an optimizer moment of a training step.
type State struct{ In, Out *Value }

// Use is one place where a value is read.
type Use struct {
	Node *Node // nil: a graph output
	In   int   // input index, or index in Outputs
}

// Uses returns where every value of g is read. Uses inside subgraphs of a node
// are listed with In = -1.
func (g *Graph) Uses() map[*Value][]Use {
	u := map[*Value][]Use{}
	for _, n := range g.Nodes {
		for i, v := range n.Inputs {
			if v != nil {
				u[v] = append(u[v], Use{n, i})
			}
		}
		for _, v := range n.Captured() {
			u[v] = append(u[v], Use{n, -1})
		}
	}
	for i, v := range g.Outputs {
		u[v] = append(u[v], Use{nil, i})
	}
	return u
}

// Captured lists the values from outside that n's subgraphs read, each once, in the order in which they are first read.
func (n *Node) Captured() []*Value {
	var out []*Value
	var seen map[*Value]bool
	n.Subgraphs(func(s *Graph) {
		if s.Closed {
			return
		}
		if seen == nil {
			seen = map[*Value]bool{}
		}
		s.captured(func(v *Value) {
			if !seen[v] {
				seen[v] = true
				out = append(out, v)
			}
		})
	})
	return out
}

// Subgraphs calls f for every subgraph in n's attributes.
func (n *Node) Subgraphs(f func(*Graph)) {
	for i := range n.Attrs {
		if n.Attrs[i].G != nil {
			f(n.Attrs[i].G)
		}
		for _, s := range n.Attrs[i].Graphs {
			f(s)
		}
	}
}

// captured calls f for every value read in g that g does not define.
func (g *Graph) captured(f func(*Value)) {
	own := map[*Value]bool{}
	for _, v := range g.Inputs {
		own[v] = true
	}
	for _, v := range g.Inits {
		own[v] = true
	}
	read := func(v *Value) {
		if v != nil && !own[v] {
			f(v)
		}
	}
	for _, n := range g.Nodes {
		for _, v := range n.Inputs {
			read(v)
		}
		for _, v := range n.Captured() {
			read(v)
		}
		for _, v := range n.Outputs {
			own[v] = true
		}
	}
	for _, v := range g.Outputs {
		read(v)
	}
}

// Input returns the input with the given name, nil if there is none.
func (g *Graph) Input(name string) *Value { return byName(g.Inputs, name) }

// Output returns the output with the given name, nil if there is none.
func (g *Graph) Output(name string) *Value { return byName(g.Outputs, name) }

// Init returns the initialiser with the given name, nil if there is none.
func (g *Graph) Init(name string) *Value { return byName(g.Inits, name) }

func byName(vs []*Value, name string) *Value {
	for _, v := range vs {
		if v.Name == name {
			return v
		}
	}
	return nil
}

// Function returns the model's local function with this domain and name, nil if there is none.
func (g *Graph) Function(domain, name string) *Function {
	if g.Model == nil {
		return nil
	}
	for _, f := range g.Model.Functions {
		if f.Domain == domain && f.Name == name {
			return f
		}
	}
	return nil
}
