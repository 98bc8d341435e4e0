package pass_test

import (
	"testing"

	"muster/compress"
	"muster/exec"
	"muster/graph"
	"muster/nn"
	"muster/op"
	"muster/pass"
	"muster/rng"
	"muster/tensor"
)

// model is a small vision transformer with an Identity in it.
func model(t *testing.T) (*graph.Graph, *tensor.Tensor) {
	t.Helper()
	n := nn.New("vit", rng.New(3))
	logits, err := n.ViT(nn.ViTConfig{Channels: 1, Height: 4, Width: 4, Lo: 0, Hi: 1, Classes: 3, Patch: 2, Dim: 8, Depth: 1, Heads: 2, Hidden: 12})
	if err != nil {
		t.Fatal(err)
	}
	n.Output("logits", n.Op("Identity", n.Op("Identity", logits)))
	x := tensor.New(tensor.Float32, 5, 1, 4, 4)
	s := rng.New(4).Stream()
	for i := range x.Float32s() {
		x.Float32s()[i] = s.Float32()
	}
	return n.G, x
}

// TestEveryPassKeepsTheAnswers runs the reference before and after all passes, on a float
// and on a quantized graph, and checks that each pass that should fire does.
func TestEveryPassKeepsTheAnswers(t *testing.T) {
	g, x := model(t)
	q, _, err := compress.StaticInt8(g, [][]*tensor.Tensor{{x}}, compress.Int8Config{})
	if err != nil {
		t.Fatal(err)
	}
	fired := map[string]int{}
	for _, g := range []*graph.Graph{g, q} {
		want, err := exec.Eval(g, []*tensor.Tensor{x})
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := op.Bind(g, map[string]int{"B": 5})
		if err != nil {
			t.Fatal(err)
		}
		before := len(b.Nodes)
		if err := pass.Optimize(b, pass.Config{Verify: true, Trace: func(name string, n int, _ *graph.Graph) { fired[name] += n }}); err != nil {
			t.Fatal(err)
		}
		if len(b.Nodes) >= before {
			t.Errorf("%d nodes before, %d after", before, len(b.Nodes))
		}
		got, err := exec.Eval(b, []*tensor.Tensor{x})
		if err != nil {
			t.Fatal(err)
		}
		if d := tensor.Diff(got[0], want[0], 2e-5, 2e-5); d != "" {
			t.Error(d)
		}
	}
	for _, name := range []string{"identity", "qdq", "attention", "linear"} {
		if fired[name] == 0 {
			t.Errorf("pass %s never fired", name)
		}
	}
}

// A transpose of the last two axes is read by the product in place.
func TestTransposeMatMul(t *testing.T) {
	g := graph.New("transposed")
	b := graph.NewBuilder(g)
	x, w := b.Input("x", tensor.Float32, graph.D(2), graph.D(3), graph.D(4)), b.Input("w", tensor.Float32, graph.D(2), graph.D(5), graph.D(4))
	b.Output("y", b.Op("MatMul", x, b.OpA("Transpose", []graph.Attr{graph.Ints("perm", 0, 2, 1)}, w)))
	feeds := []*tensor.Tensor{tensor.New(tensor.Float32, 2, 3, 4), tensor.New(tensor.Float32, 2, 5, 4)}
	for _, f := range feeds {
		for i := range f.Float32s() {
			f.Float32s()[i] = float32(i%7) - 2
		}
	}
	want, err := exec.Eval(g, feeds)
	if err != nil {
		t.Fatal(err)
	}
	if g, _, err = op.Bind(g, nil); err != nil {
		t.Fatal(err)
	}
	if err := pass.Optimize(g, pass.Config{Verify: true}); err != nil {
		t.Fatal(err)
	}
	got, err := exec.Eval(g, feeds)
	if err != nil {
		t.Fatal(err)
	}
	if d := tensor.Diff(got[0], want[0], 0, 0); d != "" || len(g.Nodes) != 1 {
		t.Errorf("%d nodes: %s", len(g.Nodes), d)
	}
}

// TestOrder checks that every pass comes after those it names.
func TestOrder(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range pass.List() {
		if seen[p.Name] {
			t.Errorf("pass %s is listed twice", p.Name)
		}
		for _, a := range p.After {
			if !seen[a] {
				t.Errorf("pass %s must come after %s", p.Name, a)
			}
		}
		if seen[p.Name] {
			t.Errorf("pass %s is listed twice", p.Name)
		}
		seen[p.Name] = true
	}
}

// TestDynamicQuant checks the fusing of a layer as quantizers write it, per tensor and per column, with and without a bias.
func TestDynamicQuant(t *testing.T) {
	r := rng.New(9).Stream()
	floats := func(n int, at float32, shape ...int) *tensor.Tensor {
		v := make([]float32, n)
		for i := range v {
			v[i] = at * (r.Float32() + 0.1)
		}
		return tensor.OfFloat32(v, shape...)
	}
	for _, perColumn := range []bool{false, true} {
		for _, biased := range []bool{false, true} {
			const m, k, n = 5, 12, 7
			g := graph.New("layer")
			b := graph.NewBuilder(g)
			x := b.Input("x", tensor.Float32, graph.D(m), graph.D(k))
			q := b.Node("", "DynamicQuantizeLinear", 3, []*graph.Value{x})
			w := make([]int8, k*n)
			for i := range w {
				w[i] = int8(r.Float32()*255 - 128)
			}
			scale, zero := b.Init("s", floats(1, 0.01)), b.Init("z", tensor.OfInt8([]int8{0}))
			if perColumn {
				scale, zero = b.Init("s", floats(n, 0.01, n)), nil
			}
			y := b.Node("", "MatMulInteger", 1, []*graph.Value{q[0], b.Init("w", tensor.OfInt8(w, k, n)), q[2], zero})[0]
			y = b.Op("Mul", b.OpA("Cast", []graph.Attr{graph.Int("to", int64(tensor.Float32))}, y), b.Op("Mul", q[1], scale))
			if biased {
				y = b.Op("Add", b.Init("bias", floats(n, 1, n)), y)
			}
			b.Output("y", y)
			in := []*tensor.Tensor{floats(m*k, 1, m, k)}
			want, err := exec.Eval(g, in)
			if err != nil {
				t.Fatal(err)
			}
			bound, _, err := op.Bind(g, nil)
			if err != nil {
				t.Fatal(err)
			}
			fired := 0
			trace := func(name string, n int, _ *graph.Graph) {
				if name == "dynamic-quant" {
					fired += n
				}
			}
			if err := pass.Optimize(bound, pass.Config{Verify: true, Trace: trace}); err != nil {
				t.Fatal(err)
			}
			if got, err := exec.Eval(bound, in); err != nil || fired != 1 || len(bound.Nodes) != 2 {
				t.Errorf("per column %v, bias %v: fired %d times, %d nodes, %v", perColumn, biased, fired, len(bound.Nodes), err)
			} else if d := tensor.Diff(got[0], want[0], 1e-5, 1e-5); d != "" {
				t.Error(d)
			}
		}
	}
}
