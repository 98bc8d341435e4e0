package op

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// compare is an operator of two broadcast tensors with a bool result.
type compare struct {
	name  string
	since int
	logic bool // operands are bool
	f     func(x, y float64) bool
	i     func(x, y int64) bool
	u     func(x, y uint64) bool // nil: as i
}

func (o compare) op() Op {
	return Op{
		Name: o.name, Since: o.since, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
		NoGrad: "its output is bool",
		Infer: func(c *InferCall) error {
			if err := c.sameTypes(); err != nil {
				return err
			}
			if isBool := c.In[0].DType == tensor.Bool; isBool != o.logic && o.name != "Equal" {
				return c.Errorf("the inputs are %s", c.In[0].DType)
			}
			s, err := c.broadcastDims(c.In[0].Shape, c.In[1].Shape)
			c.Set(0, tensor.Bool, s)
			return err
		},
		Ref:     o.ref,
		Prepare: func(p *Prep) (Kernel, bool) { return compareKernel(p, o.name) },
	}
}

func (o compare) ref(c *Call) error {
	out := c.Out[0].Bools()
	at, bt := broadcast(c.Out[0].Shape, c.In[0].Shape), broadcast(c.Out[0].Shape, c.In[1].Shape)
	if c.In[0].DType.IsFloat() {
		x, y := floats(c.In[0]), floats(c.In[1])
		for i := range out {
			out[i] = o.f(x[at[i]], y[bt[i]])
		}
		return nil
	}
	x, y := ints(c.In[0]), ints(c.In[1])
	for i := range out {
		if o.u != nil && c.In[0].DType == tensor.Uint64 {
			out[i] = o.u(uint64(x[at[i]]), uint64(y[bt[i]]))
			continue
		}
		out[i] = o.i(x[at[i]], y[bt[i]])
	}
	return nil
}

var (
	opAnd = compare{name: "And", since: 7, logic: true, i: func(x, y int64) bool { return x != 0 && y != 0 }}.op()
	opOr  = compare{name: "Or", since: 7, logic: true, i: func(x, y int64) bool { return x != 0 || y != 0 }}.op()
	opXor = compare{name: "Xor", since: 7, logic: true, i: func(x, y int64) bool { return (x != 0) != (y != 0) }}.op()

	opEqual = compare{name: "Equal", since: 7,
		f: func(x, y float64) bool { return x == y }, i: func(x, y int64) bool { return x == y }}.op()
	opGreater = compare{name: "Greater", since: 7,
		f: func(x, y float64) bool { return x > y }, i: func(x, y int64) bool { return x > y },
		u: func(x, y uint64) bool { return x > y }}.op()
	opGreaterOrEqual = compare{name: "GreaterOrEqual", since: 12,
		f: func(x, y float64) bool { return x >= y }, i: func(x, y int64) bool { return x >= y },
		u: func(x, y uint64) bool { return x >= y }}.op()
	opLess = compare{name: "Less", since: 7,
		f: func(x, y float64) bool { return x < y }, i: func(x, y int64) bool { return x < y },
		u: func(x, y uint64) bool { return x < y }}.op()
	opLessOrEqual = compare{name: "LessOrEqual", since: 12,
		f: func(x, y float64) bool { return x <= y }, i: func(x, y int64) bool { return x <= y },
		u: func(x, y uint64) bool { return x <= y }}.op()
)

var opNot = Op{
	Name: "Not", Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, NoGrad: "its output is bool",
	Infer: func(c *InferCall) error {
		if err := c.wantType(0, tensor.Bool); err != nil {
			return err
		}
		return sameAs(c)
	},
	Ref: func(c *Call) error {
		for i, x := range c.In[0].Data {
			c.Out[0].Data[i] = x ^ 1
		}
		return nil
	},
	Prepare: notKernel,
}

// variadic folds any number of broadcast tensors from the left.
type variadic struct {
	name string
	f    func(x, y float64) float64
	i    func(x, y int64) int64
	u    func(x, y uint64) uint64
	pick bool // the result is one of the operands (Max, Min)
	mean bool // the sum is divided by the number of operands
	fast binaryFast
}

