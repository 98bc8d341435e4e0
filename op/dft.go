package op

import (
	"muster/graph"
	"muster/tensor"
)

// DFT is the discrete Fourier transform along an axis of [..., 1 or 2], real or complex numbers. The axis is an
// attribute in opset 17 and an input since 20.
func dft(since int) Op {
	o := Op{
		Name: "DFT", Since: since, MinIn: 1, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: "inverse onesided", Dynamic: true,
		Infer: dftInfer, Ref: dftRef, Grad: dftGrad,
		Prepare: func(p *Prep) (Kernel, bool) {
			for i := 1; i < len(p.In); i++ {
				if p.In[i] != nil && p.In[i].Data == nil {
					return Kernel{}, false
				}
			}
			d, err := dftOf(p.Node, p.In)
			if err != nil || p.In[0].DType != tensor.Float32 {
				return Kernel{}, false
			}
			return d.rowTransform().kernel(d.P * d.Q), true
		},
	}
	if since < 20 {
		o.MaxIn, o.Attrs = 2, "axis inverse onesided"
	}
	return o
}

var (
	opDFT17 = dft(17)
	opDFT20 = dft(20)
)

// dftCall is a DFT with its shapes: input [P, n, Q, channels].
type dftCall struct {
	axis, P, n, Q, channels int
	f                       *transform
	shape                   tensor.Shape // of the result
}

// dftAxis is the axis of a node; ok is false if it is not known yet.
func dftAxis(n *graph.Node, axisInput *tensor.Tensor, rank int) (at int, ok bool, err error) {
	a := int64(-2)
	switch {
	case n.Attr("axis") != nil:
		a = n.Int("axis", 1)
	case n.In(2) != nil && axisInput == nil:
		return 0, false, nil
	case n.In(2) != nil:
		if axisInput.Elems() != 1 {
			return 0, false, (&Call{}).errorf("axis has the shape %s", axisInput.Shape)
		}
		a = index(axisInput, 0)
	}
	at, err = axis(n.Place(), a, rank)
	if err == nil && at == rank-1 {
		err = (&Call{}).errorf("axis %d is that of real and imaginary parts", a)
	}
	return at, true, err
}

// dftLength is L: what the input says, else the length of the axis, or of the signal that has half the spectrum n.
func dftLength(n *graph.Node, t *tensor.Tensor, size int) (int, error) {
	if t != nil {
		return countOf1(t, 1)
	}
	if n.Int("inverse", 0) != 0 && n.Int("onesided", 0) != 0 {
		return max(2*(size-1), 0), nil
	}
	return size, nil
}

func dftOf(n *graph.Node, in []*tensor.Tensor) (d dftCall, err error) {
	at := func(i int) *tensor.Tensor {
		if i < len(in) {
			return in[i]
		}
		return nil
	}
	s := in[0].Shape
	if d.axis, _, err = dftAxis(n, at(2), len(s)); err != nil {
		return d, err
	}
	d.P, d.n, d.Q, d.channels = s[:d.axis].Elems(), s[d.axis], s[d.axis+1:len(s)-1].Elems(), s[len(s)-1]
	L, err := dftLength(n, at(1), d.n)
	if err != nil {
		return d, err
	}
	if L == 0 {
		return d, (&Call{}).errorf("the length is 0")
	}
	d.f = newTransform(L, n.Int("inverse", 0) != 0, n.Int("onesided", 0) != 0)
	d.shape = s.Clone()
	d.shape[d.axis], d.shape[len(s)-1] = d.f.outs()
	return d, nil
}

func (d dftCall) rowTransform() rowTransform {
	given := d.f.given(d.n)
	outs, wide := d.f.outs()
	return rowTransform{f: d.f, load: func(in []*tensor.Tensor, r int, x []complex128) {
		for t := 0; t < given; t++ {
			at := ((r/d.Q*d.n+t)*d.Q + r%d.Q) * d.channels
			x[t] = complex(in[0].Float(at), 0)
			if d.channels == 2 {
				x[t] = complex(in[0].Float(at), in[0].Float(at+1))
			}
		}
		d.f.fill(x, given)
	}, place: func(r, k int) int { return ((r/d.Q*outs+k)*d.Q + r%d.Q) * wide }}
}

func dftInfer(c *InferCall) error {
	if err := firstErr(c.wantFloat(0), c.wantIndex(1), c.wantIndex(2)); err != nil {
		return err
	}
	s := c.In[0].Shape
	if s == nil {
		c.Set(0, c.In[0].DType, nil)
		return nil
	}
	rank := len(s)
	if rank < 2 || s[rank-1].Known() && s[rank-1].Size != 1 && s[rank-1].Size != 2 {
		return c.Errorf("input 0 has the shape %v, want [..., 1 or 2]", s)
	}
	half, inverse := c.Node.Int("onesided", 0) != 0, c.Node.Int("inverse", 0) != 0
	at, ok, err := dftAxis(c.Node, c.Const(2), rank)
	if err != nil {
		return err
	}
	out := append([]graph.Dim{}, s...)
	if !ok {
		out = unknown(rank)
	}
	out[rank-1] = graph.D(2)
	if half && inverse {
		out[rank-1] = graph.D(1)
	}
	if ok {
		if out[at], err = c.dftSize(s[at], half, inverse); err != nil {
			return err
		}
	}
	c.Set(0, c.In[0].DType, out)
	return nil
}

