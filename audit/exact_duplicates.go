package audit

import (
	"fmt"
	"slices"
)

// manyDuplicates is the share of repeated rows from which they are an error; it is the
// limit of deepchecks 0.19.
const manyDuplicates = 0.05

// exactDuplicates finds rows whose features repeat those of an earlier row.
func exactDuplicates(in *Input) []Finding {
	var repeats []int
	for _, g := range in.Duplicates().Exact {
		repeats = append(repeats, g[1:]...)
	}
	if len(repeats) == 0 {
		return fine("no row repeats another")
	}
	slices.Sort(repeats)
	f := Finding{Severity: Warning, Count: len(repeats), Rows: in.lines(repeats),
		Message: fmt.Sprintf("%s with the features of an earlier row (%s)", count(len(repeats), "row"), count(len(in.Duplicates().Exact), "group")),
		Hint:    "the split keeps them in one role; remove them if they are copies by mistake"}
	if float64(len(repeats)) > manyDuplicates*float64(in.Len()) {
		f.Severity = Error
	}
	return []Finding{f}
}
