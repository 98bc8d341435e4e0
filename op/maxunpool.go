package op

import (
	"muster/graph"
	"muster/tensor"
)

// MaxUnpool puts every element of X where MaxPool took it from, in zeros. The indices are flat in the
// shape that MaxPool's geometry gives; a larger output_shape adds zeros behind it.
var opMaxUnpool = Op{
	Name: "MaxUnpool", Since: 9, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: "kernel_shape pads strides", Dynamic: true,
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.wantType(1, tensor.Int64), c.wantType(2, tensor.Int64), c.spatialRank()); err != nil {
			return err
		}
		x := c.In[0].Shape
		if x == nil {
			c.Set(0, c.In[0].DType, nil)
			return nil
		}
		if i := c.In[1].Shape; i != nil && len(i) != len(x) {
			return c.Errorf("X is %v, I is %v", x, i)
		}
		for k, d := range c.In[1].Shape {
			if d.Known() && x[k].Known() && d.Size != x[k].Size {
				return c.Errorf("X is %v, I is %v", x, c.In[1].Shape)
			}
		}
		out, err := unpooled(c.Node, x)
		if err != nil {
			return err
		}
		if c.in(2) != nil {
			l, ok := c.list(2)
			if ok && len(l) != len(x) {
				return c.Errorf("an output_shape of %d entries for %v", len(l), x)
			}
			out = unknown(len(x))
			for i := range l {
				if out[i] = l[i].dim(); l[i].known && l[i].v < 0 {
					return c.Errorf("an output_shape with %d", l[i].v)
				}
			}
		}
		c.Set(0, c.In[0].DType, out)
		return nil
	},
	Ref: func(c *Call) error {
		x, shape := floats(c.In[0]), c.Out[0].Shape
		if t := c.in(2); t != nil {
			shape = shape[:0:0]
			for _, n := range ints(t) {
				shape = append(shape, bounded(n))
			}
			if n, ok := shape.CheckedElems(); !ok || n > maxElems || len(shape) != len(c.In[0].Shape) {
				return c.errorf("an output_shape of %v", shape)
			}
			if c.Out[0].Data == nil {
				c.Out[0].Shape, c.Out[0].Data = shape, tensor.Alloc(c.Out[0].DType.Bytes(shape.Elems()))
			}
		}
		from, err := unpooled(c.Node, dims(c.In[0].Shape...))
		if err != nil {
			return err
		}
		inner := tensor.Shape(sizes(from))
		y, st := make([]float64, shape.Elems()), shape.Strides()
		for i, at := range c.In[1].Int64s() {
			if at < 0 || at >= int64(inner.Elems()) {
				return c.errorf("index %d is not in %s", at, inner)
			}
			pos, rest := 0, int(at)
			for a := len(inner) - 1; a >= 0; a-- {
				if rest%inner[a] >= shape[a] {
					return c.errorf("index %d is not in the output %s", at, shape)
				}
				pos += rest % inner[a] * st[a]
				rest /= inner[a]
			}
			y[pos] = x[i]
		}
		setFloats(c.Out[0], y)
		return nil
	},
	Grad: func(c *GradCall) []*graph.Value {
		b := c.B
		d := make([]*graph.Value, len(c.In))
		from, err := unpooled(c.Node, c.In[0].Shape)
		if err != nil || c.Out[0].Shape == nil {
			c.Fail("the shape of the output is not known")
			return d
		}
		for i := range from {
			if c.In[0].Shape == nil || !from[i].Known() || !c.Out[0].Shape[i].Known() || c.Out[0].Shape[i].Size < from[i].Size {
				c.Fail("it is not known whether the output %v ends where the pool's input %v does", c.Out[0].Shape, from)
				return d
			}
		}
		var lo, hi, axes []int64
		for i := range from {
			lo, hi, axes = append(lo, 0), append(hi, int64(from[i].Size)), append(axes, int64(i))
		}
		dy := b.Op("Slice", c.DOut[0], b.Ints(lo...), b.Ints(hi...), b.Ints(axes...))
		d[0] = b.Op("Gather", reshape(b, dy, -1), c.In[1])
		return d
	},
}

// unpooled is the shape whose MaxPool has shape x.
func unpooled(n *graph.Node, x []graph.Dim) ([]graph.Dim, error) {
	win, err := windowOf(n, nil)
	if err != nil {
		return nil, err
	}
	if len(win)+2 != len(x) {
		return nil, (&InferCall{Node: n}).Errorf("kernel_shape %v for %v", n.Ints("kernel_shape"), x)
	}
	out := []graph.Dim{x[0], x[1]}
	for i, s := range win {
		d := graph.Dim{Size: -1}
		if x[2+i].Known() {
			if d.Size = (x[2+i].Size-1)*s.stride + s.taps - s.lo - s.hi; d.Size < 0 {
				return nil, (&InferCall{Node: n}).Errorf("an output of %d positions", d.Size)
			}
		}
		out = append(out, d)
	}
	return out, nil
}
