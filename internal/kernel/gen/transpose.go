package main

import "fmt"

// Both tiers have the same function: dst[c][r] = src[r][c] for n blocks of 16 x 16 words that follow each
// other along the columns of src. Strides are in bytes.
const transposeDoc = "transposes n blocks of 16 x 16 words that lie beside each other in src and below each other in dst; strides in bytes."

func transposeArgs(a *asm, name string) {
	a.fn(name, transposeDoc, "n int, dst *float32, drow int, src *float32, srow int", 40)
	for i, r := range []string{"CX", "DI", "R8", "SI", "R9"} {
		a.i("MOVQ %s+%d(FP), %s", []string{"n", "dst", "drow", "src", "srow"}[i], 8*i, r)
	}
}

// transpose512 holds a block in 16 registers: words, then pairs, then quarters change places.
func transpose512(a *asm) {
	transposeArgs(a, "transpose512")
	a.l("loop")
	a.i("MOVQ SI, DX")
	for r := range 16 {
		a.i("VMOVUPS (DX), Z%d", r)
		if r < 15 {
			a.i("ADDQ R9, DX")
		}
	}
	z := func(ins string, s2, s1, d int) { a.i("%s Z%d, Z%d, Z%d", ins, s2, s1, d) }
	for i := 0; i < 16; i += 2 {
		z("VUNPCKLPS", i+1, i, 16+i)
		z("VUNPCKHPS", i+1, i, 17+i)
	}
	for g := 0; g < 16; g += 4 { // rows g to g+3: register g+c holds column c of every quarter
		z("VUNPCKLPD", 18+g, 16+g, g)
		z("VUNPCKHPD", 18+g, 16+g, g+1)
		z("VUNPCKLPD", 19+g, 17+g, g+2)
		z("VUNPCKHPD", 19+g, 17+g, g+3)
	}
	shuffle := func(imm, s2, s1, d int) { a.i("VSHUFF32X4 $0x%02x, Z%d, Z%d, Z%d", imm, s2, s1, d) }
	for c := range 4 {
		shuffle(0x88, 4+c, c, 16+c)
		shuffle(0xdd, 4+c, c, 20+c)
		shuffle(0x88, 12+c, 8+c, 24+c)
		shuffle(0xdd, 12+c, 8+c, 28+c)
	}
	for c := range 4 {
		shuffle(0x88, 24+c, 16+c, c)
		shuffle(0xdd, 24+c, 16+c, 8+c)
		shuffle(0x88, 28+c, 20+c, 4+c)
		shuffle(0xdd, 28+c, 20+c, 12+c)
	}
	for c := range 16 {
		a.i("VMOVUPS Z%d, (DI)", c)
		a.i("ADDQ R8, DI")
	}
	a.i("ADDQ $64, SI")
	a.i("DECQ CX")
	a.i("JNE loop")
	a.i("VZEROUPPER")
	a.i("RET")
}

// transpose256 goes over the four quarters of a block.
func transpose256(a *asm) {
	transposeArgs(a, "transpose256")
	a.i("LEAQ (R9*8), R10")
	a.i("LEAQ (R8*8), R11")
	a.l("loop")
	for q := range 4 { // the quarter at column 8 (q/2) and row 8 (q%2) of src
		a.i("MOVQ SI, DX")
		a.i("MOVQ DI, BX")
		if q%2 == 1 {
			a.i("ADDQ R10, DX")
			a.i("ADDQ $32, BX")
		}
		if q/2 == 1 {
			a.i("ADDQ $32, DX")
			a.i("ADDQ R11, BX")
		}
		transpose8(a)
	}
	a.i("LEAQ (DI)(R11*2), DI")
	a.i("ADDQ $64, SI")
	a.i("DECQ CX")
	a.i("JNE loop")
	a.i("VZEROUPPER")
	a.i("RET")
}

// transpose8 moves 8 x 8 words from DX to BX.
func transpose8(a *asm) {
	for r := range 8 {
		a.i("VMOVUPS (DX), Y%d", r)
		a.i("ADDQ R9, DX")
	}
	y := func(ins string, s2, s1, d int) { a.i("%s Y%d, Y%d, Y%d", ins, s2, s1, d) }
	for i := 0; i < 8; i += 2 {
		y("VUNPCKLPS", i+1, i, 8+i)
		y("VUNPCKHPS", i+1, i, 9+i)
	}
	for g := 0; g < 8; g += 4 {
		y("VUNPCKLPD", 10+g, 8+g, g)
		y("VUNPCKHPD", 10+g, 8+g, g+1)
		y("VUNPCKLPD", 11+g, 9+g, g+2)
		y("VUNPCKHPD", 11+g, 9+g, g+3)
	}
	for c := range 8 {
		a.i("VPERM2F128 $0x%02x, Y%d, Y%d, Y8", []int{0x20, 0x31}[c/4], 4+c%4, c%4)
		a.i("VMOVUPS Y8, (BX)")
		a.i("ADDQ R8, BX")
	}
}

