package op_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"sort"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// TestNodeCases runs the ONNX project's own cases: testdata/node.zip, a subset of
// release 1.12 (see testdata/README.md).
func TestNodeCases(t *testing.T) {
	z, err := zip.OpenReader("testdata/node.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	r := conformance(t, z)
	if len(r.pass) < 200 || len(r.unsupported) > 0 {
		t.Errorf("%d cases pass, unsupported: %v", len(r.pass), r.unsupported)
	}
}

// TestConformance runs the full set: MUSTER_CONFORMANCE names its folder, or the tar.xz of it.
func TestConformance(t *testing.T) {
	dir := os.Getenv("MUSTER_CONFORMANCE")
	if dir == "" {
		t.Skip("MUSTER_CONFORMANCE is not set: it names the folder or the tar.xz of the ONNX backend tests")
	}
	if strings.HasSuffix(dir, ".tar.xz") {
		to := t.TempDir()
		if out, err := exec.Command("tar", "-C", to, "-xf", dir).CombinedOutput(); err != nil {
			t.Fatalf("tar: %v: %s", err, out)
		}
		dir = to
	}
	r := conformance(t, os.DirFS(dir))
	if len(r.pass) == 0 {
		t.Error("no case was found in", dir)
	}
	var missing []string
	for name, n := range r.unsupported {
		missing = append(missing, fmt.Sprintf("%s (%d)", name, n))
	}
	sort.Strings(missing)
	t.Logf("%d of %d cases pass, on the reference and on kernels; unsupported: %s", len(r.pass), r.cases, strings.Join(missing, ", "))
}

type conformed struct {
	cases       int
	pass        []string
	unsupported map[string]int // by operator or reason
}

// conformance runs every folder that has a model.onnx. A case that is not supported must say so with that class.
func conformance(t *testing.T, files fs.FS) conformed {
	t.Helper()
	r := conformed{unsupported: map[string]int{}}
	err := fs.WalkDir(files, ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || path.Base(name) != "model.onnx" {
			return err
		}
		r.cases++
		why, err := runCase(files, path.Dir(name))
		switch {
		case err != nil:
			t.Errorf("%s: %v", path.Base(path.Dir(name)), err)
		case why != "":
			r.unsupported[why]++
		default:
			r.pass = append(r.pass, name)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return r
}

// runCase returns why a case is not supported, or an error if it gives a wrong answer.
func runCase(files fs.FS, dir string) (unsupported string, err error) {
	b, err := fs.ReadFile(files, dir+"/model.onnx")
	if err != nil {
		return "", err
	}
	g, err := graph.Decode(b)
	if err != nil {
		return refusal(err, "types and forms that the reader does not take")
	}
	for _, n := range g.Nodes {
		if op.Find(n.Domain, n.Op, 1<<30) == nil && g.Function(n.Domain, n.Op) == nil {
			return n.FullOp(), nil
		}
	}
	in, want, err := caseData(files, dir)
	if err != nil {
		return refusal(err, "types of the data that are not supported")
	}
	if len(in) < len(g.Inputs) {
		return "inputs that are not tensors", nil
	}
	got, err := evalCase(g, in[:len(g.Inputs)])
	if err != nil {
		return refusal(err, "forms of "+g.Nodes[0].FullOp())
	}
	rtol := 1e-4
	if path.Base(dir) == "test_averagepool_2d_ceil_last_window_starts_on_pad" {
		rtol = 1e-3 // its results are written with four digits; 1e-3 is what the ONNX runner allows everywhere
	}
	return "", compareCase(got, want, rtol)
}

func refusal(err error, what string) (string, error) {
	if fault.ClassOf(err) == fault.Unsupported {
		return what, nil
	}
	return "", err
}

func caseData(files fs.FS, dir string) (in, want []*tensor.Tensor, err error) {
	for _, l := range []struct {
		stem string
		to   *[]*tensor.Tensor
	}{{"input", &in}, {"output", &want}} {
		for i := 0; ; i++ {
			b, err := fs.ReadFile(files, fmt.Sprintf("%s/test_data_set_0/%s_%d.pb", dir, l.stem, i))
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if err != nil {
				return nil, nil, err
			}
			x, err := decodeTensor(b)
			if err != nil {
				return nil, nil, err
			}
			*l.to = append(*l.to, x)
		}
	}
	return in, want, nil
}

// decodeTensor reads a TensorProto as the only initialiser of a model.
func decodeTensor(b []byte) (*tensor.Tensor, error) {
	// A serialized sequence or optional begins with other fields; its name (field 8) is what a tensor has in common with neither.
	field := func(to []byte, n protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(to, n, protowire.BytesType), b)
	}
	opset := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 17)
	model := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 8)
	model = field(field(model, 7, field(nil, 5, b)), 8, opset)
	g, err := graph.Decode(model)
	if err != nil {
		return nil, fault.New(fault.Unsupported, "", "%w", err)
	}
	return g.Inits[0].Const, nil
}

