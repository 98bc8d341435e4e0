package op

import (
	"muster/graph"
	"muster/tensor"
)

// NegativeLogLikelihoodLoss(log-probabilities [N, C, D...], target [N, D...], weight [C]) is
// -w[target] input[target], reduced as in SoftmaxCrossEntropyLoss. The weights get no gradient.
var opNegativeLogLikelihoodLoss = Op{
	Name: "NegativeLogLikelihoodLoss", Since: 12, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: "ignore_index reduction",
	Infer: opSoftmaxCrossEntropyLoss.Infer,
	Ref: func(c *Call) error {
		_, C, D := labelled(c.In[0].Shape)
		ignore := c.Node.Int("ignore_index", noIgnore)
		if err := labelCheck(c.In[1], C, ignore); err != nil {
			return err
		}
		logp := floats(c.In[0])
		loss, total, weight := labelLoss(c, logp, C, D, ignore)
		setFloats(c.Out[0], reduceLoss(c.Node, loss, total, weight))
		return nil
	},
	Grad: func(c *GradCall) []*graph.Value {
		hot, scale := labelSlope(c.B, c.Node, c.DOut[0], c.In[0], c.In[1], optional(c.In, 2))
		return one(c.B.Op("Mul", c.B.Op("Neg", hot), c.B.Unsqueeze(scale, 1)))
	},
	Prepare: func(p *Prep) (Kernel, bool) { return nllKernel(p) },
}

// nllKernel is for any rank; the losses are added by kernel.Sum.
func nllKernel(p *Prep) (Kernel, bool) {
	N, C, D := labelled(p.In[0].Shape)
	if p.In[0].DType != tensor.Float32 {
		return Kernel{}, false
	}
	ignore, reduction := p.Node.Int("ignore_index", noIgnore), p.Node.Str("reduction", "mean")
	n := N * D
	each := split(tasksFor(n), func(in, out []*tensor.Tensor, scratch []byte, task int) {
		lo, hi := bounds(n, task)
		s, logp := floatsIn(scratch), in[0].Float32s()
		for i := lo; i < hi; i++ {
			s[i], s[n+i] = 0, labelWeight(in, 1, 2, i, ignore)
			if s[n+i] != 0 {
				s[i] = -s[n+i] * logp[(i/D*C+int(index(in[1], i)))*D+i%D]
			}
		}
	})
	return lossKernel(each, n, C, ignore, reduction), true
}
