package monitor

import (
	"fmt"
	"testing"

	"muster/data"
	"muster/rng"
	"muster/stat"
)

// The false alarm rate on real data: a reference of 360 digits and clean windows from
// another 360, both drawn anew for each split. There is no shift, so every alarm is false.
func TestCleanWindows(t *testing.T) {
	f := digits()
	s := rng.New(5).Stream()
	sizes := []struct{ n, perSplit int }{{60, 200}, {200, 200}, {1000, 40}}
	splits := 5
	if testing.Short() {
		splits = 1
	}
	alarms := make([]int, len(sizes))
	for split := range splits {
		held := span(700, 1797)
		s.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
		r := f.reference(t, held[:360], uint64(split))
		traffic := f.traffic(f.pick(held[360:720]))
		for i, size := range sizes {
			for range size.perSplit {
				if window(t, r, traffic, size.n, s).Drift().Alarm() {
					alarms[i]++
				}
			}
		}
	}
	for i, size := range sizes {
		total := splits * size.perSplit
		iv := stat.ClopperPearson(alarms[i], total, 0.95)
		t.Logf("windows of %d: %d false alarms in %d = %.2f%% [%.2f, %.2f]", size.n, alarms[i], total, 100*float64(alarms[i])/float64(total), 100*iv.Low, 100*iv.High)
		if float64(alarms[i]) > 0.01*float64(total) {
			t.Errorf("windows of %d: %d of %d clean ones alarm, stated rate 1%%", size.n, alarms[i], total)
		}
	}
}

// Every corruption of severity 3 and more is caught in most windows of 200 requests.
func TestCorruptedWindows(t *testing.T) {
	f := digits()
	r := f.reference(t, span(700, 1060), 1)
	clean, labels := f.images[1060:1420], f.labels[1060:1420]
	s := rng.New(6).Stream()
	for _, name := range data.Corruptions() {
		for _, severity := range []int{1, 3, 5} {
			bad := f.traffic(corrupt(t, clean, name, severity, 9))
			caught, top, score := 0, "", 0.0
			const rounds = 10
			for range rounds {
				d := window(t, r, bad, 200, s).Drift()
				top, score = d.Top, score+d.Score/rounds
				if d.Alarm() {
					caught++
				}
			}
			e := window(t, r, bad, 400, s).Estimate(0.95)
			given := fmt.Sprintf("estimate %.3f [%.3f, %.3f]", e.Value, e.Interval.Low, e.Interval.High)
			if e.Absent != "" {
				given = fmt.Sprintf("no estimate (%.0f%% outside the support)", 100*e.Outside)
			}
			t.Logf("%-14s %d: caught %2d of %d, mean score %6.1f, top %-14s true accuracy %.3f, %s", name, severity, caught, rounds, score, top, accuracy(bad, labels), given)
			if severity >= 3 && caught < rounds {
				t.Errorf("%s %d: caught in %d of %d windows", name, severity, caught, rounds)
			}
			if name == "contrast" && e.Absent == "" {
				t.Errorf("contrast %d: an estimate was given where it is far off", severity)
			}
			if severity == 1 && name != "contrast" && e.Absent != "" {
				t.Errorf("%s 1: no estimate for a moderate shift: %s", name, e.Absent)
			}
		}
	}
}
