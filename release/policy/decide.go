package policy

import (
	"fmt"

	"muster/record"
)

// Decide gives the verdict of the policy on the evidence: fail if any rule
// fails, else not enough evidence if any rule lacks it, else pass. Evidence that
// contradicts itself or speaks of other models refuses the verdict: the outcome
// is record.Unsure, Refused has the reasons and no rule is judged.
//
// The result depends only on the set of measurements, not on their order.
func (p *Policy) Decide(in Evidence) record.Verdict {
	v := record.Verdict{
		Version: record.Version, Outcome: record.Unsure, Policy: p.Subject(),
		Candidate: in.Candidate, Rules: []record.RuleResult{},
	}
	ev := newEvidence(in, p.Confidence)
	v.Baseline = ev.baseline
	if len(ev.refused) == 0 {
		v.Rules, v.Outcome = p.judge(ev)
	}
	if len(ev.refused) > 0 { // a rule may find that the details of a measurement contradict it
		v.Rules, v.Outcome, v.Refused = []record.RuleResult{}, record.Unsure, ev.refused
	}
	return v
}

func (p *Policy) judge(ev *evidence) ([]record.RuleResult, record.Outcome) {
	outcome := record.Pass
	results := make([]record.RuleResult, 0, len(p.rules))
	for _, r := range p.rules {
		f := finding{outcome: record.Pass, reason: "does not apply: there is no baseline, and the rule says \"when: baseline\""}
		if !r.needsBaseline || ev.baseline != nil {
			f = r.decide(ev)
		}
		if f.used == nil {
			f.used = []record.Measurement{}
		}
		results = append(results, record.RuleResult{
			Name: r.name, Kind: r.kind, Outcome: f.outcome, Reason: f.reason, Measurements: f.used,
			MinDetectable: f.mde, MinDetectableWhy: f.mdeWhy,
		})
		outcome = worst(outcome, f.outcome)
	}
	return results, outcome
}

// forEach judges every measurement that s selects; the rule must hold for each,
// so that a second data set or a repeated timing can only make it stricter. The
// finding is the worst one.
func (ev *evidence) forEach(s selector, judge func(record.Measurement) finding) finding {
	found := ev.find(s)
	if len(found) == 0 {
		return finding{outcome: record.Unsure, reason: ev.missing(s)}
	}
	out := finding{outcome: record.Pass}
	for i, m := range found {
		f := judge(m)
		if i == 0 || severity[f.outcome] > severity[out.outcome] {
			f.used = out.used
			out = f
		}
		out.used = append(out.used, m)
	}
	if len(found) > 1 {
		out.reason += fmt.Sprintf(" (the worst of %d measurements)", len(found))
	}
	return out
}
