package op

import (
	"muster/graph"
	"muster/tensor"
)

// NonZero lists the places of the elements that are not 0, in row-major order: [rank, count], one column per
// element. A scalar counts as a vector of one element, as in ONNX Runtime.
var opNonZero = Op{
	Name: "NonZero", Since: 9, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Dynamic: true,
	NoGrad: "its output is an integer",
	Infer: func(c *InferCall) error {
		if c.In[0].Shape == nil {
			c.Set(0, tensor.Int64, unknown(2))
			return nil
		}
		out := []graph.Dim{graph.D(max(1, len(c.In[0].Shape))), {Size: -1}}
		if t := c.Const(0); t != nil && t.Elems() <= foldLimit {
			out[1] = graph.D(len(nonZeros(t)))
		}
		c.Set(0, tensor.Int64, out)
		return nil
	},
	Ref: func(c *Call) error {
		x := c.In[0]
		at := nonZeros(x)
		rank, n := max(1, len(x.Shape)), len(at)
		v := c.resize(0, rank, n).Int64s()
		for i, k := range at {
			for a := len(x.Shape) - 1; a >= 0; a-- {
				v[a*n+i] = int64(k % x.Shape[a])
				k /= x.Shape[a]
			}
		}
		return nil
	},
}

// nonZeros lists the elements of t that are not 0. What is not a number is not 0; -0 is.
func nonZeros(t *tensor.Tensor) []int {
	var at []int
	switch t.DType {
	case tensor.Float32:
		for i, x := range t.Float32s() {
			if x != 0 {
				at = append(at, i)
			}
		}
	case tensor.Bool, tensor.Uint8, tensor.Int8:
		for i, x := range t.Data {
			if x != 0 {
				at = append(at, i)
			}
		}
	case tensor.Int64:
		for i, x := range t.Int64s() {
			if x != 0 {
				at = append(at, i)
			}
		}
	default:
		for i, n := 0, t.Elems(); i < n; i++ {
			if t.Float(i) != 0 {
				at = append(at, i)
			}
		}
	}
	return at
}
