package pass

import (
	"slices"

	"muster/graph"
	"muster/tensor"
)

// axisView is how one axis of a view walks through the elements of its root: index i is at (i / rep) * stride.
type axisView struct{ n, stride, rep int }

// view says that a value holds the elements of its root, times a factor, in another order.
type view struct {
	root   *graph.Value
	at     int // first element
	axes   []axisView
	factor float64
}

// viewsOf returns what v is a view of, from v itself to the farthest root: the values it is made of by operators
// that only move elements, and by products with a scalar constant.
func viewsOf(v *graph.Value) []view {
	var chain []*graph.Node
	var found []view
	for at := v; ; {
		if w, ok := downTo(at, chain, v); ok {
			found = append(found, w)
		}
		n := at.Producer
		if n == nil || n.Domain != "" || len(chain) > 32 {
			return found
		}
		in := n.Inputs
		switch n.Op {
		case "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Split", "Gather", "Expand", "Div":
			at = in[0]
		case "Mul":
			if at = in[0]; at.Const != nil {
				at = in[1]
			}
		default:
			return found
		}
		if _, ok := at.Static(); !ok || at.Const != nil {
			return found
		}
		chain = append(chain, n)
	}
}

// downTo follows the chain from the root at its end to v, an output of its start.
func downTo(root *graph.Value, chain []*graph.Node, v *graph.Value) (view, bool) {
	s, ok := root.Static()
	if !ok {
		return view{}, false
	}
	w := view{root: root, factor: 1}
	for i, st := range s.Strides() {
		w.axes = append(w.axes, axisView{s[i], st, 1})
	}
	from := root
	for i := len(chain) - 1; i >= 0; i-- {
		out := v
		if i > 0 {
			for _, o := range chain[i].Outputs {
				if o != nil && slices.Contains(chain[i-1].Inputs, o) {
					out = o
				}
			}
		}
		if !w.step(chain[i], from, out) {
			return view{}, false
		}
		from = out
	}
	return w, true
}

// step applies one operator to the view.
func (w *view) step(n *graph.Node, in, out *graph.Value) bool {
	to, ok := out.Static()
	if !ok {
		return false
	}
	switch n.Op {
	case "Identity":
		return true
	case "Mul", "Div":
		return w.scale(n, in, to)
	case "Transpose":
		perm := n.Ints("perm")
		if perm == nil {
			slices.Reverse(w.axes)
			return true
		}
		axes := make([]axisView, len(perm))
		for i, p := range perm {
			axes[i] = w.axes[p]
		}
		w.axes = axes
		return true
	case "Slice":
		return w.slice(n, to)
	case "Split":
		a := n.Int("axis", 0)
		if a < 0 {
			a += int64(len(to))
		}
		for _, o := range n.Outputs {
			if o == out {
				break
			}
			if o == nil {
				return false
			}
			s, ok := o.Static()
			if !ok {
				return false
			}
			w.at += s[a] * w.axes[a].stride
		}
		w.axes = slices.Clone(w.axes)
		w.axes[a].n = to[a]
		return w.axes[a].rep == 1
	case "Gather":
		return w.pick(n)
	case "Expand":
		return w.expand(to)
	}
	return w.reshape(to)
}

// scale takes a product with, or a division by, one number.
func (w *view) scale(n *graph.Node, in *graph.Value, to tensor.Shape) bool {
	c := n.Inputs[1]
	if c == in {
		c = n.Inputs[0]
	}
	if n.Op == "Div" && n.Inputs[0] != in || c.Const == nil || c.Const.Elems() != 1 || c.DType != tensor.Float32 || len(to) != len(w.axes) {
		return false
	}
	x := float64(c.Const.Float32s()[0])
	if n.Op == "Div" {
		x = 1 / x
	}
	w.factor *= x
	return true
}

