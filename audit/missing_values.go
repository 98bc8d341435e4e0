package audit

import (
	"fmt"
	"sort"

	"muster/data"
	"muster/record"
)

// manyMissing is the share of missing values from which a column gets a warning; it is
// the limit of deepchecks 0.19.
const manyMissing = 0.05

// missingValues counts the gaps of each column.
func missingValues(in *Input) []Finding {
	type gaps struct {
		column *data.Column
		rows   []int
	}
	var all []gaps
	for _, c := range in.Columns {
		var rows []int
		for i := range in.Len() {
			if c.IsMissing(i) {
				rows = append(rows, i)
			}
		}
		if rows != nil {
			all = append(all, gaps{c, rows})
		}
	}
	if all == nil {
		return fine("no value is missing")
	}
	sort.SliceStable(all, func(i, j int) bool {
		a, b := all[i], all[j]
		if la, lb := a.column.Name == in.Target, b.column.Name == in.Target; la != lb {
			return la
		}
		return len(a.rows) > len(b.rows)
	})
	var out []Finding
	for _, g := range all[:min(len(all), maxPerCheck)] {
		share := float64(len(g.rows)) / float64(in.Len())
		f := Finding{Severity: Info, Count: len(g.rows), Rows: in.lines(g.rows),
			Message:     fmt.Sprintf("%s: %s (%.1f%%)", g.column.Name, count(len(g.rows), "missing value"), 100*share),
			Measurement: record.Measurement{Slice: "column=" + g.column.Name}}
		switch {
		case g.column.Name == in.Target:
			f.Severity, f.Hint = Error, "rows without a label get no role; label or remove them"
		case share > manyMissing:
			f.Severity, f.Hint = Warning, "a missing number counts as the mean, a missing category as none; say where the gaps come from"
		}
		out = append(out, f)
	}
	if rest := all[len(out):]; len(rest) > 0 {
		n := 0
		for _, g := range rest {
			n += len(g.rows)
		}
		out = append(out, Finding{Severity: Info, Count: n, Message: fmt.Sprintf("%s in %s more", count(n, "missing value"), count(len(rest), "column")),
			Measurement: record.Measurement{Slice: "column=others"}})
	}
	return out
}
