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
	span(a, true)
	span(a, false)
}

// span writes the least and the greatest of 0 and n elements, a multiple of 64. The operands stand
// so that a NaN leaves the result as it is.
func span(a *asm, wide bool) {
	v, name, size := "Y", "span256", 32
	if wide {
		v, name, size = "Z", "span512", 64
	}
	fmt.Fprintf(&a.decl, "// %[1]s returns the least and the greatest of 0 and n elements; n is a positive multiple of 64.\n//\n//go:noescape\nfunc %[1]s(n int, x *float32) (lo, hi float32)\n\n", name)
	fmt.Fprintf(&a.b, "\n// func %[1]s(n int, x *float32) (lo, hi float32)\nTEXT ·%[1]s(SB), NOSPLIT, $0-24\n", name)
	a.i("MOVQ n+0(FP), CX")
	a.i("MOVQ x+8(FP), SI")
	for i := range 4 {
		a.i("VXORPS X%[1]d, X%[1]d, X%[1]d", i)
	}
	a.l("loop")
	for i := range 256 / size {
		a.i("VMOVUPS %d(SI), %s4", size*i, v)
		a.i("VMINPS %s%d, %s4, %s%d", v, i%2, v, v, i%2)
		a.i("VMAXPS %s%d, %s4, %s%d", v, 2+i%2, v, v, 2+i%2)
	}
	a.i("ADDQ $256, SI")
	a.i("SUBQ $64, CX")
	a.i("JNE loop")
	for k, ins := range []string{"VMINPS", "VMAXPS"} {
		r := 2 * k
		a.i("%s %s%d, %s%d, %s%d", ins, v, r, v, r+1, v, r)
		if wide {
			a.i("VEXTRACTF64X4 $1, Z%d, Y4", r)
			a.i("%s Y4, Y%d, Y%d", ins, r, r)
		}
		a.i("VEXTRACTF128 $1, Y%d, X4", r)
		for _, imm := range []int{0, 0x0e, 0x01} {
			if imm != 0 {
				a.i("VPERMILPS $0x%02x, X%d, X4", imm, r)
			}
			a.i("%s X4, X%d, X%d", ins, r, r)
		}
		a.i("MOVSS X%d, %s+%d(FP)", r, []string{"lo", "hi"}[k], 16+4*k)
	}
	a.i("VZEROUPPER")
	a.i("RET")
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
	a.i("MOVQ %d(AX), R9", tileBias)
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
			a.i("VPADDD %d(R9), Y%d, Y%d", 32*h, x, x)
			a.i("VMOVDQU Y%d, %d(BX)", x, 32*h)
		}
		if r < m-1 {
			a.i("ADDQ %d(AX), BX", tileCRow)
		}
	}
	a.i("VZEROUPPER")
	a.i("RET")
}
