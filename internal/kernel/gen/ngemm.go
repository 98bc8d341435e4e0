package main

import "fmt"

// Offsets of the fields of kernel.ntile.
const (
	ntBlocks = 8 * iota
	ntGroups // steps of a block
	ntA      // bytes of A: [k/4][rows][4]
	ntAux    // scale and negative sum of every block and row of A: [block][row][2]
	ntW      // 16 columns of B
	ntScale  // [block][16] float32
	ntZero   // [block][16] uint8
	ntC
	ntCRow
	ntMask
	ntBias
)

// nTop are the most rows of a tile.
const (
	nTop512 = 12
	nTop256 = 2
)

// ngemm writes the products of int8 rows with weights of 4 or 8 bits that have a scale and a zero point for
// every block of k, and what turns such weights into float32. A step has 64 bytes of weights: dword c holds
// column c, the low nibbles of its bytes k to k+3 and the high ones k+4 to k+7, or four bytes k to k+3.
func ngemm(a *asm) {
	for _, bits := range []int{4, 8} {
		for m := 1; m <= nTop512; m++ {
			nTile512(a, bits, m)
		}
		for m := 1; m <= nTop256; m++ {
			nTile256(a, bits, m)
		}
		dequantN(a, bits, true)
		dequantN(a, bits, false)
	}
	quantRow(a, true)
	quantRow(a, false)
}

func nStart(a *asm, name string, m int) {
	a.fn(name, fmt.Sprintf("computes %d rows of a panel.", m), "t *ntile", 8)
	a.i("MOVQ t+0(FP), AX")
	for _, r := range []struct {
		off int
		reg string
	}{{ntBlocks, "R10"}, {ntA, "SI"}, {ntAux, "DX"}, {ntW, "DI"}, {ntScale, "R8"}, {ntZero, "R9"}} {
		a.i("MOVQ %d(AX), %s", r.off, r.reg)
	}
	a.i("MOVQ %d(AX), BX", ntBias)
}

// nTile512: sums in float32 from 0, sums of a block in int32 behind them, twice for few rows.
func nTile512(a *asm, bits, m int) {
	nStart(a, fmt.Sprintf("ngemm512b%dx%d", bits, m), m)
	twice := bits == 4 && m <= 4
	facc, iacc, hacc := func(r int) int { return r }, func(r int) int { return m + r }, func(r int) int { return m + r }
	if twice {
		hacc = func(r int) int { return 2*m + r }
	}
	const zz, zs, zw, lo, hi, mask, tmp = 31, 30, 29, 28, 27, 26, 25
	a.i("MOVQ %d(AX), CX", ntMask)
	a.i("KMOVW CX, K1")
	for r := range m {
		a.i("VMOVUPS.Z (BX), K1, Z%d", facc(r))
	}
	if bits == 4 {
		a.i("VMOVUPS %s, Z%d", a.bits(0x0f0f0f0f), mask)
	}
	a.l("block")
	a.i("VPMOVZXBD (R9), Z%d", zz)
	a.i("VMOVUPS (R8), Z%d", zs)
	for r := range m {
		a.i("VPMULLD.BCST %d(DX), Z%d, Z%d", 8*r+4, zz, iacc(r))
		if twice {
			a.i("VPXORD Z%[1]d, Z%[1]d, Z%[1]d", hacc(r))
		}
	}
	a.i("MOVQ %d(AX), CX", ntGroups)
	a.l("loop")
	if bits == 4 {
		a.i("VMOVDQU32 (DI), Z%d", zw)
		a.i("VPANDD Z%d, Z%d, Z%d", mask, zw, lo)
		a.i("VPSRLD $4, Z%d, Z%d", zw, hi)
		a.i("VPANDD Z%d, Z%d, Z%d", mask, hi, hi)
	} else {
		a.i("VMOVDQU32 (DI), Z%d", lo)
	}
	for r := range m {
		a.i("VPDPBUSD.BCST %d(SI), Z%d, Z%d", 4*r, lo, iacc(r))
	}
	for r := 0; r < m && bits == 4; r++ {
		a.i("VPDPBUSD.BCST %d(SI), Z%d, Z%d", 4*(m+r), hi, hacc(r))
	}
	a.i("ADDQ $64, DI")
	a.i("ADDQ $%d, SI", 4*m*8/bits)
	a.i("DECQ CX")
	a.i("JNE loop")
	for r := range m {
		if twice {
			a.i("VPADDD Z%d, Z%d, Z%d", hacc(r), iacc(r), iacc(r))
		}
		a.i("VCVTDQ2PS Z%d, Z%d", iacc(r), iacc(r))
		a.i("VMULPS.BCST %d(DX), Z%d, Z%d", 8*r, zs, tmp)
		a.i("VFMADD231PS Z%d, Z%d, Z%d", tmp, iacc(r), facc(r))
	}
	a.i("ADDQ $%d, DX", 8*m)
	a.i("ADDQ $64, R8")
	a.i("ADDQ $16, R9")
	a.i("DECQ R10")
	a.i("JNE block")
	a.i("MOVQ %d(AX), BX", ntC)
	for r := range m {
		a.i("VMOVUPS Z%d, K1, (BX)", facc(r))
		if r < m-1 {
			a.i("ADDQ %d(AX), BX", ntCRow)
		}
	}
	a.i("VZEROUPPER")
	a.i("RET")
}

