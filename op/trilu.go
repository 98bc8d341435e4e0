package op

import (
	"muster/graph"
	"muster/tensor"
)

// Trilu keeps the upper (or lower) triangle of the last two axes, from the diagonal k on, and sets the rest to 0.
var opTrilu = Op{
	Name: "Trilu", Since: 14, MinIn: 1, MaxIn: 2, MinOut: 1, MaxOut: 1, Attrs: "upper",
	Infer: func(c *InferCall) error {
		if s := c.In[0].Shape; s != nil && len(s) < 2 {
			return c.Errorf("input 0 has the shape %v, want at least two axes", s)
		}
		if v := c.in(1); v != nil && v.Shape != nil {
			if n, ok := known(v.Shape); ok && n != 1 {
				return c.Errorf("k has the shape %v", v.Shape)
			}
		}
		if err := c.wantType(1, tensor.Int64); err != nil {
			return err
		}
		return sameAs(c)
	},
	Ref: func(c *Call) error {
		s := c.In[0].Shape
		trilu(c.Out[0], c.In, 0, s[:len(s)-1].Elems(), c.Node.Int("upper", 1) != 0)
		return nil
	},
	Grad: func(c *GradCall) []*graph.Value {
		in := []*graph.Value{c.DOut[0]}
		return one(c.B.OpA("Trilu", []graph.Attr{graph.Int("upper", c.Node.Int("upper", 1))}, append(in, c.In[1:]...)...))
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		s, upper := p.In[0].Shape, p.Node.Int("upper", 1) != 0
		return Kernel{Run: rowKernel(s[:len(s)-1].Elems(), s[len(s)-1], func(in, out []*tensor.Tensor, lo, hi int) {
			trilu(out[0], in, lo, hi, upper)
		})}, true
	},
}

// trilu does rows lo to hi of a batch of matrices [..., R, C].
func trilu(out *tensor.Tensor, in []*tensor.Tensor, lo, hi int, upper bool) {
	s := out.Shape
	R, C, size := s[len(s)-2], s[len(s)-1], out.DType.Bits()/8
	k := int64(0)
	if len(in) > 1 && in[1] != nil {
		k = in[1].Int64s()[0]
	}
	for i := lo; i < hi; i++ {
		// Row r has the diagonal k at column r + k.
		edge := min(max(k, -int64(R)), int64(C)) + int64(i%R)
		from, to := int(min(max(edge, 0), int64(C))), C
		if !upper {
			from, to = 0, int(min(max(edge+1, 0), int64(C)))
		}
		row, x := out.Data[i*C*size:(i+1)*C*size], in[0].Data[i*C*size:]
		clear(row[:from*size])
		copy(row[from*size:to*size], x[from*size:])
		clear(row[to*size:])
	}
}
