package graph

import (
	"fmt"

	"muster/tensor"
)

// Opset is the ai.onnx version of the graphs that Muster builds: LayerNormalization-17,
// QuantizeLinear-19 and Gelu-20 are in it, and every current runtime loads it.
const Opset = 20

// Domain is the operator domain of Muster's own fused and gradient operators.
// Each is exported as a local function whose body is standard operators.
const Domain = "muster"

// New returns an empty model graph.
func New(name string) *Graph {
	return &Graph{Name: name, Model: &Model{
		IRVersion: 9, Producer: "muster",
		Opsets: map[string]int{"": Opset},
	}}
}

// Builder appends nodes to a graph. Names are made unique by a counter, so the
// same calls give the same names.
type Builder struct {
	G      *Graph
	Prefix string // put before the names of new nodes and values
	used   map[string]bool
	serial map[string]int
}

// NewBuilder returns a builder that appends to g.
func NewBuilder(g *Graph) *Builder {
	b := &Builder{G: g, used: map[string]bool{}, serial: map[string]int{}}
	mark := func(vs []*Value) {
		for _, v := range vs {
			if v != nil {
				b.used[v.Name] = true
			}
		}
	}
	mark(g.Inputs)
	mark(g.Inits)
	for _, n := range g.Nodes {
		mark(n.Outputs)
		b.used[n.Name] = true
	}
	return b
}

// Unique returns a name not used yet, made from stem.
func (b *Builder) Unique(stem string) string {
	stem = b.Prefix + stem
	if !b.used[stem] {
		b.used[stem] = true
		return stem
	}
	for {
		b.serial[stem]++
		if s := fmt.Sprintf("%s_%d", stem, b.serial[stem]); !b.used[s] {
			b.used[s] = true
			return s
		}
	}
}

// Input appends a graph input.
func (b *Builder) Input(name string, d tensor.DType, shape ...Dim) *Value {
	v := &Value{Name: b.Unique(name), DType: d, Shape: append([]Dim{}, shape...)}
	b.G.Inputs = append(b.G.Inputs, v)
	return v
}

// Output marks v as a graph output under a name.
func (b *Builder) Output(name string, v *Value) *Value {
	if v.Producer == nil || v.Name != name && isOutput(b.G, v) {
		v = b.Op("Identity", v)
	}
	if v.Name != name {
		delete(b.used, v.Name)
		v.Name = b.Unique(name)
	}
	b.G.Outputs = append(b.G.Outputs, v)
	return v
}

func isOutput(g *Graph, v *Value) bool {
	for _, o := range g.Outputs {
		if o == v {
			return true
		}
	}
	return false
}

// Init appends an initialiser that holds t.
func (b *Builder) Init(name string, t *tensor.Tensor) *Value {
	v := &Value{Name: b.Unique(name), Const: t}
	v.SetStatic(t.DType, t.Shape)
	b.G.Inits = append(b.G.Inits, v)
	return v
}

// Ints appends an int64 vector initialiser (shapes, axes).
func (b *Builder) Ints(v ...int64) *Value { return b.Init("ints", tensor.OfInt64(v, len(v))) }

// Scalar appends a float32 scalar initialiser.
func (b *Builder) Scalar(v float32) *Value { return b.Init("scalar", tensor.OfFloat32([]float32{v})) }

// Op appends an ai.onnx node with one output. Trailing nil inputs are dropped.
func (b *Builder) Op(op string, in ...*Value) *Value { return b.Node("", op, 1, in)[0] }

// OpA is Op with attributes.
func (b *Builder) OpA(op string, attrs []Attr, in ...*Value) *Value {
	return b.Node("", op, 1, in, attrs...)[0]
}

// Node appends a node with nOut outputs and returns them.
func (b *Builder) Node(domain, op string, nOut int, in []*Value, attrs ...Attr) []*Value {
	for len(in) > 0 && in[len(in)-1] == nil {
		in = in[:len(in)-1]
	}
	n := &Node{Domain: domain, Op: op, Inputs: append([]*Value{}, in...), Attrs: attrs, Name: b.Unique(op)}
	for i := 0; i < nOut; i++ {
		n.Outputs = append(n.Outputs, &Value{Name: b.Unique(op + "_out"), Producer: n})
	}
	b.G.Nodes = append(b.G.Nodes, n)
	if m := b.G.Model; m != nil {
		if _, ok := m.Opsets[domain]; !ok {
			m.Opsets[domain] = 1
			if domain == "" { // a model of other domains only
				m.Opsets[""] = Opset
			}
		}
	}
	return n.Outputs
}
