package monitor

import (
	"fmt"
	"math"

	"muster/fault"
)

// InputConfig says what an input is. C channels, H rows, W columns, in this order
// (ONNX layout); a plain vector has Channels and Height 0 and Width its length.
type InputConfig struct {
	Channels int     `json:"channels"`
	Height   int     `json:"height"`
	Width    int     `json:"width"`
	Low      float64 `json:"low"` // value range; both 0: taken from the reference rows
	High     float64 `json:"high"`
}

const (
	maxInput    = 1 << 22 // values of one input
	maxFeatures = 256     // histograms of a vector input
	maxSide     = 8       // cells per row and column; larger images are averaged down
	maxChannels = 16
)

func (c InputConfig) image() bool { return c.Channels > 0 && c.Height > 1 && c.Width > 1 }

// size returns the number of values of one input.
func (c InputConfig) size() int {
	if c.image() {
		return c.Channels * c.Height * c.Width
	}
	return c.Width
}

func (c InputConfig) valid() error {
	for _, d := range []int{c.Channels, c.Height, c.Width} {
		if d < 0 || d > maxInput {
			return fault.New(fault.Unsupported, "input", "monitor: dimension %d is outside 0..%d", d, maxInput)
		}
	}
	if !c.image() && (c.Channels > 1 || c.Height > 1) || c.Width < 1 {
		return fault.New(fault.Unsupported, "input", "monitor: shape [%d %d %d] is neither an image nor a vector", c.Channels, c.Height, c.Width)
	}
	if n := int64(max(1, c.Channels)) * int64(max(1, c.Height)) * int64(c.Width); n > maxInput || c.Channels > maxChannels {
		return fault.New(fault.Exhausted, "input", "monitor: inputs of %d values in %d channels are too large to watch", n, c.Channels)
	}
	if math.IsNaN(c.Low+c.High) || math.IsInf(c.Low+c.High, 0) || c.Low > c.High {
		return fault.New(fault.Numeric, "input", "monitor: value range [%v, %v]", c.Low, c.High)
	}
	return nil
}

// featureNames returns the names of the histogrammed features. Images have summary
// features, chosen so that each common corruption moves at least one: noise raises
// the gradient and the curvature, blur lowers them, contrast moves the deviation,
// brightness the mean, saturation the shares at the ends of the range. Vectors have
// their coordinates, evenly thinned out to 256.
func (c InputConfig) featureNames() []string {
	if c.image() {
		return []string{"mean", "deviation", "gradient", "curvature", "at-low", "at-high"}
	}
	names := make([]string, min(c.Width, maxFeatures))
	for i := range names {
		names[i] = fmt.Sprintf("x%d", i*c.Width/len(names))
	}
	return names
}

// supporting returns how many of the first features decide what lies outside the
// support of the reference. The shares at the ends of an image's range do not: the
// slightest change of brightness takes them from one half to nothing.
func (c InputConfig) supporting() int {
	if c.image() {
		return 4
	}
	return len(c.featureNames())
}

// features writes the features of input x into f.
func (c InputConfig) features(x []float32, f []float64) {
	if !c.image() {
		for i := range f {
			f[i] = float64(x[i*c.Width/len(f)])
		}
		return
	}
	n := float64(len(x))
	eps := float64(1e-3 * (c.High - c.Low))
	var sum, low, high float64
	for _, v := range x {
		sum += float64(v)
		if float64(v) <= c.Low+eps {
			low++
		}
		if float64(v) >= c.High-eps {
			high++
		}
	}
	mean, dev := sum/n, 0.0
	for _, v := range x {
		d := float64(v) - mean
		dev += float64(d * d)
	}
	f[0], f[1], f[4], f[5] = mean, math.Sqrt(dev/n), low/n, high/n
	f[2], f[3] = c.roughness(x)
}

// roughness returns the root mean square of first and of second differences along rows and columns.
func (c InputConfig) roughness(x []float32) (gradient, curvature float64) {
	var g, k, ng, nk float64
	line := func(at, step, n int) {
		for i := 1; i < n; i++ {
			a, b := float64(x[at+(i-1)*step]), float64(x[at+i*step])
			g += float64((b - a) * (b - a))
			ng++
			if i+1 < n {
				d := float64(x[at+(i+1)*step]) - b - (b - a)
				k += float64(d * d)
				nk++
			}
		}
	}
	for ch := range c.Channels {
		at := ch * c.Height * c.Width
		for r := range c.Height {
			line(at+r*c.Width, 1, c.Width)
		}
		for col := range c.Width {
			line(at+col, c.Width, c.Height)
		}
	}
	return math.Sqrt(g / math.Max(1, ng)), math.Sqrt(k / math.Max(1, nk))
}

// cells returns how many local means an input has: every value of a small image or
// vector, block averages of a larger one.
func (c InputConfig) cells() int {
	if c.image() {
		return c.Channels * min(c.Height, maxSide) * min(c.Width, maxSide)
	}
	return min(c.Width, maxFeatures)
}

// localMeans writes the cells of x into out.
func (c InputConfig) localMeans(x []float32, out []float64) {
	if !c.image() {
		for i := range out {
			out[i] = float64(x[i*c.Width/len(out)])
		}
		return
	}
	h, w := min(c.Height, maxSide), min(c.Width, maxSide)
	if h == c.Height && w == c.Width {
		for i, v := range x {
			out[i] = float64(v)
		}
		return
	}
	for i := range out {
		ch, r, col := i/(h*w), i/w%h, i%w
		r0, r1, c0, c1 := r*c.Height/h, (r+1)*c.Height/h, col*c.Width/w, (col+1)*c.Width/w
		sum := 0.0
		for y := r0; y < r1; y++ {
			for z := c0; z < c1; z++ {
				sum += float64(x[(ch*c.Height+y)*c.Width+z])
			}
		}
		out[i] = sum / float64((r1-r0)*(c1-c0))
	}
}

// check reports why an input cannot be measured.
func (c InputConfig) check(x []float32) error {
	if len(x) != c.size() {
		return fault.New(fault.Mismatch, "input", "monitor: %d values, the reference has %d", len(x), c.size())
	}
	for i, v := range x {
		if math.IsNaN(float64(v)) || math.Abs(float64(v)) > 1e30 {
			return fault.New(fault.Numeric, fmt.Sprintf("input value %d", i), "monitor: %v cannot be measured", v)
		}
	}
	return nil
}
