package op

import (
	"math"

	"muster/graph"
	"muster/rng"
	"muster/tensor"
)

// Dropout at inference is the identity. In training mode (an input since opset 12) an element stays
// with probability 1 - ratio and is divided by that, else it is 0; output 1 says which stay.
// The gradient passes through the mask, which the forward node then keeps.
var (
	opDropout7  = plainDropout(7)
	opDropout10 = plainDropout(10)
	opDropout12 = Op{
		Name: "Dropout", Since: 12, MinIn: 1, MaxIn: 3, MinOut: 1, MaxOut: 2, Attrs: "seed", Random: true,
		Infer: func(c *InferCall) error {
			for i := 1; i < len(c.In); i++ {
				if v := c.In[i]; v != nil && v.Shape != nil {
					if n, ok := known(v.Shape); ok && n != 1 {
						return c.Errorf("input %d has the shape %v, want a scalar", i, v.Shape)
					}
				}
			}
			if t := c.Const(1); t != nil && !(t.Float(0) >= 0 && t.Float(0) <= 1) {
				return c.Errorf("the ratio is %g", t.Float(0))
			}
			c.Set(1, tensor.Bool, c.In[0].Shape)
			return firstErr(c.wantFloat(0), c.wantFloat(1), c.wantType(2, tensor.Bool), sameAs(c))
		},
		Ref: dropout, Grad: dropoutGrad, Prepare: dropoutKernel,
	}
)

// plainDropout is the form without training mode; its mask has the type of the data before opset 10.
func plainDropout(since int) Op {
	return Op{
		Name: "Dropout", Since: since, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 2, Attrs: "ratio",
		Infer: func(c *InferCall) error {
			d := tensor.Bool
			if since < 10 {
				d = c.In[0].DType
			}
			c.Set(1, d, c.In[0].Shape)
			return firstErr(c.wantFloat(0), sameAs(c))
		},
		Ref: func(c *Call) error {
			copy(c.Out[0].Data, c.In[0].Data)
			if m := c.out(1); m != nil {
				ones := make([]float64, m.Elems())
				for i := range ones {
					ones[i] = 1
				}
				setNumbers(m, ones)
			}
			return nil
		},
		Grad: func(c *GradCall) []*graph.Value { return one(c.DOut[0]) },
		Prepare: func(p *Prep) (Kernel, bool) {
			if p.out(1) != nil {
				return Kernel{}, false
			}
			return Kernel{Over: 1, Run: serial(func(in, out []*tensor.Tensor) { copy(out[0].Data, in[0].Data) })}, true
		},
	}
}

// dropRatio is the probability of 0: 0 at inference.
func dropRatio(in []*tensor.Tensor) float64 {
	switch {
	case len(in) < 3 || in[2] == nil || in[2].Data[0] == 0:
		return 0
	case in[1] == nil:
		return 0.5
	}
	return in[1].Float(0)
}

// leastWord is the smallest of 2^32 equally likely draws that lets an element stay.
func leastWord(ratio float64) uint64 { return uint64(math.Ceil(ratio * 0x1p32)) }

func dropout(c *Call) error {
	v, m, p, k := floats(c.In[0]), c.out(1), dropRatio(c.In), seedOf(c.Node).Split(c.Step)
	least := leastWord(p)
	for i := range v {
		stays := uint64(k.Block(uint64(i / 4))[i%4]) >= least
		if m != nil {
			m.Bools()[i] = stays
		}
		if stays {
			v[i] /= 1 - p
		} else {
			v[i] = 0
		}
	}
	setFloats(c.Out[0], v)
	return nil
}

func dropoutGrad(c *GradCall) []*graph.Value {
	b, n, dy, x := c.B, c.Node, c.DOut[0], c.In[0]
	mode := n.In(2)
	if mode == nil || mode.Const != nil && mode.Const.Float(0) == 0 {
		return one(dy)
	}
	extraOutputs(b, n, 2)
	keep := fill(b, x, 0.5)
	if r := n.In(1); r != nil {
		keep = b.Op("Sub", fill(b, x, 1), cast(b, r, x.DType))
	}
	if mode.Const == nil {
		keep = b.Op("Where", mode, keep, fill(b, x, 1))
	}
	return one(b.Op("Where", n.Outputs[1], b.Op("Div", dy, keep), fill(b, x, 0)))
}

func dropoutKernel(p *Prep) (Kernel, bool) {
	if p.In[0].DType != tensor.Float32 {
		return Kernel{}, false
	}
	n, root := p.Out[0].Elems(), seedOf(p.Node)
	k := root.Split(0)
	return Kernel{Over: 1, Step: func(step uint64) { k = root.Split(step) },
		Run: split(tasksFor(n), func(in, out []*tensor.Tensor, _ []byte, task int) {
			lo, hi := bounds(n, task)
			ratio := dropRatio(in)
			var mask []bool
			if len(out) > 1 && out[1] != nil {
				mask = out[1].Bools()[lo:hi]
			}
			dropChunk(out[0].Float32s()[lo:hi], mask, in[0].Float32s()[lo:hi], k, uint64(lo/4), ratio)
		})}, true
}

// dropChunk does a chunk that begins at draw 4 block.
func dropChunk(y []float32, mask []bool, x []float32, k rng.Key, block uint64, ratio float64) {
	if ratio == 0 {
		copy(y, x)
		for i := range mask {
			mask[i] = true
		}
		return
	}
	least := leastWord(ratio)
	for i := 0; i < len(x); i += 4 {
		w := k.Block(block)
		block++
		for j := i; j < min(i+4, len(x)); j++ {
			stays := uint64(w[j-i]) >= least
			if mask != nil {
				mask[j] = stays
			}
			if stays {
				y[j] = float32(float64(x[j]) / (1 - ratio))
			} else {
				y[j] = 0
			}
		}
	}
}
