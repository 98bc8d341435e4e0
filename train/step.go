package train

import (
	"muster/data"
	"muster/fault"
	"muster/grad"
	"muster/graph"
	"muster/nn"
	"muster/op"
	"muster/optim"
	"muster/rng"
	"muster/tensor"
)

// Step is a training step as a graph: inputs x, labels, lr and step; outputs loss
// and gradient norm, then the next value of every state.
type Step struct {
	Graph *graph.Graph
	State []graph.State
}

// forward builds the model of the specification for the rows of set and returns the net and its logits.
func forward(spec Spec, set *data.Set) (*nn.Net, *graph.Value, error) {
	n := nn.New(spec.Name, rng.New(spec.Seed).Named("init"))
	K := len(set.Classes())
	shape := set.X(nil).Shape[1:]
	var logits *graph.Value
	var err error
	switch m := spec.Model; m.Family {
	case "vit":
		if len(shape) != 3 {
			return nil, nil, fault.New(fault.Mismatch, "model.family", "a vision transformer needs images; the rows of %s are feature vectors", set.Name).
				WithHint(`use family: mlp, or say data.image: "1x8x8" for pixel columns`)
		}
		lo, hi := set.Image().Range()
		logits, err = n.ViT(nn.ViTConfig{Channels: shape[0], Height: shape[1], Width: shape[2], Lo: lo, Hi: hi, Classes: K,
			Patch: m.Patch, Dim: m.Dim, Depth: m.Depth, Heads: m.Heads, Hidden: m.Hidden})
	case "mlp":
		logits, err = n.MLP(nn.MLPConfig{Features: shape.Elems(), Classes: K, Dim: m.Dim, Depth: m.Depth})
	}
	return n, logits, err
}

// buildStep appends loss, gradients, clipping and AdamW to the forward graph.
func buildStep(spec Spec, set *data.Set) (*Step, error) {
	n, logits, err := forward(spec, set)
	if err != nil {
		return nil, err
	}
	K := len(set.Classes())
	labels := n.Input("labels", tensor.Int64, graph.Sym("B"))
	lr := n.Input("lr", tensor.Float32)
	step := n.Input("step", tensor.Int64)
	loss := optim.CrossEntropy(n.Builder, logits, labels, K, spec.Optim.LabelSmoothing)
	if err := op.Infer(n.G); err != nil {
		return nil, err
	}
	n.Output("loss", loss)
	grads, err := grad.Build(n.Builder, loss, n.Params)
	if err != nil {
		return nil, err
	}
	limit := spec.Optim.ClipNorm
	if limit == 0 {
		limit = 1e30 // never reached; the norm is still reported
	}
	grads, norm := optim.ClipNorm(n.Builder, grads, limit)
	n.Output("grad_norm", norm)
	states := optim.AdamW(n.Builder, n.Params, grads, lr, step, n.Decay, spec.adamw())
	return &Step{n.G, states}, n.G.Verify()
}

// Export returns the inference graph with the parameters that value returns by name.
func export(spec Spec, set *data.Set, value func(name string) *tensor.Tensor) (*graph.Graph, error) {
	n, logits, err := forward(spec, set)
	if err != nil {
		return nil, err
	}
	for _, p := range n.Params {
		t := value(p.Name)
		if t == nil || !t.Shape.Equal(p.Const.Shape) {
			return nil, fault.New(fault.Mismatch, "parameter "+p.Name, "the checkpoint does not hold it in the shape %s", p.Const.Shape)
		}
		p.Const = t
	}
	n.Output("logits", logits)
	if err := op.Infer(n.G); err != nil {
		return nil, err
	}
	for _, nd := range n.G.Nodes {
		for _, v := range nd.Outputs {
			v.Const = nil
		}
	}
	return n.G, n.G.Verify()
}
