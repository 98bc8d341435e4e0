package op

import (
	"math"

	"muster/graph"
	"muster/internal/detmath"
	"muster/tensor"
)

// unary is an operator that maps every element by itself. dx is the gradient of
// the loss by x given dy; y is the forward result. A nil dx is a derivative of zero.
type unary struct {
	name  string
	since int
	attrs string
	f     func(n *graph.Node, x float64) float64
	i     func(x int64) int64   // integers; nil: floating point only, or as round says
	u     func(x uint64) uint64 // uint64, where it differs from i
	round bool                  // integers: f, truncated
	dx    func(b *graph.Builder, n *graph.Node, dy, x, y *graph.Value) *graph.Value
	fast  fastUnary // nil: f on every element
}

func (u unary) op() Op {
	return Op{
		Name: u.name, Since: u.since, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: u.attrs,
		Infer: func(c *InferCall) error {
			if u.i == nil && !u.round {
				if err := c.wantFloat(0); err != nil {
					return err
				}
			} else if c.In[0].DType == tensor.Bool {
				return c.Errorf("input 0 is bool")
			}
			return sameAs(c)
		},
		Ref: func(c *Call) error {
			d := c.In[0].DType
			if d.IsFloat() || u.round {
				v := floats(c.In[0])
				for i, x := range v {
					v[i] = u.f(c.Node, x)
				}
				setNumbers(c.Out[0], v)
				return nil
			}
			v := ints(c.In[0])
			for i, x := range v {
				if u.u != nil && d == tensor.Uint64 {
					v[i] = int64(u.u(uint64(x)))
				} else {
					v[i] = u.i(x)
				}
			}
			setInts(c.Out[0], v)
			return nil
		},
		Grad: func(c *GradCall) []*graph.Value {
			if u.dx == nil {
				return one(nil)
			}
			return one(u.dx(c.B, c.Node, c.DOut[0], c.In[0], c.Out[0]))
		},
		Prepare: func(p *Prep) (Kernel, bool) {
			if p.In[0].DType != tensor.Float32 {
				return Kernel{}, false
			}
			f := u.fastFunction(p.Node)
			if f == nil { // the reference itself, in parallel and without copies
				f = func(dst, x []float32) {
					for i, v := range x {
						dst[i] = float32(u.f(p.Node, float64(v)))
					}
				}
			}
			return mapKernel(p.Out[0].Elems(), f), true
		},
	}
}

func plain(f func(float64) float64) func(*graph.Node, float64) float64 {
	return func(_ *graph.Node, x float64) float64 { return f(x) }
}

