package op_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// Every operator that a file defines is in the table, the table is sorted, and every row is complete.
func TestTable(t *testing.T) {
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	defined := map[string]string{}
	for _, file := range sources {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for _, name := range v.Names {
				if strings.HasPrefix(name.Name, "op") {
					defined[name.Name] = file
				}
				if name.Name == "table" {
					for _, e := range v.Values[0].(*ast.CompositeLit).Elts {
						listed[e.(*ast.Ident).Name] = true
					}
				}
			}
			return true
		})
	}
	for name, file := range defined {
		if !listed[name] {
			t.Errorf("%s of %s is not in table.go", name, file)
		}
	}
	var last op.Op
	for i, o := range op.All() {
		if i > 0 && !(last.Domain < o.Domain || last.Domain == o.Domain && (last.Name < o.Name || last.Name == o.Name && last.Since < o.Since)) {
			t.Errorf("%s %s-%d is out of order", o.Domain, o.Name, o.Since)
		}
		last = o
		if o.Infer == nil || o.Ref == nil && o.Body == nil || o.Since < 1 || o.MinOut < 1 {
			t.Errorf("%s-%d lacks a rule", o.Name, o.Since)
		}
		if o.Grad == nil && o.NoGrad == "" && o.Body == nil {
			t.Errorf("%s-%d has neither a gradient nor a reason", o.Name, o.Since)
		}
		if o.Domain == graph.Domain && o.Body == nil {
			t.Errorf("%s is private and has no body", o.Name)
		}
		for _, a := range o.Defaults {
			if !strings.Contains(" "+o.Attrs+" ", " "+a.Name+" ") {
				t.Errorf("%s: default of an unknown attribute %s", o.Name, a.Name)
			}
		}
	}
}

// elsewhere are operators that one node with tensors cannot show: exec/control_test.go has graphs with subgraphs and
// sequences, and every one of them has official cases.
var elsewhere = map[string]bool{"If": true, "Loop": true, "Scan": true, "SequenceMap": true, "ConcatFromSequence": true, "SequenceAt": true,
	"SequenceConstruct": true, "SequenceEmpty": true, "SequenceErase": true, "SequenceInsert": true, "SequenceLength": true,
	"SplitToSequence": true, "Optional": true, "OptionalGetElement": true, "OptionalHasElement": true}

func TestSamplesCoverTable(t *testing.T) {
	used := map[*op.Op]bool{}
	for _, s := range samples() {
		g, n, _ := s.build(t, false)
		o, err := op.Of(g, n)
		if err != nil {
			t.Fatal(s, err)
		}
		used[o] = true
	}
	all := op.All()
	for i := range all {
		if !used[&all[i]] && !elsewhere[all[i].Name] {
			t.Errorf("%s-%d has no sample", all[i].Name, all[i].Since)
		}
	}
}

// Named dimensions do not change what is computed.
func TestSymbolic(t *testing.T) {
	for _, s := range samples() {
		g, _, feeds := s.build(t, false)
		want, err := eval(g, feeds)
		if err != nil {
			t.Fatal(s, err)
		}
		g, _, feeds = s.build(t, true)
		if err := op.Infer(g); err != nil {
			t.Fatal(s, err)
		}
		got, err := eval(g, feeds)
		if err != nil {
			t.Fatal(s, err)
		}
		for i := range want {
			if d := tensor.Diff(got[i], want[i], 0, 0); d != "" {
				t.Fatal(s, d)
			}
		}
	}
}

// A body computes what the reference computes: as it is inlined, and as the exported function.
func TestBodies(t *testing.T) {
	for _, s := range samples() {
		g, n, feeds := s.build(t, false)
		o, _ := op.Of(g, n)
		if o.Body == nil {
			continue
		}
		want, err := eval(g, feeds)
		if err != nil {
			t.Fatal(s, err)
		}
		if err := op.Infer(g); err != nil {
			t.Fatal(s, err)
		}
		inlined, _ := g.Clone()
		if err := op.Inline(inlined, inlined.Nodes[0]); err != nil {
			if fault.ClassOf(err) == fault.Unsupported && o.Ref != nil { // a form that has a reference only, and no gradient
				continue
			}
			t.Fatal(s, err)
		}
		compare(t, s, "inlined", inlined, feeds, want)
		if n.Domain == graph.Domain {
			compareFunction(t, s, g, feeds, want)
		}
	}
}

func compare(t *testing.T, s sample, what string, g *graph.Graph, feeds, want []*tensor.Tensor) {
	t.Helper()
	if err := g.Verify(); err != nil {
		t.Fatal(s, what, err)
	}
	got, err := eval(g, feeds)
	if err != nil {
		t.Fatal(s, what, err)
	}
	for i := range want {
		if d := s.diff(got[i], want[i]); d != "" {
			t.Errorf("%v %s output %d: %s", s, what, i, d)
		}
	}
}

// compareFunction adds the function, hides the operator behind another name, and evaluates by inlining the function.
func compareFunction(t *testing.T, s sample, g *graph.Graph, feeds, want []*tensor.Tensor) {
	t.Helper()
	g, _ = g.Clone()
	if err := op.AddFunctions(g); err != nil {
		t.Fatal(s, err)
	}
	for _, f := range g.Model.Functions { // one for the operator, others for what its body calls
		if f.Name == s.op {
			f.Domain, g.Nodes[0].Domain = "elsewhere", "elsewhere"
		}
	}
	if g.Nodes[0].Domain != "elsewhere" {
		t.Fatal(s, len(g.Model.Functions), "functions")
	}
	if err := op.InlineFunctions(g); err != nil {
		t.Fatal(s, err)
	}
	for _, n := range g.Nodes {
		if n.Domain == "elsewhere" {
			t.Fatal(s, "the function was not inlined")
		}
	}
	compare(t, s, "function", g, feeds, want)
}
