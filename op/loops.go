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
