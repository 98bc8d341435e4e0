package audit

import (
	"fmt"

	"muster/data"
	"muster/record"
)

// outOfRange finds values outside the declared range of their column.
func outOfRange(in *Input) []Finding {
	declared := 0
	var out []Finding
	for _, c := range in.Columns {
		if c.Kind == data.Categorical || c.Min == nil && c.Max == nil {
			continue
		}
		declared++
		rows := outside(c)
		if len(rows) == 0 {
			continue
		}
		lo, hi := c.Range()
		f := Finding{Severity: Error, Count: len(rows), Rows: in.lines(rows),
			Message:     fmt.Sprintf("%s: %s outside %g to %g", c.Name, count(len(rows), "row"), lo, hi),
			Hint:        "correct the values, or the declared range if it is wrong",
			Measurement: record.Measurement{Slice: "column=" + c.Name}}
		if len(out) < maxPerCheck {
			out = append(out, f)
		} else {
			last := &out[maxPerCheck-1]
			last.Count += f.Count
			last.Rows, last.Message = nil, fmt.Sprintf("%s and other columns: %s outside their range", c.Name, count(last.Count, "value"))
			last.Measurement.Slice = "column=others"
		}
	}
	switch {
	case declared == 0:
		return notInspected("no column has a declared range", "declare min and max in a schema")
	case out == nil:
		return fine(fmt.Sprintf("all values of %s with a declared range are inside it", count(declared, "column")))
	}
	return out
}

// outside returns the rows with a value outside the declared range.
func outside(c *data.Column) []int {
	var rows []int
	n := c.Values.Shape[0]
	size := c.Values.Shape[1:].Elems()
	v := c.Values.Float32s()
	for i := range n {
		if c.IsMissing(i) {
			continue
		}
		for _, x := range v[i*size : (i+1)*size] {
			if c.Min != nil && float64(x) < *c.Min || c.Max != nil && float64(x) > *c.Max {
				rows = append(rows, i)
				break
			}
		}
	}
	return rows
}
