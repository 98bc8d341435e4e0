package op

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// LayerNormalization normalises the axes from `axis` on (Ba et al., arXiv 1607.06450):
// Y = (X - Mean) InvStdDev Scale + B, InvStdDev = 1 / sqrt(variance + epsilon).
// X is seen as [rows, C]; Mean and InvStdDev keep the rank of X with ones.
var opLayerNormalization = Op{
	Name: "LayerNormalization", Since: 1, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 3, Attrs: "axis epsilon stash_type",
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.sameTypes()); err != nil {
			return err
		}
		x := c.In[0].Shape
		stat := tensor.Float32
		if c.In[0].DType == tensor.Float64 {
			stat = tensor.Float64
		}
		c.Set(0, c.In[0].DType, x)
		c.Set(1, stat, nil)
		c.Set(2, stat, nil)
		if x == nil {
			return nil
		}
		at, err := axis(c.Node.Place(), c.Node.Int("axis", -1), len(x))
		if err != nil {
			return err
		}
		for i := 1; i < len(c.In); i++ {
			if err := c.broadcastsTo(i, x); err != nil {
				return err
			}
		}
		s := append([]graph.Dim{}, x...)
		for i := at; i < len(s); i++ {
			s[i] = graph.D(1)
		}
		c.Set(1, stat, s)
		c.Set(2, stat, s)
		return nil
	},
	Ref:  layerNorm,
	Grad: layerNormGrad,
	Prepare: func(p *Prep) (Kernel, bool) {
		return layerNormKernel(p)
	},
}

// broadcastsTo checks that input i may be broadcast to shape s without changing s.
func (c *InferCall) broadcastsTo(i int, s []graph.Dim) error {
	v := c.in(i)
	if v == nil || v.Shape == nil {
		return nil
	}
	if len(v.Shape) > len(s) {
		return c.Errorf("input %d is %v, which does not broadcast to %v", i, v.Shape, s)
	}
	for k, d := range v.Shape {
		e := s[len(s)-len(v.Shape)+k]
		if d.Known() && d.Size != 1 && e.Known() && e.Size != d.Size {
			return c.Errorf("input %d is %v, which does not broadcast to %v", i, v.Shape, s)
		}
	}
	return nil
}

// normRows sees a shape as [rows, C] at the first normalised axis.
func normRows(s tensor.Shape, a int64) (rows, C int) {
	at := wrap(a, len(s))
	return s[:at].Elems(), s[at:].Elems()
}

func layerNorm(c *Call) error {
	shape := c.In[0].Shape
	rows, C := normRows(shape, c.Node.Int("axis", -1))
	eps := float64(c.Node.Float("epsilon", 1e-5))
	x, scale, st := floats(c.In[0]), floats(c.In[1]), broadcast(shape, c.In[1].Shape)
	mean, inv := make([]float64, rows), make([]float64, rows)
	for r := range mean {
		mean[r], inv[r] = moments(x[r*C:][:C], eps)
		for i := r * C; i < (r+1)*C; i++ {
			x[i] = (x[i] - mean[r]) * inv[r] * scale[st[i]]
		}
	}
	if t := c.in(2); t != nil {
		bias := floats(t)
		for i, j := range broadcast(shape, t.Shape) {
			x[i] += bias[j]
		}
	}
	setFloats(c.Out[0], x)
	if t := c.out(1); t != nil {
		setFloats(t, mean)
	}
	if t := c.out(2); t != nil {
		setFloats(t, inv)
	}
	return nil
}

// moments returns the mean of v and 1 / sqrt(variance + eps).
func moments(v []float64, eps float64) (mean, inv float64) {
	sum, sq := 0.0, 0.0
	for _, x := range v {
		sum += x
	}
	mean = sum / float64(len(v))
	for _, x := range v {
		sq += float64((x - mean) * (x - mean))
	}
	return mean, 1 / math.Sqrt(sq/float64(len(v))+eps)
}

// layerNormGrad asks the forward node for its statistics and hands them to LayerNormalizationGrad.
func layerNormGrad(c *GradCall) []*graph.Value {
	b, n, x, scale := c.B, c.Node, c.In[0], c.In[1]
	at := wrap(n.Int("axis", -1), len(x.Shape))
	for _, d := range c.DOut[1:] {
		if d != nil {
			c.Fail("the gradient by Mean or InvStdDev is not supported")
			return make([]*graph.Value, len(c.In))
		}
	}
	if len(scale.Shape) != len(x.Shape)-at || len(c.In) > 2 && c.In[2] != nil && len(c.In[2].Shape) != len(scale.Shape) {
		c.Fail("a scale %v that is broadcast to %v is not supported", scale.Shape, x.Shape)
		return make([]*graph.Value, len(c.In))
	}
	extraOutputs(b, n, 3)
	d := b.Node(graph.Domain, "LayerNormalizationGrad", 3, []*graph.Value{c.DOut[0], x, scale, n.Outputs[1], n.Outputs[2]},
		graph.Int("axis", int64(at-len(x.Shape))))
	return d[:len(c.In)]
}

