package op

import (
	"muster/internal/kernel"
	"muster/tensor"
)

// recurrentRun is the float32 form: one product of all inputs with W per direction, then per step a product with R
// on top of the step's rows, and the gates row by row.
type recurrentRun struct {
	*recurrent
	in, out          []*tensor.Tensor
	wx, rh, rc       [2]kernel.Gemm // inputs; all recurrent gates, or those before the last; the last
	d, s             int            // direction and step under way
	all, step, u     []float32      // [T B, G H], [B, G H], [B, G H]
	h, c, held, bias []float32      // [B, H] three times, [G H]
	rest             []byte         // scratch of the products
	last             []float32      // zeros or the recurrent bias of the last gate of a linear GRU
	rows             func(in, out []*tensor.Tensor, scratch []byte)
	reset            func(in, out []*tensor.Tensor, scratch []byte)
	size             int
}

func recurrentKernel(p *Prep) (Kernel, bool) {
	r, err := recurrentOf(p.Node, shapesOf(p.In))
	if err != nil || p.In[0].DType != tensor.Float32 || r.H == 0 || r.B == 0 {
		return Kernel{}, false
	}
	k := &recurrentRun{recurrent: r}
	own := 0
	for d := 0; d < r.D; d++ {
		k.products(p, d)
		own = max(own, k.wx[d].ScratchBytes(), k.rh[d].ScratchBytes(), k.rc[d].ScratchBytes())
	}
	GH, B := r.G*r.H, r.B
	k.size = r.T*B*GH + 2*B*GH + 3*B*r.H + 2*GH + 128
	per := rowsPer(GH * 4)
	tasks := (B + per - 1) / per
	part := func(f func(b int)) func(in, out []*tensor.Tensor, scratch []byte) {
		return split(tasks, func(_, _ []*tensor.Tensor, _ []byte, task int) {
			for b := task * per; b < min(B, (task+1)*per); b++ {
				f(b)
			}
		})
	}
	k.rows, k.reset = part(k.row), part(k.resetRow)
	return Kernel{Scratch: 4*k.size + own + 256, Run: k.run, Check: r.check}, true
}

// products prepares the matrices of direction d; constant weights are packed once.
func (k *recurrentRun) products(p *Prep, d int) {
	H, GH := k.H, k.G*k.H
	k.wx[d] = kernel.Gemm{M: k.T * k.B, N: GH, K: k.I, LDA: k.I, LDB: k.I, TransB: true, LDC: GH}
	k.rh[d] = kernel.Gemm{M: k.B, N: GH, K: H, LDA: H, LDB: H, TransB: true, LDC: GH, Accumulate: true}
	if k.cell == "GRU" && k.linear {
		k.rh[d].Accumulate = false
	} else if k.cell == "GRU" {
		k.rh[d].N = 2 * H
		k.rc[d] = kernel.Gemm{M: k.B, N: H, K: H, LDA: H, LDB: H, TransB: true, LDC: GH, Accumulate: true}
	}
	if w := p.In[1]; w.Data != nil && k.I > 0 {
		k.wx[d].Packed = kernel.PackB(w.Float32s()[d*GH*k.I:], k.I, true, GH, k.I)
	}
	if r := p.In[2]; r.Data != nil {
		k.rh[d].Packed = kernel.PackB(r.Float32s()[d*GH*H:], H, true, k.rh[d].N, H)
		if k.rc[d].N > 0 {
			k.rc[d].Packed = kernel.PackB(r.Float32s()[(d*GH+2*H)*H:], H, true, H, H)
		}
	}
}

func (k *recurrentRun) run(in, out []*tensor.Tensor, scratch []byte) {
	k.in, k.out = in, out
	f := floatsIn(scratch)
	take := func(n int) []float32 {
		v := f[:n]
		f = f[n:]
		return v
	}
	H, GH, B := k.H, k.G*k.H, k.B
	k.all, k.step, k.u = take(k.T*B*GH), take(B*GH), take(B*GH)
	k.h, k.c, k.held, k.bias, k.last = take(B*H), take(B*H), take(B*H), take(GH), take(GH)
	k.rest = scratch[4*k.size:]
	for i := 0; i < len(out) && i < 1; i++ {
		if out[0] != nil && optional(in, 4) != nil {
			clear(out[0].Data)
		}
	}
	for d := 0; d < k.D; d++ {
		k.direction(d)
	}
}

func (k *recurrentRun) direction(d int) {
	H, GH := k.H, k.G*k.H
	k.d = d
	k.start(d)
	g := &k.wx[d]
	g.A, g.B, g.C, g.Bias = k.in[0].Float32s(), k.in[1].Float32s()[d*GH*k.I:], k.all, k.bias
	g.Run(k.rest)
	for k.s = 0; k.s < k.T; k.s++ {
		k.fetch()
		g := &k.rh[d]
		g.A, g.B, g.C = k.h, k.in[2].Float32s()[d*GH*H:], k.step
		if k.cell == "GRU" && k.linear {
			g.C, g.Bias = k.u, k.last
		}
		g.Run(k.rest)
		if c := &k.rc[d]; c.N > 0 {
			k.reset(nil, nil, nil)
			c.A, c.B, c.C = k.held, k.in[2].Float32s()[(d*GH+2*H)*H:], k.step[2*H:]
			c.Run(k.rest)
		}
		k.rows(nil, nil, nil)
	}
	for b := 0; b < k.B; b++ {
		at := k.stateRow(d, b) * H
		if y := outPart(k.out, 1, at, at+H); y != nil {
			copy(y, k.h[b*H:])
		}
		if y := outPart(k.out, 2, at, at+H); y != nil {
			copy(y, k.c[b*H:])
		}
	}
}

