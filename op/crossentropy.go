package op

import (
	"math"

	"muster/fault"
	"muster/graph"
	"muster/internal/detmath"
	"muster/tensor"
)

// SoftmaxCrossEntropyLoss(scores [N, C, D...], labels [N, D...], weights [C]) is
// -w[label] log softmax(scores)[label], reduced by none, sum, or mean (divided by
// the sum of the weights). Labels equal to ignore_index have weight 0.
var opSoftmaxCrossEntropyLoss = Op{
	Name: "SoftmaxCrossEntropyLoss", Since: 12, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 2, Attrs: "ignore_index reduction",
	Infer: func(c *InferCall) error {
		if err := c.labelRule(0, 1, 2); err != nil {
			return err
		}
		d, s, l := c.In[0].DType, c.In[0].Shape, c.In[1].Shape
		c.Set(1, d, s)
		switch r := c.Node.Str("reduction", "mean"); r {
		case "none":
			c.Set(0, d, l)
		case "mean", "sum":
			c.Set(0, d, []graph.Dim{})
		default:
			return c.Errorf("reduction %q", r)
		}
		return nil
	},
	Ref:     crossEntropy,
	Grad:    crossEntropyGrad,
	Prepare: func(p *Prep) (Kernel, bool) { return crossEntropyKernel(p) },
}

// labelRule checks scores [N, C, D...], labels [N, D...] and weights [C] at the given inputs.
func (c *InferCall) labelRule(scores, labels, weights int) error {
	if err := firstErr(c.wantFloat(scores), c.wantIndex(labels), c.wantRank(weights, 1)); err != nil {
		return err
	}
	s, l, w := c.In[scores].Shape, c.In[labels].Shape, c.in(weights)
	if w != nil && w.DType != c.In[scores].DType {
		return c.Errorf("weights are %s, scores %s", w.DType, c.In[scores].DType)
	}
	if s == nil || l == nil {
		return nil
	}
	if len(s) < 2 || len(l) != len(s)-1 {
		return c.Errorf("labels %v for scores %v", l, s)
	}
	for i, e := range append([]graph.Dim{s[0]}, s[2:]...) {
		if e.Known() && l[i].Known() && e.Size != l[i].Size {
			return c.Errorf("labels %v for scores %v", l, s)
		}
	}
	if w != nil && w.Shape != nil && w.Shape[0].Known() && s[1].Known() && w.Shape[0].Size != s[1].Size {
		return c.Errorf("weights %v for scores %v", w.Shape, s)
	}
	return nil
}

// noIgnore is the ignore_index that no label has.
const noIgnore = math.MinInt32

// labelled sees scores as [N, C, D].
func labelled(s tensor.Shape) (N, C, D int) { return s[0], s[1], s[2:].Elems() }

// labelCheck refuses labels that are neither a class nor ignored.
func labelCheck(labels *tensor.Tensor, C int, ignore int64) error {
	for i, k := 0, labels.Elems(); i < k; i++ {
		if y := index(labels, i); y != ignore && (y < 0 || y >= int64(C)) {
			return fault.New(fault.Mismatch, "", "label %d at element %d is not one of %d classes", y, i, C)
		}
	}
	return nil
}

// labelWeights returns the weight of every label and their sum.
func labelWeights(labels, weights *tensor.Tensor, ignore int64) (w []float64, sum float64) {
	w = make([]float64, labels.Elems())
	for i := range w {
		y := index(labels, i)
		switch {
		case y == ignore:
		case weights != nil:
			w[i] = weights.Float(int(y))
		default:
			w[i] = 1
		}
		sum += w[i]
	}
	return w, sum
}

func crossEntropy(c *Call) error {
	N, C, D := labelled(c.In[0].Shape)
	ignore := c.Node.Int("ignore_index", noIgnore)
	if err := labelCheck(c.In[1], C, ignore); err != nil {
		return err
	}
	logp := floats(c.In[0])
	eachLane(N, C, D, func(at []int) { softmaxLane(logp, at, true) })
	loss, total, weight := labelLoss(c, logp, C, D, ignore)
	setFloats(c.Out[0], reduceLoss(c.Node, loss, total, weight))
	if t := c.out(1); t != nil {
		setFloats(t, logp)
	}
	return nil
}

// labelLoss is -w[label] logp[label] of every label, the sum of these, and that of the weights.
func labelLoss(c *Call, logp []float64, C, D int, ignore int64) (loss []float64, total, weight float64) {
	w, weight := labelWeights(c.In[1], c.in(2), ignore)
	loss = make([]float64, len(w))
	for i := range loss {
		if w[i] != 0 {
			y := int(index(c.In[1], i))
			loss[i] = -w[i] * logp[(i/D*C+y)*D+i%D]
		}
		total += loss[i]
	}
	return loss, total, weight
}

func reduceLoss(n *graph.Node, loss []float64, total, weight float64) []float64 {
	switch n.Str("reduction", "mean") {
	case "mean":
		return []float64{total / weight}
	case "sum":
		return []float64{total}
	}
	return loss
}

