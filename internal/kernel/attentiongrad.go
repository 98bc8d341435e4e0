package kernel

import (
	"unsafe"

	"muster/internal/cpu"
	"muster/internal/team"
)

// AttentionGrad is the gradient of Attention without a cap: the weights are computed again from LSE, block by
// block of queries (Dao, arXiv 2307.08691, algorithm 2). One task does all of a head of keys, so that dK and dV are
// chains over the queries in ascending order, first of the first head that reads these keys.
type AttentionGrad struct {
	Attention            // Y and LSE are inputs here
	DY         []float32 // laid out like Y
	DQ, DK, DV []float32 // nil: not wanted
	AtDQ       Heads
	AtDK, AtDV Heads
}

// gradRows is the number of queries of a block: two matrices of that many rows stay in the second cache.
func (g *AttentionGrad) gradRows() int {
	n := (1 << 16) / max(g.width(), 1) / 14 * 14
	return min(max(n, 14), g.rows())
}

// width is the distance of rows of weights.
func (g *AttentionGrad) width() int { return panels(g.S)*panel + 16 }

// vt is the number of floats of the values of one head, transposed in panels.
func (g *AttentionGrad) vt() int { return panels(g.S) * panel * g.Dv }

type gradient struct {
	g    *AttentionGrad
	tier cpu.Tier
	task func(int)
}

var gradients = pool[gradient]{make: func() *gradient {
	x := &gradient{}
	x.task = func(t int) { x.head(t/x.g.KV, t%x.g.KV) }
	return x
}}

// Run computes the gradients that are wanted.
func (g *AttentionGrad) Run() {
	x := gradients.get()
	defer gradients.put(x)
	x.g, x.tier = g, cpu.Active()
	team.Run(g.B*g.KV, x.task)
	x.g = nil
}

// gradWork is the memory of one task.
type gradWork struct {
	kt, vt, p, dp, q []float32
	delta            []float32
	done             int // keys that have sums already
}

// work carves it from buf.
func (x *gradient) work(buf *buffer) gradWork {
	g := x.g
	rows := g.gradRows()
	size := [...]int{g.kt(), g.vt(), rows * g.width(), rows * g.width(), rows * g.D, rows}
	all := 16
	for _, n := range size {
		all += n
	}
	mem := buf.carve(all)
	mem = mem[int(-uintptr(unsafe.Pointer(&mem[0]))&63)/4:]
	take := func(n int) []float32 {
		s := mem[:n:n]
		mem = mem[n:]
		return s
	}
	return gradWork{kt: take(size[0]), vt: take(size[1]), p: take(size[2]), dp: take(size[3]), q: take(size[4]), delta: take(size[5])}
}

// head does the queries of all heads that read head kv of the keys.
func (x *gradient) head(b, kv int) {
	g := x.g
	if g.S == 0 || g.T == 0 || g.D == 0 || g.Dv == 0 {
		g.clearKeys(b, kv, 0)
		for h := kv * g.H / g.KV; h < (kv+1)*g.H/g.KV && g.DQ != nil; h++ {
			for t := 0; t < g.T; t++ {
				clear(g.DQ[g.AtDQ.At(b, h, t):][:g.D])
			}
		}
		return
	}
	buf := buffers.get()
	defer buffers.put(buf)
	w := x.work(buf)
	g.packKeys(x.tier, w.kt, b, kv)
	packPanels(x.tier, w.vt, g.Dv*panel, g.V[g.AtV.At(b, kv, 0):], g.AtV.T, true, g.S, 0, panels(g.S), 0, g.Dv)
	if g.Left >= 0 { // blocks do not start at key 0
		g.clearKeys(b, kv, 0)
		w.done = g.S
	}
	rows := g.gradRows()
	for h := kv * g.H / g.KV; h < (kv+1)*g.H/g.KV; h++ {
		for t0 := 0; t0 < g.T; t0 += rows {
			x.block(&w, b, h, kv, t0, min(rows, g.T-t0))
		}
	}
	g.clearKeys(b, kv, w.done)
}

