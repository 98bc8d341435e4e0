package pass

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// attention turns what exporters write for scaled dot product attention,
//
//	MatMul(Softmax(MatMul(q, k') * scale + mask), v)
//
// into muster.Attention, which reads q, k and v where they lie: through transposes and reshapes of heads, parts of
// a joint projection, and heads that are repeated for groups of queries. It comes before transpose-matmul, which takes the
// transposes away from it. A query that sees no key gives 0, where the pattern may give NaN.
func attention(g *graph.Graph) int {
	b := graph.NewBuilder(g)
	fired := 0
	for _, n := range g.Nodes {
		if n.Domain != "" || n.Op != "Softmax" {
			continue
		}
		uses := g.Uses()
		if m, ok := match(g, uses, n); ok && m.fuse(b) {
			fired++
		}
	}
	for _, n := range g.Nodes {
		if n.Domain == graph.Domain && (n.Op == "Attention" && absorb(n, 0) || n.Op == "AttentionGrad" && absorb(n, 1)) {
			fired++
		}
	}
	return fired
}

// absorb lets n read Q, K and V, inputs at to at+2, from the joint projections that they are channels of.
func absorb(n *graph.Node, at int) bool {
	layout := n.Str("layout", "3333")
	if n.Int("packed", 0) != 0 {
		return false
	}
	var from [3]int64
	var size [3]int64
	roots := [3]*graph.Value{}
	any := false
	for i := range roots {
		v := n.Inputs[at+i]
		s, ok := v.Static()
		if !ok {
			return false
		}
		heads := n.Int("kv_heads", 1)
		if i == 0 {
			heads = n.Int("heads", 1)
		}
		roots[i], size[i] = v, int64(s[len(s)-1])
		if layout[i] != '3' {
			continue
		}
		size[i] /= heads
		p := v.Producer
		if p == nil || p.Domain != "" || p.Op != "Split" && p.Op != "Slice" {
			continue
		}
		root, ok := p.Inputs[0].Static()
		w, fits := downTo(p.Inputs[0], []*graph.Node{p}, v)
		if !ok || !fits || len(root) != 3 || root[0] != s[0] || root[1] != s[1] || w.at >= root[2] {
			continue
		}
		roots[i], from[i], any = p.Inputs[0], int64(w.at), true
	}
	if !any {
		return false
	}
	copy(n.Inputs[at:], roots[:])
	for _, a := range []graph.Attr{graph.Int("packed", 1), graph.Int("size", size[0]), graph.Int("v_size", size[2]), graph.Int("q_offset", from[0]), graph.Int("k_offset", from[1]), graph.Int("v_offset", from[2])} {
		n.Attrs = append(graph.Without(n.Attrs, a.Name), a)
	}
	return true
}

// matched is a pattern that was found.
type matched struct {
	q, k, v, mask *graph.Value // k is [.., D, S]
	where         *graph.Value // keys that are seen, as bools
	scale         float64
	out           *graph.Value // [B, H, T, Dv]
	merged        *graph.Value // [B, T, H*Dv] or another shape with its elements; nil: not there
}

// match looks for the pattern around a Softmax.
func match(g *graph.Graph, uses map[*graph.Value][]graph.Use, n *graph.Node) (m matched, ok bool) {
	rank := len(n.Inputs[0].Shape)
	if a := n.Int("axis", -1); rank != 4 || n.Inputs[0].DType != tensor.Float32 || a != -1 && a != int64(rank-1) {
		return m, false
	}
	if !m.scores(uses, n.Inputs[0], n) {
		return m, false
	}
	p := n.Outputs[0]
	if w := guard(uses, p); w != nil {
		p = w
	}
	mm := use(uses, p)
	if mm == nil || mm.Domain != "" || mm.Op != "MatMul" || mm.Inputs[0] != p {
		return m, false
	}
	m.v, m.out = mm.Inputs[1], mm.Outputs[0]
	if len(m.v.Shape) != 4 {
		return m, false
	}
	if t := use(uses, m.out); t != nil && t.Domain == "" && t.Op == "Transpose" && equalInts(t.Ints("perm"), 0, 2, 1, 3) {
		if r := use(uses, t.Outputs[0]); r != nil && r.Domain == "" && r.Op == "Reshape" {
			m.merged = r.Outputs[0]
		}
	}
	return m, true
}

