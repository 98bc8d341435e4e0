package check

import (
	"context"
	"math"

	"muster/record"
	"muster/stat"
	"muster/tensor"
)

// ood is how well the model's confidence tells rows of another data set from test
// rows: AUROC with the DeLong interval and FPR at 95% TPR. The out-of-distribution
// row is the positive class; the score is minus the largest softmax probability
// (Hendrycks and Gimpel, arXiv 1610.02136).
func ood(_ context.Context, r *run) ([]record.Measurement, error) {
	if r.Outside == nil || r.Outside.Len() == 0 {
		const why = "no out-of-distribution set was given"
		return []record.Measurement{absent("ood/auroc", why, record.Higher), absent("ood/fpr95", why, record.Lower)}, nil
	}
	rows := make([]int, r.Outside.Len())
	for i := range rows {
		rows[i] = i
	}
	logits, err := r.logitsOf(r.Model, r.Outside.X(rows))
	if err != nil {
		return nil, err
	}
	pos, neg := suspicion(logits, r.temp), suspicion(r.logits, r.temp)
	score, positive := append(pos, neg...), make([]bool, len(pos)+len(neg))
	for i := range pos {
		positive[i] = true
	}
	auc, err := stat.AUROC(score, positive)
	if err != nil {
		return nil, err
	}
	rate, _, err := stat.FPRAtTPR(score, positive, 0.95)
	if err != nil {
		return nil, err
	}
	settings := map[string]any{"positive": "out of distribution", "score": "minus max softmax probability", "temperature": r.temp,
		"n_positive": len(pos), "n_negative": len(neg)}
	subjects := []record.Subject{r.Model.Subject, r.Data.Subject(), r.Outside.Subject()}
	fpr := Proportion("ood/fpr95", int(math.Round(rate*float64(len(neg)))), len(neg), record.Lower)
	fpr.Settings, fpr.Subjects = settings, subjects
	return []record.Measurement{
		{Name: "ood/auroc", Value: record.Val(auc.Value), N: len(pos) + len(neg), Direction: record.Higher, Settings: settings, Subjects: subjects,
			Interval: interval(auc.Interval(0.95))},
		fpr,
	}, nil
}

// suspicion returns minus the confidence of every row.
func suspicion(logits *tensor.Tensor, temp float64) []float64 {
	out := make([]float64, logits.Shape[0])
	for i, p := range Probabilities(logits, temp) {
		out[i] = -p[stat.ArgMax(p)]
	}
	return out
}
