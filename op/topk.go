package op

import (
	"math"
	"slices"

	"muster/graph"
	"muster/tensor"
)

// TopK keeps the k largest (smallest) elements along an axis, the best first, with their places. Of equal
// elements the lower index comes first; what is not a number counts as larger than every number, as in
// PyTorch. sorted = 0 allows any order, this one too. [P, n, Q] is the shape around the axis.
func topKOp(since, maxIn int, attrs string) Op {
	return Op{
		Name: "TopK", Since: since, MinIn: maxIn, MaxIn: maxIn, MinOut: 1, MaxOut: 2, Attrs: attrs, Dynamic: true,
		Infer: func(c *InferCall) error {
			if err := c.wantIndex(1); err != nil {
				return err
			}
			x := c.In[0].Shape
			if x == nil {
				c.Set(0, c.In[0].DType, nil)
				c.Set(1, tensor.Int64, nil)
				return nil
			}
			at, err := axis(c.Node.Place(), c.Node.Int("axis", -1), len(x))
			if err != nil {
				return err
			}
			out := append([]graph.Dim{}, x...)
			if out[at], err = c.topK(x[at]); err != nil {
				return err
			}
			c.Set(0, c.In[0].DType, out)
			c.Set(1, tensor.Int64, out)
			return nil
		},
		Ref: topKRef,
		Grad: func(c *GradCall) []*graph.Value {
			extraOutputs(c.B, c.Node, 2)
			if c.DOut[0] == nil {
				return one(nil)
			}
			return one(c.B.Node(graph.Domain, "ScatterElements", 1, []*graph.Value{ZerosLike(c.B, c.In[0]), c.Node.Outputs[1], c.DOut[0]},
				graph.Int("axis", c.Node.Int("axis", -1)), graph.Str("reduction", "add"))[0])
		},
		Prepare: topKKernel,
	}
}

var (
	opTopK1  = topKOp(1, 1, "axis k")
	opTopK10 = topKOp(10, 2, "axis")
	opTopK11 = topKOp(11, 2, "axis largest sorted")
)

// topK is the number of kept elements of an axis of size d.
func (c *InferCall) topK(d graph.Dim) (graph.Dim, error) {
	l := []sym{{v: c.Node.Int("k", -1), known: true}}
	if c.in(1) != nil {
		var ok bool
		if l, ok = c.list(1); !ok || len(l) != 1 {
			return graph.Dim{Size: -1}, nil
		}
	}
	if l[0].known && (l[0].v < 0 || d.Known() && l[0].v > int64(d.Size)) {
		return graph.Dim{}, c.Errorf("k is %d for an axis of %v", l[0].v, d)
	}
	return l[0].dim(), nil
}

func topKRef(c *Call) error {
	x := c.In[0]
	P, n, Q := lanes(x.Shape, c.Node.Int("axis", -1), false)
	k := int(c.Node.Int("k", 0))
	if t := c.in(1); t != nil {
		if t.Elems() != 1 {
			return c.errorf("k is not one number")
		}
		k = int(index(t, 0))
	}
	if k < 0 || k > n || len(x.Shape) == 0 {
		return c.errorf("k is %d for an axis of %d", k, n)
	}
	shape := x.Shape.Clone()
	shape[wrap(c.Node.Int("axis", -1), len(shape))] = k
	from := make([]int, P*k*Q)
	order := laneOrder(x, c.Node.Int("largest", 1) != 0)
	lane := make([]int, n)
	for p := 0; p < P; p++ {
		for q := 0; q < Q; q++ {
			for i := range lane {
				lane[i] = (p*n+i)*Q + q
			}
			slices.SortStableFunc(lane, order)
			for i, e := range lane[:k] {
				from[(p*k+i)*Q+q] = e
			}
		}
	}
	if c.Out[0] != nil {
		copyElems(c.resize(0, shape...), x, from)
	}
	if c.out(1) != nil {
		idx := c.resize(1, shape...).Int64s()
		for i, e := range from {
			idx[i] = int64(e / max(Q, 1) % max(n, 1))
		}
	}
	return nil
}

