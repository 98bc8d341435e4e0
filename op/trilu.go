package op

import (
	"muster/fault"
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

// EyeLike is the identity matrix of the input's shape, its diagonal moved by k.
var opEyeLike = Op{
	Name: "EyeLike", Since: 9, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "dtype k", NoGrad: "it does not depend on the values of its input",
	Infer: func(c *InferCall) error {
		d := tensor.DType(c.Node.Int("dtype", int64(c.In[0].DType)))
		if !numeric(d) {
			return c.unsupported("dtype %s is not supported", d)
		}
		c.Set(0, d, c.In[0].Shape)
		return c.wantRank(0, 2)
	},
	Ref: func(c *Call) error {
		t := c.Out[0]
		v := make([]float64, t.Elems())
		k := c.Node.Int("k", 0)
		for i := range v {
			if C := t.Shape[1]; int64(i%C) == int64(i/C)+k {
				v[i] = 1
			}
		}
		setNumbers(t, v)
		return nil
	},
}

// Size is the number of elements as a scalar.
var opSize = Op{
	Name: "Size", Since: 1, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, NoGrad: "it depends on shapes only",
	Infer: func(c *InferCall) error {
		c.Set(0, tensor.Int64, []graph.Dim{})
		return nil
	},
	Ref: func(c *Call) error {
		c.Out[0].Int64s()[0] = int64(c.In[0].Elems())
		return nil
	},
}

// CastLike is Cast to the type of its second input.
var opCastLike = Op{
	Name: "CastLike", Since: 15, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1, Attrs: "saturate round_mode",
	Infer: func(c *InferCall) error {
		c.Set(0, c.In[1].DType, c.In[0].Shape)
		return nil
	},
	Ref: func(c *Call) error {
		convert(c.Out[0], c.In[0])
		return nil
	},
	Grad:    func(c *GradCall) []*graph.Value { return one(cast(c.B, c.DOut[0], c.In[0].DType)) },
	Prepare: castKernel,
}

// BitCast gives the bits of its input another type of the same width.
var opBitCast = Op{
	Name: "BitCast", Since: 26, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "to", NoGrad: "bits have no derivative",
	Infer: func(c *InferCall) error {
		to, from := tensor.DType(c.Node.Int("to", 0)), c.In[0].DType
		if !numeric(to) {
			return c.unsupported("BitCast to %s is not supported", to)
		}
		if to.Bits() != from.Bits() {
			return fault.New(fault.Mismatch, c.Node.Place(), "%s has %d bits, %s has %d", from, from.Bits(), to, to.Bits())
		}
		c.Set(0, to, c.In[0].Shape)
		return nil
	},
	Ref: func(c *Call) error {
		copy(c.Out[0].Data, c.In[0].Data)
		return nil
	},
}

// Hardmax is 1 at the first greatest element along an axis, 0 elsewhere. Before opset 13 it sees a
// matrix, as Softmax does.
func hardmax(since int) Op {
	flat := since < 13
	return Op{
		Name: "Hardmax", Since: since, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "axis",
		NoGrad: "it is constant between jumps",
		Infer:  softmaxOp("Hardmax", since, false).Infer,
		Ref: func(c *Call) error {
			P, n, Q := lanes(c.In[0].Shape, c.Node.Int("axis", defaultAxis(flat)), flat)
			x, y := floats(c.In[0]), make([]float64, c.In[0].Elems())
			eachLane(P, n, Q, func(at []int) {
				best := 0
				for i := range at {
					if x[at[i]] > x[at[best]] {
						best = i
					}
				}
				if n > 0 {
					y[at[best]] = 1
				}
			})
			setFloats(c.Out[0], y)
			return nil
		},
	}
}

var (
	opHardmax1  = hardmax(1)
	opHardmax13 = hardmax(13)
)