var (
	opAbs = unary{name: "Abs", since: 6, f: plain(math.Abs), i: func(x int64) int64 {
		if x < 0 {
			return -x
		}
		return x
	}, u: func(x uint64) uint64 { return x }, dx: func(b *graph.Builder, _ *graph.Node, dy, x, _ *graph.Value) *graph.Value {
		return b.Op("Mul", dy, b.Op("Sign", x)) // 0 at 0
	}}.op()

	opCeil = unary{name: "Ceil", since: 6, f: plain(math.Ceil)}.op()

	opErf = unary{name: "Erf", since: 9, f: plain(math.Erf), round: true, dx: func(b *graph.Builder, _ *graph.Node, dy, x, _ *graph.Value) *graph.Value {
		d := b.Op("Exp", b.Op("Neg", b.Op("Mul", x, x)))
		return b.Op("Mul", dy, b.Op("Mul", d, fill(b, x, 2/math.Sqrt(math.Pi))))
	}}.op()

	opExp = unary{name: "Exp", since: 6, f: plain(detmath.Exp),
		dx: func(b *graph.Builder, _ *graph.Node, dy, _, y *graph.Value) *graph.Value {
			return b.Op("Mul", dy, y)
		}}.op()

	opFloor = unary{name: "Floor", since: 6, f: plain(math.Floor)}.op()

	// Gelu's exact form is x/2 (1 + erf(x/sqrt 2)); "tanh" is the usual approximation (arXiv 1606.08415).
	opGelu = unary{name: "Gelu", since: 20, attrs: "approximate", f: gelu, dx: func(b *graph.Builder, n *graph.Node, dy, x, _ *graph.Value) *graph.Value {
		return b.Node(graph.Domain, "GeluGrad", 1, []*graph.Value{dy, x}, graph.Str("approximate", n.Str("approximate", "none")))[0]
	}, fast: fastGelu}.op()

	opLog = unary{name: "Log", since: 6, f: plain(detmath.Log),
		dx: func(b *graph.Builder, _ *graph.Node, dy, x, _ *graph.Value) *graph.Value {
			return b.Op("Div", dy, x)
		}}.op()

	opNeg = unary{name: "Neg", since: 6, f: func(_ *graph.Node, x float64) float64 { return -x },
		i: func(x int64) int64 { return -x },
		dx: func(b *graph.Builder, _ *graph.Node, dy, _, _ *graph.Value) *graph.Value {
			return b.Op("Neg", dy)
		}}.op()

	opReciprocal = unary{name: "Reciprocal", since: 6, f: func(_ *graph.Node, x float64) float64 { return 1 / x },
		dx: func(b *graph.Builder, _ *graph.Node, dy, _, y *graph.Value) *graph.Value {
			return b.Op("Neg", b.Op("Mul", dy, b.Op("Mul", y, y)))
		}}.op()

	opRelu = unary{name: "Relu", since: 6, f: func(_ *graph.Node, x float64) float64 {
		if x < 0 {
			return 0
		}
		return x // NaN stays
	}, i: func(x int64) int64 { return max(x, 0) },
		dx: func(b *graph.Builder, _ *graph.Node, dy, x, _ *graph.Value) *graph.Value {
			zero := fill(b, x, 0)
			return b.Op("Where", b.Op("Greater", x, zero), dy, zero) // 0 at 0
		}}.op()

	opRound = unary{name: "Round", since: 11, f: plain(math.RoundToEven)}.op()

	opSigmoid = unary{name: "Sigmoid", since: 6, f: plain(sigmoid),
		dx: func(b *graph.Builder, _ *graph.Node, dy, _, y *graph.Value) *graph.Value {
			return b.Op("Mul", dy, b.Op("Mul", y, b.Op("Sub", fill(b, y, 1), y)))
		}}.op()

	opSign = unary{name: "Sign", since: 9, f: func(_ *graph.Node, x float64) float64 {
		switch {
		case x > 0:
			return 1
		case x < 0:
			return -1
		}
		return x
	}, i: func(x int64) int64 {
		switch {
		case x > 0:
			return 1
		case x < 0:
			return -1
		}
		return 0
	}, u: func(x uint64) uint64 { return min(x, 1) }}.op()

	opSqrt = unary{name: "Sqrt", since: 6, f: plain(math.Sqrt),
		dx: func(b *graph.Builder, _ *graph.Node, dy, _, y *graph.Value) *graph.Value {
			return b.Op("Div", b.Op("Mul", dy, fill(b, y, 0.5)), y) // infinite at 0
		}}.op()

	opTanh = unary{name: "Tanh", since: 6, f: plain(tanh),
		dx: func(b *graph.Builder, _ *graph.Node, dy, _, y *graph.Value) *graph.Value {
			return b.Op("Mul", dy, b.Op("Sub", fill(b, y, 1), b.Op("Mul", y, y)))
		}}.op()
)

func tanh(x float64) float64 { return detmath.Tanh(x) }

// gelu is the operator of that name on one number.
func gelu(n *graph.Node, x float64) float64 {
	if n.Str("approximate", "none") == "tanh" {
		return 0.5 * x * (1 + tanh(geluInner(x)))
	}
	return 0.5 * x * math.Erfc(-x/math.Sqrt2)
}

func sigmoid(x float64) float64 { return 1 / (1 + detmath.Exp(-x)) }

// geluInner is sqrt(2/pi) (x + 0.044715 x^3), the argument of the tanh in Gelu's approximation.
func geluInner(x float64) float64 {
	return math.Sqrt(2/math.Pi) * (x + float64(0.044715*float64(x*float64(x*x))))
}
