package kernel

import (
	"unsafe"

	"muster/internal/cpu"
	"muster/internal/team"
)

// Gemm is one matrix product, or a batch of them: C = op(A) x op(B), row-major float32.
//
//	op(A) is [M, K]: A[i*LDA+k], or A[k*LDA+i] with TransA
//	op(B) is [K, N]: B[k*LDB+n], or B[n*LDB+k] with TransB
//	C[i*LDC+n] = start + sum over k of op(A)[i,k] * op(B)[k,n]
//
// Every element of C is one chain of fused multiply-adds over k = 0, 1, ..., K-1 that
// starts from 0, from Bias[n], or from the C that is there (Accumulate). That order
// holds on every tier, for every number of threads and for every blocking.
type Gemm struct {
	M, N, K    int
	A          []float32
	LDA        int
	TransA     bool
	B          []float32
	LDB        int
	TransB     bool
	C          []float32
	LDC        int
	Accumulate bool
	Bias       []float32 // [N] or nil
	Packed     *PackedB  // op(B) packed before; B is not read then
	Batch      int       // products; 0 is 1
	StrideA    int       // elements between the matrices of a batch
	StrideB    int
	StrideC    int
}

// panel is the width of a packed panel of B in columns.
const panel = 32

// kBlock is the number of k steps of one pass over a tile, so that a panel of B stays in the cache.
const kBlock = 256

// PackedB is op(B) in panels of 32 columns: [ceil(N/32)][K][32], padded with zeros.
type PackedB struct {
	n, k int
	data []float32
}

// PackB packs op(B) [k, n] once, for weights that are used again and again.
func PackB(b []float32, ldb int, trans bool, n, k int) *PackedB {
	p := &PackedB{n: n, k: k, data: make([]float32, panels(n)*k*panel+16)}
	for j := 0; j < panels(n); j++ {
		packPanel(p.data[j*k*panel:], b, ldb, trans, n, k, j)
	}
	return p
}

func panels(n int) int { return (n + panel - 1) / panel }

// packPanel writes panel j of op(B).
func packPanel(dst, b []float32, ldb int, trans bool, n, k, j int) {
	j0 := j * panel
	w := min(panel, n-j0)
	if trans {
		for c := 0; c < w; c++ {
			src := b[(j0+c)*ldb : (j0+c)*ldb+k]
			for i, v := range src {
				dst[i*panel+c] = v
			}
		}
	} else {
		for i := 0; i < k; i++ {
			copy(dst[i*panel:i*panel+w], b[i*ldb+j0:i*ldb+j0+w])
		}
	}
	if w < panel {
		for i := 0; i < k; i++ {
			clear(dst[i*panel+w : (i+1)*panel])
		}
	}
}

// packs reports whether B is packed for this call: always for a transposed B, and
// for a plain one if every panel is read often enough to pay for it. The choice
// depends on the shape alone.
func (g *Gemm) packs() bool {
	return g.Packed == nil && (g.TransB || g.M >= 128 && g.K*g.N >= 1<<13 || g.N%panel != 0 && g.M >= 4)
}

// ScratchBytes returns the scratch that Run needs.
func (g *Gemm) ScratchBytes() int {
	if !g.packs() {
		return 0
	}
	n := max(g.Batch, 1)
	if g.StrideB == 0 {
		n = 1
	}
	return 4*n*panels(g.N)*g.K*panel + 64
}

// serialFlops is the work below which a second thread cannot help.
const serialFlops = 1 << 17

// rowBlock is the number of rows of one task; a multiple of 14 and of 6.
const rowBlock = 168

// Run computes the product. It splits over the team by shape only and allocates nothing.
func (g *Gemm) Run(scratch []byte) {
	if g.M == 0 || g.N == 0 {
		return
	}
	r := run{Gemm: g, tier: cpu.Active(), batch: max(g.Batch, 1), nj: panels(g.N)}
	if g.packs() {
		off := int(-uintptr(unsafe.Pointer(&scratch[0])) & 63)
		r.packed = unsafe.Slice((*float32)(unsafe.Pointer(&scratch[off])), (len(scratch)-off)/4)
	} else if g.Packed != nil {
		r.packed = g.Packed.data
	}
	r.plan()
	if 2*g.M*g.N*g.K*r.batch < serialFlops {
		if g.packs() {
			for t := 0; t < r.packTasks(); t++ {
				r.pack(t)
			}
		}
		for t := 0; t < r.tasks; t++ {
			r.tile(t)
		}
		return
	}
	r.parallel()
}

