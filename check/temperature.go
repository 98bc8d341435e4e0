package check

import (
	"context"

	"muster/data"
	"muster/internal/detmath"
	"muster/record"
)

// temperature fits the softmax temperature on the calibrate role by minimising
// the NLL (Guo et al., arXiv 1706.04599, section 4.2). The argmax does not change.
func temperature(_ context.Context, r *run) ([]record.Measurement, error) {
	rows := r.Data.Rows(data.Calibrate)
	if len(rows) < 20 {
		return []record.Measurement{absent("calibration/temperature", "the calibrate role has fewer than 20 rows", record.Info)}, nil
	}
	if err := r.Ledger.Use(data.Calibrate, data.FitCalibrator); err != nil {
		return nil, err
	}
	logits, err := r.logitsOf(r.Model, r.Data.X(rows))
	if err != nil {
		return nil, err
	}
	y := labels(r.Data, rows)
	t := FitTemperature(func(temp float64) float64 {
		s := 0.0
		for i, p := range Probabilities(logits, temp) {
			s -= detmath.Log(max(p[y[i]], clip))
		}
		return s
	})
	r.temp, r.fitted = t, true
	return []record.Measurement{{Name: "calibration/temperature", Value: record.Val(t), N: len(rows), Direction: record.Info,
		Role: string(data.Calibrate), Settings: map[string]any{"fit": "golden section on log T in [0.05, 20], 60 steps, minimum NLL"}}}, nil
}

// FitTemperature minimises nll over log T in [log 0.05, log 20] by golden section; the NLL has one minimum in 1/T.
func FitTemperature(nll func(t float64) float64) float64 {
	const phi = 0.6180339887498949
	lo, hi := detmath.Log(0.05), detmath.Log(20)
	at := func(u float64) float64 { return nll(detmath.Exp(u)) }
	a, b := hi-float64(phi*(hi-lo)), lo+float64(phi*(hi-lo))
	fa, fb := at(a), at(b)
	for i := 0; i < 60; i++ {
		if fa <= fb {
			hi, b, fb = b, a, fa
			a = hi - float64(phi*(hi-lo))
			fa = at(a)
		} else {
			lo, a, fa = a, b, fb
			b = lo + float64(phi*(hi-lo))
			fb = at(b)
		}
	}
	return detmath.Exp((lo + hi) / 2)
}
