package policy

import (
	"fmt"

	"muster/record"
)

// present asks that a measurement exists and has a value: evidence that was
// never gathered must not pass. The slice may end in * for "at least one such slice".
type present struct{ selector }

var presentKind = kind{name: "present", fields: selectorFields, parse: func(f *fields, _ *Policy) decider {
	return &present{parseSelector(f)}
}}

func (p *present) decide(ev *evidence) finding {
	found := ev.find(p.selector)
	if len(found) == 0 {
		return finding{outcome: record.Unsure, reason: ev.missing(p.selector)}
	}
	f := finding{outcome: record.Pass, used: found, reason: label(found[0]) + " is there: " + reading(found[0])}
	if n := len(found) - 1; n > 0 {
		f.reason += fmt.Sprintf(" (and %d more)", n)
	}
	for _, m := range found {
		if m.Value == nil {
			f.outcome, f.reason = record.Unsure, label(m)+" "+reading(m)
			break
		}
	}
	return f
}