// clearKeys sets the gradients of keys from t on to 0.
func (g *AttentionGrad) clearKeys(b, kv, t int) {
	for ; t < g.S; t++ {
		if g.DK != nil {
			clear(g.DK[g.AtDK.At(b, kv, t):][:g.D])
		}
		if g.DV != nil {
			clear(g.DV[g.AtDV.At(b, kv, t):][:g.Dv])
		}
	}
}

// block adds what n queries of head h from t0 on contribute.
func (x *gradient) block(w *gradWork, b, h, kv, t0, n int) {
	g, ld := x.g, x.g.width()
	lo, hi := g.span(b, t0, n)
	lo = lo / panel * panel
	keys := hi - lo
	dy := g.DY[g.AtY.At(b, h, t0):]
	for i := 0; i < n; i++ {
		w.delta[i] = Dot(dy[i*g.AtY.T:][:g.Dv], g.Y[g.AtY.At(b, h, t0+i):][:g.Dv])
	}
	q, ldq := g.queries(w.q, b, h, t0, n)
	for j := 0; j < keys; j += panel {
		k := operand{data: w.kt[(lo+j)*g.D:], row: panel, width: panel, padded: true}
		gemmRows(x.tier, n, g.D, q, ldq, 1, k, w.p[j:], ld, fromZero, nil)
		v := operand{data: w.vt[(lo+j)*g.Dv:], row: panel, width: panel, padded: true}
		gemmRows(x.tier, n, g.Dv, dy, g.AtY.T, 1, v, w.dp[j:], ld, fromZero, nil)
	}
	for i := 0; i < n; i++ {
		p, dp := w.p[i*ld:][:ld], w.dp[i*ld:][:ld]
		up := g.window(p, b, h, t0+i, lo, keys)
		if up > 0 {
			expRow(p[:up], p[:up], g.LSE[(b*g.H+h)*g.T+t0+i])
			mulSub(dp[:up], p[:up], dp[:up], w.delta[i])
		}
		if up < keys {
			clear(p[up:keys])
			clear(dp[up:keys])
		}
	}
	if keys > 0 {
		MapScalar(Mul, w.dp[:(n-1)*ld+keys], w.dp[:(n-1)*ld+keys], g.Scale)
	}
	if g.DV != nil {
		x.across(w.p, dy, g.AtY.T, g.Dv, g.DV[g.AtDV.At(b, kv, lo):], g.AtDV.T, n, keys, w.done-lo)
	}
	if g.DK != nil {
		x.across(w.dp, q, ldq, g.D, g.DK[g.AtDK.At(b, kv, lo):], g.AtDK.T, n, keys, w.done-lo)
	}
	w.done = max(w.done, hi)
	if g.DQ != nil {
		x.along(w.dp, b, h, kv, t0, n, lo, keys)
	}
}

// across adds s' r to the first done rows of c, and sets the others to it: s [n, keys], r [n, size], c [keys, size].
func (x *gradient) across(s, r []float32, ldr, size int, c []float32, ldc, n, keys, done int) {
	done = min(done, keys)
	for j := 0; j < size && keys > 0; j += panel {
		o := operand{data: r[j:], row: ldr, width: min(panel, size-j)}
		if done > 0 {
			gemmRows(x.tier, done, n, s, 1, x.g.width(), o, c[j:], ldc, fromC, nil)
		}
		if done < keys {
			gemmRows(x.tier, keys-done, n, s[done:], 1, x.g.width(), o, c[done*ldc+j:], ldc, fromZero, nil)
		}
	}
}

// along is dQ = dS K for n queries, the scale being in dS.
func (x *gradient) along(ds []float32, b, h, kv, t0, n, lo, keys int) {
	g := x.g
	dq := g.DQ[g.AtDQ.At(b, h, t0):]
	for k := 0; k < keys; k += kBlock {
		mode := fromC
		if k == 0 {
			mode = fromZero
		}
		for j := 0; j < g.D; j += panel {
			o := operand{data: g.K[g.AtK.At(b, kv, lo+k)+j:], row: g.AtK.T, width: min(panel, g.D-j)}
			gemmRows(x.tier, n, min(kBlock, keys-k), ds[k:], g.width(), 1, o, dq[j:], g.AtDQ.T, mode, nil)
		}
	}
	for i := 0; i < n && keys <= 0; i++ {
		clear(dq[i*g.AtDQ.T:][:g.D])
	}
}
