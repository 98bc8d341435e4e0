// Package conformance runs the ONNX project's backend test cases: every case by the references, and by a session
// with its passes and kernels.
package conformance

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"regexp"
	"slices"
	"sort"
	"strings"

	"muster/exec"
	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// Status is how a case ended.
type Status string

// A case passes, is refused for a reason (fault.Unsupported), or is wrong: it differs, or fails in another way.
const (
	Passed  Status = "passed"
	Refused Status = "refused"
	Wrong   Status = "wrong"
)

// Case is one folder with a model.onnx and its test_data_set_*.
type Case struct {
	Name   string
	Op     string // the operator it is about; the group of folders if it is about several
	Status Status
	Why    string // it did not pass
}

// Open returns the files of a folder or of a zip archive, and what closes them.
func Open(name string) (fs.FS, io.Closer, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, nil, fault.New(fault.NotFound, name, "%w", err).WithHint("name the folder of the ONNX backend tests, or a zip of it")
	}
	if st.IsDir() {
		return os.DirFS(name), io.NopCloser(nil), nil
	}
	z, err := zip.OpenReader(name)
	if err != nil {
		return nil, nil, fault.New(fault.Unsupported, name, "it is neither a folder nor a zip archive: %w", err).
			WithHint("unpack other archives first: tar -xf ARCHIVE")
	}
	return z, z, nil
}

// Run runs every case whose name matches run (nil: all), in the order of their folders. each, if not nil, sees every result at once.
func Run(files fs.FS, run *regexp.Regexp, each func(Case)) (*Report, error) {
	r := &Report{}
	err := fs.WalkDir(files, ".", func(name string, _ fs.DirEntry, err error) error {
		dir := path.Dir(name)
		if err != nil || path.Base(name) != "model.onnx" || run != nil && !run.MatchString(path.Base(dir)) {
			return err
		}
		c := runCase(files, dir)
		if each != nil {
			each(c)
		}
		r.add(c)
		return nil
	})
	if err == nil && r.Cases == 0 {
		err = fault.New(fault.NotFound, "conformance", "no folder with a model.onnx matches")
	}
	sort.Slice(r.List, func(i, j int) bool { return r.List[i].Name < r.List[j].Name })
	return r, err
}

// runCase runs one case. A panic is a wrong answer: one defect must not hide the other cases.
func runCase(files fs.FS, dir string) (c Case) {
	c = Case{Name: path.Base(dir), Op: path.Base(path.Dir(dir)), Status: Passed}
	defer func() {
		if p := recover(); p != nil {
			c.Status, c.Why = Wrong, fmt.Sprint("panic: ", p)
		}
	}()
	err := func() error {
		b, err := fs.ReadFile(files, dir+"/model.onnx")
		if err != nil {
			return err
		}
		g, err := graph.Decode(b)
		if err != nil {
			return err
		}
		c.Op = about(g, c)
		sets, err := fs.Glob(files, dir+"/test_data_set_*")
		if err != nil || len(sets) == 0 {
			return fault.New(fault.NotFound, dir, "there is no test data")
		}
		for _, set := range sets {
			if err := runSet(files, set, g); err != nil {
				return err
			}
		}
		return nil
	}()
	switch {
	case err == nil:
	case fault.ClassOf(err) == fault.Unsupported:
		c.Status, c.Why = Refused, reason(err)
	default:
		c.Status, c.Why = Wrong, err.Error()
	}
	return c
}

// about is the operator of a case: its only node, or the group of folders it is in.
func about(g *graph.Graph, c Case) string {
	var ops []string
	for _, n := range g.Nodes {
		if n.Op != "Constant" {
			ops = append(ops, n.FullOp())
		}
	}
	if len(ops) == 1 {
		return ops[0]
	}
	if name, _, ok := strings.Cut(c.Name, "_expanded"); ok {
		return expandedOf + name
	}
	return c.Op
}

