package op

import (
	"math"

	"muster/graph"
	"muster/internal/detmath"
	"muster/tensor"
)

// reduce is an operator that folds axes to one number. Axes are an attribute
// before opset 18 (ReduceSum: 13), an input after; none means all, unless noop_with_empty_axes.
type reduce struct {
	name   string
	f      func(acc, x float64) float64
	i      func(acc, x int64) int64 // nil: integers are folded as floating-point numbers, and truncated
	u      func(acc, x uint64) uint64
	bool   bool // bool is folded too
	from   float64
	fi     func(d tensor.DType) int64 // start for integers
	mean   bool
	linear bool                    // the gradient does not need the result
	post   func(x float64) float64 // of the folded number
	lse    bool                    // x is replaced by e^(x - greatest), the greatest is added after post
	grad   func(c *GradCall, dy, y *graph.Value, axes []int64) *graph.Value
	fast   reduceFast
}

func (r reduce) op(since int, input bool) Op {
	o := Op{
		Name: r.name, Since: since, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "axes keepdims",
		Infer: r.infer, Ref: r.ref, Grad: r.gradient,
		Prepare: func(p *Prep) (Kernel, bool) { return reduceKernel(p, r.fast) },
		Flops: func(in, _ []*graph.Value) int64 {
			s, _ := in[0].Static()
			return int64(s.Elems())
		},
	}
	if input {
		o.MaxIn, o.Attrs, o.Dynamic = 2, "keepdims noop_with_empty_axes", true
	}
	return o
}

// reducedAxes returns which axes are folded; ok is false if an axes input is not constant.
func reducedAxes(n *graph.Node, t *tensor.Tensor, rank int) (set []bool, ok bool, err error) {
	axes, ok := listOf(n, 1, t, "axes")
	if !ok {
		return nil, false, nil
	}
	set, err = axisSet(n.Place(), axes, rank)
	if err == nil && len(axes) == 0 && n.Int("noop_with_empty_axes", 0) == 0 {
		for i := range set {
			set[i] = true
		}
	}
	return set, true, err
}

func (r reduce) infer(c *InferCall) error {
	in := c.In[0].Shape
	if c.In[0].DType == tensor.Bool && !r.bool {
		return c.Errorf("input 0 is bool")
	}
	if err := c.wantIndex(1); err != nil {
		return err
	}
	if in == nil {
		c.Set(0, c.In[0].DType, nil)
		return nil
	}
	keep := c.Node.Int("keepdims", 1) != 0
	set, ok, err := reducedAxes(c.Node, c.Const(1), len(in))
	if err != nil {
		return err
	}
	if !ok {
		if keep {
			c.Set(0, c.In[0].DType, unknown(len(in)))
		} else {
			c.Set(0, c.In[0].DType, nil)
		}
		return nil
	}
	out := []graph.Dim{}
	for i, d := range in {
		switch {
		case !set[i]:
			out = append(out, d)
		case keep:
			out = append(out, graph.D(1))
		}
	}
	c.Set(0, c.In[0].DType, out)
	return nil
}

// target lists for every element of x the element of the output it is folded into, and how many go into each.
func target(shape tensor.Shape, set []bool) (to []int, count int) {
	kept := shape.Clone()
	count = 1
	for i := range kept {
		if set[i] {
			count *= kept[i]
			kept[i] = 1
		}
	}
	return broadcast(shape, kept), count
}

func (r reduce) ref(c *Call) error {
	set, _, err := reducedAxes(c.Node, c.in(1), len(c.In[0].Shape))
	if err != nil {
		return err
	}
	to, count := target(c.In[0].Shape, set)
	c.resize(0, foldedShape(c.In[0].Shape, set, c.Node.Int("keepdims", 1) != 0)...)
	if c.Out[0].DType.IsFloat() || r.i == nil {
		setNumbers(c.Out[0], r.floats(floats(c.In[0]), to, count, c.Out[0].Elems()))
		return nil
	}
	acc := make([]int64, c.Out[0].Elems())
	for i := range acc {
		acc[i] = r.fi(c.Out[0].DType)
	}
	for i, x := range ints(c.In[0]) {
		if a := &acc[to[i]]; r.u != nil && c.In[0].DType == tensor.Uint64 {
			*a = int64(r.u(uint64(*a), uint64(x)))
		} else {
			*a = r.i(*a, x)
		}
	}
	for i := range acc {
		if r.mean && count > 0 {
			acc[i] /= int64(count)
		}
	}
	setInts(c.Out[0], acc)
	return nil
}

// foldedShape is s without the axes of set, or with 1 in their place.
func foldedShape(s tensor.Shape, set []bool, keep bool) tensor.Shape {
	out := tensor.Shape{}
	for i, n := range s {
		switch {
		case !set[i]:
			out = append(out, n)
		case keep:
			out = append(out, 1)
		}
	}
	return out
}

