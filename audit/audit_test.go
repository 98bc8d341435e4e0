package audit

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"muster/data"
	"muster/fault"
	"muster/record"
	"muster/tensor"
)

var update = flag.Bool("update", false, "rewrite the expected reports")

func open(t testing.TB, source string) *data.Set {
	t.Helper()
	s, err := data.Open(source, data.OpenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func run(t testing.TB, s *data.Set) *Report {
	t.Helper()
	r, err := Run(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGolden compares the reports of the embedded sets, with roles, with testdata.
func TestGolden(t *testing.T) {
	for _, source := range data.Builtins() {
		s := open(t, source)
		if _, err := data.Assign(s, data.SplitConfig{Seed: 1}); err != nil {
			t.Fatal(err)
		}
		golden(t, s.Name, run(t, s).Text())
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// TestTable: the checks are sorted, and each has its file and each file its check.
func TestTable(t *testing.T) {
	if !sort.StringsAreSorted(Checks()) {
		t.Errorf("not sorted: %v", Checks())
	}
	var inTable []string
	for _, c := range Checks() {
		inTable = append(inTable, strings.ReplaceAll(c, "-", "_")+".go")
	}
	all, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f != "audit.go" && f != "text.go" && !strings.HasSuffix(f, "_test.go") && !slices.Contains(inTable, f) {
			t.Errorf("%s is not in the table", f)
		}
	}
	for _, f := range inTable {
		if !slices.Contains(all, f) {
			t.Errorf("the table names a check without a file: %s", f)
		}
	}
}

// TestContract: on sets of every form, each check speaks, each finding has a measurement
// with exactly one of value and reason, rows that exist, and a hint where something is to do.
func TestContract(t *testing.T) {
	one := open(t, "builtin:german-credit").Select([]int{0})
	noLabel := open(t, "builtin:german-credit")
	noLabel.Target = ""
	for name, s := range map[string]*data.Set{
		"one row": one, "no label": noLabel, "planted images": plantedImages(t), "planted table": plantedTable(t),
		"one column": {Columns: []*data.Column{{Name: "a", Kind: data.Numeric, Values: tensor.New(tensor.Float32, 3)}}},
		"label only": {Target: "y", Columns: []*data.Column{{Name: "y", Kind: data.Categorical, Values: tensor.New(tensor.Int64, 2), Categories: []string{"p"}}}},
	} {
		r := run(t, s)
		spoke := map[string]bool{}
		for _, f := range r.Findings {
			spoke[f.Check] = true
			m := f.Measurement
			if (m.Value == nil) == (m.Absent == "") || m.Name == "" || m.Check != "audit/"+f.Check || m.Version < 1 || len(m.Subjects) != 1 || m.N < 1 {
				t.Errorf("%s: measurement %+v", name, m)
			}
			if f.Severity != Info && (f.Hint == "" || f.Count == 0) || len(f.Rows) > MaxRows || f.Message == "" {
				t.Errorf("%s: finding %+v", name, f)
			}
			for _, l := range f.Rows {
				if l < s.Line(0) || l > s.Line(s.Len()-1) {
					t.Errorf("%s: line %d in %+v", name, l, f)
				}
			}
		}
		if len(spoke) != len(checks) {
			t.Errorf("%s: %d of %d checks spoke", name, len(spoke), len(checks))
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back Report
		if err := json.Unmarshal(b, &back); err != nil || back.Text() != r.Text() {
			t.Errorf("%s: the JSON form does not give the same text: %v", name, err)
		}
		if len(r.Measurements()) != len(r.Findings) || len(r.Groups()) != s.Len() {
			t.Errorf("%s: %d measurements, %d groups", name, len(r.Measurements()), len(r.Groups()))
		}
		if again := run(t, s); again.Text() != r.Text() {
			t.Errorf("%s: a second audit says something else", name)
		}
	}
	if _, err := Run(&data.Set{}); fault.ClassOf(err) != fault.Malformed {
		t.Errorf("no rows: %v", err)
	}
	if _, err := Run(&data.Set{Target: "y"}); err == nil {
		t.Error("a set that breaks its contract")
	}
}

// finding returns the finding with a measurement name.
func finding(t *testing.T, r *Report, name string) Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Measurement.Name == name {
			return f
		}
	}
	t.Fatalf("no finding %s in\n%s", name, r.Text())
	return Finding{}
}

// wantRows checks that a finding concerns exactly the planted rows (source lines).
func wantRows(t *testing.T, f Finding, severity Severity, lines ...int) {
	t.Helper()
	if f.Severity != severity || f.Count != len(lines) || !slices.Equal(f.Rows, lines) || *f.Measurement.Value != float64(len(lines)) {
		t.Errorf("%s: %s, count %d, value %g, rows %v; want %s, rows %v", f.Check, f.Severity, f.Count, *f.Measurement.Value, f.Rows, severity, lines)
	}
}

// plantedImages is the first 600 digits with known defects:
//
//	lines 601, 602   copies of 11 and 12, the second with another label and another role
//	lines 603, 604   near copies of 21 and 22, the second with another label and another role
//	line  100        a pixel of 17
//	line  200        blank
func plantedImages(t testing.TB) *data.Set {
	rows := make([]int, 600)
	for i := range rows {
		rows[i] = i
	}
	s := open(t, "builtin:digits").Select(append(rows, 10, 11, 20, 21))
	s.Lines = nil
	px, labels := s.Image().Values.Float32s(), s.Labels()
	for _, r := range []int{602, 603} {
		for j := range 6 {
			if p := &px[r*64+j*11]; *p >= 16 {
				*p--
			} else {
				*p++
			}
		}
	}
	for _, r := range []int{601, 603} {
		labels[r] = (labels[r] + 1) % 10
	}
	px[99*64+9] = 17
	for j := range 64 {
		px[199*64+j] = 3
	}
	s.Roles = make([]data.Role, s.Len())
	for i := range s.Roles {
		s.Roles[i] = data.Train
	}
	s.Roles[601], s.Roles[603] = data.Test, data.Test
	return s
}

func TestPlantedImages(t *testing.T) {
	r := run(t, plantedImages(t))
	wantRows(t, finding(t, r, "audit/exact-duplicates"), Warning, 601, 602)
	wantRows(t, finding(t, r, "audit/near-duplicates"), Warning, 21, 22, 603, 604)
	wantRows(t, finding(t, r, "audit/conflicting-labels"), Error, 12, 602)
	wantRows(t, finding(t, r, "audit/conflicting-labels-near"), Warning, 22, 604)
	wantRows(t, finding(t, r, "audit/role-leak"), Error, 12, 602)
	wantRows(t, finding(t, r, "audit/role-leak-near"), Error, 22, 604)
	wantRows(t, finding(t, r, "audit/out-of-range"), Error, 100)
	wantRows(t, finding(t, r, "audit/constant-columns"), Warning, 200)
	if r.Count(Error) != 4 || r.Count(Warning) != 4 || r.Worst() != Error {
		t.Errorf("%d errors and %d warnings, want 4 and 4", r.Count(Error), r.Count(Warning))
	}
	golden(t, "planted-images", r.Text())
	g := r.Groups()
	if g[600] != 10 || g[601] != 11 || g[602] != 20 || g[603] != 21 || g[599] != 599 {
		t.Errorf("groups %v", g[595:])
	}
}

// plantedTable is a table of 200 rows in lines 2 to 201 with known defects.
func plantedTable(t testing.TB) *data.Set {
	lo, hi := 0.0, 1000.0
	schema := &data.Schema{Columns: []data.SchemaColumn{
		{Name: "a", Kind: data.Numeric, Min: &lo, Max: &hi}, {Name: "b", Kind: data.Numeric}, {Name: "k", Kind: data.Categorical},
		{Name: "id", Kind: data.Categorical}, {Name: "same", Kind: data.Numeric}, {Name: "y", Kind: data.Categorical},
	}}
	var b strings.Builder
	b.WriteString("a,b,k,id,same,y\n")
	for i := range 200 {
		a, gap, k, y := fmt.Sprint(i*5), fmt.Sprint((i*77)%200), string('u'+rune(i%3)), "p"
		switch {
		case i == 5:
			a = "-1"
		case i == 6:
			a = "1001"
		case i%10 == 9:
			gap = "" // 20 of 200: above 5%
		case i == 50:
			k = "?"
		case i == 60:
			y = ""
		case i == 70:
			y = "rare"
		}
		fmt.Fprintf(&b, "%s,%s,%s,r%d,7,%s\n", a, gap, k, i, y)
	}
	s, err := data.ParseCSV("planted.csv", []byte(b.String()), data.OpenConfig{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPlantedTable(t *testing.T) {
	r := run(t, plantedTable(t))
	wantRows(t, finding(t, r, "audit/out-of-range"), Error, 7, 8)
	bySlice := map[string]Finding{}
	for _, f := range r.Findings {
		if f.Check == "missing-values" {
			bySlice[f.Measurement.Slice] = f
		}
	}
	var gaps []int
	for i := 9; i < 200; i += 10 {
		gaps = append(gaps, i+2)
	}
	if len(bySlice) != 3 {
		t.Errorf("missing values in %d columns, want 3", len(bySlice))
	}
	wantRows(t, bySlice["column=b"], Warning, gaps...)
	wantRows(t, bySlice["column=k"], Info, 52)
	wantRows(t, bySlice["column=y"], Error, 62)
	if f := finding(t, r, "audit/constant-columns"); f.Severity != Warning || f.Count != 1 || !strings.Contains(f.Message, "same") {
		t.Errorf("%+v", f)
	}
	if f := finding(t, r, "audit/identifier"); f.Severity != Warning || f.Count != 200 || f.Measurement.Slice != "column=id" {
		t.Errorf("%+v", f)
	}
	if f := finding(t, r, "audit/rarest-class"); f.Severity != Warning || f.Count != 1 || *f.Measurement.Value != 1.0/199 || f.Measurement.N != 199 {
		t.Errorf("%+v", f)
	}
	for _, name := range []string{"audit/exact-duplicates", "audit/near-duplicates", "audit/conflicting-labels"} {
		if f := finding(t, r, name); f.Count != 0 || *f.Measurement.Value != 0 {
			t.Errorf("%s on a table without: %+v", name, f)
		}
	}
	if f := finding(t, r, "audit/role-leak"); f.Measurement.Absent == "" || f.Measurement.Value != nil {
		t.Errorf("without roles: %+v", f)
	}
	golden(t, "planted-table", r.Text())
}

// Precision and recall on planted near copies in a larger set, and what the list leaves out.
func TestPlantedMany(t *testing.T) {
	rows := make([]int, 1500)
	for i := range rows {
		rows[i] = i
	}
	for i := range 100 {
		rows = append(rows, i*15)
	}
	s := open(t, "builtin:digits").Select(rows)
	s.Lines = nil
	f := finding(t, run(t, s), "audit/exact-duplicates")
	if f.Severity != Error || f.Count != 100 || len(f.Rows) != MaxRows || f.Rows[0] != 1501 {
		t.Errorf("%+v: 100 of 1600 rows repeat, which is more than 5%%", f)
	}
	if !strings.Contains(f.rowList(), "and 80 more") {
		t.Errorf("%s", f.rowList())
	}
}

// A chain of neighbours that swallows the set is called out.
func TestGiantCluster(t *testing.T) {
	s := open(t, "builtin:digits").Select(make([]int, 300)) // 300 times row 1
	px := s.Image().Values.Float32s()
	for i := range 300 {
		for b := range 9 { // all different, all near
			px[i*64+b] = float32(i >> b & 1)
		}
	}
	f := finding(t, run(t, s), "audit/largest-cluster")
	if f.Severity != Error || f.Count < 200 {
		t.Errorf("%+v", f)
	}
}

// One class only, and every measurement of the audit has a subject that names the data.
func TestOneClass(t *testing.T) {
	s := open(t, "builtin:german-credit").Select([]int{0, 1, 2})
	for i := range s.Labels() {
		s.Labels()[i] = 0
	}
	s.Column("class").Categories = []string{"bad"}
	r := run(t, s)
	if f := finding(t, r, "audit/rarest-class"); f.Severity != Error {
		t.Errorf("%+v", f)
	}
	for _, m := range r.Measurements() {
		if m.Subjects[0] != (record.Subject{Kind: "data", Name: "german-credit", Digest: s.Digest()}) {
			t.Errorf("%+v", m.Subjects)
		}
	}
}
