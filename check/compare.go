package check

import (
	"context"
	"math"
	"slices"

	"muster/internal/detmath"
	"muster/record"
	"muster/stat"
)

// Pairs are the outcomes of two models on the same rows.
type Pairs struct {
	N             int `json:"n"`
	BothRight     int `json:"both_right"`
	OnlyCandidate int `json:"only_candidate"`
	OnlyBaseline  int `json:"only_baseline"`
	BothWrong     int `json:"both_wrong"`
}

// compare puts the model beside the reference on the same test rows: accuracy
// difference (candidate minus reference) with a paired interval, flips (rows whose
// predicted class changed), mean KL divergence from the reference's probabilities to
// the candidate's, and the ratios of size and latency, the latter timed row by row in turn.
func compare(ctx context.Context, r *run) ([]record.Measurement, error) {
	if r.Reference == nil {
		return nil, nil
	}
	ref, err := r.logitsOf(r.Reference, r.x)
	if err != nil {
		return nil, err
	}
	a, b := Predictions(r.logits), Predictions(ref)
	p, flips := Pairs{N: len(r.y)}, 0
	for i, y := range r.y {
		p.add(a[i] == y, b[i] == y)
		if a[i] != b[i] {
			flips++
		}
	}
	diff, iv := stat.PairedDifference(p.OnlyBaseline, p.OnlyCandidate, p.N, 0.95)
	flip := Proportion("compare/flips", flips, p.N, record.Lower)
	flip.Settings = map[string]any{"rows": flips}
	out := []record.Measurement{
		{Name: "compare/accuracy_diff", Value: record.Val(diff), N: p.N, Direction: record.Higher, Interval: interval(iv), Detail: detail(p)},
		flip, r.kl(Probabilities(ref, 1)), r.sizeRatio(),
	}
	times, err := r.latencyRatio(ctx)
	if err != nil {
		return nil, err
	}
	out = append(out, times)
	for i := range out {
		out[i].Subjects = []record.Subject{r.Model.Subject, r.Reference.Subject, r.Data.Subject()}
	}
	return out, nil
}

func (p *Pairs) add(candidate, baseline bool) {
	switch {
	case candidate && baseline:
		p.BothRight++
	case candidate:
		p.OnlyCandidate++
	case baseline:
		p.OnlyBaseline++
	default:
		p.BothWrong++
	}
}

// kl is the mean over rows of KL(reference || candidate) in nats, probabilities clipped at 1e-15.
func (r *run) kl(ref [][]float64) record.Measurement {
	var mom stat.Moments
	for i, q := range Probabilities(r.logits, 1) {
		s := 0.0
		for k, p := range ref[i] {
			if p > 0 {
				s += float64(p * (detmath.Log(max(p, clip)) - detmath.Log(max(q[k], clip))))
			}
		}
		mom.Add(s)
	}
	m := record.Measurement{Name: "compare/kl", Value: record.Val(mom.Mean()), N: len(r.y), Unit: "nats", Direction: record.Lower,
		Settings: map[string]any{"from": "reference", "to": "candidate", "clip": clip}}
	if len(r.y) > 1 {
		m.Interval = clamped(mom.Interval(0.95), 0, math.Inf(1))
	}
	return m
}

// sizeRatio is the size of the candidate's file by that of the reference.
func (r *run) sizeRatio() record.Measurement {
	if r.FileBytes == 0 || r.ReferenceBytes == 0 {
		return absent("compare/size_ratio", "the models are not files", record.Lower)
	}
	return record.Measurement{Name: "compare/size_ratio", Value: record.Val(float64(r.FileBytes) / float64(r.ReferenceBytes)), N: 1, Direction: record.Lower}
}

// latencyRatio is the median over rows of candidate time by reference time; below 1 the candidate is faster.
func (r *run) latencyRatio(ctx context.Context) (record.Measurement, error) {
	if r.Config.Latency < 0 {
		m := absent("compare/latency_ratio", "timing was switched off", record.Lower)
		m.Volatile = true
		return m, nil
	}
	t, err := timeRows(ctx, []*Model{r.Model, r.Reference}, r, r.Config.Latency)
	if err != nil {
		return record.Measurement{}, err
	}
	ratio := make([]float64, len(t[0]))
	for i := range ratio {
		ratio[i] = t[0][i] / t[1][i]
	}
	slices.Sort(ratio)
	m := record.Measurement{Name: "compare/latency_ratio", Value: record.Val(stat.Quantile(ratio, 0.5)), N: len(ratio), Direction: record.Lower,
		Volatile: true, Settings: map[string]any{"batch": 1, "statistic": "median of paired ratios", "order": "interleaved"}}
	if _, iv, err := stat.Percentile(ratio, 0.5, 0.95); err == nil {
		m.Interval = interval(iv)
	}
	return m, nil
}
