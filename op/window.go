package op

import (
	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// Axes: N batch, C channels, then spatial axes; a kernel has K taps, an output O positions.

// slide is a window that slides along one axis: tap k of output position o reads
// input position o*stride + k*dilation - lo, which is padding outside [0, in).
type slide struct {
	taps, stride, dilation int
	lo, hi                 int // padding before and after
	in, out                int // -1: not known
}

// reach is how many positions one window spans.
func (s slide) reach() int { return (s.taps-1)*s.dilation + 1 }

// window is a slide per spatial axis.
type window []slide

// maxSlide bounds every attribute of a window, so that products of two of them fit.
const maxSlide = 1 << 28

// maxTaps bounds the taps of a window over all axes.
const maxTaps = 1 << 24

// windowOf reads kernel_shape (or kernel, if it is not nil), strides, dilations and pads for the
// spatial axes of a shape [N, C, ...].
func windowOf(n *graph.Node, kernel []int) (window, error) {
	if kernel == nil {
		for _, k := range n.Ints("kernel_shape") {
			kernel = append(kernel, bounded(k))
		}
	}
	rank := len(kernel)
	if ks := n.Ints("kernel_shape"); ks != nil {
		if len(ks) != rank {
			return nil, fault.New(fault.Mismatch, n.Place(), "kernel_shape %v for %d spatial axes", ks, rank)
		}
		for i, k := range ks {
			if k < 1 { // -1 means "not known" below
				return nil, fault.New(fault.Mismatch, n.Place(), "kernel_shape %v", ks)
			}
			if kernel[i] >= 0 && k != int64(kernel[i]) {
				return nil, fault.New(fault.Mismatch, n.Place(), "kernel_shape %v, but the weights have %v", ks, kernel)
			}
			kernel[i] = bounded(k)
		}
	}
	w := make(window, rank)
	for i := range w {
		w[i] = slide{taps: kernel[i], stride: 1, dilation: 1, in: -1, out: -1}
		if kernel[i] > maxSlide || kernel[i] == 0 || kernel[i] < -1 {
			return nil, fault.New(fault.Mismatch, n.Place(), "a kernel of %v", kernel)
		}
	}
	volume := 1
	for _, k := range kernel {
		if volume *= max(k, 1); volume > maxTaps {
			return nil, fault.New(fault.Unsupported, n.Place(), "a kernel of %v", kernel)
		}
	}
	return w, w.attributes(n)
}

// attributes reads strides, dilations and pads.
func (w window) attributes(n *graph.Node) error {
	for _, a := range []struct {
		name string
		low  int64
		size int
		set  func(i, v int)
	}{
		{"strides", 1, len(w), func(i, v int) { w[i].stride = v }},
		{"dilations", 1, len(w), func(i, v int) { w[i].dilation = v }},
		{"pads", 0, 2 * len(w), func(i, v int) {
			if i < len(w) {
				w[i].lo = v
			} else {
				w[i-len(w)].hi = v
			}
		}},
	} {
		list := n.Ints(a.name)
		if list == nil {
			continue
		}
		if len(list) != a.size {
			return fault.New(fault.Mismatch, n.Place(), "%s %v for %d spatial axes", a.name, list, len(w))
		}
		for i, v := range list {
			if v < a.low || v > maxSlide {
				return fault.New(fault.Unsupported, n.Place(), "%s %v is not supported", a.name, list)
			}
			a.set(i, int(v))
		}
	}
	for _, s := range w {
		if s.taps > 0 && s.taps*s.dilation > maxSlide {
			return fault.New(fault.Unsupported, n.Place(), "a window of %d taps %d apart", s.taps, s.dilation)
		}
	}
	return nil
}

// over resolves the window over an input of these spatial sizes (-1: not known): auto_pad becomes pads, sizes of the output are set.
func (w window) over(n *graph.Node, spatial []int) error {
	auto, ceil := n.Str("auto_pad", "NOTSET"), n.Int("ceil_mode", 0) != 0
	for i := range w {
		s := &w[i]
		s.in = spatial[i]
		switch auto {
		case "NOTSET", "":
		case "VALID":
			s.lo, s.hi, ceil = 0, 0, false
		case "SAME_UPPER", "SAME_LOWER":
			s.same(auto == "SAME_UPPER")
			continue
		default:
			return fault.New(fault.Malformed, n.Place(), "auto_pad %q", auto)
		}
		if s.in < 0 || s.taps < 0 {
			continue
		}
		room := s.in + s.lo + s.hi - s.reach()
		if room < 0 {
			return fault.New(fault.Mismatch, n.Place(), "a window of %d positions does not fit into %d (axis %d)", s.reach(), s.in+s.lo+s.hi, i+2)
		}
		s.out = room/s.stride + 1
		if ceil && room%s.stride != 0 && s.out*s.stride < s.in+s.lo {
			s.out++ // one more window that hangs over, if it starts inside
		}
	}
	return nil
}

// same pads so that the output has ceil(in / stride) positions; an odd rest goes to the end if upper is set.
func (s *slide) same(upper bool) {
	if s.in < 0 || s.taps < 0 {
		return
	}
	s.out = (s.in + s.stride - 1) / s.stride
	total := max(0, (s.out-1)*s.stride+s.reach()-s.in)
	s.lo = total / 2
	if !upper {
		s.lo = total - total/2
	}
	s.hi = total - s.lo
}

// outDims are the spatial dimensions of the output; one that stays as it is keeps its name.
func (w window) outDims(n *graph.Node, in []graph.Dim) []graph.Dim {
	auto := n.Str("auto_pad", "NOTSET")
	out := make([]graph.Dim, len(w))
	for i, s := range w {
		out[i] = graph.Dim{Size: s.out}
		padded := auto == "SAME_UPPER" || auto == "SAME_LOWER" || auto != "VALID" && s.taps > 0 && s.lo+s.hi+1 == s.reach()
		if s.out < 0 && s.stride == 1 && padded {
			out[i] = in[i]
		}
	}
	return out
}

// sizes are the known sizes of dims, -1 for the others.
func sizes(d []graph.Dim) []int {
	s := make([]int, len(d))
	for i := range d {
		s[i] = d[i].Size
		if !d[i].Known() {
			s[i] = -1
		}
	}
	return s
}

// volumes are the number of positions of the input, of the output, and the number of taps.
func (w window) volumes() (in, out, taps int) {
	in, out, taps = 1, 1, 1
	for _, s := range w {
		in, out, taps = in*s.in, out*s.out, taps*s.taps
	}
	return in, out, taps
}

// read sets dst[k] to the input position (row-major) that tap k of output position o reads, -1 for padding.
func (w window) read(o int, dst []int) {
	var at [8]int // position of tap 0 per axis
	for a := len(w) - 1; a >= 0; a-- {
		at[a] = o%w[a].out*w[a].stride - w[a].lo
		o /= w[a].out
	}
	for k := range dst {
		pos, scale, rest, inside := 0, 1, k, true
		for a := len(w) - 1; a >= 0; a-- {
			p := at[a] + rest%w[a].taps*w[a].dilation
			rest /= w[a].taps
			inside = inside && p >= 0 && p < w[a].in
			pos += p * scale
			scale *= w[a].in
		}
		if dst[k] = pos; !inside {
			dst[k] = -1
		}
	}
}

// padded counts the taps of output position o that lie in the input or in its padding, which is
// what count_include_pad divides by: a window may hang over the padding in ceil_mode.
func (w window) padded(o int) int {
	n := 1
	for a := len(w) - 1; a >= 0; a-- {
		s := w[a]
		first := o%s.out*s.stride - s.lo
		o /= s.out
		n *= min(s.taps, (s.in+s.hi-first+s.dilation-1)/s.dilation)
	}
	return n
}

// maxSpatial bounds the spatial axes of convolutions and pools.
const maxSpatial = 8

// spatialRank checks that input 0 is [N, C, ...] with 1 to 8 spatial axes.
func (c *InferCall) spatialRank() error {
	if x := c.In[0].Shape; x != nil && (len(x) < 3 || len(x) > 2+maxSpatial) {
		return c.Errorf("input 0 is %v, want [N, C, ...] with 1 to %d spatial axes", x, maxSpatial)
	}
	return nil
}

// attrs are the window as attributes with explicit pads.
func (w window) attrs() []graph.Attr {
	list := func(name string, f func(s slide) int) graph.Attr {
		v := make([]int64, len(w))
		for i, s := range w {
			v[i] = int64(f(s))
		}
		return graph.Ints(name, v...)
	}
	pads := list("pads", func(s slide) int { return s.lo })
	pads.Ints = append(pads.Ints, list("", func(s slide) int { return s.hi }).Ints...)
	return []graph.Attr{list("kernel_shape", func(s slide) int { return s.taps }), list("strides", func(s slide) int { return s.stride }),
		list("dilations", func(s slide) int { return s.dilation }), pads}
}

// spatial are the sizes of a tensor after N and C.
func spatial(s tensor.Shape) []int { return s[2:] }
