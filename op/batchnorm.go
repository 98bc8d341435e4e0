package op

import (
	"math"

	"muster/fault"
	"muster/graph"
)

// Axes: N batch, C channels, O the positions of all spatial axes.

// BatchNormalization is Y = (X - mean) / sqrt(var + epsilon) scale + B per channel (Ioffe and Szegedy,
// arXiv 1502.03167). With training_mode the mean and the (biased) variance are those of the batch, and
// running_mean and running_var are momentum times the old ones plus 1 - momentum times those.
var (
	opBatchNormalization7 = Op{
		Name: "BatchNormalization", Since: 7, MinIn: 5, MaxIn: 5, MinOut: 1, MaxOut: 5, Attrs: "epsilon momentum spatial",
		Infer: func(c *InferCall) error {
			if c.Node.Int("spatial", 1) != 1 {
				return c.unsupported("spatial 0 is not supported")
			}
			for _, v := range c.Out[1:] {
				if v != nil {
					return c.unsupported("training outputs before opset 14 are not supported").(*fault.Error).WithHint("convert the model to opset 14")
				}
			}
			return batchNormInfer(c)
		},
		Ref: batchNorm, Body: batchNormBody, Prepare: batchNormInferenceKernel,
	}
	opBatchNormalization14 = Op{
		Name: "BatchNormalization", Since: 14, MinIn: 5, MaxIn: 5, MinOut: 1, MaxOut: 3, Attrs: "epsilon momentum training_mode",
		Infer: func(c *InferCall) error {
			if err := batchNormInfer(c); err != nil {
				return err
			}
			for i := 1; i < len(c.Out); i++ {
				if c.Out[i] != nil && c.Node.Int("training_mode", 0) == 0 {
					return c.Errorf("running statistics are outputs of training_mode only")
				}
				c.Set(i, c.In[2+i].DType, c.In[2+i].Shape)
			}
			return nil
		},
		Ref: batchNorm, Body: batchNormBody, Grad: batchNormGrad,
		Prepare: func(p *Prep) (Kernel, bool) {
			if p.Node.Int("training_mode", 0) == 0 {
				return batchNormInferenceKernel(p)
			}
			return batchNormKernel(p, false)
		},
	}
)

// batchNormInfer checks X and the four vectors, and sets Y.
func batchNormInfer(c *InferCall) error {
	if err := firstErr(c.wantFloat(0), c.wantFloat(1), c.wantFloat(3), c.sameType(1, 2), c.sameType(3, 4)); err != nil {
		return err
	}
	x := c.In[0].Shape
	if x != nil && len(x) < 2 {
		return c.Errorf("input 0 is %v, want [N, C, ...]", x)
	}
	for i := 1; i < 5; i++ {
		s := c.In[i].Shape
		if s != nil && len(s) != 1 || s != nil && x != nil && s[0].Known() && x[1].Known() && s[0].Size != x[1].Size {
			return c.Errorf("input %d is %v for %v", i, s, x)
		}
	}
	c.Set(0, c.In[0].DType, x)
	return nil
}

// batchNormGradInfer checks the vectors of BatchNormalizationGrad.
func batchNormGradInfer(c *InferCall) error {
	x := c.In[1].Shape
	for i := 2; i < 5; i++ {
		if err := firstErr(c.wantFloat(i), c.wantRank(i, 1)); err != nil {
			return err
		}
		if s := c.In[i].Shape; s != nil && x != nil && (len(x) < 2 || s[0].Known() && x[1].Known() && s[0].Size != x[1].Size) {
			return c.Errorf("input %d is %v for %v", i, s, x)
		}
	}
	return c.wantFloat(0)
}

// channelMoments are the mean and the biased variance of every channel of x [N, C, O].
func channelMoments(x []float64, N, C, O int) (mean, variance []float64) {
	mean, variance = make([]float64, C), make([]float64, C)
	for i, v := range x {
		mean[i/O%C] += v / float64(N*O)
	}
	for i, v := range x {
		d := v - mean[i/O%C]
		variance[i/O%C] += float64(d*d) / float64(N*O)
	}
	return mean, variance
}

