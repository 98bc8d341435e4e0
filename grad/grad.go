// Package grad appends the backward graph: reverse-mode differentiation by the
// local rules of the operators (package op). The result is ordinary nodes, so it
// is exported, optimised and differentiated again like any other graph.
package grad

import (
	"muster/fault"
	"muster/graph"
	"muster/op"
)

// Build appends the gradient of the scalar loss by each value of wrt and returns
// them in that order, each of the shape and dtype of its value.
//
// Contributions to one value are added in the reverse order of their readers. A
// forward node may get further outputs (saved statistics), and a node that has a
// body but no rule is replaced by its body. Shapes are inferred before and after.
//
// Errors: mismatch if loss is not a floating-point scalar or does not depend on a
// value; unsupported, with the node and the reason, if a rule is missing on the way.
func Build(b *graph.Builder, loss *graph.Value, wrt []*graph.Value) ([]*graph.Value, error) {
	return build(b, loss, wrt, VJP)
}

// Partial is Build with a nil gradient for the values that the loss does not depend on:
// for all parameters of a file. For parameters that someone chose, not to learn is an error.
func Partial(b *graph.Builder, loss *graph.Value, wrt []*graph.Value) ([]*graph.Value, error) {
	return build(b, loss, wrt, vjp)
}

type differentiate func(b *graph.Builder, ys, dys, wrt []*graph.Value) ([]*graph.Value, error)

func build(b *graph.Builder, loss *graph.Value, wrt []*graph.Value, f differentiate) ([]*graph.Value, error) {
	if err := op.Infer(b.G); err != nil {
		return nil, err
	}
	if !loss.DType.IsFloat() || !scalar(loss) {
		return nil, fault.New(fault.Mismatch, "value "+loss.Name, "a loss is a floating-point scalar, this is %s %v", loss.DType, loss.Shape)
	}
	one, _ := op.Scalar(loss.DType, 1)
	one.Shape = ones(len(loss.Shape))
	return f(b, []*graph.Value{loss}, []*graph.Value{b.Init("seed", one)}, wrt)
}

// VJP is Build for any outputs ys: it returns the sum over k of dys[k] times the
// Jacobian of ys[k] by each value of wrt. dys[k] has the shape and dtype of ys[k].
func VJP(b *graph.Builder, ys, dys, wrt []*graph.Value) ([]*graph.Value, error) {
	out, err := vjp(b, ys, dys, wrt)
	if err != nil {
		return nil, err
	}
	for i, v := range wrt {
		if out[i] == nil {
			return nil, unreached(b.G, v)
		}
	}
	return out, nil
}

// vjp is VJP with nil for what ys do not depend on.
func vjp(b *graph.Builder, ys, dys, wrt []*graph.Value) ([]*graph.Value, error) {
	if err := op.Infer(b.G); err != nil {
		return nil, err
	}
	if err := takeBranches(b.G); err != nil {
		return nil, err
	}
	if err := inlineBodies(b.G, ys, wrt); err != nil {
		return nil, err
	}
	w := &walk{b: b, need: needed(b.G, wrt), parts: map[*graph.Value][]*graph.Value{}}
	for k, y := range ys {
		w.give(y, dys[k])
	}
	nodes := append([]*graph.Node{}, b.G.Nodes...)
	for i := len(nodes) - 1; i >= 0; i-- {
		if err := w.node(nodes[i]); err != nil {
			return nil, err
		}
	}
	out := make([]*graph.Value, len(wrt))
	for i, v := range wrt {
		out[i] = w.total(v)
	}
	if err := op.Infer(b.G); err != nil {
		return nil, err
	}
	return out, check(wrt, out)
}

func scalar(v *graph.Value) bool {
	for _, d := range v.Shape {
		if d.Size != 1 {
			return false
		}
	}
	return v.Shape != nil
}

func ones(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = 1
	}
	return s
}

// needed are the values that depend on wrt through floating-point values.
func needed(g *graph.Graph, wrt []*graph.Value) map[*graph.Value]bool {
	need := map[*graph.Value]bool{}
	for _, v := range wrt {
		need[v] = true
	}
	for _, n := range g.Nodes {
		if reads(n, need) {
			for _, v := range n.Outputs {
				if v != nil && v.DType.IsFloat() {
					need[v] = true
				}
			}
		}
	}
	return need
}

func reads(n *graph.Node, set map[*graph.Value]bool) bool {
	for _, v := range n.Inputs {
		if v != nil && set[v] {
			return true
		}
	}
	for _, v := range n.Captured() {
		if set[v] {
			return true
		}
	}
	return false
}

