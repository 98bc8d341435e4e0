package main

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"muster/op"
	"muster/tensor"
)

// TestDifference: what agree calls WRONG.
func TestDifference(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, x *tensor.Tensor) string {
		p := filepath.Join(dir, name+".npy")
		if err := saveNPY(p, x); err != nil {
			t.Fatal(err)
		}
		return p
	}
	nan := float32(math.NaN())
	want := put("want", tensor.OfFloat32([]float32{100, 1e-6, nan}, 3))
	for _, c := range []struct {
		name string
		got  *tensor.Tensor
		says string
		rel  float64
	}{
		{"equal", tensor.OfFloat32([]float32{100, 1e-6, nan}, 3), "", 0},
		{"within a thousandth of the largest", tensor.OfFloat32([]float32{100, 0.05, nan}, 3), "", 5e-4},
		{"further off", tensor.OfFloat32([]float32{100, 0.5, nan}, 3), "output 0", 5e-3},
		{"not a number where one should be", tensor.OfFloat32([]float32{nan, 1e-6, nan}, 3), "output 0", math.Inf(1)},
		{"another shape", tensor.OfFloat32([]float32{100, 1e-6, nan}, 1, 3), "want float32 3", 0},
		{"another type", tensor.OfInt64([]int64{100, 0, 0}, 3), "want float32", 0},
	} {
		text, _, rel := difference([]string{put("got", c.got)}, []string{want}, 1e-3)
		if (text == "") != (c.says == "") || !strings.Contains(text, c.says) || !(rel == c.rel || math.Abs(rel-c.rel) < 1e-6*c.rel+1e-7) {
			t.Errorf("%s: %q, %g of the largest; want %q, %g", c.name, text, rel, c.says, c.rel)
		}
	}
	if text, _, _ := difference(nil, []string{want}, 1); !strings.Contains(text, "0 outputs") {
		t.Errorf("a missing output: %q", text)
	}
	ids := put("ids", tensor.OfInt64([]int64{7, 8}, 2))
	if text, _, _ := difference([]string{put("other", tensor.OfInt64([]int64{7, 9}, 2))}, []string{ids}, 0.5); text == "" {
		t.Error("integers must be equal, whatever the tolerance")
	}
}

// TestEngine: a task over the protocol gives outputs, times and a plan; errors come with their class.
func TestEngine(t *testing.T) {
	dir := t.TempDir()
	open, bytes, err := product(8, 4, 16, true).write(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := 4 * (8*4 + 4*16 + 8*16); bytes != want {
		t.Errorf("the product moves %d bytes, not %d", want, bytes)
	}
	var c child
	var r reply
	open.Threads = 1
	if err := c.do(open, &r); err != nil {
		t.Fatal(err)
	}
	if r.Nodes != 1 || r.Flops != 2*8*4*16 || len(r.Outputs) != 1 || r.Allocs > 1 {
		t.Errorf("%+v", r)
	}
	if err := c.do(task{Cmd: "run", Least: 5}, &r); err != nil || len(r.Wall) != 5 {
		t.Errorf("%v: %d runs, want 5", err, len(r.Wall))
	}
	if err := c.do(task{Cmd: "close"}, &r); err != nil {
		t.Error(err)
	}
	if err := c.do(task{Cmd: "run", Least: 1}, &r); err == nil {
		t.Error("a run of nothing must fail")
	}
}

// TestTables: every single graph of the tables has a name of its own, builds, and its shapes are known; training graphs build.
func TestTables(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range elementwise() {
		if seen[s.name] {
			t.Errorf("two rows are called %q", s.name)
		}
		seen[s.name] = true
		b, err := s.graph()
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		if err := op.Static(b.G); err != nil || len(b.G.Outputs) == 0 {
			t.Errorf("%s: %d outputs, %v", s.name, len(b.G.Outputs), err)
		}
	}
	for model, c := range map[string]trainConfig{
		"gpt":      {Batch: 2, Tokens: 8, Vocab: 11, Dim: 8, Depth: 1, Heads: 2},
		"resnet18": {Batch: 2},
	} {
		if _, err := stepOf(model, c); err != nil {
			t.Errorf("%s: %v", model, err)
		}
	}
}
