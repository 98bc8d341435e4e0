package check

import (
	"math"

	"muster/internal/detmath"
	"muster/record"
	"muster/stat"
)

// clip is the smallest probability that a logarithm is taken of.
const clip = 1e-15

// meanOf is a metric that averages one number per row, with the t interval.
type meanOf struct {
	name, unit string
	settings   map[string]any
	of         func(p []float64, label int) float64
	m          stat.Moments
}

func (a *meanOf) Add(p []float64, label int) { a.m.Add(a.of(p, label)) }
func (a *meanOf) Merge(other Metric)         { a.m.Merge(&other.(*meanOf).m) }

func (a *meanOf) Result() []record.Measurement {
	n := int(a.m.N)
	if n == 0 {
		return []record.Measurement{absent(a.name, "there are no rows", record.Lower)}
	}
	m := record.Measurement{Name: a.name, Value: record.Val(a.m.Mean()), N: n, Unit: a.unit, Direction: record.Lower, Settings: a.settings}
	if n > 1 {
		m.Interval = clamped(a.m.Interval(0.95), 0, math.Inf(1))
	}
	return []record.Measurement{m}
}

// newNLL is the mean negative log-likelihood of the label in nats, probabilities clipped at 1e-15.
func newNLL([]string) Metric {
	return &meanOf{name: "nll", unit: "nats", settings: map[string]any{"clip": clip}, of: func(p []float64, label int) float64 {
		return -detmath.Log(max(p[label], clip))
	}}
}

// newBrier is the mean over rows of the sum over classes of (p - onehot)^2 (Brier, 1950; not divided by K).
func newBrier([]string) Metric {
	return &meanOf{name: "brier", settings: map[string]any{"sum": "over classes"}, of: func(p []float64, label int) float64 {
		s := 0.0
		for k, v := range p {
			if k == label {
				v -= 1
			}
			s += float64(v * v)
		}
		return s
	}}
}
