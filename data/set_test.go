package data

import (
	"math"
	"slices"
	"testing"

	"muster/fault"
	"muster/record"
	"muster/tensor"
)

// table is a small tabular set: two features and a label.
func table1(t testing.TB) *Set {
	t.Helper()
	s, err := ParseCSV("t.csv", []byte("n,k,y\n1,a,p\n3,b,q\n,a,p\n100,,q\n"), OpenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSelectAndOf(t *testing.T) {
	s := table1(t)
	s.Roles = []Role{Train, Test, Train, Test}
	p := s.Select([]int{3, 0})
	if p.Len() != 2 || p.Column("n").Values.Float(0) != 100 || p.Line(0) != 5 || p.Role(0) != Test || !p.Column("k").IsMissing(0) || p.Column("k").IsMissing(1) {
		t.Errorf("%+v", p)
	}
	if o := s.Of(Train); o.Len() != 2 || !o.Column("n").IsMissing(1) || !slices.Equal(o.Labels(), []int64{0, 0}) {
		t.Errorf("%+v", o)
	}
	p.Column("n").Values.Float32s()[0] = 7
	if s.Column("n").Values.Float(3) != 100 {
		t.Error("Select shares memory")
	}
}

func TestTransform(t *testing.T) {
	s := table1(t)
	s.Roles = []Role{Train, Train, Train, Test}
	// Train has 1, 3 and a gap: mean 2, standard deviation 1. The 100 of the test row is not seen.
	x := s.X([]int{0, 1, 2, 3})
	want := []float32{-1, 1, 0, 1, 0, 1, 0, 1, 0, 98, 0, 0}
	if x.Shape.String() != "4x3" || !slices.Equal(x.Float32s(), want) {
		t.Errorf("%s %v, want %v", x.Shape, x.Float32s(), want)
	}
	s.Transform = FitTransform(s, s.Rows(Train))
	if got := s.Of(Test).X([]int{0}); !slices.Equal(got.Float32s(), []float32{98, 0, 0}) {
		t.Errorf("a part is seen through another transform: %v", got)
	}
	if s.Transform.Digest() == FitTransform(s, []int{0, 1, 2, 3}).Digest() {
		t.Error("the digest does not tell transforms apart")
	}
	if y := s.Y([]int{1, 0}); !slices.Equal(y.Int64s(), []int64{1, 0}) {
		t.Errorf("labels %v", y)
	}
}

func TestDigestIsOfTheContent(t *testing.T) {
	base := table1(t).Digest()
	same := table1(t)
	same.Name, same.Source, same.Lines = "other", "elsewhere", nil
	same.Roles = []Role{Train, Train, Test, Test}
	if same.Digest() != base {
		t.Error("names, lines or roles change the digest")
	}
	if same.RolesDigest() == table1(t).RolesDigest() {
		t.Error("roles do not change the digest of the roles")
	}
	seen := map[record.Digest]string{base: "nothing"}
	for name, change := range map[string]func(*Set){
		"value":    func(s *Set) { s.Columns[0].Values.Float32s()[0] = 2 },
		"gap":      func(s *Set) { s.Columns[0].Missing[2] = false },
		"no gaps":  func(s *Set) { s.Columns[0].Missing = nil },
		"name":     func(s *Set) { s.Columns[0].Name = "m" },
		"category": func(s *Set) { s.Columns[1].Categories = []string{"a", "c"} },
		"range":    func(s *Set) { s.Columns[0].Min = ptr(0) },
		"target":   func(s *Set) { s.Target = "k" },
		"order":    func(s *Set) { s.Columns[0], s.Columns[1] = s.Columns[1], s.Columns[0] },
		"rows":     func(s *Set) { *s = *s.Select([]int{1, 0, 2, 3}) },
	} {
		s := table1(t)
		change(s)
		if other, dup := seen[s.Digest()]; dup {
			t.Errorf("a changed %s gives the digest of a changed %s", name, other)
		}
		seen[s.Digest()] = name
	}
}

func TestValidate(t *testing.T) {
	for name, change := range map[string]func(*Set){
		"not finite":       func(s *Set) { s.Columns[0].Values.Float32s()[0] = float32(math.NaN()) },
		"infinite range":   func(s *Set) { s.Columns[0].Max = ptr(math.Inf(1)) },
		"code too large":   func(s *Set) { s.Columns[1].Values.Int64s()[0] = 2 },
		"code without gap": func(s *Set) { s.Columns[1].Values.Int64s()[0] = -1 },
		"same name":        func(s *Set) { s.Columns[1].Name = "n" },
		"numeric target":   func(s *Set) { s.Target = "n" },
		"unknown target":   func(s *Set) { s.Target = "z" },
		"lengths":          func(s *Set) { s.Columns[1].Values = tensor.New(tensor.Int64, 3) },
		"roles":            func(s *Set) { s.Roles = []Role{Train} },
		"wrong dtype":      func(s *Set) { s.Columns[0].Values = tensor.New(tensor.Float64, 4) },
		"image and numbers": func(s *Set) {
			s.Columns[1] = &Column{Name: "i", Kind: Image, Values: tensor.New(tensor.Float32, 4, 1, 1, 1)}
		},
	} {
		s := table1(t)
		change(s)
		if err := s.Validate(); err == nil || fault.ClassOf(err) == fault.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
}
