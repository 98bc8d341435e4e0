package op

import (
	"math"

	"muster/graph"
	"muster/internal/detmath"
)

// MelWeightMatrix(num_mel_bins, dft_length, sample_rate, lower_edge_hertz, upper_edge_hertz) is [dft_length/2 + 1, num_mel_bins]:
// triangles whose corners are equally far apart on the mel scale, mel(f) = 2595 log10(1 + f/700), rounded down to bins of the spectrum.
var opMelWeightMatrix = Op{
	Name: "MelWeightMatrix", Since: 17, MinIn: 5, MaxIn: 5, MinOut: 1, MaxOut: 1, Attrs: "output_datatype", Dynamic: true,
	NoGrad: "it is a constant of the front end",
	Infer: func(c *InferCall) error {
		d, err := c.outputType()
		if err != nil {
			return err
		}
		bands, err := c.size(0)
		if err != nil {
			return err
		}
		n, err := c.size(1)
		if err != nil {
			return err
		}
		if n.Known() {
			n = graph.D(n.Size/2 + 1)
		} else {
			n = graph.Dim{Size: -1}
		}
		c.Set(0, d, []graph.Dim{n, bands})
		return firstErr(c.wantIndex(2), c.wantFloat(3), c.wantFloat(4))
	},
	Ref: func(c *Call) error {
		bands, err1 := countOf1(c.In[0], 0)
		length, err2 := countOf1(c.In[1], 1)
		rate, err3 := countOf1(c.In[2], 2)
		if err := firstErr(err1, err2, err3); err != nil {
			return err
		}
		if c.In[3].Elems() != 1 || c.In[4].Elems() != 1 || rate == 0 {
			return c.errorf("the sample rate is %d, the edges have the shapes %s and %s", rate, c.In[3].Shape, c.In[4].Shape)
		}
		bins := length/2 + 1
		if bins*bands > maxCount {
			return c.errorf("%d bands of %d bins", bands, bins)
		}
		corner, err := melCorners(c, bands, length, rate)
		if err != nil {
			return err
		}
		v := make([]float64, bins*bands)
		for i := 0; i < bands; i++ {
			triangle(v[i:], bands, corner[i], corner[i+1], corner[i+2])
		}
		setNumbers(c.resize(0, bins, bands), v)
		return nil
	},
}

// melCorners are the bins at which the triangles begin, peak and end.
func melCorners(c *Call, bands, length, rate int) ([]int, error) {
	ln10 := math.Ln10
	mel := func(hz float64) float64 { return 2595 * detmath.Log1p(hz/700) / ln10 }
	lo, hi := mel(c.In[3].Float(0)), mel(c.In[4].Float(0))
	step := (hi - lo) / float64(bands+2)
	corner := make([]int, bands+2)
	for i := range corner {
		hz := 700 * detmath.Expm1((float64(float64(i)*step)+lo)/2595*ln10)
		at := math.Floor(float64(float64(length+1)*hz) / float64(rate))
		if !(at >= 0 && at <= float64(length/2)) || i > 0 && int(at) < corner[i-1] {
			return nil, c.errorf("corner %d at %g Hz is not between its neighbour and half the sample rate", i, hz)
		}
		corner[i] = int(at)
	}
	return corner, nil
}

// triangle writes one column: it rises from bin l to 1 at m and falls to 0 at r.
func triangle(v []float64, stride, l, m, r int) {
	for j := l; j < m; j++ {
		v[j*stride] = float64(j-l) / float64(m-l)
	}
	v[m*stride] = 1
	for j := m; j < r; j++ {
		v[j*stride] = float64(r-j) / float64(r-m)
	}
}