// laneOrder compares two elements of x, the better first; equal ones compare as 0.
func laneOrder(x *tensor.Tensor, largest bool) func(i, j int) int {
	var order func(i, j int) int
	switch {
	case x.DType.IsFloat():
		v := floats(x)
		order = func(i, j int) int { return floatOrder(v[i], v[j]) }
	case x.DType == tensor.Uint64:
		v := x.Uint64s()
		order = func(i, j int) int { return slices.Compare(v[i:i+1], v[j:j+1]) }
	default:
		v := ints(x)
		order = func(i, j int) int { return slices.Compare(v[i:i+1], v[j:j+1]) }
	}
	if largest {
		return func(i, j int) int { return order(j, i) }
	}
	return order
}

// topKKernel keeps a heap of the k best so far, its worst on top, then sorts it. Lanes run in parallel; long ones
// in segments whose best are joined.
func topKKernel(p *Prep) (Kernel, bool) {
	x := p.In[0]
	P, n, Q := lanes(x.Shape, p.Node.Int("axis", -1), false)
	t := p.out(0)
	if t == nil {
		t = p.out(1)
	}
	if x.DType != tensor.Float32 || len(x.Shape) == 0 || t == nil || n >= 1<<31 {
		return Kernel{}, false
	}
	k := t.Shape[wrap(p.Node.Int("axis", -1), len(x.Shape))]
	if k == 0 {
		return Kernel{}, false
	}
	L := P * Q
	segs := max(1, min(16, n/(2*chunk), n/(16*k)))
	each := (n + segs - 1) / segs
	per := max(1, chunk/4/each)
	least := p.Node.Int("largest", 1) == 0
	parts := split((L*segs+per-1)/per, func(in, _ []*tensor.Tensor, scratch []byte, task int) {
		heaps := words[uint64](scratch[:8*k*L*segs])
		for i := task * per; i < min(L*segs, (task+1)*per); i++ {
			l, lo := i/segs, i%segs*each
			topLane(heaps[i*k:(i+1)*k], in[0].Float32s()[l/Q*n*Q+l%Q:], lo, min(n, lo+each), Q, least)
		}
	})
	finish := split(L, func(in, out []*tensor.Tensor, scratch []byte, l int) {
		all := words[uint64](scratch[:8*k*L*segs])[l*segs*k : (l+1)*segs*k]
		slices.Sort(all)
		at, to := l/Q*n*Q+l%Q, l/Q*k*Q+l%Q
		for i := 0; i < k; i++ {
			j := int(^uint32(all[len(all)-1-i]))
			if out[0] != nil {
				out[0].Float32s()[to+i*Q] = in[0].Float32s()[at+j*Q]
			}
			if len(out) > 1 && out[1] != nil {
				out[1].Int64s()[to+i*Q] = int64(j)
			}
		}
	})
	return Kernel{Scratch: 8*k*L*segs + 64, Run: func(in, out []*tensor.Tensor, scratch []byte) {
		parts(in, out, scratch)
		finish(in, out, scratch)
	}}, true
}

// topLane leaves the best len(h) of the elements x[i step], lo <= i < hi, in the heap h: order keys with the
// complement of the index below.
func topLane(h []uint64, x []float32, lo, hi, step int, least bool) {
	sign := uint32(0)
	if least {
		sign = ^sign
	}
	for i := range h {
		h[i] = uint64(orderKey(x[(lo+i)*step])^sign)<<32 | uint64(^uint32(lo+i))
	}
	for i := len(h)/2 - 1; i >= 0; i-- {
		sink(h, i)
	}
	worst := x[int(^uint32(h[0]))*step]
	for i := lo + len(h); i < hi; i++ {
		v := x[i*step]
		if !least && v <= worst || least && v >= worst { // an equal one that comes later is no better
			continue
		}
		e := orderKey(v) ^ sign
		if e <= uint32(h[0]>>32) {
			continue
		}
		h[0] = uint64(e)<<32 | uint64(^uint32(i))
		sink(h, 0)
		worst = x[int(^uint32(h[0]))*step]
	}
}

// sink restores the heap whose smallest is on top below place i.
func sink(h []uint64, i int) {
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1] < h[c] {
			c++
		}
		if h[i] <= h[c] {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}

// orderKey maps floats to integers of the same order: -0 equals 0, what is not a number is the largest.
func orderKey(x float32) uint32 {
	if x != x {
		return math.MaxUint32
	}
	if x == 0 {
		x = 0 // -0 too
	}
	b := math.Float32bits(x)
	if b>>31 != 0 {
		return ^b
	}
	return b | 1<<31
}
