package exec_test

import (
	"testing"

	"muster/exec"
	"muster/grad"
	"muster/graph"
	"muster/tensor"
)

// Dropout in training mode draws a new mask in every run, the same ones in every session, and the gradient passes
// through the mask of its own run.
func TestDropoutIsReplayed(t *testing.T) {
	g := graph.New("dropout")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.D(200))
	y := b.Op("Dropout", x, b.Scalar(0.5), b.Init("training", tensor.OfBool([]bool{true})))
	ones := tensor.New(tensor.Float32, 200)
	for i := range ones.Float32s() {
		ones.Float32s()[i] = 1
	}
	dx, err := grad.VJP(b, []*graph.Value{y}, []*graph.Value{b.Init("ones", ones)}, []*graph.Value{x})
	if err != nil {
		t.Fatal(err)
	}
	b.Output("y", y)
	b.Output("dx", dx[0])
	var first []*tensor.Tensor
	for range 2 {
		s, err := exec.New(g, exec.Config{})
		if err != nil {
			t.Fatal(err)
		}
		var runs []*tensor.Tensor
		for range 3 {
			out, err := s.Run(ones)
			if err != nil {
				t.Fatal(err)
			}
			if !tensor.Equal(out[0], out[1]) { // of ones, both are the mask times 2
				t.Error("the gradient has another mask than the result")
			}
			runs = append(runs, out[0].Clone())
		}
		s.Close()
		if tensor.Equal(runs[0], runs[1]) || tensor.Equal(runs[1], runs[2]) {
			t.Error("two runs draw the same mask")
		}
		for i := range first {
			if !tensor.Equal(first[i], runs[i]) {
				t.Errorf("run %d of another session draws another mask", i)
			}
		}
		first = runs
	}
}
