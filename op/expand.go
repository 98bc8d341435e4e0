package op

import (
	"math"

	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

var opExpand = Op{
	Name: "Expand", Since: 8, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantType(1, tensor.Int64), c.wantRank(1, 1)); err != nil {
			return err
		}
		want, err := c.shapeFrom(1)
		if err != nil {
			return err
		}
		s, err := c.broadcastDims(c.In[0].Shape, want)
		c.Set(0, c.In[0].DType, s)
		return err
	},
	Ref: func(c *Call) error {
		if err := expandable(c.In, c.Out[0].Shape); err != nil {
			return err
		}
		copyElems(c.Out[0], c.In[0], broadcast(c.Out[0].Shape, c.In[0].Shape))
		return nil
	},
	Grad: func(c *GradCall) []*graph.Value {
		return one(c.sumTo(c.DOut[0], c.Out[0], c.In[0]))
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		k, ok := expandKernel(p)
		if shape := p.Out[0].Shape; ok && p.In[1].Data == nil {
			k.Check = func(in []*tensor.Tensor) error { return expandable(in, shape) }
		}
		return k, ok
	},
}

// expandable checks the wanted shape against the output: an axis of the input that is longer than 1 gives its size
// before the data are there.
func expandable(in []*tensor.Tensor, out tensor.Shape) error {
	want := in[1].Int64s()
	for i, n := range want {
		if at := len(out) - len(want) + i; n != 1 && (at < 0 || n != int64(out[at])) {
			return fault.New(fault.Mismatch, "", "%s cannot be expanded to %v", in[0].Shape, want)
		}
	}
	return nil
}

// Tile repeats along every axis.
var opTile = Op{
	Name: "Tile", Since: 6, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantType(1, tensor.Int64), c.wantRank(1, 1)); err != nil {
			return err
		}
		in := c.In[0].Shape
		l, ok := c.list(1)
		if in == nil {
			c.Set(0, c.In[0].DType, nil)
			return nil
		}
		if ok && len(l) != len(in) {
			return c.Errorf("%d repeats for %v", len(l), in)
		}
		out := unknown(len(in))
		for i := range out {
			switch {
			case !ok || !l[i].known:
			case l[i].v < 0 || l[i].v > maxElems:
				return c.Errorf("%d repeats", l[i].v)
			case l[i].v == 1:
				out[i] = in[i]
			case in[i].Known() && in[i].Size <= maxElems:
				out[i] = graph.D(in[i].Size * int(l[i].v))
			}
		}
		c.Set(0, c.In[0].DType, out)
		return nil
	},
	Ref: func(c *Call) error {
		shape, strides := tiled(c.In[0].Shape, c.Out[0].Shape)
		copyElems(c.Out[0], c.In[0], offsets(shape, strides, 0))
		return nil
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		shape, strides := tiled(p.In[0].Shape, p.Out[0].Shape)
		return stridedKernelOf(p, shape, strides)
	},
	Grad: func(c *GradCall) []*graph.Value {
		b, x := c.B, c.In[0]
		pairs := b.OpA("Concat", []graph.Attr{graph.Int("axis", 1)}, b.Unsqueeze(c.In[1], 1), b.Unsqueeze(shapeOf(b, x), 1))
		var even []int64
		for i := range x.Shape {
			even = append(even, int64(2*i))
		}
		if len(even) == 0 {
			return one(c.DOut[0])
		}
		return one(b.ReduceSum(b.Op("Reshape", c.DOut[0], reshape(b, pairs, -1)), 0, even...))
	},
}

// tiled is the output of a Tile seen as [r0, d0, r1, d1, ...]: the input is repeated along the even axes.
func tiled(in, out tensor.Shape) (shape tensor.Shape, strides []int) {
	own := in.Strides()
	for i := range in {
		r := 0
		if in[i] > 0 {
			r = out[i] / in[i]
		}
		shape, strides = append(shape, r, in[i]), append(strides, 0, own[i])
	}
	return shape, strides
}

// Range is start, start + delta, ... up to but not including limit; all scalars.
var opRange = Op{
	Name: "Range", Since: 11, MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1,
	NoGrad: "its length depends on its inputs",
	Infer: func(c *InferCall) error {
		if err := c.sameTypes(); err != nil {
			return err
		}
		n, ok, err := rangeLen(c)
		if err != nil {
			return err
		}
		out := unknown(1)
		if ok {
			out[0] = graph.D(n)
		} else if lo, ok1 := c.list(0); ok1 && len(lo) == 1 && lo[0].known && lo[0].v == 0 {
			// Range(0, size, 1) of a named size has that name.
			hi, ok2 := c.list(1)
			step, ok3 := c.list(2)
			if ok2 && ok3 && len(hi) == 1 && len(step) == 1 && step[0].known && step[0].v == 1 && !hi[0].known {
				out[0] = hi[0].dim()
			}
		}
		c.Set(0, c.In[0].DType, out)
		return nil
	},
	Ref: func(c *Call) error {
		if !c.Out[0].DType.IsFloat() {
			start, delta := ints(c.In[0])[0], ints(c.In[2])[0]
			v := make([]int64, c.Out[0].Elems())
			for i := range v {
				v[i] = start + int64(i)*delta
			}
			setInts(c.Out[0], v)
			return nil
		}
		start, delta := c.In[0].Float(0), c.In[2].Float(0)
		v := make([]float64, c.Out[0].Elems())
		for i := range v {
			v[i] = start + float64(float64(i)*delta)
		}
		setFloats(c.Out[0], v)
		return nil
	},
	Prepare: rangeKernel,
}

func rangeLen(c *InferCall) (int, bool, error) {
	var v [3]float64
	for i := range v {
		t := c.Const(i)
		if t == nil {
			return 0, false, nil
		}
		if t.Elems() != 1 || t.DType == tensor.Bool {
			return 0, false, c.Errorf("input %d is not a number", i)
		}
		v[i] = t.Float(0)
	}
	n := math.Ceil((v[1] - v[0]) / v[2])
	if !(n <= maxElems) {
		if n > maxElems {
			return 0, false, fault.New(fault.Exhausted, c.Node.Place(), "the range from %g to %g by %g is too long", v[0], v[1], v[2])
		}
		return 0, false, c.Errorf("the range from %g to %g by %g has no length", v[0], v[1], v[2])
	}
	return int(math.Max(n, 0)), true, nil
}

// rangeKernel is for int64 and float32.
func rangeKernel(p *Prep) (Kernel, bool) {
	n := p.Out[0].Elems()
	switch p.Out[0].DType {
	case tensor.Int64:
		return Kernel{Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
			lo, hi := bounds(n, task)
			delta := in[2].Int64s()[0]
			v := in[0].Int64s()[0] + int64(lo)*delta
			for i, d := lo, out[0].Int64s(); i < hi; i++ {
				d[i] = v
				v += delta
			}
		})}, true
	case tensor.Float32:
		return Kernel{Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
			lo, hi := bounds(n, task)
			start, delta := float64(in[0].Float32s()[0]), float64(in[2].Float32s()[0])
			for i, d := lo, out[0].Float32s(); i < hi; i++ {
				d[i] = float32(start + float64(float64(i)*delta))
			}
		})}, true
	}
	return Kernel{}, false
}
