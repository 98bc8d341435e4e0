package kernel

import "unsafe"

// halfRow writes n times 16 elements of src as pairs of bfloat16.
func halfRow(n int, dst, src []float32) {
	_, _ = dst[8*n-1], src[16*n-1]
	halfRow512(n, &dst[0], &src[0])
}

// halfPairs joins n pairs of rows; see pairRows.
func halfPairs(n int, dst []float32, ldd int, src []float32, lds, w int) {
	_, _ = dst[(n-1)*ldd+panel-1], src[(2*n-1)*lds+w-1]
	halfPairs512(n, &dst[0], 4*ldd, &src[0], 4*lds, 1<<w-1)
}

func hgemm512(m int, t *tile) {
	switch m {
	case 1:
		hgemm512x1(t)
	case 2:
		hgemm512x2(t)
	case 3:
		hgemm512x3(t)
	case 4:
		hgemm512x4(t)
	case 5:
		hgemm512x5(t)
	case 6:
		hgemm512x6(t)
	case 7:
		hgemm512x7(t)
	case 8:
		hgemm512x8(t)
	case 9:
		hgemm512x9(t)
	case 10:
		hgemm512x10(t)
	case 11:
		hgemm512x11(t)
	case 12:
		hgemm512x12(t)
	case 13:
		hgemm512x13(t)
	case 14:
		hgemm512x14(t)
	}
}

// halfRows computes m rows of one panel of pairs; see gemmRows.
func halfRows(m, k int, a []float32, arow int, b operand, c []float32, ldc, mode int, bias []float32) {
	t := tile{k: k, arow: 4 * arow, acol: 4, brow: 4 * b.row, crow: 4 * ldc, mode: mode, mask: 1<<b.width - 1,
		a: unsafe.Pointer(&zeros), b: unsafe.Pointer(&zeros), bias: unsafe.Pointer(&zeros), c: unsafe.Pointer(&c[0])}
	if k > 0 {
		t.a, t.b = unsafe.Pointer(&a[0]), unsafe.Pointer(&b.data[0])
	}
	if mode == fromBias {
		t.bias = unsafe.Pointer(&bias[0])
	}
	h := tall(m, 14)
	rest := t.rows(h, m)
	hgemm512(h, &t)
	if rest > 0 {
		t.down()
		hgemm512(rest, &t)
	}
}
