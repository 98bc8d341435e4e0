// Package policy decides, by written rules, whether measurements are good enough.
//
// A policy is a YAML file of rules over measurements. Its answer is a
// record.Verdict: pass, fail, or not enough evidence, each rule with the
// measurement it used, a reason in plain words and the smallest effect it
// would have found. The package imports records, errors and statistics only,
// so a verdict can be derived again with no engine present.
//
// Which measurements count: the first model among a measurement's subjects is
// what was measured, a second one is what it was compared with. A rule speaks
// about the candidate, so it matches measurements whose first model is the
// candidate (or that name no model: audits of data). A rule without a role
// matches role "test" or no role at all, never train, select, calibrate or
// threshold rows; a rule with a role matches that role only.
package policy

import (
	_ "embed"
	"sync"

	"muster/record"
)

// Policy is a parsed and checked policy. It is immutable and may be used by
// several goroutines at once.
type Policy struct {
	Name       string
	Confidence float64 // level that an interval must have to decide a rule, in (0.5, 1)
	Canary     Canary
	Monitor    Monitor

	rules  []rule
	source []byte
}

// Evidence is what a policy decides on.
type Evidence struct {
	Candidate    record.Subject
	Baseline     *record.Subject // nil if there is nothing to compare with
	Measurements []record.Measurement
}

// Subject names the policy by the digest of its source text.
func (p *Policy) Subject() record.Subject {
	return record.Subject{Kind: "policy", Name: p.Name, Digest: record.DigestBytes(p.source)}
}

// Source returns a copy of the text that the policy was parsed from.
func (p *Policy) Source() []byte { return append([]byte(nil), p.source...) }

//go:embed default.yaml
var defaultYAML []byte

var parseDefault = sync.OnceValues(func() (*Policy, error) { return Parse("default.yaml", defaultYAML) })

// Default returns the policy for classifiers that is used when none is given.
// Its text, with the reason for each number, is default.yaml.
func Default() *Policy {
	p, err := parseDefault()
	if err != nil {
		panic("policy: the embedded default does not parse: " + err.Error())
	}
	return p
}
