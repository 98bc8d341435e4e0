package data

import (
	"slices"
	"sort"
	"strconv"
	"strings"

	"muster/fault"
	"muster/tensor"
)

// cells collects one column.
type cells struct {
	index   int
	decl    SchemaColumn
	numbers []float32
	codes   []int64
	dict    map[string]int64
	found   []string // categories in the order of their first row
	missing []bool
	any     bool // a value is missing
}

// add appends one cell.
func (c *cells) add(cell string, t *table) error {
	gone := t.missing[cell]
	if gone {
		if _, named := c.dict[cell]; named && c.decl.Categories != nil {
			gone = false // a declared category wins over the list of missing cells
		}
	}
	c.missing, c.any = append(c.missing, gone), c.any || gone
	if c.decl.Kind == Numeric {
		var v float32
		if !gone {
			var ok bool
			if v, ok = parseNumber(cell); !ok {
				return fault.New(fault.Malformed, "", "%q is not a number", clip(cell)).
					WithHint("correct the cell, leave it empty if the value is unknown, or declare the column categorical in a schema")
			}
		}
		c.numbers = append(c.numbers, v)
		return nil
	}
	code := int64(-1)
	if !gone {
		var ok bool
		if code, ok = c.dict[cell]; !ok {
			if c.decl.Categories != nil {
				return fault.New(fault.Mismatch, "", "%q is not a declared category", clip(cell)).WithHint("the categories are %s", strings.Join(head(c.decl.Categories, 20), ", "))
			}
			if len(c.found) >= t.limit.Categories {
				return fault.New(fault.Exhausted, "", "more than %d different values", t.limit.Categories).WithHint("ignore the column by a schema if it is an identifier or free text")
			}
			code = int64(len(c.found))
			c.found = append(c.found, strings.Clone(cell))
			c.dict[c.found[code]] = code
		}
	}
	c.codes = append(c.codes, code)
	return nil
}

func clip(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "..."
	}
	return s
}

// finish makes the column; categories that were found are sorted.
func (c *cells) finish() *Column {
	out := &Column{Name: c.decl.Name, Kind: c.decl.Kind, Categories: c.decl.Categories, Min: c.decl.Min, Max: c.decl.Max, Unit: c.decl.Unit}
	if c.any {
		out.Missing = c.missing
	}
	if c.decl.Kind == Numeric {
		out.Values = tensor.OfFloat32(c.numbers, len(c.numbers))
		return out
	}
	if c.decl.Categories == nil {
		out.Categories = sortCategories(c.found)
		to := codeMap(c.found, out.Categories)
		for i, v := range c.codes {
			if v >= 0 {
				c.codes[i] = int64(to[v])
			}
		}
	}
	out.Values = tensor.OfInt64(c.codes, len(c.codes))
	return out
}

// sortCategories sorts by value if all are integers, by bytes otherwise.
func sortCategories(found []string) []string {
	out, value := slices.Clone(found), map[string]int64{}
	for _, c := range out {
		v, err := strconv.ParseInt(c, 10, 64)
		if err != nil {
			sort.Strings(out)
			return out
		}
		value[c] = v
	}
	sort.Slice(out, func(i, j int) bool {
		if a, b := value[out[i]], value[out[j]]; a != b {
			return a < b
		}
		return out[i] < out[j]
	})
	return out
}
