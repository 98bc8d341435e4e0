package op

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// quantRange returns the least and greatest value of an 8 or 16 bit integer type.
func quantRange(d tensor.DType) (lo, hi float64) { return float64(lowest(d)), float64(highest(d)) }

// scaleRule checks scale and zero point (inputs 1 and 2) of a (de)quantizer of x: one value, or one per entry of the axis.
func (c *InferCall) scaleRule(x []graph.Dim) error {
	if c.Node.Int("block_size", 0) != 0 {
		return c.unsupported("block_size is not supported")
	}
	if err := firstErr(c.wantFloat(1), c.alike(1, 2)); err != nil {
		return err
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

// perAxis lists for every element of shape which scale it uses.
func perAxis(shape tensor.Shape, a int64, scales int) []int {
	if scales == 1 {
		return make([]int, shape.Elems())
	}
	st := make([]int, len(shape))
	st[wrap(a, len(shape))] = 1
	return offsets(shape, st, 0)
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

// QuantizeLinear maps floats to 8 or 16 bit integers, per tensor or per axis.
var opQuantizeLinear = Op{
	Name: "QuantizeLinear", Since: 10, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: "axis saturate output_dtype block_size precision",
	NoGrad: "rounding to integers has no gradient",
	Infer: func(c *InferCall) error {
		d := tensor.DType(c.Node.Int("output_dtype", int64(tensor.Undefined)))
		if z := c.in(2); z != nil {
			d = z.DType
		} else if d == tensor.Undefined {
			d = tensor.Uint8
		}
		switch d {
		case tensor.Uint8, tensor.Int8, tensor.Uint16, tensor.Int16:
		default:
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
		lo, hi := quantRange(c.Out[0].DType)
		q := make([]int64, len(x))
		for i, k := range perAxis(c.Out[0].Shape, c.Node.Int("axis", 1), len(scale)) {
			q[i] = quantized(x[i], scale[k], zero[k], lo, hi)
		}
		setInts(c.Out[0], q)
		return nil
	},
	Prepare: func(p *Prep) (Kernel, bool) { return quantizeKernel(p) },
}

// DequantizeLinear is (x - zero) scale.
var opDequantizeLinear = Op{
	Name: "DequantizeLinear", Since: 10, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: "axis block_size output_dtype",
	NoGrad: "its input is an integer, and scales are not differentiated",
	Infer: func(c *InferCall) error {
		switch c.In[0].DType {
		case tensor.Uint8, tensor.Int8, tensor.Uint16, tensor.Int16, tensor.Int32:
		default:
			return c.Errorf("input 0 is %s", c.In[0].DType)
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
		c.Set(0, d, c.In[0].Shape)
		return c.scaleRule(c.In[0].Shape)
	},
	Ref: func(c *Call) error {
		x, scale := floats(c.In[0]), floats(c.In[1])
		zero := zeros(c.in(2), len(scale))
		for i, k := range perAxis(c.Out[0].Shape, c.Node.Int("axis", 1), len(scale)) {
			x[i] = (x[i] - zero[k]) * scale[k]
		}
		setFloats(c.Out[0], x)
		return nil
	},
	Prepare: func(p *Prep) (Kernel, bool) { return dequantizeKernel(p) },
}
