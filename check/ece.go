package check

import (
	"math"

	"muster/record"
	"muster/stat"
)

// eceBins is the number of equal-width bins; 15 is the default of torchmetrics.
const eceBins = 15

// ece is the expected calibration error of the top label, l1 norm: the mean over
// rows of |accuracy - confidence| of their bin (Naeini et al., AAAI 2015; Guo et
// al., arXiv 1706.04599, equation 3). Bins are ((b-1)/15, b/15]; 0 is in the first.
type ece struct {
	bins [eceBins]eceBin
}

type eceBin struct {
	n, right int
	conf     stat.Moments
}

func newECE([]string) Metric { return &ece{} }

// binOf returns the bin of confidence c by integer edge tests, so that an edge such as 0.6 cannot drift.
func binOf(c float64) int {
	b := int(math.Ceil(c*eceBins)) - 1
	for b > 0 && c <= float64(b)/eceBins {
		b--
	}
	for b < eceBins-1 && c > float64(b+1)/eceBins {
		b++
	}
	return max(b, 0)
}

func (e *ece) Add(p []float64, label int) {
	k := stat.ArgMax(p)
	b := &e.bins[binOf(p[k])]
	b.n++
	b.conf.Add(p[k])
	if k == label {
		b.right++
	}
}

func (e *ece) Merge(other Metric) {
	for i := range e.bins {
		o := &other.(*ece).bins[i]
		e.bins[i].n += o.n
		e.bins[i].right += o.right
		e.bins[i].conf.Merge(&o.conf)
	}
}

// Bin is one bar of a reliability diagram.
type Bin struct {
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Confidence float64 `json:"confidence"`
	Accuracy   float64 `json:"accuracy"`
	N          int     `json:"n"`
}

func (e *ece) Result() []record.Measurement {
	n, sum := 0, 0.0
	var bins []Bin
	for i := range e.bins {
		b := &e.bins[i]
		bin := Bin{Low: float64(i) / eceBins, High: float64(i+1) / eceBins, N: b.n}
		if b.n > 0 {
			bin.Confidence, bin.Accuracy = b.conf.Mean(), float64(b.right)/float64(b.n)
			sum += float64(float64(b.n) * math.Abs(bin.Accuracy-bin.Confidence))
		}
		n += b.n
		bins = append(bins, bin)
	}
	if n == 0 {
		return []record.Measurement{absent("calibration/ece", "there are no rows", record.Lower)}
	}
	return []record.Measurement{{Name: "calibration/ece", Value: record.Val(sum / float64(n)), N: n, Direction: record.Lower,
		Settings: map[string]any{"bins": eceBins, "rule": "equal width, (low, high], top label, l1"},
		Detail:   detail(map[string]any{"bins": bins})}}
}