// slice takes a Slice of constant starts with steps of 1; the sizes are those of its output.
func (w *view) slice(n *graph.Node, to tensor.Shape) bool {
	list := func(i int, attr string) []int64 {
		if len(n.Inputs) == 1 {
			return n.Ints(attr)
		}
		if v := n.In(i); v != nil && v.Const != nil {
			return int64s(v.Const)
		}
		return nil
	}
	starts, axes := list(1, "starts"), list(3, "axes")
	if starts == nil || n.In(3) != nil && axes == nil || n.In(4) != nil && n.In(4).Const == nil {
		return false
	}
	if n.In(4) != nil {
		for _, s := range int64s(n.In(4).Const) {
			if s != 1 {
				return false
			}
		}
	}
	w.axes = slices.Clone(w.axes)
	for i, s := range starts {
		a := int64(i)
		if axes != nil {
			a = axes[i]
		}
		if a < 0 {
			a += int64(len(to))
		}
		x := &w.axes[a]
		if s < 0 {
			s += int64(x.n)
		}
		s = min(max(s, 0), int64(x.n))
		if x.rep != 1 && (s != 0 || to[a] != x.n) {
			return false
		}
		w.at += int(s) * x.stride
		x.n = to[a]
	}
	return true
}

func int64s(t *tensor.Tensor) []int64 {
	v := make([]int64, t.Elems())
	for i := range v {
		v[i] = int64(t.Float(i))
	}
	return v
}

// pick takes a Gather of one entry of an axis.
func (w *view) pick(n *graph.Node) bool {
	idx := n.Inputs[1].Const
	if idx == nil || len(idx.Shape) != 0 {
		return false
	}
	a, i := int(n.Int("axis", 0)), int(idx.Float(0))
	if a < 0 {
		a += len(w.axes)
	}
	x := w.axes[a]
	if i < 0 {
		i += x.n
	}
	if i < 0 || i >= x.n || x.rep != 1 {
		return false
	}
	w.at += i * x.stride
	w.axes = slices.Delete(slices.Clone(w.axes), a, a+1)
	return true
}

// expand repeats axes of 1.
func (w *view) expand(to tensor.Shape) bool {
	if len(to) != len(w.axes) {
		return false
	}
	w.axes = slices.Clone(w.axes)
	for i, n := range to {
		if w.axes[i].n == 1 && n != 1 {
			w.axes[i] = axisView{n, 0, 1}
		}
	}
	return true
}

// reshape splits and joins axes where their elements stay evenly apart. An axis that is joined with a repeated one
// behind it repeats each of its entries.
func (w *view) reshape(to tensor.Shape) bool {
	var in []axisView
	for _, x := range w.axes {
		if x.n != 1 {
			in = append(in, x)
		}
	}
	axes := make([]axisView, len(to))
	i := 0
	for o := 0; o < len(to); {
		if to[o] == 1 {
			axes[o] = axisView{1, 0, 1}
			o++
			continue
		}
		if i == len(in) || to[o] == 0 {
			return false
		}
		o1, i1, a, b := o+1, i+1, in[i].n, to[o]
		for a != b {
			switch {
			case a < b && i1 < len(in):
				a *= in[i1].n
				i1++
			case a > b && o1 < len(to):
				b *= to[o1]
				o1++
			default:
				return false
			}
		}
		if !group(in[i:i1], to[o:o1], axes[o:o1]) {
			return false
		}
		o, i = o1, i1
	}
	w.axes = axes
	return i == len(in)
}

// group reshapes axes of as many elements as the sizes to.
func group(in []axisView, to tensor.Shape, out []axisView) bool {
	if len(in) == 1 && len(to) == 1 {
		out[0] = in[0]
		return true
	}
	if len(in) == 2 && len(to) == 1 && in[1].stride == 0 && in[0].rep == 1 && in[1].rep == 1 {
		out[0] = axisView{to[0], in[0].stride, in[1].n}
		return true
	}
	last := in[len(in)-1]
	for k, x := range in {
		if x.rep != 1 || k > 0 && in[k-1].stride != x.stride*x.n {
			return false
		}
	}
	st := last.stride
	for k := len(to) - 1; k >= 0; k-- {
		out[k] = axisView{to[k], st, 1}
		st *= to[k]
	}
	return true
}
