package main

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"muster/internal/feed"
	"muster/tensor"
)

// agree runs every model file in Muster and in ONNX Runtime on the same inputs and compares the outputs.
func agree(o *options) error {
	list, err := models()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "muster-agree-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Printf("%-34s %6s %11s %11s  %s\n", "file", "nodes", "max abs", "max rel", "verdict")
	bad := 0
	engines := map[string]*engine{}
	defer func() {
		for _, e := range engines {
			e.stop()
		}
	}()
	for _, m := range list {
		if !o.only.MatchString(m.File) {
			continue
		}
		for _, name := range []string{"muster", "ort"} {
			if e := engines[name]; e == nil || e.dead {
				if engines[name], err = start(name); err != nil {
					return err
				}
			}
		}
		v := agreeOn(m, dir, engines)
		fmt.Printf("%-34s %6d %11s %11s  %s\n", m.File, v.nodes, short(v.abs), short(v.rel), v.text)
		if v.text != "agrees" {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d files do not agree", bad)
	}
	return nil
}

type verdict struct {
	nodes    int
	abs, rel float64
	text     string
}

func short(x float64) string {
	if x < 0 {
		return "-"
	}
	return fmt.Sprintf("%.2g", x)
}

func agreeOn(m modelFile, dir string, engines map[string]*engine) verdict {
	v := verdict{abs: -1, rel: -1}
	in, err := inputsOf(m.path(), feed.Config{Shapes: m.Shapes, Seed: 1}, dir)
	if err != nil {
		v.text = "refused: " + err.Error()
		return v
	}
	t := task{Cmd: "open", Kind: "onnx", Threads: 2, File: m.path(), Inputs: in, Out: dir}
	theirs := engines["ort"].ask(t, 2*time.Minute)
	if theirs.Error != "" {
		v.text = "ONNX Runtime: " + theirs.Error
		return v
	}
	ours := engines["muster"].ask(t, 2*time.Minute)
	for _, e := range engines {
		e.ask(task{Cmd: "close"}, time.Minute)
	}
	v.nodes = ours.Nodes
	if ours.Error != "" {
		v.text = ours.Class + ": " + ours.Error
		return v
	}
	rtol := m.Rtol
	if rtol == 0 {
		rtol = 2e-5
	}
	v.text, v.abs, v.rel = difference(ours.Outputs, theirs.Outputs, rtol)
	if v.text == "" {
		v.text = "agrees"
	}
	return v
}

// difference compares outputs in files: the largest absolute difference, and the same relative to
// the largest magnitude of that output. text is empty if no output is further off than rtol of its magnitude.
func difference(got, want []string, rtol float64) (text string, abs, rel float64) {
	if len(got) != len(want) {
		return fmt.Sprintf("WRONG: %d outputs, want %d", len(got), len(want)), -1, -1
	}
	var wrong []string
	for i := range want {
		a, err := feed.ReadFile(got[i])
		if err != nil {
			return err.Error(), -1, -1
		}
		b, err := feed.ReadFile(want[i])
		if err != nil {
			return err.Error(), -1, -1
		}
		if a.DType != b.DType || !a.Shape.Equal(b.Shape) {
			wrong = append(wrong, fmt.Sprintf("output %d is %s %s, want %s %s", i, a.DType, a.Shape, b.DType, b.Shape))
			continue
		}
		d, r := distance(a, b)
		abs, rel = math.Max(abs, d), math.Max(rel, r)
		if !(r <= rtol) || !b.DType.IsFloat() && d > 0 {
			wrong = append(wrong, fmt.Sprintf("output %d", i))
		}
	}
	if len(wrong) > 0 {
		return "WRONG: " + strings.Join(wrong, ", "), abs, rel
	}
	return "", abs, rel
}

// distance is the largest difference, and that over the largest magnitude of b. A NaN that only one has is infinitely far.
func distance(a, b *tensor.Tensor) (abs, rel float64) {
	top := 0.0
	for i, n := 0, b.Elems(); i < n; i++ {
		x, y := a.Float(i), b.Float(i)
		if math.IsNaN(x) && math.IsNaN(y) || x == y {
			top = math.Max(top, finite(y))
			continue
		}
		d := math.Abs(x - y)
		if math.IsNaN(d) {
			d = math.Inf(1)
		}
		abs, top = math.Max(abs, d), math.Max(top, finite(y))
	}
	if abs == 0 {
		return 0, 0
	}
	return abs, abs / math.Max(top, 1e-30)
}

func finite(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return math.Abs(x)
}
