package op

import (
	"muster/internal/detmath"
	"muster/internal/kernel"
	"muster/tensor"
)

// Scores are [N, C, D], labels [N, D]. Where D is 1, a row of scores is one task's unit, else a strip of columns.

// labelStrips splits [N, C, D] into strips of at most stripCols columns, with the scratch.
func labelStrips(N, C, D int, f func(in, out []*tensor.Tensor, scratch []byte, i, c, cols int)) func(in, out []*tensor.Tensor, scratch []byte) {
	each := (D + stripCols - 1) / stripCols
	per := max(1, chunk/max(1, C*min(D, stripCols)))
	return split((N*each+per-1)/per, func(in, out []*tensor.Tensor, scratch []byte, task int) {
		for t := task * per; t < min(N*each, (task+1)*per); t++ {
			c := t % each * stripCols
			f(in, out, scratch, t/each, c, min(stripCols, D-c))
		}
	})
}

// crossEntropyKernel makes one loss per label, and the log-probabilities if they are asked for; kernel.Sum adds the losses.
func crossEntropyKernel(p *Prep) (Kernel, bool) {
	N, C, D := labelled(p.In[0].Shape)
	if p.In[0].DType != tensor.Float32 || C == 0 {
		return Kernel{}, false
	}
	ignore, reduction := p.Node.Int("ignore_index", noIgnore), p.Node.Str("reduction", "mean")
	n := N * D
	each := labelStrips(N, C, D, func(in, out []*tensor.Tensor, scratch []byte, i, c, cols int) {
		columnLosses(in, out, floatsIn(scratch), i, c, cols, n, ignore)
	})
	if D == 1 {
		each = rowKernelScratch(N, C, func(in, out []*tensor.Tensor, scratch []byte, lo, hi int) {
			rowLosses(in, out, floatsIn(scratch), lo, hi, n, ignore)
		})
	}
	return lossKernel(each, n, C, ignore, reduction), true
}

// lossKernel runs each, which writes n losses and then their weights to the scratch, and reduces them.
func lossKernel(each func(in, out []*tensor.Tensor, scratch []byte), n, C int, ignore int64, reduction string) Kernel {
	return Kernel{Scratch: 4*2*n + 64,
		Check: func(in []*tensor.Tensor) error { return labelCheck(in[1], C, ignore) },
		Run: func(in, out []*tensor.Tensor, scratch []byte) {
			each(in, out, scratch)
			finishLoss(out[0].Float32s(), floatsIn(scratch), n, reduction)
		}}
}

// rowLosses writes losses lo to hi to s, and their weights n behind.
func rowLosses(in, out []*tensor.Tensor, s []float32, lo, hi, n int, ignore int64) {
	C := in[0].Shape[1]
	for i := lo; i < hi; i++ {
		x := in[0].Float32s()[i*C : (i+1)*C]
		m := kernel.Greatest(x)
		l := float32(detmath.Log(float64(kernel.ExpSum(x, m))))
		if len(out) > 1 && out[1] != nil {
			d := out[1].Float32s()[i*C : (i+1)*C]
			kernel.MapScalar(kernel.Sub, d, x, m)
			kernel.MapScalar(kernel.Sub, d, d, l)
		}
		s[i], s[n+i] = 0, labelWeight(in, 1, 2, i, ignore)
		if s[n+i] != 0 {
			s[i] = -s[n+i] * ((x[index(in[1], i)] - m) - l)
		}
	}
}

// columnLosses does columns c to c + cols of sample i.
func columnLosses(in, out []*tensor.Tensor, s []float32, i, c, cols, n int, ignore int64) {
	_, C, D := labelled(in[0].Shape)
	var a, b, t [stripCols]float32
	m, l, e := a[:cols], b[:cols], t[:cols]
	x := in[0].Float32s()[i*C*D+c:]
	greatestColumns(m, x, C, D)
	for r := range C {
		kernel.Map2(kernel.Sub, e, x[r*D:][:cols], m)
		kernel.Exp(e, e)
		kernel.Map2(kernel.Add, l, l, e)
	}
	kernel.Log(l, l)
	if len(out) > 1 && out[1] != nil {
		y := out[1].Float32s()[i*C*D+c:]
		for r := range C {
			d := y[r*D:][:cols]
			kernel.Map2(kernel.Sub, d, x[r*D:][:cols], m)
			kernel.Map2(kernel.Sub, d, d, l)
		}
	}
	for j := range cols {
		k := i*D + c + j
		s[k], s[n+k] = 0, labelWeight(in, 1, 2, k, ignore)
		if s[n+k] != 0 {
			s[k] = -s[n+k] * ((x[int(index(in[1], k))*D+j] - m[j]) - l[j])
		}
	}
}

