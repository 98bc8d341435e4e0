package op

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// span is what Slice takes from one axis.
type span struct {
	set              bool
	start, end, step int // as written: not clamped, start and end maybe negative
}

// resolve returns the first index and the number of indices in an axis of size n.
func (s span) resolve(n int) (start, count int) {
	if !s.set {
		return 0, n
	}
	lo, hi := 0, n // bounds of start
	if s.step < 0 {
		lo, hi = 0, n-1
	}
	start, end := s.start, s.end
	if start < 0 {
		start += n
	}
	if end < 0 {
		end += n
	}
	start = min(max(start, lo), hi)
	if s.step > 0 {
		end = min(max(end, 0), n)
		return start, max(0, (end-start+s.step-1)/s.step)
	}
	end = min(max(end, -1), n-1)
	if n == 0 {
		return 0, 0
	}
	return start, max(0, (start-end-s.step-1)/-s.step)
}

// slicing reads the spans of a Slice node: attributes before opset 10, inputs after.
// ok is false if an input is not constant.
func slicing(n *graph.Node, in []*tensor.Tensor, rank int) (sp []span, ok bool, err error) {
	at := func(i int) *tensor.Tensor {
		if i < len(in) {
			return in[i]
		}
		return nil
	}
	starts, ok1 := listOf(n, 1, at(1), "starts")
	ends, ok2 := listOf(n, 2, at(2), "ends")
	axes, ok3 := listOf(n, 3, at(3), "axes")
	steps, ok4 := listOf(n, 4, at(4), "steps")
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return nil, false, nil
	}
	c := &InferCall{Node: n}
	if len(ends) != len(starts) || axes != nil && len(axes) != len(starts) || steps != nil && len(steps) != len(starts) {
		return nil, false, c.Errorf("starts, ends, axes and steps have the lengths %d, %d, %d, %d", len(starts), len(ends), len(axes), len(steps))
	}
	sp = make([]span, rank)
	for i := range starts {
		a, step := int64(i), int64(1)
		if axes != nil {
			a = axes[i]
		}
		if steps != nil {
			step = steps[i]
		}
		k, err := axis(n.Place(), a, rank)
		if err != nil {
			return nil, false, err
		}
		if step == 0 || sp[k].set {
			return nil, false, c.Errorf("step 0 or an axis twice")
		}
		// Bounds far outside mean "to the end"; clamped so that sums do not overflow.
		sp[k] = span{true, bounded(starts[i]), bounded(ends[i]), bounded(step)}
	}
	return sp, true, nil
}

func bounded(v int64) int { return int(min(max(v, math.MinInt32*4), math.MaxInt32*4)) }

func sliceOp(since, minIn, maxIn int, attrs string) Op {
	return Op{
		Name: "Slice", Since: since, MinIn: minIn, MaxIn: maxIn, MinOut: 1, MaxOut: 1, Attrs: attrs,
		Infer: func(c *InferCall) error {
			in := c.In[0].Shape
			if in == nil {
				c.Set(0, c.In[0].DType, nil)
				return nil
			}
			var consts [5]*tensor.Tensor
			for i := range c.In {
				consts[i] = c.Const(i)
			}
			consts[0] = nil
			sp, ok, err := slicing(c.Node, consts[:], len(in))
			if err != nil {
				return err
			}
			out := append([]graph.Dim{}, in...)
			for i, d := range in {
				switch {
				case !ok:
					out[i] = graph.Dim{Size: -1}
				case d.Known():
					_, n := sp[i].resolve(d.Size)
					out[i] = graph.D(n)
				case sp[i].set && !(sp[i].start == 0 && sp[i].end >= math.MaxInt32 && sp[i].step == 1):
					out[i] = graph.Dim{Size: -1}
				}
			}
			c.Set(0, c.In[0].DType, out)
			return nil
		},
		Ref: func(c *Call) error {
			base, strides, err := sliceStrides(c.Node, c.In)
			if err != nil {
				return err
			}
			copyElems(c.Out[0], c.In[0], offsets(c.Out[0].Shape, strides, base))
			return nil
		},
		Grad:    sliceGrad,
		Prepare: sliceKernel,
	}
}

// sliceStrides returns where the first element is and the strides between the next ones.
func sliceStrides(n *graph.Node, in []*tensor.Tensor) (base int, strides []int, err error) {
	sp, ok, err := slicing(n, in, len(in[0].Shape))
	if err != nil || !ok {
		return 0, nil, err
	}
	strides = in[0].Shape.Strides()
	for i, s := range sp {
		if s.set {
			start, _ := s.resolve(in[0].Shape[i])
			base += start * strides[i]
			strides[i] *= s.step
		}
	}
	return base, strides, nil
}

// sliceGrad puts dy back axis by axis: the same slice of the axis' indices says where.
func sliceGrad(c *GradCall) []*graph.Value {
	b, n, x := c.B, c.Node, c.In[0]
	consts := make([]*tensor.Tensor, len(c.In))
	for i, v := range c.In {
		if v != nil {
			consts[i] = v.Const
		}
	}
	consts[0] = nil
	sp, ok, err := slicing(n, consts, len(x.Shape))
	if err != nil || !ok {
		c.Fail("the bounds of the slice are not constant")
		return one(nil)
	}
	shape := make([]*graph.Value, len(x.Shape)) // of dy so far
	for i := range shape {
		shape[i] = axisSize(b, c.Out[0], i)
	}
	dy := c.DOut[0]
	for i, s := range sp {
		if !s.set {
			continue
		}
		size := axisSize(b, x, i)
		taken := c.taken(x.Shape[i], size, s)
		if taken == nil {
			return one(nil)
		}
		shape[i] = size
		dy = b.Node(graph.Domain, "GatherGrad", 1, []*graph.Value{dy, taken, concat(b, shape...)}, graph.Int("axis", int64(i)))[0]
	}
	return one(dy)
}

// taken is the vector of the indices that s takes from an axis of dimension d, size as a value.
func (c *GradCall) taken(d graph.Dim, size *graph.Value, s span) *graph.Value {
	b := c.B
	if d.Known() {
		start, n := s.resolve(d.Size)
		v := make([]int64, n)
		for i := range v {
			v[i] = int64(start + i*s.step)
		}
		return b.Ints(v...)
	}
	if b.Version() < 11 { // no Range
		c.Fail("the size of a sliced axis is not known")
		return nil
	}
	zero, one := b.Init("const", tensor.OfInt64([]int64{0})), b.Init("const", tensor.OfInt64([]int64{1}))
	all := b.Op("Range", zero, b.Op("Reshape", size, b.Ints()), one)
	return b.Op("Slice", all, b.Ints(int64(s.start)), b.Ints(int64(s.end)), b.Ints(0), b.Ints(int64(s.step)))
}

func concat(b *graph.Builder, parts ...*graph.Value) *graph.Value {
	return b.OpA("Concat", []graph.Attr{graph.Int("axis", 0)}, parts...)
}

var (
	opSlice1  = sliceOp(1, 1, 1, "axes starts ends")
	opSlice10 = sliceOp(10, 3, 5, "")
)
