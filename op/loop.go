package op

import (
	"math"

	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// Loop runs its body (iteration, condition, carried...) -> (condition, carried..., scans...) at most M times and
// while the condition holds; scans are stacked along a new first axis. M and the condition may be absent.
var opLoop = Op{
	Name: "Loop", Since: 1, MinIn: 0, MaxIn: -1, MinOut: 1, MaxOut: -1, Attrs: "body " + captures,
	Dynamic: true, Types: true,
	NoGrad: "it would need the carried values of every iteration, which are not kept",
	Infer: func(c *InferCall) error {
		n := formal(c.Node) - 2
		if n < 0 || len(c.Out) < n {
			return c.Errorf("%d inputs and %d outputs", formal(c.Node), len(c.Out))
		}
		if err := firstErr(c.wantType(0, tensor.Int64), c.wantType(1, tensor.Bool)); err != nil {
			return err
		}
		lead := []*graph.Value{scalarOf("iteration", tensor.Int64), scalarOf("condition", tensor.Bool)}
		outs, carried, err := c.settle("body", lead, c.In[2:2+n], 1)
		if err != nil {
			return err
		}
		if len(outs) != 1+len(c.Out) {
			return c.Errorf("body has %d outputs, want %d", len(outs), 1+len(c.Out))
		}
		for i, v := range carried {
			if o := outs[1+i]; o.DType != v.DType {
				v = o
			}
			c.setType(i, v, v.Shape)
		}
		for i, v := range outs[1+n:] {
			var s []graph.Dim
			if v.Shape != nil {
				s = append([]graph.Dim{{Size: -1}}, v.Shape...)
			}
			c.Set(n+i, v.DType, s)
		}
		return nil
	},
	Ref: loop,
}

// settle infers a loop's body until the types of its carried values are those of every iteration; skip outputs come
// before the carried ones. It returns the outputs, and the carried values as they are before, between and behind.
func (c *InferCall) settle(name string, lead, init []*graph.Value, skip int, after ...*graph.Value) (outs, carried []*graph.Value, err error) {
	for i, v := range init {
		if v == nil {
			return nil, nil, c.Errorf("carried value %d is absent", i)
		}
		w := *v
		w.Const = nil
		if c.nest >= maxGuess && w.Shape != nil {
			w.Shape = unknown(len(w.Shape))
		}
		carried = append(carried, &w)
	}
	for round := 0; ; round++ {
		in := append(append(append([]*graph.Value{}, lead...), carried...), after...)
		if outs, err = c.subgraph(name, in); err != nil {
			return nil, nil, err
		}
		if len(outs) < skip+len(carried) {
			return nil, nil, c.Errorf("%s has %d outputs for %d carried values", name, len(outs), len(carried))
		}
		stable := true
		for i, v := range carried {
			o := outs[skip+i]
			if v.DType == tensor.Optional && o.DType != tensor.Optional {
				continue // what an optional holds counts as the optional
			}
			if o.DType != v.DType {
				return nil, nil, c.Errorf("carried value %d is %s before and %s behind an iteration", i, v.DType, o.DType)
			}
			j := joinShapes(v.Shape, o.Shape)
			if v.DType.IsContainer() {
				j = v.Shape
			}
			if sameShapes(j, v.Shape) {
				continue
			}
			if stable = false; round > 0 {
				j = nil
			}
			w := *v
			w.Shape = j
			carried[i] = &w
		}
		if stable {
			return outs, carried, nil
		}
	}
}

func loop(c *Call) error {
	n := formal(c.Node) - 2
	limit, on := int64(math.MaxInt64), true
	for i, t := range c.In[:2] {
		if t != nil && t.Elems() != 1 {
			return fault.New(fault.Mismatch, c.Node.Place(), "input %d has %d elements, want 1", i, t.Elems())
		}
	}
	if c.In[0] != nil {
		limit = c.In[0].Int64s()[0]
	}
	if c.In[1] != nil {
		on = c.In[1].Bools()[0]
	}
	s := newStates(n)
	copy(s.cur, c.In[2:2+n])
	scans := make([]stack, len(c.Out)-n)
	iter, cond := tensor.New(tensor.Int64), tensor.New(tensor.Bool)
	args := []*tensor.Tensor{iter, cond}
	for i := int64(0); i < limit && on; i++ {
		if err := c.takeStep(); err != nil {
			return err
		}
		iter.Int64s()[0], cond.Bools()[0] = i, on
		out, err := c.sub("body", append(args[:2], s.cur...), int(i), 1+len(c.Out))
		if err != nil {
			return err
		}
		if out[0].DType != tensor.Bool || out[0].Elems() != 1 {
			return fault.New(fault.Mismatch, c.Node.Place(), "the body's condition is %s %s", out[0].DType, out[0].Shape)
		}
		on = out[0].Bools()[0]
		for k := range scans {
			if err := scans[k].push(c, out[1+n+k]); err != nil {
				return err
			}
		}
		for k := range s.cur {
			x := out[1+k]
			if c.In[2+k].DType == tensor.Optional && x.DType != tensor.Optional {
				x = &tensor.Tensor{DType: tensor.Optional, Shape: tensor.Shape{}, Items: []*tensor.Tensor{x}}
			}
			if err := s.set(c, k, x); err != nil {
				return err
			}
		}
		if s.turn(); i == 0 {
			clear(s.next) // the first ones belong to others
		}
	}
	return c.finish(s.cur, scans)
}

// finish hands over the carried values and the stacked scans.
func (c *Call) finish(carried []*tensor.Tensor, scans []stack) error {
	for i, t := range carried {
		if o := c.Out[i]; o != nil && o.DType != tensor.Optional && t.DType == tensor.Optional {
			if len(t.Items) != 1 {
				return fault.New(fault.Mismatch, c.Node.Place(), "output %d is an empty optional, want %s", i, o.DType)
			}
			t = t.Items[0]
		}
		if err := c.give(i, t); err != nil {
			return err
		}
	}
	for i := range scans {
		k := len(carried) + i
		if k >= len(c.Out) || c.Out[k] == nil {
			continue
		}
		if err := c.give(k, scans[i].tensor(c.Node.Outputs[k])); err != nil {
			return err
		}
	}
	return nil
}
