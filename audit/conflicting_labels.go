package audit

import (
	"fmt"
	"slices"

	"muster/record"
)

// conflictingLabels finds rows with equal, or nearly equal, features and different labels.
func conflictingLabels(in *Input) []Finding {
	labels := in.Labels()
	if labels == nil {
		return notInspected("the set has no label column", "")
	}
	d := in.Duplicates()
	exact := map[int]bool{}
	for _, g := range d.Exact {
		if differ(labels, g) {
			for _, r := range g {
				exact[r] = true
			}
		}
	}
	near := map[int]bool{}
	for _, p := range d.Near {
		if differ(labels, p[:]) {
			for _, r := range p {
				if !exact[r] {
					near[r] = true
				}
			}
		}
	}
	hint := "at least one of the labels is wrong: correct it, or remove the rows"
	var out []Finding
	if len(exact) > 0 {
		rows := ascending(exact)
		out = append(out, Finding{Severity: Error, Count: len(rows), Rows: in.lines(rows), Hint: hint,
			Message:     fmt.Sprintf("%s with the same features as another and a different label", count(len(rows), "row")),
			Measurement: record.Measurement{Name: "audit/conflicting-labels"}})
	}
	if len(near) > 0 {
		rows := ascending(near)
		out = append(out, Finding{Severity: Warning, Count: len(rows), Rows: in.lines(rows), Hint: hint,
			Message:     fmt.Sprintf("%s with nearly the same features as another and a different label", count(len(rows), "row")),
			Measurement: record.Measurement{Name: "audit/conflicting-labels-near"}})
	}
	if out == nil {
		return fine("no two rows with the same or nearly the same features have different labels")
	}
	return out
}

// differ reports whether the labels of rows that have one are not all the same.
func differ(labels []int64, rows []int) bool {
	first := int64(-1)
	for _, r := range rows {
		if labels[r] < 0 {
			continue
		}
		if first >= 0 && labels[r] != first {
			return true
		}
		first = labels[r]
	}
	return false
}

// ascending returns the members of a set of rows.
func ascending(rows map[int]bool) []int {
	out := make([]int, 0, len(rows))
	for r := range rows {
		out = append(out, r)
	}
	slices.Sort(out)
	return out
}
