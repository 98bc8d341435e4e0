package op

import (
	"muster/graph"
	"muster/internal/kernel"
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

// kernel keeps the partial results in float64, as the reference does: column by column, rows as columns of a turned block.
func (o cumulative) kernel(p *Prep) (Kernel, bool) {
	t := p.In[1]
	if p.In[0].DType != tensor.Float32 || t.Data == nil {
		return Kernel{}, false
	}
	P, n, Q := lanes(p.In[0].Shape, index(t, 0), false)
	r := running{n: n, from: o.from, product: o.name == "CumProd", exclusive: p.Node.Int("exclusive", 0) != 0, reverse: p.Node.Int("reverse", 0) != 0}
	over := 1
	if r.exclusive {
		over = 0 // a result is written before its place is read
	}
	if Q > 1 {
		return Kernel{Over: over, Run: strips(P, n, Q, func(in, out []*tensor.Tensor, p, c, cols int) {
			var a [stripCols]float64
			r.columns(out[0].Float32s()[p*n*Q+c:], in[0].Float32s()[p*n*Q+c:], a[:cols], Q)
		})}, true
	}
	return Kernel{Over: over, Run: split((P+turnedRows-1)/turnedRows, func(in, out []*tensor.Tensor, _ []byte, task int) {
		lo, hi := task*turnedRows, min(P, (task+1)*turnedRows)
		r.rows(out[0].Float32s()[lo*n:hi*n], in[0].Float32s()[lo*n:hi*n], hi-lo)
	})}, true
}

// running is a cumulative operator along n places.
type running struct {
	n                  int
	from               float64
	product            bool
	exclusive, reverse bool
}

func (r *running) fold(dst []float32, total []float64, x []float32) {
	if r.product {
		kernel.RunningProduct(dst, total, x)
	} else {
		kernel.RunningSum(dst, total, x)
	}
}

// columns does len(a) columns, whose places are step apart.
func (r *running) columns(y, x []float32, a []float64, step int) {
	place := func(i int) int {
		if r.reverse {
			return (r.n - 1 - i) * step
		}
		return i * step
	}
	for i := range a {
		a[i] = r.from
	}
	if !r.exclusive {
		for i := range r.n {
			r.fold(y[place(i):][:len(a)], a, x[place(i):][:len(a)])
		}
		return
	}
	if r.n > 0 {
		fillFloats(y[place(0):][:len(a)], float32(r.from))
	}
	for i := range r.n - 1 {
		r.fold(y[place(i+1):][:len(a)], a, x[place(i):][:len(a)])
	}
}

// turnedRows and turnedCols are the size of the block that is turned.
const (
	turnedRows = 16
	turnedCols = 128
)

// rows does up to turnedRows rows: few of them number by number, more in blocks of columns that are turned, folded and
// turned back.
func (r *running) rows(y, x []float32, rows int) {
	if rows < turnedRows/2 {
		for i := range rows {
			r.row(y[i*r.n:(i+1)*r.n], x[i*r.n:(i+1)*r.n])
		}
		return
	}
	var buf [2][turnedRows * turnedCols]float32
	var totals [turnedRows]float64
	for i := range totals {
		totals[i] = r.from
	}
	for lo := 0; lo < r.n; lo += turnedCols {
		c := min(turnedCols, r.n-lo)
		at := lo
		if r.reverse {
			at = r.n - lo - c
		}
		kernel.Transpose(buf[0][:], turnedRows, x[at:], r.n, rows, c)
		r.turned(&buf[1], &buf[0], &totals, c)
		kernel.Transpose(y[at:], r.n, buf[1][:], turnedRows, c, rows)
	}
}

// turned folds c places of turnedRows columns each.
func (r *running) turned(dst, src *[turnedRows * turnedCols]float32, totals *[turnedRows]float64, c int) {
	if !r.exclusive && !r.reverse {
		kernel.RunningRows(dst[:c*turnedRows], totals, src[:c*turnedRows], r.product)
		return
	}
	for i := range c {
		if r.reverse {
			i = c - 1 - i
		}
		d, x := dst[i*turnedRows:][:turnedRows], src[i*turnedRows:][:turnedRows]
		if r.exclusive { // what is there before this place
			for j, v := range totals {
				d[j] = float32(v)
			}
			d = x
		}
		kernel.RunningRows(d, totals, x, r.product)
	}
}

// row does one row number by number.
func (r *running) row(y, x []float32) {
	acc := r.from
	for i := range x {
		if r.reverse {
			i = len(x) - 1 - i
		}
		before := acc
		if r.product {
			acc *= float64(x[i])
		} else {
			acc += float64(x[i])
		}
		y[i] = float32(acc)
		if r.exclusive {
			y[i] = float32(before)
		}
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
