package train

import (
	"context"
	"path/filepath"
	"testing"

	"muster/exec"
	"muster/fault"
	"muster/graph"
	"muster/nn"
	"muster/rng"
	"muster/tensor"
)

// saveViT writes an untrained vision transformer over digits, at an opset, and returns its path.
func saveViT(t *testing.T) string {
	t.Helper()
	n := nn.New("vit", rng.New(3))
	logits, err := n.ViT(nn.ViTConfig{Channels: 1, Height: 8, Width: 8, Lo: 0, Hi: 16, Classes: 10, Patch: 4, Dim: 16, Depth: 1, Heads: 2, Hidden: 24})
	if err != nil {
		t.Fatal(err)
	}
	n.Output("logits", logits)
	path := filepath.Join(t.TempDir(), "vit.onnx")
	if err := n.G.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func tuning(from string) Spec {
	s := small()
	s.Model = defaultModel("onnx")
	s.Model.Import(from)
	s.Epochs, s.Optim.LR = 6, 5e-3
	return s
}

// A file is fine-tuned below a new head and by its own logits: the loss falls, and the result runs.
func TestFineTuning(t *testing.T) {
	set, l := digits(t, 400)
	path := saveViT(t)
	for _, head := range []string{"linear", "logits"} {
		s := tuning(path)
		s.Model.Head = head
		res, err := Run(context.Background(), s, set, l, Config{})
		if err != nil {
			t.Fatal(head, err)
		}
		if first, last := res.Curve[0].Loss, res.Curve[len(res.Curve)-1].Loss; last > 0.97*first {
			t.Errorf("head %s: the loss went from %.3f to %.3f", head, first, last)
		}
		r, err := exec.New(res.Model, exec.Config{})
		if err != nil {
			t.Fatal(head, err)
		}
		out, err := r.Run(set.X([]int{0, 1, 2}))
		r.Close()
		if err != nil || !out[0].Shape.Equal(tensor.Shape{3, 10}) {
			t.Errorf("head %s: %v, %v", head, out, err)
		}
	}
}

// Only what model.train names is trained.
func TestFineTuningOfAPart(t *testing.T) {
	set, l := digits(t, 200)
	path := saveViT(t)
	s := tuning(path)
	s.Model.Head, s.Model.Train, s.Epochs = "logits", "^head", 1
	res, err := Run(context.Background(), s, set, l, Config{})
	if err != nil {
		t.Fatal(err)
	}
	before, err := graph.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range before.Inits {
		changed := !tensor.Equal(v.Const, res.Model.Init(v.Name).Const)
		if want := v.Name == "head.weight" || v.Name == "head.bias"; changed != want {
			t.Errorf("%s: changed %v, want %v", v.Name, changed, want)
		}
	}
}

func TestFineTuningRefuses(t *testing.T) {
	set, l := digits(t, 200)
	path := saveViT(t)
	for name, c := range map[string]struct {
		change func(s *Spec)
		class  fault.Class
	}{
		"no file":           {func(s *Spec) { s.Model.From = path + ".not" }, fault.NotFound},
		"another digest":    {func(s *Spec) { s.Model.Digest = "sha256:00" }, fault.Mismatch},
		"no such input":     {func(s *Spec) { s.Model.Input = "pixels" }, fault.NotFound},
		"no such output":    {func(s *Spec) { s.Model.Output = "z" }, fault.NotFound},
		"no such feed":      {func(s *Spec) { s.Model.Feed = map[string]FeedValue{"z": {}} }, fault.NotFound},
		"nothing to train":  {func(s *Spec) { s.Model.Head, s.Model.Train = "logits", "^none$" }, fault.Mismatch},
		"a bad expression":  {func(s *Spec) { s.Model.Train = "(" }, fault.Malformed},
		"not a probability": {func(s *Spec) { s.Model.Head = "probability" }, fault.Mismatch},
		"std of 0":          {func(s *Spec) { s.Model.Std = []float64{0} }, fault.Mismatch},
	} {
		s := tuning(path)
		c.change(&s)
		if _, err := Run(context.Background(), s, set, l, Config{}); fault.ClassOf(err) != c.class {
			t.Errorf("%s: %v, want %v", name, err, c.class)
		}
	}
}
