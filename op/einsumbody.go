package op

import (
	"slices"

	"muster/graph"
	"muster/tensor"
)

// operand is a tensor of an Einsum on its way: its indices in the order of its axes, and their sizes.
type operand struct {
	v    *graph.Value
	ids  []int
	size map[int]extent
}

// extent is the size of an axis: n if it is known (else -1), and as a vector of one element.
type extent struct {
	n int
	v *graph.Value
}

func (o operand) has(id int) bool { return slices.Contains(o.ids, id) }

func einsumBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	ranks := make([]int, len(in))
	for i, v := range in {
		ranks[i] = len(v.Shape)
	}
	terms, out, err := parseEinsum(n, ranks)
	if err != nil {
		panic("op: " + err.Error()) // Infer has parsed it
	}
	e := einsum{b: b}
	ops := make([]operand, len(in))
	for i, v := range in {
		ops[i] = operand{v, terms[i], map[int]extent{}}
		for a, id := range terms[i] {
			x := extent{-1, axisSize(b, v, a)}
			if d := v.Shape[a]; d.Known() {
				x.n = d.Size
			}
			ops[i].size[id] = x
		}
		ops[i] = e.diagonals(ops[i])
	}
	acc := ops[0]
	for i := range ops {
		needed := slices.Clone(out)
		for _, o := range ops[i+1:] {
			needed = append(needed, o.ids...)
		}
		if i > 0 {
			acc = e.pair(e.sum(acc, append(slices.Clone(needed), ops[i].ids...)), e.sum(ops[i], append(slices.Clone(needed), acc.ids...)), needed)
		}
		acc = e.sum(acc, needed)
	}
	return one(e.order(acc, out).v)
}

// einsum appends nodes.
type einsum struct{ b *graph.Builder }

// diagonals leaves one axis of an index that an operand has several times: elements 0, n+1, 2(n+1) ... of the two together.
func (e einsum) diagonals(o operand) operand {
	b := e.b
	for i := 0; i < len(o.ids); i++ {
		id := o.ids[i]
		j := slices.Index(o.ids[i+1:], id)
		if j < 0 {
			continue
		}
		j += i + 1
		perm, rest := []int64{}, []int{}
		for k, other := range o.ids {
			if k != i && k != j {
				perm, rest = append(perm, int64(k)), append(rest, other)
			}
		}
		v := transpose(b, o.v, append(perm, int64(i), int64(j))...)
		size := o.size[id]
		v = e.shape(v, o, rest, []*graph.Value{b.Op("Mul", size.v, size.v)})
		n := b.Op("Reshape", size.v, b.Ints())
		unit := b.Init("one", tensor.OfInt64([]int64{1}))
		at := b.Op("Range", b.Init("zero", tensor.OfInt64([]int64{0})), b.Op("Mul", n, n), b.Op("Add", n, unit))
		v = b.OpA("Gather", []graph.Attr{graph.Int("axis", int64(len(rest)))}, v, at)
		o = operand{v, append(rest, id), o.size}
		i = -1
	}
	return o
}

// shape gives v the axes kept, with their sizes in o, and behind them axes of the sizes more.
func (e einsum) shape(v *graph.Value, o operand, kept []int, more []*graph.Value) *graph.Value {
	var s []*graph.Value
	for _, id := range kept {
		s = append(s, o.size[id].v)
	}
	if s = append(s, more...); len(s) == 0 {
		return reshapeTo(e.b, v, e.b.Ints())
	}
	return reshapeTo(e.b, v, concat(e.b, s...))
}

// sum folds the axes whose index is not needed.
func (e einsum) sum(o operand, needed []int) operand {
	var axes []int64
	var ids []int
	for a, id := range o.ids {
		if slices.Contains(needed, id) {
			ids = append(ids, id)
		} else {
			axes = append(axes, int64(a))
		}
	}
	if len(axes) == 0 {
		return o
	}
	return operand{e.b.ReduceSum(o.v, 0, axes...), ids, o.size}
}

// order transposes to the given indices, which are those of o.
func (e einsum) order(o operand, ids []int) operand {
	if slices.Equal(o.ids, ids) {
		return o
	}
	perm := make([]int64, len(ids))
	for i, id := range ids {
		perm[i] = int64(slices.Index(o.ids, id))
	}
	return operand{transpose(e.b, o.v, perm...), ids, o.size}
}

// pair multiplies two operands and sums what they share and nobody needs.
func (e einsum) pair(x, y operand, needed []int) operand {
	var batch, M, N, K []int
	for _, id := range x.ids {
		switch {
		case !y.has(id):
			M = append(M, id)
		case slices.Contains(needed, id):
			batch = append(batch, id)
		default:
			K = append(K, id)
		}
	}
	for _, id := range y.ids {
		if !x.has(id) {
			N = append(N, id)
		}
	}
	// An index that is broadcast in one of them is summed in the other.
	for _, id := range slices.Clone(K) {
		if a, c := x.size[id], y.size[id]; a.n != c.n && (a.n == 1 || c.n == 1) {
			x, y = e.sum(x, without(x.ids, id)), e.sum(y, without(y.ids, id))
			K = without(K, id)
		}
	}
	r := operand{ids: slices.Concat(batch, M, N), size: map[int]extent{}}
	for _, o := range []operand{x, y} {
		for _, id := range o.ids {
			if have, ok := r.size[id]; !ok || have.n == 1 {
				r.size[id] = o.size[id]
			}
		}
	}
	if len(K) == 0 {
		r.v = e.outer(x, y, batch, M, N)
		return r
	}
	a := e.merge(e.order(x, slices.Concat(batch, M, K)), len(batch), M, K)
	c := e.merge(e.order(y, slices.Concat(batch, K, N)), len(batch), K, N)
	r.v = e.b.Op("MatMul", a, c)
	if len(M) != 1 || len(N) != 1 {
		r.v = e.shape(r.v, r, r.ids, nil)
	}
	return r
}

func without(ids []int, id int) []int {
	return slices.DeleteFunc(slices.Clone(ids), func(k int) bool { return k == id })
}

// merge makes one axis of each of two groups that follow the batch axes.
func (e einsum) merge(o operand, batch int, first, second []int) *graph.Value {
	if len(first) == 1 && len(second) == 1 {
		return o.v
	}
	return e.shape(o.v, o, o.ids[:batch], []*graph.Value{e.count(o, first), e.count(o, second)})
}

// count is the product of the sizes of some indices.
func (e einsum) count(o operand, ids []int) *graph.Value {
	n := e.b.Ints(1)
	for i, id := range ids {
		if i == 0 {
			n = o.size[id].v
		} else {
			n = e.b.Op("Mul", n, o.size[id].v)
		}
	}
	return n
}

// outer is the product by elements: [batch, M, 1] times [batch, 1, N].
func (e einsum) outer(x, y operand, batch, M, N []int) *graph.Value {
	a, c := e.order(x, slices.Concat(batch, M)).v, e.order(y, slices.Concat(batch, N)).v
	if len(N) > 0 && len(M)+len(batch) > 0 {
		a = e.b.Unsqueeze(a, axisRange(len(batch)+len(M), len(N))...)
	}
	if len(M) > 0 && len(batch) > 0 {
		c = e.b.Unsqueeze(c, axisRange(len(batch), len(M))...)
	}
	return e.b.Op("Mul", a, c)
}
