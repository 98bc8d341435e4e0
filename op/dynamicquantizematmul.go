package op

import "muster/tensor"

// DynamicQuantizeMatMul(A, B, b_scale, b_zero, bias) of com.microsoft quantizes A as DynamicQuantizeLinear does and multiplies the integers.
var opDynamicQuantizeMatMul = Op{
	Domain: "com.microsoft", Name: "DynamicQuantizeMatMul", Since: 1, MinIn: 3, MaxIn: 5, MinOut: 1, MaxOut: 1,
	NoGrad: "rounding to integers has no gradient",
	Infer: func(c *InferCall) error {
		b := c.In[1].Shape
		if err := firstErr(c.wantType(0, tensor.Float32), c.bytes8(1, 3), c.wantType(2, tensor.Float32), c.wantType(4, tensor.Float32),
			c.sameType(1, 3), c.perEntry(2, b, 0), c.perEntry(3, b, 0), c.perEntry(4, b, 0)); err != nil {
			return err
		}
		s, err := c.matmulDims(c.In[0].Shape, b)
		c.Set(0, tensor.Float32, s)
		return err
	},
	Ref: func(c *Call) error {
		q, scale, zero := dynamicQuantized(c.In[0].Float32s())
		setFloats(c.Out[0], integerToFloat(c.In[0].Shape, q, []int64{int64(zero)}, float64(scale), c.In[1], c.In[2], c.in(3), c.in(4)))
		return nil
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		n := p.In[0].Elems()
		a := &tensor.Tensor{DType: tensor.Uint8, Shape: p.In[0].Shape}
		zero := tensor.New(tensor.Uint8, 1)
		r, ok := newFloatProduct(a, p.In[1], zero, p.in(3), p.In[2], p.in(4))
		if !ok {
			return Kernel{}, false
		}
		d := newDynamicQuant(n)
		at := (r.scratch + 63) &^ 63 // the bytes of A, and behind them what finds them
		ranges := (at + n + 63) &^ 63
		return Kernel{Integer: true, Scratch: ranges + d.scratch, Run: func(in, out []*tensor.Tensor, scratch []byte) {
			a.Data = scratch[at : at+n]
			var scale float32
			scale, zero.Data[0] = d.run(in[0].Float32s(), a.Data, scratch[ranges:])
			r.runFloat(a, zero, scale, optional(in, 4), out[0].Float32s(), scratch[:r.scratch])
		}}, true
	},
	Flops: matmulFlops(lastAxis),
}
