package check

import (
	"context"
	"fmt"

	"muster/attack"
	"muster/record"
	"muster/tensor"
)

// pgd is the accuracy that is left when every test row is attacked by projected
// gradient descent through the model's own gradient. A row counts as lost if any
// iterate is misclassified, the clean row included. The gradient of a quantized graph is
// zero almost everywhere, so a quantized model is attacked through the gradient of the
// float model it is compared with, and the settings say so; without one the measurement is absent.
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
		target := r.Model
		if quantized(target) {
			settings["gradient"] = "transferred from the float model"
			if target = r.Reference; target == nil || quantized(target) {
				m := absent("robust/pgd-linf", "a quantized graph has no useful gradient, and there is no float model to attack it through", record.Higher)
				m.Slice, m.Settings = slice, settings
				out = append(out, m)
				continue
			}
		}
		width := r.hi - r.lo
		a, err := attack.NewPGD(target.Graph, attack.PGDConfig{Eps: float32(eps) * width, Steps: r.Config.PGDStep, Lo: r.lo, Hi: r.hi})
		if err != nil {
			return nil, err
		}
		res, err := attackAll(ctx, r, a, y)
		a.Close()
		if err != nil {
			return nil, err
		}
		if target != r.Model {
			if err := transfer(r, res); err != nil {
				return nil, err
			}
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
		all.X = joinRows(all.X, res.X)
		all.ZeroGradients += res.ZeroGradients
	}
	return all, nil
}

// transfer replaces what fooled the attacked model by what fools the measured one: a
// row counts if it is wrong as it is, or in the form that fooled the other model.
func transfer(r *run, res *attack.Result) error {
	adv, err := r.logitsOf(r.Model, res.X)
	if err != nil {
		return err
	}
	clean, attacked := Predictions(r.logits), Predictions(adv)
	for i, y := range r.y {
		res.Fooled[i] = clean[i] != y || attacked[i] != y
	}
	return nil
}

// joinRows appends the rows of b to a.
func joinRows(a, b *tensor.Tensor) *tensor.Tensor {
	if a == nil {
		return b
	}
	shape := a.Shape.Clone()
	shape[0] += b.Shape[0]
	out := tensor.New(a.DType, shape...)
	copy(out.Data[copy(out.Data, a.Data):], b.Data)
	return out
}

func quantized(m *Model) bool {
	for _, n := range m.Graph.Nodes {
		if n.Op == "QuantizeLinear" {
			return true
		}
	}
	return false
}
