package op

import (
	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// ConvTranspose is the adjoint of Conv: Y[n, m, i*stride + k*dilation - pad] += X[n, c, i] W[c, m, k].
var opConvTranspose = Op{
	Name: "ConvTranspose", Since: 1, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: convAttrs + " output_padding output_shape",
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.sameTypes()); err != nil {
			return err
		}
		s, err := c.transposeDims()
		c.Set(0, c.In[0].DType, s)
		return err
	},
	Ref: func(c *Call) error {
		w, err := transposeWindow(c.Node, spatial(c.In[0].Shape), spatial(c.In[1].Shape))
		if err != nil {
			return err
		}
		y := spreadOut(floats(c.In[0]), floats(c.In[1]), c.In[0].Shape, c.In[1].Shape, w, int(c.Node.Int("group", 1)))
		if t := c.in(2); t != nil {
			addChannels(y, floats(t), c.Out[0].Shape[2:].Elems())
		}
		setFloats(c.Out[0], y)
		return nil
	},
	Grad:    convTransposeGrad,
	Prepare: func(p *Prep) (Kernel, bool) { return convKernel(p, true) },
	Flops: func(in, out []*graph.Value) int64 {
		w, _ := in[1].Static()
		x, _ := in[0].Static()
		if len(w) == 0 || len(x) == 0 || w[0] == 0 {
			return 0
		}
		return 2 * int64(x.Elems()) * int64(w.Elems()/w[0])
	},
}

func (c *InferCall) transposeDims() ([]graph.Dim, error) {
	xs, ws := c.In[0].Shape, c.In[1].Shape
	if xs == nil || ws == nil {
		return nil, nil
	}
	if len(xs) < 3 || len(xs) > 2+maxSpatial || len(xs) != len(ws) {
		return nil, c.Errorf("X is %v, W is %v", xs, ws)
	}
	g := c.Node.Int("group", 1)
	if g < 1 || g > maxSlide || xs[1].Known() && xs[1].Size%int(g) != 0 {
		return nil, c.Errorf("%v in %d groups", xs, g)
	}
	if a, b := xs[1], ws[0]; a.Known() && b.Known() && a.Size != b.Size {
		return nil, c.Errorf("X has %d channels, W wants %d", a.Size, b.Size)
	}
	m := graph.Dim{Size: -1}
	if ws[1].Known() {
		m = graph.D(ws[1].Size * int(g))
	}
	if v := c.in(2); v != nil && v.Shape != nil && (len(v.Shape) != 1 || v.Shape[0].Known() && m.Known() && v.Shape[0].Size != m.Size) {
		return nil, c.Errorf("a bias of %v for %v channels", v.Shape, m)
	}
	win, err := transposeWindow(c.Node, sizes(xs[2:]), sizes(ws[2:]))
	if err != nil {
		return nil, err
	}
	out := []graph.Dim{xs[0], m}
	for i, s := range win {
		d := graph.Dim{Size: s.in}
		if s.in < 0 && s.stride == 1 && s.taps > 0 && s.lo+s.hi == s.reach()-1 && c.Node.Ints("output_padding") == nil && c.Node.Ints("output_shape") == nil {
			d = xs[2+i]
		}
		out = append(out, d)
	}
	return out, nil
}

// transposeWindow is the window that slides over Y: its in is the size of Y, its out that of X.
func transposeWindow(n *graph.Node, x, kernel []int) (window, error) {
	win, err := windowOf(n, append([]int{}, kernel...))
	if err != nil {
		return nil, err
	}
	extra, shape, auto := n.Ints("output_padding"), n.Ints("output_shape"), n.Str("auto_pad", "NOTSET")
	if len(shape) == len(win)+2 {
		shape = shape[2:]
	}
	if extra != nil && len(extra) != len(win) || shape != nil && len(shape) != len(win) {
		return nil, fault.New(fault.Mismatch, n.Place(), "output_padding %v and output_shape %v for %d spatial axes", extra, shape, len(win))
	}
	for i := range win {
		s := &win[i]
		s.out = x[i]
		more, want := 0, -1
		if extra != nil {
			more = bounded(extra[i])
		}
		if shape != nil {
			want = bounded(shape[i])
		}
		if more < 0 || more > maxSlide || shape != nil && want < 0 {
			return nil, fault.New(fault.Mismatch, n.Place(), "output_padding %v, output_shape %v", extra, shape)
		}
		if err := s.transposed(n, auto, more, want); err != nil {
			return nil, err
		}
	}
	return win, nil
}