// copyPanel writes the copying of n rows of 32 words to rows that follow each other; with AVX-512 the words
// without a bit in mask become 0 and are not read.
func copyPanel(a *asm, wide bool) {
	v, name, size := "Y", "copyPanel256", 32
	if wide {
		v, name, size = "Z", "copyPanel512", 64
	}
	a.fn(name, "copies n rows of 32 words, srow bytes apart, to rows without gaps.", "n int, dst *float32, src *float32, srow int, mask uint64", 40)
	for i, r := range []string{"CX", "DI", "SI", "R8", "BX"} {
		a.i("MOVQ %s+%d(FP), %s", []string{"n", "dst", "src", "srow", "mask"}[i], 8*i, r)
	}
	if wide {
		a.i("KMOVW BX, K1")
		a.i("SHRQ $16, BX")
		a.i("KMOVW BX, K2")
	}
	a.i("LEAQ (R8*8), R9")
	a.l("loop")
	a.i("PREFETCHT0 (SI)(R9*1)")
	a.i("PREFETCHT0 64(SI)(R9*1)")
	for h := range 128 / size {
		if wide {
			a.i("VMOVUPS.Z %d(SI), K%d, Z%d", size*h, h+1, h)
		} else {
			a.i("VMOVUPS %d(SI), Y%d", size*h, h)
		}
		a.i("VMOVUPS %s%d, %d(DI)", v, h, size*h)
	}
	a.i("ADDQ R8, SI")
	a.i("ADDQ $128, DI")
	a.i("DECQ CX")
	a.i("JNE loop")
	a.i("VZEROUPPER")
	a.i("RET")
}

// transposeNarrow writes the transposition of bytes, 16 rows by 8 columns at a time, or of words of 16 bits, 8 by 8:
// registers are shuffled with those half of them away until the bits of rows and columns have changed places.
func transposeNarrow(a *asm, bytes int) {
	rows, lo, hi := 8, "VPUNPCKLWD", "VPUNPCKHWD"
	if bytes == 1 {
		rows, lo, hi = 16, "VPUNPCKLBW", "VPUNPCKHBW"
	}
	bits := 8 * bytes
	a.fn(fmt.Sprint("transposeBits", bits), fmt.Sprintf("transposes n blocks of %d x 8 elements of %d bits that lie beside each other in src and below each other in dst; strides in bytes.", rows, bits),
		fmt.Sprintf("n int, dst *uint%d, drow int, src *uint%d, srow int", bits, bits), 40)
	fmt.Fprintf(&a.stub, "func transposeBits%[1]d(n int, dst *uint%[1]d, drow int, src *uint%[1]d, srow int) { panic(\"kernel: no assembly\") }\n\n", bits)
	for i, r := range []string{"CX", "DI", "R8", "SI", "R9"} {
		a.i("MOVQ %s+%d(FP), %s", []string{"n", "dst", "drow", "src", "srow"}[i], 8*i, r)
	}
	a.i("LEAQ (R9*8), R10")
	a.l("loop")
	a.i("MOVQ SI, DX")
	from, to := 0, 8
	for r := range 8 {
		if bytes == 1 {
			a.i("VMOVQ (DX), X%d", r)
			a.i("VMOVQ (DX)(R10*1), X8")
			a.i("%s X8, X%d, X%d", lo, r, r)
		} else {
			a.i("VMOVDQU (DX), X%d", r)
		}
		if r < 7 {
			a.i("ADDQ R9, DX")
		}
	}
	for range 3 {
		for r := range 4 {
			a.i("%s X%d, X%d, X%d", lo, from+r+4, from+r, to+2*r)
			a.i("%s X%d, X%d, X%d", hi, from+r+4, from+r, to+2*r+1)
		}
		from, to = to, from
	}
	for c := range 8 {
		a.i("VMOVDQU X%d, (DI)", from+c)
		a.i("ADDQ R8, DI")
	}
	a.i("ADDQ $%d, SI", 8*bytes)
	a.i("DECQ CX")
	a.i("JNE loop")
	a.i("RET")
}
