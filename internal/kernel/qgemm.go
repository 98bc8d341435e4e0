package kernel

import (
	"encoding/binary"
	"unsafe"

	"muster/internal/cpu"
	"muster/internal/team"
)

// QGemm is an integer matrix product: S[i,n] = sum over k of (A[i,k] - ZeroA) * (B[k,n] - ZeroB[n]),
// A uint8 (or int8) [M, K] row-major, B int8 [K, N] packed, S int32 [M, N]. It is exact as long as no sum
// leaves int32, which K < 2^16 guarantees. What is written is, depending on which is set,
//
//	C = S
//	Y = float32(S) * Scale[n] + Bias[n]
//	Q = clamp(round((float32(S) * Scale[n] + Bias[n]) / ScaleQ) + ZeroQ, 0, 255), or int8 in the same way
type QGemm struct {
	M, N, K int
	A       []uint8
	LDA     int
	SignedA bool // A and ZeroA are int8
	ZeroA   uint8
	B       *PackedQB
	ZeroB   []int32 // [N]; nil: zeros

	C   []int32
	LDC int

	Y           []float32
	LDY         int
	Scale, Bias []float32 // [N]

	Q       []uint8
	LDQ     int
	SignedQ bool // Q and ZeroQ are int8
	ScaleQ  float32
	ZeroQ   uint8
}

// PackedQB is an int8 matrix [K, N] in panels of 32 columns: [ceil(N/32)][ceil(K/4)][32][4],
// padded with zeros, with the sum of every column.
type PackedQB struct {
	n, k int
	data []int8
	sums []int32 // [panels*32]
}

// PackQB packs b, stored [k, n] or, with trans, [n, k].
func PackQB(b []int8, ldb int, trans bool, n, k int) *PackedQB {
	kq := (k + 3) / 4
	p := &PackedQB{n: n, k: k, data: make([]int8, panels(n)*kq*panel*4+4*panel), sums: make([]int32, panels(n)*panel)}
	kstep, nstep := ldb, 1
	if trans {
		kstep, nstep = 1, ldb
	}
	team.Run(panels(n), func(j int) {
		dst := p.data[j*kq*panel*4:]
		for c := j * panel; c < min((j+1)*panel, n); c++ {
			at, sum := 4*(c%panel), int32(0)
			for i := range k {
				v := b[i*kstep+c*nstep]
				dst[i/4*panel*4+at+i%4] = v
				sum += int32(v)
			}
			p.sums[c] = sum
		}
	})
	return p
}

// copiesA reports whether the product works on a copy of A whose rows are uint8 and a multiple of four long.
func (g *QGemm) copiesA() bool { return g.K%4 != 0 || g.SignedA }

// ScratchBytes returns the scratch that Run needs.
func (g *QGemm) ScratchBytes() int {
	if !g.copiesA() {
		return 0
	}
	return g.M * ((g.K + 3) &^ 3)
}

// qPanels is the number of panels of one task: its rows are finished in pieces of 256 columns.
const qPanels = 8

// Run computes the product. It splits over the team by shape only and allocates nothing.
func (g *QGemm) Run(scratch []byte) {
	if g.M == 0 || g.N == 0 {
		return
	}
	r := qrun{QGemm: g, tier: cpu.Active(), a: g.A, lda: g.LDA, kq: (g.K + 3) / 4, nj: panels(g.N), zero: int32(g.ZeroA)}
	if g.SignedA {
		r.zero = int32(int8(g.ZeroA)) + 128
	}
	if g.copiesA() {
		r.a, r.lda = scratch[:g.ScratchBytes()], 4*r.kq
	}
	r.mBlocks = ceilDiv(g.M, rowBlock)
	r.rows = ceilDiv(g.M, r.mBlocks)
	r.jStep = min(max(1, 4*minTask/max(1, r.rows*g.K*panel)), qPanels, r.nj)
	if g.C == nil {
		r.jStep = min(max(r.jStep, 4), r.nj)
	}
	n := r.mBlocks * ceilDiv(r.nj, r.jStep)
	if 2*g.M*g.N*g.K < 4*serialFlops {
		for t := 0; t < r.copies(); t++ {
			r.copyA(t)
		}
		for t := 0; t < n; t++ {
			r.task(t)
		}
		return
	}
	p := qruns.get()
	p.r = r
	team.Run(r.copies(), p.copyA)
	team.Run(n, p.task)
	p.r = qrun{}
	qruns.put(p)
}

// qrun is one call under way.
type qrun struct {
	*QGemm
	tier        cpu.Tier
	a           []uint8
	lda, kq, nj int
	zero        int32 // of a
	rows        int
	mBlocks     int
	jStep       int
}

// copies is the number of tasks that copy A.
func (r *qrun) copies() int {
	if !r.copiesA() {
		return 0
	}
	return ceilDiv(r.M, packRows)
}

