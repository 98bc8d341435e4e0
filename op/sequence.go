package op

import (
	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// A sequence is a list of tensors of one dtype. Operators copy what they put in or take out, so that no item is
// ever changed.

const noSequenceGrad = "gradients do not pass through sequences"

// setSequence makes output i a sequence of items of this type.
func (c *InferCall) setSequence(i int, elem *graph.Type) { c.setContainer(i, tensor.Sequence, elem) }

func (c *InferCall) setContainer(i int, d tensor.DType, elem *graph.Type) {
	c.Set(i, d, []graph.Dim{})
	if i < len(c.Out) && c.Out[i] != nil {
		c.Out[i].Elem = elem
	}
}

// elem is the type of the items of input i, which must be a sequence (or whatever container d says).
func (c *InferCall) elem(i int, d tensor.DType) (*graph.Type, error) {
	v := c.in(i)
	if v == nil || v.DType != d {
		return nil, c.Errorf("input %d is not a %s", i, d)
	}
	if v.Elem == nil || v.Elem.DType == tensor.Undefined {
		return nil, c.unsupported("the type of the items of input %d, %q, is not known", i, v.Name)
	}
	return v.Elem, nil
}

func (c *InferCall) wantTensor(i int) error {
	if v := c.in(i); v != nil && v.DType.IsContainer() {
		return c.Errorf("input %d is a %s", i, v.DType)
	}
	return nil
}

// position reads input i as a position in a list of n, counted from the end if negative; def if it is absent.
// beyond allows n itself.
func (c *Call) position(i, n, def int, beyond bool) (int, error) {
	if i >= len(c.In) || c.In[i] == nil {
		return def, nil
	}
	if c.In[i].Elems() != 1 {
		return 0, fault.New(fault.Mismatch, c.Node.Place(), "the position has %d elements", c.In[i].Elems())
	}
	p, top := ints(c.In[i])[0], int64(n)
	if beyond {
		top++
	}
	if p < -int64(n) || p >= top {
		return 0, fault.New(fault.Mismatch, c.Node.Place(), "position %d in a sequence of %d", p, n)
	}
	if p < 0 {
		p += int64(n)
	}
	return int(p), nil
}

var opSequenceConstruct = Op{
	Name: "SequenceConstruct", Since: 11, MinIn: 1, MaxIn: -1, MinOut: 1, MaxOut: 1, NoGrad: noSequenceGrad,
	Infer: func(c *InferCall) error {
		e := &graph.Type{DType: c.In[0].DType, Shape: c.In[0].Shape}
		for _, v := range c.In[1:] {
			if v == nil || v.DType != e.DType {
				return c.Errorf("the items have other types than %s", e.DType)
			}
			e.Shape = joinShapes(e.Shape, v.Shape)
		}
		c.setSequence(0, e)
		return nil
	},
	Ref: func(c *Call) error {
		for _, t := range c.In {
			c.Out[0].Items = append(c.Out[0].Items, t.Clone())
		}
		return nil
	},
}

var opSequenceEmpty = Op{
	Name: "SequenceEmpty", Since: 11, MinIn: 0, MaxIn: 0, MinOut: 1, MaxOut: 1, Attrs: "dtype", NoGrad: noSequenceGrad,
	Infer: func(c *InferCall) error {
		d := c.Node.Int("dtype", int64(tensor.Float32))
		if d <= 0 || d > 127 || !numeric(tensor.DType(d)) {
			return c.unsupported("items of type %d", d)
		}
		c.setSequence(0, &graph.Type{DType: tensor.DType(d)})
		return nil
	},
	Ref: func(*Call) error { return nil },
}

var opSequenceLength = Op{
	Name: "SequenceLength", Since: 11, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Types: true, NoGrad: "its output is an integer",
	Infer: func(c *InferCall) error {
		if c.In[0].DType != tensor.Sequence {
			return c.Errorf("input 0 is %s", c.In[0].DType)
		}
		c.Set(0, tensor.Int64, []graph.Dim{})
		return nil
	},
	Ref: func(c *Call) error {
		c.Out[0].Int64s()[0] = int64(len(c.In[0].Items))
		return nil
	},
}

var opSequenceAt = Op{
	Name: "SequenceAt", Since: 11, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1, Types: true, Dynamic: true, NoGrad: noSequenceGrad,
	Infer: func(c *InferCall) error {
		e, err := c.elem(0, tensor.Sequence)
		if err := firstErr(err, c.wantIndex(1)); err != nil {
			return err
		}
		c.setItem(0, e)
		return nil
	},
	Ref: func(c *Call) error {
		p, err := c.position(1, len(c.In[0].Items), 0, false)
		if err != nil {
			return err
		}
		return c.give(0, c.In[0].Items[p])
	},
}

// setItem gives output i the type of an item.
func (c *InferCall) setItem(i int, e *graph.Type) {
	s := e.Shape
	if e.DType.IsContainer() {
		s = []graph.Dim{}
	}
	c.Set(i, e.DType, s)
	if i < len(c.Out) && c.Out[i] != nil {
		c.Out[i].Elem = e.Elem
	}
}

var opSequenceInsert = Op{
	Name: "SequenceInsert", Since: 11, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1, Types: true, NoGrad: noSequenceGrad,
	Infer: func(c *InferCall) error {
		e, err := c.elem(0, tensor.Sequence)
		if err := firstErr(err, c.wantTensor(1), c.wantIndex(2)); err != nil {
			return err
		}
		if c.In[1].DType != e.DType {
			return c.Errorf("a %s in a sequence of %s", c.In[1].DType, e.DType)
		}
		c.setSequence(0, &graph.Type{DType: e.DType}) // an empty sequence does not bind the shape of its items
		return nil
	},
	Ref: func(c *Call) error {
		items := c.In[0].Items
		p, err := c.position(2, len(items), len(items), true)
		if err != nil {
			return err
		}
		// Items are never changed: sequences may share them, except that Clone is asked for where memory is reused.
		out := append(append([]*tensor.Tensor{}, items[:p]...), c.In[1].Clone())
		c.Out[0].Items = append(out, items[p:]...)
		return nil
	},
}

var opSequenceErase = Op{
	Name: "SequenceErase", Since: 11, MinIn: 1, MaxIn: 2, MinOut: 1, MaxOut: 1, Types: true, NoGrad: noSequenceGrad,
	Infer: func(c *InferCall) error {
		e, err := c.elem(0, tensor.Sequence)
		if err := firstErr(err, c.wantIndex(1)); err != nil {
			return err
		}
		c.setSequence(0, e)
		return nil
	},
	Ref: func(c *Call) error {
		items := c.In[0].Items
		if len(items) == 0 {
			return fault.New(fault.Mismatch, c.Node.Place(), "the sequence is empty")
		}
		p, err := c.position(1, len(items), len(items)-1, false)
		if err != nil {
			return err
		}
		c.Out[0].Items = append(append([]*tensor.Tensor{}, items[:p]...), items[p+1:]...)
		return nil
	},
}

// SequenceMap runs its body for every item of its first input; further inputs are sequences of that length, or tensors.
var opSequenceMap = Op{
	Name: "SequenceMap", Since: 17, MinIn: 1, MaxIn: -1, MinOut: 1, MaxOut: -1, Attrs: "body " + captures, Types: true, NoGrad: noSequenceGrad,
	Infer: func(c *InferCall) error {
		if _, err := c.elem(0, tensor.Sequence); err != nil {
			return err
		}
		var in []*graph.Value
		for i, v := range c.In[:formal(c.Node)] {
			if v == nil {
				return c.Errorf("input %d is absent", i)
			}
			w := *v
			w.Const = nil
			if v.DType == tensor.Sequence {
				e, err := c.elem(i, tensor.Sequence)
				if err != nil {
					return err
				}
				w.DType, w.Shape, w.Elem = e.DType, e.Shape, e.Elem
			}
			in = append(in, &w)
		}
		outs, err := c.subgraph("body", in)
		if err != nil {
			return err
		}
		if len(outs) != len(c.Out) {
			return c.Errorf("body has %d outputs, want %d", len(outs), len(c.Out))
		}
		for i, v := range outs {
			c.setSequence(i, &graph.Type{DType: v.DType, Shape: v.Shape, Elem: v.Elem})
		}
		return nil
	},
	Ref: func(c *Call) error {
		in := c.In[:formal(c.Node)]
		args := make([]*tensor.Tensor, len(in))
		for k := range in[0].Items {
			for i, t := range in {
				if args[i] = t; t.DType != tensor.Sequence {
					continue
				}
				if len(t.Items) != len(in[0].Items) {
					return fault.New(fault.Mismatch, c.Node.Place(), "input %d has %d items, input 0 has %d", i, len(t.Items), len(in[0].Items))
				}
				args[i] = t.Items[k]
			}
			out, err := c.sub("body", args, k, len(c.Out))
			if err != nil {
				return err
			}
			for i, o := range c.Out {
				if o != nil {
					o.Items = append(o.Items, out[i].Clone())
				}
			}
		}
		return nil
	},
}
