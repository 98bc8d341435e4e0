package check

import (
	"encoding/json"

	"muster/record"
	"muster/stat"
)

// Metric is an accumulator over rows of class probabilities and labels. Shards,
// slices and live windows merge; the result does not depend on the order of rows
// or on how they were split.
type Metric interface {
	// Add takes one row: p [K] sums to 1, label in [0, K).
	Add(p []float64, label int)
	// Merge adds all rows of other, which has the same type and settings.
	Merge(other Metric)
	// Result returns the measurements, without subjects and role.
	Result() []record.Measurement
}

// metrics lists every metric, sorted by name.
var metrics = []struct {
	Name string
	New  func(classes []string) Metric
}{
	{"accuracy", newAccuracy},
	{"brier", newBrier},
	{"confusion", newConfusion},
	{"ece", newECE},
	{"nll", newNLL},
}

// Metrics returns a fresh accumulator of every metric.
func Metrics(classes []string) []Metric {
	out := make([]Metric, len(metrics))
	for i, m := range metrics {
		out[i] = m.New(classes)
	}
	return out
}

// detail encodes a structured payload; it holds only finite numbers and strings, so it cannot fail.
func detail(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("check: " + err.Error())
	}
	return b
}

// interval converts an interval of package stat.
func interval(iv stat.Interval) *record.Interval {
	r := record.Interval{Low: iv.Low, High: iv.High, Level: iv.Level, Method: iv.Method}
	return &r
}

// clamped limits an interval to the values that are possible.
func clamped(iv stat.Interval, lo, hi float64) *record.Interval {
	iv.Low, iv.High = max(iv.Low, lo), min(iv.High, hi)
	return interval(iv)
}

// absent is a measurement without a value.
func absent(name, why string, d record.Direction) record.Measurement {
	return record.Measurement{Name: name, Absent: why, Direction: d}
}
