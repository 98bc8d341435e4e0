package exec

import (
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// buffer is one stretch of memory with the values that live in it.
type buffer struct {
	size       int
	first      int // step that writes it first
	last       int // last step that reads it
	offset     int
	constant   *tensor.Tensor
	input      *tensor.Tensor
	tensors    []*tensor.Tensor
	persistent bool    // outputs stay to the end
	within     *buffer // nil, or the buffer that this one writes over
}

// layout assigns a buffer to every value.
type layout struct {
	buf  map[*graph.Value]*buffer
	ten  map[*graph.Value]*tensor.Tensor
	list []*buffer // arena buffers in the order of their first step
	now  int
	cons int
}

func newLayout(g *graph.Graph) *layout {
	l := &layout{buf: map[*graph.Value]*buffer{}, ten: map[*graph.Value]*tensor.Tensor{}}
	for _, v := range g.Inits {
		l.addConst(v)
	}
	for _, v := range g.Inputs {
		s, _ := v.Static()
		t := &tensor.Tensor{DType: v.DType, Shape: s}
		if v.Const != nil { // its value is part of the plan's key
			t.Data = v.Const.Data
		}
		l.ten[v], l.buf[v] = t, &buffer{input: t, first: -1}
	}
	for _, n := range g.Nodes {
		for _, v := range n.Outputs {
			if v != nil && v.Const != nil {
				l.addConst(v)
			}
		}
	}
	return l
}

func (l *layout) addConst(v *graph.Value) {
	l.ten[v], l.buf[v] = v.Const, &buffer{constant: v.Const, first: -1}
	l.cons += len(v.Const.Data)
}

func (l *layout) tensor(v *graph.Value) *tensor.Tensor {
	if v == nil {
		return nil
	}
	return l.ten[v]
}

// prepare chooses a kernel for n and makes the headers of its outputs.
func (l *layout) prepare(r *runner, g *graph.Graph, n *graph.Node) (step, error) {
	o, err := op.Of(g, n)
	if err != nil {
		return step{}, err
	}
	st := step{node: n, op: o}
	for _, v := range n.Inputs {
		st.in = append(st.in, l.tensor(v))
	}
	for _, v := range n.Outputs {
		if v == nil {
			st.out = append(st.out, nil)
			continue
		}
		s, _ := v.Static()
		t := &tensor.Tensor{DType: v.DType, Shape: s}
		l.ten[v] = t
		st.out = append(st.out, t)
		st.bytes += int64(v.DType.Bytes(s.Elems()))
	}
	for _, t := range st.in {
		if t != nil {
			st.bytes += int64(t.DType.Bytes(t.Elems()))
		}
	}
	st.flops = flops(o, n)
	l.now++
	if st.isView() {
		l.share(n.Inputs[0], n.Outputs[0])
		return st, nil
	}
	if o.Prepare != nil {
		k, ok := o.Prepare(&op.Prep{Node: n, In: st.in, Out: st.out})
		if ok {
			st.kernel = k
		}
	}
	if st.kernel.Run == nil {
		st.ref = r.call(n, st.in, st.out)
		if o.Ref == nil {
			if st.body, st.args, err = r.body(g, o, n); err != nil {
				return step{}, err
			}
		}
	}
	for i, v := range n.Outputs {
		if v != nil {
			l.output(st, i, v)
		}
	}
	return st, nil
}

// isView reports whether the node's output is its input under another shape.
func (st *step) isView() bool { return st.op.View && !st.node.Inputs[0].DType.IsContainer() }

func flops(o *op.Op, n *graph.Node) int64 {
	if o.Flops != nil {
		return o.Flops(n.Inputs, n.Outputs)
	}
	if o.View || len(n.Outputs) == 0 || n.Outputs[0] == nil {
		return 0
	}
	s, _ := n.Outputs[0].Static()
	return int64(s.Elems())
}

func (l *layout) share(from, to *graph.Value) {
	b := l.buf[from]
	l.buf[to] = b
	b.tensors = append(b.tensors, l.ten[to])
}

func (l *layout) output(st step, i int, v *graph.Value) {
	t := l.ten[v]
	b := &buffer{size: len64(t), first: l.now - 1, last: l.now - 1, tensors: []*tensor.Tensor{t}}
	if i == 0 && st.kernel.Over > 0 {
		b.first = l.now - 1
	}
	l.buf[v] = b
	l.list = append(l.list, b)
}

func len64(t *tensor.Tensor) int { return (t.DType.Bytes(t.Elems()) + 63 + 64) &^ 63 }

// lifetimes finds the last reader of every buffer; then lets kernels that may
// write over an input that dies there do so.
func (l *layout) lifetimes(steps []step) {
	for i := range steps {
		for _, v := range steps[i].node.Inputs {
			if v != nil && l.buf[v] != nil {
				l.buf[v].last = max(l.buf[v].last, i)
			}
		}
	}
	for i := range steps {
		st := &steps[i]
		if st.kernel.Over == 0 {
			continue
		}
		src, dst := l.buf[st.node.Inputs[st.kernel.Over-1]].root(), l.buf[st.node.Outputs[0]]
		if src.constant != nil || src.input != nil || src.persistent || src.last != i || src.size < dst.size || src == dst {
			continue
		}
		src.last = dst.last
		src.persistent = src.persistent || dst.persistent
		src.tensors = append(src.tensors, dst.tensors...)
		dst.size, dst.tensors, dst.within = -1, nil, src
	}
}

// root is the buffer whose memory b uses.
func (b *buffer) root() *buffer {
	r := b
	for r.within != nil {
		r = r.within
	}
	for b != r {
		b, b.within = b.within, r
	}
	return r
}

// bind points every tensor header at its bytes.
func (l *layout) bind(mem []byte) {
	for _, b := range l.list {
		for _, t := range b.tensors {
			n := t.DType.Bytes(t.Elems())
			t.Data = mem[b.offset : b.offset+n : b.offset+b.size]
		}
	}
	for _, b := range l.buf {
		if b.constant != nil {
			for _, t := range b.tensors {
				t.Data = b.constant.Data
			}
		}
	}
}

// inputViews lists the tensors that share the bytes of an input.
func (l *layout) inputViews() []view {
	var vs []view
	seen := map[*buffer]bool{}
	for _, b := range l.buf {
		if b.input != nil && !seen[b] {
			seen[b] = true
			for _, t := range b.tensors {
				vs = append(vs, view{t, b.input})
			}
		}
	}
	return vs
}

func (l *layout) reportOf(steps []step, arena int) Report {
	r := Report{Nodes: len(steps), ArenaBytes: arena, ConstBytes: l.cons, Operators: map[string]int{}, Reference: map[string]int{}, IntegerOps: map[string]int{}}
	for i := range steps {
		st := &steps[i]
		r.Flops += st.flops
		r.Operators[st.node.FullOp()]++
		if st.kernel.Integer {
			r.Integer++
			r.IntegerOps[st.node.FullOp()]++
			r.IntegerFlops += st.flops
		}
		if st.ref != nil {
			r.Reference[st.node.FullOp()]++
		}
	}
	return r
}
