package audit

import (
	"fmt"

	"muster/data"
	"muster/record"
)

// roleLeak finds rows that have an exact or near duplicate with another role, by which
// the roles know of each other.
func roleLeak(in *Input) []Finding {
	assigned := false
	for i := range in.Len() {
		assigned = assigned || in.Role(i) != data.Unassigned
	}
	if !assigned {
		return notInspected("the rows have no roles yet", "")
	}
	d := in.Duplicates()
	exact, near := map[int]bool{}, map[int]bool{}
	for _, g := range d.Exact {
		if in.straddles(g) {
			for _, r := range g {
				exact[r] = true
			}
		}
	}
	for _, p := range d.Near {
		if in.straddles(p[:]) {
			for _, r := range p {
				if !exact[r] {
					near[r] = true
				}
			}
		}
	}
	var out []Finding
	for _, k := range []struct {
		rows       map[int]bool
		what, name string
	}{{exact, "the same features", "audit/role-leak"}, {near, "nearly the same features", "audit/role-leak-near"}} {
		if len(k.rows) > 0 {
			rows := ascending(k.rows)
			out = append(out, Finding{Severity: Error, Count: len(rows), Rows: in.lines(rows),
				Message:     fmt.Sprintf("%s with %s as a row of another role", count(len(rows), "row"), k.what),
				Hint:        "results on the other role would be too good: let the split ledger assign the roles",
				Measurement: record.Measurement{Name: k.name}})
		}
	}
	if out == nil {
		return fine("no two rows of different roles are exact or near duplicates")
	}
	return out
}

// straddles reports whether rows that have a role do not all have the same.
func (in *Input) straddles(rows []int) bool {
	first := data.Unassigned
	for _, r := range rows {
		role := in.Role(r)
		if role == data.Unassigned {
			continue
		}
		if first != data.Unassigned && role != first {
			return true
		}
		first = role
	}
	return false
}
