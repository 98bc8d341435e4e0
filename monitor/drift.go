package monitor

import (
	"fmt"
	"math"
	"sort"

	"muster/record"
)

// Drift is how far a window is from the reference.
type Drift struct {
	Score  float64   // largest standardised statistic over its threshold: above 1 is an alarm
	Top    string    // the statistic that is furthest out
	Raw    []float64 // all statistics
	Scaled []float64 // standardised, over the threshold
	Absent string    // why there is no score
}

// Alarm reports whether the window is beyond what clean windows reach.
func (d *Drift) Alarm() bool { return d.Absent == "" && d.Score > 1 }

// Drift compares the window with the reference. All statistics share one threshold,
// calibrated by simulation, so the stated rate holds for them together. Between two
// simulated sizes the smaller of both scores counts.
func (w *Window) Drift() *Drift {
	r := w.ref
	if w.N < MinWindow {
		return &Drift{Absent: fmt.Sprintf("%d requests; a window needs %d", w.N, MinWindow)}
	}
	d := &Drift{Raw: make([]float64, r.statistics()), Scaled: make([]float64, r.statistics()), Score: math.Inf(1)}
	r.compare(r.tally(), w.tally(), d.Raw)
	for _, null := range r.neighbours(int(w.N)) {
		which, score := null.score(d.Raw)
		if score /= null.Threshold; score >= d.Score {
			continue
		}
		d.Score, d.Top = score, r.statisticName(which)
		for i, v := range d.Raw {
			d.Scaled[i] = (v - null.Mean[i]) / null.Deviation[i] / null.Threshold
		}
	}
	return d
}

// neighbours returns the null rows next to a window size; beyond the table its end,
// where the reference's own error dominates and the scaled statistics no longer change.
func (r *Reference) neighbours(n int) []Null {
	i := sort.Search(len(r.Null), func(i int) bool { return r.Null[i].Size >= n })
	switch {
	case i == len(r.Null):
		return r.Null[i-1:]
	case i == 0 || r.Null[i].Size == n:
		return r.Null[i : i+1]
	}
	return r.Null[i-1 : i+1]
}

// maxListed bounds the single statistics among the measurements.
const maxListed = 16

// measurements returns drift/score and the single statistics, furthest first among
// the features, each over the common threshold (1 is the limit).
func (d *Drift) measurements(w *Window, subjects []record.Subject) []record.Measurement {
	settings := map[string]any{"alarm_rate": w.ref.Config.AlarmRate, "threshold": 1.0, "statistics": w.ref.statistics(), "reference_rows": w.ref.Rows}
	blank := func(name string) record.Measurement {
		return record.Measurement{Name: name, Check: "drift", Version: 1, Subjects: subjects, Direction: record.Lower, N: int(w.N), Settings: settings, Absent: d.Absent, Seed: w.ref.Config.Seed}
	}
	score := blank("drift/score")
	if d.Absent != "" {
		return []record.Measurement{score, blank("shift/confidence"), blank("shift/class")}
	}
	score.Value = record.Val(d.Score)
	out := []record.Measurement{score}
	order := make([]int, len(d.Scaled))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return d.Scaled[order[a]] > d.Scaled[order[b]] })
	listed := 0
	for _, i := range order {
		m := blank(w.ref.statisticName(i))
		m.Value = record.Val(d.Scaled[i])
		if i >= len(w.ref.Features) {
			out = append(out, m)
		} else if listed < maxListed {
			listed++
			out = append(out, m)
		}
	}
	return out
}
