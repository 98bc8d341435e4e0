package op

import (
	"math"

	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// Clip bounds are inputs since opset 11, attributes before. The gradient passes
// inside the closed interval; the bounds get none.
var opClip11 = Op{
	Name: "Clip", Since: 11, MinIn: 1, MaxIn: 3, MinOut: 1, MaxOut: 1,
	Infer: func(c *InferCall) error {
		for i := 1; i < len(c.In); i++ {
			if v := c.In[i]; v != nil && v.Shape != nil {
				if n, ok := known(v.Shape); ok && n != 1 {
					return c.Errorf("input %d is %v, want a scalar", i, v.Shape)
				}
			}
		}
		if err := c.sameTypes(); err != nil {
			return err
		}
		return sameAs(c)
	},
	Ref: func(c *Call) error {
		if c.In[0].DType.IsFloat() {
			lo, hi := math.Inf(-1), math.Inf(1)
			if t := c.in(1); t != nil {
				lo = t.Float(0)
			}
			if t := c.in(2); t != nil {
				hi = t.Float(0)
			}
			clip(c, lo, hi)
			return nil
		}
		v := ints(c.In[0])
		for i := range v {
			if t := c.in(1); t != nil {
				v[i] = later(c.In[0].DType, v[i], ints(t)[0])
			}
			if t := c.in(2); t != nil {
				v[i] = earlier(c.In[0].DType, v[i], ints(t)[0])
			}
		}
		setInts(c.Out[0], v)
		return nil
	},
	Grad: func(c *GradCall) []*graph.Value { return one(clipGrad(c, c.In[1:])) },
	Prepare: func(p *Prep) (Kernel, bool) {
		n := p.Out[0].Elems()
		if p.In[0].DType != tensor.Float32 {
			return Kernel{}, false
		}
		return Kernel{Over: 1, Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
			at := [2]float32{float32(math.Inf(-1)), float32(math.Inf(1))}
			for i := range at {
				if i+1 < len(in) && in[i+1] != nil {
					at[i] = in[i+1].Float32s()[0]
				}
			}
			lo, hi := bounds(n, task)
			kernel.Clip(out[0].Float32s()[lo:hi], in[0].Float32s()[lo:hi], at[0], at[1])
		})}, true
	},
}

var opClip6 = Op{
	Name: "Clip", Since: 6, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "min max",
	Infer: func(c *InferCall) error {
		if err := c.wantFloat(0); err != nil {
			return err
		}
		return sameAs(c)
	},
	Ref: func(c *Call) error {
		clip(c, float64(c.Node.Float("min", -math.MaxFloat32)), float64(c.Node.Float("max", math.MaxFloat32)))
		return nil
	},
	Grad: func(c *GradCall) []*graph.Value {
		return one(clipGrad(c, []*graph.Value{
			fill(c.B, c.In[0], float64(c.Node.Float("min", -math.MaxFloat32))),
			fill(c.B, c.In[0], float64(c.Node.Float("max", math.MaxFloat32)))}))
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		return clipKernel(p, p.Node.Float("min", -math.MaxFloat32), p.Node.Float("max", math.MaxFloat32))
	},
}

// clip is min(max(x, lo), hi): the upper bound wins where they contradict each other; NaN stays.
func clip(c *Call, lo, hi float64) {
	v := floats(c.In[0])
	for i, x := range v {
		if x < lo {
			x = lo
		}
		if x > hi {
			x = hi
		}
		v[i] = x
	}
	setFloats(c.Out[0], v)
}

func later(d tensor.DType, x, y int64) int64 {
	if d == tensor.Uint64 {
		return int64(max(uint64(x), uint64(y)))
	}
	return max(x, y)
}

func earlier(d tensor.DType, x, y int64) int64 {
	if d == tensor.Uint64 {
		return int64(min(uint64(x), uint64(y)))
	}
	return min(x, y)
}

func clipGrad(c *GradCall, bounds []*graph.Value) *graph.Value {
	b, dy, x := c.B, c.DOut[0], c.In[0]
	zero := fill(b, x, 0)
	for i, bound := range bounds {
		if bound == nil {
			continue
		}
		outside := b.Op("Less", x, bound)
		if i == 1 {
			outside = b.Op("Greater", x, bound)
		}
		dy = b.Op("Where", outside, zero, dy)
	}
	return dy
}
