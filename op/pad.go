package op

import (
	"muster/graph"
	"muster/tensor"
)

// Pad adds pads[a] elements before and pads[a+len] behind each axis: a constant, the elements mirrored at the
// border (reflect), the border itself (edge), or the other end (wrap). Negative pads cut elements off.
func padOp(since, minIn, maxIn int, attrs string) Op {
	return Op{
		Name: "Pad", Since: since, MinIn: minIn, MaxIn: maxIn, MinOut: 1, MaxOut: 1, Attrs: attrs,
		Infer: func(c *InferCall) error {
			if v := c.in(2); v != nil && v.DType != c.In[0].DType {
				return c.Errorf("the constant is %s, the data %s", v.DType, c.In[0].DType)
			}
			x := c.In[0].Shape
			if x == nil {
				c.Set(0, c.In[0].DType, nil)
				return nil
			}
			pads, ok, err := padsOf(c.Node, c.Const(1), c.Const(3), len(x))
			if err != nil {
				return err
			}
			out := unknown(len(x))
			for a, d := range x {
				switch {
				case !ok:
				case pads[a] == [2]int{}:
					out[a] = d
				case d.Known():
					n := d.Size + pads[a][0] + pads[a][1]
					if n < 0 {
						return c.Errorf("axis %d of %d is cut by more than it has", a, d.Size)
					}
					out[a] = graph.D(n)
				}
			}
			c.Set(0, c.In[0].DType, out)
			return nil
		},
		Ref: func(c *Call) error {
			m, err := padMap(c.Node, c.In[0].Shape, c.in(1), c.in(3))
			if err != nil {
				return err
			}
			out := c.resize(0, m.out...)
			m.copyRef(out, c.In[0], padFill(c.Node, out.DType)(c.In))
			return nil
		},
		Dynamic: true,
		Grad:    padGrad,
		Prepare: func(p *Prep) (Kernel, bool) {
			if t := p.in(1); t != nil && t.Data == nil && t.Elems() > 0 || p.in(3) != nil && p.In[3].Data == nil {
				return Kernel{}, false
			}
			m, err := padMap(p.Node, p.In[0].Shape, p.in(1), p.in(3))
			if err != nil {
				return Kernel{}, false
			}
			return m.plan(p.Out[0].DType.Bits()/8).kernel(0, padFill(p.Node, p.Out[0].DType)), true
		},
	}
}

var (
	opPad2  = padOp(2, 1, 1, "pads mode value")
	opPad11 = padOp(11, 2, 4, "mode")
)

// padsOf returns what is added before and behind every axis; ok is false if an input is not constant.
func padsOf(n *graph.Node, pads, axes *tensor.Tensor, rank int) (p [][2]int, ok bool, err error) {
	c := &InferCall{Node: n}
	switch n.Str("mode", "constant") {
	case "constant", "reflect", "edge", "wrap":
	default:
		return nil, false, c.unsupported("mode %q is not supported", n.Str("mode", ""))
	}
	v, ok1 := listOf(n, 1, pads, "pads")
	list, ok2 := listOf(n, 3, axes, "axes")
	if !ok1 || !ok2 {
		return nil, false, nil
	}
	if list == nil {
		for a := 0; a < rank; a++ {
			list = append(list, int64(a))
		}
	}
	if len(v) != 2*len(list) {
		return nil, false, c.Errorf("%d pads for %d axes", len(v), len(list))
	}
	p = make([][2]int, rank)
	for i, a := range list {
		k, err := axis(n.Place(), a, rank)
		if err != nil {
			return nil, false, err
		}
		for j, x := range []int64{v[i], v[i+len(list)]} {
			if x > maxElems || x < -maxElems {
				return nil, false, c.Errorf("a pad is %d", x)
			}
			p[k][j] = int(x)
		}
	}
	return p, true, nil
}

// padMap is the list of source indices per axis.
func padMap(n *graph.Node, in tensor.Shape, pads, axes *tensor.Tensor) (axisMap, error) {
	m := newAxisMap(in)
	c := &InferCall{Node: n}
	p, ok, err := padsOf(n, pads, axes, len(in))
	if err != nil || !ok {
		return m, firstErr(err, c.Errorf("the pads are not known"))
	}
	total := 1
	for a, d := range in {
		k := d + p[a][0] + p[a][1]
		if k < 0 || k > maxAxis || k > 0 && total > maxElems/k {
			return m, c.Errorf("the pads %v do not fit %v", p, in)
		}
		total *= max(k, 1)
		list, err := padded(n.Str("mode", "constant"), d, p[a][0], p[a][1])
		if err != nil {
			return m, c.Errorf("axis %d: %v", a, err)
		}
		m.set(a, list)
	}
	return m, nil
}