// guard is the value of Where(IsNaN(p), 0, p), which replaces p; nil if p is not used so.
func guard(uses map[*graph.Value][]graph.Use, p *graph.Value) *graph.Value {
	u := uses[p]
	if len(u) != 2 {
		return nil
	}
	var isnan, where *graph.Node
	for _, x := range u {
		switch {
		case x.Node == nil || x.In < 0:
			return nil
		case x.Node.Op == "IsNaN":
			isnan = x.Node
		case x.Node.Op == "Where":
			where = x.Node
		}
	}
	if isnan == nil || where == nil || where.Inputs[0] != isnan.Outputs[0] || where.Inputs[2] != p || use(uses, isnan.Outputs[0]) != where || !constantOf(where.Inputs[1], 0) {
		return nil
	}
	return where.Outputs[0]
}

// constantOf reports whether v is one number x.
func constantOf(v *graph.Value, x float64) bool {
	return v.Const != nil && v.Const.Elems() == 1 && v.Const.Float(0) == x
}

func equalInts(v []int64, want ...int64) bool {
	for i, x := range want {
		if len(v) != len(want) || v[i] != x {
			return false
		}
	}
	return true
}

// scores walks up from the input of the Softmax to the product of queries and keys; every value on
// the way is read once.
func (m *matched) scores(uses map[*graph.Value][]graph.Use, s *graph.Value, reader *graph.Node) bool {
	m.scale = 1
	for range 8 {
		n := s.Producer
		if n == nil || n.Domain != "" || use(uses, s) != reader {
			return false
		}
		reader = n
		switch n.Op {
		case "MatMul":
			m.q, m.k = n.Inputs[0], n.Inputs[1]
			return len(m.q.Shape) == 4 && len(m.k.Shape) == 4
		case "Add":
			a, b := n.Inputs[0], n.Inputs[1]
			if !through(a) {
				a, b = b, a
			}
			if m.mask != nil || m.where != nil || m.scale != 1 || !through(a) || !staticWithin(b, s) {
				return false
			}
			m.mask, s = b, a
		case "Where": // keys that are not seen are set to -inf
			if m.mask != nil || m.where != nil || m.scale != 1 || !through(n.Inputs[1]) || !staticWithin(n.Inputs[0], s) || !constantOf(n.Inputs[2], math.Inf(-1)) {
				return false
			}
			m.where, s = n.Inputs[0], n.Inputs[1]
		case "Mul", "Div":
			w, ok := downTo(n.Inputs[0], []*graph.Node{n}, n.Outputs[0])
			if s = n.Inputs[0]; !ok && n.Op == "Mul" {
				w, ok = downTo(n.Inputs[1], []*graph.Node{n}, n.Outputs[0])
				s = n.Inputs[1]
			}
			if !ok {
				return false
			}
			m.scale *= w.factor
		default:
			return false
		}
	}
	return false
}

// through reports whether v may lead to the product of queries and keys.
func through(v *graph.Value) bool {
	return made(v, "", "MatMul") || made(v, "", "Mul") && len(v.Shape) == 4 || made(v, "", "Div") && len(v.Shape) == 4 || made(v, "", "Where") && len(v.Shape) == 4 && constantOf(v.Producer.Inputs[2], math.Inf(-1))
}

// staticWithin reports whether v has a known shape that broadcasts to that of s without changing it.
func staticWithin(v, s *graph.Value) bool {
	a, ok1 := v.Static()
	b, ok2 := s.Static()
	if !ok1 || !ok2 || len(a) > len(b) {
		return false
	}
	for i, n := range a {
		if n != 1 && n != b[len(b)-len(a)+i] {
			return false
		}
	}
	return true
}

// operand is Q, K or V as muster.Attention reads it.
type operand struct {
	x           *graph.Value
	shape       tensor.Shape // that x is to have
	layout      byte
	heads, from int
	factor      float64
}

// place chooses the farthest root of v, a value [B, H, T, size], that has one of the two layouts. Keys are
// swapped: [B, H, size, T]. Factors are taken along if scaled is set.
func place(v *graph.Value, swapped, scaled bool) (o operand, ok bool) {
	views := viewsOf(v)
	for i := len(views) - 1; i >= 0; i-- {
		w := views[i]
		if len(w.axes) != 4 || !scaled && w.factor != 1 {
			continue
		}
		B, H, T, D := w.axes[0], w.axes[1], w.axes[2], w.axes[3]
		if swapped {
			T, D = D, T
		}
		if o, ok := w.layout(B, H, T, D); ok {
			return o, true
		}
	}
	return o, false
}

