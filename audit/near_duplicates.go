package audit

import (
	"encoding/json"
	"fmt"

	"muster/data"
	"muster/record"
)

// A cluster of near duplicates with more than this share of the rows, and at least
// giantRows, is an error: chains of neighbours have swallowed the set.
const (
	giantShare = 0.05
	giantRows  = 20
)

// nearDuplicates reports the near pairs of data.FindDuplicates, whose rule it states.
func nearDuplicates(in *Input) []Finding {
	d := in.Duplicates()
	settings := map[string]any{"distance": "mean absolute difference as a share of the range", "threshold": d.Threshold,
		"cap": data.NearShare, "factor": data.NearFactor, "exhaustive": d.Exhaustive}
	rule, more := fmt.Sprintf("by at most %.2g%% of the range on average", 100*d.Threshold), ""
	if !d.Exhaustive {
		more = fmt.Sprintf("; more than %d rows, so pairs can be missed", data.ExhaustiveRows)
	}
	if d.NearCount == 0 {
		f := fine("no two rows differ " + rule + more)
		f[0].Measurement.Settings = settings
		return f
	}
	rows := map[int]bool{}
	for _, p := range d.Near {
		rows[p[0]], rows[p[1]] = true, true
	}
	list := ascending(rows)
	m := record.Measurement{Settings: settings}
	m.Detail, _ = json.Marshal(map[string]any{"pairs": in.pairLines(d.Near), "count": d.NearCount}) // ints: cannot fail
	out := []Finding{{Severity: Warning, Count: len(list), Rows: in.lines(list), Measurement: m,
		Message: fmt.Sprintf("%s that differ from another %s (%s)%s", count(len(list), "row"), rule, count(d.NearCount, "pair"), more),
		Hint:    "the split keeps them in one role; look whether they are copies"}}
	if size, first := largest(d.Groups); size >= giantRows && float64(size) > giantShare*float64(in.Len()) {
		out = append(out, Finding{Severity: Error, Count: size, Rows: in.lines([]int{first}),
			Message:     fmt.Sprintf("one chain of neighbours holds %s", count(size, "row")),
			Hint:        "they all get one role; check that the features tell rows apart",
			Measurement: record.Measurement{Name: "audit/largest-cluster"}})
	}
	return out
}

// pairLines returns the source lines of the first MaxRows pairs.
func (in *Input) pairLines(pairs [][2]int) [][2]int {
	out := make([][2]int, 0, MaxRows)
	for _, p := range pairs[:min(len(pairs), MaxRows)] {
		out = append(out, [2]int{in.Line(p[0]), in.Line(p[1])})
	}
	return out
}

// largest returns size and first row of the largest group.
func largest(groups []int) (size, first int) {
	n := make([]int, len(groups))
	for _, g := range groups {
		n[g]++
		if n[g] > size || n[g] == size && g < first {
			size, first = n[g], g
		}
	}
	return size, first
}
