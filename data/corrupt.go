package data

// Axis letters: N rows, C channels, H W space.

import (
	"fmt"
	"math"
	"strings"

	"muster/fault"
	"muster/internal/detmath"
	"muster/rng"
	"muster/tensor"
)

// Severities is the number of strengths of each corruption; 1 is the weakest.
const Severities = 5

// corruption is one row of the table. apply changes v, one image of c planes of h x w
// with values in [0, 1]; the caller scales and clamps.
type corruption struct {
	name    string
	amounts [Severities]float64
	apply   func(v []float64, c, h, w int, amount float64, st *rng.Stream)
}

// corruptions is sorted by name. The amounts are those of Hendrycks and Dietterich,
// "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR
// 2019, as in their programs: of ImageNet-C for brightness, contrast, gaussian-noise and
// impulse-noise, of CIFAR-10-C for gaussian-blur and pixelate, whose unit is the pixel of
// a small image. Two definitions differ: brightness is added to every channel
// instead of to V of HSV (the same for grey images), and nothing is rounded to 8 bits.
var corruptions = []corruption{
	{"brightness", [5]float64{.1, .2, .3, .4, .5}, brighten},
	{"contrast", [5]float64{.4, .3, .2, .1, .05}, flatten},
	{"gaussian-blur", [5]float64{.4, .6, .7, .8, 1}, blur},
	{"gaussian-noise", [5]float64{.08, .12, .18, .26, .38}, noise},
	{"impulse-noise", [5]float64{.03, .06, .09, .17, .27}, impulses},
	{"pixelate", [5]float64{.95, .9, .85, .75, .65}, pixelate},
}

// Corruptions returns the names, sorted.
func Corruptions() []string {
	out := make([]string, len(corruptions))
	for i, c := range corruptions {
		out[i] = c.name
	}
	return out
}

// Corrupt returns a corrupted copy of x, [N,C,H,W] with values in [lo, hi]. Severity is 1
// to 5. Row i of x draws from its own key, so corrupt all rows of a role at once and cut
// the result into batches afterwards. The bits are the same on every machine.
func Corrupt(x *tensor.Tensor, name string, severity int, lo, hi float32, key rng.Key) (*tensor.Tensor, error) {
	var cor *corruption
	for i := range corruptions {
		if corruptions[i].name == name {
			cor = &corruptions[i]
		}
	}
	place := fmt.Sprintf("corruption %s/%d", name, severity)
	if cor == nil {
		return nil, fault.New(fault.NotFound, place, "no such corruption").WithHint("there are %s", strings.Join(Corruptions(), ", "))
	}
	if severity < 1 || severity > Severities {
		return nil, fault.New(fault.Malformed, place, "severity %d", severity).WithHint("severities are 1 to %d", Severities)
	}
	if x.DType != tensor.Float32 || len(x.Shape) != 4 || x.Shape[1:].Elems() == 0 || !(hi > lo) || hi-lo != hi-lo {
		return nil, fault.New(fault.Mismatch, place, "%s %s in [%g, %g] is not a list of images", x.DType, x.Shape, lo, hi).
			WithHint("images are float32 N C H W with a declared range")
	}
	out := x.Clone()
	y, size := out.Float32s(), x.Shape[1:].Elems()
	key = key.Named(name).Split(uint64(severity))
	v, base, width := make([]float64, size), float64(lo), float64(hi)-float64(lo)
	for i := range x.Shape[0] {
		img := y[i*size : (i+1)*size]
		for j, p := range img {
			v[j] = (float64(p) - base) / width
		}
		cor.apply(v, x.Shape[1], x.Shape[2], x.Shape[3], cor.amounts[severity-1], key.Split(uint64(i)).Stream())
		for j := range img {
			img[j] = clamp(base+float64(v[j]*width), lo, hi)
		}
	}
	return out, nil
}

// brighten adds amount.
func brighten(v []float64, _, _, _ int, amount float64, _ *rng.Stream) {
	for i := range v {
		v[i] += amount
	}
}