func batchNorm(c *Call) error {
	x, scale, bias, mean, variance := floats(c.In[0]), floats(c.In[1]), floats(c.In[2]), floats(c.In[3]), floats(c.In[4])
	s := c.In[0].Shape
	N, C, O := s[0], s[1], s[2:].Elems()
	if c.Node.Int("training_mode", 0) != 0 || c.Node.Domain == graph.Domain {
		old := [2][]float64{mean, variance}
		mean, variance = channelMoments(x, N, C, O)
		momentum := float64(c.Node.Float("momentum", 0.9))
		for i, now := range [2][]float64{mean, variance} {
			if t := c.out(1 + i); t != nil {
				for k := range old[i] {
					old[i][k] = old[i][k]*momentum + now[k]*(1-momentum)
				}
				setFloats(t, old[i])
			}
		}
	}
	inv := make([]float64, C)
	for k := range inv {
		inv[k] = 1 / math.Sqrt(variance[k]+float64(c.Node.Float("epsilon", 1e-5)))
	}
	for i := range x {
		k := i / O % C
		x[i] = (x[i]-mean[k])*inv[k]*scale[k] + bias[k]
	}
	setFloats(c.Out[0], x)
	if t := c.out(3); t != nil {
		setFloats(t, mean)
	}
	if t := c.out(4); t != nil {
		setFloats(t, inv)
	}
	return nil
}

// perChannel gives a vector [C] the shape [C, 1, ...] that meets axis 1 of a tensor of this rank.
func perChannel(b *graph.Builder, v *graph.Value, rank int) *graph.Value {
	if rank <= 2 {
		return v
	}
	shape := []int64{-1}
	for i := 2; i < rank; i++ {
		shape = append(shape, 1)
	}
	return reshape(b, v, shape...)
}

func batchNormBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	x, rank := in[0], len(in[0].Shape)
	eps := param(b, n, in[4], "epsilon", 1e-5)
	if n.Int("training_mode", 0) == 0 {
		inv := b.Op("Reciprocal", b.Op("Sqrt", b.Op("Add", in[4], eps)))
		if in[4].DType != in[0].DType {
			inv = castLike(b, inv, x)
		}
		ch := func(v *graph.Value) *graph.Value { return perChannel(b, castTo(b, v, x), rank) }
		h := b.Op("Mul", b.Op("Sub", x, ch(in[3])), perChannel(b, inv, rank))
		return one(b.Op("Add", b.Op("Mul", h, ch(in[1])), ch(in[2])))
	}
	t := b.Node(graph.Domain, "BatchNormalizationTraining", 5, in, graph.Float("epsilon", n.Float("epsilon", 1e-5)), graph.Float("momentum", n.Float("momentum", 0.9)))
	return t[:3]
}

// castTo casts v to x's dtype where they differ.
func castTo(b *graph.Builder, v, x *graph.Value) *graph.Value {
	if v.DType == x.DType {
		return v
	}
	return castLike(b, v, x)
}

// batchNormGrad makes the forward node of training one that keeps the statistics of the batch; inference goes by its body.
func batchNormGrad(c *GradCall) []*graph.Value {
	b, n := c.B, c.Node
	d := make([]*graph.Value, 5)
	if n.Int("training_mode", 0) == 0 {
		return batchNormInferenceGrad(c)
	}
	for _, v := range c.DOut[1:] {
		if v != nil {
			c.Fail("the gradient by running statistics is not supported")
			return d
		}
	}
	n.Domain, n.Op = graph.Domain, "BatchNormalizationTraining"
	n.Attrs = []graph.Attr{graph.Float("epsilon", n.Float("epsilon", 1e-5)), graph.Float("momentum", n.Float("momentum", 0.9))}
	if m := b.G.Model; m != nil && m.Opsets[graph.Domain] == 0 {
		m.Opsets[graph.Domain] = 1
	}
	return batchNormTrainingGrad(c)
}

