package op

import (
	"muster/graph"
	"muster/tensor"
)

// OneHot writes values[1] where the index names the position along a new axis,
// values[0] elsewhere. Negative indices count from the end; others outside are all off.
var opOneHot = Op{
	Name: "OneHot", Since: 9, MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: "axis",
	NoGrad: "its values are not differentiated",
	Infer: func(c *InferCall) error {
		if c.In[0].Shape == nil {
			c.Set(0, c.In[2].DType, nil)
			return nil
		}
		if n, ok := known(c.In[2].Shape); ok && c.In[2].Shape != nil && n != 2 {
			return c.Errorf("values has the shape %v, want 2", c.In[2].Shape)
		}
		rank := len(c.In[0].Shape) + 1
		at, err := axis(c.Node.Place(), c.Node.Int("axis", -1), rank)
		if err != nil {
			return err
		}
		depth, err := c.depth()
		if err != nil {
			return err
		}
		out := append([]graph.Dim{}, c.In[0].Shape[:at]...)
		out = append(append(out, depth), c.In[0].Shape[at:]...)
		c.Set(0, c.In[2].DType, out)
		return nil
	},
	Ref: func(c *Call) error {
		out := c.Out[0]
		at := wrap(c.Node.Int("axis", -1), len(out.Shape))
		P, n, Q := out.Shape[:at].Elems(), out.Shape[at], out.Shape[at+1:].Elems()
		from := make([]int, out.Elems())
		idx := indices(c.In[0])
		for p := 0; p < P; p++ {
			for q := 0; q < Q; q++ {
				i := idx[p*Q+q]
				if i < 0 {
					i += int64(n)
				}
				if i >= 0 && i < int64(n) {
					from[(p*n+int(i))*Q+q] = 1
				}
			}
		}
		copyElems(out, c.In[2], from)
		return nil
	},
	Prepare: oneHotKernel,
}

// indices are the elements of an index tensor of any numeric type.
func indices(t *tensor.Tensor) []int64 {
	if t.DType.IsFloat() {
		return truncate(floats(t))
	}
	return ints(t)
}

func (c *InferCall) depth() (graph.Dim, error) {
	if t := c.Const(1); t != nil {
		if t.Elems() != 1 {
			return graph.Dim{}, c.Errorf("depth is not a scalar")
		}
		d := indices(t)[0]
		if d < 0 || d > maxElems {
			return graph.Dim{}, c.Errorf("the depth is %d", d)
		}
		return graph.D(int(d)), nil
	}
	if l, ok := c.list(1); ok && len(l) == 1 {
		return l[0].dim(), nil
	}
	return graph.Dim{Size: -1}, nil
}

// oneHotKernel fills with the off value, then sets one element per index.
func oneHotKernel(p *Prep) (Kernel, bool) {
	s := p.Out[0].Shape
	d := p.In[0].DType
	if p.Out[0].DType != tensor.Float32 || d != tensor.Int64 && d != tensor.Int32 {
		return Kernel{}, false
	}
	P, n, Q := lanes(s, p.Node.Int("axis", -1), false)
	return Kernel{Run: rowKernel(P, n*Q, func(in, out []*tensor.Tensor, lo, hi int) {
		y, v := out[0].Float32s(), in[2].Float32s()
		if v[0] == 0 {
			clear(y[lo*n*Q : hi*n*Q])
		} else {
			fillBytes(out[0].Data[4*lo*n*Q:4*hi*n*Q], in[2].Data[:4])
		}
		for i := lo * Q; i < hi*Q; i++ {
			k := index(in[0], i)
			if k < 0 {
				k += int64(n)
			}
			if k >= 0 && k < int64(n) {
				y[(i/Q*n+int(k))*Q+i%Q] = v[1]
			}
		}
	})}, true
}
