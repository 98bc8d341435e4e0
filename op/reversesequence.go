package op

import (
	"muster/graph"
	"muster/tensor"
)

// ReverseSequence reverses the first sequence_lens[b] steps of every batch entry and keeps the others.
var opReverseSequence = Op{
	Name: "ReverseSequence", Since: 10, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1, Attrs: "batch_axis time_axis",
	Infer: func(c *InferCall) error {
		b, t := c.Node.Int("batch_axis", 1), c.Node.Int("time_axis", 0)
		if err := firstErr(c.wantIndex(1), c.wantRank(1, 1)); err != nil {
			return err
		}
		if x := c.In[0].Shape; x != nil && (len(x) < 2 || b+t != 1 || b*t != 0) {
			return c.Errorf("batch axis %d and time axis %d of %v", b, t, x)
		}
		return sameAs(c)
	},
	Ref: func(c *Call) error {
		r := reversal(c.Node, c.In[0].Shape, c.In[0].DType)
		if err := r.check(c.In); err != nil {
			return err
		}
		for task := 0; task < r.B*r.T; task++ {
			r.copy(c.In, c.Out, task)
		}
		return nil
	},
	// It is its own inverse.
	Grad: func(c *GradCall) []*graph.Value {
		return one(c.B.OpA("ReverseSequence", c.Node.Attrs, c.DOut[0], c.In[1]))
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		r := reversal(p.Node, p.In[0].Shape, p.In[0].DType)
		per := rowsPer(r.size / 4)
		n := r.B * r.T
		return Kernel{Check: r.check, Run: split((n+per-1)/per, func(in, out []*tensor.Tensor, _ []byte, task int) {
			for i := task * per; i < min(n, (task+1)*per); i++ {
				r.copy(in, out, i)
			}
		})}, true
	},
}

// reverser sees the data as [T, B, size bytes], or [B, T, size] with batch first.
type reverser struct {
	B, T, size int
	batchFirst bool
}

func reversal(n *graph.Node, x tensor.Shape, d tensor.DType) reverser {
	r := reverser{B: x[1], T: x[0], size: d.Bytes(x[2:].Elems()), batchFirst: n.Int("batch_axis", 1) == 0}
	if r.batchFirst {
		r.B, r.T = x[0], x[1]
	}
	return r
}

func (r *reverser) check(in []*tensor.Tensor) error {
	if in[1].Elems() != r.B {
		return (&Call{}).errorf("%d lengths for a batch of %d", in[1].Elems(), r.B)
	}
	for b := 0; b < r.B; b++ {
		if l := index(in[1], b); l < 0 || l > int64(r.T) {
			return (&Call{}).errorf("a sequence of %d of %d steps", l, r.T)
		}
	}
	return nil
}

// copy writes entry i of the output.
func (r *reverser) copy(in, out []*tensor.Tensor, i int) {
	t, b := i/r.B, i%r.B
	if r.batchFirst {
		t, b = i%r.T, i/r.T
	}
	if l := int(index(in[1], b)); t < l {
		t = l - 1 - t
	}
	from := t*r.B + b
	if r.batchFirst {
		from = b*r.T + t
	}
	copy(out[0].Data[i*r.size:(i+1)*r.size], in[0].Data[from*r.size:])
}