func batchNormTrainingGrad(c *GradCall) []*graph.Value {
	b, n := c.B, c.Node
	for _, v := range c.DOut[1:] {
		if v != nil {
			c.Fail("the gradient by statistics is not supported")
			return make([]*graph.Value, 5)
		}
	}
	extraOutputs(b, n, 5)
	g := b.Node(graph.Domain, "BatchNormalizationGrad", 3, []*graph.Value{c.DOut[0], c.In[0], c.In[1], n.Outputs[3], n.Outputs[4]})
	return []*graph.Value{g[0], g[1], g[2], nil, nil}
}

// batchNormInferenceGrad: with inv = 1/sqrt(var + epsilon) and h = (X - mean) inv, dX = dY scale inv, dScale = sum of dY h,
// dB = sum of dY, dMean = - scale inv sum of dY, dVar = - scale inv^2 / 2 times the sum of dY h.
func batchNormInferenceGrad(c *GradCall) []*graph.Value {
	b, x, scale, dy := c.B, c.In[0], c.In[1], c.DOut[0]
	d := make([]*graph.Value, 5)
	if x.Shape == nil || c.In[1].DType != x.DType || c.In[3].DType != x.DType {
		c.Fail("parameters of another type than X, or a rank that is not known")
		return d
	}
	rank := len(x.Shape)
	inv := b.Op("Reciprocal", b.Op("Sqrt", b.Op("Add", c.In[4], fill(b, c.In[4], float64(c.Node.Float("epsilon", 1e-5))))))
	slope := b.Op("Mul", scale, inv)
	if c.Need[0] {
		d[0] = b.Op("Mul", dy, perChannel(b, slope, rank))
	}
	if c.Need[1] || c.Need[4] {
		h := b.Op("Mul", b.Op("Sub", x, perChannel(b, c.In[3], rank)), perChannel(b, inv, rank))
		d[1] = sumChannels(b, b.Op("Mul", dy, h), rank)
		if c.Need[4] {
			d[4] = b.Op("Mul", d[1], b.Op("Mul", b.Op("Mul", slope, inv), fill(b, x, -0.5)))
		}
	}
	if c.Need[2] || c.Need[3] {
		d[2] = sumChannels(b, dy, rank)
		if c.Need[3] {
			d[3] = b.Op("Neg", b.Op("Mul", slope, d[2]))
		}
	}
	return d
}

// BatchNormalizationTraining(X, scale, B, mean, var) is BatchNormalization in training mode with two more outputs:
// the mean of the batch and 1 / sqrt(variance + epsilon).
var opBatchNormalizationTraining = Op{
	Domain: graph.Domain, Name: "BatchNormalizationTraining", Since: 1, MinIn: 5, MaxIn: 5, MinOut: 1, MaxOut: 5,
	Attrs: "epsilon momentum", Defaults: []graph.Attr{graph.Float("epsilon", 1e-5), graph.Float("momentum", 0.9)},
	Infer: func(c *InferCall) error {
		if err := batchNormInfer(c); err != nil {
			return err
		}
		for i, j := range []int{3, 4, 3, 4} {
			c.Set(1+i, c.In[j].DType, c.In[j].Shape)
		}
		return nil
	},
	Ref: batchNorm, Grad: batchNormTrainingGrad,
	Prepare: func(p *Prep) (Kernel, bool) { return batchNormKernel(p, false) },
	Body: func(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
		x := b.Op("Reshape", in[0], b.Ints(0, 0, -1)) // [N, C, O]
		ch := func(v *graph.Value) *graph.Value { return reshape(b, v, -1, 1) }
		mean := b.ReduceMean(x, 0, 0, 2)
		d := b.Op("Sub", x, ch(mean))
		variance := b.ReduceMean(b.Op("Mul", d, d), 0, 0, 2)
		inv := b.Op("Reciprocal", b.Op("Sqrt", b.Op("Add", variance, param(b, n, in[3], "epsilon", 1e-5))))
		y := b.Op("Add", b.Op("Mul", b.Op("Mul", d, ch(inv)), ch(in[1])), ch(in[2]))
		momentum := param(b, n, in[3], "momentum", 0.9)
		rest := b.Op("Sub", fill(b, in[3], 1), momentum)
		run := func(old, now *graph.Value) *graph.Value {
			return b.Op("Add", b.Op("Mul", old, momentum), b.Op("Mul", now, rest))
		}
		return []*graph.Value{b.Op("Reshape", y, b.Op("Shape", in[0])), run(in[3], mean), run(in[4], variance), mean, inv}
	},
}

