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
	c, err := prepared(g)
	if err != nil {
		return nil, err
	}
	if err := bindings(c, feeds, map[string]int{}); err != nil {
		return nil, err
	}
	return evaluate(c, feeds, &env{steps: maxSteps}, 0)
}

// prepared returns a copy of g without function calls whose subgraphs are closed.
func prepared(g *graph.Graph) (*graph.Graph, error) {
	c, _ := g.Clone()
	if err := op.InlineFunctions(c); err != nil {
		return nil, err
	}
	return c, op.Lift(c)
}

// evaluator runs the nodes of one graph one after the other. Every value is a constant to the shape rule of its
// reader, so that no shape is open except those that an operator finds itself.
type evaluator struct {
	g     *graph.Graph
	env   *env
	step  uint64
	bytes int
}

func evaluate(g *graph.Graph, feeds []*tensor.Tensor, e *env, step uint64) ([]*tensor.Tensor, error) {
	c, _ := g.Clone()
	for i, v := range c.Inputs {
		op.SetType(v, feeds[i])
		v.Const = feeds[i]
	}
	ev := &evaluator{g: c, env: e, step: step}
	for _, n := range c.Nodes {
		if err := ev.node(n); err != nil {
			return nil, err
		}
	}
	out := make([]*tensor.Tensor, len(c.Outputs))
	for i, v := range c.Outputs {
		out[i] = v.Const
	}
	return out, nil
}

func (ev *evaluator) node(n *graph.Node) error {
	o, err := op.InferNode(ev.g, n)
	if err != nil {
		return err
	}
	if constant(n) {
		return nil
	}
	var in, out []*tensor.Tensor
	for _, v := range n.Inputs {
		if v == nil {
			in = append(in, nil)
			continue
		}
		in = append(in, v.Const)
	}
	for _, v := range n.Outputs {
		t, err := ev.output(o, n, v)
		if err != nil {
			return err
		}
		out = append(out, t)
	}
	if o.Ref == nil {
		out, err = ev.body(o, n)
	} else {
		c := newCall(n, in, out, ev.env, func(g *graph.Graph, feeds []*tensor.Tensor, _ []bool, step uint64) ([]*tensor.Tensor, error) {
			return evaluate(g, feeds, ev.env, step)
		})
		c.Step = ev.step
		err = o.Ref(c)
	}
	if err != nil {
		return fault.At(n.Place(), err)
	}
	for i, v := range n.Outputs {
		if v == nil {
			continue
		}
		if err := whole(n, v, out[i]); err != nil {
			return err
		}
		op.SetType(v, out[i])
		v.Const = out[i]
	}
	return nil
}

// output makes room for a value; its shape is nil if the operator finds it.
func (ev *evaluator) output(o *op.Op, n *graph.Node, v *graph.Value) (*tensor.Tensor, error) {
	if v == nil {
		return nil, nil
	}
	s, ok := v.Static()
	if !ok {
		if !o.Dynamic && o.Ref != nil {
			return nil, fault.New(fault.Unsupported, n.Place(), "the shape of %q cannot be inferred", v.Name)
		}
		return &tensor.Tensor{DType: v.DType}, nil
	}
	ev.bytes += v.DType.Bytes(s.Elems())
	if err := affordable(ev.bytes); err != nil {
		return nil, fault.At(n.Place(), err)
	}
	return tensor.New(v.DType, s...), nil
}

// whole checks what an operator that found its own shape made of an output.
func whole(n *graph.Node, v *graph.Value, t *tensor.Tensor) error {
	if t == nil || t.Shape == nil || t.DType != v.DType || len(t.Data) != t.DType.Bytes(t.Elems()) {
		return fault.New(fault.Internal, n.Place(), "output %q was not made", v.Name)
	}
	return nil
}

// body evaluates an operator that is defined by other operators.
func (ev *evaluator) body(o *op.Op, n *graph.Node) ([]*tensor.Tensor, error) {
	g, feeds, err := bodyGraph(ev.g, o, n)
	if err != nil {
		return nil, err
	}
	var in []*tensor.Tensor
	for _, i := range feeds {
		in = append(in, n.Inputs[i].Const)
	}
	c, err := prepared(g)
	if err != nil {
		return nil, err
	}
	out, err := evaluate(c, in, ev.env, ev.step)
	if err == nil && len(out) < len(n.Outputs) {
		err = fault.New(fault.Internal, n.Place(), "%d outputs, the body makes %d", len(n.Outputs), len(out))
	}
	return out, err
}

