package monitor

import (
	"encoding/json"
	"fmt"
	"math"

	"muster/fault"
	"muster/record"
	"muster/rng"
	"muster/stat"
)

// Sample is one request and its answer.
type Sample struct {
	RequestID     string    // "" if labels will never come
	Input         []float32 // as the model sees it, C H W
	Probabilities []float32 // calibrated (temperature applied), one per class
	Time          int64     // Unix nanoseconds
}

// answer returns the predicted class, the first of equals, and its probability.
func answer(p []float32, classes int) (int, float64, error) {
	if len(p) != classes {
		return 0, 0, fault.New(fault.Mismatch, "probabilities", "monitor: %d values, the reference has %d classes", len(p), classes)
	}
	for i, v := range p {
		if !(v >= 0 && v <= 1.0001) {
			return 0, 0, fault.New(fault.Numeric, fmt.Sprintf("probability %d", i), "monitor: %v is not a probability", v)
		}
	}
	best := stat.ArgMax(p)
	return best, math.Min(1, float64(p[best])), nil
}

// ReferenceConfig sets how a reference is built. The zero value is ready to use.
type ReferenceConfig struct {
	Input     InputConfig `json:"input"`
	Bins      int         `json:"bins"`       // bins per histogram; default 10
	AlarmRate float64     `json:"alarm_rate"` // of a clean window, over all statistics together; default 0.01
	MaxRows   int         `json:"max_rows"`   // rows used at most, drawn at random; default 4096
	Seed      uint64      `json:"seed"`
}

func (c ReferenceConfig) withDefaults() ReferenceConfig {
	if c.Bins == 0 {
		c.Bins = 10
	}
	if c.AlarmRate == 0 {
		c.AlarmRate = 0.01
	}
	if c.MaxRows == 0 {
		c.MaxRows = 4096
	}
	return c
}

// MinRows is the least number of reference rows, and MinWindow of requests in a
// window, from which anything is concluded.
const (
	MinRows   = 100
	MinWindow = 25
)

const maxClasses = 10000

// Feature is the reference of one histogrammed feature.
type Feature struct {
	Name string    `json:"name"`
	Hist stat.Hist `json:"hist"`
	Low  float64   `json:"low"` // range in the reference
	High float64   `json:"high"`
}

// Cell is the reference of one local mean.
type Cell struct {
	Mean      float64 `json:"mean"`
	Deviation float64 `json:"deviation"` // between inputs, not below a floor
}

// Bin is what calibration looked like in one bin of confidence.
type Bin struct {
	N          int     `json:"n"`
	Right      int     `json:"right"`
	Confidence float64 `json:"confidence"` // sum
}

// Reference is what clean traffic looks like: made from the rows of the calibrate
// role at release time and kept with the release. It holds sketches, no rows.
type Reference struct {
	Version       int             `json:"version"`
	Config        ReferenceConfig `json:"config"`
	Classes       int             `json:"classes"`
	Rows          int             `json:"rows"`
	Right         int             `json:"right"` // correct answers
	Features      []Feature       `json:"features"`
	Cells         []Cell          `json:"cells"`
	Confidence    stat.Hist       `json:"confidence"`
	LowConfidence float64         `json:"low_confidence"` // smallest in the reference
	Predicted     []uint64        `json:"predicted"`      // rows per predicted class
	Calibration   []Bin           `json:"calibration"`    // per bin of Confidence
	Null          []Null          `json:"null"`           // by window size, ascending

	digest record.Digest // set once by NewReference and ParseReference; the fields do not change afterwards
}

// row is a reference row after measurement.
type row struct {
	features []float64
	cells    []float64
	class    int
	conf     float64
	right    bool
}

// NewReference builds a reference from inputs [N][size], calibrated probabilities
// [N][classes] and labels [N]. It simulates clean windows to set the alarm
// thresholds, which takes about half a second for small images.
func NewReference(c ReferenceConfig, inputs, probabilities [][]float32, labels []int) (*Reference, error) {
	c = c.withDefaults()
	if err := checkReference(&c, inputs, probabilities, labels); err != nil {
		return nil, err
	}
	key := rng.New(c.Seed).Named("monitor/reference")
	pick := key.Named("rows").Stream().Perm(len(inputs))
	rows := make([]row, 0, min(len(inputs), c.MaxRows))
	for _, i := range pick[:cap(rows)] {
		r, err := measure(c.Input, inputs[i], probabilities[i], len(probabilities[0]))
		if err != nil {
			return nil, fault.At(fmt.Sprintf("reference row %d", i), err)
		}
		r.right = r.class == labels[i]
		rows = append(rows, r)
	}
	ref := &Reference{Version: 1, Config: c, Classes: len(probabilities[0]), Rows: len(rows)}
	if err := ref.sketch(rows); err != nil {
		return nil, err
	}
	ref.Null = ref.simulate(rows, key.Named("null"))
	return ref.finish()
}

