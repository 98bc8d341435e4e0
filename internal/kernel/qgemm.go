package kernel

import (
	"muster/internal/cpu"
	"muster/internal/team"
)

// QGemm is an integer matrix product: C[i,n] = sum over k of (A[i,k] - ZeroA) * B[k,n],
// A uint8 [M, K] row-major, B int8 [K, N] packed, C int32 [M, N]. It is exact as long as
// no sum leaves int32, which K < 2^16 guarantees.
type QGemm struct {
	M, N, K int
	A       []uint8
	LDA     int
	ZeroA   uint8
	B       *PackedQB
	C       []int32
	LDC     int
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
	for c := 0; c < n; c++ {
		dst := p.data[c/panel*kq*panel*4+c%panel*4:]
		for i := 0; i < k; i++ {
			v := b[i*ldb*btoi(!trans)+c*btoi(!trans)+(c*ldb+i)*btoi(trans)]
			dst[i/4*panel*4+i%4] = v
			p.sums[c] += int32(v)
		}
	}
	return p
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ScratchBytes returns the scratch that Run needs: a copy of A whose rows are a multiple of four long.
func (g *QGemm) ScratchBytes() int {
	if g.K%4 == 0 {
		return 0
	}
	return g.M * ((g.K + 3) &^ 3)
}

// Run computes the product. It splits over the team by shape only and allocates nothing.
func (g *QGemm) Run(scratch []byte) {
	if g.M == 0 || g.N == 0 {
		return
	}
	r := qrun{QGemm: g, tier: cpu.Active(), a: g.A, lda: g.LDA, kq: (g.K + 3) / 4, nj: panels(g.N)}
	if g.K%4 != 0 {
		r.a, r.lda = padded(scratch, g), 4*r.kq
	}
	r.rows = min(rowBlock, g.M)
	r.mBlocks = (g.M + r.rows - 1) / r.rows
	n := r.mBlocks * r.nj
	if 2*g.M*g.N*g.K < 4*serialFlops {
		for t := 0; t < n; t++ {
			r.tile(t)
		}
		return
	}
	p := qruns.get()
	p.r = r
	team.Run(n, p.tile)
	p.r = qrun{}
	qruns.put(p)
}

// padded copies A into scratch with rows of a multiple of four; the rest meets zeros of B.
func padded(scratch []byte, g *QGemm) []uint8 {
	ld := (g.K + 3) &^ 3
	for i := 0; i < g.M; i++ {
		copy(scratch[i*ld:i*ld+g.K], g.A[i*g.LDA:i*g.LDA+g.K])
	}
	return scratch[:g.M*ld]
}

// qrun is one call under way.
type qrun struct {
	*QGemm
	tier        cpu.Tier
	a           []uint8
	lda, kq, nj int
	rows        int
	mBlocks     int
}

func (r *qrun) tile(t int) {
	j, i0 := t/r.mBlocks, t%r.mBlocks*r.rows
	m := min(r.rows, r.M-i0)
	w := min(panel, r.N-j*panel)
	c := r.C[i0*r.LDC+j*panel:]
	qgemmRows(r.tier, m, r.kq, r.a[min(i0*r.lda, len(r.a)):], r.lda, r.B.data[j*r.kq*panel*4:], w, c, r.LDC)
	if z := int32(r.ZeroA); z != 0 {
		sums := r.B.sums[j*panel : j*panel+w]
		for i := 0; i < m; i++ {
			row := c[i*r.LDC : i*r.LDC+w]
			for n := range row {
				row[n] -= z * sums[n]
			}
		}
	}
}

// qgemmRowsRef is the meaning of qgemmRows: m rows of one panel, kq groups of four k.
func qgemmRowsRef(m, kq int, a []uint8, lda int, b []int8, w int, c []int32, ldc int) {
	for i := 0; i < m; i++ {
		for n := 0; n < w; n++ {
			s := int32(0)
			for k := 0; k < 4*kq; k++ {
				s += int32(a[i*lda+k]) * int32(b[k/4*panel*4+n*4+k%4])
			}
			c[i*ldc+n] = s
		}
	}
}