// bodyGraph is the body of n as a graph whose inputs are those of n with the given indices. Constants stay what they are.
func bodyGraph(model *graph.Graph, o *op.Op, n *graph.Node) (*graph.Graph, []int, error) {
	g := graph.New(n.Op)
	g.Model.Opsets, g.Model.Functions = model.Model.Opsets, model.Model.Functions
	b := graph.NewBuilder(g)
	var in []*graph.Value
	var feeds []int
	for i, v := range n.Inputs {
		if v == nil {
			in = append(in, nil)
			continue
		}
		w := b.Input(v.Name, v.DType, v.Shape...)
		w.Const, w.Elem = v.Const, v.Elem
		in, feeds = append(in, w), append(feeds, i)
	}
	if g.Outputs = o.Body(b, n, in); g.Outputs == nil {
		return nil, nil, fault.New(fault.Unsupported, n.Place(), "%s cannot be written as other operators for these shapes", n.FullOp())
	}
	return g, feeds, nil
}

// newCall makes the reference call of a node; run evaluates its subgraphs.
func newCall(n *graph.Node, in, out []*tensor.Tensor, e *env, run func(*graph.Graph, []*tensor.Tensor, []bool, uint64) ([]*tensor.Tensor, error)) *op.Call {
	c := &op.Call{Node: n, In: in, Out: out, Steps: &e.steps}
	has := false
	n.Subgraphs(func(*graph.Graph) { has = true })
	if !has {
		return c
	}
	var feeds []*tensor.Tensor
	var known []bool
	c.Sub = func(attr string, args []*tensor.Tensor, iter int) ([]*tensor.Tensor, error) {
		a, tail := n.Attr(attr), op.Captured(n)
		if a == nil || a.G == nil || len(args)+tail != len(a.G.Inputs) {
			return nil, fault.New(fault.Malformed, n.Place(), "attribute %s is not a graph of %d inputs", attr, len(args))
		}
		feeds, known = append(feeds[:0], args...), known[:0]
		for range args {
			known = append(known, false)
		}
		for i := len(n.Inputs) - tail; i < len(n.Inputs); i++ {
			feeds, known = append(feeds, c.In[i]), append(known, keyed(n.Inputs[i]))
		}
		out, err := run(a.G, feeds, known, op.SubStep(c.Step, iter))
		return out, fault.At(attr, err)
	}
	return c
}

// maxKnown bounds the constants that become part of a plan's key.
const maxKnown = 4096 // bytes

// keyed reports whether v is a constant small enough to be part of a plan's key.
func keyed(v *graph.Value) bool {
	return v.Const != nil && len(v.Const.Data) <= maxKnown && !v.DType.IsContainer()
}

// bindings reads the sizes of the named dimensions from what is fed, and refuses
// feeds that do not fit the declared inputs.
func bindings(g *graph.Graph, feeds []*tensor.Tensor, dims map[string]int) error {
	if len(feeds) != len(g.Inputs) {
		return fault.New(fault.Mismatch, "graph "+g.Name, "%d inputs are fed, the graph has %d", len(feeds), len(g.Inputs))
	}
	for i, v := range g.Inputs {
		if err := fits(v, feeds[i], dims); err != nil {
			return err
		}
	}
	return nil
}

// fits compares what is fed with what the input declares; what it leaves open is bound by what is fed.
func fits(v *graph.Value, t *tensor.Tensor, dims map[string]int) error {
	place := "input " + v.Name
	if t == nil {
		return fault.New(fault.Mismatch, place, "it is not fed")
	}
	if v.DType != tensor.Undefined && t.DType != v.DType {
		return fault.New(fault.Mismatch, place, "it is %s, the model takes %s", t.DType, v.DType)
	}
	if n, ok := t.Shape.CheckedElems(); !ok || t.DType.Bytes(n) != len(t.Data) && t.Data != nil {
		return fault.New(fault.Mismatch, place, "%d bytes do not fill %s %s", len(t.Data), t.DType, t.Shape)
	}
	if v.Shape == nil || v.DType.IsContainer() {
		return nil
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
			continue
		}
		if m, ok := dims[d.Name]; ok && m != n {
			return fault.New(fault.Mismatch, place, "%q is %d here and %d in another input", d.Name, n, m)
		}
		dims[d.Name] = n
	}
	return nil
}