// run is one call under way.
type run struct {
	*Gemm
	tier      cpu.Tier
	batch, nj int
	packed    []float32
	rows      int // rows of a task
	mBlocks   int // tasks over rows
	jStep     int // panels of a task
	jBlocks   int // tasks over panels
	items     int // batch items of a task
	tasks     int
}

// plan chooses the tasks: about 2^18 multiply-adds each, at least.
func (r *run) plan() {
	r.rows = min(rowBlock, r.M)
	r.mBlocks = (r.M + r.rows - 1) / r.rows
	r.jStep, r.items = r.nj, 1
	if work := r.rows * r.K * panel; work > 0 {
		r.jStep = min(max(1, (1<<18)/work), r.nj)
		if one := work * r.nj * r.mBlocks; one < 1<<17 {
			r.items = min(max(1, (1<<17)/one), r.batch)
		}
	}
	r.jBlocks = (r.nj + r.jStep - 1) / r.jStep
	r.tasks = r.mBlocks * r.jBlocks * ((r.batch + r.items - 1) / r.items)
}

// parallel runs the phases on the team. It is kept out of Run so that small products need no closures.
func (r *run) parallel() {
	p := runs.get()
	p.r = *r
	if r.packs() {
		team.Run(r.packTasks(), p.pack)
	}
	team.Run(r.tasks, p.tile)
	p.r = run{}
	runs.put(p)
}

// packTasks is the number of panels to pack.
func (r *run) packTasks() int {
	if r.StrideB == 0 {
		return r.nj
	}
	return r.nj * r.batch
}

func (r *run) pack(t int) {
	item, j := t/r.nj, t%r.nj
	packPanel(r.packed[(item*r.nj+j)*r.K*panel:], r.B[item*r.StrideB:], r.LDB, r.TransB, r.N, r.K, j)
}

// tile computes the tiles of task t.
func (r *run) tile(t int) {
	im, rest := t%r.mBlocks, t/r.mBlocks
	jb, ib := rest%r.jBlocks, rest/r.jBlocks
	i0 := im * r.rows
	i1 := min(i0+r.rows, r.M)
	for item := ib * r.items; item < min((ib+1)*r.items, r.batch); item++ {
		for k0 := 0; k0 == 0 || k0 < r.K; k0 += kBlock {
			for j := jb * r.jStep; j < min((jb+1)*r.jStep, r.nj); j++ {
				r.block(item, j, k0, min(kBlock, r.K-k0), i0, i1)
			}
		}
	}
}

// block computes rows i0 to i1 of panel j over k0 to k0+kc.
func (r *run) block(item, j, k0, kc, i0, i1 int) {
	b := operand{width: min(panel, r.N-j*panel), row: panel}
	if r.packed != nil {
		n := item
		if r.Packed != nil || r.StrideB == 0 {
			n = 0
		}
		b.data, b.padded = r.packed[((n*r.nj+j)*r.K+k0)*panel:], true
	} else if kc > 0 {
		b.data, b.row = r.B[item*r.StrideB+k0*r.LDB+j*panel:], r.LDB
	}
	mode := fromZero
	switch {
	case k0 > 0 || r.Accumulate:
		mode = fromC
	case r.Bias != nil:
		mode = fromBias
	}
	arow, acol := r.LDA, 1
	if r.TransA {
		arow, acol = 1, r.LDA
	}
	a := r.A[min(item*r.StrideA+i0*arow+k0*acol, len(r.A)):]
	c := r.C[item*r.StrideC+i0*r.LDC+j*panel:]
	var bias []float32
	if r.Bias != nil {
		bias = r.Bias[j*panel:]
	}
	gemmRows(r.tier, i1-i0, kc, a, arow, acol, b, c, r.LDC, mode, bias)
}

// operand is a panel of B: k rows of up to 32 columns.
type operand struct {
	data   []float32
	row    int  // elements between rows
	width  int  // columns
	padded bool // 32 columns can be read in every row
}

// Where the chain of a tile starts.
const (
	fromZero = iota
	fromC
	fromBias
)
