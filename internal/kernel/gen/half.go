package main

import "fmt"

// half writes the kernels of products in bfloat16: a step of k is a pair, whose first element lies in the high
// half of a dword. VDPBF16PS adds the product of the high halves first, so that the sums run in the order of k.
func half(a *asm) {
	for m := 1; m <= 14; m++ {
		gemmTile(a, fmt.Sprintf("hgemm512x%d", m), m, "Z", 28, 64, "VPBROADCASTD", "VDPBF16PS")
	}
	halfRow(a)
	halfPairs(a)
}

// roundHalf rounds the float32 in register x to bfloat16 in its high half, ties to even; a NaN becomes quiet.
// The low half keeps rubbish. Z28 to Z31 hold 1, 0x7fff, 0x400000 and 0.
func roundHalf(a *asm, x, t int) {
	a.i("VCMPPS $3, Z%d, Z%d, K3", x, x)
	a.i("VPSRLD $16, Z%d, Z%d", x, t)
	a.i("VPANDD Z28, Z%d, Z%d", t, t)
	a.i("VPADDD Z29, Z%d, Z%d", t, t)
	a.i("VPADDD Z%d, Z%d, Z%d", x, t, t)
	a.i("VPORD Z30, Z%d, K3, Z%d", x, t)
	a.i("VMOVDQA32 Z%d, Z%d", t, x)
}

func halfConstants(a *asm) {
	for r, w := range []uint32{1, 0x7fff, 0x400000} {
		a.i("VMOVDQU32 %s, Z%d", a.bits(w), 28+r)
	}
}

// halfRow converts n times 16 elements of a row to 8 pairs.
func halfRow(a *asm) {
	a.fn("halfRow512", "writes n times 16 elements of src as 8 pairs of bfloat16.", "n int, dst *float32, src *float32", 24)
	for i, r := range []string{"CX", "DI", "SI"} {
		a.i("MOVQ %s+%d(FP), %s", []string{"n", "dst", "src"}[i], 8*i, r)
	}
	halfConstants(a)
	a.l("loop")
	a.i("VMOVUPS (SI), Z0")
	roundHalf(a, 0, 1)
	a.i("VPSRLD $16, Z0, Z0")
	a.i("VPMOVDW Z0, Y0")
	a.i("VPROLD $16, Y0, Y0")
	a.i("VMOVDQU Y0, (DI)")
	a.i("ADDQ $64, SI")
	a.i("ADDQ $32, DI")
	a.i("DECQ CX")
	a.i("JNE loop")
	a.i("VZEROUPPER")
	a.i("RET")
}

// halfPairs joins n pairs of rows of 32 elements; elements without a bit in mask become 0 and are not read.
func halfPairs(a *asm) {
	a.fn("halfPairs512", "joins n pairs of rows of 32 elements, srow bytes apart, to rows of 32 pairs of bfloat16, drow bytes apart.",
		"n int, dst *float32, drow int, src *float32, srow int, mask uint64", 48)
	for i, r := range []string{"CX", "DI", "R9", "SI", "R8", "BX"} {
		a.i("MOVQ %s+%d(FP), %s", []string{"n", "dst", "drow", "src", "srow", "mask"}[i], 8*i, r)
	}
	a.i("KMOVW BX, K1")
	a.i("SHRQ $16, BX")
	a.i("KMOVW BX, K2")
	halfConstants(a)
	a.i("VPTERNLOGD $0xff, Z31, Z31, Z31")
	a.i("VPSLLD $16, Z31, Z31") // the high half
	a.l("loop")
	for row := range 2 {
		for h := range 2 {
			a.i("VMOVUPS.Z %d(SI), K%d, Z%d", 64*h, h+1, 2*row+h)
			roundHalf(a, 2*row+h, 4)
		}
		a.i("ADDQ R8, SI")
	}
	for h := range 2 {
		a.i("VPSRLD $16, Z%d, Z%d", 2+h, 2+h)
		a.i("VPANDD Z31, Z%d, Z%d", h, h)
		a.i("VPORD Z%d, Z%d, Z%d", 2+h, h, h)
		a.i("VMOVDQU32 Z%d, %d(DI)", h, 64*h)
	}
	a.i("ADDQ R9, DI")
	a.i("DECQ CX")
	a.i("JNE loop")
	a.i("VZEROUPPER")
	a.i("RET")
}