// evalCase feeds a case. Where a shape depends on an input, inputs of rank 0 and 1 become constants, as they are in models.
func evalCase(g *graph.Graph, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	for i, v := range g.Inputs {
		if v.DType != in[i].DType {
			return nil, fault.New(fault.Unsupported, v.Name, "it is not a tensor")
		}
		v.SetStatic(in[i].DType, in[i].Shape) // free dimensions have no names in the cases
	}
	out, err := both(g, in)
	if fault.ClassOf(err) != fault.Unsupported {
		return out, err
	}
	var feeds []*tensor.Tensor
	var inputs []*graph.Value
	for i, v := range g.Inputs {
		if len(in[i].Shape) <= 1 {
			v.Const = in[i]
			g.Inits = append(g.Inits, v)
			continue
		}
		inputs, feeds = append(inputs, v), append(feeds, in[i])
	}
	g.Inputs = inputs
	return both(g, feeds)
}

// both evaluates by the references, then by kernels where there are any, and returns the two sets of outputs.
func both(g *graph.Graph, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	a, err := eval(g, in)
	if err != nil {
		return nil, err
	}
	b, err := evalWith(g, in, kernelOrRef)
	return append(a, b...), err
}

// kernelOrRef runs a node by its kernel if it has one for these shapes.
func kernelOrRef(o *op.Op, c *op.Call, konst []bool) error {
	if o.Prepare == nil {
		return o.Ref(c)
	}
	p := &op.Prep{Node: c.Node, Out: c.Out}
	for i, x := range c.In {
		if x != nil && !konst[i] {
			x = &tensor.Tensor{DType: x.DType, Shape: x.Shape}
		}
		p.In = append(p.In, x)
	}
	k, ok := o.Prepare(p)
	if !ok {
		return o.Ref(c)
	}
	if k.Check != nil {
		if err := k.Check(c.In); err != nil {
			return err
		}
	}
	k.Run(c.In, c.Out, tensor.Alloc(k.Scratch))
	return nil
}

func compareCase(got, want []*tensor.Tensor, rtol float64) error {
	for i, y := range got {
		w := want[i%(len(got)/2)]
		rtol, atol := rtol, 1e-5
		switch {
		case w.DType == tensor.Float16 || w.DType == tensor.BFloat16:
			rtol, atol = 2e-2, 1e-3
		case !w.DType.IsFloat():
			rtol, atol = 0, 0
		}
		if d := tensor.Diff(y, w, rtol, atol); d != "" {
			form := "reference"
			if i >= len(got)/2 {
				form = "kernel"
			}
			return fmt.Errorf("output %d of the %s: %s", i%(len(got)/2), form, d)
		}
	}
	return nil
}

// TestNodeZip checks that the committed subset can be read to its end.
func TestNodeZip(t *testing.T) {
	b, err := os.ReadFile("testdata/node.zip")
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 300<<10 {
		t.Errorf("%d bytes, more than 300 KiB", len(b))
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}
