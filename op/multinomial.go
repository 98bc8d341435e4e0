package op

import (
	"math"

	"muster/graph"
	"muster/internal/detmath"
	"muster/tensor"
)

// Multinomial draws sample_size classes for every row of unnormalised log-probabilities [B, C], with replacement.
var opMultinomial = Op{
	Name: "Multinomial", Since: 7, MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Attrs: "dtype sample_size seed", Random: true, NoGrad: "its output is an integer",
	Infer: func(c *InferCall) error {
		d, n := tensor.DType(c.Node.Int("dtype", int64(tensor.Int32))), c.Node.Int("sample_size", 1)
		if d != tensor.Int32 && d != tensor.Int64 {
			return c.Errorf("dtype %s", d)
		}
		if n < 0 || n > maxElems {
			return c.Errorf("sample_size %d", n)
		}
		if err := firstErr(c.wantFloat(0), c.wantRank(0, 2)); err != nil {
			return err
		}
		if c.In[0].Shape == nil {
			c.Set(0, d, nil)
			return nil
		}
		if C := c.In[0].Shape[1]; C.Known() && C.Size == 0 && n > 0 {
			return c.Errorf("there is no class to draw")
		}
		c.Set(0, d, []graph.Dim{c.In[0].Shape[0], graph.D(int(n))})
		return nil
	},
	Ref: func(c *Call) error {
		k, logp, C := seedOf(c.Node).Split(c.Step), floats(c.In[0]), c.In[0].Shape[1]
		out := make([]int64, c.Out[0].Elems())
		samples := c.Out[0].Shape[1]
		for i := range out {
			out[i] = int64(drawClass(logp[i/samples*C:(i/samples+1)*C], half(k, i)))
		}
		setInts(c.Out[0], out)
		return nil
	},
}

// drawClass is the first class whose cumulative probability exceeds u; the last possible one if rounding leaves none.
func drawClass(logp []float64, u float64) int {
	top, sum := math.Inf(-1), 0.0
	for _, x := range logp {
		top = math.Max(top, x)
	}
	for _, x := range logp {
		sum += detmath.Exp(x - top)
	}
	acc, last := 0.0, 0
	for i, x := range logp {
		p := detmath.Exp(x - top)
		if p == 0 {
			continue
		}
		last = i
		if acc += p; acc > u*sum {
			return i
		}
	}
	return last
}
