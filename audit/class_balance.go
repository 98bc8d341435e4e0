package audit

import (
	"encoding/json"
	"fmt"

	"muster/record"
)

// rareShare: a class is rare if its share is below rareShare/K for K classes; the rule
// and its constant are those of cleanlab 2.9 ("class imbalance").
const rareShare = 0.1

// classBalance counts the rows of each class.
func classBalance(in *Input) []Finding {
	labels, classes := in.Labels(), in.Classes()
	if labels == nil {
		return notInspected("the set has no label column", "")
	}
	counts, total := make([]int, len(classes)), 0
	for _, l := range labels {
		if l >= 0 {
			counts[l]++
			total++
		}
	}
	if len(classes) == 0 {
		return notInspected("no row has a label", "")
	}
	least, most, rare := 0, 0, 0
	for k, n := range counts {
		if float64(n)*float64(len(classes)) < rareShare*float64(total) {
			rare++
		}
		if n < counts[least] {
			least = k
		}
		if n > counts[most] {
			most = k
		}
	}
	m := record.Measurement{Name: "audit/rarest-class", Value: record.Val(float64(counts[least]) / float64(total)), Direction: record.Higher, N: total}
	byClass := map[string]int{}
	for k, n := range counts {
		byClass[classes[k]] = n
	}
	m.Detail, _ = json.Marshal(map[string]any{"classes": byClass}) // strings and ints: cannot fail
	f := Finding{Severity: Info, Measurement: m, Message: fmt.Sprintf("%d classes of %d (%s) to %d rows (%s)", len(classes), counts[least], classes[least], counts[most], classes[most])}
	if counts[least] == counts[most] {
		f.Message = fmt.Sprintf("%d classes of %s each", len(classes), count(counts[most], "row"))
	}
	switch {
	case len(classes) < 2:
		f.Severity, f.Count, f.Message = Error, total, fmt.Sprintf("all rows have the label %s", classes[0])
		f.Hint = "a classifier needs rows of at least two classes"
	case rare > 0:
		f.Severity, f.Count = Warning, rare
		f.Hint = fmt.Sprintf("a class with less than %g/%d of the rows is rare: read its own accuracy, not only the overall one", rareShare, len(classes))
	}
	return []Finding{f}
}
