package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/graph"
	"muster/internal/feed"
	"muster/op"
	"muster/tensor"
)

// product saves y = softmax(x W) with x [batch, 64], and one more node of the given operator if that is not empty.
func product(t *testing.T, extra string) string {
	t.Helper()
	b := graph.NewBuilder(graph.New("product"))
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.D(64))
	y := b.OpA("Softmax", []graph.Attr{graph.Int("axis", -1)}, b.Op("MatMul", x, b.Init("w", tensor.New(tensor.Float32, 64, 32))))
	if extra != "" {
		y = b.Op(extra, y)
		y.DType = tensor.Float32
	} else if err := op.Infer(b.G); err != nil {
		t.Fatal(err)
	}
	b.Output("y", y)
	path := filepath.Join(t.TempDir(), "product.onnx")
	if err := b.G.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBenchVerb(t *testing.T) {
	path := product(t, "")
	code, out, errs := call("bench", path, "--shape", "batch=5", "--runs", "7", "--duration", "10ms", "--profile", "--threads", "1", "--json")
	if code != 0 {
		t.Fatalf("status %d: %s", code, errs)
	}
	var r benchmark
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	l := r.Latency
	if l.N != 7 || l.Min <= 0 || l.Min > l.Median || l.Median > l.P95 {
		t.Errorf("latency %+v of 7 runs", l)
	}
	if len(r.Assumed) != 0 || !r.Inputs[0].Shape.Equal(tensor.Shape{5, 64}) || r.Threads != 1 {
		t.Errorf("fed %v, assumed %v, %d threads", r.Inputs, r.Assumed, r.Threads)
	}
	if want := 2 * 5 * 64 * 32; r.Plan.Flops < int64(want) {
		t.Errorf("%d FLOP, the product alone takes %d", r.Plan.Flops, want)
	}
	share := 0.0
	for _, o := range r.Ops {
		share += o.Share
	}
	if len(r.Ops) != 2 || share < 0.999 || share > 1.001 {
		t.Errorf("the profile %+v should hold two operators and add up", r.Ops)
	}
	if r.Resident < 1<<20 {
		t.Errorf("%d bytes resident", r.Resident)
	}
}

func TestBenchTakesFilesAndSaysWhatItAssumes(t *testing.T) {
	path := product(t, "")
	b, err := feed.EncodeNPY(tensor.New(tensor.Float32, 3, 64))
	if err != nil {
		t.Fatal(err)
	}
	x := filepath.Join(t.TempDir(), "x.npy")
	if err := os.WriteFile(x, b, 0o644); err != nil {
		t.Fatal(err)
	}
	_, out, errs := call("bench", path, "--input", "x="+x, "--runs", "3", "--duration", "10ms")
	if !strings.Contains(out, "3x64, "+x) || strings.Contains(out, "assumed") {
		t.Errorf("the input from a file:\n%s%s", out, errs)
	}
	_, out, _ = call("bench", path, "--runs", "3", "--duration", "10ms")
	if !strings.Contains(out, "assumed batch = 1") || !strings.Contains(out, "(n=3)") {
		t.Errorf("an open dimension is assumed and said:\n%s", out)
	}
}

func TestBenchRefuses(t *testing.T) {
	path := product(t, "")
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no such dimension", []string{"--shape", "rows=3"}, 8, "batch, x"},
		{"a shape that is none", []string{"--shape", "batch=3y"}, 3, "3x224x224"},
		{"no name", []string{"--shape", "3x4"}, 2, "NAME"},
		{"against the file", []string{"--shape", "x=3x65"}, 5, "axis 1"},
		{"no such file", []string{"--input", "x=none.npy"}, 8, "none.npy"},
		{"negative runs", []string{"--runs", "-1"}, 2, "negative"},
	} {
		code, _, errs := call(append([]string{"bench", path}, c.args...)...)
		if code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%s: status %d, want %d with %q in\n%s", c.name, code, c.code, c.says, errs)
		}
	}
}

// TestInspectVerb: operators with what they run on; an operator that nobody has is listed, not an error.
func TestInspectVerb(t *testing.T) {
	var in inspection
	code, out, errs := call("inspect", product(t, ""), "--shape", "batch=9", "--json")
	if code != 0 || json.Unmarshal([]byte(out), &in) != nil {
		t.Fatalf("status %d\n%s%s", code, out, errs)
	}
	if in.Plan == nil || in.Plan.Flops < 2*9*64*32 || in.Parameters != 64*32 || len(in.Unsupported) != 0 {
		t.Errorf("%+v", in)
	}
	if o := in.Operators[0]; o.Name != "MatMul" || o.Nodes != 1 || o.Runs != "kernel" || o.Gradient != "yes" {
		t.Errorf("%+v", o)
	}
	in = inspection{}
	code, out, errs = call("inspect", product(t, "Sharpen"), "--json")
	if code != 0 || json.Unmarshal([]byte(out), &in) != nil {
		t.Fatalf("status %d\n%s%s", code, out, errs)
	}
	if in.Plan != nil || in.NoPlan == "" || len(in.Unsupported) != 1 || !strings.Contains(in.Unsupported[0], "Sharpen") {
		t.Errorf("an operator that nobody has: %+v", in)
	}
	if code, _, _ := call("inspect", product(t, ""), "--shape", "x=1x1"); code == 0 {
		t.Error("a shape against the file is an error")
	}
}
