package op

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// bytes8 checks that inputs i are uint8 or int8.
func (c *InferCall) bytes8(inputs ...int) error {
	for _, i := range inputs {
		if err := c.wantType(i, tensor.Uint8, tensor.Int8); err != nil {
			return err
		}
	}
	return nil
}

// perEntry checks that input i has one element or as many as the rows (end 1) or columns (end 0) of s count.
func (c *InferCall) perEntry(i int, s []graph.Dim, end int) error {
	v := c.in(i)
	if v == nil || v.Shape == nil {
		return nil
	}
	n, ok := known(v.Shape)
	if !ok || n == 1 {
		return nil
	}
	if len(s) <= end {
		return c.Errorf("input %d is %v", i, v.Shape)
	}
	if d := s[len(s)-1-end]; d.Known() && d.Size != n {
		return c.unsupported("input %d is %v, want one element or %v", i, v.Shape, d)
	}
	return nil
}

// MatMulInteger is (A - zeroA)(B - zeroB) in int32; zeroA is a scalar or by row, zeroB a scalar or by column.
var opMatMulInteger = Op{
	Name: "MatMulInteger", Since: 10, MinIn: 2, MaxIn: 4, MinOut: 1, MaxOut: 1, NoGrad: "its output is an integer",
	Infer: func(c *InferCall) error {
		if err := firstErr(c.bytes8(0, 1, 2, 3), c.perEntry(2, c.In[0].Shape, 1), c.perEntry(3, c.In[1].Shape, 0)); err != nil {
			return err
		}
		s, err := c.matmulDims(c.In[0].Shape, c.In[1].Shape)
		c.Set(0, tensor.Int32, s)
		return err
	},
	Ref: func(c *Call) error {
		as, bs, M, K, N := matmulViews(c.In[0].Shape, c.In[1].Shape, false, false)
		setInts(c.Out[0], matmulInts(ints(c.In[0]), ints(c.In[1]), as, bs, M, K, N, maybeInts(c.in(2)), maybeInts(c.in(3))))
		return nil
	},
	Prepare: func(p *Prep) (Kernel, bool) { return matmulIntegerKernel(p) },
	Flops:   matmulFlops(lastAxis),
}

func maybeInts(t *tensor.Tensor) []int64 {
	if t == nil {
		return nil
	}
	return ints(t)
}

// QLinearMatMul(a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero) multiplies
// quantized matrices and quantizes the result, scaling the sums in float32. a's and y's parameters are scalars or by row, b's by column.
var opQLinearMatMul = Op{
	Name: "QLinearMatMul", Since: 10, MinIn: 8, MaxIn: 8, MinOut: 1, MaxOut: 1, NoGrad: "its output is an integer",
	Infer: func(c *InferCall) error {
		a, b := c.In[0].Shape, c.In[3].Shape
		if err := firstErr(c.bytes8(0, 2, 3, 5, 7), c.wantFloat(1), c.wantFloat(4), c.wantFloat(6),
			c.perEntry(1, a, 1), c.perEntry(2, a, 1), c.perEntry(4, b, 0), c.perEntry(5, b, 0), c.perEntry(6, a, 1), c.perEntry(7, a, 1)); err != nil {
			return err
		}
		s, err := c.matmulDims(a, b)
		c.Set(0, c.In[7].DType, s)
		return err
	},
	Ref: func(c *Call) error {
		as, bs, M, K, N := matmulViews(c.In[0].Shape, c.In[3].Shape, false, false)
		acc := matmulInts(ints(c.In[0]), ints(c.In[3]), as, bs, M, K, N, ints(c.In[2]), ints(c.In[5]))
		sa, sb, sy, zy := floats(c.In[1]), floats(c.In[4]), floats(c.In[6]), floats(c.In[7])
		lo, hi := quantRange(c.Out[0].DType)
		for i := range acc {
			m, n := i/N%M, i%N
			scale := requantScale(pick(sa, m), pick(sb, n), pick(sy, m))
			q := math.RoundToEven(float64(float32(float32(acc[i]) * scale)))
			acc[i] = int64(min(max(q+pick(zy, m), lo), hi))
		}
		setInts(c.Out[0], acc)
		return nil
	},
	Prepare: func(p *Prep) (Kernel, bool) { return qlinearMatMulKernel(p) },
	Flops:   matmulFlops(lastAxis),
}

// pick is the value for entry i, or the only one.
func pick(v []float64, i int) float64 {
	if len(v) == 1 {
		return v[0]
	}
	return v[i]
}
