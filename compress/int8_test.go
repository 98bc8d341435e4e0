package compress

import (
	"math"
	"testing"

	"muster/exec"
	"muster/graph"
	"muster/nn"
	"muster/rng"
	"muster/tensor"
)

// perceptron returns a small model and a batch of inputs.
func perceptron(t *testing.T) (*graph.Graph, *tensor.Tensor) {
	t.Helper()
	n := nn.New("mlp", rng.New(1))
	logits, err := n.MLP(nn.MLPConfig{Features: 24, Classes: 5, Dim: 40, Depth: 2})
	if err != nil {
		t.Fatal(err)
	}
	n.Output("logits", logits)
	x := tensor.New(tensor.Float32, 64, 24)
	s := rng.New(2).Stream()
	for i := range x.Float32s() {
		x.Float32s()[i] = float32(s.Norm())
	}
	return n.G, x
}

func TestStaticInt8(t *testing.T) {
	g, x := perceptron(t)
	before, err := exec.Eval(g, []*tensor.Tensor{x})
	if err != nil {
		t.Fatal(err)
	}
	q, layers, err := StaticInt8(g, [][]*tensor.Tensor{{x}}, Int8Config{})
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) != 3 {
		t.Fatalf("%d layers were quantized, want 3: %v", len(layers), layers)
	}
	for _, l := range layers {
		if l.Values == 0 || !(l.High > l.Low) || l.Scale <= 0 {
			t.Errorf("%s", l)
		}
	}
	again, err := exec.Eval(g, []*tensor.Tensor{x})
	if err != nil || !tensor.Equal(before[0], again[0]) {
		t.Fatalf("the float model was changed: %v", err)
	}
	// The standard Q/DQ graph, node by node, and the same graph on integer kernels.
	ref, err := exec.Eval(q, []*tensor.Tensor{x})
	if err != nil {
		t.Fatal(err)
	}
	s, err := exec.New(q, exec.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.Run(x)
	if err != nil {
		t.Fatal(err)
	}
	if d := tensor.Diff(got[0], ref[0], 1e-3, 2e-3); d != "" {
		t.Errorf("integer kernels and the Q/DQ graph differ: %s", d)
	}
	r, err := s.Plan(x)
	if err != nil {
		t.Fatal(err)
	}
	if n := r.IntegerOps["muster.QLinearFloat"]; n != 3 || r.Integer != 6 || len(r.Reference) > 0 {
		t.Errorf("%d linear layers run on integer kernels, want 3 and their 3 quantizers: %s", n, r)
	}
	var num, den float64
	for i, v := range before[0].Float32s() {
		d := float64(got[0].Float32s()[i] - v)
		num, den = num+d*d, den+float64(v)*float64(v)
	}
	if rel := math.Sqrt(num / den); rel > 0.03 || rel == 0 {
		t.Errorf("relative error of int8 is %.4f, want a little more than 0 and below 0.03", rel)
	}
}

func TestSkippedLayersStayFloat(t *testing.T) {
	g, x := perceptron(t)
	_, all, err := StaticInt8(g, [][]*tensor.Tensor{{x}}, Int8Config{})
	if err != nil {
		t.Fatal(err)
	}
	_, some, err := StaticInt8(g, [][]*tensor.Tensor{{x}}, Int8Config{Skip: []string{all[0].Node}})
	if err != nil || len(some) != 2 {
		t.Errorf("%d layers, %v", len(some), err)
	}
}

func TestRefusals(t *testing.T) {
	g, x := perceptron(t)
	if _, _, err := StaticInt8(g, nil, Int8Config{}); err == nil {
		t.Error("no calibration data was accepted")
	}
	if _, _, err := StaticInt8(g, [][]*tensor.Tensor{{x}}, Int8Config{Clip: 0.6}); err == nil {
		t.Error("a clip of 0.6 was accepted")
	}
	bad := x.Clone()
	bad.Float32s()[3] = float32(math.NaN())
	if _, _, err := StaticInt8(g, [][]*tensor.Tensor{{bad}}, Int8Config{}); err == nil {
		t.Error("NaN in the calibration data was accepted")
	}
	empty := graph.New("none")
	b := graph.NewBuilder(empty)
	b.Output("y", b.Op("Exp", b.Input("x", tensor.Float32, graph.D(2))))
	if _, _, err := StaticInt8(empty, [][]*tensor.Tensor{{tensor.New(tensor.Float32, 2)}}, Int8Config{}); err == nil {
		t.Error("a graph without linear layers was accepted")
	}
}

func TestWeightsRoundToNearestEven(t *testing.T) {
	w := tensor.OfFloat32([]float32{1.27, -0.005, 0.015, 0}, 4, 1)
	q, s, err := weights(&graph.Node{}, w)
	if err != nil {
		t.Fatal(err)
	}
	want := []int8{127, 0, 2, 0} // 0.5 and 1.5 steps, up to the rounding of 1.27/127
	for i, v := range q.Int8s() {
		if d := v - want[i]; d < -1 || d > 1 {
			t.Errorf("weight %d is %d, want about %d (scale %g)", i, v, want[i], s.Float32s()[0])
		}
	}
}