func (o variadic) op() Op {
	return Op{
		Name: o.name, Since: 6, MinIn: 1, MaxIn: -1, MinOut: 1, MaxOut: 1,
		Infer: func(c *InferCall) error {
			if err := c.sameTypes(); err != nil {
				return err
			}
			if c.In[0].DType == tensor.Bool || o.mean && !c.In[0].DType.IsFloat() {
				return c.Errorf("the inputs are %s", c.In[0].DType)
			}
			var shapes [][]graph.Dim
			for i, v := range c.In {
				if v == nil {
					return c.Errorf("input %d is absent", i)
				}
				shapes = append(shapes, v.Shape)
			}
			s, err := c.broadcastDims(shapes...)
			c.Set(0, c.In[0].DType, s)
			return err
		},
		Ref: o.ref,
		Grad: func(c *GradCall) []*graph.Value {
			if o.pick {
				return pickGrad(c)
			}
			var d []*graph.Value
			dy := c.DOut[0]
			if o.mean {
				dy = c.B.Op("Div", dy, fill(c.B, c.Out[0], float64(len(c.In))))
			}
			for _, x := range c.In {
				d = append(d, c.sumTo(dy, c.Out[0], x))
			}
			return d
		},
		Prepare: func(p *Prep) (Kernel, bool) {
			if len(p.In) == 2 && !o.mean {
				return binaryKernel(p, o.fast)
			}
			return variadicKernel(p, o.fast, o.mean)
		},
	}
}

func (o variadic) ref(c *Call) error {
	out := c.Out[0]
	if out.DType.IsFloat() {
		var acc []float64
		for k, t := range c.In {
			x, at := floats(t), broadcast(out.Shape, t.Shape)
			if k == 0 {
				acc = make([]float64, len(at))
			}
			for i, j := range at {
				if k == 0 {
					acc[i] = x[j]
				} else {
					acc[i] = o.f(acc[i], x[j])
				}
			}
		}
		for i := range acc {
			if o.mean {
				acc[i] /= float64(len(c.In))
			}
		}
		setFloats(out, acc)
		return nil
	}
	var acc []int64
	for k, t := range c.In {
		x, at := ints(t), broadcast(out.Shape, t.Shape)
		if k == 0 {
			acc = make([]int64, len(at))
		}
		for i, j := range at {
			switch {
			case k == 0:
				acc[i] = x[j]
			case o.u != nil && out.DType == tensor.Uint64:
				acc[i] = int64(o.u(uint64(acc[i]), uint64(x[j])))
			default:
				acc[i] = o.i(acc[i], x[j])
			}
		}
	}
	setInts(out, acc)
	return nil
}

// pickGrad splits dy evenly among the operands that are equal to the result.
func pickGrad(c *GradCall) []*graph.Value {
	b, y := c.B, c.Out[0]
	var masks []*graph.Value
	for _, x := range c.In {
		masks = append(masks, cast(b, b.Op("Equal", x, y), y.DType))
	}
	share := c.DOut[0]
	if len(masks) > 1 {
		share = b.Op("Div", share, b.Op("Sum", masks...))
	}
	d := make([]*graph.Value, len(c.In))
	for i, x := range c.In {
		if c.Need[i] {
			d[i] = c.sumTo(b.Op("Mul", share, masks[i]), y, x)
		}
	}
	return d
}

var (
	opMax = variadic{name: "Max", pick: true, f: math.Max,
		i: func(x, y int64) int64 { return max(x, y) }, u: func(x, y uint64) uint64 { return max(x, y) }, fast: fastMax}.op()
	opMean = variadic{name: "Mean", mean: true, f: func(x, y float64) float64 { return x + y }}.op()
	opMin  = variadic{name: "Min", pick: true, f: math.Min,
		i: func(x, y int64) int64 { return min(x, y) }, u: func(x, y uint64) uint64 { return min(x, y) }, fast: fastMin}.op()
	opSum = variadic{name: "Sum", f: func(x, y float64) float64 { return x + y },
		i: func(x, y int64) int64 { return x + y }, fast: fastAdd}.op()
)
