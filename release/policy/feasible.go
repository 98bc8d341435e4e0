package policy

import (
	"fmt"
	"math"

	"muster/fault"
)

// possible are the ranges of the named measurements that have one: a bound
// outside (a percentage where a ratio is meant) is a mistake, not a policy.
var possible = map[string][2]float64{
	"accuracy":               {0, 1},
	"brier":                  {0, 2}, // sum over the classes
	"calibration/ece":        {0, 1},
	"compare/accuracy_diff":  {-1, 1},
	"compare/flips":          {0, math.Inf(1)},
	"compare/kl":             {0, math.Inf(1)},
	"compare/latency_ratio":  {0, math.Inf(1)},
	"compare/size_ratio":     {0, math.Inf(1)},
	"cost/flops":             {0, math.Inf(1)},
	"latency/p50":            {0, math.Inf(1)},
	"latency/p95":            {0, math.Inf(1)},
	"nll":                    {0, math.Inf(1)},
	"ood/auroc":              {0, 1},
	"ood/fpr95":              {0, 1},
	"quant/integer_nodes":    {0, math.Inf(1)},
	"robust/corruption":      {0, 1},
	"robust/corruption-mean": {0, 1},
	"robust/pgd-linf":        {0, 1},
	"size/file":              {0, math.Inf(1)},
}

// feasible refuses policies that cannot hold: bounds outside what is possible,
// a minimum above a maximum, within a rule or between two rules on the same
// measurement. Expressions are not searched for contradictions.
func feasible(rules []rule) error {
	type side struct {
		x     float64
		name  string
		place string
	}
	lows, highs := map[selector]side{}, map[selector]side{}
	for _, r := range rules {
		b, ok := r.decider.(*bound)
		if !ok {
			continue
		}
		if err := b.inRange(r.name); err != nil {
			return err
		}
		s := b.selector
		if s.role == "" {
			s.role = "test"
		}
		if old, ok := lows[s]; b.low != nil && (!ok || *b.low > old.x) {
			lows[s] = side{*b.low, r.name, b.places[0]}
		}
		if old, ok := highs[s]; b.high != nil && (!ok || *b.high < old.x) {
			highs[s] = side{*b.high, r.name, b.places[1]}
		}
		lo, haveLo := lows[s]
		hi, haveHi := highs[s]
		if haveLo && haveHi && lo.x > hi.x {
			e := fault.New(fault.Mismatch, r.place, "no %s can be at least %s (rule %q, %s) and at most %s (rule %q, %s)",
				s, exact(lo.x), lo.name, lo.place, exact(hi.x), hi.name, hi.place)
			return e.WithHint("correct one of the two bounds")
		}
	}
	return nil
}

func (b *bound) inRange(rule string) error {
	limits, ok := possible[b.measurement]
	if !ok {
		return nil
	}
	for i, x := range []*float64{b.low, b.high} {
		if x != nil && (*x < limits[0] || *x > limits[1]) {
			e := fault.New(fault.Mismatch, b.places[i], "rule %q: %s lies %s, so a bound of %s says nothing or can never hold",
				rule, b.measurement, rangeWords(limits), exact(*x))
			if limits[1] == 1 && *x > 1 && *x <= 100 {
				return e.WithHint("ratios, not percentages: did you mean %s?", exact(*x/100))
			}
			return e.WithHint("correct the bound")
		}
	}
	return nil
}

func rangeWords(r [2]float64) string {
	if math.IsInf(r[1], 1) {
		return fmt.Sprintf("at %s or above", exact(r[0]))
	}
	return fmt.Sprintf("between %s and %s", exact(r[0]), exact(r[1]))
}
