package audit

import (
	"fmt"
	"strings"

	"muster/data"
	"muster/record"
)

// A categorical feature is taken for an identifier if it has at least idRows rows and more
// than idShare of its values are different.
const (
	idRows  = 20
	idShare = 0.9
)

// schema says what the columns are and finds those that look like identifiers.
func schema(in *Input) []Finding {
	kinds, out := map[data.Kind]int{}, []Finding{{Severity: Info}}
	var images string
	for _, c := range in.Features() {
		kinds[c.Kind]++
		if c.Kind == data.Image {
			lo, hi := c.Range()
			images = fmt.Sprintf("images of %s, %g to %g", c.Values.Shape[1:], lo, hi)
		}
		if n := in.Len(); c.Kind == data.Categorical && n >= idRows && float64(len(c.Categories)) > idShare*float64(n) {
			out = append(out, Finding{Severity: Warning, Count: len(c.Categories), Message: fmt.Sprintf("%s: %d different values in %d rows", c.Name, len(c.Categories), n),
				Hint:        "it looks like an identifier; leave it out by a schema, or a model can learn rows by heart",
				Measurement: record.Measurement{Name: "audit/identifier", Slice: "column=" + c.Name}})
		}
	}
	var parts []string
	if images != "" {
		parts = append(parts, images)
	}
	if n := kinds[data.Numeric]; n > 0 {
		parts = append(parts, count(n, "numeric feature"))
	}
	if n := kinds[data.Categorical]; n > 0 {
		parts = append(parts, count(n, "categorical feature"))
	}
	if in.Target == "" {
		parts = append(parts, "no label")
	} else {
		parts = append(parts, fmt.Sprintf("%d classes in column %q", len(in.Classes()), in.Target))
	}
	out[0].Message = strings.Join(parts, ", ")
	out[0].Measurement = record.Measurement{Name: "audit/columns", Value: record.Val(float64(len(in.Columns))), Direction: record.Info}
	return out
}