// start sets the state and the bias of a direction.
func (k *recurrentRun) start(d int) {
	H, GH := k.H, k.G*k.H
	for i, v := range [][]float32{5: k.h, 6: k.c} {
		if v == nil {
			continue
		}
		clear(v)
		if t := optional(k.in, i); t != nil {
			for b := 0; b < k.B; b++ {
				copy(v[b*H:(b+1)*H], t.Float32s()[k.stateRow(d, b)*H:])
			}
		}
	}
	clear(k.bias)
	clear(k.last)
	if t := optional(k.in, 3); t != nil {
		v := t.Float32s()[d*2*GH:]
		n := GH
		if k.cell == "GRU" && k.linear {
			n = 2 * H
			copy(k.last[n:], v[GH+n:2*GH])
		}
		copy(k.bias, v[:GH])
		kernel.Map2(kernel.Add, k.bias[:n], k.bias[:n], v[GH:GH+n])
	}
}

// time is the time of the step under way in sequence b, -1 behind its end.
func (k *recurrentRun) time(b int) int {
	n := k.steps(optional(k.in, 4), b)
	if k.s >= n {
		return -1
	}
	return k.at(k.d, k.s, n)
}

// fetch copies the step's rows of the inputs' product.
func (k *recurrentRun) fetch() {
	GH := k.G * k.H
	for b := 0; b < k.B; b++ {
		row := k.step[b*GH : (b+1)*GH]
		if t := k.time(b); t >= 0 {
			copy(row, k.all[k.xRow(t, b)*GH:])
		} else {
			clear(row)
		}
	}
}

// act is activation i of clipped arguments.
func (k *recurrentRun) act(i int, v []float32) {
	if k.clip > 0 {
		kernel.Clip(v, v, -float32(k.clip), float32(k.clip))
	}
	k.acts[k.d][i].fast(v, v)
}

// resetRow computes z and r of a GRU and holds r h.
func (k *recurrentRun) resetRow(b int) {
	H := k.H
	a, h := k.step[b*3*H:][:3*H], k.h[b*H:][:H]
	k.act(0, a[:2*H])
	kernel.Map2(kernel.Mul, k.held[b*H:][:H], a[H:2*H], h)
}

// row finishes a step of sequence b.
func (k *recurrentRun) row(b int) {
	H, GH := k.H, k.G*k.H
	t := k.time(b)
	if t < 0 {
		return
	}
	a, h := k.step[b*GH:][:GH], k.h[b*H:][:H]
	switch k.cell {
	case "LSTM":
		k.lstm(a, h, k.c[b*H:][:H], k.held[b*H:][:H])
	case "GRU":
		k.gru(a, h, k.u[b*GH:][:GH])
	default:
		k.act(0, a)
		copy(h, a)
	}
	at := k.yRow(t, k.d, b) * H
	if y := outPart(k.out, 0, at, at+H); y != nil {
		copy(y, h)
	}
}

func (k *recurrentRun) lstm(a, h, c, tmp []float32) {
	H := k.H
	i, o, f, g := a[:H], a[H:2*H], a[2*H:3*H], a[3*H:]
	var p []float32
	if t := optional(k.in, 7); t != nil {
		p = t.Float32s()[k.d*3*H:]
	}
	peep := func(v, w, state []float32) {
		if p != nil {
			kernel.Map2(kernel.Mul, tmp, w[:H], state)
			kernel.Map2(kernel.Add, v, v, tmp)
		}
	}
	if p == nil && !k.coupled {
		k.act(0, a[:3*H]) // i, o and f at once
	} else {
		peep(i, p, c)
		k.act(0, i)
		if k.coupled {
			for j, v := range i {
				f[j] = 1 - v
			}
		} else {
			peep(f, p[2*H:], c)
			k.act(0, f)
		}
	}
	k.act(1, g)
	kernel.Map2(kernel.Mul, c, f, c)
	kernel.Map2(kernel.Mul, tmp, i, g)
	kernel.Map2(kernel.Add, c, c, tmp)
	if p != nil || k.coupled {
		if p != nil {
			peep(o, p[H:], c)
		}
		k.act(0, o)
	}
	k.acts[k.d][2].fast(tmp, c)
	kernel.Map2(kernel.Mul, h, o, tmp)
}

func (k *recurrentRun) gru(a, h, u []float32) {
	H := k.H
	z, r, g := a[:H], a[H:2*H], a[2*H:]
	if k.linear {
		kernel.Map2(kernel.Add, a[:2*H], a[:2*H], u[:2*H])
		k.act(0, a[:2*H])
		kernel.Map2(kernel.Mul, u[2*H:], r, u[2*H:])
		kernel.Map2(kernel.Add, g, g, u[2*H:])
	}
	k.act(1, g)
	kernel.Map2(kernel.Mul, h, z, h)
	for j := range z {
		z[j] = 1 - z[j]
	}
	kernel.Map2(kernel.Mul, g, z, g)
	kernel.Map2(kernel.Add, h, g, h)
}