// finishLoss reduces n losses and the n weights behind them.
func finishLoss(y, s []float32, n int, reduction string) {
	switch reduction {
	case "none":
		copy(y, s[:n])
	case "sum":
		y[0] = kernel.Sum(s[:n])
	default:
		y[0] = kernel.Sum(s[:n]) / kernel.Sum(s[n:2*n])
	}
}

// labelWeight is the weight of label i: 0 if it is ignored.
func labelWeight(in []*tensor.Tensor, labels, weights, i int, ignore int64) float32 {
	y := index(in[labels], i)
	switch {
	case y == ignore:
		return 0
	case len(in) > weights && in[weights] != nil:
		return in[weights].Float32s()[y]
	}
	return 1
}

// crossEntropyGradKernel is f (exp(LogProb) - onehot), where f of a label is its weight times dLoss, over the sum of the
// weights for reduction mean.
func crossEntropyGradKernel(p *Prep) (Kernel, bool) {
	N, C, D := labelled(p.In[1].Shape)
	if p.In[0].DType != tensor.Float32 || p.In[1].DType != tensor.Float32 || C == 0 {
		return Kernel{}, false
	}
	ignore, reduction := p.Node.Int("ignore_index", noIgnore), p.Node.Str("reduction", "mean")
	n := N * D
	each := labelStrips(N, C, D, func(in, out []*tensor.Tensor, scratch []byte, i, c, cols int) {
		columnSlopes(in, out[0].Float32s(), floatsIn(scratch), i, c, cols)
	})
	if D == 1 {
		each = rowKernelScratch(N, C, func(in, out []*tensor.Tensor, scratch []byte, lo, hi int) {
			rowSlopes(in, out[0].Float32s(), floatsIn(scratch), lo, hi)
		})
	}
	return Kernel{Scratch: 4*n + 64,
		Check: func(in []*tensor.Tensor) error { return labelCheck(in[2], C, ignore) },
		Run: func(in, out []*tensor.Tensor, scratch []byte) {
			f, dLoss, total := floatsIn(scratch)[:n], in[0].Float32s(), float32(1)
			for i := range f {
				f[i] = labelWeight(in, 2, 3, i, ignore)
			}
			if reduction == "mean" {
				total = kernel.Sum(f)
			}
			for i := range f {
				s := dLoss[0]
				if reduction == "none" {
					s = dLoss[i]
				}
				if f[i] != 0 {
					f[i] *= s / total
				}
			}
			each(in, out, scratch)
		}}, true
}

func rowSlopes(in []*tensor.Tensor, dx, f []float32, lo, hi int) {
	C := in[1].Shape[1]
	for i := lo; i < hi; i++ {
		d := dx[i*C : (i+1)*C]
		if f[i] == 0 { // an ignored label is none of the classes
			clear(d)
			continue
		}
		kernel.Exp(d, in[1].Float32s()[i*C:(i+1)*C])
		d[index(in[2], i)]--
		kernel.MapScalar(kernel.Mul, d, d, f[i])
	}
}

func columnSlopes(in []*tensor.Tensor, dx, f []float32, i, c, cols int) {
	_, C, D := labelled(in[1].Shape)
	d, logp := dx[i*C*D+c:], in[1].Float32s()[i*C*D+c:]
	f = f[i*D+c:][:cols]
	for r := range C {
		kernel.Exp(d[r*D:][:cols], logp[r*D:][:cols])
	}
	for j, v := range f {
		if v != 0 {
			d[int(index(in[2], i*D+c+j))*D+j]--
		}
	}
	for r := range C {
		kernel.Map2(kernel.Mul, d[r*D:][:cols], d[r*D:][:cols], f)
	}
}