// finish checks the reference and computes its digest.
func (r *Reference) finish() (*Reference, error) {
	if err := r.Valid(); err != nil {
		return nil, err
	}
	var err error
	r.digest, err = record.DigestOf(r)
	return r, err
}

func checkReference(c *ReferenceConfig, inputs, probabilities [][]float32, labels []int) error {
	if err := c.Input.valid(); err != nil {
		return err
	}
	if err := stat.CheckRate("alarm rate", c.AlarmRate); err != nil {
		return err
	}
	if len(inputs) != len(probabilities) || len(inputs) != len(labels) {
		return fault.New(fault.Mismatch, "reference", "monitor: %d inputs, %d rows of probabilities, %d labels", len(inputs), len(probabilities), len(labels))
	}
	if len(inputs) < MinRows || c.MaxRows < MinRows || c.MaxRows > 1<<16 {
		return fault.New(fault.Exhausted, "reference", "monitor: %d rows (at most %d used); a reference needs %d", len(inputs), c.MaxRows, MinRows).
			WithHint("give the calibrate role more rows")
	}
	if n := len(probabilities[0]); n < 2 || n > maxClasses {
		return fault.New(fault.Unsupported, "reference", "monitor: %d classes, needs 2 to %d", n, maxClasses)
	}
	if c.Bins < 4 || c.Bins > 64 {
		return fault.New(fault.Numeric, "reference", "monitor: %d bins, needs 4 to 64", c.Bins)
	}
	for i, x := range inputs {
		if err := c.Input.check(x); err != nil {
			return fault.At(fmt.Sprintf("reference row %d", i), err)
		}
	}
	if c.Input.Low == 0 && c.Input.High == 0 {
		c.Input.Low, c.Input.High = valueRange(inputs)
	}
	return nil
}

func valueRange(inputs [][]float32) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, x := range inputs {
		for _, v := range x {
			low, high = math.Min(low, float64(v)), math.Max(high, float64(v))
		}
	}
	return low, high
}

func measure(c InputConfig, x, p []float32, classes int) (row, error) {
	r := row{features: make([]float64, len(c.featureNames())), cells: make([]float64, c.cells())}
	if err := c.check(x); err != nil {
		return r, err
	}
	c.features(x, r.features)
	c.localMeans(x, r.cells)
	var err error
	r.class, r.conf, err = answer(p, classes)
	return r, err
}

// sketch fills everything but the null table.
func (r *Reference) sketch(rows []row) error {
	for i, name := range r.Config.Input.featureNames() {
		h, m, err := histogram(rows, r.Config.Bins, func(w row) float64 { return w.features[i] })
		if err != nil {
			return err
		}
		r.Features = append(r.Features, Feature{Name: name, Hist: *h, Low: m.Min, High: m.Max})
	}
	conf, m, err := histogram(rows, r.Config.Bins, func(w row) float64 { return w.conf })
	if err != nil {
		return err
	}
	r.Confidence, r.LowConfidence = *conf, m.Min
	r.Calibration, r.Predicted = make([]Bin, len(conf.Counts)), make([]uint64, r.Classes)
	for _, w := range rows {
		r.Predicted[w.class]++
		b := &r.Calibration[conf.Bin(w.conf)]
		b.N++
		b.Confidence += w.conf
		if w.right {
			b.Right++
			r.Right++
		}
	}
	r.sketchCells(rows)
	return nil
}

func histogram(rows []row, bins int, value func(row) float64) (*stat.Hist, stat.Moments, error) {
	x := make([]float64, len(rows))
	var m stat.Moments
	for i, w := range rows {
		x[i] = value(w)
		m.Add(x[i])
	}
	edges, err := stat.QuantileEdges(x, bins)
	if err != nil {
		return nil, m, err
	}
	h, err := stat.NewHist(edges)
	for _, v := range x {
		h.Add(v)
	}
	return h, m, err
}