// flatten moves each channel towards its mean: (v - mean) amount + mean.
func flatten(v []float64, c, h, w int, amount float64, _ *rng.Stream) {
	for k := range c {
		p := v[k*h*w : (k+1)*h*w]
		mean := 0.0
		for _, x := range p {
			mean += x
		}
		mean /= float64(len(p))
		for i := range p {
			p[i] = float64((p[i]-mean)*amount) + mean
		}
	}
}

// noise adds Gaussian noise with standard deviation amount.
func noise(v []float64, _, _, _ int, amount float64, st *rng.Stream) {
	for i := range v {
		v[i] += float64(amount * st.Norm())
	}
}

// impulses sets each value with probability amount to 0 or 1, both equally likely.
func impulses(v []float64, _, _, _ int, amount float64, st *rng.Stream) {
	for i := range v {
		hit, salt := st.Bernoulli(amount), st.Bernoulli(0.5)
		switch {
		case hit && salt:
			v[i] = 1
		case hit:
			v[i] = 0
		}
	}
}

// blur convolves with a Gaussian of standard deviation sigma pixels, cut at 4 sigma,
// normalised; pixels beyond the border repeat it.
func blur(v []float64, c, h, w int, sigma float64, _ *rng.Stream) {
	r := int(4*sigma + 0.5)
	kernel, total := make([]float64, 2*r+1), 0.0
	for i := range kernel {
		d := float64(i - r)
		kernel[i] = detmath.Exp(-float64(d*d) / (2 * float64(sigma*sigma)))
		total += kernel[i]
	}
	for i := range kernel {
		kernel[i] /= total
	}
	line := make([]float64, max(h, w))
	for k := range c {
		p := v[k*h*w : (k+1)*h*w]
		for y := range h {
			convolve(p[y*w:], 1, w, kernel, line)
		}
		for x := range w {
			convolve(p[x:], w, h, kernel, line)
		}
	}
}

// convolve replaces n elements, stride apart.
func convolve(p []float64, stride, n int, kernel, line []float64) {
	for i := range n {
		line[i] = p[i*stride]
	}
	r := len(kernel) / 2
	for i := range n {
		s := 0.0
		for j, k := range kernel {
			s += float64(k * line[min(max(i+j-r, 0), n-1)])
		}
		p[i*stride] = s
	}
}

// pixelate averages areas down to amount of the size and repeats them up again.
func pixelate(v []float64, c, h, w int, amount float64, _ *rng.Stream) {
	sh, sw := max(1, int(float64(h)*amount)), max(1, int(float64(w)*amount))
	small := make([]float64, sh*sw)
	for k := range c {
		p := v[k*h*w : (k+1)*h*w]
		for i := range small {
			small[i] = boxMean(p, h, w, i/sw, i%sw, sh, sw)
		}
		for i := range p {
			y, x := (2*(i/w)+1)*sh/(2*h), (2*(i%w)+1)*sw/(2*w)
			p[i] = small[y*sw+x]
		}
	}
}

// boxMean is the mean of the area of cell (y, x) of a grid of sh x sw over an h x w image.
func boxMean(p []float64, h, w, y, x, sh, sw int) float64 {
	y0, y1 := float64(y*h)/float64(sh), float64((y+1)*h)/float64(sh)
	x0, x1 := float64(x*w)/float64(sw), float64((x+1)*w)/float64(sw)
	s, area := 0.0, 0.0
	for iy := int(y0); iy < h && float64(iy) < y1; iy++ {
		for ix := int(x0); ix < w && float64(ix) < x1; ix++ {
			a := float64((math.Min(y1, float64(iy+1)) - math.Max(y0, float64(iy))) * (math.Min(x1, float64(ix+1)) - math.Max(x0, float64(ix))))
			s += float64(a * p[iy*w+ix])
			area += a
		}
	}
	return s / area
}
