package op

import "math"

// Axes: n input and m output positions of one axis.

// mixAxis says for every output index of an axis which input indices it mixes: output i is the sum over its taps
// of weight[i taps + t] x[index[i taps + t]]. outside marks outputs that take the extrapolation value (nil: none).
type mixAxis struct {
	taps    int
	index   []int
	weight  []float64
	outside []bool
}

// same reports that axis a is copied.
func (r *resizer) same(a int) bool {
	return r.in[a] == r.out[a] && math.Abs(r.scale[a]-1) < 1e-9 && (r.roi == nil || r.roi[a] == [2]float64{0, 1})
}

// axis computes the mix of axis a from the specification's formulas (ONNX operator Resize).
func (r *resizer) axis(a int) mixAxis {
	n, m := r.in[a], r.out[a]
	x := mixAxis{taps: r.taps(r.scale[a])}
	for i := 0; i < m; i++ {
		at := r.original(a, float64(i))
		if r.roi != nil {
			x.outside = append(x.outside, at < 0 || at > float64(n-1))
		}
		if r.nearest() {
			x.index, x.weight = append(x.index, min(max(r.round(at, r.scale[a] < 1), 0), n-1)), append(x.weight, 1)
		} else {
			r.mix(&x, at, n, r.scale[a])
		}
		if r.roi != nil && x.outside[i] { // nothing flows from there to the input
			clear(x.weight[i*x.taps:])
		}
	}
	return x
}

// original is the coordinate in the input of output coordinate x, in float32 as ONNX Runtime and PyTorch compute it:
// pixels half way between two stay there. The width that align_corners divides by may be fractional: so say ONNX's
// cases, against its text.
func (r *resizer) original(a int, i float64) float64 {
	x, scale, in := float32(i), float32(r.scale[a]), float32(r.in[a])
	width := scale * in
	if r.sizesGiven != nil && r.policy == "stretch" {
		width = float32(r.out[a])
	}
	switch r.transform {
	case "align_corners":
		if width == 1 {
			return 0
		}
		return float64(x * (in - 1) / (width - 1))
	case "asymmetric":
		return float64(x / scale)
	case "tf_crop_and_resize":
		lo, hi := float32(r.roi[a][0]), float32(r.roi[a][1])
		if r.out[a] == 1 {
			return float64(0.5 * (lo + hi) * (in - 1))
		}
		return float64(float32(lo*(in-1)) + float32(x*(hi-lo)*(in-1))/float32(r.out[a]-1))
	case "tf_half_pixel_for_nn":
		return float64((x + 0.5) / scale)
	case "half_pixel_symmetric":
		return float64(float32(in/2*(1-float32(r.out[a])/width)) + (x+0.5)/scale - 0.5)
	}
	if r.transform == "pytorch_half_pixel" && r.out[a] == 1 {
		return 0
	}
	return float64((x+0.5)/scale - 0.5)
}

// round is the nearest pixel.
func (r *resizer) round(x float64, shrinks bool) int {
	switch r.closest {
	case "floor":
		x = math.Floor(x)
	case "ceil":
		x = math.Ceil(x)
	case "round_prefer_ceil":
		x = math.Floor(x + 0.5)
	case "simple":
		if shrinks {
			x = math.Ceil(x)
		}
		x = math.Floor(x)
	default:
		x = math.Ceil(x - 0.5)
	}
	return int(min(max(x, -1), 1<<40))
}

// reach is how far from the middle the filter sees, in output pixels.
func (r *resizer) reach() float64 {
	if r.mode == "cubic" {
		return 2
	}
	return 1
}

// stretchOf is below 1 where the filter is widened against aliasing.
func (r *resizer) stretchOf(scale float64) float64 {
	if r.antialias {
		return min(scale, 1)
	}
	return 1
}

// taps is the number of inputs that an output mixes.
func (r *resizer) taps(scale float64) int {
	if r.nearest() {
		return 1
	}
	return -2 * int(math.Floor(-r.reach()/r.stretchOf(scale)))
}

// mix appends the taps around coordinate x of an axis of n.
func (r *resizer) mix(m *mixAxis, x float64, n int, scale float64) {
	s := r.stretchOf(scale)
	first := int(min(max(math.Floor(x), -1<<30), 1<<30)) + 1 - m.taps/2
	sum, start := 0.0, len(m.weight)
	for t := 0; t < m.taps; t++ {
		k := first + t
		w := r.filter((float64(k) - x) * s)
		if r.exclude && (k < 0 || k >= n) {
			w = 0
		}
		sum += w
		m.index, m.weight = append(m.index, min(max(k, 0), n-1)), append(m.weight, w)
	}
	if (r.exclude || r.antialias) && sum != 0 {
		for t := range m.weight[start:] {
			m.weight[start+t] /= sum
		}
	}
}

// filter is the triangle, or Keys' cubic convolution (IEEE Trans. ASSP 29, 1981, equation 4) with coefficient a.
func (r *resizer) filter(x float64) float64 {
	x = math.Abs(x)
	switch {
	case r.mode == "linear":
		return max(0, 1-x)
	case x <= 1:
		return float64(((r.a+2)*x-(r.a+3))*x*x) + 1
	case x < 2:
		return float64(((r.a*x-5*r.a)*x+8*r.a)*x) - float64(4*r.a)
	}
	return 0
}
