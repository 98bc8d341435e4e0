package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"muster/fault"
	"muster/record"
	"muster/stat"
)

// noninferior asks that the candidate loses less than a margin against the
// baseline on the same items, by an exact paired test.
type noninferior struct {
	selector
	margin, alpha float64
}

var noninferiorKind = kind{name: "noninferior", fields: append([]string{"margin", "alpha"}, selectorFields...), parse: parseNoninferior}

func parseNoninferior(f *fields, p *Policy) decider {
	r := &noninferior{selector: parseSelector(f)}
	if !f.has("margin") {
		f.fail("margin", fault.Malformed, "the rule needs the field \"margin\": the loss that is tolerated")
		return r
	}
	r.margin = f.number("margin", 0)
	r.alpha = f.number("alpha", math.Round((1-p.Confidence)*1e12)/1e12) // 0.05, not 0.050000000000000044
	f.margin("margin", r.margin)
	f.alpha("alpha", r.alpha)
	if strings.HasSuffix(r.slice, "*") {
		f.fail("slice", fault.Unsupported, "the rule speaks about one slice, not %q", r.slice)
	}
	return r
}

// pairs is the detail of a paired comparison of right and wrong answers.
type pairs struct {
	N             int `json:"n"`
	BothRight     int `json:"both_right"`
	OnlyCandidate int `json:"only_candidate"`
	OnlyBaseline  int `json:"only_baseline"`
	BothWrong     int `json:"both_wrong"`
}

// maxItems bounds the pairs of one offline comparison; the exact test takes
// milliseconds at a hundred thousand.
const maxItems = 10_000_000

func (r *noninferior) decide(ev *evidence) finding {
	if ev.baseline == nil {
		return finding{outcome: record.Unsure, reason: fmt.Sprintf("%s needs a baseline, and there is none", r.selector)}
	}
	return ev.forEach(r.selector, func(m record.Measurement) finding { return r.judge(ev, m) })
}

func (r *noninferior) judge(ev *evidence, m record.Measurement) finding {
	f := finding{outcome: record.Unsure, reason: label(m) + " "}
	if m.Value == nil {
		f.reason += reading(m)
		return f
	}
	if models := ev.models(m); len(models) != 2 || models[1].Digest != ev.baseline.Digest {
		f.reason += "does not compare the candidate with the baseline"
		return f
	}
	d, why := readPairs(m)
	if why != "" {
		ev.refuse("%s contradicts its own detail: %s", label(m), why)
		return f
	}
	if d == nil {
		f.reason += "has no counts of the four kinds of pairs, so no paired test is possible"
		return f
	}
	return r.test(m, *d)
}

// readPairs returns the counts, nil if the measurement has none, or why they
// cannot be true.
func readPairs(m record.Measurement) (*pairs, string) {
	if len(m.Detail) == 0 {
		return nil, ""
	}
	var keys map[string]json.RawMessage
	if json.Unmarshal(m.Detail, &keys) != nil || keys["only_baseline"] == nil || keys["only_candidate"] == nil {
		return nil, ""
	}
	var d pairs
	dec := json.NewDecoder(bytes.NewReader(m.Detail))
	if err := dec.Decode(&d); err != nil {
		return nil, fmt.Sprintf("the counts cannot be read: %v", err)
	}
	for _, c := range []int{d.N, d.BothRight, d.OnlyCandidate, d.OnlyBaseline, d.BothWrong} {
		if c < 0 || c > maxItems {
			return nil, fmt.Sprintf("a count of %d is outside 0 to %d", c, maxItems)
		}
	}
	if sum := d.BothRight + d.OnlyCandidate + d.OnlyBaseline + d.BothWrong; sum != d.N || d.N == 0 || d.N != m.N {
		return nil, fmt.Sprintf("%d pairs are counted, the detail says %d, the measurement %d", sum, d.N, m.N)
	}
	if diff := float64(d.OnlyCandidate-d.OnlyBaseline) / float64(d.N); math.Abs(diff-*m.Value) > 1e-9 {
		return nil, fmt.Sprintf("the counts give %s, the value is %s", exact(diff), exact(*m.Value))
	}
	return &d, ""
}

func (r *noninferior) test(m record.Measurement, d pairs) finding {
	f := finding{outcome: record.Unsure}
	t, err := stat.NonInferior(d.OnlyBaseline, d.OnlyCandidate, d.N, r.margin, r.alpha)
	if err != nil {
		f.reason = label(m) + " could not be tested: " + err.Error()
		return f
	}
	f.outcome = record.Outcome(t.Decision)
	low := -r.margin
	f.reason = fmt.Sprintf("%s %s [%s, %s], may lose at most %s: ", label(m), short(t.Difference),
		near(t.Interval.Low, &low), near(t.Interval.High, &low), exact(r.margin))
	switch f.outcome {
	case record.Pass:
		f.reason += fmt.Sprintf("a loss that large is ruled out (%s)", pValue(t.P))
	case record.Fail:
		f.reason += fmt.Sprintf("a larger loss is proven (%s)", pValue(t.PWorse))
	default:
		f.reason += fmt.Sprintf("a loss that large is neither ruled out (%s) nor proven (%s)", pValue(t.P), pValue(t.PWorse))
	}
	f.reason += fmt.Sprintf("; of %d pairs %d right only with the baseline, %d only with the candidate", d.N, d.OnlyBaseline, d.OnlyCandidate)
	f.mde, f.mdeWhy = r.detectable(d)
	return f
}

// detectable is the smallest true loss that the comparison would have found, at
// the largest discordance that the data leave plausible, or at the loss itself
// where that is larger: two models differ on at least the answers that one loses.
func (r *noninferior) detectable(d pairs) (*float64, string) {
	psi := stat.ClopperPearson(d.OnlyBaseline+d.OnlyCandidate, d.N, 0.9).High
	loss, err := stat.MinDetectable(d.N, psi, r.alpha, power)
	if err != nil {
		low, high := psi, 1.0
		for range 50 {
			mid := low + (high-low)/2
			if l, err := stat.MinDetectable(d.N, mid, r.alpha, power); err == nil {
				high, psi, loss = mid, mid, l
			} else {
				low = mid
			}
		}
	}
	if loss == 0 {
		return nil, fmt.Sprintf("%d pairs cannot reveal any loss at alpha %s with power %s", d.N, exact(r.alpha), exact(power))
	}
	return &loss, fmt.Sprintf("smallest loss found with power %s at alpha %s over %d pairs, if the two disagree on %s %% of them",
		exact(power), exact(r.alpha), d.N, digits(100*psi, 3))
}

// pValue prints a p-value; below 1e-4 only that matters.
func pValue(p float64) string {
	if p < 1e-4 {
		return "p below 0.0001"
	}
	return "p " + digits(p, 3)
}
