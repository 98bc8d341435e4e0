package op

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// Cast rounds to nearest even between floating-point types, truncates towards
// zero to integers (NaN gives 0, values out of int64's range are clamped before
// they wrap around), and takes everything but 0 as true. Types of few bits are in lowprecision.go.
var opCast = Op{
	Name: "Cast", Since: 6, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "to saturate round_mode", Stored: true,
	Infer: func(c *InferCall) error {
		to := tensor.DType(c.Node.Int("to", 0))
		if !numeric(to) && !to.Stored() {
			return c.unsupported("cast to %s is not supported", to)
		}
		c.Set(0, to, c.In[0].Shape)
		return c.roundMode()
	},
	Ref: func(c *Call) error {
		convert(c.Node, c.Out[0], c.In[0])
		return nil
	},
	Grad: func(c *GradCall) []*graph.Value {
		return one(cast(c.B, c.DOut[0], c.In[0].DType))
	},
	Prepare: castKernel,
}

func convert(n *graph.Node, dst, src *tensor.Tensor) {
	switch {
	case dst.DType == src.DType:
		copy(dst.Data, src.Data)
	case dst.DType.Stored():
		encode(n, dst, src)
	case src.DType.Stored():
		setNumbers(dst, floats(src))
	case dst.DType.IsFloat() && src.DType == tensor.Uint64:
		v := make([]float64, src.Elems())
		for i, x := range src.Uint64s() {
			v[i] = float64(x)
		}
		setFloats(dst, v)
	case dst.DType.IsFloat():
		setFloats(dst, floats(src))
	case !src.DType.IsFloat():
		setInts(dst, ints(src))
	case dst.DType == tensor.Bool:
		for i, x := range floats(src) {
			dst.Bools()[i] = x != 0
		}
	case dst.DType == tensor.Uint64:
		for i, x := range floats(src) {
			switch {
			case x >= math.MaxUint64:
				dst.Uint64s()[i] = math.MaxUint64
			case x >= math.MaxInt64:
				dst.Uint64s()[i] = uint64(x)
			default:
				dst.Uint64s()[i] = uint64(truncate([]float64{x})[0])
			}
		}
	default:
		setInts(dst, truncate(floats(src)))
	}
}
