package check

import (
	"context"
	"fmt"

	"muster/data"
	"muster/record"
	"muster/stat"
)

// corruption is the accuracy under every corruption of package data at severities
// 1 to 5, and the mean over all of them with a t interval over rows (a row's value
// is its share of corrupted copies that stay right, so copies of a row are not
// taken for independent items).
func corruption(ctx context.Context, r *run) ([]record.Measurement, error) {
	if !r.image {
		return []record.Measurement{absent("robust/corruption-mean", "the features are not an image", record.Higher)}, nil
	}
	var out []record.Measurement
	share := make([]int, len(r.y))
	copies := 0
	for _, name := range data.Corruptions() {
		for sev := 1; sev <= 5; sev++ {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			x, err := data.Corrupt(r.x, name, sev, r.lo, r.hi, r.key.Named("corruption").Named(fmt.Sprintf("%s/%d", name, sev)))
			if err != nil {
				return nil, err
			}
			logits, err := r.logitsOf(r.Model, x)
			if err != nil {
				return nil, err
			}
			right := 0
			for i, k := range Predictions(logits) {
				if k == r.y[i] {
					right++
					share[i]++
				}
			}
			copies++
			m := Proportion("robust/corruption", right, len(r.y), record.Higher)
			m.Slice, m.Seed = fmt.Sprintf("corruption=%s/%d", name, sev), r.Config.Seed
			out = append(out, m)
		}
	}
	var mom stat.Moments
	for _, k := range share {
		mom.Add(float64(k) / float64(copies))
	}
	m := record.Measurement{Name: "robust/corruption-mean", Value: record.Val(mom.Mean()), N: len(r.y), Direction: record.Higher,
		Seed: r.Config.Seed, Settings: map[string]any{"corruptions": data.Corruptions(), "severities": "1-5"}}
	if len(r.y) > 1 {
		m.Interval = clamped(mom.Interval(0.95), 0, 1)
	}
	return append(out, m), nil
}
