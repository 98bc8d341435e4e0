// Package data holds sets: named columns, one label column, a role for each row
// and a content digest; the strict readers that make them, the split ledger that
// keeps roles apart, and the transforms and corruptions that are applied to batches.
//
// Axis letters: N rows, C channels, H W space.
package data

import (
	"fmt"
	"math"

	"muster/fault"
	"muster/record"
	"muster/tensor"
)

// Role is what a row may be used for. Each row has one.
type Role string

// The roles. A row without a label stays Unassigned.
const (
	Unassigned Role = ""          // not given yet
	Train      Role = "train"     // fits weights and transforms
	Select     Role = "select"    // chooses checkpoints and settings
	Calibrate  Role = "calibrate" // fits temperatures and quantization ranges
	Threshold  Role = "threshold" // fits decision and alarm thresholds
	Test       Role = "test"      // is reported; each look is counted
)

// Roles returns the five roles in their order of use.
func Roles() []Role { return []Role{Train, Select, Calibrate, Threshold, Test} }

// Kind is what the values of a column mean.
type Kind string

// The kinds of columns.
const (
	Numeric     Kind = "numeric"
	Categorical Kind = "categorical"
	Image       Kind = "image"
)

// Column is one named column. Values is [N] float32 for Numeric, [N] int64 codes
// into Categories for Categorical and [N,C,H,W] float32 for Image.
// A missing number is 0, a missing category -1; Missing says so and decides.
type Column struct {
	Name       string
	Kind       Kind
	Values     *tensor.Tensor
	Categories []string // Categorical only: the name of each code
	Missing    []bool   // nil: none is missing
	Min, Max   *float64 // declared range, nil if none was declared
	Unit       string   // "" if unknown
}

// IsMissing reports whether row i has no value.
func (c *Column) IsMissing(i int) bool { return c.Missing != nil && c.Missing[i] }

// Range returns the declared range of a numeric or image column; where none is
// declared, the smallest and largest value, and 0, 0 for a column without values.
func (c *Column) Range() (lo, hi float64) {
	if c.Kind == Categorical {
		return 0, 0
	}
	if c.Min == nil || c.Max == nil {
		lo, hi = c.observed()
	}
	if c.Min != nil {
		lo = *c.Min
	}
	if c.Max != nil {
		hi = *c.Max
	}
	return lo, hi
}

func (c *Column) observed() (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for i, v := range c.Values.Float32s() {
		if c.Kind == Numeric && c.IsMissing(i) {
			continue
		}
		lo, hi = min(lo, float64(v)), max(hi, float64(v))
	}
	if lo > hi {
		return 0, 0
	}
	return lo, hi
}

// pick returns the column with the given rows only.
func (c *Column) pick(rows []int) *Column {
	out := *c
	out.Values = gather(c.Values, rows)
	if c.Missing != nil {
		out.Missing = make([]bool, len(rows))
		for i, r := range rows {
			out.Missing[i] = c.Missing[r]
		}
	}
	return &out
}

// gather copies rows of axis 0.
func gather(t *tensor.Tensor, rows []int) *tensor.Tensor {
	shape := t.Shape.Clone()
	shape[0] = len(rows)
	out := tensor.New(t.DType, shape...)
	size := t.DType.Bytes(t.Shape[1:].Elems())
	for i, r := range rows {
		copy(out.Data[i*size:(i+1)*size], t.Data[r*size:(r+1)*size])
	}
	return out
}

// Set is a data set. It is treated as immutable once it is read, but for Roles
// and Transform, which Assign and Ledger.Apply give.
type Set struct {
	Name      string
	Columns   []*Column
	Target    string     // the label column, Categorical; "" if there is none
	Roles     []Role     // of each row; nil: all Unassigned
	Lines     []int      // source line, or index in the source, of each row, from 1; nil: 1, 2, 3 ...
	Source    string     // where the rows came from
	License   string     // SPDX expression, "" if nobody stated it
	Transform *Transform // how tabular features become numbers; nil: fitted by X on the Train rows
}

// Len returns the number of rows.
func (s *Set) Len() int {
	if len(s.Columns) == 0 {
		return 0
	}
	return s.Columns[0].Values.Shape[0]
}

