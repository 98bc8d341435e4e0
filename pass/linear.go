package pass

import (
	"math"
	"slices"

	"muster/graph"
)

// linear collects what surrounds a product with a matrix into muster.Linear, whose kernel does it on the
// way: MatMul(x, w) or Gemm, plus bias, plus a residual of the result's shape, and an activation.
// x [..., K], w [K, N] or with transB [N, K], bias [N]. A muster.Linear without these collects them too.
func linear(g *graph.Graph) int {
	r := newRewrite(g)
	for _, n := range g.Nodes {
		own := n.Domain == graph.Domain && n.Op == "Linear"
		if !own && (n.Domain != "" || n.Op != "MatMul" && n.Op != "Gemm") || n.Outputs[0] == nil {
			continue
		}
		l, ok := r.linearOf(n)
		if !ok {
			continue
		}
		l.addBias(r)
		l.addResidual(r)
		l.activate(r)
		if l.last == n.Outputs[0] && (l.in[2] == nil || own) {
			continue // nothing to collect
		}
		l.fuse(r)
	}
	return r.done()
}

// product is a muster.Linear in the making; last is the value it will replace.
type product struct {
	in     [4]*graph.Value // x, w, bias, residual
	transA int64
	transB int64
	half   bool // operands are rounded to bfloat16
	attrs  []graph.Attr
	last   *graph.Value
}

func (l *product) fuse(r *rewrite) {
	attrs := append(slices.Clone(l.attrs), graph.Int("transB", l.transB))
	if l.transA != 0 {
		attrs = append(attrs, graph.Int("transA", 1))
	}
	if l.half {
		attrs = append(attrs, graph.Str("precision", "bf16"))
	}
	r.fuse(l.last, graph.Domain, "Linear", l.in[:], attrs...)
}

func (r *rewrite) linearOf(n *graph.Node) (l product, ok bool) {
	x, w := r.in(n, 0), r.in(n, 1)
	l = product{in: [4]*graph.Value{x, w}, last: n.Outputs[0]}
	if len(w.Shape) != 2 || len(x.Shape) < 2 || !x.DType.IsFloat() {
		return l, false
	}
	if n.Op == "Linear" {
		l.in[2], l.in[3] = r.in(n, 2), r.in(n, 3)
		l.transA, l.transB, l.half = n.Int("transA", 0), n.Int("transB", 0), n.Str("precision", "") == "bf16"
		if l.transA == 0 {
			l.unfold(r)
		}
		return l, n.Str("activation", "") == "" && l.in[3] == nil
	}
	if n.Op == "Gemm" {
		c := r.in(n, 2)
		if n.Float("alpha", 1) != 1 || n.Float("beta", 1) != 1 || n.Int("transA", 0) != 0 {
			return l, false
		}
		l.transB = n.Int("transB", 0)
		if c != nil {
			if !isBias(c, l.last) {
				return l, false
			}
			l.in[2] = c
		}
		l.unfold(r)
		return l, true
	}
	if t := r.maker(w, "Transpose"); t != nil && len(t.Outputs[0].Shape) == 2 && w.Const == nil {
		l.in[1], l.transB = r.in(t, 0), 1
	}
	return l, true
}

// unfold takes a Gemm out of the Reshapes that flatten its rows before and restore them behind it.
func (l *product) unfold(r *rewrite) {
	before, after := r.maker(l.in[0], "Reshape", "Flatten"), l.next(r, "", "Reshape")
	if before == nil || after == nil {
		return
	}
	x, y := r.in(before, 0), after.Outputs[0]
	k := len(x.Shape) - 1
	if k < 1 || len(y.Shape) != k+1 || !x.Shape[k].Same(l.in[0].Shape[1]) || !y.Shape[k].Same(l.last.Shape[1]) {
		return
	}
	for i := range k {
		if !x.Shape[i].Same(y.Shape[i]) {
			return
		}
	}
	l.in[0], l.last = x, y
}

// isBias reports whether v is a vector that is added to every row of y.
func isBias(v, y *graph.Value) bool {
	return len(v.Shape) == 1 && v.Shape[0].Same(y.Shape[len(y.Shape)-1])
}

// next is the only reader of what l has so far, if it is one of these operators.
func (l *product) next(r *rewrite, domain string, names ...string) *graph.Node {
	n := r.user(l.last)
	if n == nil || n.Domain != domain || !slices.Contains(names, n.Op) {
		return nil
	}
	return n
}

func (l *product) addBias(r *rewrite) {
	n := l.next(r, "", "Add")
	if n == nil || l.in[2] != nil {
		return
	}
	if _, v, ok := r.operands(n, but(r.now(l.last))); ok && isBias(v, l.last) {
		l.in[2], l.last = v, n.Outputs[0]
	}
}

func (l *product) addResidual(r *rewrite) {
	n := l.next(r, "", "Add")
	if n == nil {
		return
	}
	if _, v, ok := r.operands(n, but(r.now(l.last))); ok && v != r.now(l.last) && sameShape(v, l.last) {
		l.in[3], l.last = v, n.Outputs[0]
	}
}

// activate takes an activation that kernel.Act has.
func (l *product) activate(r *rewrite) {
	if n := l.next(r, graph.Domain, "Activation"); n != nil {
		l.attrs, l.last = n.Attrs, n.Outputs[0]
		return
	}
	n := l.next(r, "", "Relu", "Gelu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "LeakyRelu", "Clip", "Swish")
	if n == nil {
		return
	}
	name, alpha, beta := n.Op, float32(0), float32(0)
	switch n.Op {
	case "Gelu":
		if n.Str("approximate", "none") == "tanh" {
			name = "GeluTanh"
		}
	case "Swish":
		if n.Float("alpha", 1) != 1 {
			return
		}
		name = "Silu"
	case "HardSigmoid":
		alpha, beta = n.Float("alpha", 0.2), n.Float("beta", 0.5)
	case "LeakyRelu":
		alpha = n.Float("alpha", 0.01)
	case "Clip":
		lo, ok := bound(r, n, 1, "min", math.Inf(-1))
		hi, also := bound(r, n, 2, "max", math.Inf(1))
		if !ok || !also {
			return
		}
		alpha, beta = float32(lo), float32(hi)
	}
	l.attrs = []graph.Attr{graph.Str("activation", name), graph.Float("alpha", alpha), graph.Float("beta", beta)}
	l.last = n.Outputs[0]
}

// bound is a limit of a Clip: an input, or before opset 11 an attribute; ok is false if it is not constant.
func bound(r *rewrite, n *graph.Node, i int, name string, def float64) (float64, bool) {
	if v := r.in(n, i); v != nil {
		return number(v)
	}
	if a := n.Attr(name); a != nil {
		return float64(a.F), true
	}
	return def, true
}
