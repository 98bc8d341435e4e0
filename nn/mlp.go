package nn

import (
	"fmt"

	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// MLPConfig are the settings of a multi-layer perceptron over a feature vector.
type MLPConfig struct {
	Features int
	Classes  int
	Dim      int // channels of a hidden layer
	Depth    int // hidden layers
}

// MLP appends a perceptron with input "features" [B, Features] and returns the logits [B, Classes].
func (n *Net) MLP(c MLPConfig) (*graph.Value, error) {
	if c.Features < 1 || c.Classes < 2 || c.Dim < 1 || c.Depth < 1 {
		return nil, fault.New(fault.Mismatch, "model", "features, dim and depth must be at least 1, classes at least 2")
	}
	x, in := n.Input("features", tensor.Float32, graph.Sym("B"), graph.D(c.Features)), c.Features
	for i := 0; i < c.Depth; i++ {
		x, in = n.Gelu(n.Linear(name("hidden", i), x, in, c.Dim, 1)), c.Dim
	}
	return n.Linear("head", x, in, c.Classes, 1), nil
}

func name(stem string, i int) string { return fmt.Sprintf("%s%d", stem, i) }
