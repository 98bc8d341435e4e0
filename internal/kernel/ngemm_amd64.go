package kernel

import (
	"unsafe"

	"muster/internal/cpu"
)

// ntile is the argument of a kernel of NGemm; see gen/ngemm.go.
type ntile struct {
	blocks, groups int
	a, aux         unsafe.Pointer
	w, scale, zero unsafe.Pointer
	c              unsafe.Pointer
	crow           int
	mask           uint64
	bias           unsafe.Pointer
}

// nTileRows is the number of rows of a tile at most.
func nTileRows(tier cpu.Tier) int {
	if tier == cpu.AVX2 || tier == cpu.AVX512 && !cpu.HasVNNI() {
		return 2
	}
	return 12
}

// ngemmRows computes a tile of h rows and w columns of panel j.
func ngemmRows(tier cpu.Tier, h int, b *PackedNB, j int, qa []int8, aux, c []float32, ldc, w int, start []float32) {
	if tier == cpu.Ref || b.blocks == 0 {
		ngemmRowsRef(h, b, j, qa, aux, c, ldc, w, start)
		return
	}
	at := j * b.blocks * nPanel
	t := ntile{blocks: b.blocks, groups: b.block * b.bits / 32, a: unsafe.Pointer(&qa[0]), aux: unsafe.Pointer(&aux[0]),
		w: unsafe.Pointer(&b.data[j*b.panelBytes()]), scale: unsafe.Pointer(&b.scale[at]), zero: unsafe.Pointer(&b.zero[at]),
		c: unsafe.Pointer(&c[0]), crow: 4 * ldc, mask: 1<<w - 1, bias: unsafe.Pointer(&start[0])}
	if tier == cpu.AVX512 && cpu.HasVNNI() {
		if b.bits == 4 {
			ngemm512b4(h, &t)
		} else {
			ngemm512b8(h, &t)
		}
		return
	}
	var edge [2 * nPanel]float32
	u := t
	if w < nPanel {
		u.c, u.crow = unsafe.Pointer(&edge), 4*nPanel
	}
	for range 2 {
		ngemm256(b.bits, h, &u)
		u.w, u.scale, u.zero = unsafe.Add(u.w, 32), unsafe.Add(u.scale, 32), unsafe.Add(u.zero, 8)
		u.c, u.bias = unsafe.Add(u.c, 32), unsafe.Add(u.bias, 32)
	}
	for i := 0; i < h && w < nPanel; i++ {
		copy(c[i*ldc:i*ldc+w], edge[i*nPanel:])
	}
}

func ngemm256(bits, h int, t *ntile) {
	switch {
	case bits == 4 && h == 1:
		ngemm256b4x1(t)
	case bits == 4:
		ngemm256b4x2(t)
	case h == 1:
		ngemm256b8x1(t)
	default:
		ngemm256b8x2(t)
	}
}

// quantBlocks is quantBlocksRef for whole blocks.
func quantBlocks(tier cpu.Tier, n, block int, q []int8, aux, x []float32) {
	_, _, _ = q[n*block-1], aux[2*n-1], x[n*block-1]
	if tier == cpu.AVX512 {
		quantBlocks512(n, block/16, &q[0], &aux[0], &x[0])
		return
	}
	quantBlocks256(n, block/8, &q[0], &aux[0], &x[0])
}

// slice writes count rows from row k on of the 16 columns of panel j, all of one block; k is a multiple of 8.
func (p *PackedNB) slice(tier cpu.Tier, dst []float32, k, count, j int) {
	steps := ceilDiv(count*p.bits, 32)
	_ = dst[(steps*32/p.bits-1)*panel+nPanel-1]
	at := (j*p.blocks + k/p.block) * nPanel
	w := &p.data[j*p.panelBytes()+k*nPanel*p.bits/8]
	switch {
	case tier == cpu.AVX512 && p.bits == 4:
		dequant512b4(steps, &dst[0], w, &p.scale[at], &p.zero[at])
	case tier == cpu.AVX512:
		dequant512b8(steps, &dst[0], w, &p.scale[at], &p.zero[at])
	case p.bits == 4:
		dequant256b4(steps, &dst[0], w, &p.scale[at], &p.zero[at])
	default:
		dequant256b8(steps, &dst[0], w, &p.scale[at], &p.zero[at])
	}
}

func ngemm512b4(m int, t *ntile) {
	switch m {
	case 1:
		ngemm512b4x1(t)
	case 2:
		ngemm512b4x2(t)
	case 3:
		ngemm512b4x3(t)
	case 4:
		ngemm512b4x4(t)
	case 5:
		ngemm512b4x5(t)
	case 6:
		ngemm512b4x6(t)
	case 7:
		ngemm512b4x7(t)
	case 8:
		ngemm512b4x8(t)
	case 9:
		ngemm512b4x9(t)
	case 10:
		ngemm512b4x10(t)
	case 11:
		ngemm512b4x11(t)
	case 12:
		ngemm512b4x12(t)
	}
}

func ngemm512b8(m int, t *ntile) {
	switch m {
	case 1:
		ngemm512b8x1(t)
	case 2:
		ngemm512b8x2(t)
	case 3:
		ngemm512b8x3(t)
	case 4:
		ngemm512b8x4(t)
	case 5:
		ngemm512b8x5(t)
	case 6:
		ngemm512b8x6(t)
	case 7:
		ngemm512b8x7(t)
	case 8:
		ngemm512b8x8(t)
	case 9:
		ngemm512b8x9(t)
	case 10:
		ngemm512b8x10(t)
	case 11:
		ngemm512b8x11(t)
	case 12:
		ngemm512b8x12(t)
	}
}
