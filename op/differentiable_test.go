package op_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"muster/op"
	"muster/tensor"
)

var update = flag.Bool("update", false, "rewrite docs/gradients.md")

const gradientsPage = "../docs/gradients.md"

// tag is an input that ONNX tags as differentiable.
type tag struct {
	op    string
	since int
	in    int
	name  string
}

func tags(t *testing.T) []tag {
	t.Helper()
	f, err := os.Open("testdata/differentiable.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []tag
	for s := bufio.NewScanner(f); s.Scan(); {
		var x tag
		if strings.HasPrefix(s.Text(), "#") {
			continue
		}
		if _, err := fmt.Sscan(s.Text(), &x.op, &x.since, &x.in, &x.name); err != nil {
			t.Fatalf("%q: %v", s.Text(), err)
		}
		list = append(list, x)
	}
	return list
}

// differentiated says which inputs of which operators the samples of TestGradients take a gradient by.
func differentiated(t *testing.T) map[string]map[int]bool {
	t.Helper()
	done := map[string]map[int]bool{}
	for _, s := range samples() {
		r, ok, err := differentiate(t, s, tensor.Float64, false)
		if !ok || err != nil || s.domain != "" {
			continue
		}
		if done[s.op] == nil {
			done[s.op] = map[int]bool{}
		}
		for _, k := range r.wrt {
			done[s.op][s.node(k)] = true
		}
	}
	return done
}

// node is the input of the node that feed k goes to.
func (s sample) node(k int) int {
	for i, a := range s.in {
		if a.t == nil || a.konst {
			continue
		}
		if k == 0 {
			return i
		}
		k--
	}
	return -1
}

// state says how a tag stands: covered, or why not.
func (x tag) state(done map[string]map[int]bool) (covered bool, why string) {
	o := op.Find("", x.op, 1<<30)
	switch {
	case o == nil:
		return false, "the operator is not supported"
	case o.NoGrad != "":
		return false, "refused: " + o.NoGrad
	case steps[x.op]:
		return true, "0: constant between jumps"
	case done[x.op][x.in]:
		return true, "checked by finite differences"
	}
	for _, k := range constantInputs[x.op] {
		if k == x.in {
			return false, "refused: this input is taken as constant"
		}
	}
	return false, "no sample takes a gradient by it"
}

// docs/gradients.md says how every input stands that ONNX tags as differentiable, and at least
// 95% of those of supported operators are covered.
func TestDifferentiableTags(t *testing.T) {
	done := differentiated(t)
	var rows strings.Builder
	covered, supported, total := 0, 0, 0
	for _, x := range tags(t) {
		ok, why := x.state(done)
		total++
		if op.Find("", x.op, 1<<30) != nil {
			supported++
		}
		mark := ""
		if ok {
			covered++
			mark = "yes"
		}
		fmt.Fprintf(&rows, "| %s | %d | %s | %s | %s |\n", x.op, x.in, x.name, mark, why)
	}
	page := fmt.Sprintf(`# Gradients

ONNX tags the inputs of its operators by which a derivative makes sense. Muster supports operators with %d of the
%d tagged inputs and differentiates by %d of them (%.1f%%). Every rule is checked in float64: the gradient along a random direction
equals a central difference of the reference. This page is written by a test: %s.

| operator | input | name | covered | how, or why not |
|---|---|---|---|---|
%s`, supported, total, covered, 100*float64(covered)/float64(supported), "`go test ./op -run TestDifferentiableTags -update`", rows.String())
	if float64(covered) < 0.95*float64(supported) {
		t.Errorf("%d of %d tagged inputs of supported operators are covered, less than 95%%", covered, supported)
	}
	if *update {
		if err := os.WriteFile(gradientsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(gradientsPage); err != nil || string(have) != page {
		t.Errorf("%s is not what the rules give now (%v); rewrite it with -update", gradientsPage, err)
	}
}