// inlineBodies replaces nodes between wrt and ys that have no rule but a body that may be differentiated.
func inlineBodies(g *graph.Graph, ys, wrt []*graph.Value) error {
	for again := true; again; {
		again = false
		need, reach := needed(g, wrt), reaching(g, ys)
		for _, n := range append([]*graph.Node{}, g.Nodes...) {
			o, err := op.Of(g, n)
			if err != nil {
				return err
			}
			if o.Grad != nil || o.Body == nil || o.NoGrad != "" || !reads(n, need) || !makes(n, reach) {
				continue
			}
			if err := op.Inline(g, n); err != nil {
				return err
			}
			again = true
		}
		if again {
			if err := op.Infer(g); err != nil {
				return err
			}
		}
	}
	return nil
}

// reaching are the values that ys depend on.
func reaching(g *graph.Graph, ys []*graph.Value) map[*graph.Value]bool {
	reach := map[*graph.Value]bool{}
	for _, v := range ys {
		reach[v] = true
	}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		if makes(g.Nodes[i], reach) {
			for _, v := range g.Nodes[i].Inputs {
				if v != nil {
					reach[v] = true
				}
			}
			for _, v := range g.Nodes[i].Captured() {
				reach[v] = true
			}
		}
	}
	return reach
}

func makes(n *graph.Node, set map[*graph.Value]bool) bool {
	for _, v := range n.Outputs {
		if v != nil && set[v] {
			return true
		}
	}
	return false
}

// walk holds the gradients while the nodes are visited backwards.
type walk struct {
	b     *graph.Builder
	need  map[*graph.Value]bool
	parts map[*graph.Value][]*graph.Value // contributions in the order they arise
}

func (w *walk) give(v, d *graph.Value) {
	if v != nil && d != nil && w.need[v] {
		w.parts[v] = append(w.parts[v], d)
	}
}

// total adds the contributions to v from the left; nil if there are none.
func (w *walk) total(v *graph.Value) *graph.Value {
	p := w.parts[v]
	if len(p) == 0 {
		return nil
	}
	sum := p[0]
	for _, d := range p[1:] {
		sum = w.b.Op("Add", sum, d)
	}
	w.parts[v] = []*graph.Value{sum}
	return sum
}

// node hands the gradient of n's outputs on to its inputs.
func (w *walk) node(n *graph.Node) error {
	c := &op.GradCall{B: w.b, Node: n, In: n.Inputs, Out: n.Outputs}
	any := false
	for _, v := range n.Outputs {
		var d *graph.Value
		if v != nil && w.need[v] {
			d = w.total(v)
		}
		any = any || d != nil
		c.DOut = append(c.DOut, d)
	}
	if !any || !reads(n, w.need) {
		return nil
	}
	for _, v := range n.Inputs {
		c.Need = append(c.Need, v != nil && w.need[v])
	}
	o, err := op.Of(w.b.G, n)
	if err != nil {
		return err
	}
	if o.Grad == nil {
		return noGrad(n, o)
	}
	c.Captured = n.Captured()
	for _, v := range c.Captured {
		c.NeedCaptured = append(c.NeedCaptured, w.need[v])
	}
	c.Branch = func(g *graph.Graph, wrt []*graph.Value) (*graph.Graph, error) { return w.branch(n, g, c.DOut, wrt) }
	for i, d := range o.Grad(c) {
		if i < len(n.Inputs) {
			w.give(n.Inputs[i], d)
		} else if i -= len(n.Inputs); i < len(c.Captured) {
			w.give(c.Captured[i], d)
		}
	}
	return c.Err
}

func noGrad(n *graph.Node, o *op.Op) error {
	return fault.New(fault.Unsupported, n.Place(), "%s has no gradient: %s", n.FullOp(), o.NoGrad)
}

// unreached says why no gradient arrives at v.
func unreached(g *graph.Graph, v *graph.Value) error {
	if !v.DType.IsFloat() {
		return fault.New(fault.Mismatch, "value "+v.Name, "it is %s; only floating-point values have a gradient", v.DType)
	}
	need := needed(g, []*graph.Value{v})
	for _, n := range g.Nodes {
		if o, err := op.Of(g, n); err == nil && o.NoGrad != "" && reads(n, need) && !makes(n, need) && n.Op != "Shape" {
			return noGrad(n, o)
		}
	}
	return fault.New(fault.Mismatch, "value "+v.Name, "the loss does not depend on it, or only by steps whose derivative is 0")
}

// check compares the gradients with the values they belong to; a difference is a defect of a rule.
func check(wrt, grads []*graph.Value) error {
	for i, v := range wrt {
		if grads[i] == nil {
			continue
		}
		a, ok1 := v.Static()
		b, ok2 := grads[i].Static()
		if grads[i].DType != v.DType || ok1 && ok2 && !a.Equal(b) {
			return fault.New(fault.Internal, "value "+v.Name, "it is %s %v, its gradient %s %v", v.DType, v.Shape, grads[i].DType, grads[i].Shape)
		}
	}
	return nil
}
