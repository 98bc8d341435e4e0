package kernel

import (
	"unsafe"

	"muster/internal/cpu"
)

// tile is the argument of a micro-kernel; strides are in bytes.
type tile struct {
	k          int
	a          unsafe.Pointer
	arow, acol int
	b          unsafe.Pointer
	brow       int
	c          unsafe.Pointer
	crow       int
	mask       uint64
	mode       int
	bias       unsafe.Pointer
	count      int // tiles below each other, and from one to the next:
	adown      int
	cdown      int
}

// gemmRows computes m rows of one panel.
func gemmRows(tier cpu.Tier, m, k int, a []float32, arow, acol int, b operand, c []float32, ldc, mode int, bias []float32) {
	if tier == cpu.Ref {
		gemmRowsRef(m, k, a, arow, acol, b, c, ldc, mode, bias)
		return
	}
	t := tile{k: k, arow: 4 * arow, acol: 4 * acol, brow: 4 * b.row, crow: 4 * ldc, mode: mode,
		a: unsafe.Pointer(&zeros), b: unsafe.Pointer(&zeros), bias: unsafe.Pointer(&zeros)}
	if k > 0 {
		t.a, t.b = unsafe.Pointer(&a[0]), unsafe.Pointer(&b.data[0])
	}
	t.c = unsafe.Pointer(&c[0])
	if tier == cpu.AVX512 {
		t.mask = 1<<b.width - 1
		if mode == fromBias {
			t.bias = unsafe.Pointer(&bias[0])
		}
		if b.width <= 16 {
			narrowRows512(&t, m)
		} else {
			gemmRows512(&t, m)
		}
		return
	}
	for n := 0; n < b.width; n += 16 {
		gemmHalf256(t, m, n, b, bias)
	}
}

// tall is the number of rows of a tile if m rows are split evenly into as few tiles of at most top rows as possible.
func tall(m, top int) int { return ceilDiv(m, ceilDiv(m, top)) }

// rows prepares tiles of h rows, as many as fit into m, and returns the rows that are left.
func (t *tile) rows(h, m int) (rest int) {
	t.count, t.adown, t.cdown = m/h, h*t.arow, h*t.crow
	return m % h
}

// down moves to the next tile after the last one that was computed.
func (t *tile) down() {
	t.a, t.c, t.count = unsafe.Add(t.a, t.adown), unsafe.Add(t.c, t.cdown), 1
}

// gemmRows512 goes down the rows in tiles of nearly equal height.
func gemmRows512(t *tile, m int) {
	h := tall(m, 14)
	rest := t.rows(h, m)
	gemm512(h, t)
	if rest > 0 {
		t.down()
		gemm512(rest, t)
	}
}

// gemmHalf256 computes columns n to n+16 of a panel with AVX2.
func gemmHalf256(t tile, m, n int, b operand, bias []float32) {
	w := min(16, b.width-n)
	t.c = unsafe.Add(t.c, 4*n)
	if t.k > 0 {
		t.b = unsafe.Add(t.b, 4*n)
	}
	if w < 16 {
		gemmEdge256(t, m, n, w, b, bias)
		return
	}
	if t.mode == fromBias {
		t.bias = unsafe.Pointer(&bias[n])
	}
	h := tall(m, 6)
	rest := t.rows(h, m)
	gemm256(h, &t)
	if rest > 0 {
		t.down()
		gemm256(rest, &t)
	}
}

// gemmEdge256 is for w < 16 columns, which cannot be read and written whole: it works on copies.
func gemmEdge256(t tile, m, n, w int, b operand, bias []float32) {
	if t.k > 0 && !b.padded {
		s := slices.get()
		defer slices.put(s)
		bcopy := s.aligned()
		for p := 0; p < t.k; p++ {
			copy(bcopy[16*p:16*p+w], b.data[p*b.row+n:p*b.row+n+w])
		}
		t.b, t.brow = unsafe.Pointer(&bcopy[0]), 64
	}
	var bi [16]float32
	if t.mode == fromBias {
		copy(bi[:w], bias[n:n+w])
		t.bias = unsafe.Pointer(&bi)
	}
	h := tall(m, 6)
	var ccopy [6 * 16]float32
	for i0 := 0; i0 < m; i0 += h {
		q := min(h, m-i0)
		u := t
		u.a, u.c, u.crow, u.count = unsafe.Add(t.a, i0*t.arow), unsafe.Pointer(&ccopy), 64, 1
		for i := 0; i < q; i++ {
			copy(ccopy[16*i:16*i+w], unsafe.Slice((*float32)(unsafe.Add(t.c, (i0+i)*t.crow)), w))
		}
		gemm256(q, &u)
		for i := 0; i < q; i++ {
			copy(unsafe.Slice((*float32)(unsafe.Add(t.c, (i0+i)*t.crow)), w), ccopy[16*i:16*i+w])
		}
	}
}

// axpy8 adds eight products of a with rows of b to y, whose length is a positive multiple of 16.
func axpy8(tier cpu.Tier, y, a []float32, acol int, b []float32, ldb int) {
	_, _ = a[7*acol], b[7*ldb+len(y)-1]
	if tier == cpu.AVX512 {
		axpy512(len(y), &y[0], &a[0], 4*acol, &b[0], 4*ldb)
		return
	}
	axpy256(len(y), &y[0], &a[0], 4*acol, &b[0], 4*ldb)
}

// transposeBlocks moves n blocks of 16 x 16 elements; see transpose.
func transposeBlocks(tier cpu.Tier, n int, dst []float32, ldd int, src []float32, lds int) {
	_, _ = dst[(16*n-1)*ldd+15], src[15*lds+16*n-1]
	if tier == cpu.AVX512 {
		transpose512(n, &dst[0], 4*ldd, &src[0], 4*lds)
		return
	}
	transpose256(n, &dst[0], 4*ldd, &src[0], 4*lds)
}

// gemm512 calls the AVX-512 kernel of m rows. A switch, not a table: a call through a
// function value would move the tile to the heap.
func gemm512(m int, t *tile) {
	switch m {
	case 1:
		gemm512x1(t)
	case 2:
		gemm512x2(t)
	case 3:
		gemm512x3(t)
	case 4:
		gemm512x4(t)
	case 5:
		gemm512x5(t)
	case 6:
		gemm512x6(t)
	case 7:
		gemm512x7(t)
	case 8:
		gemm512x8(t)
	case 9:
		gemm512x9(t)
	case 10:
		gemm512x10(t)
	case 11:
		gemm512x11(t)
	case 12:
		gemm512x12(t)
	case 13:
		gemm512x13(t)
	case 14:
		gemm512x14(t)
	}
}

func gemm256(m int, t *tile) {
	switch m {
	case 1:
		gemm256x1(t)
	case 2:
		gemm256x2(t)
	case 3:
		gemm256x3(t)
	case 4:
		gemm256x4(t)
	case 5:
		gemm256x5(t)
	case 6:
		gemm256x6(t)
	}
}

// copyPanel copies n rows of w columns to rows of 32; false: not with this width on this tier.
func copyPanel(tier cpu.Tier, n, w int, dst, src []float32, lds int) bool {
	if tier == cpu.Ref || tier == cpu.AVX2 && w < panel {
		return false
	}
	_, _ = dst[n*panel-1], src[(n-1)*lds+w-1]
	if tier == cpu.AVX512 {
		copyPanel512(n, &dst[0], &src[0], 4*lds, 1<<w-1)
	} else {
		copyPanel256(n, &dst[0], &src[0], 4*lds, 0)
	}
	return true
}
