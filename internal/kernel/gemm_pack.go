package kernel

import (
	"unsafe"

	"muster/internal/cpu"
	"muster/internal/team"
)

// PackedB is op(B) in panels of 32 columns: [ceil(N/32)][K][32], padded with zeros.
type PackedB struct {
	n, k int
	data []float32
}

// PackB packs op(B) [k, n] once, for weights that are used again and again.
func PackB(b []float32, ldb int, trans bool, n, k int) *PackedB {
	p := &PackedB{n: n, k: k, data: aligned64(panels(n) * k * panel)}
	tier := cpu.Active()
	team.Run(panels(n), func(j int) { packPart(tier, p.data[j*k*panel:], b, ldb, trans, n, j, 0, k) })
	return p
}

func panels(n int) int { return (n + panel - 1) / panel }

// aligned64 returns n zeros that start at a multiple of 64 bytes.
func aligned64(n int) []float32 {
	b := make([]float32, n+16)
	off := int(-uintptr(unsafe.Pointer(&b[0]))&63) / 4
	return b[off : off+n : off+n]
}

// packPart writes rows k0 to k0+kc of panel j of op(B) to dst [kc][32].
func packPart(tier cpu.Tier, dst, b []float32, ldb int, trans bool, n, j, k0, kc int) {
	j0 := j * panel
	w := min(panel, n-j0)
	if kc == 0 {
		return
	}
	if trans {
		transpose(tier, dst, panel, b[j0*ldb+k0:], ldb, w, kc)
	} else if copyPanel(tier, kc, w, dst, b[k0*ldb+j0:], ldb) {
		return
	} else {
		for i := 0; i < kc; i++ {
			at := (k0+i)*ldb + j0
			copy(dst[i*panel:i*panel+w], b[at:at+w])
		}
	}
	if w < panel {
		for i := 0; i < kc; i++ {
			clear(dst[i*panel+w : (i+1)*panel])
		}
	}
}

// transpose is dst[c*ldd+r] = src[r*lds+c] for rows x cols elements of src.
func transpose(tier cpu.Tier, dst []float32, ldd int, src []float32, lds, rows, cols int) {
	whole := cols &^ 15
	if tier == cpu.Ref {
		whole = 0
	}
	r := 0
	for ; r+16 <= rows && whole > 0; r += 16 {
		transposeBlocks(tier, whole/16, dst[r:], ldd, src[r*lds:], lds)
		if whole < cols {
			transposeRef(dst[whole*ldd+r:], ldd, src[r*lds+whole:], lds, 16, cols-whole)
		}
	}
	if r < rows {
		transposeRef(dst[r:], ldd, src[r*lds:], lds, rows-r, cols)
	}
}

// transposeRef is the meaning of transpose.
func transposeRef[T uint8 | uint16 | float32](dst []T, ldd int, src []T, lds, rows, cols int) {
	for r := 0; r < rows; r++ {
		for c, v := range src[r*lds : r*lds+cols] {
			dst[c*ldd+r] = v
		}
	}
}

// Work of one packing task: rows of A, or panels and k of B.
const (
	packRows  = 64
	packGroup = 8
)

// ScratchBytes returns the scratch that Run needs.
func (g *Gemm) ScratchBytes() int {
	a, b := g.scratch()
	if a+b == 0 {
		return 0
	}
	return 4*(a+b) + 64
}

// scratch is the number of elements for copies of A and B.
func (g *Gemm) scratch() (a, b int) {
	batch := max(g.Batch, 1)
	if g.copiesA() {
		a = batch * g.M * g.rowsOfA()
	}
	if g.form() == packed {
		if g.StrideB == 0 {
			batch = 1
		}
		b = batch * panels(g.N) * g.K * panel
	}
	return a, b
}

// carve gives the copies their places in scratch.
func (r *run) carve(scratch []byte) {
	if r.form == given {
		r.packed = r.Packed.data
	}
	a, b := r.scratch()
	if a+b == 0 {
		return
	}
	off := int(-uintptr(unsafe.Pointer(&scratch[0])) & 63)
	all := unsafe.Slice((*float32)(unsafe.Pointer(&scratch[off])), (len(scratch)-off)/4)
	if b > 0 {
		r.packed = all[:b] // a multiple of 64 bytes
	}
	if a > 0 {
		r.a, r.kp = all[b:b+a], r.rowsOfA()
	}
}