// layout fits axes of the view to [B, heads, T, D] or [B, T, W].
func (w *view) layout(B, H, T, D axisView) (o operand, ok bool) {
	if D.rep != 1 || T.rep != 1 || B.rep != 1 || D.n > 1 && D.stride != 1 || H.n%H.rep != 0 || B.n*H.n*T.n*D.n == 0 {
		return o, false
	}
	shape, _ := w.root.Static()
	all, heads := shape.Elems(), H.n/H.rep
	is := func(x axisView, stride int) bool { return x.n == 1 || x.stride == stride }
	rep := is(H, D.n) || heads == 1
	o = operand{x: w.root, heads: heads, from: w.at, factor: w.factor}
	if W := all / (B.n * T.n); rep && all%(B.n*T.n) == 0 && is(T, W) && is(B, T.n*W) && w.at+heads*D.n <= W {
		o.layout, o.shape = '3', tensor.Shape{B.n, T.n, W}
		return o, true
	}
	o.layout, o.shape = '4', tensor.Shape{B.n, heads, T.n, D.n}
	fits := is(T, D.n) && (heads == 1 || H.stride == T.n*D.n) && is(B, heads*T.n*D.n)
	return o, fits && w.at == 0 && all == o.shape.Elems()
}

// fuse writes the operator in place of the pattern.
func (m *matched) fuse(b *graph.Builder) bool {
	y, ok := m.out.Static()
	if !ok {
		return false
	}
	q, ok1 := place(m.q, false, true)
	k, ok2 := place(m.k, true, true)
	v, ok3 := place(m.v, false, false)
	D := m.q.Shape[3].Size
	if !ok1 || !ok2 || !ok3 || q.heads != y[1] || k.heads != v.heads || y[1]%k.heads != 0 {
		return false
	}
	packed, layout := int64(0), []byte{q.layout, k.layout, v.layout, '4'}
	for i, o := range []operand{q, k, v} {
		if o.layout == '3' && o.shape[2] != o.heads*[]int{D, D, y[3]}[i] {
			packed = 1
		}
	}
	out := m.out
	if m.merged != nil {
		layout[3], out = '3', m.merged
	}
	in := []*graph.Value{q.take(b), k.take(b), v.take(b), m.mask}
	if m.where != nil {
		in[3] = b.Op("Where", m.where, b.Scalar(0), b.Scalar(float32(math.Inf(-1))))
		in[3].DType, in[3].Shape = tensor.Float32, m.where.Shape
	}
	node := b.Node(graph.Domain, "Attention", 1, in, graph.Int("heads", int64(y[1])), graph.Int("kv_heads", int64(k.heads)), graph.Str("layout", string(layout)),
		graph.Int("packed", packed), graph.Int("size", int64(D)), graph.Int("v_size", int64(y[3])), graph.Int("q_offset", int64(q.from)),
		graph.Int("k_offset", int64(k.from)), graph.Int("v_offset", int64(v.from)), graph.Float("scale", float32(m.scale*q.factor*k.factor)))[0]
	made := tensor.Shape(y)
	if m.merged != nil {
		made = tensor.Shape{y[0], y[2], y[1] * y[3]}
	}
	node.SetStatic(tensor.Float32, made)
	if to, ok := out.Static(); ok && !to.Equal(made) {
		shape := make([]int64, len(to))
		for i, n := range to {
			shape[i] = int64(n)
		}
		r := b.Op("Reshape", node, b.Ints(shape...))
		r.SetStatic(tensor.Float32, to)
		node = r
	}
	b.G.Replace(out, node)
	return true
}

// take is the root with the shape that the layout asks for.
func (o operand) take(b *graph.Builder) *graph.Value {
	if s, _ := o.x.Static(); s.Equal(o.shape) {
		return o.x
	}
	shape := make([]int64, len(o.shape))
	for i, n := range o.shape {
		shape[i] = int64(n)
	}
	r := b.Op("Reshape", o.x, b.Ints(shape...))
	r.SetStatic(o.x.DType, o.shape)
	return r
}
