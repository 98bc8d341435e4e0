package op

import (
	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// MixGrad(dY [P, m, Q], Index [m, t], Weight [m, t], Shape) is the transpose of an interpolation along one axis:
// dX[p, Index[i, t], q] gets Weight[i, t] dY[p, i, q], in the order of i and t. axis is negative.
var opMixGrad = Op{
	Domain: graph.Domain, Name: "MixGrad", Since: 1, MinIn: 4, MaxIn: 4, MinOut: 1, MaxOut: 1,
	Attrs: "axis", Defaults: []graph.Attr{graph.Int("axis", -1)},
	Infer: func(c *InferCall) error {
		err := firstErr(c.wantFloat(0), c.wantType(1, tensor.Int64), c.wantFloat(2), c.wantType(3, tensor.Int64), c.wantRank(1, 2), c.wantRank(2, 2), c.alikeShapes(1, 2))
		if err != nil {
			return err
		}
		s, err := c.shapeFrom(3)
		c.Set(0, c.In[0].DType, s)
		if err != nil || s == nil {
			return err
		}
		a := c.Node.Int("axis", -1)
		if a >= 0 || a < int64(-len(s)) || c.In[0].Shape != nil && len(c.In[0].Shape) != len(s) {
			return c.Errorf("axis %d, a shape of %d axes and dY %v do not fit", a, len(s), c.In[0].Shape)
		}
		return nil
	},
	Ref: func(c *Call) error {
		m, err := mixOf(c.Node, c.In[0].Shape, c.Out[0].Shape, c.In[1])
		if err != nil {
			return err
		}
		dx := make([]float64, c.Out[0].Elems())
		dy, w := floats(c.In[0]), floats(c.In[2])
		for p := 0; p < m.P; p++ {
			for i := 0; i < m.m*m.taps; i++ {
				d := dx[(p*m.n+int(c.In[1].Int64s()[i]))*m.Q:][:m.Q]
				for q, g := range dy[(p*m.m+i/m.taps)*m.Q:][:m.Q] {
					d[q] += float64(w[i] * g)
				}
			}
		}
		setFloats(c.Out[0], dx)
		return nil
	},
	Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
		dy, idx, w, shape := in[0], in[1], in[2], in[3]
		a := n.Int("axis", -1)
		var ones []int64
		for i := a + 1; i < 0; i++ {
			ones = append(ones, 1)
		}
		column := b.Op("Reshape", w, concat(b, b.Op("Shape", w), b.Ints(ones...)))
		all := b.Op("Mul", b.Unsqueeze(dy, a), column) // [P, m, t, Q]
		cut := func(lo, hi int64) *graph.Value { return b.Op("Slice", shape, b.Ints(lo), b.Ints(hi), b.Ints(0)) }
		rows := concat(b, cut(0, a), b.Op("Shape", reshape(b, idx, -1)))
		if a != -1 {
			rows = concat(b, rows, cut(a+1, 1<<30))
		}
		return b.Node(graph.Domain, "GatherGrad", 1, []*graph.Value{reshapeTo(b, all, rows), reshape(b, idx, -1), shape}, graph.Int("axis", a))
	},
	Prepare: mixGradKernel,
}

// mix is dY [P, m, Q] against dX [P, n, Q].
type mix struct{ P, m, n, Q, taps int }

func mixOf(node *graph.Node, dy, dx tensor.Shape, idx *tensor.Tensor) (mix, error) {
	at := wrap(node.Int("axis", -1), len(dx))
	m := mix{dx[:at].Elems(), dy[at], dx[at], dx[at+1:].Elems(), idx.Shape[1]}
	if !dy[:at].Equal(dx[:at]) || !dy[at+1:].Equal(dx[at+1:]) || idx.Shape[0] != m.m {
		return m, (&Call{}).errorf("dY %v, %v indices and dX %v do not fit", dy, idx.Shape, dx)
	}
	if idx.Data == nil {
		return m, nil
	}
	for _, v := range idx.Int64s() {
		if v < 0 || v >= int64(m.n) {
			return m, (&Call{}).errorf("index %d is not in an axis of %d", v, m.n)
		}
	}
	return m, nil
}

// mixGradKernel needs constant lists. Rows of Q columns are added by vector kernels, single columns by hand.
func mixGradKernel(p *Prep) (Kernel, bool) {
	if p.Out[0].DType != tensor.Float32 || p.In[2].DType != tensor.Float32 || p.In[1].Data == nil || p.In[2].Data == nil {
		return Kernel{}, false
	}
	m, err := mixOf(p.Node, p.In[0].Shape, p.Out[0].Shape, p.In[1])
	if err != nil {
		return Kernel{}, false
	}
	idx, w := p.In[1].Int64s(), p.In[2].Float32s()
	cols := m.Q
	if m.Q > 256 {
		cols = 256
	}
	parts := (m.Q + cols - 1) / max(cols, 1)
	per := max(1, chunk/max(1, m.m*m.taps*cols))
	n := m.P * parts
	return Kernel{Run: split((n+per-1)/per, func(in, out []*tensor.Tensor, _ []byte, task int) {
		var tmp [256]float32
		for t := task * per; t < min(n, (task+1)*per); t++ {
			p, lo := t/parts, t%parts*cols
			k := min(cols, m.Q-lo)
			dy, dx := in[0].Float32s()[p*m.m*m.Q+lo:], out[0].Float32s()[p*m.n*m.Q+lo:]
			for i := 0; i < m.n; i++ {
				clear(dx[i*m.Q : i*m.Q+k])
			}
			if m.Q == 1 {
				mixColumn(dx, dy[:m.m], idx, w, m.taps)
				continue
			}
			for i := range idx {
				if w[i] == 0 {
					continue
				}
				d := dx[int(idx[i])*m.Q:][:k]
				kernel.MapScalar(kernel.Mul, tmp[:k], dy[i/m.taps*m.Q:][:k], w[i])
				kernel.Map2(kernel.Add, d, d, tmp[:k])
			}
		}
	})}, true
}

func mixColumn(dx, dy []float32, idx []int64, w []float32, taps int) {
	for i, g := range dy {
		for t := i * taps; t < (i+1)*taps; t++ {
			dx[idx[t]] += float32(w[t] * g)
		}
	}
}