// packsA and packsB are the numbers of tasks that copy A and B.
func (r *run) packsA() int {
	if !r.copyA {
		return 0
	}
	return r.batch * ceilDiv(r.M, packRows)
}

func (r *run) packsB() int {
	if r.form != packed {
		return 0
	}
	n := ceilDiv(r.nj, packGroup) * ceilDiv(r.steps, kBlock)
	if r.StrideB != 0 {
		n *= r.batch
	}
	return n
}

func (r *run) packTasks() int { return r.packsA() + r.packsB() }

// pack does packing task t.
func (r *run) pack(t int) {
	if n := r.packsA(); t < n {
		r.packA(t)
	} else {
		r.packB(t - n)
	}
}

func (r *run) packA(t int) {
	blocks := ceilDiv(r.M, packRows)
	item, i0 := t/blocks, t%blocks*packRows
	n := min(packRows, r.M-i0)
	dst := r.a[(item*r.M+i0)*r.kp:]
	switch r.half {
	case bfloat16:
		r.pairA(dst, item, i0, n)
		return
	case rounded:
		defer RoundBF16(dst[:n*r.kp])
	}
	if r.TransA {
		transpose(r.tier, dst, r.kp, r.A[item*r.StrideA+i0:], r.LDA, r.K, n)
		return
	}
	for i := 0; i < n; i++ {
		at := item*r.StrideA + (i0+i)*r.LDA
		copy(dst[i*r.kp:i*r.kp+r.K], r.A[at:at+r.K])
	}
}

// packB packs a few panels over a block of k, row by row so that B is read in the order of memory.
func (r *run) packB(t int) {
	js, ks := ceilDiv(r.nj, packGroup), ceilDiv(r.steps, kBlock)
	j0, k0, item := t%js*packGroup, t/js%ks*kBlock, t/js/ks
	n := min(packGroup, r.nj-j0)
	r.packPanels(r.packed[((item*r.nj+j0)*r.steps+k0)*panel:], r.steps*panel, r.B[item*r.StrideB:], j0, n, k0, min(kBlock, r.steps-k0))
}

// packPanels packs rows k0 to k0+kc of the panels j0 to j0+count to dst, stride elements apart. It goes through
// a plain B in the order of memory, a few rows at a time.
func packPanels(tier cpu.Tier, dst []float32, stride int, b []float32, ldb int, trans bool, n, j0, count, k0, kc int) {
	step := packStep(trans, count, kc)
	for k := 0; k < kc; k += step {
		for j := range count {
			packPart(tier, dst[j*stride+k*panel:], b, ldb, trans, n, j0+j, k0+k, min(step, kc-k))
		}
	}
}

// packStep is the number of rows of several panels that are packed before the next ones.
func packStep(trans bool, count, kc int) int {
	if !trans && count > 1 {
		return 8
	}
	return max(1, kc)
}

// packPanels is packPanels in the form of this call.
func (r *run) packPanels(dst []float32, stride int, b []float32, j0, count, k0, kc int) {
	if r.half != bfloat16 {
		packPanels(r.tier, dst, stride, b, r.LDB, r.TransB, r.N, j0, count, k0, kc)
		for j := 0; j < count && r.half == rounded; j++ {
			RoundBF16(dst[j*stride : j*stride+kc*panel])
		}
		return
	}
	step := packStep(r.TransB, count, kc)
	for k := 0; k < kc; k += step {
		for j := range count {
			pairPart(r.tier, dst[j*stride+k*panel:], b, r.LDB, r.TransB, r.N, r.K, j0+j, k0+k, min(step, kc-k))
		}
	}
}

// slice is the part of a few panels of B that a task works on.
type slice struct {
	data [slicePanels*kBlock*panel + 16]float32
}

// aligned is its place for data.
func (s *slice) aligned() []float32 {
	off := int(-uintptr(unsafe.Pointer(&s.data))&63) / 4
	return s.data[off : off+slicePanels*kBlock*panel]
}
