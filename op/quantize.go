package op

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// quantRange returns the least and greatest value of an 8 or 16 bit integer type.
func quantRange(d tensor.DType) (lo, hi float64) { return float64(lowest(d)), float64(highest(d)) }

// scaleRule checks scale and zero point (inputs 1 and 2) of a (de)quantizer of x: one value, one per entry of the axis, or
// one per block of block_size entries.
func (c *InferCall) scaleRule(x []graph.Dim) error {
	if z := c.in(2); z != nil {
		m, ok1 := known(c.In[1].Shape)
		n, ok2 := known(z.Shape)
		if err := c.alike(1, 2); err != nil && !(ok1 && ok2 && m == 1 && n == 1) { // a scalar and one number are the same
			return err
		}
	}
	if c.In[1].DType != tensor.Float8E8M0 {
		if err := c.wantFloat(1); err != nil {
			return err
		}
	}
	if b := c.Node.Int("block_size", 0); b != 0 {
		return c.blockRule(x, b)
	}
	s := c.In[1].Shape
	if x == nil || s == nil || len(s) == 0 {
		return nil
	}
	if len(s) != 1 {
		return c.Errorf("a scale of shape %v", s)
	}
	if s[0].Known() && s[0].Size == 1 {
		return nil
	}
	at, err := axis(c.Node.Place(), c.Node.Int("axis", 1), len(x))
	if err != nil {
		return err
	}
	if d := x[at]; d.Known() && s[0].Known() && d.Size != s[0].Size {
		return c.Errorf("%v scales for axis %d of %v", s, at, x)
	}
	return nil
}

// blockRule checks the shape of a scale per block of b entries of the axis.
func (c *InferCall) blockRule(x []graph.Dim, b int64) error {
	s := c.In[1].Shape
	if b < 0 {
		return c.Errorf("block_size %d", b)
	}
	if x == nil || s == nil {
		return nil
	}
	at, err := axis(c.Node.Place(), c.Node.Int("axis", 1), len(x))
	if err != nil {
		return err
	}
	ok := len(s) == len(x)
	for i := 0; ok && i < len(x); i++ {
		want := x[i]
		if i == at && want.Known() {
			want = graph.D(int((int64(want.Size) + b - 1) / b))
		}
		ok = !want.Known() || !s[i].Known() || want.Size == s[i].Size
	}
	if !ok {
		return c.Errorf("the scales %v for blocks of %d along axis %d of %v", s, b, at, x)
	}
	return nil
}

// scaleIndex lists for every element of shape which of the scales it uses.
func scaleIndex(n *graph.Node, shape, scales tensor.Shape) []int {
	b := n.Int("block_size", 0)
	if b == 0 && scales.Elems() == 1 {
		return make([]int, shape.Elems())
	}
	at := wrap(n.Int("axis", 1), len(shape))
	if b == 0 {
		st := make([]int, len(shape))
		st[at] = 1
		return offsets(shape, st, 0)
	}
	// Element (p, i, q) of [P, n, Q] uses scale (p, i / b, q).
	to := make([]int, shape.Elems())
	N, Q, S := shape[at], shape[at+1:].Elems(), scales[at]
	for k := range to {
		p, i, q := k/(N*Q), k/Q%N, k%Q
		to[k] = (p*S+int(int64(i)/b))*Q + q
	}
	return to
}

// quantizable reports whether d holds quantized numbers.
func quantizable(d tensor.DType) bool {
	switch d {
	case tensor.Uint8, tensor.Int8, tensor.Uint16, tensor.Int16:
		return true
	}
	return d.Stored() && d != tensor.Float8E8M0
}

// zeros returns the zero points as float64; n zeros if there is no such input.
func zeros(t *tensor.Tensor, n int) []float64 {
	if t == nil {
		return make([]float64, n)
	}
	return floats(t)
}

