package op

import (
	"slices"

	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// foldLimit bounds the size of values that are computed while shapes are inferred.
const foldLimit = 1 << 16 // elements

// maxElems bounds every inferred tensor: 2^34 elements are beyond any machine Muster targets.
const maxElems = 1 << 34

// Infer sets dtype and shape of every value of g, and Const of every value that
// depends on constants only (shape arithmetic). Dimensions known by name stay so.
func Infer(g *graph.Graph) error {
	lists := map[*graph.Value][]sym{}
	for _, n := range g.Nodes {
		o, err := Of(g, n)
		if err != nil {
			return err
		}
		if err := inferNode(o, n, lists); err != nil {
			return err
		}
		fold(o, n)
		track(n, lists)
	}
	return nil
}

func inferNode(o *Op, n *graph.Node, lists map[*graph.Value][]sym) error {
	for i, v := range n.Inputs {
		if v != nil && v.Const != nil && v.Shape == nil {
			v.SetStatic(v.Const.DType, v.Const.Shape)
		}
		if v != nil && v.DType == tensor.Undefined {
			return fault.New(fault.Mismatch, n.Place(), "the type of input %d, %q, is not known", i, v.Name)
		}
		if v != nil && !numeric(v.DType) {
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
	if err := o.Infer(&InferCall{Node: n, In: n.Inputs, Out: n.Outputs, lists: lists}); err != nil {
		return err
	}
	for i, v := range n.Outputs {
		if v == nil {
			continue
		}
		if err := checkShape(n, v); err != nil {
			return err
		}
		if err := merge(n, v, &declared[i]); err != nil {
			return err
		}
	}
	return nil
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

// merge keeps what the file declared where inference knows less, and refuses contradictions.
func merge(n *graph.Node, v, declared *graph.Value) error {
	if declared.DType != tensor.Undefined && v.DType != declared.DType {
		return fault.New(fault.Mismatch, n.Place(), "output %q is declared %s but is %s", v.Name, declared.DType, v.DType)
	}
	if v.Shape == nil {
		v.Shape = declared.Shape
		return nil
	}
	if declared.Shape == nil {
		return nil
	}
	if len(v.Shape) != len(declared.Shape) {
		return fault.New(fault.Mismatch, n.Place(), "output %q is declared with rank %d but has %d", v.Name, len(declared.Shape), len(v.Shape))
	}
	for i, d := range declared.Shape {
		switch {
		case !v.Shape[i].Known() && (d.Known() || v.Shape[i].Name == ""):
			v.Shape[i] = d
		case v.Shape[i].Known() && d.Known() && v.Shape[i].Size != d.Size:
			return fault.New(fault.Mismatch, n.Place(), "output %q is declared %d on axis %d but is %d", v.Name, d.Size, i, v.Shape[i].Size)
		}
	}
	return nil
}

// fold computes small outputs of nodes whose inputs are all constant. A node that
// cannot be computed is left for run time, where its error has its place.
func fold(o *Op, n *graph.Node) {
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
	if o.Ref == nil {
		return
	}
	for _, v := range n.Outputs {
		if v == nil {
			c.Out = append(c.Out, nil)
			continue
		}
		s, ok := v.Static()
		if !ok || s.Elems() > foldLimit {
			return
		}
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
// given sizes, with every shape inferred. Unknown rank or an unbound name is an error.
func Bind(g *graph.Graph, dims map[string]int) (*graph.Graph, map[*graph.Value]*graph.Value, error) {
	c, m := g.Clone()
	if err := InlineFunctions(c); err != nil {
		return nil, nil, err
	}
	bind := func(v *graph.Value) {
		for i, d := range v.Shape {
			if n, ok := dims[d.Name]; ok && !d.Known() {
				v.Shape[i] = graph.Dim{Size: n, Name: d.Name}
			}
		}
	}
	for _, v := range c.Inputs {
		bind(v)
		if _, ok := v.Static(); !ok {
			return nil, nil, fault.New(fault.Mismatch, "input "+v.Name, "the shape %v is not bound", v.Shape)
		}
	}
	for _, n := range c.Nodes {
		for _, v := range n.Outputs {
			if v != nil {
				bind(v)
			}
		}
	}
	if err := inferComposites(c); err != nil {
		return nil, nil, err
	}
	for _, n := range c.Nodes {
		for _, v := range n.Outputs {
			if v == nil {
				continue
			}
			if _, ok := v.Static(); !ok {
				return nil, nil, fault.New(fault.Unsupported, n.Place(), "the shape of %q depends on data", v.Name)
			}
		}
	}
	return c, m, nil
}
