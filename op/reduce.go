package op

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// reduce is an operator that folds axes to one number. Axes are an attribute
// before opset 18 (ReduceSum: 13), an input after; none means all, unless noop_with_empty_axes.
type reduce struct {
	name string
	f    func(acc, x float64) float64
	i    func(acc, x int64) int64
	u    bool // i must compare as unsigned for uint64 (Max, Min): not supported
	from float64
	fi   func(d tensor.DType) int64 // start for integers
	mean bool
	grad func(c *GradCall, dy, y *graph.Value, axes []int64) *graph.Value
	fast reduceFast
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
		o.MaxIn, o.Attrs = 2, "keepdims noop_with_empty_axes"
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
	if c.In[0].DType == tensor.Bool && !r.u || r.u && c.In[0].DType == tensor.Uint64 {
		return c.unsupported("%s of %s is not supported", r.name, c.In[0].DType)
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
	if c.Out[0].DType.IsFloat() {
		acc := make([]float64, c.Out[0].Elems())
		for i := range acc {
			acc[i] = r.from
		}
		for i, x := range floats(c.In[0]) {
			acc[to[i]] = r.f(acc[to[i]], x)
		}
		for i := range acc {
			if r.mean {
				acc[i] /= float64(count)
			}
		}
		setFloats(c.Out[0], acc)
		return nil
	}
	acc := make([]int64, c.Out[0].Elems())
	for i := range acc {
		acc[i] = r.fi(c.Out[0].DType)
	}
	for i, x := range ints(c.In[0]) {
		acc[to[i]] = r.i(acc[to[i]], x)
	}
	for i := range acc {
		if r.mean && count > 0 {
			acc[i] /= int64(count)
		}
	}
	setInts(c.Out[0], acc)
	return nil
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
		dy = unsqueeze(c.B, dy, axes...)
		if r.name != "ReduceSum" && r.name != "ReduceMean" {
			y = unsqueeze(c.B, y, axes...)
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
		dy = b.Op("Div", dy, reduceSum(b, mask, 1, axes...))
	}
	return b.Op("Mul", mask, dy)
}

func zeroStart(tensor.DType) int64 { return 0 }

func lowest(d tensor.DType) int64 {
	switch d {
	case tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Bool:
		return 0
	case tensor.Int64:
		return math.MinInt64
	}
	return -1 << (d.Bits() - 1)
}

func highest(d tensor.DType) int64 {
	switch d {
	case tensor.Uint8, tensor.Uint16, tensor.Uint32:
		return 1<<d.Bits() - 1
	case tensor.Bool:
		return 1
	case tensor.Int64:
		return math.MaxInt64
	}
	return 1<<(d.Bits()-1) - 1
}

var (
	sum = reduce{name: "ReduceSum", f: func(a, x float64) float64 { return a + x }, i: func(a, x int64) int64 { return a + x }, fi: zeroStart,
		grad: func(c *GradCall, dy, _ *graph.Value, _ []int64) *graph.Value { return expandTo(c, dy) }, fast: fastSum}
	mean = reduce{name: "ReduceMean", f: sum.f, i: sum.i, fi: zeroStart, mean: true,
		grad: func(c *GradCall, dy, _ *graph.Value, axes []int64) *graph.Value {
			return expandTo(c, c.B.Op("Div", dy, countOf(c.B, c.In[0], axes)))
		}, fast: fastMean}
	greatest = reduce{name: "ReduceMax", f: math.Max, i: func(a, x int64) int64 { return max(a, x) }, u: true,
		from: math.Inf(-1), fi: lowest, grad: extremeGrad, fast: fastGreatest}
	least = reduce{name: "ReduceMin", f: math.Min, i: func(a, x int64) int64 { return min(a, x) }, u: true,
		from: math.Inf(1), fi: highest, grad: extremeGrad, fast: fastLeast}
	prod = reduce{name: "ReduceProd", f: func(a, x float64) float64 { return a * x }, i: func(a, x int64) int64 { return a * x },
		from: 1, fi: func(tensor.DType) int64 { return 1 },
		// The product of the others is y / x, which fails at 0; it is what the file could express anyway.
		grad: func(c *GradCall, dy, y *graph.Value, _ []int64) *graph.Value {
			return c.B.Op("Div", c.B.Op("Mul", dy, y), c.In[0])
		}}
	sumSquare = reduce{name: "ReduceSumSquare", f: func(a, x float64) float64 { return a + float64(x*x) },
		i: func(a, x int64) int64 { return a + x*x }, fi: zeroStart,
		grad: func(c *GradCall, dy, _ *graph.Value, _ []int64) *graph.Value {
			return c.B.Op("Mul", c.B.Op("Mul", c.In[0], fill(c.B, c.In[0], 2)), dy)
		}, fast: fastSumSquare}
)

var (
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

// ArgMax is the index of the first largest element along an axis (the last one by select_last_index).
var opArgMax = Op{
	Name: "ArgMax", Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "axis keepdims select_last_index",
	NoGrad: "its output is an integer",
	Infer: func(c *InferCall) error {
		in := c.In[0].Shape
		if c.In[0].DType == tensor.Bool || c.In[0].DType == tensor.Uint64 {
			return c.unsupported("ArgMax of %s is not supported", c.In[0].DType)
		}
		if in == nil {
			c.Set(0, tensor.Int64, nil)
			return nil
		}
		at, err := axis(c.Node.Place(), c.Node.Int("axis", 0), len(in))
		if err != nil {
			return err
		}
		if in[at].Known() && in[at].Size == 0 {
			return c.Errorf("the axis is empty")
		}
		out := append([]graph.Dim{}, in...)
		out[at] = graph.D(1)
		if c.Node.Int("keepdims", 1) == 0 {
			out = append(out[:at], out[at+1:]...)
		}
		c.Set(0, tensor.Int64, out)
		return nil
	},
	Ref: func(c *Call) error {
		if c.In[0].DType.IsFloat() {
			argMax(c, floats(c.In[0]))
		} else {
			argMax(c, ints(c.In[0]))
		}
		return nil
	},
	Prepare: argMaxKernel,
}

func argMax[T float64 | int64](c *Call, v []T) {
	P, n, Q, last := argMaxDims(c.Node, c.In[0].Shape)
	argMaxLanes(c.Out[0].Int64s(), v, 0, P, n, Q, last)
}

func argMaxDims(node *graph.Node, s tensor.Shape) (P, n, Q int, last bool) {
	P, n, Q = lanes(s, node.Int("axis", 0), false)
	return P, n, Q, node.Int("select_last_index", 0) != 0
}

// argMaxLanes does the lanes of v [P, n, Q] with p from lo to hi.
func argMaxLanes[T float32 | float64 | int64](out []int64, v []T, lo, hi, n, Q int, last bool) {
	for p := lo; p < hi; p++ {
		for q := 0; q < Q; q++ {
			best := 0
			for i := 1; i < n; i++ {
				x, y := v[(p*n+i)*Q+q], v[(p*n+best)*Q+q]
				if x > y || last && x == y {
					best = i
				}
			}
			out[p*Q+q] = int64(best)
		}
	}
}

func argMaxKernel(p *Prep) (Kernel, bool) {
	if p.In[0].DType != tensor.Float32 {
		return Kernel{}, false
	}
	P, n, Q, last := argMaxDims(p.Node, p.In[0].Shape)
	return Kernel{Run: rowKernel(P, n*Q, func(in, out []*tensor.Tensor, lo, hi int) {
		argMaxLanes(out[0].Int64s(), in[0].Float32s(), lo, hi, n, Q, last)
	})}, true
}
