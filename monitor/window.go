package monitor

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"muster/fault"
	"muster/record"
	"muster/stat"
)

// Window accumulates requests. Windows of the same reference merge in any order and
// split to the same bits. A window is for one goroutine; Watch is for many.
type Window struct {
	Reference  record.Digest `json:"reference"`
	N          uint64        `json:"n"`
	First      int64         `json:"first_ns,string"` // Unix nanoseconds; 0 while N is 0
	Last       int64         `json:"last_ns,string"`
	Features   [][]uint64    `json:"features"` // counts in the bins of the reference
	Cells      []stat.Sum    `json:"cells"`
	Confidence []uint64      `json:"confidence"`
	Certainty  []stat.Sum    `json:"certainty"` // sum of confidence per bin
	Predicted  []uint64      `json:"predicted"`
	Outside    uint64        `json:"outside"` // requests outside the support of the reference
	Refused    uint64        `json:"refused"` // requests that could not be measured

	ref   *Reference
	feat  []float64
	local []float64
}

// NewWindow returns an empty window.
func (r *Reference) NewWindow() *Window {
	w := &Window{Reference: r.digest, Cells: make([]stat.Sum, len(r.Cells)), Confidence: make([]uint64, len(r.Confidence.Counts)),
		Certainty: make([]stat.Sum, len(r.Confidence.Counts)), Predicted: make([]uint64, r.Classes)}
	for _, f := range r.Features {
		w.Features = append(w.Features, make([]uint64, len(f.Hist.Counts)))
	}
	w.attach(r)
	return w
}

func (w *Window) attach(r *Reference) {
	w.ref, w.feat, w.local = r, make([]float64, len(r.Features)), make([]float64, len(r.Cells))
}

// ParseWindow reads a window of this reference.
func (r *Reference) ParseWindow(b []byte) (*Window, error) {
	want := r.NewWindow()
	var w Window
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, fault.New(fault.Malformed, "window", "monitor: %w", err)
	}
	if w.Reference != want.Reference {
		return nil, fault.New(fault.Mismatch, "window", "monitor: window belongs to reference %s, not %s", w.Reference.Short(), want.Reference.Short())
	}
	if len(w.Features) != len(want.Features) || len(w.Cells) != len(want.Cells) || len(w.Certainty) != len(want.Certainty) {
		return nil, fault.New(fault.Malformed, "window", "monitor: %d features, %d cells, %d bins do not fit the reference", len(w.Features), len(w.Cells), len(w.Certainty))
	}
	counts := append([][]uint64{w.Confidence, w.Predicted}, w.Features...)
	for i, c := range append([][]uint64{want.Confidence, want.Predicted}, want.Features...) {
		if len(counts[i]) != len(c) || !sumsTo(counts[i], w.N) {
			return nil, fault.New(fault.Malformed, "window", "monitor: counts do not add up to %d requests", w.N)
		}
	}
	if w.N > 1<<53 || w.Outside > w.N || w.First > w.Last {
		return nil, fault.New(fault.Malformed, "window", "monitor: %d requests, %d outside, time %d to %d", w.N, w.Outside, w.First, w.Last)
	}
	w.attach(r)
	return &w, nil
}

func sumsTo(c []uint64, n uint64) bool {
	total := uint64(0)
	for _, v := range c {
		if v > n {
			return false
		}
		total += v
	}
	return total == n
}

// Add measures one request. A request that cannot be measured is counted as refused
// and changes nothing else; the error says why.
func (w *Window) Add(s Sample) error {
	in := w.ref.Config.Input
	class, conf, err := answer(s.Probabilities, w.ref.Classes)
	if e := in.check(s.Input); e != nil {
		err = e
	}
	if err != nil {
		w.Refused++
		return err
	}
	in.features(s.Input, w.feat)
	in.localMeans(s.Input, w.local)
	for i, v := range w.feat {
		w.Features[i][w.ref.Features[i].Hist.Bin(v)]++
	}
	for i, v := range w.local {
		w.Cells[i].Add(v)
	}
	bin := w.ref.Confidence.Bin(conf)
	w.Confidence[bin]++
	w.Certainty[bin].Add(conf)
	w.Predicted[class]++
	if w.ref.outside(w.feat, conf) {
		w.Outside++
	}
	w.span(s.Time, s.Time)
	w.N++
	return nil
}

// span extends the time range; call it before N changes.
func (w *Window) span(first, last int64) {
	if w.N == 0 || first < w.First {
		w.First = first
	}
	if w.N == 0 || last > w.Last {
		w.Last = last
	}
}

// outside reports whether a request is beyond the support of the reference: less
// confident than any row, or with a feature further beyond the range of the rows
// than that range is wide. Calibration says nothing about such requests.
func (r *Reference) outside(features []float64, conf float64) bool {
	if conf < r.LowConfidence {
		return true
	}
	for i, v := range features[:r.Config.Input.supporting()] {
		f := &r.Features[i]
		reach := math.Max(f.High-f.Low, 1e-9)
		if v < f.Low-reach || v > f.High+reach {
			return true
		}
	}
	return false
}

// Merge adds the requests of o, which must belong to the same reference.
func (w *Window) Merge(o *Window) error {
	if w.Reference != o.Reference {
		return fault.New(fault.Mismatch, "window", "monitor: windows of references %s and %s cannot be merged", w.Reference.Short(), o.Reference.Short())
	}
	if o.N > 0 {
		w.span(o.First, o.Last)
	}
	w.N += o.N
	w.Outside += o.Outside
	w.Refused += o.Refused
	for i := range w.Features {
		addCounts(w.Features[i], o.Features[i])
	}
	addCounts(w.Confidence, o.Confidence)
	addCounts(w.Predicted, o.Predicted)
	for i := range w.Cells {
		w.Cells[i].Merge(&o.Cells[i])
	}
	for i := range w.Certainty {
		w.Certainty[i].Merge(&o.Certainty[i])
	}
	return nil
}

func addCounts(dst, src []uint64) {
	for i, v := range src {
		dst[i] += v
	}
}

// Subject names the window by its content.
func (w *Window) Subject() (record.Subject, error) {
	d, err := record.DigestOf(w)
	first, last := time.Unix(0, w.First).UTC(), time.Unix(0, w.Last).UTC()
	return record.Subject{Kind: "window", Name: fmt.Sprintf("%s/%s", first.Format(time.RFC3339), last.Format(time.RFC3339)), Digest: d}, err
}

// tally returns the counts in the form of the statistics.
func (w *Window) tally() *tally {
	t := w.ref.newTally()
	t.n = float64(w.N)
	for i, f := range w.Features {
		toFloats(t.features[i], f)
	}
	for i := range w.Cells {
		t.cells[i] = w.Cells[i].Value()
	}
	toFloats(t.conf, w.Confidence)
	toFloats(t.class, w.Predicted)
	return t
}

func toFloats(dst []float64, src []uint64) {
	for i, v := range src {
		dst[i] = float64(v)
	}
}

// tally returns the reference itself in the form of the statistics.
func (r *Reference) tally() *tally {
	t := r.newTally()
	t.n = float64(r.Rows)
	for i, f := range r.Features {
		toFloats(t.features[i], f.Hist.Counts)
	}
	for i, c := range r.Cells {
		t.cells[i] = float64(c.Mean * t.n)
	}
	toFloats(t.conf, r.Confidence.Counts)
	toFloats(t.class, r.Predicted)
	return t
}
