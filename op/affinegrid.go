package op

import (
	"muster/graph"
	"muster/tensor"
)

// AffineGrid(theta [N, D, D+1], size [N, C, S...]) is the grid [N, S..., D] of the points theta [p, 1], where p runs
// over the middles of the pixels of S (over their outer edges with align_corners), from -1 to 1, the last axis first.
var opAffineGrid = Op{
	Name: "AffineGrid", Since: 20, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1, Attrs: "align_corners", Dynamic: true,
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.wantType(1, tensor.Int64), c.wantRank(0, 3), c.wantRank(1, 1)); err != nil {
			return err
		}
		s, err := c.shapeFrom(1)
		if err != nil || s == nil {
			c.Set(0, c.In[0].DType, nil)
			return err
		}
		if len(s) != 4 && len(s) != 5 {
			return c.Errorf("a size of %d axes, want 4 or 5", len(s))
		}
		D := len(s) - 2
		if t := c.In[0].Shape; t != nil && (t[1].Known() && t[1].Size != D || t[2].Known() && t[2].Size != D+1 || t[0].Known() && s[0].Known() && t[0].Size != s[0].Size) {
			return c.Errorf("theta %v for the size %v", t, s)
		}
		out := append([]graph.Dim{s[0]}, s[2:]...)
		c.Set(0, c.In[0].DType, append(out, graph.D(D)))
		return nil
	},
	Ref: func(c *Call) error {
		size := tensor.Shape{}
		for _, v := range ints(c.In[1]) {
			size = append(size, int(v))
		}
		t := c.In[0].Shape
		D := len(size) - 2
		if n, ok := size.CheckedElems(); !ok || n > maxElems || D < 2 || D > 3 || t[0] != size[0] || t[1] != D || t[2] != D+1 {
			return c.errorf("theta %v for the size %v", t, size)
		}
		out := c.resize(0, append(append(tensor.Shape{size[0]}, size[2:]...), D)...)
		theta, points := floats(c.In[0]), gridPoints(size[2:], c.Node.Int("align_corners", 0) != 0)
		y := make([]float64, 0, out.Elems())
		for n := 0; n < size[0]; n++ {
			for l := 0; l < len(points); l += D + 1 {
				for d := 0; d < D; d++ {
					sum := 0.0
					for k, p := range points[l : l+D+1] {
						sum += float64(theta[(n*D+d)*(D+1)+k] * p)
					}
					y = append(y, sum)
				}
			}
		}
		setFloats(out, y)
		return nil
	},
	// dTheta [N, D, D+1] = dY^T [N, D, L] points [L, D+1].
	Grad: func(c *GradCall) []*graph.Value {
		b, t := c.B, c.In[1].Const
		if t == nil {
			c.Fail("the size is not constant")
			return one(nil)
		}
		var size tensor.Shape
		for _, v := range ints(t)[2:] {
			size = append(size, int(v))
		}
		D := len(size)
		v := gridPoints(size, c.Node.Int("align_corners", 0) != 0)
		points := tensor.New(c.In[0].DType, len(v)/(D+1), D+1)
		setFloats(points, v)
		dy := b.Op("Reshape", c.DOut[0], concat(b, axisSize(b, c.In[0], 0), b.Ints(int64(len(v)/(D+1)), int64(D))))
		return one(b.Op("MatMul", transpose(b, dy, 0, 2, 1), b.Init("points", points)))
	},
}

// gridPoints lists [x, y, (z,) 1] of every pixel of an image of shape s.
func gridPoints(s tensor.Shape, align bool) []float64 {
	D := len(s)
	v := make([]float64, 0, s.Elems()*(D+1))
	for i, n := 0, s.Elems(); i < n; i++ {
		k := i
		p := [4]float64{}
		for a := D - 1; a >= 0; a-- {
			x, m := float64(k%s[a]), float64(s[a])
			k /= s[a]
			switch {
			case !align:
				p[D-1-a] = (2*x+1)/m - 1
			case s[a] > 1:
				p[D-1-a] = 2*x/(m-1) - 1
			default:
				p[D-1-a] = -1
			}
		}
		p[D] = 1
		v = append(v, p[:D+1]...)
	}
	return v
}
