package op

import (
	"muster/internal/kernel"
	"muster/tensor"
)

// Kernels that are plain loops: in parallel, without allocation, and without the detour over float64 slices.

// rowLoop computes elements lo to hi of the output; operand elements start at i and j and go on by di and dj.
type rowLoop func(out, x, y *tensor.Tensor, lo, hi, i, j, di, dj int)

// broadcastKernel runs f on every row of the output along which both operands have one stride.
func broadcastKernel(p *Prep, f rowLoop) (Kernel, bool) {
	shape := p.Out[0].Shape
	m := mergeAxes(shape, broadcastStrides(shape, p.In[0].Shape), broadcastStrides(shape, p.In[1].Shape))
	if len(m.shape) > maxAxes {
		return Kernel{}, false
	}
	a, b := fixedStrided(m.shape, m.strides[0]), fixedStrided(m.shape, m.strides[1])
	n, per := a.inner, a.rowsPerTask()
	parts := max(1, tasksFor(n)) // of one row
	if parts > 1 {
		per = 1
	}
	rows := a.outer
	if n == 0 {
		rows = 0
	}
	return Kernel{Run: split((rows+per-1)/per*parts, func(in, out []*tensor.Tensor, _ []byte, task int) {
		lo, hi := 0, n
		if parts > 1 {
			lo, hi = bounds(n, task%parts)
			task /= parts
		}
		for r := task * per; r < min(rows, (task+1)*per); r++ {
			f(out[0], in[0], in[1], r*n+lo, r*n+hi, a.from(r)+lo*a.step, b.from(r)+lo*b.step, a.step, b.step)
		}
	})}, true
}

func clipKernel(p *Prep, lo, hi float32) (Kernel, bool) {
	if p.In[0].DType != tensor.Float32 {
		return Kernel{}, false
	}
	return mapKernel(p.Out[0].Elems(), func(dst, x []float32) { kernel.Clip(dst, x, lo, hi) }), true
}

// crossEntropyKernel is for scores [N, C]: log probabilities row by row, then one loss per row, added by kernel.Sum.
func crossEntropyKernel(p *Prep) (Kernel, bool) {
	N, C, D := labelled(p.In[0].Shape)
	if p.In[0].DType != tensor.Float32 || D != 1 || C == 0 {
		return Kernel{}, false
	}
	ignore, reduction := p.Node.Int("ignore_index", noIgnore), p.Node.Str("reduction", "mean")
	logp := func(out []*tensor.Tensor, scratch []byte) []float32 {
		if len(out) > 1 && out[1] != nil {
			return out[1].Float32s()
		}
		return floatsIn(scratch)[2*N : 2*N+N*C]
	}
	rows := rowKernelScratch(N, C, func(in, out []*tensor.Tensor, scratch []byte, lo, hi int) {
		l, s := logp(out, scratch), floatsIn(scratch)
		kernel.LogSoftmax(l[lo*C:hi*C], in[0].Float32s()[lo*C:hi*C], hi-lo, C)
		for i := lo; i < hi; i++ {
			s[i], s[N+i] = 0, labelWeight(in, 1, 2, i, ignore)
			if s[N+i] != 0 {
				s[i] = -s[N+i] * l[i*C+int(index(in[1], i))]
			}
		}
	})
	return Kernel{Scratch: 4*(2*N+N*C) + 64,
		Check: func(in []*tensor.Tensor) error { return labelCheck(in[1], C, ignore) },
		Run: func(in, out []*tensor.Tensor, scratch []byte) {
			rows(in, out, scratch)
			finishLoss(out[0].Float32s(), floatsIn(scratch), N, reduction)
		}}, true
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

// crossEntropyGradKernel is w dLoss (exp(LogProb) - onehot) for LogProb [N, C].
func crossEntropyGradKernel(p *Prep) (Kernel, bool) {
	N, C, D := labelled(p.In[1].Shape)
	if p.In[0].DType != tensor.Float32 || p.In[1].DType != tensor.Float32 || D != 1 || C == 0 {
		return Kernel{}, false
	}
	ignore, reduction := p.Node.Int("ignore_index", noIgnore), p.Node.Str("reduction", "mean")
	total := float32(1) // of the weights; set before the rows run
	rows := rowKernelScratch(N, C, func(in, out []*tensor.Tensor, scratch []byte, lo, hi int) {
		w, dLoss := floatsIn(scratch), in[0].Float32s()
		for i := lo; i < hi; i++ {
			d := out[0].Float32s()[i*C : (i+1)*C]
			if w[i] == 0 {
				clear(d)
				continue
			}
			kernel.Exp(d, in[1].Float32s()[i*C:(i+1)*C])
			d[index(in[2], i)]--
			s := dLoss[0]
			if reduction == "none" {
				s = dLoss[i]
			}
			kernel.MapScalar(kernel.Mul, d, d, w[i]*s/total)
		}
	})
	return Kernel{Scratch: 4*N + 64,
		Check: func(in []*tensor.Tensor) error { return labelCheck(in[2], C, ignore) },
		Run: func(in, out []*tensor.Tensor, scratch []byte) {
			w := floatsIn(scratch)[:N]
			for i := range w {
				w[i] = labelWeight(in, 2, 3, i, ignore)
			}
			if reduction == "mean" {
				total = kernel.Sum(w)
			}
			rows(in, out, scratch)
		}}, true
}
