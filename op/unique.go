package op

import (
	"cmp"
	"slices"

	"muster/graph"
	"muster/tensor"
)

// Unique lists the different elements (slices along `axis`, if there is one), ascending or in the order they
// first occur, with the place of the first of each, the list that restores the input, and how many there are.
// What is not a number is one value, sorted behind all others (as numpy.unique does).
var opUnique = Op{
	Name: "Unique", Since: 11, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 4, Attrs: "axis sorted", Dynamic: true,
	Infer: func(c *InferCall) error {
		x := c.In[0].Shape
		out := unknown(1)
		inverse := unknown(1)
		if c.Node.Attr("axis") != nil {
			if x == nil {
				out = nil
			} else {
				at, err := axis(c.Node.Place(), c.Node.Int("axis", 0), len(x))
				if err != nil {
					return err
				}
				out = append([]graph.Dim{}, x...)
				out[at], inverse[0] = graph.Dim{Size: -1}, x[at]
			}
		} else if n, ok := known(x); ok && x != nil {
			inverse[0] = graph.D(n)
		}
		count := graph.Dim{Size: -1}
		if t := c.Const(0); t != nil && t.Elems() <= foldLimit && out != nil {
			first, _, _ := uniques(c.Node, t)
			count = graph.D(len(first))
			if c.Node.Attr("axis") == nil {
				out[0] = count
			} else {
				out[wrap(c.Node.Int("axis", 0), len(x))] = count
			}
		}
		c.Set(0, c.In[0].DType, out)
		c.Set(1, tensor.Int64, []graph.Dim{count})
		c.Set(2, tensor.Int64, inverse)
		c.Set(3, tensor.Int64, []graph.Dim{count})
		return nil
	},
	Ref: func(c *Call) error {
		first, inverse, counts := uniques(c.Node, c.In[0])
		shape, at := compressShape(c.Node, c.In[0].Shape)
		m := newAxisMap(shape)
		m.set(at, first)
		if c.Out[0] != nil {
			m.copyRef(c.resize(0, m.out...), c.In[0], nil)
		}
		for i, list := range [][]int{first, inverse, counts} {
			if c.out(i+1) == nil {
				continue
			}
			v := c.resize(i+1, len(list)).Int64s()
			for k, x := range list {
				v[k] = int64(x)
			}
		}
		return nil
	},
	NoGrad: "which elements are equal depends on their values",
}

// uniques returns the first place of every different slice, which of them each slice is, and how often it occurs.
func uniques(n *graph.Node, x *tensor.Tensor) (first, inverse, counts []int) {
	shape, at := compressShape(n, x.Shape)
	N := shape[at]
	order := make([]int, N)
	for i := range order {
		order[i] = i
	}
	less := sliceOrder(x, shape, at)
	slices.SortStableFunc(order, less)
	inverse = make([]int, N)
	for k, i := range order {
		if k == 0 || less(order[k-1], i) != 0 {
			first, counts = append(first, i), append(counts, 0)
		}
		inverse[i] = len(first) - 1
		counts[len(counts)-1]++
	}
	if n.Int("sorted", 1) == 0 {
		return asTheyCome(first, inverse, counts)
	}
	return first, inverse, counts
}

// asTheyCome orders the different slices by their first place.
func asTheyCome(first, inverse, counts []int) (f, inv, c []int) {
	by := make([]int, len(first))
	for i := range by {
		by[i] = i
	}
	slices.SortFunc(by, func(a, b int) int { return first[a] - first[b] })
	rank := make([]int, len(first))
	for to, from := range by {
		rank[from] = to
		f, c = append(f, first[from]), append(c, counts[from])
	}
	for _, k := range inverse {
		inv = append(inv, rank[k])
	}
	return f, inv, c
}

// sliceOrder compares two slices of x along axis at, element by element.
func sliceOrder(x *tensor.Tensor, shape tensor.Shape, at int) func(i, j int) int {
	P, n, Q := shape[:at].Elems(), shape[at], shape[at+1:].Elems()
	if x.DType.IsFloat() {
		return lexical(floats(x), P, n, Q, floatOrder)
	}
	if x.DType == tensor.Uint64 {
		return lexical(x.Uint64s(), P, n, Q, cmp.Compare[uint64])
	}
	return lexical(ints(x), P, n, Q, cmp.Compare[int64])
}

func lexical[T any](v []T, P, n, Q int, order func(a, b T) int) func(i, j int) int {
	return func(i, j int) int {
		for p := 0; p < P; p++ {
			for q := 0; q < Q; q++ {
				if c := order(v[(p*n+i)*Q+q], v[(p*n+j)*Q+q]); c != 0 {
					return c
				}
			}
		}
		return 0
	}
}

// floatOrder puts what is not a number behind everything.
func floatOrder(a, b float64) int {
	switch {
	case a < b || a == a && b != b:
		return -1
	case a > b || a != a && b == b:
		return 1
	}
	return 0
}
