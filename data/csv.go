package data

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"muster/fault"
	"muster/tensor"
)

// MissingCells are the cells that mean "no value" unless OpenConfig.Missing says otherwise.
func MissingCells() []string {
	return []string{"", "NA", "N/A", "NaN", "nan", "null", "NULL", "?"}
}

// inferShare is the share of numbers from which a column without a declared kind is
// numeric. The rest of it are then errors: a typing mistake in a numeric column must
// not turn it into categories.
const inferShare = 0.9

// table reads CSV bytes row by row and knows where it is.
type table struct {
	name    string
	raw     []byte
	cfg     OpenConfig
	limit   Limit
	missing map[string]bool
	names   []string // of the columns
	header  bool     // the first record is names
	columns int
}

// ParseCSV reads a table. Cells are trimmed of spaces. Every error names file, line and
// column, the row, and how many rows before it were good; no row is ever dropped.
//
// Without a schema a column is numeric if at least 90% of its cells are numbers (the
// others are errors then), categorical otherwise; the label is always categorical.
// Categories found are sorted, by value if all are integers.
func ParseCSV(name string, b []byte, cfg OpenConfig) (*Set, error) {
	t := &table{name: name, raw: bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), cfg: cfg, limit: cfg.Limit.orDefault(), missing: map[string]bool{}}
	if int64(len(b)) > t.limit.Bytes {
		return nil, fault.New(fault.Exhausted, name, "%d bytes, the limit is %d", len(b), t.limit.Bytes)
	}
	cells := cfg.Missing
	if cells == nil {
		cells = MissingCells()
	}
	for _, c := range cells {
		t.missing[c] = true
	}
	if cfg.Schema != nil {
		if err := cfg.Schema.validate(); err != nil {
			return nil, fault.At("schema", err)
		}
	}
	if err := t.readHeader(); err != nil {
		return nil, err
	}
	s, err := t.read()
	if err != nil {
		return nil, err
	}
	if cfg.Image != "" {
		if s, err = foldImage(s, cfg, t.limit); err != nil {
			return nil, fault.At(name, err)
		}
	}
	return s, s.Validate()
}

// readHeader finds the names of the columns.
func (t *table) readHeader() error {
	empty := true
	err := t.each(false, func(_ int, rec []string, _ func(int) string) error {
		empty = false
		t.columns = len(rec)
		if t.columns > t.limit.Columns {
			return fault.New(fault.Exhausted, t.name, "%d columns, the limit is %d", t.columns, t.limit.Columns)
		}
		t.header = t.cfg.Header == Names || t.cfg.Header == Auto && looksLikeNames(rec)
		for i, cell := range rec {
			if t.header {
				t.names = append(t.names, strings.Clone(cell))
			} else {
				t.names = append(t.names, fmt.Sprintf("c%d", i+1))
			}
		}
		return io.EOF
	})
	switch {
	case err != nil && err != io.EOF:
		return err
	case empty:
		return fault.New(fault.Malformed, t.name, "the file has no rows")
	}
	if sc := t.cfg.Schema; sc != nil && !t.header && len(sc.Columns) == len(t.names) {
		for i, c := range sc.Columns {
			t.names[i] = c.Name
		}
	}
	if dup := firstDuplicate(t.names); dup != "" || slices.Contains(t.names, "") {
		return fault.New(fault.Malformed, t.name+":1", "the column name %q is empty or used twice", dup).
			WithHint("name each column once, or say that the file has no header")
	}
	return nil
}

func looksLikeNames(rec []string) bool {
	for _, cell := range rec {
		if cell == "" || isNumber(cell) {
			return false
		}
	}
	return true
}

