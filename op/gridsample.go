package op

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// GridSample reads X [N, C, S...] at the points of a grid [N, O..., D], D = 2 or 3 (1 too): coordinates run from -1
// to 1 over the axes S, the last axis first. Y is [N, C, O...]. Interpolation is separable: the taps of a point are
// the products of one tap per axis (gridAxis). Rounding is half to even, as in PyTorch.
var opGridSample = Op{
	Name: "GridSample", Since: 16, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1, Attrs: "align_corners mode padding_mode",
	Infer: func(c *InferCall) error {
		x, g := c.In[0].Shape, c.In[1].Shape
		if err := firstErr(c.wantFloat(0), c.wantFloat(1)); err != nil {
			return err
		}
		if _, err := gridOf(c.Node); err != nil {
			return err
		}
		if x == nil || g == nil {
			c.Set(0, c.In[0].DType, nil)
			return nil
		}
		if len(x) < 3 || len(x) > 5 || len(g) != len(x) || g[len(g)-1].Known() && g[len(g)-1].Size != len(x)-2 {
			return c.Errorf("a grid %v for %v", g, x)
		}
		for _, d := range x[2:] {
			if d.Known() && d.Size == 0 {
				return c.Errorf("nothing can be read from %v", x)
			}
		}
		if x[0].Known() && g[0].Known() && x[0].Size != g[0].Size {
			return c.Errorf("a grid %v for %v", g, x)
		}
		out := append([]graph.Dim{}, x[:2]...)
		c.Set(0, c.In[0].DType, append(out, g[1:len(g)-1]...))
		return nil
	},
	Ref: func(c *Call) error {
		g, err := gridOf(c.Node)
		if err != nil {
			return err
		}
		x, grid, s := floats(c.In[0]), floats(c.In[1]), c.In[0].Shape
		D, S := len(s)-2, s[2:].Elems()
		L := c.Out[0].Shape[2:].Elems()
		y := make([]float64, c.Out[0].Elems())
		at, w := make([]int, 64), make([]float64, 64)
		for n := 0; n < s[0]; n++ {
			for l := 0; l < L; l++ {
				k := g.point(grid[(n*L+l)*D:][:D], s[2:], at, w)
				for ch := 0; ch < s[1]; ch++ {
					src, sum := x[(n*s[1]+ch)*S:], 0.0
					for t := 0; t < k; t++ {
						sum += float64(w[t] * src[at[t]])
					}
					y[(n*s[1]+ch)*L+l] = sum
				}
			}
		}
		setFloats(c.Out[0], y)
		return nil
	},
	Body:    gridSampleBody,
	Prepare: gridSampleKernel,
}

// gridReader is what the attributes say.
type gridReader struct {
	mode, padding string
	align         bool
}

func gridOf(n *graph.Node) (gridReader, error) {
	g := gridReader{n.Str("mode", "linear"), n.Str("padding_mode", "zeros"), n.Int("align_corners", 0) != 0}
	switch g.mode {
	case "bilinear": // the names of version 16
		g.mode = "linear"
	case "bicubic":
		g.mode = "cubic"
	case "linear", "nearest", "cubic":
	default:
		return g, (&InferCall{Node: n}).unsupported("mode %q is not supported", g.mode)
	}
	switch g.padding {
	case "zeros", "border", "reflection":
		return g, nil
	}
	return g, (&InferCall{Node: n}).unsupported("padding_mode %q is not supported", g.padding)
}

// point lists the places and weights of one point in an image of shape s; it returns how many there are.
func (g gridReader) point(p []float64, s tensor.Shape, at []int, w []float64) int {
	k := 1
	at[0], w[0] = 0, 1
	for a, n := range s {
		idx, weight, taps := g.axis(p[len(s)-1-a], n)
		m := 0
		var at2 [64]int
		var w2 [64]float64
		for i := 0; i < k; i++ {
			for t := 0; t < taps; t++ {
				if idx[t] >= 0 {
					at2[m], w2[m] = at[i]*n+idx[t], float64(w[i]*weight[t])
					m++
				}
			}
		}
		k = m
		copy(at, at2[:m])
		copy(w, w2[:m])
	}
	return k
}

