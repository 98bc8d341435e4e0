package train

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"muster/data"
	"muster/fault"
	"muster/graph"
	"muster/internal/cpu"
	"muster/internal/team"
	"muster/record"
)

// small is a specification that trains in a moment.
func small() Spec {
	s := Default()
	s.Model = ModelSpec{Family: "vit", Patch: 4, Dim: 16, Depth: 1, Heads: 2, Hidden: 24}
	s.Data.Shift, s.Data.Rotate = 1, 5
	s.Epochs, s.Batch = 2, 50
	return s
}

// digits returns a part of the digits with roles.
func digits(t *testing.T, n int) (*data.Set, *data.Ledger) {
	t.Helper()
	all, err := data.Open("builtin:digits", data.OpenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	set := all.Select(rows)
	l, err := data.Assign(set, data.SplitConfig{Seed: 1})
	if err == nil {
		err = l.Apply(set)
	}
	if err != nil {
		t.Fatal(err)
	}
	return set, l
}

func digestOf(t *testing.T, r *Result) record.Digest {
	t.Helper()
	d, err := r.Model.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestBitsDoNotDependOnTheMachine trains on every tier and several thread counts.
func TestBitsDoNotDependOnTheMachine(t *testing.T) {
	set, l := digits(t, 200)
	var want record.Digest
	for tier := cpu.Best(); tier >= cpu.Ref; tier-- {
		for _, threads := range []int{1, 2, 3, 7} {
			if tier == cpu.Ref && threads != 2 {
				continue // plain Go is slow, and threads were covered above
			}
			restore, undo := cpu.Force(tier), team.Resize(threads)
			res, err := Run(context.Background(), small(), set, l, Config{})
			restore()
			undo()
			if err != nil {
				t.Fatal(err)
			}
			got := digestOf(t, res)
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("%s with %d threads trains %s, not %s", tier, threads, got.Short(), want.Short())
			}
		}
	}
}

// TestResumeGivesTheSameBits stops a run in the middle of an epoch and goes on.
func TestResumeGivesTheSameBits(t *testing.T) {
	set, l := digits(t, 400)
	whole, err := Run(context.Background(), small(), set, l, Config{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, stop := range []int{3, 4, 7} {
		if _, err := Run(context.Background(), small(), set, l, Config{Dir: dir, StopAt: stop}); fault.ClassOf(err) != fault.Exhausted {
			t.Fatalf("stop at %d: %v", stop, err)
		}
	}
	res, err := Run(context.Background(), small(), set, l, Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if res.Resumed != 7 || digestOf(t, res) != digestOf(t, whole) {
		t.Errorf("resumed at %d, digest %s, want %s", res.Resumed, digestOf(t, res).Short(), digestOf(t, whole).Short())
	}
	if len(res.Curve) != len(whole.Curve) || res.Curve[0].Loss != whole.Curve[0].Loss {
		t.Errorf("the learning curve has other values: %v, %v", res.Curve, whole.Curve)
	}
	other := small()
	other.Seed = 9
	if _, err := Run(context.Background(), other, set, l, Config{Dir: dir}); fault.ClassOf(err) != fault.Mismatch {
		t.Errorf("a checkpoint of another specification: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "checkpoint.onnx"), []byte("half a file"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(context.Background(), small(), set, l, Config{Dir: dir}); fault.ClassOf(err) != fault.Malformed {
		t.Errorf("a broken checkpoint: %v", err)
	}
}

func TestTrainingLearns(t *testing.T) {
	set, l := digits(t, 600)
	s := small()
	s.Epochs, s.Optim.LR = 12, 5e-3
	res, err := Run(context.Background(), s, set, l, Config{})
	if err != nil {
		t.Fatal(err)
	}
	first, last := res.Curve[0].Loss, res.Curve[len(res.Curve)-1].Loss
	if last > 0.8*first {
		t.Errorf("the loss went from %.3f to %.3f", first, last)
	}
}

// TestLowPrecision: products in bfloat16 give a loss curve close to that of float32, other bits, and the same ones
// on every tier.
func TestLowPrecision(t *testing.T) {
	set, l := digits(t, 200)
	s := small()
	s.Epochs = 4
	whole, err := Run(context.Background(), s, set, l, Config{})
	if err != nil {
		t.Fatal(err)
	}
	s.Precision = "bf16"
	var first record.Digest
	for tier := cpu.Best(); tier >= cpu.Ref; tier-- {
		restore := cpu.Force(tier)
		res, err := Run(context.Background(), s, set, l, Config{})
		restore()
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range res.Curve {
			if want := whole.Curve[i].Loss; math.Abs(p.Loss-want) > 0.02*want {
				t.Errorf("%s: the loss of epoch %d is %g, in float32 %g", tier, i+1, p.Loss, want)
			}
		}
		d := digestOf(t, res)
		if first == "" {
			first = d
		}
		if d != first {
			t.Errorf("%s trains %s, not %s", tier, d.Short(), first.Short())
		}
	}
	if first == digestOf(t, whole) {
		t.Error("bf16 gives the bits of float32: nothing was rounded")
	}
}

// TestPerceptronOnTable trains on mixed columns.
func TestPerceptronOnTable(t *testing.T) {
	set, err := data.Open("builtin:german-credit", data.OpenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := data.Assign(set, data.SplitConfig{Seed: 1})
	if err == nil {
		err = l.Apply(set)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := small()
	s.Model, s.Epochs = ModelSpec{Family: "mlp", Dim: 16, Depth: 1}, 8
	res, err := Run(context.Background(), s, set, l, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if first, last := res.Curve[0].Loss, res.Curve[len(res.Curve)-1].Loss; last > 0.95*first {
		t.Errorf("the loss went from %.3f to %.3f", first, last)
	}
}

// TestCheckpointRunsElsewhere: every private operator of the file has a body of standard ones.
func TestCheckpointRunsElsewhere(t *testing.T) {
	set, l := digits(t, 200)
	dir := t.TempDir()
	if _, err := Run(context.Background(), small(), set, l, Config{Dir: dir, StopAt: 2}); fault.ClassOf(err) != fault.Exhausted {
		t.Fatal(err)
	}
	g, err := graph.Load(filepath.Join(dir, "checkpoint.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	have, private := map[string]bool{}, 0
	for _, f := range g.Model.Functions {
		have[f.Domain+"."+f.Name] = true
	}
	for _, n := range g.Nodes {
		if n.Domain == "" {
			continue
		}
		if private++; !have[n.Domain+"."+n.Op] {
			t.Errorf("%s has no body in the file", n.Place())
		}
	}
	if private == 0 {
		t.Error("there is no private operator: this test tests nothing")
	}
}

func TestStopsAtNaN(t *testing.T) {
	set, l := digits(t, 200)
	s := small()
	s.Optim.LR, s.Optim.ClipNorm, s.Schedule.Warmup = 9.9, 0, 0
	s.Optim.WeightDecay = 1e6 // every step multiplies the weights by about -1e7: they overflow soon
	_, err := Run(context.Background(), s, set, l, Config{})
	if fault.ClassOf(err) != fault.Numeric {
		t.Errorf("a diverging run: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	set, l := digits(t, 200)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, small(), set, l, Config{}); err == nil {
		t.Error("a cancelled run ended well")
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"epoch: 3\n", "epoch"},
		{"model: {dimension: 3}\n", "dimension"},
		{"epochs: three\n", "three"},
		{"epochs: -1\n", "epochs"},
		{"optimizer: {lr: 100}\n", "optimizer.lr"},
		{"precision: f16\n", "precision"},
		{"model: {family: rnn}\n", "model.family"},
		{"model: {family: mlp, heads: 2}\n", "model.patch, heads"},
		{"\tx", ""},
	} {
		_, err := Parse("spec.yaml", []byte(c.text))
		var fe *fault.Error
		if !errors.As(err, &fe) || fault.ClassOf(err) != fault.Malformed || !strings.Contains(err.Error(), c.want) || fault.HintOf(err) == "" {
			t.Errorf("%q: %v (hint %q)", c.text, err, fault.HintOf(err))
		}
	}
}

// TestParseKeepsWhatIsWritten: sizes that are left out are those of the family, a written 0 stays a 0.
func TestParseKeepsWhatIsWritten(t *testing.T) {
	for text, want := range map[string]ModelSpec{
		"epochs: 3\n":                      {Family: "vit", Patch: 2, Dim: 64, Depth: 3, Heads: 4, Hidden: 128},
		"model: {heads: 0, dim: 8}\n":      {Family: "vit", Patch: 2, Dim: 8, Depth: 3, Heads: 0, Hidden: 128},
		"model: {family: mlp, depth: 2}\n": {Family: "mlp", Dim: 64, Depth: 2},
	} {
		if s, err := Parse("spec.yaml", []byte(text)); err != nil || !reflect.DeepEqual(s.Model, want) {
			t.Errorf("%q: %+v, %v", text, s.Model, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("epochs: 3\nmodel: {family: mlp, dim: 8}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Parse("spec", b); err != nil && fault.ClassOf(err) == fault.Internal {
			t.Fatalf("an error without a class: %v", err)
		}
	})
}
