package op

import (
	"math"

	"muster/graph"
	"muster/internal/detmath"
	"muster/tensor"
)

// softmaxOp makes a row of Softmax or LogSoftmax. Before opset 13 the tensor is
// seen as a matrix [axes before axis, the rest] and axis is 1 by default; since
// then one axis is normalised, the last by default.
func softmaxOp(name string, since int, logarithm bool) Op {
	flat := since < 13
	return Op{
		Name: name, Since: since, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "axis",
		Infer: func(c *InferCall) error {
			if err := c.wantFloat(0); err != nil {
				return err
			}
			if s := c.In[0].Shape; s != nil {
				if _, err := axis(c.Node.Place(), c.Node.Int("axis", defaultAxis(flat)), max(len(s), 1)); err != nil {
					return err
				}
			}
			return sameAs(c)
		},
		Ref: func(c *Call) error {
			P, n, Q := lanes(c.In[0].Shape, c.Node.Int("axis", defaultAxis(flat)), flat)
			v := floats(c.In[0])
			eachLane(P, n, Q, func(at []int) { softmaxLane(v, at, logarithm) })
			setFloats(c.Out[0], v)
			return nil
		},
		Grad: func(c *GradCall) []*graph.Value { return one(softmaxGrad(c, flat, logarithm)) },
		Prepare: func(p *Prep) (Kernel, bool) {
			P, n, Q := lanes(p.In[0].Shape, p.Node.Int("axis", defaultAxis(flat)), flat)
			return softmaxKernel(p, P, n, Q, logarithm)
		},
	}
}

func defaultAxis(flat bool) int64 {
	if flat {
		return 1
	}
	return -1
}

// lanes sees a shape as [P, n, Q], where n is what is normalised.
func lanes(s tensor.Shape, a int64, flat bool) (P, n, Q int) {
	if len(s) == 0 {
		return 1, 1, 1
	}
	at := wrap(a, len(s))
	if flat {
		return s[:at].Elems(), s[at:].Elems(), 1
	}
	return s[:at].Elems(), s[at], s[at+1:].Elems()
}

// eachLane calls f with the elements of every lane of [P, n, Q] along n.
func eachLane(P, n, Q int, f func(at []int)) {
	at := make([]int, n)
	for p := 0; p < P; p++ {
		for q := 0; q < Q; q++ {
			for i := range at {
				at[i] = (p*n+i)*Q + q
			}
			f(at)
		}
	}
}

// softmaxLane replaces the elements at by exp(x - max) / sum, or its logarithm.
func softmaxLane(v []float64, at []int, logarithm bool) {
	top, sum := math.Inf(-1), 0.0
	for _, i := range at {
		top = math.Max(top, v[i])
	}
	for _, i := range at {
		v[i] -= top
		sum += detmath.Exp(v[i])
	}
	for _, i := range at {
		if logarithm {
			v[i] -= detmath.Log(sum)
		} else {
			v[i] = detmath.Exp(v[i]) / sum
		}
	}
}

func softmaxGrad(c *GradCall, flat, logarithm bool) *graph.Value {
	b, dy, y := c.B, c.DOut[0], c.Out[0]
	a := c.Node.Int("axis", defaultAxis(flat))
	if flat {
		attrs := []graph.Attr{graph.Int("axis", int64(wrap(a, len(y.Shape))))}
		dy, y = b.OpA("Flatten", attrs, dy), b.OpA("Flatten", attrs, y)
		a = 1
	}
	var dx *graph.Value
	if logarithm {
		dx = b.Op("Sub", dy, b.Op("Mul", b.Op("Exp", y), b.ReduceSum(dy, 1, a)))
	} else {
		dx = b.Node(graph.Domain, "SoftmaxGrad", 1, []*graph.Value{dy, y}, graph.Int("axis", a))[0]
	}
	if flat {
		return reshapeLike(b, dx, c.In[0])
	}
	return dx
}

var (
	opLogSoftmax1  = softmaxOp("LogSoftmax", 1, true)
	opLogSoftmax13 = softmaxOp("LogSoftmax", 13, true)
	opSoftmax1     = softmaxOp("Softmax", 1, false)
	opSoftmax13    = softmaxOp("Softmax", 13, false)
)

