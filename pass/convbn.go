package pass

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// convBN folds a BatchNormalization of inference, with constant parameters, into the constant weights of the
// convolution that only it reads: W' = W s and B' = B s + shift with s = scale / sqrt(var + epsilon).
func convBN(g *graph.Graph) int {
	uses, fired := g.Uses(), 0
	b := graph.NewBuilder(g)
	for _, n := range g.Nodes {
		if n.Domain != "" || n.Op != "BatchNormalization" {
			continue
		}
		x := n.Inputs[0]
		if !made(x, "", "Conv") && !made(x, "", "ConvTranspose") || use(uses, x) != n {
			continue
		}
		scale, shift, ok := affine(n)
		if ok && foldAffine(b, n, x.Producer, scale, shift) {
			fired++
		}
	}
	return fired
}

// affine returns what a BatchNormalization of inference multiplies and adds per channel, if its parameters are constants.
func affine(n *graph.Node) (scale, shift []float64, ok bool) {
	if n.Int("training_mode", 0) != 0 {
		return nil, nil, false
	}
	for i := 1; i < 5; i++ {
		if v := n.In(i); v == nil || v.Const == nil || v.Const.DType != tensor.Float32 || len(v.Const.Shape) != 1 {
			return nil, nil, false
		}
	}
	s, t, mean, variance := n.Inputs[1].Const.Float32s(), n.Inputs[2].Const.Float32s(), n.Inputs[3].Const.Float32s(), n.Inputs[4].Const.Float32s()
	eps := float64(n.Float("epsilon", 1e-5))
	for i := range s {
		a := float64(s[i]) / math.Sqrt(float64(variance[i])+eps)
		scale = append(scale, a)
		shift = append(shift, float64(t[i])-float64(float64(mean[i])*a))
	}
	return scale, shift, true
}

// foldAffine puts the convolution c with changed weights in the place of node n that reads it.
func foldAffine(b *graph.Builder, n, c *graph.Node, scale, shift []float64) bool {
	w, bias := c.Inputs[1].Const, c.In(2)
	if w == nil || w.DType != tensor.Float32 || bias != nil && bias.Const == nil {
		return false
	}
	back, group := c.Op == "ConvTranspose", int(c.Int("group", 1))
	taps := w.Shape[2:].Elems()
	scaled := make([]float32, w.Elems())
	for i, v := range w.Float32s() {
		m := i / taps / w.Shape[1]
		if back {
			m = m/(w.Shape[0]/group)*w.Shape[1] + i/taps%w.Shape[1]
		}
		if m >= len(scale) {
			return false
		}
		scaled[i] = float32(float64(v) * scale[m])
	}
	moved := append([]float64{}, shift...)
	if bias != nil {
		for i, v := range bias.Const.Float32s() {
			moved[i] += float64(float64(v) * scale[i])
		}
	}
	in := []*graph.Value{c.Inputs[0], b.Init("conv_w", tensor.OfFloat32(scaled, w.Shape...)), b.Init("conv_b", tensor.OfFloat32(narrow(moved), len(moved)))}
	fuse(b, n.Outputs[0], c.Domain, c.Op, in, c.Attrs...)
	return true
}

func narrow(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}
