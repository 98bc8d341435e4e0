package policy

import (
	"fmt"
	"strings"

	"muster/fault"
	"muster/internal/detmath"
	"muster/record"
)

// bound holds a measurement against a minimum, a maximum or both.
type bound struct {
	selector
	low, high *float64 // nil is no bound
	byValue   bool     // "use: value": the interval is ignored
	places    [2]string
}

var boundKind = kind{name: "bound", fields: append([]string{"min", "max", "use"}, selectorFields...), parse: parseBound}

func parseBound(f *fields, _ *Policy) decider {
	b := &bound{selector: parseSelector(f), low: f.optional("min"), high: f.optional("max")}
	b.byValue = f.oneOf("use", "interval", "interval", "value") == "value"
	b.places = [2]string{f.at("min"), f.at("max")}
	if b.low == nil && b.high == nil {
		f.fail("min", fault.Malformed, "a bound needs min, max or both")
	}
	if strings.HasSuffix(b.slice, "*") {
		f.fail("slice", fault.Unsupported, "a bound speaks about one slice, not %q", b.slice)
	}
	return b
}

func (b *bound) decide(ev *evidence) finding {
	return ev.forEach(b.selector, func(m record.Measurement) finding { return b.judge(ev, m) })
}

func (b *bound) judge(ev *evidence, m record.Measurement) finding {
	f := finding{outcome: record.Unsure, reason: label(m) + " " + reading(m, b.low, b.high)}
	if m.Value == nil {
		return f
	}
	f.reason += ", needs " + b.words(m.Unit) + ": "
	low, high, what := *m.Value, *m.Value, "the value"
	if m.Interval != nil && !b.byValue {
		if why := ev.trusted(m); why != "" {
			f.reason += why
			return f
		}
		low, high, what = m.Interval.Low, m.Interval.High, "the interval"
		f.mde, f.mdeWhy = boundMDE(m, b)
	}
	out, why := b.compare(low, high, what)
	f.outcome, f.reason = out, f.reason+why
	if m.Interval == nil {
		f.reason += " (it has no interval)"
	}
	return f
}

// compare judges the range [low, high]: all of it inside, none of it, or some.
func (b *bound) compare(low, high float64, what string) (record.Outcome, string) {
	switch {
	case b.low != nil && high < *b.low:
		return record.Fail, what + " lies below"
	case b.high != nil && low > *b.high:
		return record.Fail, what + " lies above"
	case b.low != nil && low < *b.low && b.high != nil && high > *b.high:
		return record.Unsure, what + " reaches beyond both ends"
	case b.low != nil && low < *b.low:
		return record.Unsure, what + " reaches below"
	case b.high != nil && high > *b.high:
		return record.Unsure, what + " reaches above"
	}
	return record.Pass, what + " satisfies it"
}

func (b *bound) words(unit string) string {
	var parts []string
	if b.low != nil {
		parts = append(parts, "at least "+exact(*b.low))
	}
	if b.high != nil {
		parts = append(parts, "at most "+exact(*b.high))
	}
	s := strings.Join(parts, " and ")
	if unit != "" {
		s += " " + unit
	}
	return s
}

// power is the probability with which a stated effect would have been found.
const power = 0.8

// boundMDE is how far the true value must lie inside the bound for the interval
// to clear it with the stated power, from the interval's own half width on the
// side of the bound (normal approximation: half width = z(level) standard errors).
func boundMDE(m record.Measurement, b *bound) (*float64, string) {
	half := 0.0
	if b.low != nil {
		half = *m.Value - m.Interval.Low
	}
	if b.high != nil {
		half = max(half, m.Interval.High-*m.Value)
	}
	if half <= 0 {
		return nil, "the interval has no width on the side of the bound"
	}
	z := detmath.NormalQuantile(0.5 + m.Interval.Level/2)
	mde := half / z * (z + detmath.NormalQuantile(power))
	return &mde, fmt.Sprintf("a true value this far inside the bound passes with probability %s at n %d (normal approximation of the interval)", exact(power), m.N)
}
