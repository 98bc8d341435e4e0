package conformance

import (
	"fmt"
	"sort"
	"strings"
)

// Report counts the cases.
type Report struct {
	Cases   int `json:"cases"`
	Passed  int `json:"passed"`
	Refused int `json:"refused"`
	Wrong   int `json:"wrong"`

	List []Case `json:"-"`
}

// Row is one operator of a report.
type Row struct {
	Op                     string
	Passed, Refused, Wrong int
	Why                    []string // of refusals and wrong answers, each once, with its count
}

func (r *Report) add(c Case) {
	r.Cases++
	switch c.Status {
	case Passed:
		r.Passed++
	case Refused:
		r.Refused++
	default:
		r.Wrong++
	}
	r.List = append(r.List, c)
}

// Rows are the cases by operator, sorted by name. An expanded case counts for the operator it expands.
func (r *Report) Rows() []Row {
	ops := map[string]string{}
	for _, c := range r.List {
		ops[c.Name] = c.Op
	}
	rows, why := map[string]*Row{}, map[string]map[string]int{}
	for _, c := range r.List {
		name := c.Op
		if of, ok := strings.CutPrefix(name, expandedOf); ok {
			if name = ops[of]; name == "" || strings.HasPrefix(name, expandedOf) {
				name = "others"
			}
		}
		row := rows[name]
		if row == nil {
			row = &Row{Op: name}
			rows[name], why[name] = row, map[string]int{}
		}
		switch c.Status {
		case Passed:
			row.Passed++
			continue
		case Refused:
			row.Refused++
		default:
			row.Wrong++
		}
		why[name][c.Why]++
	}
	var out []Row
	for name, row := range rows {
		for w, n := range why[name] {
			if n > 1 {
				w = fmt.Sprintf("%s (%d)", w, n)
			}
			row.Why = append(row.Why, w)
		}
		sort.Strings(row.Why)
		out = append(out, *row)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Op < out[j].Op })
	return out
}

// Markdown is the report as a page.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Conformance

Written by `+"`muster conformance`"+`; do not edit. Every case of the ONNX backend tests runs by the plain references and, twice, by a
session with its passes and kernels. A case is *refused* if Muster says that it does not support it, and *wrong* if an answer differs or
anything else fails.

| cases | passed | refused | wrong |
|---:|---:|---:|---:|
| %d | %d | %d | %d |

| operator | passed | refused | wrong | reasons |
|---|---:|---:|---:|---|
`, r.Cases, r.Passed, r.Refused, r.Wrong)
	for _, row := range r.Rows() {
		why := strings.NewReplacer("|", "\\|", "\n", " ").Replace(strings.Join(row.Why, "; "))
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %s |\n", row.Op, row.Passed, row.Refused, row.Wrong, why)
	}
	return b.String()
}
