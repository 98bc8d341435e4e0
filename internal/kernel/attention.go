package kernel

import (
	"math"
	"unsafe"

	"muster/internal/cpu"
	"muster/internal/detmath"
	"muster/internal/team"
)

// Scaled dot product attention without a matrix of scores: blocks of queries and keys stay in the second
// cache, and the softmax is computed on the way (Dao et al., arXiv 2205.14135).
//
// Axis letters: B batch, H heads of queries, KV heads of keys and values, T queries, S keys, D channels of
// a head, Dv channels of a head of values.

// Heads says where a tensor has channel 0 of token t of head h of batch item b; channels follow each other.
type Heads struct{ Base, B, H, T int }

// At is that place.
func (v Heads) At(b, h, t int) int { return v.Base + b*v.B + h*v.H + t*v.T }

// Reach says which of S keys a query may see. A query's position among the keys is Offset (or Offsets[b]) + t.
type Reach struct {
	S           int
	Cols        int // keys from Cols on are not seen
	Causal      bool
	Left, Right int // keys before and after its own position; -1: all
	Offset      int
	Offsets     []int // by batch item; nil: Offset
	Lens        []int // valid keys by batch item; nil: all
}

// Keys returns the range of keys that query t of item b sees.
func (a *Reach) Keys(b, t int) (lo, hi int) {
	hi = min(a.S, a.Cols)
	if a.Lens != nil {
		hi = min(hi, a.Lens[b])
	}
	p := a.Offset + t
	if a.Offsets != nil {
		p = a.Offsets[b] + t
	}
	if a.Causal {
		hi = min(hi, p+1)
	}
	if a.Right >= 0 {
		hi = min(hi, p+a.Right+1)
	}
	if a.Left >= 0 {
		lo = max(0, p-a.Left)
	}
	return lo, max(lo, hi)
}

// Attention is one call. Scores are Scale q k', capped if Softcap is not 0, plus the mask. The products are chains
// over the channels and over the keys of a block of keyBlock in ascending order; the sums of a row of a block run
// as in Softmax; blocks are joined in ascending order.
type Attention struct {
	Reach
	B, H, KV, T, D, Dv int
	Q, K, V, Y         []float32
	AtQ, AtK, AtV, AtY Heads
	LSE                []float32 // [B, H, T] logarithms of the sums of exponentials; nil: not wanted
	Scale, Softcap     float32
	Mask               []float32 // added to the scores; nil: none
	Seen               []byte    // keys where it is 0 are not seen; nil: all
	AtMask             [4]int    // strides of Mask or Seen, seen as [B, H, T, S]; the last is 0 or 1
}

// SetLens fills Lens and Offsets, which are there: the last of T queries meets the last valid key.
func (a *Attention) SetLens(lens []int64) {
	for b, n := range lens[:a.B] {
		a.Lens[b] = int(min(max(n, 0), int64(a.S)))
		a.Offsets[b] = a.Lens[b] - a.T
	}
}

const (
	queryBlock = 56      // queries of a block; a multiple of 14
	keyBlock   = 512     // keys of a block
	fewQueries = 3       // up to so many the keys are read in place, query by query
	packFloats = 1 << 14 // floats of keys that one task transposes, at least
)

// rows is the number of queries of a block. Short causal blocks leave out more keys that none of their queries sees.
func (a *Attention) rows() int {
	if a.Causal && a.T <= 5*queryBlock {
		return queryBlock / 2
	}
	return queryBlock
}

// lowest is the LSE of a query that sees nothing.
const lowest = -math.MaxFloat32

// kt is the number of floats of the keys of one head, transposed in panels.
func (a *Attention) kt() int { return panels(a.S) * panel * a.D }

// ld is the distance of rows of scores, such that rows do not fall on each other in the cache.
func (a *Attention) ld() int { return min(panels(a.S)*panel, keyBlock) + 16 }

// few reports whether the keys are read where they are.
func (a *Attention) few() bool { return a.T <= fewQueries }

// ScratchBytes returns the scratch that Run needs.
func (a *Attention) ScratchBytes() int {
	if a.few() {
		return 64
	}
	return 4*a.B*a.KV*a.kt() + 64
}

// buffer is the memory of a task that is under way.
type buffer struct{ data []float32 }

// carve returns n floats of the buffer, which grows to its greatest use and stays so.
func (b *buffer) carve(n int) []float32 {
	if len(b.data) < n {
		b.data = make([]float32, n)
	}
	return b.data[:n]
}

var buffers = pool[buffer]{make: func() *buffer { return &buffer{} }}

// attending is a call under way, and the closures over it.
type attending struct {
	a      *Attention
	tier   cpu.Tier
	packed []float32
	blocks int // of queries
	items  int // blocks of a task
	pack   func(int)
	task   func(int)
}

var attends = pool[attending]{make: func() *attending {
	x := &attending{}
	x.pack = func(t int) { x.packKeys(t) }
	x.task = func(t int) { x.run(t) }
	return x
}}

