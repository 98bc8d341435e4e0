package op

import (
	"sort"
	"strings"
	"testing"

	"muster/fault"
	"muster/graph"
)

// TestAttributeKinds: every attribute of the table has a kind, and every kind is of an attribute.
func TestAttributeKinds(t *testing.T) {
	used := map[string]string{}
	for i := range table {
		for _, a := range strings.Fields(table[i].Attrs) {
			used[a] = table[i].Name
		}
	}
	var missing []string
	for a := range used {
		if attrKinds[a] == 0 && kindOf[used[a]+"."+a] == 0 {
			missing = append(missing, a+"("+used[a]+")")
		}
	}
	sort.Strings(missing)
	if len(missing) > 0 {
		t.Errorf("no kind: %s", strings.Join(missing, " "))
	}
	for a := range attrKinds {
		if used[a] == "" {
			t.Errorf("%s is no attribute", a)
		}
	}
}

// TestAttributeOfAnotherKind: an axis given as a string is no axis by default.
func TestAttributeOfAnotherKind(t *testing.T) {
	for _, a := range []graph.Attr{graph.Str("axis", "1"), {Name: "axis", Kind: graph.AttrInts, Ints: []int64{1}}, {Name: "axis"}} {
		g := graph.New("kinds")
		b := graph.NewBuilder(g)
		b.Output("y", b.OpA("Softmax", []graph.Attr{a}, b.Input("x", 1, graph.D(2), graph.D(3))))
		if err := Infer(g); fault.ClassOf(err) != fault.Malformed || !strings.Contains(err.Error(), "axis") {
			t.Errorf("kind %d: %v", a.Kind, err)
		}
	}
}

// TestFoldingIsBounded: what a million constants would take is not computed while shapes are inferred; shape
// arithmetic is.
func TestFoldingIsBounded(t *testing.T) {
	g := graph.New("bomb")
	b := graph.NewBuilder(g)
	size := b.Ints(foldLimit)
	for range 2 * foldTotal / (4 * foldLimit) {
		b.Output("y", b.Op("ConstantOfShape", size))
	}
	small := b.Op("Neg", b.Ints(-3))
	b.Output("n", small)
	if err := Infer(g); err != nil {
		t.Fatal(err)
	}
	bytes := 0
	for _, v := range g.Outputs {
		if v.Const != nil {
			bytes += len(v.Const.Data)
		}
	}
	if bytes > foldTotal+8 || bytes < foldTotal/2 || small.Const == nil {
		t.Errorf("%d bytes are computed, small %v", bytes, small.Const)
	}
}
