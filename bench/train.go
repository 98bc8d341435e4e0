package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"muster/exec"
	"muster/fault"
	"muster/grad"
	"muster/graph"
	"muster/internal/feed"
	"muster/nn"
	"muster/op"
	"muster/optim"
	"muster/pass"
	"muster/rng"
	"muster/tensor"
)

// trainConfig are the sizes of a training step.
type trainConfig struct {
	Batch  int `json:"batch"`
	Tokens int `json:"tokens,omitempty"` // gpt
	Vocab  int `json:"vocab,omitempty"`
	Dim    int `json:"dim,omitempty"`
	Depth  int `json:"depth,omitempty"`
	Heads  int `json:"heads,omitempty"`

	Half bool `json:"half,omitempty"` // products in bfloat16; torch: autocast
}

// trainStep is a step as a graph: inputs x, labels, lr, step; the output is the loss.
type trainStep struct {
	net    *nn.Net
	states []graph.State
}

// forward builds the model and its loss.
func forward(model string, c trainConfig) (*nn.Net, *graph.Value, error) {
	n := nn.New(model, rng.New(1).Named("init"))
	switch model {
	case "gpt":
		logits, err := n.GPT(nn.GPTConfig{Vocab: c.Vocab, Context: c.Tokens, Dim: c.Dim, Depth: c.Depth, Heads: c.Heads, Hidden: 4 * c.Dim})
		if err != nil {
			return nil, nil, err
		}
		labels := n.Input("labels", tensor.Int64, graph.Sym("B"), graph.D(c.Tokens))
		flat := n.Op("Reshape", logits, n.Ints(-1, int64(c.Vocab)))
		return n, optim.CrossEntropy(n.Builder, flat, n.Op("Reshape", labels, n.Ints(-1)), c.Vocab, 0), nil
	case "resnet18":
		logits := n.ResNet(nn.ResNetConfig{Channels: 3, Height: 32, Width: 32, Classes: 10, Widths: []int{64, 128, 256, 512}, Blocks: 2, Training: true})
		labels := n.Input("labels", tensor.Int64, graph.Sym("B"))
		return n, optim.CrossEntropy(n.Builder, logits, labels, 10, 0), nil
	}
	return nil, nil, fmt.Errorf("no model %q", model)
}

// stepOf appends gradients and AdamW.
func stepOf(model string, c trainConfig) (*trainStep, error) {
	n, loss, err := forward(model, c)
	if err != nil {
		return nil, err
	}
	lr := n.Input("lr", tensor.Float32)
	at := n.Input("step", tensor.Int64)
	if err := op.Infer(n.G); err != nil {
		return nil, err
	}
	n.Output("loss", loss)
	grads, err := grad.Build(n.Builder, loss, n.Params)
	if err != nil {
		return nil, err
	}
	states := optim.AdamW(n.Builder, n.Params, grads, lr, at, n.Decay,
		optim.AdamWConfig{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01})
	if c.Half {
		if err := op.Infer(n.G); err != nil {
			return nil, err
		}
		pass.Half(n.G)
		n.G.Prune()
		if err := n.G.Sort(); err != nil {
			return nil, err
		}
	}
	return &trainStep{n, append(states, n.State...)}, n.G.Verify()
}

// trainData writes one batch and the initial parameters for the peers.
func trainData(model string, c trainConfig, dir string) (inputs map[string]string, weights string, err error) {
	n, _, err := forward(model, c)
	if err != nil {
		return nil, "", err
	}
	weights = filepath.Join(dir, "weights")
	if err := os.Mkdir(weights, 0o755); err != nil {
		return nil, "", err
	}
	for _, p := range n.Params {
		if err := saveNPY(filepath.Join(weights, p.Name+".npy"), p.Const); err != nil {
			return nil, "", err
		}
	}
	x, labels := batch(model, c)
	inputs = map[string]string{"x": filepath.Join(dir, "x.npy"), "labels": filepath.Join(dir, "labels.npy")}
	if err := saveNPY(inputs["x"], x); err != nil {
		return nil, "", err
	}
	return inputs, weights, saveNPY(inputs["labels"], labels)
}

// batch draws the rows that every step sees.
func batch(model string, c trainConfig) (x, labels *tensor.Tensor) {
	s := rng.New(2).Stream()
	if model == "resnet18" {
		x, labels = tensor.New(tensor.Float32, c.Batch, 3, 32, 32), tensor.New(tensor.Int64, c.Batch)
		for i := range x.Float32s() {
			x.Float32s()[i] = float32(s.Norm())
		}
		for i := range labels.Int64s() {
			labels.Int64s()[i] = int64(s.Intn(10))
		}
		return x, labels
	}
	x, labels = tensor.New(tensor.Int64, c.Batch, c.Tokens), tensor.New(tensor.Int64, c.Batch, c.Tokens)
	for _, t := range []*tensor.Tensor{x, labels} {
		for i := range t.Int64s() {
			t.Int64s()[i] = int64(s.Intn(c.Vocab))
		}
	}
	return x, labels
}

func (c *child) openTrain(t task, r *reply) error {
	start := time.Now()
	st, err := stepOf(t.Model, *t.Config)
	if err != nil {
		return err
	}
	s, err := exec.New(st.net.G, exec.Config{State: st.states, Take: true, Profile: t.Profile})
	if err != nil {
		return err
	}
	c.session = s
	r.Load = float64(time.Since(start))
	x, err := feed.ReadFile(t.Inputs["x"])
	if err != nil {
		return err
	}
	labels, err := feed.ReadFile(t.Inputs["labels"])
	if err != nil {
		return err
	}
	at := tensor.OfInt64([]int64{0})
	in := []*tensor.Tensor{x, labels, tensor.OfFloat32([]float32{1e-3}), at}
	out := []*tensor.Tensor{tensor.New(tensor.Float32)}
	c.once = func() error {
		at.Int64s()[0]++
		return s.RunInto(in, out)
	}
	losses := tensor.New(tensor.Float32, t.Steps)
	start = time.Now()
	for i := range losses.Float32s() {
		if err := c.once(); err != nil {
			return err
		}
		losses.Float32s()[i] = out[0].Float32s()[0]
		if math.IsNaN(float64(losses.Float32s()[i])) {
			return fault.New(fault.Numeric, "bench", "the loss of step %d is not a number", i+1)
		}
	}
	r.First = float64(time.Since(start))
	if err := c.describe(in, r); err != nil {
		return err
	}
	return r.output(t.Out, 0, losses)
}
