package op

import (
	"math"

	"muster/graph"
	"muster/internal/kernel"
)

// globalPool is a pool of all spatial positions of X [N, C, ...] to one.
type globalPool struct {
	name  string
	since int
	attrs string
	fold  func(n *graph.Node, x []float64) float64
	fast  func(x []float32) float32
	body  func(b *graph.Builder, n *graph.Node, x *graph.Value, axes []int64) *graph.Value
	grad  func(c *GradCall) []*graph.Value
}

func (g globalPool) op() Op {
	o := Op{
		Name: g.name, Since: g.since, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: g.attrs, Grad: g.grad,
		Infer: func(c *InferCall) error {
			if c.Node.Int("p", 2) < 1 {
				return c.unsupported("p %d is not supported", c.Node.Int("p", 2))
			}
			if err := c.wantFloat(0); err != nil {
				return err
			}
			x := c.In[0].Shape
			if x == nil {
				c.Set(0, c.In[0].DType, nil)
				return nil
			}
			if len(x) < 2 {
				return c.Errorf("input 0 is %v, want [N, C, ...]", x)
			}
			out := []graph.Dim{x[0], x[1]}
			for range x[2:] {
				out = append(out, graph.D(1))
			}
			c.Set(0, c.In[0].DType, out)
			return nil
		},
		Ref: func(c *Call) error {
			x, size := floats(c.In[0]), c.In[0].Shape[2:].Elems()
			y := make([]float64, c.Out[0].Elems())
			for i := range y {
				y[i] = g.fold(c.Node, x[i*size:][:size])
			}
			setFloats(c.Out[0], y)
			return nil
		},
	}
	if g.fast != nil {
		o.Prepare = func(p *Prep) (Kernel, bool) { return globalKernel(p, g.fast) }
	}
	if g.body != nil {
		o.Body = func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
			return one(g.body(b, n, in[0], spatialAxes(len(in[0].Shape))))
		}
	}
	return o
}

var opGlobalAveragePool = globalPool{name: "GlobalAveragePool", since: 1,
	fold: func(_ *graph.Node, x []float64) float64 {
		sum := 0.0
		for _, v := range x {
			sum += v
		}
		return sum / float64(len(x))
	},
	fast: func(x []float32) float32 { return kernel.Sum(x) / float32(len(x)) },
	body: func(b *graph.Builder, _ *graph.Node, x *graph.Value, axes []int64) *graph.Value {
		return b.ReduceMean(x, 1, axes...)
	}}.op()

// GlobalMaxPool's gradient is divided evenly among equal maxima, as that of ReduceMax.
var opGlobalMaxPool = globalPool{name: "GlobalMaxPool", since: 1,
	fold: func(_ *graph.Node, x []float64) float64 {
		m := math.Inf(-1)
		for _, v := range x {
			m = math.Max(m, v)
		}
		return m
	},
	fast: kernel.Greatest,
	body: func(b *graph.Builder, _ *graph.Node, x *graph.Value, axes []int64) *graph.Value {
		return b.ReduceMax(x, 1, axes...)
	}}.op()

// GlobalLpPool is the p-norm of all positions.
var opGlobalLpPool = globalPool{name: "GlobalLpPool", since: 2, attrs: "p",
	fold: func(n *graph.Node, x []float64) float64 {
		sum, p := 0.0, float64(n.Int("p", 2))
		for _, v := range x {
			sum += math.Pow(math.Abs(v), p)
		}
		return math.Pow(sum, 1/p)
	},
	grad: func(c *GradCall) []*graph.Value {
		b, p := c.B, c.Node.Int("p", 2)
		return one(normSlope(b, c.In[0], b.Op("Mul", c.DOut[0], normScale(b, c.Out[0], p)), p))
	}}.op()
