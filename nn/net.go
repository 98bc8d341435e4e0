// Package nn holds functions that append the layers of a model to a graph and
// return the values they make. A layer is not an object: its parameters are
// initialisers, its forward pass is the nodes.
//
// Axis letters: B batch, T tokens, C channels, H heads, D channels per head.
package nn

import (
	"math"

	"muster/graph"
	"muster/rng"
	"muster/tensor"
)

// Net is a graph under construction with the key its parameters are drawn from.
// Parameters are drawn by name, so adding a layer does not change the others.
type Net struct {
	*graph.Builder
	Key    rng.Key
	Params []*graph.Value        // trainable initialisers in the order they were made
	Decay  map[*graph.Value]bool // parameters that weight decay applies to (matrices, not biases or norms)
	State  []graph.State         // values that a training step replaces and that are no parameters (running statistics)
}

// New returns an empty net whose parameters are drawn from key.
func New(name string, key rng.Key) *Net {
	return &Net{Builder: graph.NewBuilder(graph.New(name)), Key: key, Decay: map[*graph.Value]bool{}}
}

// param appends a trainable initialiser.
func (n *Net) param(name string, t *tensor.Tensor, decay bool) *graph.Value {
	v := n.Init(name, t)
	n.Params = append(n.Params, v)
	if decay {
		n.Decay[v] = true
	}
	return v
}

// normal draws a tensor from N(0, sd^2).
func (n *Net) normal(name string, sd float64, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.Float32, shape...)
	s := n.Key.Named(name).Stream()
	v := t.Float32s()
	for i := range v {
		v[i] = float32(sd * s.Norm())
	}
	return t
}

func constant(c float32, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.Float32, shape...)
	v := t.Float32s()
	for i := range v {
		v[i] = c
	}
	return t
}

// Linear is x [..., in] x W [in, out] + b [out]. W is drawn from N(0, gain^2/in).
func (n *Net) Linear(name string, x *graph.Value, in, out int, gain float64) *graph.Value {
	w := n.param(name+".weight", n.normal(name+".weight", gain/math.Sqrt(float64(in)), in, out), true)
	b := n.param(name+".bias", tensor.New(tensor.Float32, out), false)
	return n.Op("Add", n.Op("MatMul", x, w), b)
}

// LayerNorm normalises the last axis of x [..., C] with epsilon 1e-5.
func (n *Net) LayerNorm(name string, x *graph.Value, C int) *graph.Value {
	scale := n.param(name+".weight", constant(1, C), false)
	bias := n.param(name+".bias", tensor.New(tensor.Float32, C), false)
	return n.OpA("LayerNormalization", []graph.Attr{graph.Int("axis", -1), graph.Float("epsilon", 1e-5)}, x, scale, bias)
}

// Gelu is the tanh form of the Gaussian error linear unit (Hendrycks and Gimpel, arXiv 1606.08415).
func (n *Net) Gelu(x *graph.Value) *graph.Value {
	return n.OpA("Gelu", []graph.Attr{graph.Str("approximate", "tanh")}, x)
}

// reshape gives x the shape; 0 keeps an axis, -1 is what is left over.
func (n *Net) reshape(x *graph.Value, shape ...int64) *graph.Value {
	return n.Op("Reshape", x, n.Ints(shape...))
}

func (n *Net) transpose(x *graph.Value, perm ...int64) *graph.Value {
	return n.OpA("Transpose", []graph.Attr{graph.Ints("perm", perm...)}, x)
}

// standardise maps values from [lo, hi] to [-1, 1] inside the graph, so that the
// file takes the raw values and the preprocessing cannot get lost.
func (n *Net) standardise(x *graph.Value, lo, hi float64) *graph.Value {
	scale := 2 / (hi - lo)
	return n.Op("Add", n.Op("Mul", x, n.Scalar(float32(scale))), n.Scalar(float32(-1-lo*scale)))
}
