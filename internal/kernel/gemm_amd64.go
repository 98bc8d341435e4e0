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
}

// zeros is what a tile points at where it has nothing to read.
var zeros [panel]float32

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
		gemmRows512(&t, m)
		return
	}
	for n := 0; n < b.width; n += 16 {
		gemmHalf256(t, m, n, b, bias)
	}
}

// gemmRows512 goes down the rows in tiles of equal height, at most 14.
func gemmRows512(t *tile, m int) {
	h, a, c := (m+(m+13)/14-1)/((m+13)/14), t.a, t.c
	for i := 0; i < m; i += h {
		t.a, t.c = unsafe.Add(a, i*t.arow), unsafe.Add(c, i*t.crow)
		gemm512(min(h, m-i), t)
	}
}

// gemmHalf256 computes columns n to n+16 of a panel with AVX2. Where 16 columns cannot be
// read or written, it works on copies.
func gemmHalf256(t tile, m, n int, b operand, bias []float32) {
	w := min(16, b.width-n)
	var bcopy [kBlock * 16]float32
	if t.k > 0 {
		t.b = unsafe.Add(t.b, 4*n)
		if w < 16 && !b.padded {
			for p := 0; p < t.k; p++ {
				copy(bcopy[16*p:16*p+w], b.data[p*b.row+n:p*b.row+n+w])
			}
			t.b, t.brow = unsafe.Pointer(&bcopy), 64
		}
	}
	var bi [16]float32
	if t.mode == fromBias {
		copy(bi[:w], bias[n:n+w])
		t.bias = unsafe.Pointer(&bi)
	}
	t.c = unsafe.Add(t.c, 4*n)
	h := (m + (m+5)/6 - 1) / ((m + 5) / 6)
	var ccopy [6 * 16]float32
	a, c := t.a, t.c
	for i0 := 0; i0 < m; i0 += h {
		q := min(h, m-i0)
		t.a, t.c = unsafe.Add(a, i0*t.arow), unsafe.Add(c, i0*t.crow)
		if w == 16 {
			gemm256(q, &t)
			continue
		}
		u := t
		u.c, u.crow = unsafe.Pointer(&ccopy), 64
		for i := 0; i < q; i++ {
			copy(ccopy[16*i:16*i+w], unsafe.Slice((*float32)(unsafe.Add(t.c, i*t.crow)), w))
		}
		gemm256(q, &u)
		for i := 0; i < q; i++ {
			copy(unsafe.Slice((*float32)(unsafe.Add(t.c, i*t.crow)), w), ccopy[16*i:16*i+w])
		}
	}
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
