package op

import (
	"muster/internal/kernel"
	"muster/tensor"
)

// gatherGradKernel adds rows in the order of the indices. A task takes some outer indices, or a range of the rows
// that are added to: it passes over the indices of the others. The sums may be written over the base.
func gatherGradKernel(p *Prep) (Kernel, bool) {
	if p.Out[0].DType != tensor.Float32 {
		return Kernel{}, false
	}
	shape := p.Out[0].Shape
	at := wrap(p.Node.Int("axis", 0), len(shape))
	P, n, Q, K := shape[:at].Elems(), shape[at], shape[at+1:].Elems(), p.In[1].Elems()
	parts := 1
	if P == 1 && Q >= 32 {
		parts = max(1, min(8, n, (n+K)*Q/(4*chunk)))
	}
	each := (n + parts - 1) / parts
	per := max(1, chunk/max(1, (n+K)*Q))
	tasks := (P + per - 1) / per * parts
	based := p.in(3) != nil
	over := 0
	if based {
		over = 4
	}
	return Kernel{Over: over, Check: laneCheck(1, n), Run: split(tasks, func(in, out []*tensor.Tensor, _ []byte, task int) {
		lo, hi := task%parts*each, min(n, (task%parts+1)*each)
		for p := task / parts * per; p < min(P, (task/parts+1)*per); p++ {
			dx, dy := out[0].Float32s()[p*n*Q:(p+1)*n*Q], in[0].Float32s()[p*K*Q:(p+1)*K*Q]
			if part := dx[min(lo, hi)*Q : hi*Q]; !based {
				clear(part)
			} else if base := in[3].Float32s()[p*n*Q+lo*Q:]; len(part) > 0 && &part[0] != &base[0] {
				copy(part, base)
			}
			addRows(dx, dy, in[1], n, Q, lo, hi)
		}
	})}, true
}

// addRows adds row k of dy to row idx[k] of dx if that is in [lo, hi).
func addRows(dx, dy []float32, idx *tensor.Tensor, n, Q, lo, hi int) {
	for k, K := 0, idx.Elems(); k < K; k++ {
		i := wrap(index(idx, k), n)
		switch {
		case i < lo || i >= hi:
		case Q == 1:
			dx[i] += dy[k]
		default:
			d := dx[i*Q : (i+1)*Q]
			kernel.Map2(kernel.Add, d, d, dy[k*Q:(k+1)*Q])
		}
	}
}
