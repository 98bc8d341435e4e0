package attack

import (
	"math"
	"testing"

	"muster/graph"
	"muster/nn"
	"muster/rng"
	"muster/tensor"
)

// linearModel returns logits = x W with a known W, so that the best attack is known too.
func linearModel(t *testing.T) (*graph.Graph, []float32) {
	t.Helper()
	w := []float32{1, -1, 0.5, -0.5, -2, 2} // [3, 2]
	g := graph.New("linear")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.Sym("B"), graph.D(3))
	b.Output("logits", b.Op("MatMul", x, b.Init("w", tensor.OfFloat32(w, 3, 2))))
	return g, w
}

// TestPGDReachesTheOptimum: for a linear model the strongest perturbation moves every
// coordinate by eps against the margin, so robustness is exact: margin > eps * |w1-w0|_1.
func TestPGDReachesTheOptimum(t *testing.T) {
	g, w := linearModel(t)
	s := rng.New(4).Stream()
	const n, eps = 200, 0.1
	x, y, ids := tensor.New(tensor.Float32, n, 3), make([]int64, n), make([]int, n)
	for i := range x.Float32s() {
		x.Float32s()[i] = float32(2*s.Float64() - 1)
	}
	norm := 0.0
	for k := 0; k < 3; k++ {
		norm += math.Abs(float64(w[2*k] - w[2*k+1]))
	}
	want := make([]bool, n)
	for i := range y {
		ids[i] = i
		d := 0.0
		for k := 0; k < 3; k++ {
			d += float64(x.Float32s()[3*i+k]) * float64(w[2*k]-w[2*k+1])
		}
		if d < 0 {
			y[i] = 1
		}
		want[i] = math.Abs(d) < eps*norm
	}
	a, err := NewPGD(g, PGDConfig{Eps: eps, Lo: -5, Hi: 5})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	r, err := a.Run(x, y, rng.New(1), ids)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if r.Fooled[i] != want[i] {
			t.Errorf("row %d: fooled %v, want %v", i, r.Fooled[i], want[i])
		}
	}
}

// TestBudget checks the contract of every attack: inside the budget, inside the range, the
// same for any batching, and nothing at eps 0 that was not wrong before.
func TestBudget(t *testing.T) {
	n := nn.New("mlp", rng.New(1))
	logits, err := n.MLP(nn.MLPConfig{Features: 16, Classes: 4, Dim: 24, Depth: 2})
	if err != nil {
		t.Fatal(err)
	}
	n.Output("logits", logits)
	x, y, ids := tensor.New(tensor.Float32, 20, 16), make([]int64, 20), make([]int, 20)
	s := rng.New(8).Stream()
	for i := range x.Float32s() {
		x.Float32s()[i] = float32(s.Float64())
	}
	for i := range y {
		y[i], ids[i] = int64(s.Intn(4)), 100+i
	}
	const eps = 0.07
	a, err := NewPGD(n.G, PGDConfig{Eps: eps, Steps: 7, Lo: 0, Hi: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	r, err := a.Run(x, y, rng.New(3), ids)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range r.X.Float32s() {
		if d := math.Abs(float64(v - x.Float32s()[i])); d > eps+1e-6 || v < 0 || v > 1 {
			t.Fatalf("element %d moved by %g to %g", i, d, v)
		}
	}
	part, err := a.Run(x.Rows(5, 9), y[5:9], rng.New(3), ids[5:9])
	if err != nil {
		t.Fatal(err)
	}
	if !tensor.Equal(part.X, r.X.Rows(5, 9)) {
		t.Error("rows of a smaller batch are attacked differently")
	}
	none, err := NewPGD(n.G, PGDConfig{Eps: 0, Steps: 2, Lo: 0, Hi: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	r0, err := none.Run(x, y, rng.New(3), ids)
	if err != nil {
		t.Fatal(err)
	}
	if !tensor.Equal(r0.X, x) {
		t.Error("a budget of 0 moved the input")
	}
	for i := range y {
		if r0.Fooled[i] && !r.Fooled[i] {
			t.Errorf("row %d is wrong without an attack, but not under it", i)
		}
	}
}

func TestRefusals(t *testing.T) {
	g, _ := linearModel(t)
	for _, c := range []PGDConfig{{Eps: -1, Lo: 0, Hi: 1}, {Eps: 1, Lo: 1, Hi: 1}, {Eps: float32(math.NaN()), Lo: 0, Hi: 1}, {Eps: 1, Steps: -2, Lo: 0, Hi: 1}} {
		if _, err := NewPGD(g, c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
