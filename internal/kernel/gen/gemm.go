package main

import "fmt"

// Offsets of the fields of kernel.tile.
const (
	tileK    = 8 * iota
	tileA    // address of A's first element
	tileARow // bytes between rows of A
	tileACol // bytes between columns of A
	tileB    // address of B's first element
	tileBRow // bytes between rows of B
	tileC    // address of C's first element
	tileCRow // bytes between rows of C
	tileMask // one bit per column of C
	tileMode // 0: start from zero, 1: from C, 2: from the bias
	tileBias
)

// gemm writes the f32 micro-kernels: rows x 32 for AVX-512 (1 to 14 rows), rows x 16 for
// AVX2 (1 to 6 rows). Per k there is one broadcast per row of A and two vectors of B; every
// element of C is one chain of fused multiply-adds over k.
func gemm(a *asm) {
	for m := 1; m <= 14; m++ {
		gemmTile(a, fmt.Sprintf("gemm512x%d", m), m, "Z", 28, 64, "VBROADCASTSS", "VFMADD231PS")
	}
	for m := 1; m <= 6; m++ {
		gemmTile(a, fmt.Sprintf("gemm256x%d", m), m, "Y", 12, 32, "VBROADCASTSS", "VFMADD231PS")
	}
}

// indexRegs hold the odd multiples of A's row stride: row r = odd * 2^s is A + odd*stride*2^s.
var indexRegs = map[int]string{1: "R8", 3: "R9", 5: "R10", 7: "R11", 9: "R12", 11: "R13", 13: "DX"}

// rowOf returns the address of row r of A.
func rowOf(r int) string {
	if r == 0 {
		return "(SI)"
	}
	scale := 1
	for r%2 == 0 {
		r, scale = r/2, scale*2
	}
	return fmt.Sprintf("(SI)(%s*%d)", indexRegs[r], scale)
}

// gemmTile writes one micro-kernel of m rows and two vectors. Registers: accumulators
// from 0 in row-major pairs, then two for B, then one or two for the broadcast of A.
// With VPDPBUSD a step of k is four bytes and everything is int32.
func gemmTile(a *asm, name string, m int, v string, b0, bytes int, broadcast, multiply string) {
	wide := v == "Z"
	a.fn(name, fmt.Sprintf("computes a tile of %d rows.", m), "t *tile", 8)
	a.i("MOVQ t+0(FP), AX")
	a.i("MOVQ %d(AX), CX", tileK)
	a.i("MOVQ %d(AX), SI", tileA)
	a.i("MOVQ %d(AX), R8", tileARow)
	for odd := 3; odd < m; odd += 2 {
		a.i("LEAQ (%s)(R8*2), %s", indexRegs[odd-2], indexRegs[odd])
	}
	a.i("MOVQ %d(AX), DI", tileB)
	if wide {
		a.i("MOVQ %d(AX), BX", tileMask)
		a.i("KMOVW BX, K1")
		a.i("SHRQ $16, BX")
		a.i("KMOVW BX, K2")
	}
	load := func(addr string, half int, reg string) {
		if wide {
			a.i("VMOVUPS.Z %s, K%d, %s", addr, half+1, reg)
		} else {
			a.i("VMOVUPS %s, %s", addr, reg)
		}
	}
	acc := func(r, half int) string { return fmt.Sprintf("%s%d", v, 2*r+half) }
	// Start of the accumulators.
	a.i("MOVQ %d(AX), BX", tileMode)
	a.i("CMPQ BX, $1")
	a.i("JEQ fromC")
	a.i("CMPQ BX, $2")
	a.i("JEQ fromBias")
	for r := 0; r < m; r++ {
		for h := 0; h < 2; h++ {
			x := fmt.Sprintf("X%d", 2*r+h)
			if wide && 2*r+h > 15 {
				a.i("VPXORD %s, %s, %s", acc(r, h), acc(r, h), acc(r, h))
			} else {
				a.i("VXORPS %s, %s, %s", x, x, x)
			}
		}
	}
	a.i("JMP start")
	a.l("fromBias")
	a.i("MOVQ %d(AX), BX", tileBias)
	for h := 0; h < 2; h++ {
		load(fmt.Sprintf("%d(BX)", bytes*h), h, acc(0, h))
		for r := 1; r < m; r++ {
			a.i("VMOVAPS %s, %s", acc(0, h), acc(r, h))
		}
	}
	a.i("JMP start")
	a.l("fromC")
	a.i("MOVQ %d(AX), BX", tileC)
	for r := 0; r < m; r++ {
		for h := 0; h < 2; h++ {
			load(fmt.Sprintf("%d(BX)", bytes*h), h, acc(r, h))
		}
		if r < m-1 {
			a.i("ADDQ %d(AX), BX", tileCRow)
		}
	}
	a.l("start")
	// The lines of C are wanted at the end: ask for them now.
	a.i("MOVQ %d(AX), BX", tileC)
	for r := 0; r < m; r++ {
		a.i("PREFETCHT0 (BX)")
		a.i("PREFETCHT0 %d(BX)", 2*bytes-4)
		if r < m-1 {
			a.i("ADDQ %d(AX), BX", tileCRow)
		}
	}
	a.i("TESTQ CX, CX")
	a.i("JEQ store")
	a.i("MOVQ %d(AX), BX", tileACol)
	spare := 1
	if wide {
		spare = 2
	}
	a.l("loop")
	for h := 0; h < 2; h++ {
		load(fmt.Sprintf("%d(DI)", bytes*h), h, fmt.Sprintf("%s%d", v, b0+h))
	}
	for r := 0; r < m; r++ {
		br := fmt.Sprintf("%s%d", v, b0+2+r%spare)
		a.i("%s %s, %s", broadcast, rowOf(r), br)
		for h := 0; h < 2; h++ {
			a.i("%s %s%d, %s, %s", multiply, v, b0+h, br, acc(r, h))
		}
	}
	a.i("ADDQ BX, SI")
	a.i("ADDQ %d(AX), DI", tileBRow)
	a.i("DECQ CX")
	a.i("JNE loop")
	a.l("store")
	a.i("MOVQ %d(AX), BX", tileC)
	for r := 0; r < m; r++ {
		for h := 0; h < 2; h++ {
			if wide {
				a.i("VMOVUPS %s, K%d, %d(BX)", acc(r, h), h+1, bytes*h)
			} else {
				a.i("VMOVUPS %s, %d(BX)", acc(r, h), bytes*h)
			}
		}
		if r < m-1 {
			a.i("ADDQ %d(AX), BX", tileCRow)
		}
	}
	a.i("VZEROUPPER")
	a.i("RET")
}