// extraOutputs gives a forward node the optional outputs that its gradient reads.
func extraOutputs(b *graph.Builder, n *graph.Node, count int) {
	for len(n.Outputs) < count {
		n.Outputs = append(n.Outputs, nil)
	}
	for i, v := range n.Outputs {
		if v == nil {
			n.Outputs[i] = &graph.Value{Name: b.Unique(n.Op + "_saved"), Producer: n}
		}
	}
}

// LayerNormalizationGrad(dY, X, Scale, Mean, InvStdDev) returns dX, dScale and dBias. With
// h = (X - Mean) InvStdDev and g = dY Scale: dX = InvStdDev (g - mean(g) - h mean(g h)),
// dScale = sum of dY h and dBias = sum of dY over the rows. axis is negative.
var opLayerNormalizationGrad = Op{
	Domain: graph.Domain, Name: "LayerNormalizationGrad", Since: 1, MinIn: 5, MaxIn: 5, MinOut: 1, MaxOut: 3,
	Attrs: "axis", Defaults: []graph.Attr{graph.Int("axis", -1)},
	Infer: func(c *InferCall) error {
		x, a := c.In[1].Shape, c.Node.Int("axis", -1)
		if err := firstErr(c.wantFloat(0), c.wantFloat(1), c.wantFloat(2), c.wantFloat(3), c.wantFloat(4), c.alike(0, 1), c.alike(3, 4)); err != nil {
			return err
		}
		if x != nil {
			if a >= 0 || a < int64(-len(x)) {
				return c.Errorf("axis %d is not a negative one of %v", a, x)
			}
			if err := firstErr(c.wantRank(2, int(-a)), c.broadcastsTo(2, x), c.wantRank(3, len(x)), c.broadcastsTo(3, x)); err != nil {
				return err
			}
		}
		c.Set(0, c.In[1].DType, x)
		c.Set(1, c.In[2].DType, c.In[2].Shape)
		c.Set(2, c.In[2].DType, c.In[2].Shape)
		return nil
	},
	Ref:     layerNormGradRef,
	Body:    layerNormGradBody,
	Prepare: func(p *Prep) (Kernel, bool) { return layerNormGradKernel(p) },
}

func layerNormGradRef(c *Call) error {
	dy, x, scale := floats(c.In[0]), floats(c.In[1]), floats(c.In[2])
	mean, inv := floats(c.In[3]), floats(c.In[4])
	rows, C := normRows(c.In[1].Shape, c.Node.Int("axis", -1))
	if len(scale) != C || len(mean) != rows || len(inv) != rows || len(dy) != len(x) {
		return c.errorf("the shapes do not fit")
	}
	dScale, dBias := make([]float64, C), make([]float64, C)
	for r := 0; r < rows; r++ {
		d, h := dy[r*C:][:C], x[r*C:][:C]
		g, gh := 0.0, 0.0
		for i := range h {
			h[i] = (h[i] - mean[r]) * inv[r]
			dScale[i] += float64(d[i] * h[i])
			dBias[i] += d[i]
			d[i] *= scale[i]
			g += d[i]
			gh += float64(d[i] * h[i])
		}
		for i := range h {
			d[i] = inv[r] * (d[i] - g/float64(C) - float64(h[i]*gh)/float64(C))
		}
	}
	for i, v := range [][]float64{dy, dScale, dBias} {
		if t := c.out(i); t != nil {
			setFloats(t, v)
		}
	}
	return nil
}

func layerNormGradBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	dy, x, scale, mean, inv := in[0], in[1], in[2], in[3], in[4]
	var axes []int64
	for a := n.Int("axis", -1); a < 0; a++ {
		axes = append(axes, a)
	}
	avg := func(v *graph.Value) *graph.Value { return b.ReduceMean(v, 1, axes...) }
	h := b.Op("Mul", b.Op("Sub", x, mean), inv)
	g := b.Op("Mul", dy, scale)
	inner := b.Op("Sub", b.Op("Sub", g, avg(g)), b.Op("Mul", h, avg(b.Op("Mul", g, h))))
	toRows := concat(b, b.Ints(-1), b.Op("Shape", scale))
	sum := func(v *graph.Value) *graph.Value { return b.ReduceSum(b.Op("Reshape", v, toRows), 0, 0) }
	return []*graph.Value{b.Op("Mul", inv, inner), sum(b.Op("Mul", dy, h)), sum(dy)}
}
