// Package optim holds losses, optimizers and schedules, as graphs: each function
// appends nodes and returns values.
package optim

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// CrossEntropy appends the mean softmax cross-entropy of logits [B, K] against
// labels [B] (int64) with label smoothing s in [0, 1): the target is 1-s on the
// label plus s/K on every class (Szegedy et al., arXiv 1512.00567, section 7).
func CrossEntropy(b *graph.Builder, logits, labels *graph.Value, K int, s float64) *graph.Value {
	if s == 0 && b.Version() >= 12 {
		return b.OpA("SoftmaxCrossEntropyLoss", []graph.Attr{graph.Str("reduction", "mean")}, logits, labels)
	}
	off := float32(s / float64(K))
	target := b.OpA("OneHot", []graph.Attr{graph.Int("axis", -1)}, labels,
		b.Init("classes", tensor.OfInt64([]int64{int64(K)})), // scalar depth
		b.Init("smoothing", tensor.OfFloat32([]float32{off, float32(1-s) + off}, 2)))
	logp := b.OpA("LogSoftmax", []graph.Attr{graph.Int("axis", -1)}, logits)
	return b.Op("Neg", b.ReduceMean(b.ReduceSum(b.Op("Mul", target, logp), 0, 1), 0, 0))
}

// Norm is the joint Euclidean norm of the gradients.
func Norm(b *graph.Builder, grads []*graph.Value) *graph.Value {
	var sum *graph.Value
	for _, g := range grads {
		s := b.OpA("ReduceSumSquare", []graph.Attr{graph.Int("keepdims", 0)}, g)
		if sum == nil {
			sum = s
		} else {
			sum = b.Op("Add", sum, s)
		}
	}
	return b.Op("Sqrt", sum)
}

// ClipScale is min(1, limit/norm), what all gradients are scaled by to have a norm of at most limit
// (Pascanu et al., arXiv 1211.5063, algorithm 1). It is for AdamWConfig.Scale.
func ClipScale(b *graph.Builder, norm *graph.Value, limit float64) *graph.Value {
	return b.Op("Div", b.Scalar(float32(limit)), b.Op("Max", norm, b.Scalar(float32(limit))))
}

// AdamWConfig are the settings of AdamW (Loshchilov and Hutter, arXiv 1711.05101). They
// are taken as they are: no momentum and no decay are settings too. Usual values in brackets.
type AdamWConfig struct {
	Beta1       float64 // [0.9]
	Beta2       float64 // [0.999]
	Eps         float64 // [1e-8]; must be positive
	WeightDecay float64 // decoupled, times the learning rate

	Scale *graph.Value // scalar that gradients are multiplied by first; nil: they are taken as they are
}

// AdamW appends one update per parameter and returns the state pairs: the
// parameter and its two moments. lr is a float32 scalar, step an int64 scalar
// counted from 1. decay says which parameters weight decay applies to.
func AdamW(b *graph.Builder, params, grads []*graph.Value, lr, step *graph.Value, decay map[*graph.Value]bool, c AdamWConfig) []graph.State {
	var states []graph.State
	for i, p := range params {
		wd := 0.0
		if decay[p] {
			wd = c.WeightDecay
		}
		m := b.Init(p.Name+".m", tensor.New(tensor.Float32, p.Const.Shape...))
		v := b.Init(p.Name+".v", tensor.New(tensor.Float32, p.Const.Shape...))
		in := []*graph.Value{p, m, v, grads[i], lr, step}
		if c.Scale != nil {
			in = append(in, c.Scale)
		}
		out := b.Node(graph.Domain, "AdamW", 3, in,
			graph.Float("beta1", float32(c.Beta1)), graph.Float("beta2", float32(c.Beta2)),
			graph.Float("epsilon", float32(c.Eps)), graph.Float("weight_decay", float32(wd)))
		for k, in := range []*graph.Value{p, m, v} {
			out[k].Name = b.Unique(in.Name + ".next")
			b.G.Outputs = append(b.G.Outputs, out[k])
			states = append(states, graph.State{In: in, Out: out[k]})
		}
	}
	return states
}

// Schedule is a learning-rate schedule: linear warm-up, then cosine decay to
// Final (Loshchilov and Hutter, arXiv 1608.03983, equation 5).
type Schedule struct {
	Peak   float64
	Final  float64
	Warmup int // steps
	Steps  int // in all
}

// At returns the learning rate of step (counted from 1).
func (s Schedule) At(step int) float64 {
	if step <= s.Warmup {
		return s.Peak * float64(step) / float64(s.Warmup)
	}
	if s.Steps <= s.Warmup {
		return s.Peak
	}
	x := float64(step-s.Warmup) / float64(s.Steps-s.Warmup)
	return s.Final + (s.Peak-s.Final)*0.5*(1+math.Cos(math.Pi*math.Min(x, 1)))
}
