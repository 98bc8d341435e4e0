// Package attack holds perturbations of a batch that make a model fail, within a
// stated budget: a batch, its labels and a graph in, a batch out. Gradients come
// from the model's own graph, so every attack is white-box.
package attack

import (
	"math"

	"muster/exec"
	"muster/fault"
	"muster/grad"
	"muster/graph"
	"muster/op"
	"muster/optim"
	"muster/rng"
	"muster/stat"
	"muster/tensor"
)

// PGDConfig are the settings of projected gradient descent under the maximum norm
// (Madry et al., arXiv 1706.06083, section 2.1): a random start inside the budget,
// then steps of the sign of the loss gradient, projected back.
type PGDConfig struct {
	Eps    float32 // budget per pixel, in units of the input
	Step   float32 // 0: 2.5 * Eps / Steps
	Steps  int     // 0: 20
	Lo, Hi float32 // declared range of the input; the attack stays inside
}

// PGD is a prepared attack on one model.
type PGD struct {
	cfg PGDConfig
	s   *exec.Session
}

// NewPGD appends loss and input gradient to a copy of g. g has one float input
// [B, ...] and its first output is the logits [B, K].
func NewPGD(g *graph.Graph, cfg PGDConfig) (*PGD, error) {
	if cfg.Steps == 0 {
		cfg.Steps = 20
	}
	if cfg.Step == 0 {
		cfg.Step = 2.5 * cfg.Eps / float32(cfg.Steps)
	}
	if !(cfg.Eps >= 0) || !(cfg.Hi > cfg.Lo) || cfg.Steps < 1 {
		return nil, fault.New(fault.Malformed, "pgd", "eps must not be negative, the range not empty, steps at least 1")
	}
	s, err := inputGradient(g)
	if err != nil {
		return nil, err
	}
	return &PGD{cfg, s}, nil
}

// inputGradient returns a session that maps (x, labels) to (logits, gradient of the summed loss by x).
func inputGradient(g *graph.Graph) (*exec.Session, error) {
	c, _ := g.Clone()
	if len(c.Inputs) != 1 || c.Inputs[0].DType != tensor.Float32 {
		return nil, fault.New(fault.Unsupported, "graph "+g.Name, "gradient attacks need one float32 input")
	}
	if err := op.Infer(c); err != nil {
		return nil, err
	}
	b := graph.NewBuilder(c)
	x, logits := c.Inputs[0], c.Outputs[0]
	labels := b.Input("labels", tensor.Int64, x.Shape[0])
	K := logits.Shape[len(logits.Shape)-1].Size
	loss := optim.CrossEntropy(b, logits, labels, K, 0)
	if err := op.Infer(c); err != nil {
		return nil, err
	}
	dx, err := grad.Build(b, loss, []*graph.Value{x})
	if err != nil {
		return nil, err
	}
	c.Outputs = []*graph.Value{logits, dx[0]}
	c.Prune()
	return exec.New(c, exec.Config{})
}

// Result is an attacked batch.
type Result struct {
	X             *tensor.Tensor // within Eps of the input and within [Lo, Hi]
	Fooled        []bool         // rows where some iterate was misclassified; X holds that iterate
	ZeroGradients int            // rows whose gradient was exactly zero at some step: a sign of masked gradients
}

// Run attacks x [B, ...] with labels y. Row i draws from key.Split(ids[i]), so the result
// does not depend on how rows are batched. A row counts as fooled if any iterate, the
// clean input included, is misclassified.
func (p *PGD) Run(x *tensor.Tensor, y []int64, key rng.Key, ids []int) (*Result, error) {
	rows, adv := x.Shape[0], x.Clone()
	row := x.Elems() / max(rows, 1)
	r := &Result{X: x.Clone(), Fooled: make([]bool, rows)}
	labels := tensor.OfInt64(y, rows)
	zero := make([]bool, rows)
	for step := 0; step <= p.cfg.Steps+1; step++ {
		out, err := p.s.Run(adv, labels)
		if err != nil {
			return nil, err
		}
		r.keep(adv, out[0], y, row)
		switch {
		case step == 0:
			p.start(adv, x, key, ids, row)
		case step <= p.cfg.Steps:
			p.step(adv, x, out[1], zero, row)
		}
	}
	for _, z := range zero {
		if z {
			r.ZeroGradients++
		}
	}
	return r, nil
}

// keep stores the first misclassified iterate of every row.
func (r *Result) keep(adv, logits *tensor.Tensor, y []int64, row int) {
	K := logits.Shape[1]
	z, src, dst := logits.Float32s(), adv.Float32s(), r.X.Float32s()
	for i := range y {
		if !r.Fooled[i] && stat.ArgMax(z[i*K:(i+1)*K]) != int(y[i]) {
			r.Fooled[i] = true
			copy(dst[i*row:(i+1)*row], src[i*row:(i+1)*row])
		}
	}
}

func (p *PGD) start(adv, x *tensor.Tensor, key rng.Key, ids []int, row int) {
	a, c := adv.Float32s(), x.Float32s()
	for i := range ids {
		s := key.Split(uint64(ids[i])).Stream()
		for k := i * row; k < (i+1)*row; k++ {
			a[k] = p.project(c[k]+p.cfg.Eps*float32(2*s.Float64()-1), c[k])
		}
	}
}

func (p *PGD) step(adv, x, dx *tensor.Tensor, zero []bool, row int) {
	a, c, g := adv.Float32s(), x.Float32s(), dx.Float32s()
	for i := range zero {
		any := false
		for k := i * row; k < (i+1)*row; k++ {
			if g[k] != 0 {
				any = true
				a[k] = p.project(a[k]+float32(math.Copysign(float64(p.cfg.Step), float64(g[k]))), c[k])
			}
		}
		zero[i] = zero[i] || !any
	}
}

// project returns v inside the budget around c and inside the declared range.
func (p *PGD) project(v, c float32) float32 {
	v = min(max(v, c-p.cfg.Eps), c+p.cfg.Eps)
	return min(max(v, p.cfg.Lo), p.cfg.Hi)
}

// Close releases the session.
func (p *PGD) Close() { p.s.Close() }