func crossEntropyGrad(c *GradCall) []*graph.Value {
	b, n := c.B, c.Node
	extraOutputs(b, n, 2)
	attrs := []graph.Attr{graph.Str("reduction", n.Str("reduction", "mean"))}
	if a := n.Attr("ignore_index"); a != nil {
		attrs = append(attrs, *a)
	}
	var dx *graph.Value
	if c.DOut[0] != nil {
		in := append([]*graph.Value{c.DOut[0], n.Outputs[1]}, c.In[1:]...)
		dx = b.Node(graph.Domain, "SoftmaxCrossEntropyLossGrad", 1, in, attrs...)[0]
	}
	if len(c.DOut) > 1 && c.DOut[1] != nil {
		dl := c.DOut[1]
		more := b.Op("Sub", dl, b.Op("Mul", b.Op("Exp", n.Outputs[1]), b.ReduceSum(dl, 1, 1)))
		if dx == nil {
			return one(more)
		}
		return one(b.Op("Add", dx, more))
	}
	return one(dx)
}

// SoftmaxCrossEntropyLossGrad(dLoss, LogProb, Labels, Weights) is
// dScores = dLoss w[label] (exp(LogProb) - onehot(label)), over the sum of the weights for reduction mean.
var opSoftmaxCrossEntropyLossGrad = Op{
	Domain: graph.Domain, Name: "SoftmaxCrossEntropyLossGrad", Since: 1, MinIn: 3, MaxIn: 4, MinOut: 1, MaxOut: 1,
	Attrs: "ignore_index reduction", Defaults: []graph.Attr{graph.Int("ignore_index", noIgnore), graph.Str("reduction", "mean")},
	Infer: func(c *InferCall) error {
		if err := firstErr(c.wantFloat(0), c.labelRule(1, 2, 3)); err != nil {
			return err
		}
		s, l := c.In[1].Shape, c.In[2].Shape
		n, ok2 := known(l)
		d, ok := known(c.In[0].Shape)
		if none := c.Node.Str("reduction", "mean") == "none"; c.In[0].Shape != nil && ok && (!none && d != 1 || none && l != nil && ok2 && d != n) {
			return c.Errorf("dLoss is %v", c.In[0].Shape)
		}
		c.Set(0, c.In[1].DType, s)
		return nil
	},
	Ref:     crossEntropyGradRef,
	Body:    crossEntropyGradBody,
	Prepare: func(p *Prep) (Kernel, bool) { return crossEntropyGradKernel(p) },
}

func crossEntropyGradRef(c *Call) error {
	_, C, D := labelled(c.In[1].Shape)
	ignore := c.Node.Int("ignore_index", noIgnore)
	if err := labelCheck(c.In[2], C, ignore); err != nil {
		return err
	}
	w, weight := labelWeights(c.In[2], c.in(3), ignore)
	d, dLoss := floats(c.In[1]), floats(c.In[0])
	for i := range w {
		s := w[i]
		switch c.Node.Str("reduction", "mean") {
		case "mean":
			s *= dLoss[0] / weight
		case "sum":
			s *= dLoss[0]
		default:
			s *= dLoss[i]
		}
		y := int(index(c.In[2], i))
		for k := 0; k < C; k++ {
			at := (i/D*C+k)*D + i%D
			if w[i] == 0 {
				d[at] = 0
				continue
			}
			p := detmath.Exp(d[at])
			if k == y {
				p--
			}
			d[at] = s * p
		}
	}
	setFloats(c.Out[0], d)
	return nil
}

func crossEntropyGradBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	hot, scale := labelSlope(b, n, in[0], in[1], in[2], optional(in, 3))
	return one(b.Op("Mul", b.Op("Sub", b.Op("Exp", in[1]), hot), b.Unsqueeze(scale, 1)))
}

// labelSlope is the one-hot form of the labels [N, C, D...], and dLoss times the weight of each [N, D...],
// divided by the sum of the weights for reduction mean.
func labelSlope(b *graph.Builder, n *graph.Node, dLoss, logp, labels, weights *graph.Value) (hot, scale *graph.Value) {
	labels = cast(b, labels, tensor.Int64)
	num := func(v int64) *graph.Value { return b.Init("const", tensor.OfInt64([]int64{v})) }
	ignored := b.Op("Equal", labels, num(n.Int("ignore_index", noIgnore)))
	labels = b.Op("Where", ignored, num(0), labels)
	w := castLike(b, b.Op("Not", ignored), logp)
	if weights != nil {
		w = b.Op("Mul", w, b.Op("Gather", weights, labels))
	}
	C := b.Op("Gather", b.Op("Shape", logp), num(1))
	values := concat(b, b.Unsqueeze(fill(b, logp, 0), 0), b.Unsqueeze(fill(b, logp, 1), 0))
	hot = b.OpA("OneHot", []graph.Attr{graph.Int("axis", 1)}, labels, C, values)
	scale = b.Op("Mul", w, dLoss)
	if n.Str("reduction", "mean") == "mean" {
		all := b.OpA("ReduceSum", []graph.Attr{graph.Int("keepdims", 0)}, w)
		scale = b.Op("Mul", w, b.Op("Div", dLoss, all))
	}
	return hot, b.Op("Where", ignored, fill(b, logp, 0), scale) // not 0/0 where all are ignored
}