// floats folds v into outs numbers, count elements into each.
func (r reduce) floats(v []float64, to []int, count, outs int) []float64 {
	acc, top := make([]float64, outs), make([]float64, outs)
	for i := range acc {
		acc[i] = r.from
	}
	if r.lse {
		for i := range top {
			top[i] = math.Inf(-1)
		}
		for i, x := range v {
			top[to[i]] = math.Max(top[to[i]], x)
		}
		for i, t := range top {
			if math.IsInf(t, 0) {
				top[i] = 0 // infinite numbers stay what they are
			}
		}
	}
	for i, x := range v {
		if r.lse {
			x = detmath.Exp(x - top[to[i]])
		}
		acc[to[i]] = r.f(acc[to[i]], x)
	}
	for i := range acc {
		if r.mean {
			acc[i] /= float64(count)
		}
		if r.post != nil {
			acc[i] = r.post(acc[i])
		}
		acc[i] += top[i]
	}
	return acc
}

// gradient brings dy and y back to the rank of x and lets the rule go on.
func (r reduce) gradient(c *GradCall) []*graph.Value {
	var t *tensor.Tensor
	if len(c.In) > 1 && c.In[1] != nil {
		t = c.In[1].Const
	}
	set, ok, err := reducedAxes(c.Node, t, len(c.In[0].Shape))
	if err != nil || !ok {
		c.Fail("the axes are not constant")
		return one(nil)
	}
	var axes []int64
	for i := range set {
		if set[i] {
			axes = append(axes, int64(i))
		}
	}
	dy, y := c.DOut[0], c.Out[0]
	if c.Node.Int("keepdims", 1) == 0 && len(axes) > 0 {
		dy = c.B.Unsqueeze(dy, axes...)
		if !r.linear {
			y = c.B.Unsqueeze(y, axes...)
		}
	}
	return one(r.grad(c, dy, y, axes))
}

func expandTo(c *GradCall, dy *graph.Value) *graph.Value {
	return c.B.Op("Expand", dy, shapeOf(c.B, c.In[0]))
}

// countOf is the number of elements of x along axes, in x's dtype.
func countOf(b *graph.Builder, x *graph.Value, axes []int64) *graph.Value {
	n, static := 1, true
	for _, a := range axes {
		static = static && x.Shape[a].Known()
		n *= x.Shape[a].Size
	}
	if static {
		return fill(b, x, float64(n))
	}
	sizes := castLike(b, b.Op("Gather", b.Op("Shape", x), b.Ints(axes...)), x)
	return b.OpA("ReduceProd", []graph.Attr{graph.Int("keepdims", 0)}, sizes)
}

// extremeGrad splits dy evenly among the elements that are equal to the result.
func extremeGrad(c *GradCall, dy, y *graph.Value, axes []int64) *graph.Value {
	b := c.B
	mask := cast(b, b.Op("Equal", c.In[0], y), c.In[0].DType)
	if len(axes) > 0 {
		dy = b.Op("Div", dy, b.ReduceSum(mask, 1, axes...))
	}
	return b.Op("Mul", mask, dy)
}

func zeroStart(tensor.DType) int64 { return 0 }

func lowest(d tensor.DType) int64 {
	switch d {
	case tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64, tensor.Bool, tensor.Uint2, tensor.Uint4:
		return 0
	case tensor.Int64:
		return math.MinInt64
	}
	return -1 << (d.Bits() - 1)
}

func highest(d tensor.DType) int64 {
	switch d {
	case tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint2, tensor.Uint4:
		return 1<<d.Bits() - 1
	case tensor.Uint64:
		return -1 // all bits
	case tensor.Bool:
		return 1
	case tensor.Int64:
		return math.MaxInt64
	}
	return 1<<(d.Bits()-1) - 1
}

