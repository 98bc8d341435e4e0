package exec

import (
	"testing"

	"muster/graph"
	"muster/nn"
	"muster/op"
	"muster/rng"
	"muster/tensor"
)

// vit returns a small vision transformer.
func vit(t testing.TB) *graph.Graph {
	t.Helper()
	n := nn.New("vit", rng.New(1))
	logits, err := n.ViT(nn.ViTConfig{Channels: 1, Height: 8, Width: 8, Lo: 0, Hi: 16, Classes: 10, Patch: 2, Dim: 32, Depth: 2, Heads: 4, Hidden: 48})
	if err != nil {
		t.Fatal(err)
	}
	n.Output("logits", logits)
	return n.G
}

func images(B int, seed uint64) *tensor.Tensor {
	x := tensor.New(tensor.Float32, B, 1, 8, 8)
	s := rng.New(seed).Stream()
	for i := range x.Float32s() {
		x.Float32s()[i] = 16 * s.Float32()
	}
	return x
}

func TestSessionAgreesWithReference(t *testing.T) {
	g := vit(t)
	s, err := New(g, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, B := range []int{1, 3, 64, 1} {
		x := images(B, uint64(B))
		got, err := s.Run(x)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Eval(g, []*tensor.Tensor{x})
		if err != nil {
			t.Fatal(err)
		}
		if d := tensor.Diff(got[0], want[0], 2e-5, 2e-5); d != "" {
			t.Fatalf("batch %d: %s", B, d)
		}
	}
	r, err := s.Plan(images(64, 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
}

func TestRowsDoNotDependOnTheirBatch(t *testing.T) {
	s, err := New(vit(t), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	x := images(37, 5)
	all, err := s.Run(x)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range [][2]int{{0, 1}, {5, 9}, {20, 37}} {
		part, err := s.Run(x.Rows(cut[0], cut[1]))
		if err != nil {
			t.Fatal(err)
		}
		if !tensor.Equal(part[0], all[0].Rows(cut[0], cut[1])) {
			t.Errorf("rows %v have other bits in a batch of their own", cut)
		}
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	g := vit(t)
	s, err := New(g, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	x, out := images(4, 1), tensor.New(tensor.Float32, 4, 10)
	in, outs := []*tensor.Tensor{x}, []*tensor.Tensor{out}
	if err := s.RunInto(in, outs); err != nil {
		t.Fatal(err)
	}
	r, err := s.Plan(x)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Reference) > 0 {
		t.Fatalf("operators without a kernel: %v", r.Reference)
	}
	if n := testing.AllocsPerRun(20, func() {
		if err := s.RunInto(in, outs); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a run allocates %v times", n)
	}
}

func TestStates(t *testing.T) {
	g := graph.New("count")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.D(2))
	total := b.Init("total", tensor.New(tensor.Float32, 2))
	next := b.Op("Add", total, x)
	b.Output("twice", b.Op("Add", next, next))
	g.Outputs = append(g.Outputs, next)
	s, err := New(g, Config{State: []graph.State{{In: total, Out: next}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := 1; i <= 3; i++ {
		out, err := s.Run(tensor.OfFloat32([]float32{1, 10}, 2))
		if err != nil {
			t.Fatal(err)
		}
		if len(out) != 1 || out[0].Float32s()[1] != float32(20*i) {
			t.Fatalf("run %d: %v", i, out)
		}
	}
	if v := s.StateOf("total").Float32s(); v[0] != 3 || v[1] != 30 {
		t.Errorf("state %v", v)
	}
	if err := s.SetState("total", tensor.OfFloat32([]float32{5, 5}, 2)); err != nil {
		t.Fatal(err)
	}
	if v := s.StateOf("total").Float32s(); v[0] != 5 {
		t.Errorf("state %v after SetState", v)
	}
	if s.SetState("total", tensor.New(tensor.Float32, 3)) == nil || s.SetState("other", tensor.New(tensor.Float32, 2)) == nil {
		t.Error("a wrong state was accepted")
	}
}

func TestFeedsThatDoNotFit(t *testing.T) {
	s, err := New(vit(t), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, in := range [][]*tensor.Tensor{
		nil, {nil}, {tensor.New(tensor.Float64, 1, 1, 8, 8)}, {tensor.New(tensor.Float32, 1, 8, 8)}, {tensor.New(tensor.Float32, 1, 1, 8, 9)},
	} {
		if _, err := s.Run(in...); err == nil {
			t.Errorf("%v was accepted", in)
		}
	}
	if _, err := s.Run(tensor.New(tensor.Float32, 0, 1, 8, 8)); err != nil {
		t.Logf("an empty batch: %v", err)
	}
}

// TestArenaIsShared checks that buffers whose lives do not overlap share memory.
func TestArenaIsShared(t *testing.T) {
	g := graph.New("chain")
	b := graph.NewBuilder(g)
	v := b.Input("x", tensor.Float32, graph.D(1024))
	for i := 0; i < 20; i++ {
		v = b.Op("Exp", v)
	}
	b.Output("y", v)
	s, err := New(g, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Plan(tensor.New(tensor.Float32, 1024))
	if err != nil {
		t.Fatal(err)
	}
	if r.ArenaBytes > 3*(4096+128) {
		t.Errorf("a chain of 20 nodes over 4 KiB plans %d bytes", r.ArenaBytes)
	}
}

func TestBind(t *testing.T) {
	b, _, err := op.Bind(vit(t), map[string]int{"B": 7})
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := b.Outputs[0].Static(); !ok || !s.Equal(tensor.Shape{7, 10}) {
		t.Errorf("output shape %v", b.Outputs[0].Shape)
	}
}

func BenchmarkVitForward64(b *testing.B) {
	s, err := New(vit(b), Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	x, out := images(64, 1), tensor.New(tensor.Float32, 64, 10)
	for b.Loop() {
		if err := s.RunInto([]*tensor.Tensor{x}, []*tensor.Tensor{out}); err != nil {
			b.Fatal(err)
		}
	}
}
