// Package exec runs graphs: Eval, the reference evaluator, and Session, which
// specialises a graph to the shapes it is fed, places every buffer in one arena
// and runs prepared kernels without allocating.
package exec

import (
	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// Eval computes the outputs of g by the reference of every operator. It is slow
// and simple: what every kernel is compared with. feeds are in the order of g.Inputs.
func Eval(g *graph.Graph, feeds []*tensor.Tensor) ([]*tensor.Tensor, error) {
	dims, err := bindings(g, feeds)
	if err != nil {
		return nil, err
	}
	b, _, err := op.Bind(g, dims)
	if err != nil {
		return nil, err
	}
	env := map[*graph.Value]*tensor.Tensor{}
	for i, v := range b.Inputs {
		env[v] = feeds[i]
	}
	get := func(v *graph.Value) *tensor.Tensor {
		if v != nil && v.Const != nil {
			return v.Const
		}
		return env[v]
	}
	for _, n := range b.Nodes {
		if err := evalNode(b, n, get, env); err != nil {
			return nil, err
		}
	}
	out := make([]*tensor.Tensor, len(b.Outputs))
	for i, v := range b.Outputs {
		out[i] = get(v)
	}
	return out, nil
}

func evalNode(g *graph.Graph, n *graph.Node, get func(*graph.Value) *tensor.Tensor, env map[*graph.Value]*tensor.Tensor) error {
	o, err := op.Of(g, n)
	if err != nil {
		return err
	}
	if o.Ref == nil {
		return evalBody(g, o, n, get, env)
	}
	c := &op.Call{Node: n}
	for _, v := range n.Inputs {
		c.In = append(c.In, get(v))
	}
	for _, v := range n.Outputs {
		if v == nil {
			c.Out = append(c.Out, nil)
			continue
		}
		s, _ := v.Static()
		c.Out = append(c.Out, tensor.New(v.DType, s...))
		env[v] = c.Out[len(c.Out)-1]
	}
	return fault.At(n.Place(), o.Ref(c))
}

// evalBody evaluates an operator that is defined by other operators.
func evalBody(g *graph.Graph, o *op.Op, n *graph.Node, get func(*graph.Value) *tensor.Tensor, env map[*graph.Value]*tensor.Tensor) error {
	body := graph.New(n.Op)
	body.Model.Opsets = g.Model.Opsets
	b := graph.NewBuilder(body)
	var in []*graph.Value
	var feeds []*tensor.Tensor
	for _, v := range n.Inputs {
		if v == nil {
			in = append(in, nil)
			continue
		}
		w := b.Input(v.Name, v.DType, v.Shape...)
		in, feeds = append(in, w), append(feeds, get(v))
	}
	body.Outputs = o.Body(b, n, in)
	res, err := Eval(body, feeds)
	if err != nil {
		return fault.At(n.Place(), err)
	}
	for i, v := range n.Outputs {
		if v != nil {
			env[v] = res[i]
		}
	}
	return nil
}

// bindings reads the sizes of the named dimensions from what is fed, and refuses
// feeds that do not fit the declared inputs.
func bindings(g *graph.Graph, feeds []*tensor.Tensor) (map[string]int, error) {
	if len(feeds) != len(g.Inputs) {
		return nil, fault.New(fault.Mismatch, "graph "+g.Name, "%d inputs are fed, the graph has %d", len(feeds), len(g.Inputs))
	}
	dims := map[string]int{}
	for i, v := range g.Inputs {
		if err := fits(v, feeds[i], dims); err != nil {
			return nil, err
		}
	}
	return dims, nil
}

func fits(v *graph.Value, t *tensor.Tensor, dims map[string]int) error {
	place := "input " + v.Name
	if t == nil {
		return fault.New(fault.Mismatch, place, "it is not fed")
	}
	if t.DType != v.DType {
		return fault.New(fault.Mismatch, place, "it is %s, the model takes %s", t.DType, v.DType)
	}
	if len(t.Shape) != len(v.Shape) {
		return fault.New(fault.Mismatch, place, "its shape is %s, the model takes %v", t.Shape, v.Shape)
	}
	for k, d := range v.Shape {
		n := t.Shape[k]
		if d.Known() {
			if d.Size != n {
				return fault.New(fault.Mismatch, place, "its shape is %s, the model takes %v", t.Shape, v.Shape)
			}
			continue
		}
		if d.Name == "" {
			return fault.New(fault.Unsupported, place, "axis %d has neither a size nor a name", k).
				WithHint("name the axis when exporting the model")
		}
		if m, ok := dims[d.Name]; ok && m != n {
			return fault.New(fault.Mismatch, place, "%q is %d here and %d in another input", d.Name, n, m)
		}
		dims[d.Name] = n
	}
	return nil
}