// nTile256 is the same for 8 columns, half a panel. Nibbles cannot saturate VPMADDUBSW; bytes are two nibbles.
func nTile256(a *asm, bits, m int) {
	nStart(a, fmt.Sprintf("ngemm256b%dx%d", bits, m), m)
	facc, iacc := func(r int) int { return r }, func(r int) int { return m + r }
	const zz, zs, zw, lo, hi, mask, ones, tmp, ya = 15, 14, 13, 12, 11, 10, 9, 8, 7
	for r := range m {
		a.i("VMOVUPS (BX), Y%d", facc(r))
	}
	a.i("VMOVUPS %s, Y%d", a.bits(0x0f0f0f0f), mask)
	a.i("VMOVUPS %s, Y%d", a.bits(0x00010001), ones)
	a.l("block")
	a.i("VPMOVZXBD (R9), Y%d", zz)
	a.i("VMOVUPS (R8), Y%d", zs)
	for r := range m {
		a.i("VPBROADCASTD %d(DX), Y%d", 8*r+4, tmp)
		a.i("VPMULLD Y%d, Y%d, Y%d", tmp, zz, iacc(r))
	}
	a.i("MOVQ %d(AX), CX", ntGroups)
	a.l("loop")
	a.i("VMOVDQU (DI), Y%d", zw)
	a.i("VPAND Y%d, Y%d, Y%d", mask, zw, lo)
	a.i("VPSRLD $4, Y%d, Y%d", zw, hi)
	a.i("VPAND Y%d, Y%d, Y%d", mask, hi, hi)
	for r := range m {
		for h, w := range []int{lo, hi} {
			at := 4 * r
			if bits == 4 {
				at += 4 * m * h
			}
			a.i("VPBROADCASTD %d(SI), Y%d", at, ya)
			a.i("VPMADDUBSW Y%d, Y%d, Y%d", ya, w, tmp)
			a.i("VPMADDWD Y%d, Y%d, Y%d", ones, tmp, tmp)
			if bits == 8 && h == 1 {
				a.i("VPSLLD $4, Y%d, Y%d", tmp, tmp)
			}
			a.i("VPADDD Y%d, Y%d, Y%d", tmp, iacc(r), iacc(r))
		}
	}
	a.i("ADDQ $64, DI")
	a.i("ADDQ $%d, SI", 4*m*8/bits)
	a.i("DECQ CX")
	a.i("JNE loop")
	for r := range m {
		a.i("VCVTDQ2PS Y%d, Y%d", iacc(r), iacc(r))
		a.i("VBROADCASTSS %d(DX), Y%d", 8*r, tmp)
		a.i("VMULPS Y%d, Y%d, Y%d", tmp, zs, tmp)
		a.i("VFMADD231PS Y%d, Y%d, Y%d", tmp, iacc(r), facc(r))
	}
	a.i("ADDQ $%d, DX", 8*m)
	a.i("ADDQ $64, R8")
	a.i("ADDQ $16, R9")
	a.i("DECQ R10")
	a.i("JNE block")
	a.i("MOVQ %d(AX), BX", ntC)
	for r := range m {
		a.i("VMOVUPS Y%d, (BX)", facc(r))
		if r < m-1 {
			a.i("ADDQ %d(AX), BX", ntCRow)
		}
	}
	a.i("VZEROUPPER")
	a.i("RET")
}

