package exec

import (
	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// tailNode is a node whose output shapes the data decide. Its shape rule runs with the values at hand; an operator
// that is Dynamic finds what is still open itself.
type tailNode struct {
	node  *graph.Node // a copy: its values get what is known in a run
	model *graph.Graph
	op    *op.Op
	call  *op.Call
	from  []int // outputs of the head that are the inputs; -1: absent
	konst []bool
	asked []bool // inputs whose values decide

	body *runner // of an operator that is defined by others
	args []int   // inputs of body

	key, last []byte // shapes and deciding values of this run and of the one that kernel was chosen in
	kernel    op.Kernel
	scratch   []byte
}

func (p *plan) tailNode(b *op.Bound, n *graph.Node, w *wiring) (*tailNode, error) {
	o, err := op.Of(b.Graph, n)
	if err != nil {
		return nil, err
	}
	t := &tailNode{node: alone(n), model: b.Graph, op: o, asked: make([]bool, len(n.Inputs))}
	for _, i := range b.Asked[n] {
		t.asked[i] = true
	}
	for i, v := range n.Inputs {
		if v == nil {
			t.from, t.konst = append(t.from, -1), append(t.konst, false)
			continue
		}
		t.from, t.konst = append(t.from, w.source(v).index), append(t.konst, v.Const != nil)
		t.asked[i] = t.asked[i] || len(b.Asked[n]) == 0
	}
	t.call = p.r.call(t.node, make([]*tensor.Tensor, len(n.Inputs)), make([]*tensor.Tensor, len(n.Outputs)))
	if o.Ref == nil {
		t.body, t.args, err = p.r.body(b.Graph, o, n)
	}
	return t, err
}

// alone is a copy of n with copies of its values.
func alone(n *graph.Node) *graph.Node {
	c := *n
	values := func(vs []*graph.Value) []*graph.Value {
		out := make([]*graph.Value, len(vs))
		for i, v := range vs {
			if v != nil {
				w := *v
				out[i] = &w
			}
		}
		return out
	}
	c.Inputs, c.Outputs = values(n.Inputs), values(n.Outputs)
	return &c
}

func (t *tailNode) run(step uint64) error {
	t.call.Step = step
	if t.body != nil {
		for i, v := range t.node.Outputs {
			if v != nil {
				t.call.Out[i] = &tensor.Tensor{DType: v.DType}
			}
		}
		return runBody(t.body, t.args, t.asked, t.call)
	}
	t.key = t.appendKey(t.key[:0])
	if t.last == nil || string(t.key) != string(t.last) {
		if err := t.prepare(); err != nil {
			return err
		}
	}
	if t.kernel.Run != nil {
		if t.kernel.Check != nil {
			if err := t.kernel.Check(t.call.In); err != nil {
				return err
			}
		}
		if t.kernel.Step != nil {
			t.kernel.Step(step)
		}
		t.kernel.Run(t.call.In, t.call.Out, t.scratch)
		return nil
	}
	return t.reference()
}

// reference calls Ref with outputs that are zero, or empty where the operator finds their shapes.
func (t *tailNode) reference() error {
	for i, v := range t.node.Outputs {
		switch s, ok := valueShape(v); {
		case v == nil:
		case !ok:
			t.call.Out[i] = &tensor.Tensor{DType: v.DType}
		case t.call.Out[i] == nil:
			t.call.Out[i] = tensor.New(v.DType, s...)
		default:
			clear(t.call.Out[i].Data)
		}
	}
	if err := t.op.Ref(t.call); err != nil {
		return err
	}
	for i, v := range t.node.Outputs {
		if v != nil {
			if err := whole(t.node, v, t.call.Out[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func valueShape(v *graph.Value) (tensor.Shape, bool) {
	if v == nil {
		return nil, false
	}
	return v.Static()
}

// appendKey appends what the kernel choice depends on.
func (t *tailNode) appendKey(b []byte) []byte {
	for i, x := range t.call.In {
		if x == nil {
			continue
		}
		b = append(b, byte(x.DType), byte(len(x.Shape)))
		for _, d := range x.Shape {
			b = append(b, byte(d), byte(d>>8), byte(d>>16), byte(d>>24), byte(d>>32))
		}
		if t.asked[i] && !t.op.Dynamic {
			b = append(b, x.Data...)
		}
	}
	return b
}

// prepare infers the output shapes from the values at hand and chooses a kernel.
func (t *tailNode) prepare() error {
	t.last = nil
	for i, v := range t.node.Inputs {
		if v != nil {
			op.SetType(v, t.call.In[i])
			v.Const = t.call.In[i]
		}
	}
	for i, v := range t.node.Outputs {
		if t.call.Out[i] = nil; v != nil {
			v.Shape = nil
		}
	}
	if t.op.Dynamic { // its rule may not look at values: they are not part of the key
		for i, v := range t.node.Inputs {
			if v != nil && !t.konst[i] {
				v.Const = nil
			}
		}
	}
	if _, err := op.InferNode(t.model, t.node); err != nil {
		return err
	}
	bytes := 0
	for i, v := range t.node.Outputs {
		s, ok := valueShape(v)
		if v == nil || !ok {
			if v != nil && !t.op.Dynamic {
				return fault.New(fault.Unsupported, "", "the shape of %q cannot be inferred", v.Name)
			}
			continue
		}
		bytes += v.DType.Bytes(s.Elems())
		if err := affordable(bytes); err != nil {
			return err
		}
		t.call.Out[i] = tensor.New(v.DType, s...)
	}
	t.choose()
	t.last = append(t.last[:0], t.key...)
	return nil
}

// choose prepares a kernel where every output has a shape.
func (t *tailNode) choose() {
	t.kernel, t.scratch = op.Kernel{}, nil
	if t.op.Prepare == nil {
		return
	}
	p := &op.Prep{Node: t.node, Out: t.call.Out}
	for i, v := range t.node.Outputs {
		if v != nil && t.call.Out[i] == nil {
			return
		}
	}
	for i, x := range t.call.In {
		switch {
		case x == nil:
			p.In = append(p.In, nil)
		case t.konst[i] || t.asked[i] && !t.op.Dynamic:
			p.In = append(p.In, x.Clone())
		default:
			p.In = append(p.In, &tensor.Tensor{DType: x.DType, Shape: x.Shape})
		}
	}
	if k, ok := t.op.Prepare(p); ok && k.Run != nil {
		t.kernel, t.scratch = k, tensor.Alloc(k.Scratch)
	}
}

// body is the runner of an operator's body and which of n's inputs it takes.
func (r *runner) body(g *graph.Graph, o *op.Op, n *graph.Node) (*runner, []int, error) {
	b, args, err := bodyGraph(g, o, n)
	if err != nil {
		return nil, nil, err
	}
	if b, err = prepared(b); err != nil {
		return nil, nil, err
	}
	s := newRunner(detached(b), r.env, r.depth+1)
	r.bodies = append(r.bodies, s)
	return s, args, nil
}

// runBody runs a body as the reference of a node: outputs whose shape is known are copied, the others handed over.
// asked are inputs of the node whose values decide over shapes; nil: none.
func runBody(r *runner, args []int, asked []bool, c *op.Call) error {
	feeds, known := make([]*tensor.Tensor, len(args)), make([]bool, len(args))
	for i, k := range args {
		feeds[i], known[i] = c.In[k], keyed(c.Node.Inputs[k]) || asked != nil && asked[k]
	}
	out, err := r.run(feeds, known, c.Step)
	if err != nil {
		return err
	}
	for i, t := range c.Out {
		switch {
		case t == nil:
		case i >= len(out) || t.DType != out[i].DType || t.Shape != nil && !t.Shape.Equal(out[i].Shape):
			return fault.New(fault.Internal, c.Node.Place(), "output %d of the body is not %s %s", i, t.DType, t.Shape)
		case t.DType.IsContainer() || t.Shape == nil:
			c.Out[i] = out[i].Clone()
		default:
			copy(t.Data, out[i].Data)
		}
	}
	return nil
}
