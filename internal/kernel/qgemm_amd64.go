package kernel

import (
	"unsafe"

	"muster/internal/cpu"
)

// qgemmRows computes m rows of one panel.
func qgemmRows(tier cpu.Tier, m, kq int, a []uint8, lda int, b []int8, w int, c []int32, ldc int, start []int32) {
	if tier == cpu.Ref || kq == 0 {
		qgemmRowsRef(m, kq, a, lda, b, w, c, ldc, start)
		return
	}
	t := tile{k: kq, a: unsafe.Pointer(&a[0]), arow: lda, acol: 4, b: unsafe.Pointer(&b[0]), brow: 4 * panel,
		c: unsafe.Pointer(&c[0]), crow: 4 * ldc, mode: fromBias, bias: unsafe.Pointer(&start[:panel][0])}
	if tier == cpu.AVX512 && cpu.HasVNNI() {
		t.mask = 1<<w - 1
		h := tall(m, 14)
		rest := t.rows(h, m)
		qgemm512(h, &t)
		if rest > 0 {
			t.down()
			qgemm512(rest, &t)
		}
		return
	}
	for n := 0; n < w; n += 16 {
		qgemmHalf256(t, m, n, min(16, w-n))
	}
}

// qgemmHalf256 computes columns n to n+16 of a panel two rows at a time; where 16
// columns cannot be written, it works on a copy.
func qgemmHalf256(t tile, m, n, w int) {
	var ccopy [2 * 16]int32
	a, c := t.a, unsafe.Add(t.c, 4*n)
	t.b, t.bias = unsafe.Add(t.b, 4*n), unsafe.Add(t.bias, 4*n)
	for i := 0; i < m; i += 2 {
		q := min(2, m-i)
		t.a, t.c = unsafe.Add(a, i*t.arow), unsafe.Add(c, i*t.crow)
		u := t
		if w < 16 {
			u.c, u.crow = unsafe.Pointer(&ccopy), 64
		}
		if q == 2 {
			qgemm256x2(&u)
		} else {
			qgemm256x1(&u)
		}
		for r := 0; r < q && w < 16; r++ {
			copy(unsafe.Slice((*int32)(unsafe.Add(t.c, r*t.crow)), w), ccopy[16*r:16*r+w])
		}
	}
}

func qgemm512(m int, t *tile) {
	switch m {
	case 1:
		qgemm512x1(t)
	case 2:
		qgemm512x2(t)
	case 3:
		qgemm512x3(t)
	case 4:
		qgemm512x4(t)
	case 5:
		qgemm512x5(t)
	case 6:
		qgemm512x6(t)
	case 7:
		qgemm512x7(t)
	case 8:
		qgemm512x8(t)
	case 9:
		qgemm512x9(t)
	case 10:
		qgemm512x10(t)
	case 11:
		qgemm512x11(t)
	case 12:
		qgemm512x12(t)
	case 13:
		qgemm512x13(t)
	case 14:
		qgemm512x14(t)
	}
}

// spanBlocks is Span for n elements, a positive multiple of 64.
func spanBlocks(n int, x []float32) (lo, hi float32) {
	_ = x[n-1]
	if cpu.Active() == cpu.AVX512 {
		return span512(n, &x[0])
	}
	return span256(n, &x[0])
}
