// Package audit examines data sets before a model sees them: one file per check, one
// sorted table. A check says what it found, in which rows, how grave it is and what to
// do; a check that could not look says why and never counts as passed.
package audit

import (
	"encoding/json"
	"slices"

	"muster/data"
	"muster/fault"
	"muster/record"
)

// Severity says how grave a finding is.
type Severity string

// The severities.
const (
	Info    Severity = "info"    // nothing to do
	Warning Severity = "warning" // look at it; results can be worse than they seem
	Error   Severity = "error"   // results from this data would be wrong
)

// rank orders severities.
func (s Severity) rank() int { return slices.Index([]Severity{Info, Warning, Error}, s) }

// MaxRows is the number of rows that a finding lists.
const MaxRows = 20

// maxPerCheck is the number of columns that a check speaks of one by one.
const maxPerCheck = 10

// Finding is what one check says about one thing.
type Finding struct {
	Check       string             `json:"check"`
	Severity    Severity           `json:"severity"`
	Message     string             `json:"message"`
	Rows        []int              `json:"rows,omitempty"` // source lines of the first MaxRows rows concerned
	Count       int                `json:"count"`          // rows, cells or columns concerned; 0: the check found nothing
	Hint        string             `json:"hint,omitempty"`
	Measurement record.Measurement `json:"measurement"`
}

// Input is the set under audit and what several checks need of it.
type Input struct {
	*data.Set
	duplicates *data.Duplicates
}

// Duplicates finds the duplicates at the first call.
func (in *Input) Duplicates() *data.Duplicates {
	if in.duplicates == nil {
		in.duplicates = data.FindDuplicates(in.Set)
	}
	return in.duplicates
}

// Check is one row of the table. Run reports at least one finding: with count 0 if all is
// well, with an absent measurement if it could not look.
type Check struct {
	Name    string
	Version int // of the definition
	Run     func(in *Input) []Finding
}

// checks is the table, sorted by name.
var checks = []Check{
	{"class-balance", 1, classBalance},
	{"conflicting-labels", 1, conflictingLabels},
	{"constant-columns", 1, constantColumns},
	{"exact-duplicates", 1, exactDuplicates},
	{"missing-values", 1, missingValues},
	{"near-duplicates", 1, nearDuplicates},
	{"out-of-range", 1, outOfRange},
	{"role-leak", 1, roleLeak},
	{"schema", 1, schema},
}

// Checks returns the names of the checks, sorted.
func Checks() []string {
	out := make([]string, len(checks))
	for i, c := range checks {
		out[i] = c.Name
	}
	return out
}

// ReportVersion is the version of the report's JSON form.
const ReportVersion = 1

// Report is the result of an audit.
type Report struct {
	Version  int            `json:"version"`
	Data     record.Subject `json:"data"`
	Rows     int            `json:"rows"`
	Findings []Finding      `json:"findings"` // in the order of the table
	groups   []int
}

// Run makes all checks. It fails only for a set that breaks its own contract.
func Run(s *data.Set) (*Report, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if s.Len() == 0 {
		return nil, fault.New(fault.Malformed, s.Source, "the set has no rows")
	}
	in := &Input{Set: s}
	r := &Report{Version: ReportVersion, Data: s.Subject(), Rows: s.Len()}
	for _, c := range checks {
		for _, f := range c.Run(in) {
			r.Findings = append(r.Findings, finish(c, f, r))
		}
	}
	r.groups = in.Duplicates().Groups
	return r, nil
}

// finish fills in what all findings have in common.
func finish(c Check, f Finding, r *Report) Finding {
	f.Check = c.Name
	m := &f.Measurement
	m.Check, m.Version, m.Subjects = "audit/"+c.Name, c.Version, []record.Subject{r.Data}
	if m.Name == "" {
		m.Name = "audit/" + c.Name
	}
	if m.Value == nil && m.Absent == "" {
		m.Value = record.Val(float64(f.Count))
	}
	if m.Direction == "" {
		m.Direction = record.Lower
	}
	if m.N == 0 {
		m.N = r.Rows
	}
	if len(f.Rows) > 0 && m.Detail == nil {
		m.Detail, _ = json.Marshal(map[string]any{"rows": f.Rows, "count": f.Count}) // ints: cannot fail
	}
	return f
}

// lines returns the source lines of the first MaxRows of rows.
func (in *Input) lines(rows []int) []int {
	out := make([]int, 0, min(len(rows), MaxRows))
	for _, r := range rows[:min(len(rows), MaxRows)] {
		out = append(out, in.Line(r))
	}
	return out
}

// fine is the finding of a check that has nothing to report.
func fine(message string) []Finding { return []Finding{{Severity: Info, Message: message}} }

// notInspected is the finding of a check that could not look.
func notInspected(why, hint string) []Finding {
	return []Finding{{Severity: Info, Message: why, Hint: hint, Measurement: record.Measurement{Absent: why}}}
}

// Groups returns a group number for each row: rows with the same number are exact or near
// duplicates and must share a role. It fits data.SplitConfig.Groups.
func (r *Report) Groups() []int { return r.groups }

// Count returns the number of findings with severity s.
func (r *Report) Count(s Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// Worst returns the gravest severity.
func (r *Report) Worst() Severity {
	worst := Info
	for _, f := range r.Findings {
		if f.Severity.rank() > worst.rank() {
			worst = f.Severity
		}
	}
	return worst
}

// Measurements returns the measurement of every finding.
func (r *Report) Measurements() []record.Measurement {
	out := make([]record.Measurement, len(r.Findings))
	for i, f := range r.Findings {
		out[i] = f.Measurement
	}
	return out
}
