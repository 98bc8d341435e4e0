package policy

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"muster/record"
)

// evidence is Evidence after the checks: sorted, without duplicates, with the
// reasons why it cannot be used at all.
type evidence struct {
	candidate record.Subject
	baseline  *record.Subject
	ms        []record.Measurement
	level     float64 // confidence that an interval must have
	refused   []string
}

func newEvidence(in Evidence, level float64) *evidence {
	ev := &evidence{candidate: in.Candidate, level: level}
	if !in.Candidate.Digest.Valid() {
		ev.refuse("the candidate %q has no valid digest", in.Candidate.Name)
	}
	if in.Baseline != nil {
		b := *in.Baseline
		ev.baseline = &b
		if !b.Digest.Valid() {
			ev.refuse("the baseline %q has no valid digest", b.Name)
		}
	}
	ev.take(in.Measurements)
	ev.contradictions()
	slices.Sort(ev.refused)
	ev.refused = slices.Compact(ev.refused)
	return ev
}

func (ev *evidence) refuse(format string, args ...any) {
	ev.refused = append(ev.refused, fmt.Sprintf(format, args...))
}

// take keeps the measurements in a canonical order, exact repeats once.
func (ev *evidence) take(ms []record.Measurement) {
	type keyed struct {
		key string
		m   record.Measurement
	}
	var ks []keyed
	for _, m := range ms {
		c, err := record.Canonical(m)
		if err != nil {
			ev.refuse("%s cannot be written as a record: %v", label(m), err)
			continue
		}
		if why := malformed(m); why != "" {
			ev.refuse("%s is not a valid measurement: %s", label(m), why)
			continue
		}
		if s := ev.stranger(m); s != nil {
			ev.refuse("%s was measured on %s %q (%s), which is neither the candidate nor the baseline", label(m), s.Kind, s.Name, s.Digest.Short())
			continue
		}
		ks = append(ks, keyed{strings.Join([]string{m.Name, m.Slice, m.Role, string(c)}, "\x00"), m})
	}
	sort.Slice(ks, func(i, j int) bool { return ks[i].key < ks[j].key })
	for i, k := range ks {
		if i == 0 || k.key != ks[i-1].key {
			ev.ms = append(ev.ms, k.m)
		}
	}
}

