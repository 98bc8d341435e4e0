package data

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"muster/fault"
	"muster/record"
)

func open(t testing.TB, source string) *Set {
	t.Helper()
	s, err := Open(source, OpenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The counts of digits are those of scikit-learn's load_digits; the first row is the first
// line of the file.
func TestBuiltinDigits(t *testing.T) {
	s := open(t, "builtin:digits")
	if s.Len() != 1797 || s.Image().Values.Shape.String() != "1797x1x8x8" {
		t.Fatalf("%d rows, %s", s.Len(), s.Image().Values.Shape)
	}
	if lo, hi := s.Image().Range(); lo != 0 || hi != 16 {
		t.Errorf("range %g to %g", lo, hi)
	}
	want := []float32{0, 0, 5, 13, 9, 1, 0, 0}
	if got := s.Image().Values.Float32s()[:8]; !slices.Equal(got, want) {
		t.Errorf("first pixels %v, want %v", got, want)
	}
	checkCounts(t, s, []int{178, 182, 177, 183, 181, 182, 181, 179, 174, 180})
	if got := s.Digest(); got.Short() != "13b286f8b3fd" {
		t.Errorf("digest %s; runs and ledgers of this set refer to another", got)
	}
}

func checkCounts(t *testing.T, s *Set, want []int) {
	t.Helper()
	got := make([]int, len(s.Classes()))
	for _, l := range s.Labels() {
		got[l]++
	}
	if !slices.Equal(got, want) {
		t.Errorf("rows of each class %v, want %v", got, want)
	}
}

func TestBuiltinFashion(t *testing.T) {
	s := open(t, "builtin:fashion")
	if s.Image().Values.Shape.String() != "3000x1x28x28" || s.Classes()[9] != "Ankle boot" {
		t.Fatalf("%s, classes %v", s.Image().Values.Shape, s.Classes())
	}
	checkCounts(t, s, []int{300, 300, 300, 300, 300, 300, 300, 300, 300, 300})
	// The first test labels of Fashion-MNIST are 9 2 1 1 6 1 4 6 5 7.
	if got := s.Labels()[:10]; !slices.Equal(got, []int64{9, 2, 1, 1, 6, 1, 4, 6, 5, 7}) {
		t.Errorf("first labels %v", got)
	}
}

// The counts are those of the description that comes with the data: 700 good, 300 bad,
// 7 numerical and 13 categorical attributes.
func TestBuiltinGermanCredit(t *testing.T) {
	s := open(t, "builtin:german-credit")
	kinds := map[Kind]int{}
	for _, c := range s.Features() {
		kinds[c.Kind]++
	}
	if s.Len() != 1000 || kinds[Numeric] != 7 || kinds[Categorical] != 13 || s.Target != "class" {
		t.Fatalf("%d rows, kinds %v, target %q", s.Len(), kinds, s.Target)
	}
	checkCounts(t, s, []int{300, 700}) // bad, good
	if s.Column("age").Values.Float(0) != 67 || s.Line(0) != 2 {
		t.Errorf("age %g in line %d", s.Column("age").Values.Float(0), s.Line(0))
	}
}

func TestUnknownBuiltin(t *testing.T) {
	_, err := Open("builtin:cifar", OpenConfig{})
	if fault.ClassOf(err) != fault.NotFound || fault.HintOf(err) != "there are builtin:digits, builtin:fashion, builtin:german-credit" {
		t.Errorf("%v; %s", err, fault.HintOf(err))
	}
}

// TestNotice compares the digests in NOTICE with the files, both ways.
func TestNotice(t *testing.T) {
	notice, err := os.ReadFile("../NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := files.ReadDir("builtin")
	if err != nil {
		t.Fatal(err)
	}
	stated := map[string]string{}
	for _, m := range regexp.MustCompile(`File: +data/builtin/(\S+)\n +SHA-256: +([0-9a-f]{64})`).FindAllStringSubmatch(string(notice), -1) {
		stated[m[1]] = m[2]
	}
	if len(stated) != len(entries) {
		t.Errorf("NOTICE names %d files, there are %d", len(stated), len(entries))
	}
	for _, e := range entries {
		b, err := files.ReadFile("builtin/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if got := record.DigestBytes(b).Hex(); got != stated[e.Name()] {
			t.Errorf("%s has %s, NOTICE says %q", e.Name(), got, stated[e.Name()])
		}
	}
}
