package exec

import (
	"testing"

	"muster/graph"
	"muster/tensor"
)

// Outputs are made in the caller's memory, also one that later nodes read, and one that is an input comes as a copy;
// memory that is fed at the same time is written at the end only.
func TestOutputsOfTheCaller(t *testing.T) {
	g := graph.New("outputs")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.Sym("n"))
	y := b.Op("Exp", x)
	z := b.Op("Sub", b.Op("Mul", y, x), b.Op("Neg", x))
	g.Outputs = []*graph.Value{y, z, x}
	s, err := New(g, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := tensor.OfFloat32([]float32{1, 2, 3, -1, 0.5}, 5)
	want, err := Eval(g, []*tensor.Tensor{in})
	if err != nil {
		t.Fatal(err)
	}
	equal := func(what string, got []*tensor.Tensor) {
		t.Helper()
		for i := range got {
			if d := tensor.Diff(got[i], want[i], 1e-6, 1e-6); d != "" {
				t.Errorf("%s, output %d: %s", what, i, d)
			}
		}
	}
	first, err := s.Run(in)
	if err != nil {
		t.Fatal(err)
	}
	equal("Run", first)
	other, err := s.Run(tensor.OfFloat32([]float32{9, 9, 9, 9, 9}, 5))
	if err != nil {
		t.Fatal(err)
	}
	equal("Run, after another one", first)
	if tensor.Equal(other[0], first[0]) {
		t.Error("another input gives the same outputs")
	}
	out := []*tensor.Tensor{tensor.New(tensor.Float32, 5), tensor.New(tensor.Float32, 5), tensor.New(tensor.Float32, 5)}
	if err := s.RunInto([]*tensor.Tensor{in}, out); err != nil {
		t.Fatal(err)
	}
	equal("RunInto", out)
	if p := s.r.plans[s.r.order[0]]; !same(p.out[0].Data, out[0].Data) || !same(p.out[1].Data, out[1].Data) {
		t.Error("outputs were made in the arena and copied")
	}
	shared := in.Clone()
	if err := s.RunInto([]*tensor.Tensor{shared}, []*tensor.Tensor{shared, out[1], out[2]}); err != nil {
		t.Fatal(err)
	}
	equal("RunInto over the input", []*tensor.Tensor{shared, out[1]}) // output 2 is the input, which the caller wanted replaced
	tight := &tensor.Tensor{DType: tensor.Float32, Shape: tensor.Shape{5}, Data: make([]byte, 20)}
	if err := s.RunInto([]*tensor.Tensor{in}, []*tensor.Tensor{tight, out[1], out[2]}); err != nil {
		t.Fatal(err)
	}
	equal("RunInto without room behind", []*tensor.Tensor{tight, out[1], out[2]})
}
