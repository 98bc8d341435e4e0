package op

import (
	"math"

	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// rmsOp makes a row for normalisation by the root mean square of the axes from `axis` on (Zhang and
// Sennrich, arXiv 1910.07467): Y = X InvStd Scale with InvStd = 1 / sqrt(mean of X^2 + epsilon).
// ONNX Runtime writes it as SimplifiedLayerNormalization, which has InvStd as a second output.
func rmsOp(domain, name string, since, maxOut int) Op {
	return Op{
		Domain: domain, Name: name, Since: since, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: maxOut, Attrs: "axis epsilon stash_type",
		Infer:   rmsInfer,
		Ref:     rmsRef,
		Body:    rmsBody,
		Prepare: rmsKernel,
	}
}

var (
	opRMSNormalization             = rmsOp("", "RMSNormalization", 23, 1)
	opSimplifiedLayerNorm          = rmsOp("", "SimplifiedLayerNormalization", 1, 2)
	opMicrosoftSimplifiedLayerNorm = rmsOp("com.microsoft", "SimplifiedLayerNormalization", 1, 2)
)

func rmsInfer(c *InferCall) error {
	if err := firstErr(c.wantFloat(0), c.wantFloat(1)); err != nil {
		return err
	}
	x := c.In[0].Shape
	c.Set(0, c.In[0].DType, x)
	c.Set(1, statType(c.In[0].DType), nil)
	if x == nil {
		return nil
	}
	at, err := axis(c.Node.Place(), c.Node.Int("axis", -1), len(x))
	if err != nil {
		return err
	}
	s := append([]graph.Dim{}, x...)
	for i := at; i < len(s); i++ {
		s[i] = graph.D(1)
	}
	c.Set(1, statType(c.In[0].DType), s)
	return c.broadcastsTo(1, x)
}

func rmsRef(c *Call) error {
	shape := c.In[0].Shape
	rows, C := normRows(shape, c.Node.Int("axis", -1))
	eps := float64(c.Node.Float("epsilon", 1e-5))
	x, scale, st := floats(c.In[0]), floats(c.In[1]), broadcast(shape, c.In[1].Shape)
	inv := make([]float64, rows)
	for r := range inv {
		sum := 0.0
		for _, v := range x[r*C:][:C] {
			sum += float64(v * v)
		}
		inv[r] = 1 / math.Sqrt(sum/float64(C)+eps)
		for i := r * C; i < (r+1)*C; i++ {
			x[i] = x[i] * inv[r] * scale[st[i]]
		}
	}
	setFloats(c.Out[0], x)
	if t := c.out(1); t != nil {
		setFloats(t, inv)
	}
	return nil
}

// rmsBody computes in float32 where X is narrower.
func rmsBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	x, d := in[0], in[0].DType
	wide := statType(d)
	if d != wide {
		x = like(cast(b, x, wide), &graph.Value{DType: wide})
	}
	var axes []int64
	for a := wrap(n.Int("axis", -1), len(in[0].Shape)); a < len(in[0].Shape); a++ {
		axes = append(axes, int64(a))
	}
	mean := b.ReduceMean(b.Op("Mul", x, x), 1, axes...)
	inv := b.Op("Reciprocal", b.Op("Sqrt", b.Op("Add", mean, fill(b, x, float64(n.Float("epsilon", 1e-5))))))
	y := b.Op("Mul", x, inv)
	if d != wide {
		y = cast(b, y, d)
	}
	scale := in[1]
	if scale.DType != d {
		scale = cast(b, scale, d)
	}
	return []*graph.Value{b.Op("Mul", y, scale), inv}
}

// rmsKernel is for a scale of exactly the normalised shape.
func rmsKernel(p *Prep) (Kernel, bool) {
	x := p.In[0]
	rows, C := normRows(x.Shape, p.Node.Int("axis", -1))
	if x.DType != tensor.Float32 || p.In[1].DType != tensor.Float32 || C == 0 || p.In[1].Elems() != C {
		return Kernel{}, false
	}
	eps := p.Node.Float("epsilon", 1e-5)
	return Kernel{Over: 1, Run: rowKernel(rows, C, func(in, out []*tensor.Tensor, lo, hi int) {
		x, y, scale := in[0].Float32s(), out[0].Float32s(), in[1].Float32s()
		for r := lo; r < hi; r++ {
			rmsRow(y[r*C:(r+1)*C], x[r*C:(r+1)*C], scale, eps, outPart(out, 1, r, r+1))
		}
	})}, true
}

// rmsRow normalises one row and keeps 1 / its root mean square in inv, if there is room.
func rmsRow(y, x, scale []float32, eps float32, inv []float32) {
	s := 1 / float32(math.Sqrt(float64(float32(kernel.Dot(x, x)/float32(len(x)))+eps)))
	kernel.MapScalar(kernel.Mul, y, x, s)
	kernel.Map2(kernel.Mul, y, y, scale)
	if inv != nil {
		inv[0] = s
	}
}
