//go:build !amd64

package kernel

import "muster/internal/cpu"

func qgemmRows(_ cpu.Tier, m, kq int, a []uint8, lda int, b []int8, w int, c []int32, ldc int, start []int32) {
	qgemmRowsRef(m, kq, a, lda, b, w, c, ldc, start)
}

func spanBlocks(int, []float32) (lo, hi float32) { panic("kernel: no assembly") }