// BatchNormalizationGrad(dY, X, scale, mean, inv) returns dX, dScale and dB. With h = (X - mean) inv and averages over
// N and O: dB = sum of dY, dScale = sum of dY h, dX = scale inv (dY - dB/n - h dScale/n).
var opBatchNormalizationGrad = Op{
	Domain: graph.Domain, Name: "BatchNormalizationGrad", Since: 1, MinIn: 5, MaxIn: 5, MinOut: 1, MaxOut: 3,
	Infer: func(c *InferCall) error {
		if err := firstErr(c.alike(0, 1), c.sameType(0, 1), batchNormGradInfer(c)); err != nil {
			return err
		}
		c.Set(0, c.In[1].DType, c.In[1].Shape)
		c.Set(1, c.In[2].DType, c.In[2].Shape)
		c.Set(2, c.In[2].DType, c.In[2].Shape)
		return nil
	},
	Ref: func(c *Call) error {
		dy, x, scale, mean, inv := floats(c.In[0]), floats(c.In[1]), floats(c.In[2]), floats(c.In[3]), floats(c.In[4])
		s := c.In[1].Shape
		C, O := s[1], s[2:].Elems()
		n := float64(s[0] * O)
		dScale, dB := make([]float64, C), make([]float64, C)
		for i, d := range dy {
			k := i / O % C
			x[i] = (x[i] - mean[k]) * inv[k]
			dB[k] += d
			dScale[k] += float64(d * x[i])
		}
		for i, d := range dy {
			k := i / O % C
			dy[i] = scale[k] * inv[k] * (d - dB[k]/n - float64(x[i]*dScale[k])/n)
		}
		for i, v := range [][]float64{dy, dScale, dB} {
			if t := c.out(i); t != nil {
				setFloats(t, v)
			}
		}
		return nil
	},
	Prepare: func(p *Prep) (Kernel, bool) { return batchNormGradKernel(p, false) },
	Body: func(b *graph.Builder, _ *graph.Node, in []*graph.Value) []*graph.Value {
		flat := func(v *graph.Value) *graph.Value { return b.Op("Reshape", v, b.Ints(0, 0, -1)) }
		ch := func(v *graph.Value) *graph.Value { return reshape(b, v, -1, 1) }
		dy, h := flat(in[0]), b.Op("Mul", b.Op("Sub", flat(in[1]), ch(in[3])), ch(in[4]))
		dyh := b.Op("Mul", dy, h)
		avg := func(v *graph.Value) *graph.Value { return ch(b.ReduceMean(v, 0, 0, 2)) }
		dx := b.Op("Sub", b.Op("Sub", dy, avg(dy)), b.Op("Mul", h, avg(dyh)))
		dx = b.Op("Mul", dx, ch(b.Op("Mul", in[2], in[4])))
		return []*graph.Value{b.Op("Reshape", dx, b.Op("Shape", in[1])), b.ReduceSum(dyh, 0, 0, 2), b.ReduceSum(dy, 0, 0, 2)}
	},
}