// malformed says what is wrong with a measurement as a record; "" if nothing.
func malformed(m record.Measurement) string {
	finite := func(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
	switch {
	case m.Name == "":
		return "it has no name"
	case m.Value == nil && m.Absent == "":
		return "it has neither a value nor the reason why there is none"
	case m.Value != nil && m.Absent != "":
		return "it has a value and a reason why there is none"
	case m.Value != nil && !finite(*m.Value):
		return "its value is not a finite number"
	case m.N < 0:
		return "its count is negative"
	}
	if iv := m.Interval; iv != nil {
		if !finite(iv.Low) || !finite(iv.High) || iv.Low > iv.High || !(iv.Level > 0 && iv.Level < 1) {
			return "its interval is not an interval"
		}
	}
	for _, s := range m.Subjects {
		if !s.Digest.Valid() {
			return fmt.Sprintf("its subject %q has no valid digest", s.Name)
		}
	}
	return ""
}

// models returns the subjects that are models: what was measured, then what it
// was compared with.
func (ev *evidence) models(m record.Measurement) []record.Subject {
	var out []record.Subject
	for _, s := range m.Subjects {
		if s.Kind == "model" || s.Kind == "release" || s.Kind == ev.candidate.Kind {
			out = append(out, s)
		}
	}
	return out
}

func (ev *evidence) stranger(m record.Measurement) *record.Subject {
	for _, s := range ev.models(m) {
		if s.Digest != ev.candidate.Digest && (ev.baseline == nil || s.Digest != ev.baseline.Digest) {
			return &s
		}
	}
	return nil
}

// contradictions refuses evidence in which one check gave two answers for the
// same subjects. Timings are exempt: they vary, and a rule must hold for each.
func (ev *evidence) contradictions() {
	first := map[string]record.Measurement{}
	for _, m := range ev.ms {
		if m.Volatile {
			continue
		}
		k := identity(m)
		a, ok := first[k]
		if !ok {
			first[k] = m
			continue
		}
		if why := conflict(a, m); why != "" {
			ev.refuse("%s contradicts itself on the same subjects: %s", label(m), why)
		}
	}
}

// identity is what must determine a non-volatile measurement.
func identity(m record.Measurement) string {
	parts := []string{m.Name, m.Check, fmt.Sprint(m.Version), m.Slice, m.Role}
	for _, s := range m.Subjects {
		parts = append(parts, s.Kind, string(s.Digest))
	}
	return strings.Join(parts, "\x00")
}

// conflict says how a and b, of one identity, differ; "" if they only differ in
// what chance may change: intervals and details under another seed.
func conflict(a, b record.Measurement) string {
	va, vb := reading(a), reading(b)
	switch {
	case (a.Value == nil) != (b.Value == nil), a.Value != nil && *a.Value != *b.Value, a.N != b.N:
		if a.Value != nil && b.Value != nil && *a.Value != *b.Value {
			va, vb = exact(*a.Value), exact(*b.Value)
		}
		return fmt.Sprintf("%s (n %d) and %s (n %d)%s", va, a.N, vb, b.N, otherSettings(a, b))
	case a.Seed == b.Seed && !same(a.Interval, b.Interval):
		return "one value, two intervals" + otherSettings(a, b)
	case a.Seed == b.Seed && !same(a.Detail, b.Detail):
		return "one value, two details" + otherSettings(a, b)
	}
	return ""
}

func otherSettings(a, b record.Measurement) string {
	if same(a.Settings, b.Settings) {
		return ""
	}
	return "; the settings differ, so one name stands for two conventions"
}

func same(a, b any) bool {
	x, errX := record.Canonical(a)
	y, errY := record.Canonical(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// A selector says which measurement a rule reads.
type selector struct {
	measurement, slice, role string
}

var selectorFields = []string{"measurement", "slice", "role"}

func parseSelector(f *fields) selector {
	return selector{f.required("measurement"), f.text("slice", ""), f.text("role", "")}
}

// String names the selector in a sentence.
func (s selector) String() string {
	role := s.role
	if role == "" {
		role = "test"
	}
	return title(s.measurement, s.slice, role)
}

// find returns the measurements of the candidate that s selects, in canonical order.
func (ev *evidence) find(s selector) []record.Measurement {
	var out []record.Measurement
	for _, m := range ev.ms {
		if m.Name == s.measurement && matchSlice(s.slice, m.Slice) && matchRole(s.role, m.Role) && ev.ofCandidate(m) {
			out = append(out, m)
		}
	}
	return out
}

func (ev *evidence) ofCandidate(m record.Measurement) bool {
	models := ev.models(m)
	return len(models) == 0 || models[0].Digest == ev.candidate.Digest
}

// matchSlice compares slices; a pattern that ends in * matches every slice that
// begins with the rest (only the kind "present" allows that).
func matchSlice(pattern, slice string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return slice != "" && strings.HasPrefix(slice, prefix)
	}
	return pattern == slice
}

func matchRole(want, role string) bool {
	if want == "" {
		return role == "" || role == "test"
	}
	return want == role
}

// missing explains why s found nothing, with what there is instead.
func (ev *evidence) missing(s selector) string {
	var others []string
	for _, m := range ev.ms {
		if m.Name != s.measurement {
			continue
		}
		switch {
		case !ev.ofCandidate(m):
			others = append(others, "one of the baseline")
		case !matchRole(s.role, m.Role):
			others = append(others, fmt.Sprintf("one on role %q, which does not count here", m.Role))
		case m.Slice == "":
			others = append(others, "one over all rows")
		default:
			others = append(others, fmt.Sprintf("one on slice %q", m.Slice))
		}
	}
	slices.Sort(others)
	others = slices.Compact(others)
	if len(others) == 0 {
		return fmt.Sprintf("there is no measurement %s of the candidate", s)
	}
	return fmt.Sprintf("there is no measurement %s of the candidate, only %s", s, strings.Join(others[:min(3, len(others))], " and "))
}

// trusted says why m's interval cannot decide at the policy's confidence; "" if it can.
func (ev *evidence) trusted(m record.Measurement) string {
	if m.Interval.Level < ev.level-1e-12 {
		return fmt.Sprintf("its interval has confidence %s, the policy asks for %s", exact(m.Interval.Level), exact(ev.level))
	}
	return ""
}
