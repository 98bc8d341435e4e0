package check

import (
	"context"
	"fmt"
	"sort"
	"time"

	"muster/record"
	"muster/stat"
)

// cost is the size of the file, the operations of one row, and how many nodes run on integer kernels.
func cost(_ context.Context, r *run) ([]record.Measurement, error) {
	rep, err := r.Model.Plan(r.x.Rows(0, 1))
	if err != nil {
		return nil, err
	}
	file := record.Measurement{Name: "size/file", Value: record.Val(float64(r.FileBytes)), N: 1, Unit: "bytes", Direction: record.Lower}
	if r.FileBytes == 0 {
		file = absent("size/file", "the model is not a file", record.Lower)
	}
	return []record.Measurement{
		file,
		{Name: "cost/flops", Value: record.Val(float64(rep.Flops)), N: 1, Unit: "FLOP per row", Direction: record.Lower},
		{Name: "cost/memory", Value: record.Val(float64(rep.ArenaBytes)), N: 1, Unit: "bytes", Direction: record.Lower,
			Settings: map[string]any{"what": "activations of one row, planned"}},
		{Name: "quant/integer_nodes", Value: record.Val(float64(rep.Integer)), N: rep.Nodes, Unit: "nodes", Direction: record.Info,
			Detail: detail(map[string]any{"operators": rep.IntegerOps, "integer_ops": rep.IntegerFlops, "nodes": rep.Nodes})},
	}, nil
}

// latency times single rows one after another, after a warm-up, and states quantiles with n.
// A percentile is given only if n supports it (about 10/(1-p) samples).
func latency(ctx context.Context, r *run) ([]record.Measurement, error) {
	if r.Config.Latency < 0 {
		const why = "timing was switched off"
		return []record.Measurement{absent("latency/p50", why, record.Lower), absent("latency/p95", why, record.Lower)}, nil
	}
	ms, err := timeRows(ctx, []*Model{r.Model}, r, r.Config.Latency)
	if err != nil {
		return nil, err
	}
	return []record.Measurement{quantile("latency/p50", ms[0], 0.5), quantile("latency/p95", ms[0], 0.95)}, nil
}

func quantile(name string, ms []float64, p float64) record.Measurement {
	settings := map[string]any{"batch": 1, "what": "one row through the model, engine only"}
	sort.Float64s(ms)
	v, iv, err := stat.Percentile(ms, p, 0.95)
	if err != nil {
		m := absent(name, err.Error(), record.Lower)
		m.Volatile, m.Unit = true, "ms"
		return m
	}
	return record.Measurement{Name: name, Value: record.Val(v), N: len(ms), Unit: "ms", Direction: record.Lower, Volatile: true,
		Settings: settings, Interval: interval(iv)}
}

// timeRows times n single-row runs of every model, interleaved row by row, in milliseconds.
func timeRows(ctx context.Context, models []*Model, r *run, n int) ([][]float64, error) {
	out := make([][]float64, len(models))
	for i := -20; i < n; i++ { // 20 warm-up rows
		if ctx.Err() != nil {
			return nil, fmt.Errorf("timing stopped: %w", ctx.Err())
		}
		k := (i + 20) % len(r.y)
		x := r.x.Rows(k, k+1)
		for j, m := range models {
			t := time.Now()
			if _, err := m.session.Run(x); err != nil {
				return nil, err
			}
			if i >= 0 {
				out[j] = append(out[j], float64(time.Since(t).Nanoseconds())/1e6)
			}
		}
	}
	return out, nil
}
