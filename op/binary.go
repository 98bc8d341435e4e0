package op

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// binary is an operator of two numbers with numpy broadcasting. grad returns the
// gradients by both operands before they are summed to their shapes.
type binary struct {
	name  string
	since int
	f     func(x, y float64) float64
	i     func(x, y int64) int64
	u     func(x, y uint64) uint64 // uint64, where it differs from i
	attrs string
	ints  bool                       // integers only
	as    func(n *graph.Node) binary // f, i, u and fast by the attributes; nil: as they are here
	grad  func(b *graph.Builder, n *graph.Node, dy, x, y, out *graph.Value, need []bool) (dx, dw *graph.Value)
	fast  binaryFast
}

func (o binary) op() Op {
	p := Op{
		Name: o.name, Since: o.since, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1, Attrs: o.attrs,
		Infer: func(c *InferCall) error {
			// Pow alone lets the exponent have another type.
			if err := c.sameTypes(); err != nil && o.name != "Pow" {
				return err
			}
			if c.In[0].DType == tensor.Bool || c.In[1].DType == tensor.Bool {
				return c.Errorf("an input is bool")
			}
			if o.ints && c.In[0].DType.IsFloat() {
				return c.Errorf("the inputs are %s", c.In[0].DType)
			}
			s, err := c.broadcastDims(c.In[0].Shape, c.In[1].Shape)
			c.Set(0, c.In[0].DType, s)
			return err
		},
		Ref: func(c *Call) error { return o.of(c.Node).ref(c) },
		Prepare: func(p *Prep) (Kernel, bool) {
			of := o.of(p.Node)
			if !p.Out[0].DType.IsFloat() {
				return intKernel(p, o.name, of.i)
			}
			return binaryKernel(p, of.fast)
		},
	}
	if o.grad == nil {
		p.NoGrad = "it works on integers"
		return p
	}
	p.Grad = func(c *GradCall) []*graph.Value {
		dx, dw := o.grad(c.B, c.Node, c.DOut[0], c.In[0], c.In[1], c.Out[0], c.Need)
		return []*graph.Value{c.sumTo(dx, c.Out[0], c.In[0]), c.sumTo(dw, c.Out[0], c.In[1])}
	}
	return p
}

// of is the form that a node's attributes choose.
func (o binary) of(n *graph.Node) binary {
	if o.as == nil {
		return o
	}
	return o.as(n)
}

func (o binary) ref(c *Call) error {
	out := c.Out[0]
	at, bt := broadcast(out.Shape, c.In[0].Shape), broadcast(out.Shape, c.In[1].Shape)
	if out.DType.IsFloat() || o.i == nil {
		x, y, z := floats(c.In[0]), floats(c.In[1]), make([]float64, len(at))
		for i := range z {
			z[i] = o.f(x[at[i]], y[bt[i]])
		}
		if !out.DType.IsFloat() {
			setInts(out, truncate(z))
			return nil
		}
		setFloats(out, z)
		return nil
	}
	x, y, z := ints(c.In[0]), ints(c.In[1]), make([]int64, len(at))
	for i := range z {
		if o.u != nil && out.DType == tensor.Uint64 {
			z[i] = int64(o.u(uint64(x[at[i]]), uint64(y[bt[i]])))
			continue
		}
		z[i] = o.i(x[at[i]], y[bt[i]])
	}
	setInts(out, z)
	return nil
}

// truncate converts to integers towards zero, clamping what int64 cannot hold; NaN is 0.
func truncate(v []float64) []int64 {
	out := make([]int64, len(v))
	for i, x := range v {
		switch {
		case x != x:
		case x >= math.MaxInt64:
			out[i] = math.MaxInt64
		case x <= math.MinInt64:
			out[i] = math.MinInt64
		default:
			out[i] = int64(x)
		}
	}
	return out
}

var (
	opAdd = binary{name: "Add", since: 7,
		f: func(x, y float64) float64 { return x + y },
		i: func(x, y int64) int64 { return x + y },
		grad: func(_ *graph.Builder, _ *graph.Node, dy, _, _, _ *graph.Value, _ []bool) (dx, dw *graph.Value) {
			return dy, dy
		}, fast: fastAdd}.op()

	opSub = binary{name: "Sub", since: 7,
		f: func(x, y float64) float64 { return x - y },
		i: func(x, y int64) int64 { return x - y },
		grad: func(b *graph.Builder, _ *graph.Node, dy, _, _, _ *graph.Value, need []bool) (dx, dw *graph.Value) {
			if need[1] {
				dw = b.Op("Neg", dy)
			}
			return dy, dw
		}, fast: fastSub}.op()

	opMul = binary{name: "Mul", since: 7,
		f: func(x, y float64) float64 { return x * y },
		i: func(x, y int64) int64 { return x * y },
		grad: func(b *graph.Builder, _ *graph.Node, dy, x, y, _ *graph.Value, need []bool) (dx, dw *graph.Value) {
			if need[0] {
				dx = b.Op("Mul", dy, y)
			}
			if need[1] {
				dw = b.Op("Mul", dy, x)
			}
			return dx, dw
		}, fast: fastMul}.op()

	// Div of integers truncates towards zero; by zero it gives 0 (the standard leaves it open).
	opDiv = binary{name: "Div", since: 7,
		f: func(x, y float64) float64 { return x / y },
		i: func(x, y int64) int64 {
			if y == 0 {
				return 0
			}
			return x / y
		},
		u: func(x, y uint64) uint64 {
			if y == 0 {
				return 0
			}
			return x / y
		},
		grad: func(b *graph.Builder, _ *graph.Node, dy, _, y, out *graph.Value, need []bool) (dx, dw *graph.Value) {
			q := b.Op("Div", dy, y)
			if need[1] {
				dw = b.Op("Neg", b.Op("Mul", q, out))
			}
			return q, dw
		}, fast: fastDiv}.op()

	opPow = binary{name: "Pow", since: 7, f: math.Pow, grad: powGrad, fast: fastPow}.op()
)

// powGrad: d(x^y)/dx = y x^(y-1), d/dy = x^y ln x. Where a factor is 0 the other one is
// kept finite on the input side, so that 0 times infinity cannot arise; ln x counts as 0 for x <= 0.
func powGrad(b *graph.Builder, _ *graph.Node, dy, x, y, out *graph.Value, need []bool) (dx, dw *graph.Value) {
	if need[0] {
		if y.DType != x.DType {
			y = cast(b, y, x.DType)
		}
		one := fill(b, x, 1)
		e := b.Op("Where", b.Op("Equal", y, fill(b, x, 0)), one, b.Op("Sub", y, one))
		dx = b.Op("Mul", dy, b.Op("Mul", y, b.Op("Pow", x, e)))
	}
	if need[1] {
		positive := b.Op("Greater", x, fill(b, x, 0))
		ln := b.Op("Log", b.Op("Where", positive, x, fill(b, x, 1)))
		dw = castLike(b, b.Op("Mul", dy, b.Op("Mul", out, ln)), y)
	}
	return dx, dw
}
