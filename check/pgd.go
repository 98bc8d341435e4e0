package check

import (
	"context"
	"fmt"

	"muster/attack"
	"muster/record"
)

// pgd is the accuracy that is left when every test row is attacked by projected
// gradient descent through the model's own gradient. A row counts as lost if any
// iterate is misclassified, the clean row included. A quantized model has no useful
// gradient: for it the measurement is absent with the reason.
func pgd(ctx context.Context, r *run) ([]record.Measurement, error) {
	if !r.image {
		return []record.Measurement{absent("robust/pgd-linf", "the features are not an image with a declared range", record.Higher)}, nil
	}
	var out []record.Measurement
	y := make([]int64, len(r.y))
	for i, k := range r.y {
		y[i] = int64(k)
	}
	for _, eps := range r.Config.PGDEps {
		slice := fmt.Sprintf("eps=%g", eps)
		settings := map[string]any{"norm": "Linf", "eps": eps, "unit": "share of the pixel range", "steps": r.Config.PGDStep,
			"step": 2.5 * eps / float64(r.Config.PGDStep), "restarts": 1, "loss": "cross-entropy", "gradient": "white-box"}
		if quantized(r.Model) {
			m := absent("robust/pgd-linf", "the gradient of a quantized graph is zero almost everywhere; the float model is attacked instead", record.Higher)
			m.Slice, m.Settings = slice, settings
			out = append(out, m)
			continue
		}
		width := r.hi - r.lo
		a, err := attack.NewPGD(r.Model.Graph, attack.PGDConfig{Eps: float32(eps) * width, Steps: r.Config.PGDStep, Lo: r.lo, Hi: r.hi})
		if err != nil {
			return nil, err
		}
		res, err := attackAll(ctx, r, a, y)
		a.Close()
		if err != nil {
			return nil, err
		}
		left := 0
		for _, f := range res.Fooled {
			if !f {
				left++
			}
		}
		m := Proportion("robust/pgd-linf", left, len(y), record.Higher)
		settings["zero_gradient_rows"] = res.ZeroGradients
		m.Slice, m.Settings, m.Seed = slice, settings, r.Config.Seed
		out = append(out, m)
	}
	return out, nil
}

// attackAll attacks the test rows in batches.
func attackAll(ctx context.Context, r *run, a *attack.PGD, y []int64) (*attack.Result, error) {
	all := &attack.Result{}
	key := r.key.Named("pgd")
	for lo := 0; lo < len(y); lo += chunk {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		hi := min(lo+chunk, len(y))
		res, err := a.Run(r.x.Rows(lo, hi), y[lo:hi], key, r.test[lo:hi])
		if err != nil {
			return nil, err
		}
		all.Fooled = append(all.Fooled, res.Fooled...)
		all.ZeroGradients += res.ZeroGradients
	}
	return all, nil
}

func quantized(m *Model) bool {
	for _, n := range m.Graph.Nodes {
		if n.Op == "QuantizeLinear" {
			return true
		}
	}
	return false
}
