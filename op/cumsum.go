package op

import (
	"muster/graph"
	"muster/tensor"
)

// cumulative folds along an axis and keeps every partial result; exclusive leaves the element itself
// out, reverse goes from the end.
type cumulative struct {
	name  string
	since int
	from  float64
	f     func(a, x float64) float64
	i     func(a, x int64) int64
	grad  func(c *GradCall, attrs, against []graph.Attr) *graph.Value // against: in the other direction
}

func (o cumulative) op() Op {
	return Op{
		Name: o.name, Since: o.since, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1, Attrs: "exclusive reverse",
		Infer: func(c *InferCall) error {
			if c.In[0].DType == tensor.Bool {
				return c.Errorf("input 0 is bool")
			}
			if err := c.wantIndex(1); err != nil {
				return err
			}
			if n, ok := known(c.In[1].Shape); ok && n != 1 && c.In[1].Shape != nil {
				return c.Errorf("the axis has the shape %v", c.In[1].Shape)
			}
			if t, s := c.Const(1), c.In[0].Shape; t != nil && s != nil {
				if _, err := axis(c.Node.Place(), index(t, 0), len(s)); err != nil {
					return err
				}
			}
			return sameAs(c)
		},
		Ref: func(c *Call) error {
			a, err := axis("", index(c.In[1], 0), len(c.In[0].Shape))
			if err != nil {
				return err
			}
			P, n, Q := lanes(c.In[0].Shape, int64(a), false)
			if c.In[0].DType.IsFloat() {
				v := floats(c.In[0])
				eachLane(P, n, Q, func(at []int) { cumulate(c.Node, v, at, o.from, o.f) })
				setFloats(c.Out[0], v)
				return nil
			}
			v := ints(c.In[0])
			eachLane(P, n, Q, func(at []int) { cumulate(c.Node, v, at, int64(o.from), o.i) })
			setInts(c.Out[0], v)
			return nil
		},
		Grad: func(c *GradCall) []*graph.Value {
			e, r := graph.Int("exclusive", c.Node.Int("exclusive", 0)), c.Node.Int("reverse", 0)
			return one(o.grad(c, []graph.Attr{e, graph.Int("reverse", r)}, []graph.Attr{e, graph.Int("reverse", 1-min(r*r, 1))}))
		},
		Prepare: o.kernel,
	}
}

// cumulate replaces the elements at of v by their partial results.
func cumulate[T float32 | float64 | int64](n *graph.Node, v []T, at []int, from T, f func(a, x T) T) {
	exclusive, reverse := n.Int("exclusive", 0) != 0, n.Int("reverse", 0) != 0
	acc := from
	for k := range at {
		i := at[k]
		if reverse {
			i = at[len(at)-1-k]
		}
		next := f(acc, v[i])
		if exclusive {
			v[i] = acc
		} else {
			v[i] = next
		}
		acc = next
	}
}

// kernel keeps the partial results in float64, as the reference does.
func (o cumulative) kernel(p *Prep) (Kernel, bool) {
	t := p.In[1]
	if p.In[0].DType != tensor.Float32 || t.Data == nil {
		return Kernel{}, false
	}
	P, n, Q := lanes(p.In[0].Shape, index(t, 0), false)
	exclusive, reverse := p.Node.Int("exclusive", 0) != 0, p.Node.Int("reverse", 0) != 0
	return Kernel{Over: 1, Run: rowKernel(P*Q, n, func(in, out []*tensor.Tensor, lo, hi int) {
		x, y := in[0].Float32s(), out[0].Float32s()
		r := lo
		if o.name == "CumSum" && Q == 1 && !exclusive && !reverse {
			for ; r+4 <= hi; r += 4 {
				cumSumRows(y[r*n:(r+4)*n], x[r*n:(r+4)*n], n)
			}
		}
		for ; r < hi; r++ {
			at, step := r/Q*n*Q+r%Q, Q
			if reverse {
				at, step = at+(n-1)*Q, -Q
			}
			acc := o.from
			for range n {
				next := o.f(acc, float64(x[at]))
				if exclusive {
					y[at] = float32(acc)
				} else {
					y[at] = float32(next)
				}
				acc = next
				at += step
			}
		}
	})}, true
}

// cumSumRows does four rows at once: the sums of one row wait for each other.
func cumSumRows(y, x []float32, n int) {
	var a, b, c, d float64
	y0, y1, y2, y3 := y[:n], y[n:][:n], y[2*n:][:n], y[3*n:][:n]
	x1, x2, x3 := x[n:][:n], x[2*n:][:n], x[3*n:][:n]
	for i, v := range x[:n] {
		a, b, c, d = a+float64(v), b+float64(x1[i]), c+float64(x2[i]), d+float64(x3[i])
		y0[i], y1[i], y2[i], y3[i] = float32(a), float32(b), float32(c), float32(d)
	}
}

var (
	opCumSum = cumulative{name: "CumSum", since: 11, f: func(a, x float64) float64 { return a + x }, i: func(a, x int64) int64 { return a + x },
		grad: func(c *GradCall, _, against []graph.Attr) *graph.Value {
			return c.B.OpA("CumSum", against, c.DOut[0], c.In[1])
		}}.op()
	opCumProd = cumulative{name: "CumProd", since: 26, from: 1, f: func(a, x float64) float64 { return a * x }, i: func(a, x int64) int64 { return a * x },
		grad: cumProdGrad}.op()
)

// cumProdGrad: before the first zero, the sum of dy y over what follows, divided by x. At the first zero the
// same with x = 1 in its place, undivided. Behind it every product keeps a zero: 0. (As PyTorch's cumprod_backward.)
func cumProdGrad(c *GradCall, attrs, against []graph.Attr) *graph.Value {
	b, dy, x, y, at := c.B, c.DOut[0], c.In[0], c.Out[0], c.In[1]
	nought, unit := fill(b, x, 0), fill(b, x, 1)
	follow := func(v *graph.Value) *graph.Value { return b.OpA("CumSum", against, b.Op("Mul", dy, v), at) }
	zero := b.Op("Equal", x, nought)
	direction := attrs[1:] // inclusive
	seen := b.OpA("CumSum", direction, cast(b, zero, x.DType), at)
	first := b.Op("And", zero, b.Op("Equal", seen, unit))
	without := b.OpA("CumProd", attrs, b.Op("Where", first, unit, x), at)
	before := b.Op("Div", follow(y), b.Op("Where", zero, unit, x))
	return b.Op("Where", b.Op("Equal", seen, nought), before, b.Op("Where", first, follow(without), nought))
}
