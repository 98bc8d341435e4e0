package exec

import (
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// expand replaces, again and again, what has neither a kernel for its shapes nor a reference by the body of its
// operator, and an If with a constant condition by the branch it takes, so that passes and kernels see what is
// inside. A body with shapes that depend on data stays: it gets a runner.
func (p *plan) expand(g *graph.Graph) error {
	for {
		var err error
		n, e := op.InlineAll(g, func(n *graph.Node) bool {
			if err != nil || constant(n) {
				return false
			}
			var yes bool
			yes, err = expands(g, n)
			return yes
		})
		if e != nil {
			return e
		}
		if err != nil || n == 0 {
			return err
		}
		if err := op.Infer(g); err != nil {
			return err
		}
	}
}

func expands(g *graph.Graph, n *graph.Node) (bool, error) {
	if br := op.Taken(n); br != nil {
		return inferred(br, n.Inputs[1:])
	}
	o, err := op.Of(g, n)
	if err != nil || o.Ref != nil || hasKernel(o, n) {
		return false, err
	}
	b, args, err := bodyGraph(g, o, n)
	if err != nil {
		return false, err
	}
	var in []*graph.Value
	for _, i := range args {
		in = append(in, n.Inputs[i])
	}
	return inferred(b, in)
}

// inferred reports whether every shape of g is known for inputs like in.
func inferred(g *graph.Graph, in []*graph.Value) (bool, error) {
	var feeds []*tensor.Tensor
	for _, v := range in {
		feeds = append(feeds, header(v))
	}
	b, err := op.Specialise(g, feeds, nil)
	if err != nil {
		return false, err
	}
	return op.Static(b.Graph) == nil, nil
}

// header is v's constant, or a tensor of its shape without data.
func header(v *graph.Value) *tensor.Tensor {
	if v == nil || v.Const != nil {
		if v == nil {
			return nil
		}
		return v.Const
	}
	s, _ := v.Static()
	return &tensor.Tensor{DType: v.DType, Shape: s}
}

func hasKernel(o *op.Op, n *graph.Node) bool {
	if o.Prepare == nil {
		return false
	}
	p := &op.Prep{Node: n}
	for _, v := range n.Inputs {
		p.In = append(p.In, header(v))
	}
	for _, v := range n.Outputs {
		if v == nil {
			p.Out = append(p.Out, nil)
			continue
		}
		s, _ := v.Static()
		p.Out = append(p.Out, &tensor.Tensor{DType: v.DType, Shape: s})
	}
	k, ok := o.Prepare(p)
	return ok && k.Run != nil
}
