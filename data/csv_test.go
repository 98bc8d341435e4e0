package data

import (
	"slices"
	"strings"
	"testing"

	"muster/fault"
)

func ptr(v float64) *float64 { return &v }

func TestCSVInfersTypes(t *testing.T) {
	s, err := ParseCSV("t.csv", []byte("\xef\xbb\xbfage, job ,y\r\n34,cook,no\r\n ,\"a, \"\"b\"\"\",yes\r\n1e1,?,no\n"), OpenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	age, job := s.Column("age"), s.Column("job")
	if age.Kind != Numeric || !slices.Equal(age.Values.Float32s(), []float32{34, 0, 10}) || !slices.Equal(age.Missing, []bool{false, true, false}) {
		t.Errorf("age: %s %v %v", age.Kind, age.Values, age.Missing)
	}
	if !slices.Equal(job.Categories, []string{`a, "b"`, "cook"}) || !slices.Equal(job.Values.Int64s(), []int64{1, 0, -1}) {
		t.Errorf("job: %q %v", job.Categories, job.Values)
	}
	if s.Target != "y" || !slices.Equal(s.Labels(), []int64{0, 1, 0}) || !slices.Equal(s.Lines, []int{2, 3, 4}) {
		t.Errorf("target %q, labels %v, lines %v", s.Target, s.Labels(), s.Lines)
	}
}

func TestCSVWithoutHeader(t *testing.T) {
	s, err := ParseCSV("t.csv", []byte("1,2,10\n3,4,9\n5,6,10\n"), OpenConfig{Image: "1x1x2", Range: &[2]float64{0, 8}})
	if err != nil {
		t.Fatal(err)
	}
	if s.Image().Values.Shape.String() != "3x1x1x2" || !slices.Equal(s.Image().Values.Float32s(), []float32{1, 2, 3, 4, 5, 6}) {
		t.Errorf("pixels %v", s.Image().Values)
	}
	// Integers sort by value: 9 before 10.
	if !slices.Equal(s.Classes(), []string{"9", "10"}) || !slices.Equal(s.Labels(), []int64{1, 0, 1}) {
		t.Errorf("classes %v labels %v", s.Classes(), s.Labels())
	}
}

// numbers has ten good rows, so that one bad cell in eleven is an error, not a category.
var numbers = "a,y\n" + strings.Repeat("1,p\n", 10)

func TestCSVErrors(t *testing.T) {
	schema := &Schema{Columns: []SchemaColumn{{Name: "a", Kind: Numeric}, {Name: "y", Kind: Categorical, Categories: []string{"p", "q"}}}}
	for _, tt := range []struct {
		name, in string
		cfg      OpenConfig
		class    fault.Class
		want     string
	}{
		{"not a number", numbers + "x1,p\n", OpenConfig{}, fault.Malformed, `t.csv:12:1: row 11, column "a": "x1" is not a number; 10 rows before it were good`},
		{"hexadecimal", numbers + "0x1p2,p\n", OpenConfig{}, fault.Malformed, `t.csv:12:1: row 11, column "a": "0x1p2" is not a number; 10 rows before it were good`},
		{"too large", numbers + "1e39,p\n", OpenConfig{}, fault.Malformed, `t.csv:12:1: row 11, column "a": "1e39" is not a number; 10 rows before it were good`},
		{"too few fields", "a,b,y\n1,2,p\n1,p\n", OpenConfig{}, fault.Malformed, "t.csv:3:1: row 2 has 2 fields, the first line has 3; 1 row before it was good"},
		{"too many fields", "a,y\n1,p,q\n", OpenConfig{}, fault.Malformed, "t.csv:2:1: row 1 has 3 fields, the first line has 2; 0 rows before it were good"},
		{"bare quote", "a,y\n1,p\n1,p\"q\n", OpenConfig{}, fault.Malformed, `t.csv:3:4: row 2: bare " in non-quoted-field; 1 row before it was good`},
		{"open quote", "a,y\n1,\"p\n", OpenConfig{}, fault.Malformed, "t.csv:2:6: row 1: extraneous or missing \" in quoted-field; 0 rows before it were good"},
		{"empty line", "a,y\n1,p\n\n1,p\n", OpenConfig{}, fault.Malformed, "t.csv:3: the line before row 2 is empty; 1 row before it was good"},
		{"not UTF-8", "a,y\n1,\xff\n", OpenConfig{}, fault.Malformed, "t.csv:2:3: row 1 is not UTF-8 text; 0 rows before it were good"},
		{"empty file", "", OpenConfig{}, fault.Malformed, "t.csv: the file has no rows"},
		{"header only", "a,y\n", OpenConfig{}, fault.Malformed, "t.csv: the file has a header and no rows"},
		{"same name twice", "a,a\n1,2\n", OpenConfig{}, fault.Malformed, `t.csv:1: the column name "a" is empty or used twice`},
		{"no such target", "a,y\n1,p\n", OpenConfig{Target: "z"}, fault.NotFound, `t.csv: no column is named "z"`},
		{"undeclared category", "a,y\n1,p\n2,r\n", OpenConfig{Schema: schema}, fault.Mismatch, `t.csv:3:3: row 2, column "y": "r" is not a declared category; 1 row before it was good`},
		{"schema of another file", "b,y\n1,p\n", OpenConfig{Schema: schema}, fault.Mismatch, `t.csv:1: column 1 is "b", the schema has "a"`},
		{"too many rows", "a,y\n1,p\n1,p\n1,p\n", OpenConfig{Limit: Limit{Rows: 2}}, fault.Exhausted, "t.csv:4:1: more than 2 rows of 2 columns"},
		{"too many columns", "a,b,y\n1,2,p\n", OpenConfig{Limit: Limit{Columns: 2}}, fault.Exhausted, "t.csv: 3 columns, the limit is 2"},
		{"too many bytes", "a,y\n1,p\n", OpenConfig{Limit: Limit{Bytes: 5}}, fault.Exhausted, "t.csv: 8 bytes, the limit is 5"},
		{"too many categories", "a,y\nu,p\nv,p\n", OpenConfig{Limit: Limit{Categories: 1}}, fault.Exhausted, `t.csv:3:1: row 2, column "a": more than 1 different values; 1 row before it was good`},
		{"pixels missing", "1,2,0\n1,,0\n", OpenConfig{Image: "1x1x2"}, fault.Mismatch, `t.csv: column "c2": a pixel column must be numeric and without missing values`},
		{"wrong image", "1,2,0\n", OpenConfig{Image: "1x2x2"}, fault.Mismatch, "t.csv: 2 feature columns for images of 1x2x2, which have 4 pixels"},
		{"bad image", "1,2,0\n", OpenConfig{Image: "2x2"}, fault.Malformed, `t.csv: image: "2x2" is not a size of images`},
		{"bad separator", "1,2,0\n", OpenConfig{Comma: '"'}, fault.Malformed, "t.csv: csv: invalid field or comment delimiter"},
	} {
		_, err := ParseCSV("t.csv", []byte(tt.in), tt.cfg)
		if err == nil || err.Error() != tt.want || fault.ClassOf(err) != tt.class {
			t.Errorf("%s:\n got %v (%s)\nwant %s (%s)", tt.name, err, fault.ClassOf(err), tt.want, tt.class)
		}
	}
	_, err := ParseCSV("t.csv", []byte(numbers+"x1,p\n"), OpenConfig{})
	if !strings.Contains(fault.HintOf(err), "declare the column categorical") {
		t.Errorf("hint %q", fault.HintOf(err))
	}
}

func TestCSVWithSchema(t *testing.T) {
	schema, err := ParseSchema("s.json", []byte(`{"target":"y","columns":[
		{"name":"id","ignore":true},
		{"name":"a","kind":"numeric","min":0,"max":9,"unit":"cm"},
		{"name":"y","kind":"categorical","categories":["q","p","NA"]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseCSV("t.csv", []byte("k1,12,p\nk2,3,NA\n"), OpenConfig{Schema: schema, Header: NoHeader})
	if err != nil {
		t.Fatal(err)
	}
	a := s.Column("a")
	if len(s.Columns) != 2 || *a.Min != 0 || *a.Max != 9 || a.Unit != "cm" || a.Values.Float(0) != 12 {
		t.Errorf("%s", s.Describe())
	}
	// The order of declared categories is kept, and a declared "NA" is a category.
	if !slices.Equal(s.Labels(), []int64{1, 2}) || s.target().Missing != nil {
		t.Errorf("labels %v", s.Labels())
	}
}

func TestSchemaErrors(t *testing.T) {
	for in, want := range map[string]string{
		`{"columns":[{"name":"a","kind":"number"}]}`:                             `s.json: columns[0]: kind "number" of column "a"`,
		`{"columns":[{"name":"a","kind":"numeric","max":1,"min":2}]}`:            `s.json: columns[0]: column "a" has min 2 above max 1`,
		`{"columns":[{"name":"a","kind":"categorical","categories":["x","x"]}]}`: `s.json: columns[0]: column "a" has the category "x" twice`,
		`{"columns":[{"name":"a","kind":"numeric"}],"target":"b"}`:               `s.json: target: no column is named "b"`,
		`{"columns":[]}`: "s.json: a schema without columns",
		`{"colums":[]}`:  `s.json: byte 13: json: unknown field "colums"`,
		`{"columns":[{"name":"a","kind":"numeric"}]}x`: "s.json: byte 43: something follows the JSON value",
	} {
		if _, err := ParseSchema("s.json", []byte(in)); err == nil || err.Error() != want || fault.ClassOf(err) != fault.Malformed {
			t.Errorf("%s:\n got %v\nwant %s", in, err, want)
		}
	}
}