// Run computes Y. It splits over the team by shape only.
func (a *Attention) Run(scratch []byte) {
	n := a.B * a.H * a.T
	if n == 0 || a.Dv == 0 {
		return
	}
	x := attends.get()
	defer attends.put(x)
	x.a, x.tier, x.blocks = a, cpu.Active(), ceilDiv(a.T, a.rows())
	if !a.few() && a.D > 0 && a.S > 0 {
		off := int(-uintptr(unsafe.Pointer(&scratch[0])) & 63)
		x.packed = unsafe.Slice((*float32)(unsafe.Pointer(&scratch[off])), a.B*a.KV*a.kt())
		x.items = max(1, packFloats/a.kt())
		team.Run(ceilDiv(a.B*a.KV, x.items), x.pack)
	}
	work := min(a.T, a.rows()) * a.S * (a.D + a.Dv)
	x.items = min(max(1, minTask/max(work, 1)), a.B*a.H*x.blocks)
	team.Run(ceilDiv(a.B*a.H*x.blocks, x.items), x.task)
	x.a, x.packed = nil, nil
}

func (x *attending) packKeys(t int) {
	a := x.a
	for i := t * x.items; i < min((t+1)*x.items, a.B*a.KV); i++ {
		a.packKeys(x.tier, x.packed[i*a.kt():], i/a.KV, i%a.KV)
	}
}

func (x *attending) run(t int) {
	buf := buffers.get()
	defer buffers.put(buf)
	a := x.a
	for i := t * x.items; i < min((t+1)*x.items, a.B*a.H*x.blocks); i++ {
		bh, t0 := i/x.blocks, i%x.blocks*a.rows()
		if b, h := bh/a.H, bh%a.H; a.few() {
			x.each(buf, b, h)
		} else {
			x.block(buf, b, h, t0, min(a.rows(), a.T-t0))
		}
	}
}

// block computes n queries from t0 on.
func (x *attending) block(buf *buffer, b, h, t0, n int) {
	a := x.a
	ld := a.ld()
	mem := buf.carve(queryBlock * (ld + a.D + 2))
	s, mem := mem[:queryBlock*ld], mem[queryBlock*ld:]
	top, sum := mem[:n], mem[queryBlock:][:n]
	q, ldq := a.queries(mem[2*queryBlock:], b, h, t0, n)
	for i := 0; i < n; i++ {
		top[i], sum[i] = float32(math.Inf(-1)), 0
	}
	lo, hi := a.span(b, t0, n)
	first := true
	for k0 := lo / keyBlock * keyBlock; k0 < hi; k0 += keyBlock {
		w := min(keyBlock, hi-k0)
		x.scores(s, q, ldq, b, h, k0, w, n)
		for i := 0; i < n; i++ {
			x.weigh(s[i*ld:][:ld], b, h, t0+i, k0, w, &top[i], &sum[i], first)
		}
		x.values(s, b, h, t0, k0, w, n, first)
		first = false
	}
	for i := 0; i < n; i++ {
		a.finish(b, h, t0+i, top[i], sum[i])
	}
}

// queries are n queries from t0 on and the distance between them: copies in mem where the rows would fall on each
// other in the cache.
func (a *Attention) queries(mem []float32, b, h, t0, n int) (q []float32, ld int) {
	if a.AtQ.T%aliasing != 0 {
		return a.Q[a.AtQ.At(b, h, t0):], a.AtQ.T
	}
	for i := 0; i < n; i++ {
		copy(mem[i*a.D:(i+1)*a.D], a.Q[a.AtQ.At(b, h, t0+i):])
	}
	return mem, a.D
}

// packKeys transposes the keys of one head into panels, times the scale.
func (a *Attention) packKeys(tier cpu.Tier, dst []float32, b, kv int) {
	packPanels(tier, dst, a.D*panel, a.K[a.AtK.At(b, kv, 0):], a.AtK.T, true, a.S, 0, panels(a.S), 0, a.D)
	MapScalar(Mul, dst[:a.kt()], dst[:a.kt()], a.Scale)
}

// span is the range of keys that any of n queries from t0 on sees.
func (a *Attention) span(b, t0, n int) (lo, hi int) {
	lo, hi = a.Keys(b, t0)
	if !a.Causal && a.Left < 0 && a.Right < 0 {
		return lo, hi
	}
	for i := 1; i < n; i++ {
		l, h := a.Keys(b, t0+i)
		if h > l {
			lo, hi = min(lo, l), max(hi, h)
		}
	}
	return lo, hi
}

// scores are the products of n queries with w keys from k0 on.
func (x *attending) scores(s, q []float32, ldq, b, h, k0, w, n int) {
	a := x.a
	kt := x.packed[(b*a.KV+h*a.KV/a.H)*a.kt():]
	for j := 0; j < w; j += panel {
		k := operand{data: kt[(k0+j)*a.D:], row: panel, width: panel, padded: true}
		gemmRows(x.tier, n, a.D, q, ldq, 1, k, s[j:], a.ld(), fromZero, nil)
	}
}