// transposed sets the size of Y and the padding; want is the size that output_shape asks for, -1 for none.
func (s *slide) transposed(n *graph.Node, auto string, more, want int) error {
	if want >= 0 {
		s.in = want
	}
	if s.out < 0 || s.taps < 0 {
		return nil
	}
	full := (s.out-1)*s.stride + more + s.reach()
	switch auto {
	case "NOTSET", "":
	case "VALID":
		s.lo, s.hi = 0, 0
	case "SAME_UPPER", "SAME_LOWER":
		if want < 0 {
			want = s.out * s.stride
		}
	default:
		return fault.New(fault.Malformed, n.Place(), "auto_pad %q", auto)
	}
	if want >= 0 {
		total := max(0, full-want)
		s.lo = total - total/2
		if auto == "SAME_UPPER" {
			s.lo = total / 2
		}
		s.hi, s.in = total-s.lo, want
		return nil
	}
	if s.in = full - s.lo - s.hi; s.in < 0 || s.out == 0 {
		return fault.New(fault.Mismatch, n.Place(), "an output of %d positions", s.in)
	}
	return nil
}

// spreadOut is the reference: y [N, M, O], in float64.
func spreadOut(x, w []float64, xs, ws tensor.Shape, win window, groups int) []float64 {
	out, in, taps := win.volumes() // of Y, of X
	N, C, D := xs[0], xs[1], ws[1] // D output channels per group
	M := D * groups
	y := make([]float64, N*M*out)
	at := make([]int, taps)
	for i := 0; i < in; i++ {
		win.read(i, at)
		for n := 0; n < N; n++ {
			for c := 0; c < C; c++ {
				v, first := x[(n*C+c)*in+i], c/(C/groups)*D
				for d := 0; d < D; d++ {
					yc, wc := y[(n*M+first+d)*out:][:out], w[(c*D+d)*taps:][:taps]
					for k, o := range at {
						if o >= 0 {
							yc[o] += float64(v * wc[k])
						}
					}
				}
			}
		}
	}
	return y
}

// convTransposeGrad: dX is the Conv of dY by W, cut to the size of X; dW the correlation of dY and X.
func convTransposeGrad(c *GradCall) []*graph.Value {
	d := make([]*graph.Value, len(c.In))
	if c.In[0].Shape == nil || c.In[1].Shape == nil {
		c.Fail("the rank of an input is not known")
		return d
	}
	win, err := transposeWindow(c.Node, sizes(c.In[0].Shape[2:]), sizes(c.In[1].Shape[2:]))
	if err != nil {
		c.Err = err
		return d
	}
	for i, s := range win {
		if s.out < 0 || s.taps < 0 {
			c.Fail("it is not known whether the last window ends at the border of axis %d", i+2)
			return d
		}
	}
	b, group, rank := c.B, c.Node.Int("group", 1), len(c.In[0].Shape)
	if c.Need[0] {
		d[0] = b.OpA("Conv", append(win.attrs(), graph.Int("group", group)), c.DOut[0], c.In[1])
		from, to, cut := make([]int64, len(win)), make([]int64, len(win)), false
		for i, s := range win {
			to[i] = int64(s.out)
			cut = cut || (s.in+s.lo+s.hi-s.reach())/s.stride+1 != s.out
		}
		if cut {
			d[0] = b.Op("Slice", d[0], b.Ints(from...), b.Ints(to...), b.Ints(spatialAxes(rank)...))
		}
	}
	if c.Need[1] {
		d[1] = convGradWeight(b, c.DOut[0], c.In[0], win, group)
	}
	if len(d) > 2 && c.Need[2] {
		d[2] = sumChannels(b, c.DOut[0], rank)
	}
	return d
}
