package serve

import (
	"context"
	"fmt"

	"muster/exec"
	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/record"
	"muster/tensor"
)

// ModelConfig says what a loaded release is served with.
type ModelConfig struct {
	Name        string        // of the deployment
	Version     string        // of the release
	Release     record.Digest // of the signed statement
	Digest      record.Digest // of the model file
	Temperature float64       // for the probabilities; 0: 1
	Batch       BatchConfig
}

// Model is one release in memory: the graph with calibrated probabilities appended, behind a batcher.
type Model struct {
	ModelConfig
	inputs, outputs []*graph.Value
	batch           *batcher
}

// NewModel prepares g for serving. If its first output is a matrix of float32
// logits, an output "probabilities" = Softmax(logits / temperature) is appended.
func NewModel(g *graph.Graph, cfg ModelConfig, seen func(requests, rows int)) (*Model, error) {
	c, _ := g.Clone()
	if err := op.Infer(c); err != nil {
		return nil, err
	}
	for _, v := range c.Inputs {
		if len(v.Shape) == 0 || v.Shape[0].Known() && v.Shape[0].Size != 1 {
			return nil, fault.New(fault.Unsupported, "input "+v.Name, "its shape %v has no batch axis", v.Shape)
		}
	}
	if z := c.Outputs[0]; z.DType == tensor.Float32 && len(z.Shape) == 2 && c.Output("probabilities") == nil {
		b := graph.NewBuilder(c)
		t := cfg.Temperature
		if t == 0 {
			t = 1
		}
		b.Output("probabilities", b.OpA("Softmax", []graph.Attr{graph.Int("axis", -1)}, b.Op("Div", z, b.Scalar(float32(t)))))
		if err := op.Infer(c); err != nil {
			return nil, err
		}
	}
	s, err := exec.New(c, exec.Config{})
	if err != nil {
		return nil, err
	}
	if seen == nil {
		seen = func(int, int) {}
	}
	return &Model{ModelConfig: cfg, inputs: c.Inputs, outputs: c.Outputs, batch: newBatcher(s, cfg.Batch, seen)}, nil
}

// Close finishes what is queued and releases the memory.
func (m *Model) Close() { m.batch.close() }

// bind puts the named tensors in the order of the graph's inputs, checked.
func (m *Model) bind(named map[string]*tensor.Tensor) ([]*tensor.Tensor, error) {
	in := make([]*tensor.Tensor, len(m.inputs))
	for i, v := range m.inputs {
		t := named[v.Name]
		if t == nil {
			return nil, fault.New(fault.Mismatch, "input "+v.Name, "it is missing").WithHint("the model takes %s", m.signature())
		}
		if err := fitsInput(v, t); err != nil {
			return nil, err.WithHint("the model takes %s", m.signature())
		}
		in[i] = t
		if t.Shape[0] != in[0].Shape[0] {
			return nil, fault.New(fault.Mismatch, "input "+v.Name, "it has %d rows, %q has %d", t.Shape[0], m.inputs[0].Name, in[0].Shape[0])
		}
	}
	for name := range named {
		if m.input(name) == nil {
			return nil, fault.New(fault.Mismatch, "input "+name, "the model has no such input").WithHint("the model takes %s", m.signature())
		}
	}
	return in, nil
}

func fitsInput(v *graph.Value, t *tensor.Tensor) *fault.Error {
	ok := len(t.Shape) == len(v.Shape) && t.Shape[0] > 0
	for i := range v.Shape {
		ok = ok && (!v.Shape[i].Known() || i == 0 || v.Shape[i].Size == t.Shape[i])
	}
	if t.DType != v.DType {
		return fault.New(fault.Mismatch, "input "+v.Name, "the datatype is %s", oipName(t.DType))
	}
	if !ok {
		return fault.New(fault.Mismatch, "input "+v.Name, "the shape is %s", t.Shape)
	}
	if t.DType == tensor.Float32 {
		for i, x := range t.Float32s() {
			if x-x != 0 {
				return fault.New(fault.Numeric, "input "+v.Name, "element %d is %g", i, x)
			}
		}
	}
	return nil
}

func (m *Model) input(name string) *graph.Value {
	for _, v := range m.inputs {
		if v.Name == name {
			return v
		}
	}
	return nil
}

// signature describes the inputs in words.
func (m *Model) signature() string {
	s := ""
	for i, v := range m.inputs {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%s %s %v", v.Name, oipName(v.DType), oipShape(v))
	}
	return s
}

// oipShape is the shape as OIP metadata gives it: -1 for what varies.
func oipShape(v *graph.Value) []int {
	s := make([]int, len(v.Shape))
	for i, d := range v.Shape {
		s[i] = -1
		if d.Known() && i > 0 {
			s[i] = d.Size
		}
	}
	return s
}

// Run runs checked inputs through the batcher.
func (m *Model) Run(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	return m.batch.run(ctx, in)
}

// pick returns the outputs that q asks for, all if it names none.
func (m *Model) pick(q *Infer, out []*tensor.Tensor) ([]named, error) {
	var picked []named
	if q.Outputs == nil {
		for i, v := range m.outputs {
			picked = append(picked, named{v.Name, out[i]})
		}
		return picked, nil
	}
	for _, name := range q.Outputs {
		found := false
		for i, v := range m.outputs {
			if v.Name == name {
				picked, found = append(picked, named{name, out[i]}), true
			}
		}
		if !found {
			return nil, fault.New(fault.NotFound, "output "+name, "the model has no such output")
		}
	}
	return picked, nil
}

// probabilities returns the output of that name, nil if there is none.
func (m *Model) probabilities(out []*tensor.Tensor) *tensor.Tensor {
	for i, v := range m.outputs {
		if v.Name == "probabilities" {
			return out[i]
		}
	}
	return nil
}
