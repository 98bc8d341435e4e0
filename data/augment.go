package data

// Axis letters: N rows, C channels, H W space.

import (
	"math"

	"muster/rng"
	"muster/tensor"
)

// Augment says how training images are varied. The zero value changes nothing.
type Augment struct {
	Shift  int     // each axis moves by a whole number of pixels in [-Shift, Shift]
	Rotate float64 // angle in [-Rotate, Rotate] degrees, at most 180
	Zoom   float64 // factor in [1-Zoom, 1+Zoom], below 1
	Noise  float64 // standard deviation of Gaussian noise as a share of hi-lo
}

// Apply varies x in place, [N,C,H,W] with values in [lo, hi]; rows are the row numbers of x
// in the set. What happens to a row depends on key and row number only, not on the batch or
// its order, so give each epoch a key of its own. Pixels from outside are lo.
func (a Augment) Apply(x *tensor.Tensor, rows []int, lo, hi float64, key rng.Key) {
	if a == (Augment{}) || len(rows) == 0 {
		return
	}
	c, h, w := x.Shape[1], x.Shape[2], x.Shape[3]
	from, px := make([]float32, h*w), x.Float32s()
	for i, row := range rows {
		st := key.Split(uint64(row)).Stream()
		m := a.draw(st)
		for k := range c {
			to := px[(i*c+k)*h*w : (i*c+k+1)*h*w]
			copy(from, to)
			m.warp(to, from, h, w, lo)
			if a.Noise > 0 {
				addNoise(to, a.Noise*(hi-lo), float32(lo), float32(hi), st)
			}
		}
	}
}

// motion maps a pixel of the result to its place in the source: rotate and zoom about the
// centre, then shift.
type motion struct {
	cos, sin float64 // divided by the zoom factor
	dy, dx   float64
}

// draw always takes the same number of values, so that a setting does not change the others.
func (a Augment) draw(st *rng.Stream) motion {
	dy, dx := st.Intn(2*a.Shift+1)-a.Shift, st.Intn(2*a.Shift+1)-a.Shift
	angle := float64((2*st.Float64()-1)*a.Rotate) * (math.Pi / 180)
	zoom := 1 + float64((2*st.Float64()-1)*a.Zoom)
	sin, cos := sincos(angle)
	return motion{cos / zoom, sin / zoom, float64(dy), float64(dx)}
}

// warp samples from with bilinear weights; products are rounded before they are added.
func (m motion) warp(to, from []float32, h, w int, fill float64) {
	cy, cx := float64(h-1)/2, float64(w-1)/2
	at := func(y, x int) float64 {
		if y < 0 || y >= h || x < 0 || x >= w {
			return fill
		}
		return float64(from[y*w+x])
	}
	for y := range h {
		for x := range w {
			v, u := float64(y)-cy-m.dy, float64(x)-cx-m.dx
			sy := float64(m.cos*v) + float64(m.sin*u) + cy
			sx := float64(m.cos*u) - float64(m.sin*v) + cx
			y0, x0 := math.Floor(sy), math.Floor(sx)
			fy, fx := sy-y0, sx-x0
			iy, ix := int(y0), int(x0)
			top := float64((1-fx)*at(iy, ix)) + float64(fx*at(iy, ix+1))
			low := float64((1-fx)*at(iy+1, ix)) + float64(fx*at(iy+1, ix+1))
			to[y*w+x] = float32(float64((1-fy)*top) + float64(fy*low))
		}
	}
}

// addNoise adds Gaussian noise of the given standard deviation and clamps to [lo, hi].
func addNoise(v []float32, sd float64, lo, hi float32, st *rng.Stream) {
	for i := range v {
		v[i] = clamp(float64(v[i])+float64(sd*st.Norm()), lo, hi)
	}
}

func clamp(v float64, lo, hi float32) float32 {
	return float32(min(max(v, float64(lo)), float64(hi)))
}

// sincos returns sine and cosine of |a| <= pi by their Taylor series (error below 1e-13),
// with the same bits on every machine; math.Sin does not promise that.
func sincos(a float64) (sin, cos float64) {
	z := float64(a * a)
	sin, cos = 1, 1
	for k := 26; k >= 2; k -= 2 {
		cos = 1 - float64(float64(z*cos)/float64(k*(k-1)))
		sin = 1 - float64(float64(z*sin)/float64(k*(k+1)))
	}
	return a * sin, cos
}
