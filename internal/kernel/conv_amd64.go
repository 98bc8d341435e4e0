package kernel

import "muster/internal/cpu"

// stripAsm runs the micro-kernel of a kind.
func stripAsm(tier cpu.Tier, kind PlaneKind, s *strip) {
	wide := tier == cpu.AVX512
	switch {
	case kind == Depthwise && wide:
		stripFMA512(s)
	case kind == Depthwise:
		stripFMA256(s)
	case kind == MeanPool && wide:
		stripAdd512(s)
	case kind == MeanPool:
		stripAdd256(s)
	case wide:
		stripMax512(s)
	default:
		stripMax256(s)
	}
}

// narrowRows512 is gemmRows512 for at most 16 columns.
func narrowRows512(t *tile, m int) {
	h := tall(m, 14)
	rest := t.rows(h, m)
	narrow512(h, t)
	if rest > 0 {
		t.down()
		narrow512(rest, t)
	}
}

// narrow512 calls the kernel of m rows; see gemm512.
func narrow512(m int, t *tile) {
	switch m {
	case 1:
		narrow512x1(t)
	case 2:
		narrow512x2(t)
	case 3:
		narrow512x3(t)
	case 4:
		narrow512x4(t)
	case 5:
		narrow512x5(t)
	case 6:
		narrow512x6(t)
	case 7:
		narrow512x7(t)
	case 8:
		narrow512x8(t)
	case 9:
		narrow512x9(t)
	case 10:
		narrow512x10(t)
	case 11:
		narrow512x11(t)
	case 12:
		narrow512x12(t)
	case 13:
		narrow512x13(t)
	case 14:
		narrow512x14(t)
	}
}
