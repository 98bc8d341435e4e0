package op_test

import (
	"fmt"
	"strings"
	"testing"

	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// callGraph makes y = f(x) with functions whose bodies are given as "outer: inner inner".
func callGraph(bodies map[string][]string, top string) *graph.Graph {
	g := graph.New("calls")
	for name, ops := range bodies {
		body := &graph.Graph{Name: name}
		b := graph.NewBuilder(body)
		x := &graph.Value{Name: b.Unique("x")}
		body.Inputs = []*graph.Value{x}
		for _, o := range ops {
			domain := "local"
			if o == "Neg" || o == "Add" {
				domain = ""
			}
			in := []*graph.Value{x}
			if o == "Add" {
				in = append(in, x)
			}
			x = b.Node(domain, o, 1, in)[0]
		}
		body.Outputs = []*graph.Value{x}
		g.Model.Functions = append(g.Model.Functions, &graph.Function{Domain: "local", Name: name, Body: body, Opsets: map[string]int{"": graph.Opset, "local": 1}})
	}
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.Sym("N"))
	b.Output("y", b.Node("local", top, 1, []*graph.Value{x})[0])
	return g
}

func TestInlineNestedFunctions(t *testing.T) {
	g := callGraph(map[string][]string{"outer": {"inner", "Neg", "inner"}, "inner": {"Add", "Add"}}, "outer")
	y := g.Outputs[0]
	out, err := eval(g, []*tensor.Tensor{tensor.OfFloat32([]float32{1, 2}, 2)})
	if err != nil {
		t.Fatal(err)
	}
	if d := tensor.Diff(out[0], tensor.OfFloat32([]float32{-16, -32}, 2), 0, 0); d != "" {
		t.Error(d)
	}
	if err := op.InlineFunctions(g); err != nil {
		t.Fatal(err)
	}
	if err := g.Verify(); err != nil {
		t.Fatal(err)
	}
	if len(g.Nodes) != 5 || g.Outputs[0] != y || y.Name != "y" {
		t.Errorf("%d nodes, output %q", len(g.Nodes), g.Outputs[0].Name)
	}
}

func TestInlineRefusals(t *testing.T) {
	double := map[string][]string{"f0": {"Neg"}}
	for i := 1; i < 30; i++ {
		prev := fmt.Sprint("f", i-1)
		double[fmt.Sprint("f", i)] = []string{prev, prev, prev, prev, prev, prev, prev, prev}
	}
	for name, c := range map[string]struct {
		bodies map[string][]string
		top    string
		class  fault.Class
	}{
		"itself":    {map[string][]string{"f": {"Neg", "f"}}, "f", fault.Malformed},
		"mutual":    {map[string][]string{"f": {"h"}, "h": {"f"}}, "f", fault.Malformed},
		"unknown":   {map[string][]string{"f": {"nothing"}}, "f", fault.Unsupported},
		"not there": {nil, "f", fault.Unsupported},
	} {
		_, err := eval(callGraph(c.bodies, c.top), []*tensor.Tensor{tensor.New(tensor.Float32, 2)})
		if err == nil || fault.ClassOf(err) != c.class {
			t.Errorf("%s: %v, want %s", name, err, c.class)
		}
	}
	g := callGraph(double, "f29")
	if err := op.InlineFunctions(g); fault.ClassOf(err) != fault.Exhausted {
		t.Errorf("8^29 nodes: %v", err)
	}
}

func TestFunctionOpset(t *testing.T) {
	g := callGraph(map[string][]string{"f": {"Neg"}}, "f")
	f := g.Model.Functions[0]
	f.Body.Nodes[0].Op = "Softmax"
	f.Opsets[""] = 11 // flattening Softmax
	if _, err := eval(g, []*tensor.Tensor{tensor.New(tensor.Float32, 2)}); fault.ClassOf(err) != fault.Unsupported {
		t.Error(err)
	}
}

