package op

import (
	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// ScatterElements(X, Indices, Updates) is X with X[.., Indices[i], ..] replaced by, or combined with,
// Updates[i]; i runs over the shape of Indices, which names the position along `axis` only. Several
// updates of one element are combined in the order of i; with reduction none the last one stays.
//
// muster.ScatterElements is the same operator in every opset: gradients add with it.
func scatterElementsOp(domain, name string, since int) Op {
	o := Op{
		Domain: domain, Name: name, Since: since, MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: "axis reduction",
		Infer: func(c *InferCall) error {
			if err := c.scatterTypes(); err != nil {
				return err
			}
			x, idx := c.In[0].Shape, c.In[1].Shape
			if err := firstErr(c.alikeShapes(1, 2)); err != nil {
				return err
			}
			if x != nil {
				if _, err := axis(c.Node.Place(), c.Node.Int("axis", 0), len(x)); err != nil {
					return err
				}
				if idx != nil && len(idx) != len(x) {
					return c.Errorf("indices %v for data %v", idx, x)
				}
			}
			return sameAs(c)
		},
		Ref: func(c *Call) error {
			to, err := elementPlaces(c.In[0].Shape, c.In[1], c.Node.Int("axis", 0))
			if err != nil {
				return err
			}
			if !c.In[1].Shape.Equal(c.In[2].Shape) {
				return c.errorf("indices %v for updates %v", c.In[1].Shape, c.In[2].Shape)
			}
			copy(c.Out[0].Data, c.In[0].Data)
			scatterInto(c.Out[0], c.In[2], to, 1, c.Node.Str("reduction", "none"))
			return nil
		},
		Grad: func(c *GradCall) []*graph.Value {
			a := graph.Int("axis", c.Node.Int("axis", 0))
			s := scatterRule{c: c,
				put: func(x, u *graph.Value, how string) *graph.Value {
					return c.B.Node(graph.Domain, "ScatterElements", 1, []*graph.Value{x, c.In[1], u}, a, graph.Str("reduction", how))[0]
				},
				get: func(x *graph.Value) *graph.Value {
					return c.B.Node(graph.Domain, "GatherElements", 1, []*graph.Value{x, c.In[1]}, a)[0]
				}}
			return s.grad(c.Node.Str("reduction", "none"))
		},
		Prepare: scatterElementsKernel,
	}
	if domain == graph.Domain {
		o.Defaults = []graph.Attr{graph.Int("axis", 0), graph.Str("reduction", "none")}
		o.Body = func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
			return one(b.OpA("ScatterElements", []graph.Attr{graph.Int("axis", n.Int("axis", 0)), graph.Str("reduction", n.Str("reduction", "none"))}, in...))
		}
	}
	return o
}

var (
	opScatter               = scatterElementsOp("", "Scatter", 9)
	opScatterElements       = scatterElementsOp("", "ScatterElements", 11)
	opMusterScatterElements = scatterElementsOp(graph.Domain, "ScatterElements", 1)
)

// scatterTypes checks the dtypes and the reduction of a Scatter operator.
func (c *InferCall) scatterTypes() error {
	if err := c.wantIndex(1); err != nil {
		return err
	}
	if c.In[0].DType != c.In[2].DType {
		return c.Errorf("data is %s, updates is %s", c.In[0].DType, c.In[2].DType)
	}
	switch r := c.Node.Str("reduction", "none"); r {
	case "none", "add", "mul", "max", "min":
		return nil
	default:
		return c.unsupported("reduction %q is not supported", r)
	}
}

// alikeShapes checks that two inputs have one shape as far as both are known.
func (c *InferCall) alikeShapes(i, j int) error {
	a, b := c.In[i].Shape, c.In[j].Shape
	if a == nil || b == nil {
		return nil
	}
	if len(a) != len(b) {
		return c.Errorf("inputs %d and %d have the shapes %v and %v", i, j, a, b)
	}
	for k := range a {
		if a[k].Known() && b[k].Known() && a[k].Size != b[k].Size {
			return c.Errorf("inputs %d and %d have the shapes %v and %v", i, j, a, b)
		}
	}
	return nil
}

