package op

import (
	"muster/fault"
	"muster/graph"
	"muster/internal/cpu"
	"muster/tensor"
)

// What If, Loop and Scan share.

// maxGuess is the depth of subgraphs up to which a loop's shapes are guessed before they are given up.
const maxGuess = 4

// subgraph infers the graph in an attribute for inputs of these types, without changing it, and returns its outputs.
func (c *InferCall) subgraph(name string, in []*graph.Value) ([]*graph.Value, error) {
	a := c.Node.Attr(name)
	if a == nil || a.Kind != graph.AttrGraph || a.G == nil {
		return nil, c.Errorf("attribute %s is not a graph", name)
	}
	if c.nest > maxDepth {
		return nil, fault.New(fault.Exhausted, c.Node.Place(), "subgraphs are nested more than %d deep", maxDepth)
	}
	in = append(in[:len(in):len(in)], c.In[formal(c.Node):]...)
	g, _ := a.G.Clone()
	g.Model = c.model
	if len(g.Inputs) != len(in) {
		return nil, c.Errorf("%s has %d inputs, want %d", name, len(g.Inputs), len(in))
	}
	for i, v := range g.Inputs {
		if in[i] == nil || v.DType != tensor.Undefined && v.DType != in[i].DType {
			return nil, c.Errorf("input %d, %q, of %s is %s, not %v", i, v.Name, name, v.DType, in[i])
		}
		v.DType, v.Shape, v.Elem, v.Const = in[i].DType, in[i].Shape, in[i].Elem, in[i].Const
	}
	return g.Outputs, fault.At(name, c.sub(g, c.nest+1))
}

// setType gives output i the type of v without its value.
func (c *InferCall) setType(i int, v *graph.Value, shape []graph.Dim) {
	c.Set(i, v.DType, shape)
	if i < len(c.Out) && c.Out[i] != nil {
		c.Out[i].Elem = v.Elem
	}
}

// scalarOf is a value of one element, of a loop's own.
func scalarOf(name string, d tensor.DType) *graph.Value {
	return &graph.Value{Name: name, DType: d, Shape: []graph.Dim{}}
}

// joinShapes is what holds for a tensor that has the one shape or the other; nil: not even the rank.
func joinShapes(a, b []graph.Dim) []graph.Dim {
	if a == nil || b == nil || len(a) != len(b) {
		return nil
	}
	out := make([]graph.Dim, len(a))
	for i := range a {
		if out[i] = a[i]; !a[i].Same(b[i]) {
			out[i] = graph.Dim{Size: -1}
		}
	}
	return out
}

func sameShapes(a, b []graph.Dim) bool {
	if (a == nil) != (b == nil) || len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// sub evaluates a subgraph and checks how many outputs come.
func (c *Call) sub(name string, in []*tensor.Tensor, iter, outs int) ([]*tensor.Tensor, error) {
	if c.Sub == nil {
		return nil, fault.New(fault.Unsupported, c.Node.Place(), "subgraphs cannot be evaluated here")
	}
	out, err := c.Sub(name, in, iter)
	if err == nil && len(out) != outs {
		err = fault.New(fault.Mismatch, c.Node.Place(), "%s has %d outputs, want %d", name, len(out), outs)
	}
	return out, err
}

// give hands t over as output i: copied if the shape was known before, else as a copy of its own.
func (c *Call) give(i int, t *tensor.Tensor) error {
	o := c.Out[i]
	switch {
	case o == nil:
		return nil
	case !cpu.Affordable(len(t.Data)):
		return fault.New(fault.Exhausted, c.Node.Place(), "there is no memory for %d bytes of output %d", len(t.Data), i)
	case t.DType != o.DType:
		return fault.New(fault.Mismatch, c.Node.Place(), "output %d is %s, want %s", i, t.DType, o.DType)
	case t.DType.IsContainer():
		o.Shape, o.Items = tensor.Shape{}, t.Clone().Items
	case o.Shape == nil:
		o.Shape, o.Data = t.Shape.Clone(), append(tensor.Alloc(len(t.Data))[:0], t.Data...)
	case !o.Shape.Equal(t.Shape):
		return fault.New(fault.Mismatch, c.Node.Place(), "output %d has the shape %s, want %s", i, t.Shape, o.Shape)
	default:
		copy(o.Data, t.Data)
	}
	return nil
}

// takeStep counts one iteration of a loop.
func (c *Call) takeStep() error {
	if c.Steps == nil {
		return nil
	}
	if *c.Steps--; *c.Steps < 0 {
		return fault.New(fault.Exhausted, c.Node.Place(), "the loops of this run take more steps than the limit").
			WithHint("a loop without an end? the limit is a setting of the session")
	}
	return nil
}

// states are the carried values of a loop in two sets of buffers: one is read while the other is written.
type states struct{ cur, next []*tensor.Tensor }

func newStates(n int) *states {
	return &states{make([]*tensor.Tensor, n), make([]*tensor.Tensor, n)}
}

// set stores a copy of t as the next value of state i.
func (s *states) set(c *Call, i int, t *tensor.Tensor) error {
	if o := s.next[i]; o != nil && o.DType == t.DType && !t.DType.IsContainer() && o.Shape.Equal(t.Shape) {
		copy(o.Data, t.Data)
		return nil
	}
	if !cpu.Affordable(2 * len(t.Data)) {
		return fault.New(fault.Exhausted, c.Node.Place(), "there is no memory for a carried value of %d bytes", len(t.Data))
	}
	s.next[i] = t.Clone()
	return nil
}

func (s *states) turn() { s.cur, s.next = s.next, s.cur }

// stack collects the values of one scan output.
type stack struct {
	t *tensor.Tensor // of the first one
	n int
	b []byte
}

func (s *stack) push(c *Call, t *tensor.Tensor) error {
	if s.n == 0 {
		s.t = &tensor.Tensor{DType: t.DType, Shape: t.Shape.Clone()}
	}
	if t.DType != s.t.DType || t.DType.IsContainer() || !t.Shape.Equal(s.t.Shape) {
		return fault.New(fault.Mismatch, c.Node.Place(), "a scan output is %s %s, it was %s %s before", t.DType, t.Shape, s.t.DType, s.t.Shape)
	}
	if len(s.b)+len(t.Data) > cap(s.b) && !cpu.Affordable(2*(len(s.b)+len(t.Data))) {
		return fault.New(fault.Exhausted, c.Node.Place(), "a scan output of more than %d bytes", len(s.b))
	}
	s.n++
	s.b = append(s.b, t.Data...)
	return nil
}

// tensor is all values along a new axis 0. If there are none, v says what is known of their type.
func (s *stack) tensor(v *graph.Value) *tensor.Tensor {
	t := &tensor.Tensor{DType: v.DType, Shape: tensor.Shape{s.n}}
	if s.n > 0 {
		t.Shape = append(t.Shape, s.t.Shape...)
	} else if len(v.Shape) > 0 {
		for _, d := range v.Shape[1:] {
			t.Shape = append(t.Shape, max(d.Size, 0))
		}
	}
	t.Data = append(tensor.Alloc(len(s.b))[:0], s.b...)
	return t
}