// expandedOf marks a case that writes out the body of the operator of another case.
const expandedOf = "expanded:"

// reason is the innermost message of an error: without the names of the case's nodes, so that equal reasons are equal.
func reason(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

func runSet(files fs.FS, set string, g *graph.Graph) error {
	in, err := values(files, set, "input", g.Inputs)
	if err != nil {
		return err
	}
	want, err := values(files, set, "output", g.Outputs)
	if err != nil {
		return err
	}
	got, err := exec.Eval(g, in)
	if err != nil {
		return fmt.Errorf("by the references: %w", err)
	}
	if err := compare(set, g, got, want); err != nil {
		return fmt.Errorf("by the references: %w", err)
	}
	s, err := exec.New(g, exec.Config{})
	if err != nil {
		return err
	}
	defer s.Close()
	for range 2 { // the second run meets the plans and buffers of the first
		if got, err = s.Run(in...); err != nil {
			return fmt.Errorf("by the session: %w", err)
		}
		if err := compare(set, g, got, want); err != nil {
			return fmt.Errorf("by the session: %w", err)
		}
	}
	return nil
}

// values reads STEM_0.pb and so on, one for every value.
func values(files fs.FS, set, stem string, vs []*graph.Value) ([]*tensor.Tensor, error) {
	var out []*tensor.Tensor
	for i, v := range vs {
		name := fmt.Sprintf("%s/%s_%d.pb", set, stem, i)
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		t, err := graph.DecodeValue(v, b)
		if err != nil {
			return nil, fault.At(path.Base(name), err)
		}
		out = append(out, t)
	}
	return out, nil
}

// compare allows what the ONNX project's own runner allows, and more for 16-bit floats. Of drawn values, only the types are compared.
func compare(set string, g *graph.Graph, got, want []*tensor.Tensor) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d outputs, want %d", len(got), len(want))
	}
	for i, w := range want {
		if random(set, g) {
			if got[i].DType != w.DType || !got[i].Shape.Equal(w.Shape) {
				return fmt.Errorf("output %d is %s %s, want %s %s", i, got[i].DType, got[i].Shape, w.DType, w.Shape)
			}
			continue
		}
		rtol, atol := tolerance(w)
		if uses(g, "DFT") {
			// Where the terms cancel, the pack holds the rounding errors of another transform.
			atol = max(atol, 1e-6*greatest(w))
		}
		if d := tensor.Diff(got[i], w, rtol, atol); d != "" {
			return fmt.Errorf("output %d: %s", i, d)
		}
	}
	return nil
}

func tolerance(w *tensor.Tensor) (rtol, atol float64) {
	for w.DType.IsContainer() && len(w.Items) > 0 {
		w = w.Items[0]
	}
	switch {
	case w.DType == tensor.Float16 || w.DType == tensor.BFloat16:
		return 2e-2, 1e-3
	case !w.DType.IsFloat():
		return 0, 0
	}
	return 1e-3, 1e-7
}

// random reports whether g draws from a generator whose draws ONNX does not fix. Dropout draws in training mode only, and
// with a ratio above 0.
func random(set string, g *graph.Graph) bool {
	training := strings.Contains(set, "training_dropout") && !strings.Contains(set, "zero_ratio")
	for _, n := range g.Nodes {
		if o, err := op.Of(g, n); err == nil && o.Random && (n.Op != "Dropout" || training) {
			return true
		}
	}
	return false
}

// uses reports whether g has a node of this operator.
func uses(g *graph.Graph, name string) bool {
	return slices.ContainsFunc(g.Nodes, func(n *graph.Node) bool { return n.FullOp() == name })
}

// greatest is the largest magnitude in t.
func greatest(t *tensor.Tensor) float64 {
	m := 0.0
	for i, n := 0, t.Elems(); i < n; i++ {
		m = max(m, math.Abs(t.Float(i)))
	}
	return m
}
