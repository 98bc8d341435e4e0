package op

import (
	"math"

	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// poolInfer sets output 0 of a pool over the spatial axes of X [N, C, ...].
func poolInfer(c *InferCall) error {
	win, err := windowOf(c.Node, nil)
	if err != nil {
		return err
	}
	if len(win) == 0 || len(win) > maxSpatial {
		return c.Errorf("kernel_shape is absent or too long")
	}
	if err := firstErr(c.spatialRank(), c.wantRank(0, 2+len(win))); err != nil {
		return err
	}
	x := c.In[0].Shape
	if x == nil {
		c.Set(0, c.In[0].DType, unknown(2+len(win)))
		return nil
	}
	if err := win.over(c.Node, sizes(x[2:])); err != nil {
		return err
	}
	if win.idle() {
		return c.unsupported("a window that reads nothing but padding is not supported")
	}
	c.Set(0, c.In[0].DType, append([]graph.Dim{x[0], x[1]}, win.outDims(c.Node, x[2:])...))
	return nil
}

// idle reports whether some position of an axis reads nothing but padding.
func (w window) idle() bool {
	for _, s := range w {
		if s.in < 0 || s.out < 0 || s.lo == 0 && (s.out-1)*s.stride < s.in {
			continue
		}
		if s.lo >= s.reach() || s.hi >= s.reach() || s.in == 0 {
			return true
		}
		for o := 0; o < s.out; o++ {
			first := o*s.stride - s.lo
			if first >= 0 && first < s.in {
				o = max(o, (s.in-1+s.lo)/s.stride-1) // those in between start inside
				continue
			}
			k := 0
			for ; k < s.taps && (first+k*s.dilation < 0 || first+k*s.dilation >= s.in); k++ {
			}
			if k == s.taps {
				return true
			}
		}
	}
	return false
}

// poolWindow is the window of a pool for concrete shapes.
func poolWindow(n *graph.Node, x tensor.Shape) (window, error) {
	win, err := windowOf(n, nil)
	if err == nil {
		err = win.over(n, spatial(x))
	}
	return win, err
}

// pooled calls f for every plane p of [N, C] and output position o with the input positions of the window.
func pooled(c *Call, f func(win window, p, o int, at []int)) error {
	win, err := poolWindow(c.Node, c.In[0].Shape)
	if err != nil {
		return err
	}
	_, out, taps := win.volumes()
	at := make([]int, taps)
	for o := 0; o < out; o++ {
		win.read(o, at)
		for p := 0; p < c.In[0].Shape[0]*c.In[0].Shape[1]; p++ {
			f(win, p, o, at)
		}
	}
	return nil
}

// MaxPool is the greatest element of a window; Indices are where the first of them is, flat in all of X.
var opMaxPool = Op{
	Name: "MaxPool", Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 2,
	Attrs: "auto_pad ceil_mode dilations kernel_shape pads storage_order strides",
	Infer: func(c *InferCall) error {
		if err := c.wantType(0, tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16, tensor.Int8, tensor.Uint8); err != nil {
			return err
		}
		if err := poolInfer(c); err != nil {
			return err
		}
		c.Set(1, tensor.Int64, c.Out[0].Shape)
		return nil
	},
	Ref:     maxPool,
	Grad:    maxPoolGrad,
	Prepare: func(p *Prep) (Kernel, bool) { return pooling(p, false) },
}

func maxPool(c *Call) error {
	x := floats(c.In[0])
	s := c.In[0].Shape
	in, out := s[2:].Elems(), c.Out[0].Shape[2:].Elems()
	y, idx := make([]float64, c.Out[0].Elems()), make([]int64, c.Out[0].Elems())
	columns := c.Node.Int("storage_order", 0) != 0
	err := pooled(c, func(win window, p, o int, at []int) {
		best, from := math.Inf(-1), -1
		for _, i := range at {
			if i >= 0 && (from < 0 || x[p*in+i] > best) {
				best, from = x[p*in+i], i
			}
		}
		if columns {
			from = columnMajor(from, s[2:])
		}
		y[p*out+o], idx[p*out+o] = best, int64(p*in+from)
	})
	if err != nil {
		return err
	}
	if c.Out[0].DType.IsFloat() {
		setFloats(c.Out[0], y)
	} else {
		setInts(c.Out[0], truncate(y))
	}
	if t := c.out(1); t != nil {
		setInts(t, idx)
	}
	return nil
}

// columnMajor turns a row-major position into the column-major one.
func columnMajor(i int, s tensor.Shape) int {
	at, scale := 0, s.Elems()
	for a := len(s) - 1; a >= 0; a-- {
		scale /= s[a]
		at += i % s[a] * scale
		i /= s[a]
	}
	return at
}

// maxPoolGrad hands dY to the elements that were chosen: the first of equal ones.
func maxPoolGrad(c *GradCall) []*graph.Value {
	b, n := c.B, c.Node
	var idx *graph.Value
	if n.Int("storage_order", 0) == 0 {
		extraOutputs(b, n, 2)
		idx = n.Outputs[1]
	} else {
		var attrs []graph.Attr
		for _, a := range n.Attrs {
			if a.Name != "storage_order" {
				attrs = append(attrs, a)
			}
		}
		idx = b.Node("", "MaxPool", 2, []*graph.Value{c.In[0]}, attrs...)[1]
	}
	return b.Node(graph.Domain, "MaxPoolGrad", 1, []*graph.Value{c.DOut[0], idx, c.In[0]})
}

// MaxPoolGrad(dY, Indices, X) adds every element of dY to a zero tensor of X's shape, at its flat index.
var opMaxPoolGrad = Op{
	Domain: graph.Domain, Name: "MaxPoolGrad", Since: 1, MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1,
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.wantType(1, tensor.Int64), c.sameType(0, 2)); err != nil {
			return err
		}
		a, ok1 := known(c.In[0].Shape)
		b, ok2 := known(c.In[1].Shape)
		if c.In[0].Shape != nil && c.In[1].Shape != nil && ok1 && ok2 && a != b {
			return c.Errorf("dY is %v, Indices %v", c.In[0].Shape, c.In[1].Shape)
		}
		c.Set(0, c.In[2].DType, c.In[2].Shape)
		return nil
	},
	Ref: func(c *Call) error {
		dx := make([]float64, c.Out[0].Elems())
		dy := floats(c.In[0])
		for i, at := range c.In[1].Int64s() {
			if at < 0 || at >= int64(len(dx)) {
				return c.errorf("index %d is not in a tensor of %d elements", at, len(dx))
			}
			dx[at] += dy[i]
		}
		setFloats(c.Out[0], dx)
		return nil
	},
	Prepare: func(p *Prep) (Kernel, bool) { return maxPoolGradKernel(p, false) },
	Body: func(b *graph.Builder, _ *graph.Node, in []*graph.Value) []*graph.Value {
		// A product with the one-hot rows of the indices.
		total := b.OpA("ReduceProd", []graph.Attr{graph.Int("keepdims", 0)}, b.Op("Shape", in[2]))
		values := concat(b, b.Unsqueeze(fill(b, in[0], 0), 0), b.Unsqueeze(fill(b, in[0], 1), 0))
		hot := b.Op("OneHot", reshape(b, in[1], -1), total, values) // [dY's elements, X's elements]
		return one(reshapeTo(b, b.Op("MatMul", reshape(b, in[0], 1, -1), hot), b.Op("Shape", in[2])))
	},
}