// quantized is saturate(round(x / scale) + zero), where the quotient is rounded
// to float32 first and to nearest even then; NaN gives the greatest value (the standard leaves it open).
func quantized(x, scale, zero, lo, hi float64) int64 {
	q := math.RoundToEven(float64(float32(x / scale)))
	if q != q {
		return int64(hi)
	}
	return int64(min(max(q+zero, lo), hi))
}

// QuantizeLinear maps floats to integers of 2 to 16 bits or to floats of 4 or 8, per tensor, axis or block.
var opQuantizeLinear = Op{
	Name: "QuantizeLinear", Since: 10, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: "axis saturate output_dtype block_size precision", Stored: true,
	NoGrad: "rounding to integers has no gradient",
	Infer: func(c *InferCall) error {
		d := tensor.DType(c.Node.Int("output_dtype", int64(tensor.Undefined)))
		if z := c.in(2); z != nil {
			d = z.DType
		} else if d == tensor.Undefined {
			d = tensor.Uint8
		}
		if !quantizable(d) {
			return c.unsupported("quantizing to %s is not supported", d)
		}
		if !c.In[0].DType.IsFloat() && c.In[0].DType != tensor.Int32 {
			return c.Errorf("input 0 is %s", c.In[0].DType)
		}
		if c.Node.Int("precision", 0) > 1 {
			return c.unsupported("precision %d is not supported", c.Node.Int("precision", 0))
		}
		c.Set(0, d, c.In[0].Shape)
		return c.scaleRule(c.In[0].Shape)
	},
	Ref: func(c *Call) error {
		x, scale := floats(c.In[0]), floats(c.In[1])
		zero := zeros(c.in(2), len(scale))
		d := c.Out[0].DType
		use := scaleIndex(c.Node, c.Out[0].Shape, c.In[1].Shape)
		if _, ok := smallFloats[d]; ok {
			for i, k := range use {
				c.Out[0].SetCode(i, encodeFloat(d, float64(float32(x[i]/scale[k]))+zero[k], c.Node.Int("saturate", 1) != 0))
			}
			return nil
		}
		lo, hi := quantRange(d)
		q := make([]int64, len(x))
		for i, k := range use {
			q[i] = quantized(x[i], scale[k], zero[k], lo, hi)
		}
		if d.Stored() {
			for i, v := range q {
				c.Out[0].SetCode(i, byte(v))
			}
			return nil
		}
		setInts(c.Out[0], q)
		return nil
	},
	Prepare: func(p *Prep) (Kernel, bool) { return quantizeKernel(p) },
}

// DequantizeLinear is (x - zero) scale.
var opDequantizeLinear = Op{
	Name: "DequantizeLinear", Since: 10, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: "axis block_size output_dtype", Stored: true,
	NoGrad: "its input is an integer, and scales are not differentiated",
	Infer: func(c *InferCall) error {
		if d := c.In[0].DType; !quantizable(d) && d != tensor.Int32 {
			return c.Errorf("input 0 is %s", d)
		}
		if z := c.in(2); z != nil && z.DType != c.In[0].DType {
			return c.Errorf("the zero point is %s, input 0 is %s", z.DType, c.In[0].DType)
		}
		d := c.In[1].DType
		if to := tensor.DType(c.Node.Int("output_dtype", 0)); to != tensor.Undefined {
			if d = to; !d.IsFloat() {
				return c.Errorf("output_dtype %s", d)
			}
		}
		if !d.IsFloat() {
			return c.Errorf("the scale is %s and there is no output_dtype", d)
		}
		c.Set(0, d, c.In[0].Shape)
		return c.scaleRule(c.In[0].Shape)
	},
	Ref: func(c *Call) error {
		x, scale := floats(c.In[0]), floats(c.In[1])
		zero := zeros(c.in(2), len(scale))
		for i, k := range scaleIndex(c.Node, c.Out[0].Shape, c.In[1].Shape) {
			x[i] = (x[i] - zero[k]) * scale[k]
		}
		setFloats(c.Out[0], x)
		return nil
	},
	Prepare: func(p *Prep) (Kernel, bool) { return dequantizeKernel(p) },
}