// A float attribute becomes a reference with a default; a second form of the same operator is inlined.
func TestAddFunctions(t *testing.T) {
	g := graph.New("two")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.D(3), graph.D(4))
	dy := b.Input("dy", tensor.Float32, graph.D(3), graph.D(4))
	for i, form := range []string{"none", "tanh", "none"} {
		b.Output(fmt.Sprint("g", i), b.Node(graph.Domain, "GeluGrad", 1, []*graph.Value{dy, x}, graph.Str("approximate", form))[0])
	}
	lr, step := b.Scalar(0.1), b.Scalar(3)
	for i, decay := range []float32{0, 0.5} {
		out := b.Node(graph.Domain, "AdamW", 3, []*graph.Value{x, x, b.Op("Abs", x), dy, lr, step}, graph.Float("weight_decay", decay))
		b.Output(fmt.Sprint("p", i), out[0])
	}
	feeds := []*tensor.Tensor{ff(3, 4).t, ff(3, 4).t}
	want, err := eval(g, feeds)
	if err != nil {
		t.Fatal(err)
	}
	if err := op.Infer(g); err != nil {
		t.Fatal(err)
	}
	for range 2 { // adding again changes nothing
		if err := op.AddFunctions(g); err != nil {
			t.Fatal(err)
		}
		if len(g.Model.Functions) != 2 {
			t.Fatal(len(g.Model.Functions), "functions")
		}
	}
	count := 0
	for _, n := range g.Nodes {
		if n.Domain == graph.Domain {
			count++
		}
	}
	if count != 4 {
		t.Errorf("%d private nodes are left, want 2 GeluGrad of one form and 2 AdamW", count)
	}
	for _, f := range g.Model.Functions {
		f.Domain = "elsewhere"
	}
	for _, n := range g.Nodes {
		n.Domain = strings.Replace(n.Domain, graph.Domain, "elsewhere", 1)
	}
	compare(t, sample{op: "functions"}, "exported", g, feeds, want)
}

func TestFunctionErrors(t *testing.T) {
	if _, err := op.Function(graph.Domain, "Nothing"); fault.ClassOf(err) != fault.NotFound {
		t.Error(err)
	}
	if _, err := op.Function("", "Add"); fault.ClassOf(err) != fault.Unsupported {
		t.Error(err)
	}
	f, err := op.Function(graph.Domain, "SoftmaxGrad", graph.Int("axis", 1))
	if err != nil || len(f.Body.Inits) != 0 || len(f.Body.Inputs) != 2 || f.Opsets[""] != graph.Opset {
		t.Error(f, err)
	}
}

// Constants that were computed from a value must follow when the value changes.
func TestFoldedConstantsFollow(t *testing.T) {
	g := graph.New("fold")
	b := graph.NewBuilder(g)
	w := b.Init("w", tensor.OfFloat32([]float32{1, 2}, 2))
	y := b.Output("y", b.Op("Neg", w))
	if err := op.Infer(g); err != nil || y.Const == nil {
		t.Fatal(y.Const, err)
	}
	w.Const = nil
	g.Inits, g.Inputs = nil, []*graph.Value{w}
	out, err := eval(g, []*tensor.Tensor{tensor.OfFloat32([]float32{5, 6}, 2)})
	if err != nil || out[0].Float(0) != -5 {
		t.Error(out, err)
	}
}

// Shape arithmetic on a named dimension keeps the name: the exporter's view(x, B, -1).
func TestSymbolicShapeArithmetic(t *testing.T) {
	g := graph.New("view")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.Sym("B"), graph.D(8), graph.D(3))
	batch := b.Op("Unsqueeze", b.Op("Gather", b.Op("Shape", x), b.Init("i", tensor.OfInt64([]int64{0}))), b.Ints(0))
	y := b.Op("Reshape", x, b.OpA("Concat", []graph.Attr{graph.Int("axis", 0)}, batch, b.Ints(-1)))
	z := b.Op("Expand", b.Scalar(1), b.OpA("Concat", []graph.Attr{graph.Int("axis", 0)}, batch, b.Ints(5)))
	b.Output("y", y)
	b.Output("z", z)
	if err := op.Infer(g); err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprint(y.Shape, z.Shape); s != "[B 24] [B 5]" {
		t.Error(s)
	}
}
