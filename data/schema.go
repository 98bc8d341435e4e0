package data

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"muster/fault"
)

// Schema declares the columns of a table, in order.
type Schema struct {
	Columns []SchemaColumn `json:"columns"`
	Target  string         `json:"target,omitempty"`
}

// SchemaColumn declares one column. Values outside [Min, Max] are read and left
// for the audit to report; a category that is not declared is an error.
type SchemaColumn struct {
	Name       string   `json:"name"`
	Kind       Kind     `json:"kind"`                 // numeric or categorical
	Categories []string `json:"categories,omitempty"` // empty: those found, sorted
	Min        *float64 `json:"min,omitempty"`
	Max        *float64 `json:"max,omitempty"`
	Unit       string   `json:"unit,omitempty"`
	Ignore     bool     `json:"ignore,omitempty"` // the column is not read
}

// maxSchemaBytes bounds a schema file.
const maxSchemaBytes = 4 << 20

// ParseSchema reads a schema from JSON; fields that it does not know are errors.
func ParseSchema(name string, b []byte) (*Schema, error) {
	var s Schema
	if err := strictJSON(name, b, maxSchemaBytes, &s); err != nil {
		return nil, err
	}
	return &s, fault.At(name, s.validate())
}

func (s *Schema) validate() error {
	seen := map[string]bool{}
	for i, c := range s.Columns {
		place := fmt.Sprintf("columns[%d]", i)
		switch {
		case c.Name == "" || seen[c.Name]:
			return fault.New(fault.Malformed, place, "the name %q is empty or used before", c.Name)
		case c.Ignore:
		case c.Kind != Numeric && c.Kind != Categorical:
			return fault.New(fault.Malformed, place, "kind %q of column %q", c.Kind, c.Name).WithHint("the kinds are numeric and categorical")
		case c.Min != nil && c.Max != nil && *c.Min > *c.Max:
			return fault.New(fault.Malformed, place, "column %q has min %g above max %g", c.Name, *c.Min, *c.Max)
		}
		seen[c.Name] = true
		if dup := firstDuplicate(c.Categories); dup != "" {
			return fault.New(fault.Malformed, place, "column %q has the category %q twice", c.Name, dup)
		}
	}
	if len(s.Columns) == 0 {
		return fault.New(fault.Malformed, "", "a schema without columns")
	}
	if s.Target != "" && s.Target != NoTarget && !seen[s.Target] {
		return fault.New(fault.Malformed, "target", "no column is named %q", s.Target)
	}
	return nil
}

func firstDuplicate(list []string) string {
	seen := map[string]bool{}
	for _, v := range list {
		if seen[v] {
			return v
		}
		seen[v] = true
	}
	return ""
}

// strictJSON decodes one JSON value and nothing behind it.
func strictJSON(name string, b []byte, limit int, v any) error {
	if len(b) > limit {
		return fault.New(fault.Exhausted, name, "%d bytes, the limit is %d", len(b), limit)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fault.New(fault.Malformed, fmt.Sprintf("%s: byte %d", name, dec.InputOffset()), "%w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fault.New(fault.Malformed, fmt.Sprintf("%s: byte %d", name, dec.InputOffset()), "something follows the JSON value")
	}
	return nil
}

// Describe lists the columns in plain text: what was declared or inferred.
func (s *Set) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d rows", s.Name, s.Len())
	if s.Source != "" {
		fmt.Fprintf(&b, " from %s", s.Source)
	}
	b.WriteByte('\n')
	for _, c := range s.Columns {
		fmt.Fprintf(&b, "  %-24s %s\n", c.Name, c.describe(c.Name == s.Target))
	}
	return b.String()
}

func (c *Column) describe(target bool) string {
	text := string(c.Kind)
	switch c.Kind {
	case Categorical:
		text += fmt.Sprintf(", %d categories", len(c.Categories))
	case Image:
		text += " " + c.Values.Shape[1:].String() + c.describeRange()
	default:
		text += c.describeRange()
	}
	missing := 0
	for _, m := range c.Missing {
		if m {
			missing++
		}
	}
	if missing > 0 {
		text += fmt.Sprintf(", %d missing", missing)
	}
	if target {
		text += " (label)"
	}
	return text
}

func (c *Column) describeRange() string {
	lo, hi := c.Range()
	text := fmt.Sprintf(", %g to %g", lo, hi)
	if c.Min != nil || c.Max != nil {
		text += " declared"
	}
	if c.Unit != "" {
		text += " " + c.Unit
	}
	return text
}

// encodeJSON is indented and ends in a line end, for files that people read.
func encodeJSON(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return nil, fault.New(fault.Internal, "", "%w", err)
	}
	return append(b, '\n'), nil
}