// dequantN writes (q - zero) * scale of n steps of 16 columns to rows of 32 float32.
func dequantN(a *asm, bits int, wide bool) {
	v, tier, halves := "Y", 256, 2
	if wide {
		v, tier, halves = "Z", 512, 1
	}
	a.fn(fmt.Sprintf("dequant%db%d", tier, bits), "writes (w-zero)*scale for n steps of 16 columns; rows of dst have 32 elements.",
		"n int, dst *float32, w *uint8, scale *float32, zero *uint8", 40)
	for i, r := range []string{"CX", "DI", "SI", "DX", "BX"} {
		a.i("MOVQ %s+%d(FP), %s", []string{"n", "dst", "w", "scale", "zero"}[i], 8*i, r)
	}
	mask := uint32(1<<bits - 1)
	a.i("VMOVUPS %s, %s15", a.bits(mask), v)
	for h := range halves {
		a.i("VPMOVZXBD %d(BX), %s%d", 8*h, v, 11+h)
		a.i("VMOVUPS %d(DX), %s%d", 32*h, v, 13+h)
	}
	and := "VPAND"
	if wide {
		and = "VPANDD"
	}
	a.l("loop")
	for h := range halves {
		a.i("VMOVUPS %d(SI), %s0", 32*h, v)
		for k := range 32 / bits {
			shift := 8 * (k % 4)
			if bits == 4 {
				shift += 4 * (k / 4)
			}
			a.i("VPSRLD $%d, %s0, %s1", shift, v, v)
			a.i("%s %s15, %s1, %s1", and, v, v, v)
			a.i("VPSUBD %s%d, %s1, %s1", v, 11+h, v, v)
			a.i("VCVTDQ2PS %s1, %s1", v, v)
			a.i("VMULPS %s%d, %s1, %s1", v, 13+h, v, v)
			a.i("VMOVUPS %s1, %d(DI)", v, 128*k+32*h)
		}
	}
	a.i("ADDQ $64, SI")
	a.i("ADDQ $%d, DI", 128*32/bits)
	a.i("DECQ CX")
	a.i("JNE loop")
	a.i("VZEROUPPER")
	a.i("RET")
}

// quantRow writes the symmetric quantization of n blocks of float32 to int8: q = round(x * 127/top) with the
// greatest magnitude top of a block, and for every block top/127 and the negative sum of its q. What is no
// number becomes -128.
func quantRow(a *asm, wide bool) {
	v, name, per := "Y", "quantBlocks256", 8
	if wide {
		v, name, per = "Z", "quantBlocks512", 16
	}
	a.fn(name, "quantizes n blocks of steps vectors to int8; see quantBlocksRef.", "n int, steps int, q *int8, aux *float32, x *float32", 40)
	for i, r := range []string{"R10", "R11", "DI", "DX", "SI"} {
		a.i("MOVQ %s+%d(FP), %s", []string{"n", "steps", "q", "aux", "x"}[i], 8*i, r)
	}
	a.i("VMOVUPS %s, %s15", a.bits(0x7fffffff), v)
	a.i("VMOVUPS %s, %s14", a.bits(0xffffff80), v)
	a.i("MOVSS %s, X13", a.f32(127))
	reduce := func(ins string, r int) {
		if wide {
			a.i("VEXTRACTF64X4 $1, Z%d, Y1", r)
			a.i("%s Y1, Y%d, Y%d", ins, r, r)
		}
		a.i("VEXTRACTF128 $1, Y%d, X1", r)
		a.i("%s X1, X%d, X%d", ins, r, r)
		for _, imm := range []int{0x0e, 0x01} {
			a.i("VPERMILPS $0x%02x, X%d, X1", imm, r)
			a.i("%s X1, X%d, X%d", ins, r, r)
		}
	}
	a.l("block")
	a.i("VXORPS X0, X0, X0")
	a.i("VXORPS X5, X5, X5")
	a.i("MOVQ SI, R9")
	a.i("MOVQ R11, CX")
	a.l("top")
	a.i("VANDPS (R9), %s15, %s1", v, v)
	a.i("VMAXPS %s0, %s1, %s0", v, v, v) // a NaN leaves the result as it is
	a.i("ADDQ $%d, R9", 4*per)
	a.i("DECQ CX")
	a.i("JNE top")
	reduce("VMAXPS", 0)
	a.i("VDIVSS X13, X0, X2")
	a.i("VXORPS X3, X3, X3")
	a.i("VUCOMISS X3, X0")
	a.i("JEQ flat")
	a.i("VDIVSS X0, X13, X3")
	a.l("flat")
	a.i("VBROADCASTSS X3, %s3", v)
	a.i("MOVQ R11, CX")
	a.l("loop")
	a.i("VMULPS (SI), %s3, %s1", v, v)
	a.i("VCVTPS2DQ %s1, %s1", v, v)
	a.i("VPMAXSD %s14, %s1, %s1", v, v, v)
	a.i("VPSUBD %s1, %s5, %s5", v, v, v)
	if wide {
		a.i("VPMOVDB Z1, (DI)")
	} else {
		a.i("VEXTRACTI128 $1, Y1, X4")
		a.i("VPACKSSDW X4, X1, X1")
		a.i("VPACKSSWB X1, X1, X1")
		a.i("VMOVQ X1, (DI)")
	}
	a.i("ADDQ $%d, SI", 4*per)
	a.i("ADDQ $%d, DI", per)
	a.i("DECQ CX")
	a.i("JNE loop")
	reduce("VPADDD", 5)
	a.i("VMOVSS X2, (DX)")
	a.i("VMOVSS X5, 4(DX)")
	a.i("ADDQ $8, DX")
	a.i("DECQ R10")
	a.i("JNE block")
	a.i("VZEROUPPER")
	a.i("RET")
}
