//go:build !amd64

package kernel

import "muster/internal/cpu"

func gemmRows(_ cpu.Tier, m, k int, a []float32, arow, acol int, b operand, c []float32, ldc, mode int, bias []float32) {
	gemmRowsRef(m, k, a, arow, acol, b, c, ldc, mode, bias)
}

func axpy8(cpu.Tier, []float32, []float32, int, []float32, int) { panic("kernel: no assembly") }

func transposeBlocks(cpu.Tier, int, []float32, int, []float32, int) { panic("kernel: no assembly") }

func copyPanel(cpu.Tier, int, int, []float32, []float32, int) bool { return false }
