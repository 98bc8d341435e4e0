package op

import (
	"math"

	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// DynamicQuantizeLinear quantizes to uint8 with the range of x itself, stretched to contain 0. The
// standard leaves NaN open: it does not count for the range and becomes 255.
var opDynamicQuantizeLinear = Op{
	Name: "DynamicQuantizeLinear", Since: 11, MinIn: 1, MaxIn: 1, MinOut: 3, MaxOut: 3,
	NoGrad: "rounding to integers has no gradient",
	Infer: func(c *InferCall) error {
		if err := c.wantType(0, tensor.Float32); err != nil {
			return err
		}
		c.Set(0, tensor.Uint8, c.In[0].Shape)
		c.Set(1, tensor.Float32, []graph.Dim{})
		c.Set(2, tensor.Uint8, []graph.Dim{})
		return nil
	},
	Ref: func(c *Call) error {
		q, scale, zero := dynamicQuantized(c.In[0].Float32s())
		for i, t := range c.Out {
			switch {
			case t == nil:
			case i == 0:
				setInts(t, q)
			case i == 1:
				setFloats(t, []float64{float64(scale)})
			default:
				setInts(t, []int64{int64(zero)})
			}
		}
		return nil
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		q := newDynamicQuant(p.In[0].Elems())
		return Kernel{Scratch: q.scratch, Run: func(in, out []*tensor.Tensor, scratch []byte) {
			var dst []uint8
			if out[0] != nil {
				dst = out[0].Data
			}
			scale, zero := q.run(in[0].Float32s(), dst, scratch)
			if out[1] != nil {
				out[1].Float32s()[0] = scale
			}
			if out[2] != nil {
				out[2].Data[0] = zero
			}
		}}, true
	},
}

// dynamicQuantized is the meaning of DynamicQuantizeLinear.
func dynamicQuantized(x []float32) (q []int64, scale float32, zero uint8) {
	var lo, hi float32
	for _, v := range x {
		if v == v {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	scale, zero = dynamicScale(lo, hi)
	q = make([]int64, len(x))
	for i, v := range x {
		q[i] = quantized(float64(v), float64(scale), float64(zero), 0, 255)
	}
	return q, scale, zero
}

// dynamicScale maps lo <= 0 <= hi to 0..255.
func dynamicScale(lo, hi float32) (scale float32, zero uint8) {
	scale = (hi - lo) / 255
	if scale == 0 {
		scale = 1
	}
	z := math.RoundToEven(float64(min(max(-lo/scale, 0), 255)))
	if z != z { // an infinite lo
		z = 255
	}
	return scale, uint8(z)
}

// dynamicQuant is a prepared quantization of n elements: the ranges of all chunks, then their bytes.
type dynamicQuant struct {
	scratch int
	tasks   int
	x, span []float32
	q       []uint8
	scale   float32
	zero    uint8

	ranges, bytes func(in, out []*tensor.Tensor, scratch []byte)
}

func newDynamicQuant(n int) *dynamicQuant {
	d := &dynamicQuant{tasks: tasksFor(n)}
	d.scratch = 8*d.tasks + 64
	d.ranges = split(d.tasks, func(_, _ []*tensor.Tensor, _ []byte, t int) {
		lo, hi := bounds(n, t)
		d.span[2*t], d.span[2*t+1] = kernel.Span(d.x[lo:hi])
	})
	d.bytes = split(d.tasks, func(_, _ []*tensor.Tensor, _ []byte, t int) {
		lo, hi := bounds(n, t)
		kernel.QuantizeU8(d.q[lo:hi], d.x[lo:hi], d.scale, d.zero)
	})
	return d
}

// run quantizes x to q (nil: only its scale and zero point).
func (d *dynamicQuant) run(x []float32, q []uint8, scratch []byte) (scale float32, zero uint8) {
	d.x, d.q, d.span = x, q, floatsIn(scratch)[:2*d.tasks]
	d.ranges(nil, nil, nil)
	var lo, hi float32
	for t := range d.tasks {
		lo, hi = min(lo, d.span[2*t]), max(hi, d.span[2*t+1])
	}
	d.scale, d.zero = dynamicScale(lo, hi)
	if q != nil {
		d.bytes(nil, nil, nil)
	}
	return d.scale, d.zero
}