// AveragePool is the mean of a window: of its elements in X, or of those in X and its padding with count_include_pad.
var opAveragePool = Op{
	Name: "AveragePool", Since: 7, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
	Attrs: "auto_pad ceil_mode count_include_pad dilations kernel_shape pads strides",
	Infer: func(c *InferCall) error { return firstErr(c.wantFloat(0), poolInfer(c)) },
	Ref: func(c *Call) error {
		x := floats(c.In[0])
		in, out := c.In[0].Shape[2:].Elems(), c.Out[0].Shape[2:].Elems()
		include := c.Node.Int("count_include_pad", 0) != 0
		y := make([]float64, c.Out[0].Elems())
		err := pooled(c, func(win window, p, o int, at []int) {
			sum, n := 0.0, 0
			for _, i := range at {
				if i >= 0 {
					sum += x[p*in+i]
					n++
				}
			}
			if include {
				n = win.padded(o)
			}
			y[p*out+o] = sum / float64(n)
		})
		setFloats(c.Out[0], y)
		return err
	},
	Grad:    averagePoolGrad,
	Prepare: func(p *Prep) (Kernel, bool) { return poolKernel(p, kernel.MeanPool) },
}

// averagePoolGrad spreads dY / count over the windows.
func averagePoolGrad(c *GradCall) []*graph.Value {
	win, ok := c.poolSizes()
	if !ok {
		return one(nil)
	}
	_, out, taps := win.volumes()
	count, at := make([]float64, out), make([]int, taps)
	for o := range count {
		win.read(o, at)
		for _, i := range at {
			if i >= 0 {
				count[o]++
			}
		}
		if c.Node.Int("count_include_pad", 0) != 0 {
			count[o] = float64(win.padded(o))
		}
	}
	shape := []int{1, 1}
	for _, s := range win {
		shape = append(shape, s.out)
	}
	t := tensor.New(c.In[0].DType, shape...)
	setFloats(t, count)
	return one(c.spreadPlanes(c.B.Op("Div", c.DOut[0], c.B.Init("count", t)), win))
}

// poolSizes is the window of a pool whose spatial sizes must be known.
func (c *GradCall) poolSizes() (window, bool) {
	if c.In[0].Shape == nil {
		c.Fail("the rank of %q is not known", c.In[0].Name)
		return nil, false
	}
	win, ok := c.resolved(nil)
	for i, s := range win {
		if s.in < 0 {
			c.Fail("it is not known whether the last window ends at the border of axis %d", i+2)
			return nil, false
		}
	}
	return win, ok
}

// spreadPlanes adds every element of dy [N, C, O] to all positions of its window.
func (c *GradCall) spreadPlanes(dy *graph.Value, win window) *graph.Value {
	b := c.B
	shape, kernel := []int64{-1, 1}, []int{1, 1}
	for _, s := range win {
		shape, kernel = append(shape, int64(s.out)), append(kernel, s.taps)
	}
	ones := tensor.New(c.In[0].DType, kernel...)
	v := make([]float64, ones.Elems())
	for i := range v {
		v[i] = 1
	}
	setFloats(ones, v)
	d := c.spread(reshape(b, dy, shape...), b.Init("ones", ones), win, 1)
	return reshapeLike(b, d, c.In[0])
}