var (
	sum = reduce{name: "ReduceSum", linear: true, f: func(a, x float64) float64 { return a + x }, i: func(a, x int64) int64 { return a + x }, fi: zeroStart,
		grad: func(c *GradCall, dy, _ *graph.Value, _ []int64) *graph.Value { return expandTo(c, dy) }, fast: fastSum}
	mean = reduce{name: "ReduceMean", f: sum.f, i: sum.i, fi: zeroStart, mean: true, linear: true,
		grad: func(c *GradCall, dy, _ *graph.Value, axes []int64) *graph.Value {
			return expandTo(c, c.B.Op("Div", dy, countOf(c.B, c.In[0], axes)))
		}, fast: fastMean}
	greatest = reduce{name: "ReduceMax", f: math.Max, i: func(a, x int64) int64 { return max(a, x) }, u: func(a, x uint64) uint64 { return max(a, x) }, bool: true,
		from: math.Inf(-1), fi: lowest, grad: extremeGrad, fast: fastGreatest}
	least = reduce{name: "ReduceMin", f: math.Min, i: func(a, x int64) int64 { return min(a, x) }, u: func(a, x uint64) uint64 { return min(a, x) }, bool: true,
		from: math.Inf(1), fi: highest, grad: extremeGrad, fast: fastLeast}
	prod = reduce{name: "ReduceProd", f: func(a, x float64) float64 { return a * x }, i: func(a, x int64) int64 { return a * x },
		from: 1, fi: func(tensor.DType) int64 { return 1 },
		grad: prodGrad, fast: fastProd}
	sumSquare = reduce{name: "ReduceSumSquare", f: func(a, x float64) float64 { return a + float64(x*x) },
		i: func(a, x int64) int64 { return a + x*x }, fi: zeroStart,
		grad: func(c *GradCall, dy, _ *graph.Value, _ []int64) *graph.Value {
			return c.B.Op("Mul", c.B.Op("Mul", c.In[0], fill(c.B, c.In[0], 2)), dy)
		}, fast: fastSumSquare}
	sumAbs = reduce{name: "ReduceL1", f: func(a, x float64) float64 { return a + math.Abs(x) }, i: func(a, x int64) int64 { return a + max(x, -x) },
		u: func(a, x uint64) uint64 { return a + x }, fi: zeroStart,
		grad: func(c *GradCall, dy, _ *graph.Value, _ []int64) *graph.Value {
			return c.B.Op("Mul", c.B.Op("Sign", c.In[0]), dy) // 0 at 0
		}, fast: fastSumAbs}
	norm = reduce{name: "ReduceL2", f: sumSquare.f, post: math.Sqrt,
		grad: func(c *GradCall, dy, y *graph.Value, _ []int64) *graph.Value {
			// x / y; where y is 0 all x are, and so is the gradient (PyTorch's subgradient of a norm).
			b := c.B
			safe := b.Op("Where", b.Op("Equal", y, fill(b, c.In[0], 0)), fill(b, c.In[0], 1), y)
			return b.Op("Mul", c.In[0], b.Op("Div", dy, safe))
		}, fast: fastNorm}
	logSum = reduce{name: "ReduceLogSum", f: sum.f, post: detmath.Log,
		grad: func(c *GradCall, dy, y *graph.Value, _ []int64) *graph.Value {
			return expandTo(c, c.B.Op("Div", dy, c.B.Op("Exp", y)))
		}, fast: fastLogSum}
	logSumExp = reduce{name: "ReduceLogSumExp", f: sum.f, post: detmath.Log, lse: true,
		grad: func(c *GradCall, dy, y *graph.Value, _ []int64) *graph.Value {
			// e^(x - y): a softmax. Where all x are -Inf, so is y, and the gradient is 0.
			b, x := c.B, c.In[0]
			none := b.Op("Equal", y, fill(b, x, math.Inf(-1)))
			return b.Op("Mul", b.Op("Exp", b.Op("Sub", x, b.Op("Where", none, fill(b, x, 0), y))), dy)
		}, fast: fastLogSumExp}
)

// prodGrad is the product of the others: y / x without the zeros, where x is the only zero or there is none.
func prodGrad(c *GradCall, dy, _ *graph.Value, axes []int64) *graph.Value {
	b, x := c.B, c.In[0]
	if len(axes) == 0 {
		return dy
	}
	zero := b.Op("Equal", x, fill(b, x, 0))
	safe, one := b.Op("Where", zero, fill(b, x, 1), x), cast(b, zero, x.DType)
	others := b.Op("Sub", b.Reduce("ReduceSum", one, 1, axes...), one) // zeros among the others
	d := b.Op("Div", b.Reduce("ReduceProd", safe, 1, axes...), safe)
	return b.Op("Mul", dy, b.Op("Where", b.Op("Equal", others, fill(b, x, 0)), d, fill(b, x, 0)))
}

var (
	opReduceL11         = sumAbs.op(1, false)
	opReduceL118        = sumAbs.op(18, true)
	opReduceL21         = norm.op(1, false)
	opReduceL218        = norm.op(18, true)
	opReduceLogSum1     = logSum.op(1, false)
	opReduceLogSum18    = logSum.op(18, true)
	opReduceLogSumExp1  = logSumExp.op(1, false)
	opReduceLogSumExp18 = logSumExp.op(18, true)
	opReduceMax1        = greatest.op(1, false)
	opReduceMax18       = greatest.op(18, true)
	opReduceMean1       = mean.op(1, false)
	opReduceMean18      = mean.op(18, true)
	opReduceMin1        = least.op(1, false)
	opReduceMin18       = least.op(18, true)
	opReduceProd1       = prod.op(1, false)
	opReduceProd18      = prod.op(18, true)
	opReduceSum1        = sum.op(1, false)
	opReduceSum13       = sum.op(13, true)
	opReduceSumSquare1  = sumSquare.op(1, false)
	opReduceSumSquare18 = sumSquare.op(18, true)
)