// padded lists where the elements of a padded axis of d come from. What negative pads cut off is gone before the
// others look for elements, as in ONNX Runtime.
func padded(mode string, d, before, behind int) ([]int, error) {
	first := min(max(-before, 0), d)
	size := max(min(d, d+behind)-first, 0) // what is left
	list := make([]int, d+before+behind)
	if size == 0 && len(list) > 0 && mode != "constant" {
		return nil, (&Call{}).errorf("an empty axis cannot be padded by mode %s", mode)
	}
	for i := range list {
		k := i - max(before, 0)
		switch {
		case k >= 0 && k < size:
		case mode == "constant":
			list[i] = -1
			continue
		case mode == "edge":
			k = min(max(k, 0), size-1)
		case mode == "wrap":
			k = (k%size + size) % size
		case size == 1: // reflect
			k = 0
		default:
			k = (k%(2*size-2) + 2*size - 2) % (2*size - 2)
			k = min(k, 2*size-2-k)
		}
		list[i] = first + k
	}
	return list, nil
}

// padFill returns the element that mode constant adds; nil is zero.
func padFill(n *graph.Node, d tensor.DType) func(in []*tensor.Tensor) []byte {
	if a := n.Attr("value"); a != nil && a.F != 0 {
		t := tensor.New(d)
		if d.IsFloat() {
			setFloats(t, []float64{float64(a.F)})
		} else {
			setInts(t, []int64{int64(a.F)})
		}
		return func([]*tensor.Tensor) []byte { return t.Data }
	}
	return func(in []*tensor.Tensor) []byte {
		if len(in) > 2 && in[2] != nil && in[2].Elems() == 1 {
			return in[2].Data
		}
		return nil
	}
}

// padGrad: a constant pad is undone by the opposite pad; the other modes add up what was read twice.
func padGrad(c *GradCall) []*graph.Value {
	b, n, x, dy := c.B, c.Node, c.In[0], c.DOut[0]
	d := make([]*graph.Value, len(c.In))
	if n.Str("mode", "constant") == "constant" {
		d[0] = unpad(c)
		if len(c.In) > 2 && c.In[2] != nil && c.Need[2] {
			all := func(v *graph.Value) *graph.Value { return b.ReduceSum(reshape(b, v, -1), 0, 0) }
			d[2] = reshapeLike(b, b.Op("Sub", all(dy), all(d[0])), c.In[2])
		}
		return d
	}
	pads, ok, err := padsOf(n, constOf(c.In, 1), constOf(c.In, 3), len(x.Shape))
	if err != nil || !ok {
		c.Fail("the pads are not constant")
		return d
	}
	for a, p := range pads {
		if p == [2]int{} {
			continue
		}
		if !x.Shape[a].Known() {
			c.Fail("the size of a padded axis is not known")
			return d
		}
		list, err := padded(n.Str("mode", ""), x.Shape[a].Size, p[0], p[1])
		if err != nil {
			c.Fail("%v", err)
			return d
		}
		dy = gatherBack(b, dy, list, a, x.Shape[a].Size, len(x.Shape))
	}
	d[0] = dy
	return d
}

func constOf(in []*graph.Value, i int) *tensor.Tensor {
	if i >= len(in) || in[i] == nil {
		return nil
	}
	return in[i].Const
}

// unpad pads dy by the negative pads.
func unpad(c *GradCall) *graph.Value {
	b, n := c.B, c.Node
	if n.In(1) == nil {
		var pads []int64
		for _, p := range n.Ints("pads") {
			pads = append(pads, -p)
		}
		return b.OpA("Pad", []graph.Attr{graph.Ints("pads", pads...)}, c.DOut[0])
	}
	in := []*graph.Value{c.DOut[0], b.Op("Neg", n.In(1)), nil, n.In(3)}
	return b.Op("Pad", in...)
}

// gatherBack adds dy up along one axis: what was read from place list[i] comes back to it; -1 is dropped.
func gatherBack(b *graph.Builder, dy *graph.Value, list []int, a, size, rank int) *graph.Value {
	var keep, to []int64
	for i, k := range list {
		if k >= 0 {
			keep, to = append(keep, int64(i)), append(to, int64(k))
		}
	}
	at := graph.Int("axis", int64(a))
	if len(keep) < len(list) {
		dy = b.OpA("Gather", []graph.Attr{at}, dy, b.Ints(keep...))
	}
	var parts []*graph.Value // the shape of dy with this axis' size
	for i := 0; i < rank; i++ {
		if i == a {
			parts = append(parts, b.Ints(int64(size)))
			continue
		}
		parts = append(parts, b.Op("Gather", b.Op("Shape", dy), b.Ints(int64(i))))
	}
	return b.Node(graph.Domain, "GatherGrad", 1, []*graph.Value{dy, b.Ints(to...), concat(b, parts...)}, at)[0]
}

// resize gives output i of a dynamic operator its shape; it keeps data that fits.
func (c *Call) resize(i int, shape ...int) *tensor.Tensor {
	t := c.Out[i]
	if t != nil && (!t.Shape.Equal(shape) || len(t.Data) != t.DType.Bytes(tensor.Shape(shape).Elems())) {
		t.Shape = append(tensor.Shape{}, shape...)
		t.Data = tensor.Alloc(t.DType.Bytes(t.Shape.Elems()))
	}
	return t
}