// dftSize is the size of the transformed axis.
func (c *InferCall) dftSize(n graph.Dim, half, inverse bool) (graph.Dim, error) {
	if c.in(1) != nil && c.Const(1) == nil || c.in(1) == nil && !n.Known() {
		if c.in(1) == nil && !half {
			return n, nil
		}
		return graph.Dim{Size: -1}, nil
	}
	L, err := dftLength(c.Node, c.Const(1), n.Size)
	if err != nil {
		return n, c.Errorf("%v", err)
	}
	if L == 0 {
		return n, c.Errorf("the length is 0")
	}
	if half && !inverse {
		L = L/2 + 1
	}
	return graph.D(L), nil
}

func dftRef(c *Call) error {
	d, err := dftOf(c.Node, c.In)
	if err != nil {
		return err
	}
	c.resize(0, d.shape...)
	d.rowTransform().ref(c, d.P*d.Q)
	return nil
}

// dftGrad: the transpose of the transform is the opposite one without or with the division by L. The half
// spectrum of a real result counts twice, except at 0 and L/2.
func dftGrad(c *GradCall) []*graph.Value {
	b, n, x := c.B, c.Node, c.In[0]
	var lt, at *tensor.Tensor
	if v := n.In(1); v != nil {
		lt = v.Const
	}
	if v := n.In(2); v != nil {
		at = v.Const
	}
	if x.Shape == nil {
		c.Fail("the rank is not known")
		return one(nil)
	}
	rank := len(x.Shape)
	a, ok, err := dftAxis(n, at, rank)
	if err != nil || !ok || !x.Shape[a].Known() || n.In(1) != nil && lt == nil || !x.Shape[rank-1].Known() {
		c.Fail("the length or the axis is not known")
		return one(nil)
	}
	L, err := dftLength(n, lt, x.Shape[a].Size)
	if err != nil {
		c.Fail("%v", err)
		return one(nil)
	}
	half, inverse := n.Int("onesided", 0) != 0, n.Int("inverse", 0) != 0
	flags := []graph.Attr{graph.Int("inverse", 1-boolInt(inverse)), graph.Int("onesided", boolInt(half && inverse))}
	var dx *graph.Value
	if b.Version() >= 20 {
		dx = b.OpA("DFT", flags, c.DOut[0], b.Init("length", tensor.OfInt64([]int64{int64(L)})), b.Init("axis", tensor.OfInt64([]int64{int64(a)})))
	} else {
		dx = b.OpA("DFT", append(flags, graph.Int("axis", int64(a))), c.DOut[0], b.Init("length", tensor.OfInt64([]int64{int64(L)})))
	}
	m, got := dftWeights(x, L, rank-a, half, inverse)
	dx = b.Op("Mul", dx, b.Init("scale", m))
	return one(dftCrop(b, dx, a, rank, got, x.Shape[a].Size, x.Shape[rank-1].Size))
}

func boolInt(v bool) int64 {
	if v {
		return 1
	}
	return 0
}

// dftWeights scales the transposed transform, of which the axis has got elements and dims axes follow it and itself.
func dftWeights(x *graph.Value, L, dims int, half, inverse bool) (t *tensor.Tensor, got int) {
	if !half || !inverse {
		t = tensor.New(x.DType)
		s := float64(L)
		if inverse {
			s = 1 / s
		}
		setFloats(t, []float64{s})
		return t, L
	}
	got = L/2 + 1
	shape, v := make([]int, dims), make([]float64, got)
	for i := range shape {
		shape[i] = 1
	}
	shape[0] = got
	for i := range v {
		v[i] = 2 / float64(L)
		if i == 0 || 2*i == L {
			v[i] /= 2
		}
	}
	t = tensor.New(x.DType, shape...)
	setFloats(t, v)
	return t, got
}

// dftCrop cuts or pads axis a from got to n elements, and keeps the real parts if the input has only those.
func dftCrop(b *graph.Builder, dx *graph.Value, a, rank, got, n, channels int) *graph.Value {
	if got > n {
		dx = b.Op("Slice", dx, b.Ints(0), b.Ints(int64(n)), b.Ints(int64(a)))
	}
	if got < n {
		pads := make([]int64, 2*rank)
		pads[rank+a] = int64(n - got)
		dx = b.Op("Pad", dx, b.Ints(pads...))
	}
	if channels == 1 {
		dx = b.Op("Slice", dx, b.Ints(0), b.Ints(1), b.Ints(int64(rank-1)))
	}
	return dx
}
