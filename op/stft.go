package op

import (
	"muster/graph"
	"muster/tensor"
)

// STFT(signal [B, T, 1 or 2], frame_step, window, frame_length) is the DFT of every frame of the signal
// times the window: [B, frames, L or L/2 + 1, 2]. Its body is the definition: gather, multiply, transform.
var opSTFT = Op{
	Name: "STFT", Since: 17, MinIn: 2, MaxIn: 4, MinOut: 1, MaxOut: 1, Attrs: "onesided", Dynamic: true,
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.wantIndex(1), c.wantIndex(3), c.wantRank(0, 3), c.wantRank(2, 1)); err != nil {
			return err
		}
		if w := c.in(2); w != nil && w.DType != c.In[0].DType {
			return c.Errorf("the window is %s, the signal %s", w.DType, c.In[0].DType)
		}
		if c.In[0].Shape == nil {
			c.Set(0, c.In[0].DType, append(unknown(3), graph.D(2)))
			return nil
		}
		B, T, ch := c.In[0].Shape[0], c.In[0].Shape[1], c.In[0].Shape[2]
		if ch.Known() && ch.Size != 1 && ch.Size != 2 {
			return c.Errorf("the signal has the shape %v, want [B, T, 1 or 2]", c.In[0].Shape)
		}
		out := []graph.Dim{B, {Size: -1}, {Size: -1}, graph.D(2)}
		step, length := c.Const(1), c.Const(3)
		w := graph.Dim{Size: -1}
		if v := c.in(2); v != nil && v.Shape != nil {
			w = v.Shape[0]
		}
		if step != nil && T.Known() && (c.in(3) == nil || length != nil) && (c.in(2) == nil || w.Known()) {
			f, err := stftFrames(c.Node, T.Size, step, length, c.in(2) != nil, w.Size)
			if err != nil {
				return c.Errorf("%v", err)
			}
			out[1], out[2] = graph.D(f.frames), graph.D(f.bins)
		}
		c.Set(0, c.In[0].DType, out)
		return nil
	},
	Ref: func(c *Call) error {
		s, f, err := stftOf(c.Node, c.In)
		if err != nil {
			return err
		}
		c.resize(0, s[0], f.frames, f.bins, 2)
		stftRows(s, f).ref(c, s[0]*f.frames)
		return nil
	},
	Body: stftBody,
	Prepare: func(p *Prep) (Kernel, bool) {
		for _, i := range []int{1, 3} {
			if t := p.in(i); t != nil && t.Data == nil {
				return Kernel{}, false
			}
		}
		s, f, err := stftOf(p.Node, p.In)
		if err != nil || p.In[0].DType != tensor.Float32 {
			return Kernel{}, false
		}
		return stftRows(s, f).kernel(s[0] * f.frames), true
	},
}

// framing is how a signal is cut: frames of L numbers, step apart.
type framing struct {
	L, step, frames, bins int
	half                  bool
}

func stftFrames(n *graph.Node, T int, step, length *tensor.Tensor, windowed bool, window int) (f framing, err error) {
	if f.step, err = countOf1(step, 1); err != nil {
		return f, err
	}
	f.L = T
	if windowed {
		f.L = window
	}
	if length != nil {
		if f.L, err = countOf1(length, 3); err != nil {
			return f, err
		}
	}
	if f.step == 0 || f.L == 0 || f.L > T || windowed && window != f.L {
		return f, (&Call{}).errorf("frames of %d numbers, %d apart, with a window of %d, of a signal of %d", f.L, f.step, window, T)
	}
	f.half = n.Int("onesided", 1) != 0
	f.frames, f.bins = (T-f.L)/f.step+1, f.L
	if f.half {
		f.bins = f.L/2 + 1
	}
	return f, nil
}

func stftOf(n *graph.Node, in []*tensor.Tensor) (tensor.Shape, framing, error) {
	s := in[0].Shape
	var length *tensor.Tensor
	if len(in) > 3 {
		length = in[3]
	}
	window, windowed := 0, len(in) > 2 && in[2] != nil
	if windowed {
		window = in[2].Shape[0]
	}
	f, err := stftFrames(n, s[1], in[1], length, windowed, window)
	return s, f, err
}

// stftRows: row r is frame r % frames of signal r / frames.
func stftRows(s tensor.Shape, f framing) rowTransform {
	T, ch := s[1], s[2]
	return rowTransform{f: newTransform(f.L, false, f.half), load: func(in []*tensor.Tensor, r int, x []complex128) {
		for t := range x[:f.L] {
			at, w := (r/f.frames*T+r%f.frames*f.step+t)*ch, 1.0
			if len(in) > 2 && in[2] != nil {
				w = in[2].Float(t)
			}
			x[t] = complex(in[0].Float(at)*w, 0)
			if ch == 2 {
				x[t] = complex(real(x[t]), in[0].Float(at+1)*w)
			}
		}
	}, place: func(r, k int) int { return (r*f.bins + k) * 2 }}
}

func stftBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	num := func(v int64) *graph.Value { return b.Init("const", tensor.OfInt64([]int64{v})) }
	scalar := func(v *graph.Value) *graph.Value { return b.Op("Reshape", cast(b, v, tensor.Int64), b.Ints()) }
	x, window, length := in[0], optional(in, 2), optional(in, 3)
	T := b.Op("Gather", b.Op("Shape", x), num(1))
	L := T
	switch {
	case length != nil:
		L = scalar(length)
	case window != nil:
		L = b.Op("Gather", b.Op("Shape", window), num(0))
	}
	starts := b.Op("Range", num(0), b.Op("Add", b.Op("Sub", T, L), num(1)), scalar(in[1]))
	at := b.Op("Add", b.Unsqueeze(starts, 1), b.Unsqueeze(b.Op("Range", num(0), L, num(1)), 0))
	frames := b.OpA("Gather", []graph.Attr{graph.Int("axis", 1)}, x, at)
	if window != nil {
		frames = b.Op("Mul", frames, b.Unsqueeze(window, 1))
	}
	half := []graph.Attr{graph.Int("onesided", n.Int("onesided", 1))}
	if b.Version() >= 20 {
		return one(b.OpA("DFT", half, frames, nil, num(2)))
	}
	return one(b.OpA("DFT", append(half, graph.Int("axis", 2)), frames))
}