// sketchCells stores mean and deviation of each cell. The deviation is at least a
// fifth of the average one, so that a cell which is constant in a few hundred rows
// (the corner of a digit) does not turn one stray value into an alarm.
func (r *Reference) sketchCells(rows []row) {
	r.Cells = make([]Cell, len(rows[0].cells))
	total := 0.0
	for i := range r.Cells {
		var m stat.Moments
		for _, w := range rows {
			m.Add(w.cells[i])
		}
		v := m.Variance()
		r.Cells[i] = Cell{Mean: m.Mean(), Deviation: math.Sqrt(v)}
		total += v
	}
	floor := 0.2 * math.Sqrt(total/float64(len(r.Cells)))
	if floor == 0 {
		floor = math.Max(1e-6, float64(1e-3*(r.Config.Input.High-r.Config.Input.Low)))
	}
	for i := range r.Cells {
		r.Cells[i].Deviation = math.Max(floor, r.Cells[i].Deviation)
	}
}

// Digest names the reference; windows carry it.
func (r *Reference) Digest() record.Digest { return r.digest }

// ParseReference reads a reference and checks it.
func ParseReference(b []byte) (*Reference, error) {
	var r Reference
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fault.New(fault.Malformed, "reference", "monitor: %w", err)
	}
	return r.finish()
}

// Valid reports why a reference cannot be used.
func (r *Reference) Valid() error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Malformed, "reference", "monitor: "+format, args...)
	}
	if r.Version != 1 {
		return fault.New(fault.Unsupported, "reference", "monitor: version %d is unknown", r.Version)
	}
	in := r.Config.Input
	if err := in.valid(); err != nil {
		return fault.At("reference", err)
	}
	if err := stat.CheckRate("alarm rate", r.Config.AlarmRate); err != nil {
		return fault.At("reference", err)
	}
	switch {
	case r.Rows < MinRows || r.Rows > 1<<16 || r.Right < 0 || r.Right > r.Rows:
		return bad("%d rows with %d right", r.Rows, r.Right)
	case r.Classes < 2 || r.Classes > maxClasses || len(r.Predicted) != r.Classes:
		return bad("%d classes, %d counts", r.Classes, len(r.Predicted))
	case len(r.Features) != len(in.featureNames()) || len(r.Cells) != in.cells():
		return bad("%d features and %d cells do not fit the input", len(r.Features), len(r.Cells))
	case len(r.Calibration) != len(r.Confidence.Counts) || !finite(r.LowConfidence):
		return bad("%d calibration bins for %d bins of confidence", len(r.Calibration), len(r.Confidence.Counts))
	}
	for _, f := range r.Features {
		if err := f.Hist.Valid(); err != nil || f.Hist.N() != uint64(r.Rows) || !finite(f.Low, f.High) || f.Low > f.High {
			return bad("feature %q is not well formed", f.Name)
		}
	}
	for i, c := range r.Cells {
		if !finite(c.Mean, c.Deviation) || c.Deviation <= 0 {
			return bad("cell %d is not well formed", i)
		}
	}
	return r.validCounts(bad)
}

func (r *Reference) validCounts(bad func(string, ...any) error) error {
	if err := r.Confidence.Valid(); err != nil || r.Confidence.N() != uint64(r.Rows) {
		return bad("the histogram of confidence is not well formed")
	}
	total := uint64(0)
	for _, c := range r.Predicted {
		if c > uint64(r.Rows) {
			return bad("a class was predicted %d times in %d rows", c, r.Rows)
		}
		total += c
	}
	if total != uint64(r.Rows) {
		return bad("%d predictions in %d rows", total, r.Rows)
	}
	for i, b := range r.Calibration {
		if b.N < 0 || uint64(b.N) != r.Confidence.Counts[i] || b.Right < 0 || b.Right > b.N || !(b.Confidence >= 0 && b.Confidence <= float64(b.N)) {
			return bad("calibration bin %d is not well formed", i)
		}
	}
	last := 0
	for _, n := range r.Null {
		if n.Size <= last || len(n.Mean) != r.statistics() || len(n.Deviation) != r.statistics() || !finite(n.Mean...) || !finite(n.Deviation...) || !finite(n.Threshold) || n.Threshold <= 0 {
			return bad("the null table is not well formed at size %d", n.Size)
		}
		for _, d := range n.Deviation {
			if d <= 0 {
				return bad("the null table has a deviation of %v at size %d", d, n.Size)
			}
		}
		last = n.Size
	}
	if len(r.Null) == 0 {
		return bad("the null table is empty")
	}
	return nil
}

func finite(x ...float64) bool {
	for _, v := range x {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}