// each calls f with the trimmed cells of each record; row counts from 1 and the header
// is row 0 where it is skipped. place(i) is the place of cell i. The cells are only
// valid during the call. Errors carry the place.
func (t *table) each(skipHeader bool, f func(row int, rec []string, place func(int) string) error) error {
	r := csv.NewReader(bytes.NewReader(t.raw))
	r.ReuseRecord = true
	if t.cfg.Comma != 0 {
		r.Comma = t.cfg.Comma
	}
	place := func(i int) string {
		line, col := r.FieldPos(i)
		return fmt.Sprintf("%s:%d:%d", t.name, line, col)
	}
	row := 1
	if skipHeader && t.header {
		row = 0
	}
	for ; ; row++ {
		from := r.InputOffset()
		rec, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return t.broken(err, row, len(rec))
		}
		if rest := t.raw[from:]; bytes.HasPrefix(rest, []byte("\n")) || bytes.HasPrefix(rest, []byte("\r\n")) {
			line, _ := r.FieldPos(0)
			return fault.New(fault.Malformed, fmt.Sprintf("%s:%d", t.name, line-1), "the line before row %d is empty; %s", row, good(row)).
				WithHint("remove the empty line")
		}
		if row == 0 {
			continue
		}
		for i := range rec {
			rec[i] = strings.TrimSpace(rec[i])
			if !utf8.ValidString(rec[i]) {
				return fault.New(fault.Malformed, place(i), "row %d is not UTF-8 text; %s", row, good(row)).WithHint("save the file as UTF-8")
			}
		}
		if err := f(row, rec, place); err != nil {
			return err
		}
	}
}

func good(row int) string {
	switch n := max(row-1, 0); n {
	case 1:
		return "1 row before it was good"
	default:
		return fmt.Sprintf("%d rows before it were good", n)
	}
}

// broken turns an error of encoding/csv into one with place and count.
func (t *table) broken(err error, row, fields int) error {
	var pe *csv.ParseError
	if !errors.As(err, &pe) {
		return fault.New(fault.Malformed, t.name, "%w", err).WithHint("the separator must be one character, not a quote or a line end")
	}
	if errors.Is(err, csv.ErrFieldCount) {
		return fault.New(fault.Malformed, fmt.Sprintf("%s:%d:1", t.name, pe.StartLine), "row %d has %d fields, the first line has %d; %s", row, fields, t.columns, good(row)).
			WithHint("look for a missing or an unquoted separator in that line")
	}
	return fault.New(fault.Malformed, fmt.Sprintf("%s:%d:%d", t.name, pe.Line, pe.Column), "row %d: %w; %s", row, pe.Err, good(row)).
		WithHint("a field with a quote must be quoted, and the quote in it doubled")
}

// isNumber accepts decimal numbers only: no hexadecimal, no underscores, no "inf".
func isNumber(cell string) bool {
	_, ok := parseNumber(cell)
	return ok
}