// copyA copies rows of A; what is behind them meets zeros of B. A signed byte becomes unsigned by adding 128.
func (r *qrun) copyA(t int) {
	for i := t * packRows; i < min((t+1)*packRows, r.M); i++ {
		dst, src := r.a[i*r.lda:(i+1)*r.lda], r.A[i*r.LDA:i*r.LDA+r.K]
		clear(dst[copy(dst, src):])
		if !r.SignedA {
			continue
		}
		k := 0
		for ; k+8 <= len(dst); k += 8 {
			binary.LittleEndian.PutUint64(dst[k:], binary.LittleEndian.Uint64(dst[k:])^0x8080808080808080)
		}
		for ; k < len(dst); k++ {
			dst[k] ^= 0x80
		}
	}
}

// qbuffer is what one task works with.
type qbuffer struct {
	start [qPanels * panel]int32            // of the sums of every column
	sums  [rowBlock * qPanels * panel]int32 // if they have no place in the result
	y     [qPanels * panel]float32
}

func (r *qrun) task(t int) {
	i0, j0 := t%r.mBlocks*r.rows, t/r.mBlocks*r.jStep
	m, j1 := min(r.rows, r.M-i0), min(j0+r.jStep, r.nj)
	n0 := j0 * panel
	w := min(j1*panel, r.N) - n0
	b := qbuffers.get()
	defer qbuffers.put(b)
	c, ldc := b.sums[:], r.jStep*panel
	switch {
	case r.C != nil:
		c, ldc = r.C[i0*r.LDC+n0:], r.LDC
	case r.Y != nil: // the sums have the size of the results
		y := r.Y[i0*r.LDY+n0:]
		c, ldc = unsafe.Slice((*int32)(unsafe.Pointer(&y[0])), len(y)), r.LDY
	}
	for n := range w {
		b.start[n] = -r.zero * r.B.sums[n0+n]
	}
	a := r.a[min(i0*r.lda, len(r.a)):]
	for j := j0; j < j1; j++ {
		n := (j - j0) * panel
		qgemmRows(r.tier, m, r.kq, a, r.lda, r.B.data[j*r.kq*panel*4:], min(panel, w-n), c[n:], ldc, b.start[n:n+panel])
	}
	if r.ZeroB != nil {
		r.subtractZeroB(i0, m, n0, w, c, ldc)
	}
	if r.C == nil {
		r.finish(b, i0, m, n0, w, c, ldc)
	}
}

// subtractZeroB is for B - zb: its part of a sum is -zb times the sum of A - za.
func (r *qrun) subtractZeroB(i0, m, n0, w int, c []int32, ldc int) {
	for i := range m {
		sum := sumBytes(r.a[(i0+i)*r.lda:][:r.K]) - int32(r.K)*r.zero
		row, z := c[i*ldc:i*ldc+w], r.ZeroB[n0:n0+w]
		for n := range row {
			row[n] -= z[n] * sum
		}
	}
}

// sumBytes adds bytes, eight at a time in 16-bit lanes that cannot overflow.
func sumBytes(x []uint8) int32 {
	const low = 0x00ff00ff00ff00ff
	sum, lanes, n := int32(0), uint64(0), 0
	fold := func() {
		for ; lanes != 0; lanes >>= 16 {
			sum += int32(lanes & 0xffff)
		}
		n = 0
	}
	for ; len(x) >= 8; x = x[8:] {
		v := binary.LittleEndian.Uint64(x)
		lanes += v&low + v>>8&low
		if n++; n == 128 {
			fold()
		}
	}
	fold()
	for _, v := range x {
		sum += int32(v)
	}
	return sum
}

// finish turns sums into Y or Q.
func (r *qrun) finish(b *qbuffer, i0, m, n0, w int, c []int32, ldc int) {
	scale, bias := r.Scale[n0:n0+w], r.Bias[n0:n0+w]
	for i := range m {
		sums := c[i*ldc : i*ldc+w]
		if r.Y != nil {
			DequantAcc(r.Y[(i0+i)*r.LDY+n0:][:w], sums, 1, w, scale, bias)
			continue
		}
		y, q := b.y[:w], r.Q[(i0+i)*r.LDQ+n0:][:w]
		DequantAcc(y, sums, 1, w, scale, bias)
		if !r.SignedQ {
			QuantizeU8(q, y, r.ScaleQ, r.ZeroQ)
			continue
		}
		QuantizeU8(q, y, r.ScaleQ, r.ZeroQ^0x80)
		for n := range q {
			q[n] ^= 0x80
		}
	}
}

// qgemmRowsRef is the meaning of qgemmRows: m rows of one panel, kq groups of four k; start has 32 entries.
func qgemmRowsRef(m, kq int, a []uint8, lda int, b []int8, w int, c []int32, ldc int, start []int32) {
	for i := 0; i < m; i++ {
		for n := 0; n < w; n++ {
			s := start[n]
			for k := 0; k < 4*kq; k++ {
				s += int32(a[i*lda+k]) * int32(b[k/4*panel*4+n*4+k%4])
			}
			c[i*ldc+n] = s
		}
	}
}

// Span returns the least and the greatest of 0 and the elements of x; NaN is passed over.
func Span(x []float32) (lo, hi float32) {
	n := 0
	if fast() {
		if n = len(x) &^ 63; n > 0 {
			lo, hi = spanBlocks(n, x)
		}
	}
	for _, v := range x[n:] {
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	return lo, hi
}
