package op

import "muster/tensor"

// MatMulIntegerToFloat(A, B, a_scale, b_scale, a_zero, b_zero, bias) of com.microsoft is the product of the
// integers, as MatMulInteger, times a_scale (a scalar) and b_scale (a scalar or by column), plus bias [N].
var opMatMulIntegerToFloat = Op{
	Domain: "com.microsoft", Name: "MatMulIntegerToFloat", Since: 1, MinIn: 4, MaxIn: 7, MinOut: 1, MaxOut: 1,
	NoGrad: "its inputs are integers",
	Infer: func(c *InferCall) error {
		b := c.In[1].Shape
		if err := firstErr(c.bytes8(0, 1, 4, 5), c.wantType(2, tensor.Float32), c.wantType(3, tensor.Float32), c.wantType(6, tensor.Float32),
			c.sameType(0, 4), c.sameType(1, 5), c.single(2), c.single(4), c.perEntry(3, b, 0), c.perEntry(5, b, 0), c.perEntry(6, b, 0)); err != nil {
			return err
		}
		s, err := c.matmulDims(c.In[0].Shape, b)
		c.Set(0, tensor.Float32, s)
		return err
	},
	Ref: func(c *Call) error {
		zero := maybeInts(c.in(4))
		setFloats(c.Out[0], integerToFloat(c.In[0].Shape, ints(c.In[0]), zero, floats(c.In[2])[0], c.In[1], c.In[3], c.in(5), c.in(6)))
		return nil
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		r, ok := newFloatProduct(p.In[0], p.In[1], p.in(4), p.in(5), p.In[3], p.in(6))
		if !ok {
			return Kernel{}, false
		}
		return Kernel{Integer: true, Scratch: r.scratch, Run: func(in, out []*tensor.Tensor, scratch []byte) {
			r.runFloat(in[0], optional(in, 4), in[2].Float32s()[0], optional(in, 6), out[0].Float32s(), scratch)
		}}, true
	},
	Flops: matmulFlops(lastAxis),
}

// single checks that input i has one element.
func (c *InferCall) single(i int) error {
	v := c.in(i)
	if v == nil || v.Shape == nil {
		return nil
	}
	if n, ok := known(v.Shape); ok && n != 1 {
		return c.unsupported("input %d is %v, want one element", i, v.Shape)
	}
	return nil
}

// integerToFloat is the meaning of MatMulIntegerToFloat; shape, a, zeroA and scaleA are those of A.
func integerToFloat(shape tensor.Shape, a, zeroA []int64, scaleA float64, b, scaleB, zeroB, bias *tensor.Tensor) []float64 {
	as, bs, M, K, N := matmulViews(shape, b.Shape, false, false)
	acc := matmulInts(a, ints(b), as, bs, M, K, N, zeroA, maybeInts(zeroB))
	sb, y := floats(scaleB), make([]float64, len(acc))
	for i := range y {
		y[i] = float64(acc[i]) * (scaleA * pick(sb, i%N))
		if bias != nil {
			y[i] += bias.Float(i % N % bias.Elems())
		}
	}
	return y
}

// floatProduct is an integer product with float32 results.
type floatProduct struct {
	intProduct
	scales scales
	own    int // scratch of the integer product
	none   []float32
}

func newFloatProduct(a, b, zeroA, zeroB, scaleB, bias *tensor.Tensor) (floatProduct, bool) {
	r, ok := newIntProduct(a, b, zeroA, zeroB)
	if !ok || bias != nil && bias.Elems() != r.g.N {
		return floatProduct{}, false
	}
	f := floatProduct{intProduct: r, own: r.scratch, none: make([]float32, r.g.N)}
	f.g.LDY = r.g.N
	f.scales, ok = newScales(scaleB, r.g.N, &f.scratch)
	return f, ok
}

func (r *floatProduct) runFloat(a, zeroA *tensor.Tensor, scaleA float32, bias *tensor.Tensor, y []float32, scratch []byte) {
	r.g.Y, r.g.Scale, r.g.Bias = y, r.scales.times(scaleA, scratch), r.none
	if bias != nil {
		r.g.Bias = bias.Float32s()
	}
	r.run(a, zeroA, scratch[:r.own])
}
