package check

import (
	"muster/exec"
	"muster/fault"
	"muster/graph"
	"muster/internal/detmath"
	"muster/record"
	"muster/stat"
	"muster/tensor"
)

// Model is a graph under measurement: one float32 input [B, ...], first output the logits [B, K].
type Model struct {
	Graph   *graph.Graph
	Subject record.Subject
	session *exec.Session
}

// NewModel prepares g. Close it when done.
func NewModel(name string, g *graph.Graph) (*Model, error) {
	if len(g.Inputs) != 1 || g.Inputs[0].DType != tensor.Float32 || len(g.Outputs) < 1 {
		return nil, fault.New(fault.Unsupported, "model "+name, "a classifier has one float32 input and its first output is the logits").
			WithHint("this model has %d inputs and %d outputs", len(g.Inputs), len(g.Outputs))
	}
	d, err := g.Digest()
	if err != nil {
		return nil, err
	}
	s, err := exec.New(g, exec.Config{})
	if err != nil {
		return nil, err
	}
	return &Model{g, record.Subject{Kind: "model", Name: name, Digest: d}, s}, nil
}

// Close releases the session.
func (m *Model) Close() { m.session.Close() }

// chunk is the batch that measurements run at: large enough to be fast, small enough for the arena.
const chunk = 256

// Logits runs the model over x [N, ...] in batches and returns [N, K]. A row's
// logits do not depend on the batch it is in, because every kernel's order of
// operations depends on the row alone.
func (m *Model) Logits(x *tensor.Tensor) (*tensor.Tensor, error) {
	var out *tensor.Tensor
	n := x.Shape[0]
	for lo := 0; lo < n; lo += chunk {
		hi := min(lo+chunk, n)
		r, err := m.session.Run(x.Rows(lo, hi))
		if err != nil {
			return nil, err
		}
		if len(r[0].Shape) != 2 || r[0].DType != tensor.Float32 || r[0].Shape[0] != hi-lo || out != nil && r[0].Shape[1] != out.Shape[1] {
			return nil, fault.New(fault.Mismatch, "model "+m.Subject.Name, "the first output is %s %s for %d rows, not float32 logits [B, K]", r[0].DType, r[0].Shape, hi-lo)
		}
		if out == nil {
			out = tensor.New(tensor.Float32, n, r[0].Shape[1])
		}
		copy(out.Rows(lo, hi).Data, r[0].Data)
	}
	if out == nil {
		out = tensor.New(tensor.Float32, 0, m.classes())
	}
	return out, nil
}

// Reference is Logits by the reference evaluator: slow, and what every kernel is compared with.
func (m *Model) Reference(x *tensor.Tensor) (*tensor.Tensor, error) {
	out, err := exec.Eval(m.Graph, []*tensor.Tensor{x})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

func (m *Model) classes() int {
	o := m.Graph.Outputs[0]
	if len(o.Shape) == 2 && o.Shape[1].Known() {
		return o.Shape[1].Size
	}
	return 0
}

// Plan reports what runs for a batch of x's shape.
func (m *Model) Plan(x *tensor.Tensor) (exec.Report, error) { return m.session.Plan(x) }

// Softmax returns the class probabilities of one row of logits at a temperature, in
// float64 with the same bits on every machine.
func Softmax(logits []float32, temperature float64) []float64 {
	p := make([]float64, len(logits))
	top := logits[0]
	for _, v := range logits {
		top = max(top, v)
	}
	sum := 0.0
	for i, v := range logits {
		p[i] = detmath.Exp((float64(v) - float64(top)) / temperature)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

// Probabilities applies Softmax to every row of logits [N, K].
func Probabilities(logits *tensor.Tensor, temperature float64) [][]float64 {
	K := logits.Shape[1]
	v := logits.Float32s()
	out := make([][]float64, logits.Shape[0])
	for i := range out {
		out[i] = Softmax(v[i*K:(i+1)*K], temperature)
	}
	return out
}

// Predictions returns the first index of the largest logit of every row.
func Predictions(logits *tensor.Tensor) []int {
	K := logits.Shape[1]
	v := logits.Float32s()
	out := make([]int, logits.Shape[0])
	for i := range out {
		out[i] = stat.ArgMax(v[i*K : (i+1)*K])
	}
	return out
}