// axis returns the taps of one coordinate on an axis of n; index -1 is outside and counts as 0.
func (g gridReader) axis(v float64, n int) (idx [4]int, w [4]float64, taps int) {
	lo, hi := -0.5, float64(n)-0.5
	x := ((v+1)*float64(n) - 1) / 2
	if g.align {
		lo, hi = 0, float64(n-1)
		x = (v + 1) / 2 * float64(n-1)
	}
	if !(math.Abs(x) < 1<<30) { // not a number, or too far to count
		x = -2
	}
	if g.mode == "nearest" {
		x = math.RoundToEven(x)
	}
	if x < lo || x > hi {
		switch g.padding {
		case "border":
			if g.mode != "cubic" { // whose pixels are moved one by one, as in PyTorch
				x = min(max(x, 0), float64(n-1))
			}
		case "reflection":
			x = reflected(x, lo, hi)
		}
	}
	if g.mode == "nearest" {
		idx[0], w[0] = g.pixel(int(x), n, lo, hi), 1
		return idx, w, 1
	}
	i := math.Floor(x)
	t := x - i
	if g.mode == "linear" {
		idx[0], idx[1] = g.pixel(int(i), n, lo, hi), g.pixel(int(i)+1, n, lo, hi)
		w[0], w[1] = 1-t, t
		return idx, w, 2
	}
	for k := range idx {
		idx[k], w[k] = g.pixel(int(i)+k-1, n, lo, hi), cubicWeight(float64(k-1)-t)
	}
	return idx, w, 4
}

// cubicWeight is Keys' cubic convolution with a = -0.75.
func cubicWeight(x float64) float64 {
	const a = -0.75
	x = math.Abs(x)
	if x <= 1 {
		return float64(((a+2)*x-(a+3))*x*x) + 1
	}
	return float64(((a*x-5*a)*x+8*a)*x) - 4*a
}

// pixel is where pixel i of n is read, -1 if it is 0.
func (g gridReader) pixel(i, n int, lo, hi float64) int {
	switch g.padding {
	case "zeros":
		if i < 0 || i >= n {
			return -1
		}
		return i
	case "reflection":
		i = int(reflected(float64(i), lo, hi))
	}
	return min(max(i, 0), n-1)
}

// reflected folds x into [lo, hi].
func reflected(x, lo, hi float64) float64 {
	width := hi - lo
	if width <= 0 {
		return lo
	}
	d := math.Abs(x - lo)
	n := math.Floor(d / width)
	r := d - float64(n*width)
	if math.Mod(n, 2) == 0 {
		return lo + r
	}
	return hi - r
}

// gridTaps is how many taps a task of gridSampleKernel holds.
const gridTaps = 2048

// gridSampleKernel computes the taps of some points once, then reads them channel by channel.
func gridSampleKernel(p *Prep) (Kernel, bool) {
	g, err := gridOf(p.Node)
	if err != nil || p.In[0].DType != tensor.Float32 || p.In[1].DType != tensor.Float32 {
		return Kernel{}, false
	}
	s := p.In[0].Shape
	N, C, D, S, L := s[0], s[1], len(s)-2, s[2:].Elems(), p.Out[0].Shape[2:].Elems()
	most := 1 // taps of a point
	for range s[2:] {
		most *= map[string]int{"nearest": 1, "linear": 2, "cubic": 4}[g.mode]
	}
	per := gridTaps / most
	parts := (L + per - 1) / per
	return Kernel{Run: split(N*parts, func(in, out []*tensor.Tensor, _ []byte, task int) {
		n, lo := task/parts, task%parts*per
		hi := min(L, lo+per)
		var at, end [gridTaps]int32 // places, and where those of a point end
		var w [gridTaps]float32
		g.points(in[1].Float32s()[(n*L+lo)*D:(n*L+hi)*D], s[2:], at[:], end[:], w[:])
		for c := 0; c < C; c++ {
			src, y := in[0].Float32s()[(n*C+c)*S:][:S], out[0].Float32s()[(n*C+c)*L+lo:][:hi-lo]
			t := 0
			for l := range y {
				if int(end[l]) == t+4 { // bilinear inside the image
					k, v := at[t:t+4], w[t:t+4]
					y[l] = float32(v[0]*src[k[0]]) + float32(v[1]*src[k[1]]) + float32(v[2]*src[k[2]]) + float32(v[3]*src[k[3]])
					t += 4
					continue
				}
				sum := float32(0)
				for ; t < int(end[l]); t++ {
					sum += float32(w[t] * src[at[t]])
				}
				y[l] = sum
			}
		}
	})}, true
}

// points lists the taps of many points one behind the other; end[l] is where those of point l end.
func (g gridReader) points(grid []float32, s tensor.Shape, at, end []int32, w []float32) {
	var a1 [64]int
	var w1 [64]float64
	var v [3]float64
	m := 0
	for l := 0; l < len(grid)/len(s); l++ {
		for a := range s {
			v[a] = float64(grid[l*len(s)+a])
		}
		k := g.point(v[:len(s)], s, a1[:], w1[:])
		for t := 0; t < k; t++ {
			at[m], w[m] = int32(a1[t]), float32(w1[t])
			m++
		}
		end[l] = int32(m)
	}
}
