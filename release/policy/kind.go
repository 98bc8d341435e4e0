package policy

import "muster/record"

// A rule is one entry of the list, of some kind.
type rule struct {
	name, kind string
	place      string // file and line, for errors at load
	// needsBaseline says that the rule applies only where there is a baseline
	// ("when: baseline"); without one it is recorded as not applicable.
	needsBaseline bool
	decider
}

// A decider is the part of a rule that depends on its kind.
type decider interface {
	decide(ev *evidence) finding
}

// A finding is what a rule says.
type finding struct {
	outcome record.Outcome
	reason  string
	used    []record.Measurement
	mde     *float64
	mdeWhy  string
}

// A kind reads the fields of one kind of rule; header holds what every rule has.
type kind struct {
	name   string
	fields []string
	parse  func(f *fields, p *Policy) decider
}

// kinds are the kinds of rules, sorted by name; each has its own file.
var kinds = []kind{boundKind, exprKind, noninferiorKind, presentKind}

// headerFields are the fields that rules of every kind have.
var headerFields = []string{"name", "kind", "when"}

func kindNames() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// severity orders outcomes from good to bad; findings and verdicts take the worst.
var severity = map[record.Outcome]int{record.Pass: 0, record.Unsure: 1, record.Fail: 2}

func worst(a, b record.Outcome) record.Outcome {
	if severity[b] > severity[a] {
		return b
	}
	return a
}
