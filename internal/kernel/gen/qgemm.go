package main

import "fmt"

// qgemm writes the u8 x s8 micro-kernels over B packed as [k/4][column][4]: rows x 32 with
// VPDPBUSD (1 to 14 rows), rows x 16 with VPMADDWD on widened operands (1 and 2 rows), which
// cannot saturate as VPMADDUBSW would. Integer sums are exact, so the order does not matter.
func qgemm(a *asm) {
	for m := 1; m <= 14; m++ {
		gemmTile(a, fmt.Sprintf("qgemm512x%d", m), m, "Z", 28, 64, "VPBROADCASTD", "VPDPBUSD")
	}
	for m := 1; m <= 2; m++ {
		qgemm256(a, m)
	}
}

// qgemm256 writes the AVX2 kernel of m rows and 16 columns. Accumulator 4r+c holds, for four
// columns, the sums over even and odd pairs of k side by side; they are added at the end.
func qgemm256(a *asm, m int) {
	a.fn(fmt.Sprintf("qgemm256x%d", m), fmt.Sprintf("computes a tile of %d rows.", m), "t *tile", 8)
	a.i("MOVQ t+0(FP), AX")
	a.i("MOVQ %d(AX), CX", tileK)
	a.i("MOVQ %d(AX), SI", tileA)
	a.i("MOVQ %d(AX), R8", tileARow)
	a.i("MOVQ %d(AX), DI", tileB)
	a.i("MOVQ %d(AX), DX", tileBRow)
	for i := 0; i < 4*m; i++ {
		a.i("VPXOR Y%d, Y%d, Y%d", i, i, i)
	}
	a.i("TESTQ CX, CX")
	a.i("JEQ store")
	a.l("loop")
	for c := 0; c < 4; c++ {
		a.i("VPMOVSXBW %d(DI), Y%d", 16*c, 8+c)
	}
	for r := 0; r < m; r++ {
		a.i("VPBROADCASTD %s, X12", []string{"(SI)", "(SI)(R8*1)"}[r])
		a.i("VPMOVZXBW X12, Y12")
		for c := 0; c < 4; c++ {
			a.i("VPMADDWD Y%d, Y12, Y13", 8+c)
			a.i("VPADDD Y13, Y%d, Y%d", 4*r+c, 4*r+c)
		}
	}
	a.i("ADDQ $4, SI")
	a.i("ADDQ DX, DI")
	a.i("DECQ CX")
	a.i("JNE loop")
	a.l("store")
	a.i("MOVQ %d(AX), BX", tileC)
	for r := 0; r < m; r++ {
		for h := 0; h < 2; h++ {
			x := 4*r + 2*h
			a.i("VPHADDD Y%d, Y%d, Y%d", x+1, x, x)
			a.i("VPERMQ $0xd8, Y%d, Y%d", x, x)
			a.i("VMOVDQU Y%d, %d(BX)", x, 32*h)
		}
		if r < m-1 {
			a.i("ADDQ %d(AX), BX", tileCRow)
		}
	}
	a.i("VZEROUPPER")
	a.i("RET")
}