// elementPlaces lists the element of a tensor of shape x that each index names along axis a.
func elementPlaces(x tensor.Shape, idx *tensor.Tensor, a int64) ([]int, error) {
	at, own := wrap(a, len(x)), x.Strides()
	if len(idx.Shape) != len(x) {
		return nil, fault.New(fault.Mismatch, "", "indices %v for data %v", idx.Shape, x)
	}
	st := append([]int{}, own...)
	st[at] = 0
	for i, n := range idx.Shape {
		if i != at && n > x[i] {
			return nil, fault.New(fault.Mismatch, "", "indices %v for data %v", idx.Shape, x)
		}
	}
	if err := indexCheck(idx, int64(x[at])); err != nil {
		return nil, err
	}
	to := offsets(idx.Shape, st, 0)
	for i := range to {
		to[i] += wrap(index(idx, i), x[at]) * own[at]
	}
	return to, nil
}

// scatterInto combines block i of upd, of Q elements, with the Q elements of out that start at to[i].
func scatterInto(out, upd *tensor.Tensor, to []int, Q int, how string) {
	if how == "none" {
		q := out.DType.Bytes(Q)
		for i, t := range to {
			copy(out.Data[t*q/max(Q, 1):][:q], upd.Data[i*q:])
		}
		return
	}
	if out.DType.IsFloat() {
		v := floats(out)
		scatterBlocks(v, floats(upd), to, Q, how)
		setFloats(out, v)
		return
	}
	if out.DType == tensor.Uint64 {
		scatterBlocks(out.Uint64s(), upd.Uint64s(), to, Q, how)
		return
	}
	v := ints(out)
	scatterBlocks(v, ints(upd), to, Q, how)
	setInts(out, v)
}

func scatterBlocks[T float32 | float64 | int64 | int32 | uint64](v, u []T, to []int, Q int, how string) {
	for i, t := range to {
		combine(v[t:t+Q], u[i*Q:(i+1)*Q], how)
	}
}

// combine is d = d op s. A sum or product is one rounding after the other; max and min keep what is not a number.
func combine[T float32 | float64 | int64 | int32 | uint64](d, s []T, how string) {
	switch how {
	case "none":
		copy(d, s)
	case "add":
		for q, x := range s {
			d[q] += x
		}
	case "mul":
		for q, x := range s {
			d[q] *= x
		}
	case "max":
		for q, x := range s {
			d[q] = max(d[q], x)
		}
	case "min":
		for q, x := range s {
			d[q] = min(d[q], x)
		}
	}
}

// scatterRule differentiates Y = scatter(X, U) given the operators that write to the places of U and read from them.
type scatterRule struct {
	c   *GradCall
	put func(x, u *graph.Value, how string) *graph.Value
	get func(x *graph.Value) *graph.Value
}

// grad returns dX, nothing, dU. With reduction none an element that several updates name gives each of them
// its gradient: the specification leaves the result of duplicates open. Ties of max and min share evenly.
func (s scatterRule) grad(how string) []*graph.Value {
	b, x, u, dy := s.c.B, s.c.In[0], s.c.In[2], s.c.DOut[0]
	switch how {
	case "none":
		return []*graph.Value{s.put(dy, ZerosLike(b, u), "none"), nil, s.get(dy)}
	case "add":
		return []*graph.Value{dy, nil, s.get(dy)}
	case "mul":
		return s.product(x, u, dy)
	}
	y := s.c.Out[0]
	hitX, hitU := b.Op("Equal", x, y), b.Op("Equal", u, s.get(y))
	count := s.put(cast(b, hitX, x.DType), cast(b, hitU, x.DType), "add")
	share, zero := b.Op("Div", dy, count), fill(b, x, 0)
	return []*graph.Value{b.Op("Where", hitX, share, zero), nil, b.Op("Where", hitU, s.get(share), zero)}
}

// product is for Y = X times the updates: the product of the others is y / u, or counted by hand where u is 0.
func (s scatterRule) product(x, u, dy *graph.Value) []*graph.Value {
	b := s.c.B
	zero, one := fill(b, u, 0), fill(b, u, 1)
	isZero := b.Op("Equal", u, zero)
	safe := b.Op("Where", isZero, one, u)
	all, ones := ZerosLike(b, x), b.Op("Add", ZerosLike(b, x), one)
	zeros := s.get(s.put(all, cast(b, isZero, u.DType), "add"))
	rest := s.get(b.Op("Mul", b.Op("Mul", dy, x), s.put(ones, safe, "mul"))) // without the zeros
	atZero := b.Op("Where", b.Op("Equal", zeros, one), rest, zero)
	others := b.Op("Where", b.Op("Equal", zeros, zero), b.Op("Div", rest, safe), zero)
	return []*graph.Value{b.Op("Mul", dy, s.put(ones, u, "mul")), nil, b.Op("Where", isZero, atZero, others)}
}
