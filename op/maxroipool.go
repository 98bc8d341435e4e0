package op

import (
	"math"

	"muster/graph"
)

// MaxRoiPool takes the largest element of every bin of boxes [R, 5] (batch index, x1, y1, x2, y2 in input pixels
// times spatial_scale, rounded, ends included): Girshick, arXiv 1504.08083. An empty bin is 0. Bins overlap where
// their edges are not whole.
var opMaxRoiPool = Op{
	Name: "MaxRoiPool", Since: 1, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1, Attrs: "pooled_shape spatial_scale",
	NoGrad: "RoiAlign is the form that is trained",
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.sameTypes(), c.wantRank(0, 4), c.wantRank(1, 2)); err != nil {
			return err
		}
		p := c.Node.Ints("pooled_shape")
		if len(p) != 2 || p[0] < 1 || p[1] < 1 || p[0] > 1<<15 || p[1] > 1<<15 {
			return c.Errorf("pooled_shape is %v", p)
		}
		out := unknown(4)
		out[2], out[3] = graph.D(int(p[0])), graph.D(int(p[1]))
		if s := c.In[0].Shape; s != nil {
			out[1] = s[1]
		}
		if s := c.In[1].Shape; s != nil {
			if s[1].Known() && s[1].Size != 5 {
				return c.Errorf("boxes %v, want 5 columns", s)
			}
			out[0] = s[0]
		}
		c.Set(0, c.In[0].DType, out)
		return nil
	},
	Ref: func(c *Call) error {
		s, p := c.In[0].Shape, c.Node.Ints("pooled_shape")
		x, rois, scale := floats(c.In[0]), floats(c.In[1]), float64(c.Node.Float("spatial_scale", 1))
		h, w, S := int(p[0]), int(p[1]), s[2]*s[3]
		y := make([]float64, 0, c.Out[0].Elems())
		for i := 0; i < c.In[1].Shape[0]; i++ {
			b := rois[5*i : 5*i+5]
			if !(b[0] >= 0 && b[0] < float64(s[0])) {
				return c.errorf("batch index %g of %d", b[0], s[0])
			}
			for _, v := range b[1:] {
				if !(math.Abs(v*scale) < 1<<30) {
					return c.errorf("a box ends at %g", v)
				}
			}
			y0, y1 := math.Round(b[2]*scale), math.Round(b[4]*scale)
			x0, x1 := math.Round(b[1]*scale), math.Round(b[3]*scale)
			for ch := 0; ch < s[1]; ch++ {
				src := x[(int(b[0])*s[1]+ch)*S:][:S]
				for bin := 0; bin < h*w; bin++ {
					top, bottom := roiBin(y0, y1, bin/w, h, s[2])
					left, right := roiBin(x0, x1, bin%w, w, s[3])
					y = append(y, largest(src, top, bottom, left, right, s[3]))
				}
			}
		}
		setFloats(c.Out[0], y)
		return nil
	},
}

// roiBin is the pixels from lo to before hi of bin i of n over a side from `start` to `end`, cut to the image.
func roiBin(start, end float64, i, n, pixels int) (lo, hi int) {
	size := max(end-start+1, 1) / float64(n)
	cut := func(v float64) int { return int(min(max(v+start, 0), float64(pixels))) }
	return cut(math.Floor(float64(i) * size)), cut(math.Ceil(float64(i+1) * size))
}

// largest is the maximum over a window, 0 if it is empty.
func largest(x []float64, top, bottom, left, right, W int) float64 {
	if bottom <= top || right <= left {
		return 0
	}
	m := math.Inf(-1)
	for r := top; r < bottom; r++ {
		for _, v := range x[r*W+left : r*W+right] {
			m = max(m, v)
		}
	}
	return m
}
