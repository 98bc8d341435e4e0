//go:build !amd64

package kernel

import "muster/internal/cpu"

func nTileRows(cpu.Tier) int { return 12 }

func ngemmRows(_ cpu.Tier, h int, b *PackedNB, j int, qa []int8, aux, c []float32, ldc, w int, start []float32) {
	ngemmRowsRef(h, b, j, qa, aux, c, ldc, w, start)
}

func quantBlocks(_ cpu.Tier, n, block int, q []int8, aux, x []float32) {
	quantBlocksRef(n, block, q, aux, x)
}

func (p *PackedNB) slice(_ cpu.Tier, dst []float32, k, count, j int) {
	p.sliceRef(dst, k, count, j*nPanel)
}
