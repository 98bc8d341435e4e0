package train

import (
	"muster/data"
	"muster/fault"
	"muster/grad"
	"muster/graph"
	"muster/nn"
	"muster/op"
	"muster/optim"
	"muster/pass"
	"muster/rng"
	"muster/tensor"
)

// Step is a training step as a graph: inputs x, labels, lr and step; outputs loss
// and gradient norm, then the next value of every state.
type Step struct {
	Graph *graph.Graph
	State []graph.State
}

// model is what a specification trains on a set: a family of package nn, or a file.
type model struct {
	spec Spec
	set  *data.Set
	file *imported // family "onnx"
}

func newModel(spec Spec, set *data.Set) (*model, error) {
	m := &model{spec: spec, set: set}
	if spec.Model.Family != "onnx" {
		return m, nil
	}
	var err error
	if m.file, err = readImported(spec.Model.ImportSpec); err != nil {
		return nil, err
	}
	m.spec.Model.ImportSpec = m.file.spec
	if set.Image() == nil {
		set.Transform = data.PlainTransform(set) // what the numbers mean is the model's affair
	}
	return m, nil
}

// scores builds the forward graph: one input [batch, ...] and the logits [batch, K]. batch -1 leaves the axis open.
func (m *model) scores(batch int) (*nn.Net, *graph.Value, error) {
	if m.file != nil {
		return m.file.scores(m.spec, m.set, batch)
	}
	n := nn.New(m.spec.Name, rng.New(m.spec.Seed).Named("init"))
	K := len(m.set.Classes())
	shape := m.set.X(nil).Shape[1:]
	s := m.spec.Model
	if s.Family == "mlp" {
		logits, err := n.MLP(nn.MLPConfig{Features: shape.Elems(), Classes: K, Dim: s.Dim, Depth: s.Depth})
		return n, logits, err
	}
	if len(shape) != 3 {
		return nil, nil, fault.New(fault.Mismatch, "model.family", "a vision transformer needs images; the rows of %s are feature vectors", m.set.Name).
			WithHint(`use family: mlp, or say data.image: "1x8x8" for pixel columns`)
	}
	lo, hi := m.set.Image().Range()
	logits, err := n.ViT(nn.ViTConfig{Channels: shape[0], Height: shape[1], Width: shape[2], Lo: lo, Hi: hi, Classes: K,
		Patch: s.Patch, Dim: s.Dim, Depth: s.Depth, Heads: s.Heads, Hidden: s.Hidden})
	return n, logits, err
}

// step appends loss, gradients, clipping and AdamW to the forward graph.
func (m *model) step() (*Step, error) {
	batch := -1
	if m.file != nil {
		batch = m.spec.Batch // what depends on shapes is settled before it is differentiated
	}
	n, logits, err := m.scores(batch)
	if err != nil {
		return nil, err
	}
	labels := n.Input("labels", tensor.Int64, graph.Sym("B"))
	if batch >= 0 {
		labels.Shape[0] = graph.D(batch)
	}
	lr := n.Input("lr", tensor.Float32)
	step := n.Input("step", tensor.Int64)
	loss := optim.CrossEntropy(n.Builder, logits, labels, len(m.set.Classes()), m.spec.Optim.LabelSmoothing)
	if err := op.Infer(n.G); err != nil {
		return nil, err
	}
	n.Output("loss", loss)
	var states []graph.State
	if m.file != nil {
		if states, err = grad.TrainableBatchNorm(n.G); err != nil {
			return nil, err
		}
	}
	params, grads, err := m.gradients(n, loss)
	if err != nil {
		return nil, err
	}
	adamw, norm := m.spec.adamw(), optim.Norm(n.Builder, grads)
	n.Output("grad_norm", norm)
	if limit := m.spec.Optim.ClipNorm; limit > 0 {
		adamw.Scale = optim.ClipScale(n.Builder, norm, limit)
	}
	states = append(states, optim.AdamW(n.Builder, params, grads, lr, step, n.Decay, adamw)...)
	if m.spec.Precision == "bf16" {
		if err := lowPrecision(n.G); err != nil {
			return nil, err
		}
	}
	return &Step{n.G, states}, n.G.Verify()
}

// lowPrecision rounds the operands of the products of a step to bfloat16.
func lowPrecision(g *graph.Graph) error {
	if err := op.Infer(g); err != nil {
		return err
	}
	if pass.Half(g) == 0 {
		return fault.New(fault.Unsupported, "precision", "the step has no product of matrices that bf16 could be used for").WithHint("use precision: f32")
	}
	g.Prune()
	if err := g.Sort(); err != nil {
		return err
	}
	return op.Infer(g)
}

// gradients returns the parameters that are trained with their gradients. In a file some may have no effect on the loss.
func (m *model) gradients(n *nn.Net, loss *graph.Value) (params, grads []*graph.Value, err error) {
	if m.file == nil {
		grads, err = grad.Build(n.Builder, loss, n.Params)
		return n.Params, grads, err
	}
	all, err := grad.Partial(n.Builder, loss, n.Params)
	for i, g := range all {
		if g != nil {
			params, grads = append(params, n.Params[i]), append(grads, g)
		}
	}
	if err == nil && len(params) == 0 {
		err = fault.New(fault.Mismatch, m.spec.Model.From, "the loss depends on no parameter").WithHint("choose model.output, or another model.train")
	}
	return params, grads, err
}

// export returns the inference graph with the parameters that value returns by name: logits of the
// rows, or the file as it was where its own output was trained.
func (m *model) export(value func(name string) *tensor.Tensor) (*graph.Graph, error) {
	if m.file != nil && m.file.spec.Head != "linear" {
		return m.file.tuned(value), nil
	}
	return m.scorer(value)
}

// scorer returns the graph from rows to logits with the parameters that value returns by name.
func (m *model) scorer(value func(name string) *tensor.Tensor) (*graph.Graph, error) {
	n, logits, err := m.scores(-1)
	if err != nil {
		return nil, err
	}
	trained := n.Params
	if m.file != nil {
		trained = n.G.Inits // running statistics too
	}
	for _, p := range trained {
		t := value(p.Name)
		if t == nil && m.file != nil {
			continue // not reached by the loss: as it was
		}
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
			if v != nil {
				v.Const = nil
			}
		}
	}
	return n.G, n.G.Verify()
}