func parseNumber(cell string) (float32, bool) {
	for i := 0; i < len(cell); i++ {
		switch c := cell[i]; {
		case c >= '0' && c <= '9', c == '+', c == '-', c == '.', c == 'e', c == 'E':
		default:
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(cell, 32)
	return float32(v), err == nil
}

// read makes the set: it settles the kinds, then fills the columns.
func (t *table) read() (*Set, error) {
	cols, target, err := t.plan()
	if err != nil {
		return nil, err
	}
	s := &Set{Name: t.name, Source: t.name, Target: target}
	err = t.each(true, func(row int, rec []string, place func(int) string) error {
		if row > t.limit.Rows || row > t.limit.Cells/t.columns {
			return fault.New(fault.Exhausted, place(0), "more than %d rows of %d columns", row-1, t.columns).WithHint("raise the limit if the machine has the memory")
		}
		for _, c := range cols {
			if c.decl.Ignore {
				continue
			}
			if err := c.add(rec[c.index], t); err != nil {
				return fault.New(fault.ClassOf(err), place(c.index), "row %d, column %q: %w; %s", row, c.decl.Name, err, good(row)).
					WithHint("%s", fault.HintOf(err))
			}
		}
		line, _ := strconv.Atoi(strings.Split(strings.TrimPrefix(place(0), t.name+":"), ":")[0])
		s.Lines = append(s.Lines, line)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(s.Lines) == 0 {
		return nil, fault.New(fault.Malformed, t.name, "the file has a header and no rows")
	}
	for _, c := range cols {
		if !c.decl.Ignore {
			s.Columns = append(s.Columns, c.finish())
		}
	}
	return s, nil
}

// plan settles name, kind and target of each column.
func (t *table) plan() ([]*cells, string, error) {
	target := t.cfg.Target
	if target == "" && t.cfg.Schema != nil {
		target = t.cfg.Schema.Target
	}
	if target == "" {
		target = t.names[len(t.names)-1]
	}
	if target == NoTarget {
		target = ""
	}
	if target != "" && !slices.Contains(t.names, target) {
		return nil, "", fault.New(fault.NotFound, t.name, "no column is named %q", target).WithHint("the columns are %s", strings.Join(head(t.names, 20), ", "))
	}
	decls := make([]SchemaColumn, len(t.names))
	if t.cfg.Schema != nil {
		if err := t.match(decls); err != nil {
			return nil, "", err
		}
	} else if err := t.infer(decls, target); err != nil {
		return nil, "", err
	}
	out := make([]*cells, len(decls))
	for i, d := range decls {
		if d.Name == target && (d.Kind != Categorical || d.Ignore) {
			return nil, "", fault.New(fault.Mismatch, t.name, "the label column %q is not declared categorical", target)
		}
		out[i] = &cells{index: i, decl: d, dict: map[string]int64{}}
		for j, c := range d.Categories {
			out[i].dict[c] = int64(j)
		}
	}
	return out, target, nil
}

func head(list []string, n int) []string {
	if len(list) > n {
		return append(slices.Clone(list[:n]), "...")
	}
	return list
}

// match takes the declared columns, which must be those of the file in its order;
// a file without a header gets its names from the schema.
func (t *table) match(decls []SchemaColumn) error {
	want := t.cfg.Schema.Columns
	if len(want) != len(t.names) {
		return fault.New(fault.Mismatch, t.name, "the file has %d columns, the schema %d", len(t.names), len(want))
	}
	for i := range want {
		if t.header && want[i].Name != t.names[i] {
			return fault.New(fault.Mismatch, fmt.Sprintf("%s:1", t.name), "column %d is %q, the schema has %q", i+1, t.names[i], want[i].Name)
		}
		decls[i] = want[i]
	}
	return nil
}

// infer counts numbers in a pass of its own.
func (t *table) infer(decls []SchemaColumn, target string) error {
	numbers, values := make([]int, len(decls)), make([]int, len(decls))
	err := t.each(true, func(_ int, rec []string, _ func(int) string) error {
		for i, cell := range rec {
			if !t.missing[cell] {
				values[i]++
				if isNumber(cell) {
					numbers[i]++
				}
			}
		}
		return nil
	})
	for i := range decls {
		decls[i] = SchemaColumn{Name: t.names[i], Kind: Categorical}
		if t.names[i] != target && values[i] > 0 && float64(numbers[i]) >= inferShare*float64(values[i]) {
			decls[i].Kind = Numeric
		}
	}
	return err
}

// foldImage makes the features, which must be numbers without gaps, one image column.
func foldImage(s *Set, cfg OpenConfig, limit Limit) (*Set, error) {
	c, h, w, err := parseImageShape(cfg.Image, limit)
	if err != nil {
		return nil, err
	}
	features, n := s.Features(), s.Len()
	if len(features) != c*h*w {
		return nil, fault.New(fault.Mismatch, "", "%d feature columns for images of %s, which have %d pixels", len(features), cfg.Image, c*h*w)
	}
	px := tensor.New(tensor.Float32, n, c, h, w)
	v := px.Float32s()
	for j, f := range features {
		if f.Kind != Numeric || f.Missing != nil {
			return nil, fault.New(fault.Mismatch, fmt.Sprintf("column %q", f.Name), "a pixel column must be numeric and without missing values")
		}
		for i, x := range f.Values.Float32s() {
			v[i*len(features)+j] = x
		}
	}
	img := &Column{Name: "image", Kind: Image, Values: px}
	if cfg.Range != nil {
		img.Min, img.Max = &cfg.Range[0], &cfg.Range[1]
	}
	out := &Set{Name: s.Name, Source: s.Source, License: s.License, Target: s.Target, Lines: s.Lines, Columns: []*Column{img}}
	if t := s.target(); t != nil {
		if t.Name == img.Name {
			img.Name = "pixels"
		}
		out.Columns = append(out.Columns, t)
	}
	return out, nil
}
