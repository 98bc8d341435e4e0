package op

import (
	"math"

	"muster/graph"
	"muster/internal/detmath"
	"muster/tensor"
)

// cosineWindow is a sum of cosines a[0] - a[1] cos(2 pi n/N) + a[2] cos(4 pi n/N), n = 0 ... size-1; N is the size
// of a periodic window, one less for a symmetric one (IEEE 1455106, Harris 1978).
func cosineWindow(name string, a ...float64) Op {
	return Op{
		Name: name, Since: 17, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "output_datatype periodic", Dynamic: true,
		NoGrad: "its input is an integer",
		Infer: func(c *InferCall) error {
			d, err := c.outputType()
			if err != nil {
				return err
			}
			n, err := c.size(0)
			c.Set(0, d, []graph.Dim{n})
			return err
		},
		Ref: func(c *Call) error {
			n, err := countOf1(c.In[0], 0)
			if err != nil {
				return err
			}
			N := float64(n)
			if c.Node.Int("periodic", 1) == 0 {
				N--
			}
			v := make([]float64, n)
			for i := range v {
				for k, w := range a {
					x := 1.0
					if k > 0 && N > 0 {
						x = detmath.Cos(2 * math.Pi * float64(k) * float64(i) / N)
					}
					v[i] += float64(w * x)
				}
			}
			setNumbers(c.resize(0, n), v)
			return nil
		},
	}
}

var (
	opBlackmanWindow = cosineWindow("BlackmanWindow", 0.42, -0.5, 0.08)
	opHammingWindow  = cosineWindow("HammingWindow", 25.0/46, -21.0/46)
	opHannWindow     = cosineWindow("HannWindow", 0.5, -0.5)
)

// outputType is the type that the attribute output_datatype asks for.
func (c *InferCall) outputType() (tensor.DType, error) {
	d := tensor.DType(c.Node.Int("output_datatype", int64(tensor.Float32)))
	if !numeric(d) || d == tensor.Bool {
		return d, c.unsupported("output_datatype %s is not supported", d)
	}
	return d, nil
}

// size is the dimension that integer input i gives.
func (c *InferCall) size(i int) (graph.Dim, error) {
	if err := c.wantIndex(i); err != nil {
		return graph.Dim{}, err
	}
	if t := c.Const(i); t != nil {
		n, err := countOf1(t, i)
		if err != nil {
			return graph.Dim{}, c.Errorf("%v", err)
		}
		return graph.D(n), nil
	}
	if l, ok := c.list(i); ok && len(l) == 1 {
		return l[0].dim(), nil
	}
	return graph.Dim{Size: -1}, nil
}

// maxCount bounds sizes that come from data.
const maxCount = 1 << 28

// countOf1 is the single element of t, input i, as a size.
func countOf1(t *tensor.Tensor, i int) (int, error) {
	if t.Elems() != 1 {
		return 0, (&Call{}).errorf("input %d has the shape %s, want one number", i, t.Shape)
	}
	n := index(t, 0)
	if n < 0 || n > maxCount {
		return 0, (&Call{}).errorf("input %d is %d", i, n)
	}
	return int(n), nil
}