// Column returns the column with the given name, nil if there is none.
func (s *Set) Column(name string) *Column {
	for _, c := range s.Columns {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Features returns all columns but the target.
func (s *Set) Features() []*Column {
	out := make([]*Column, 0, len(s.Columns))
	for _, c := range s.Columns {
		if s.Target == "" || c.Name != s.Target {
			out = append(out, c)
		}
	}
	return out
}

// Image returns the image column of an image set, nil for a tabular set.
func (s *Set) Image() *Column {
	for _, c := range s.Features() {
		if c.Kind == Image {
			return c
		}
	}
	return nil
}

// Labels returns the label code of each row, -1 where it is missing; nil without
// a target. It is a view: do not write to it.
func (s *Set) Labels() []int64 {
	if c := s.target(); c != nil {
		return c.Values.Int64s()
	}
	return nil
}

// Classes returns the name of each label code.
func (s *Set) Classes() []string {
	if c := s.target(); c != nil {
		return c.Categories
	}
	return nil
}

func (s *Set) target() *Column {
	if s.Target == "" {
		return nil
	}
	return s.Column(s.Target)
}

// Line returns the source line or index of row i.
func (s *Set) Line(i int) int {
	if s.Lines == nil {
		return i + 1
	}
	return s.Lines[i]
}

// Role returns the role of row i.
func (s *Set) Role(i int) Role {
	if s.Roles == nil {
		return Unassigned
	}
	return s.Roles[i]
}

// Rows returns the rows with the given role, ascending.
func (s *Set) Rows(role Role) []int {
	var out []int
	for i, n := 0, s.Len(); i < n; i++ {
		if s.Role(i) == role {
			out = append(out, i)
		}
	}
	return out
}

// Select returns a set with copies of the given rows, in their order. The
// transform is kept, so that a part is seen as the whole is.
func (s *Set) Select(rows []int) *Set {
	out := &Set{Name: s.Name, Target: s.Target, Source: s.Source, License: s.License, Transform: s.Transform}
	for _, c := range s.Columns {
		out.Columns = append(out.Columns, c.pick(rows))
	}
	out.Lines = make([]int, len(rows))
	if s.Roles != nil {
		out.Roles = make([]Role, len(rows))
	}
	for i, r := range rows {
		out.Lines[i] = s.Line(r)
		if s.Roles != nil {
			out.Roles[i] = s.Roles[r]
		}
	}
	return out
}

// Of returns the rows with the given role as a set of their own.
func (s *Set) Of(role Role) *Set { return s.Select(s.Rows(role)) }

// Subject names the set in records.
func (s *Set) Subject() record.Subject {
	return record.Subject{Kind: "data", Name: s.Name, Digest: s.Digest()}
}

// Validate checks what every reader promises: equal lengths, dtypes that fit the
// kinds, codes inside the categories, finite numbers, unique names, a categorical
// target, and at most one image column, which is then the only feature.
func (s *Set) Validate() error {
	seen, n := map[string]bool{}, s.Len()
	for _, c := range s.Columns {
		if c.Name == "" || seen[c.Name] {
			return fault.New(fault.Malformed, s.Source, "two columns are named %q", c.Name).WithHint("give each column its own name")
		}
		seen[c.Name] = true
		if err := c.validate(n); err != nil {
			return fault.At(s.Source, err)
		}
	}
	if t := s.target(); s.Target != "" && (t == nil || t.Kind != Categorical) {
		return fault.New(fault.Mismatch, s.Source, "the target %q is not a categorical column", s.Target)
	}
	if s.Image() != nil && len(s.Features()) != 1 {
		return fault.New(fault.Unsupported, s.Source, "images next to other features")
	}
	if s.Roles != nil && len(s.Roles) != n || s.Lines != nil && len(s.Lines) != n {
		return fault.New(fault.Mismatch, s.Source, "roles or lines for another number of rows than %d", n)
	}
	return nil
}

func (c *Column) validate(n int) error {
	place := fmt.Sprintf("column %q", c.Name)
	rank, dtype := 1, tensor.Float32
	switch c.Kind {
	case Categorical:
		dtype = tensor.Int64
	case Image:
		rank = 4
	case Numeric:
	default:
		return fault.New(fault.Unsupported, place, "kind %q", c.Kind)
	}
	if c.Values.DType != dtype || len(c.Values.Shape) != rank || c.Values.Shape[0] != n || c.Missing != nil && len(c.Missing) != n {
		return fault.New(fault.Mismatch, place, "%s %s values for %d rows of kind %s", c.Values.DType, c.Values.Shape, n, c.Kind)
	}
	for _, b := range []*float64{c.Min, c.Max} {
		if b != nil && *b-*b != 0 {
			return fault.New(fault.Numeric, place, "the declared range has the bound %g", *b)
		}
	}
	if c.Kind == Categorical {
		for i, v := range c.Values.Int64s() {
			if v >= int64(len(c.Categories)) || v < 0 && !c.IsMissing(i) {
				return fault.New(fault.Mismatch, place, "row %d has code %d of %d categories", i+1, v, len(c.Categories))
			}
		}
		return nil
	}
	for i, v := range c.Values.Float32s() {
		if v-v != 0 {
			return fault.New(fault.Numeric, place, "value %d is %g", i+1, v)
		}
	}
	return nil
}
