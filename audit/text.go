package audit

import (
	"fmt"
	"strconv"
	"strings"
)

// Text renders the report for a terminal, a line or three for each finding.
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "audit of %s: %s, data %s\n", r.Data.Name, count(r.Rows, "row"), r.Data.Digest.Short())
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "  %-8s %-19s %s\n", f.word(), f.Check, f.Message)
		if len(f.Rows) > 0 {
			fmt.Fprintf(&b, "%31s%s\n", "", f.rowList())
		}
		if f.Hint != "" {
			fmt.Fprintf(&b, "%31shint: %s\n", "", f.Hint)
		}
	}
	fmt.Fprintf(&b, "%s, %s\n", count(r.Count(Error), "error"), count(r.Count(Warning), "warning"))
	return b.String()
}

// word is the first word of a line.
func (f Finding) word() string {
	switch {
	case f.Measurement.Absent != "":
		return "skipped"
	case f.Severity == Info && f.Count == 0:
		return "ok"
	}
	return string(f.Severity)
}

func (f Finding) rowList() string {
	text := make([]string, len(f.Rows))
	for i, r := range f.Rows {
		text[i] = strconv.Itoa(r)
	}
	s := "rows " + strings.Join(text, ", ")
	if f.Count == 1 {
		s = "row " + text[0]
	}
	if more := f.Count - len(f.Rows); more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// count is "1 row" or "2 rows".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
