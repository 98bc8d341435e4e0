package monitor

import (
	"fmt"
	"math"

	"muster/internal/detmath"
	"muster/record"
	"muster/stat"
)

const (
	// priorWeight is how many rows of a confidence bin the temperature-scaled
	// confidence itself is worth against the observed accuracy of the bin.
	priorWeight = 10
	// maxOutside is the share of requests outside the support of the reference above
	// which no accuracy is estimated.
	maxOutside = 0.5
)

// Estimate is an accuracy without labels.
type Estimate struct {
	Value    float64
	Interval stat.Interval // for the accuracy that the labels of this window would show
	Outside  float64       // share of requests outside the support of the reference
	Absent   string        // why there is no value
}

// Estimate returns the expected accuracy of the window from its confidences alone
// (CBPE: Kivimaki et al., "Confidence-based estimators for predictive performance in
// model monitoring", 2024): the mean over requests of confidence plus the gap between
// accuracy and confidence that the reference showed in that bin of confidence, shrunk
// towards no gap by priorWeight.
//
// The interval combines what is unknown about each bin's accuracy (its Beta posterior
// from the reference) with the chance of single answers, matched by a Beta law.
// It assumes that calibration survives the shift: true for a changed mix of
// easy and hard requests, optimistic for corrupted inputs, blind to a changed meaning
// of the classes. It refuses a value when more than half of the requests lie outside
// the support of the reference, or the window is too small.
func (w *Window) Estimate(level float64) Estimate {
	e := Estimate{}
	if w.N < MinWindow {
		e.Absent = fmt.Sprintf("%d requests; an estimate needs %d", w.N, MinWindow)
		return e
	}
	n := float64(w.N)
	e.Outside = float64(w.Outside) / n
	if e.Outside > maxOutside {
		e.Absent = fmt.Sprintf("%.0f%% of the requests lie outside the support of the reference (limit %.0f%%): calibration says nothing about them", 100*e.Outside, 100*maxOutside)
		return e
	}
	mean, variance := 0.0, 0.0
	for i, count := range w.Confidence {
		if count == 0 {
			continue
		}
		c := float64(count)
		share, b := c/n, w.ref.Calibration[i]
		rows := float64(b.N) + priorWeight
		a := w.Certainty[i].Value()/c + (float64(b.Right)-b.Confidence)/rows
		a = math.Max(0, math.Min(1, a))
		spread := math.Max(float64(a*(1-a)), 0.25/(rows*rows))
		mean += float64(share * a)
		variance += float64(share*share*spread/(rows+1)) + float64(share*spread/n)
	}
	e.Value = math.Max(0, math.Min(1, mean))
	e.Interval = betaInterval(e.Value, variance, level)
	return e
}

// betaInterval returns the central interval of the Beta law with this mean and variance.
func betaInterval(mean, variance, level float64) stat.Interval {
	iv := stat.Interval{Low: mean, High: mean, Level: level, Method: "beta-posterior"}
	m := math.Max(1e-6, math.Min(1-1e-6, mean))
	if variance <= 0 {
		return iv
	}
	scale := float64(m*(1-m))/variance - 1
	if scale <= 0.02 { // no Beta law is that wide
		iv.Low, iv.High = 0, 1
		return iv
	}
	tail := (1 - level) / 2
	if float64(m*(1-m))*scale > 1e5 { // normal to five digits, and the Beta law is slow to evaluate there
		half := float64(detmath.NormalQuantile(1-tail) * math.Sqrt(variance))
		iv.Low, iv.High = math.Max(0, mean-half), math.Min(1, mean+half)
		return iv
	}
	iv.Low = math.Min(mean, stat.BetaQuantile(tail, float64(m*scale), float64((1-m)*scale)))
	iv.High = math.Max(mean, stat.BetaQuantile(1-tail, float64(m*scale), float64((1-m)*scale)))
	return iv
}

// measurement returns estimate/accuracy; drifted marks a value given during a drift alarm.
func (e Estimate) measurement(w *Window, subjects []record.Subject, drifted bool) record.Measurement {
	m := record.Measurement{Name: "estimate/accuracy", Check: "cbpe", Version: 1, Subjects: subjects, Direction: record.Higher, N: int(w.N), Absent: e.Absent,
		Settings: map[string]any{"outside_share": e.Outside, "outside_limit": maxOutside, "reference_rows": w.ref.Rows, "during_drift": drifted, "prior_weight": priorWeight}}
	if e.Absent == "" {
		iv := record.Interval(e.Interval)
		m.Value, m.Interval = record.Val(e.Value), &iv
	}
	return m
}
