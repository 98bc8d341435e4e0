package op

import (
	"muster/graph"
	"muster/tensor"
)

// Quantized linear layers: X uint8 [..., K] with one scale and zero point, W int8
// [K, N] symmetric with one scale per column, a float bias [N]. The sum over K is
// exact in int32; what follows is float32.
//
//	QLinearFloat(X, x_scale, x_zero, W, w_scale, bias)                  -> float32
//	QLinear     (X, x_scale, x_zero, W, w_scale, bias, y_scale, y_zero) -> uint8
//
// x_zero, bias and y_zero may be absent.
func qlinearOp(name string, requant bool) Op {
	o := Op{
		Domain: graph.Domain, Name: name, Since: 1, MinIn: 2, MaxIn: 6, MinOut: 1, MaxOut: 1,
		NoGrad: "its input is an integer",
		Infer:  func(c *InferCall) error { return qlinearInfer(c, requant) },
		Ref:    func(c *Call) error { return qlinearRef(c, requant) },
		Body: func(b *graph.Builder, _ *graph.Node, in []*graph.Value) []*graph.Value {
			return one(qlinearBody(b, in, requant))
		},
		Prepare: func(p *Prep) (Kernel, bool) { return qlinearKernel(p, requant) },
		Flops:   matmulFlops(lastAxis),
	}
	if requant {
		o.MaxIn = 8
	}
	return o
}

var (
	opQLinear      = qlinearOp("QLinear", true)
	opQLinearFloat = qlinearOp("QLinearFloat", false)
)

func qlinearInfer(c *InferCall, requant bool) error {
	f32 := tensor.Float32
	if c.in(3) == nil || c.in(4) == nil {
		return c.Errorf("W or w_scale is absent")
	}
	if err := firstErr(c.wantType(0, tensor.Uint8), c.wantType(1, f32), c.wantType(2, tensor.Uint8), c.wantType(3, tensor.Int8),
		c.wantType(4, f32), c.wantType(5, f32), c.wantType(6, f32), c.wantType(7, tensor.Uint8), c.wantRank(3, 2)); err != nil {
		return err
	}
	for _, i := range []int{1, 2, 6, 7} {
		if v := c.in(i); v != nil && v.Shape != nil {
			if n, ok := known(v.Shape); ok && n != 1 {
				return c.Errorf("input %d is %v, want a scalar", i, v.Shape)
			}
		}
	}
	if x := c.In[0].Shape; x != nil && len(x) < 2 {
		return c.Errorf("input 0 is %v, want rank 2 or more", x)
	}
	for _, i := range []int{4, 5} {
		v, w := c.in(i), c.In[3].Shape
		if v == nil || v.Shape == nil || w == nil {
			continue
		}
		if len(v.Shape) != 1 || v.Shape[0].Known() && w[1].Known() && v.Shape[0].Size != w[1].Size {
			return c.Errorf("input %d is %v for weights %v", i, v.Shape, w)
		}
	}
	s, err := c.matmulDims(c.In[0].Shape, c.In[3].Shape)
	if requant {
		if c.in(6) == nil {
			return c.Errorf("y_scale is absent")
		}
		c.Set(0, tensor.Uint8, s)
	} else {
		c.Set(0, f32, s)
	}
	return err
}

func qlinearRef(c *Call, requant bool) error {
	as, bs, M, K, N := matmulViews(c.In[0].Shape, c.In[3].Shape, false, false)
	acc := matmulInts(ints(c.In[0]), ints(c.In[3]), as, bs, M, K, N, maybeInts(c.In[2]), nil)
	sx, sw := c.In[1].Float(0), floats(c.In[4])
	y := make([]float64, len(acc))
	for i := range y {
		y[i] = float64(acc[i]) * (sx * sw[i%N])
		if t := c.in(5); t != nil {
			y[i] += t.Float(i % N)
		}
	}
	if !requant {
		setFloats(c.Out[0], y)
		return nil
	}
	zero := 0.0
	if t := c.in(7); t != nil {
		zero = t.Float(0)
	}
	for i := range y {
		acc[i] = quantized(y[i], c.In[6].Float(0), zero, 0, 255)
	}
	setInts(c.Out[0], acc)
	return nil
}

func qlinearBody(b *graph.Builder, in []*graph.Value, requant bool) *graph.Value {
	at := func(i int) *graph.Value {
		if i < len(in) {
			return in[i]
		}
		return nil
	}
	x := b.Op("DequantizeLinear", at(0), at(1), at(2))
	w := b.OpA("DequantizeLinear", []graph.Attr{graph.Int("axis", 1)}, at(3), at(4))
	y := b.Op("MatMul", x, w)
	if at(5) != nil {
		y = b.Op("Add", y, at(5))
	}
	if requant {
		return b.Op("QuantizeLinear", y, at(6), at(7))
	}
	return y
}