// SoftmaxGrad(dY, Y) is dX = Y (dY - sum of dY Y along axis).
var opSoftmaxGrad = Op{
	Domain: graph.Domain, Name: "SoftmaxGrad", Since: 1, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
	Attrs: "axis", Defaults: []graph.Attr{graph.Int("axis", -1)},
	Infer: gradLikeSecond,
	Ref: func(c *Call) error {
		P, n, Q := lanes(c.In[1].Shape, c.Node.Int("axis", -1), false)
		dy, y := floats(c.In[0]), floats(c.In[1])
		eachLane(P, n, Q, func(at []int) {
			dot := 0.0
			for _, i := range at {
				dot += float64(dy[i] * y[i])
			}
			for _, i := range at {
				dy[i] = y[i] * (dy[i] - dot)
			}
		})
		setFloats(c.Out[0], dy)
		return nil
	},
	Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
		dot := b.ReduceSum(b.Op("Mul", in[0], in[1]), 1, n.Int("axis", -1))
		return one(b.Op("Mul", in[1], b.Op("Sub", in[0], dot)))
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		P, n, Q := lanes(p.In[1].Shape, p.Node.Int("axis", -1), false)
		return softmaxGradKernel(p, P, n, Q)
	},
}

// gradLikeSecond is the shape rule of gradient operators f(dY, X): both alike, dX too.
func gradLikeSecond(c *InferCall) error {
	if err := firstErr(c.wantFloat(1), c.sameTypes()); err != nil {
		return err
	}
	if err := c.alike(0, 1); err != nil {
		return err
	}
	c.Set(0, c.In[1].DType, c.In[1].Shape)
	if a := c.Node.Attr("axis"); a != nil && c.In[1].Shape != nil {
		_, err := axis(c.Node.Place(), c.Node.Int("axis", -1), len(c.In[1].Shape))
		return err
	}
	return nil
}

// alike checks that inputs i and j do not certainly differ in shape.
func (c *InferCall) alike(i, j int) error {
	a, b := c.in(i), c.in(j)
	if a == nil || b == nil || a.Shape == nil || b.Shape == nil {
		return nil
	}
	if len(a.Shape) != len(b.Shape) {
		return c.Errorf("input %d is %v, input %d is %v", i, a.Shape, j, b.Shape)
	}
	for k, d := range a.Shape {
		if e := b.Shape[k]; d.Known() && e.Known() && d.Size != e.Size {
			return c.Errorf("input %d is %v, input %d is %v", i, a.Shape, j, b.Shape)
		}
	}
	return nil
}

// GeluGrad(dY, X) is dY times the derivative of Gelu at X.
var opGeluGrad = Op{
	Domain: graph.Domain, Name: "GeluGrad", Since: 1, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
	Attrs: "approximate", Defaults: []graph.Attr{graph.Str("approximate", "none")},
	Infer: gradLikeSecond,
	Ref: func(c *Call) error {
		dy, x := floats(c.In[0]), floats(c.In[1])
		approx := c.Node.Str("approximate", "none") == "tanh"
		for i := range dy {
			dy[i] *= geluSlope(x[i], approx)
		}
		setFloats(c.Out[0], dy)
		return nil
	},
	Body:    geluGradBody,
	Prepare: geluGradKernel,
}

// geluSlope: exact, Phi(x) + x phi(x); approximate, with t = tanh(u(x)), (1+t)/2 + x/2 (1-t^2) u'(x).
func geluSlope(x float64, approx bool) float64 {
	if !approx {
		return 0.5*math.Erfc(-x/math.Sqrt2) + float64(x*detmath.Exp(-0.5*x*x)/math.Sqrt(2*math.Pi))
	}
	t := tanh(geluInner(x))
	du := math.Sqrt(2/math.Pi) * (1 + float64(3*0.044715*float64(x*x)))
	return 0.5*(1+t) + float64(0.5*x*(1-float64(t*t))*du)
}

func geluGradBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	dy, x := in[0], in[1]
	num := func(v float64) *graph.Value { return fill(b, x, v) }
	half, x2 := num(0.5), b.Op("Mul", x, x)
	if n.Str("approximate", "none") != "tanh" {
		Phi := b.Op("Mul", half, b.Op("Add", num(1), b.Op("Erf", b.Op("Mul", x, num(1/math.Sqrt2)))))
		phi := b.Op("Mul", b.Op("Exp", b.Op("Mul", x2, num(-0.5))), num(1/math.Sqrt(2*math.Pi)))
		return one(b.Op("Mul", dy, b.Op("Add", Phi, b.Op("Mul", x, phi))))
	}
	c := math.Sqrt(2 / math.Pi)
	t := b.Op("Tanh", b.Op("Mul", x, b.Op("Add", num(c), b.Op("Mul", x2, num(c*0.044715)))))
	du := b.Op("Add", num(c), b.Op("Mul", x2, num(3*c*0.044715)))
	left := b.Op("Mul", half, b.Op("Add", num(1), t))
	right := b.Op("Mul", b.Op("Mul", half, x), b.Op("Mul", b.Op("Sub", num(1), b.Op("Mul", t, t)), du))
	return one(b.Op("Mul", dy, b.Op("Add", left, right)))
}