// bias applies the cap and the mask to the scores of one query with len(s) keys from k0 on.
func (a *Attention) bias(s []float32, b, h, t, k0 int) {
	if a.Softcap != 0 {
		MapScalar(Div, s, s, a.Softcap)
		Activate(ActTanh, s, s, 0, 0)
		MapScalar(Mul, s, s, a.Softcap)
	}
	at := b*a.AtMask[0] + h*a.AtMask[1] + t*a.AtMask[2] + k0*a.AtMask[3]
	switch {
	case a.Mask != nil && a.AtMask[3] == 0:
		MapScalar(Add, s, s, a.Mask[at])
	case a.Mask != nil:
		Map2(Add, s, s, a.Mask[at:][:len(s)])
	case a.Seen != nil:
		for j := range s {
			if a.Seen[at+j*a.AtMask[3]] == 0 {
				s[j] = float32(math.Inf(-1))
			}
		}
	}
}

// window leaves the scores of the keys that query t sees, pads them with -inf to a multiple of 16 and
// returns how many there are then, behind skip others that are -inf.
func (a *Attention) window(s []float32, b, h, t, k0, w int) int {
	lo, hi := a.Keys(b, t)
	lo, hi = max(0, lo-k0), min(w, hi-k0)
	if hi <= lo {
		return 0
	}
	a.bias(s[:hi], b, h, t, k0)
	for j := 0; j < lo; j++ {
		s[j] = float32(math.Inf(-1))
	}
	up := (hi + 15) &^ 15
	for j := hi; j < up; j++ {
		s[j] = float32(math.Inf(-1))
	}
	return up
}

// weigh turns the scores of one query into weights relative to the greatest so far, and scales what was
// summed before to that.
func (x *attending) weigh(s []float32, b, h, t, k0, w int, top, sum *float32, first bool) {
	a := x.a
	up := a.window(s, b, h, t, k0, w)
	m := *top
	if up > 0 {
		if r := rowMax(s[:up]); !(m >= r) {
			m = r
		}
	}
	if m == float32(math.Inf(-1)) {
		clear(s[:w])
		return
	}
	if !first && m != *top {
		f := expRef(*top - m)
		*sum *= f
		y := a.Y[a.AtY.At(b, h, t):][:a.Dv]
		MapScalar(Mul, y, y, f)
	}
	if up > 0 {
		*sum += expRow(s[:up], s[:up], m)
	}
	if up < w {
		clear(s[up:w])
	}
	*top = m
}

// values adds the weighted values of a block to Y.
func (x *attending) values(s []float32, b, h, t0, k0, w, n int, first bool) {
	a := x.a
	v := a.V[a.AtV.At(b, h*a.KV/a.H, k0):]
	y := a.Y[a.AtY.At(b, h, t0):]
	for k := 0; k < w; k += kBlock {
		mode := fromC
		if first && k == 0 {
			mode = fromZero
		}
		for j := 0; j < a.Dv; j += panel {
			o := operand{data: v[k*a.AtV.T+j:], row: a.AtV.T, width: min(panel, a.Dv-j)}
			gemmRows(x.tier, n, min(kBlock, w-k), s[k:], a.ld(), 1, o, y[j:], a.AtY.T, mode, nil)
		}
	}
}

// finish divides the values of one query by the sum of their weights: times 1/sum.
func (a *Attention) finish(b, h, t int, top, sum float32) {
	y := a.Y[a.AtY.At(b, h, t):][:a.Dv]
	lse := float32(lowest)
	if top == float32(math.Inf(-1)) {
		clear(y)
	} else {
		MapScalar(Mul, y, y, 1/sum)
		if a.LSE != nil {
			lse = top + float32(detmath.Log(float64(sum)))
		}
	}
	if a.LSE != nil {
		a.LSE[(b*a.H+h)*a.T+t] = lse
	}
}

// each computes all queries of a head one by one: what a decoder does, which has one.
func (x *attending) each(buf *buffer, b, h int) {
	a := x.a
	mem := buf.carve(keyBlock + a.D)
	s, q := mem[:keyBlock], mem[keyBlock:]
	for t := 0; t < a.T; t++ {
		MapScalar(Mul, q, a.Q[a.AtQ.At(b, h, t):][:a.D], a.Scale)
		top, sum := float32(math.Inf(-1)), float32(0)
		lo, hi := a.Keys(b, t)
		first := true
		for k0 := lo / keyBlock * keyBlock; k0 < hi; k0 += keyBlock {
			w := min(keyBlock, hi-k0)
			for j := 0; j < w; j++ {
				s[j] = Dot(q, a.K[a.AtK.At(b, h*a.KV/a.H, k0+j):][:a.D])
			}
			x.weigh(s, b, h, t, k0, w, &top, &sum, first)
			x.values(s, b, h, t, k0, w, 1, first)
			first = false
		}
		a.finish(b, h, t, top, sum)
	}
}
