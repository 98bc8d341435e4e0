package main

import "fmt"

// Offsets of the fields of kernel.strip.
const (
	stripN = 8 * iota
	stripX
	stripXStep
	stripY
	stripYStep
	stripW
	stripStart
	stripTable
	stripTaps
	stripSize
	stripMask
)

// conv writes the kernels that slide a window over channels side by side: four outputs at once, then one.
func conv(a *asm) {
	for _, k := range []struct{ name, doc string }{
		{"stripFMA", "multiplies every tap with its weights and adds."},
		{"stripAdd", "adds the taps."},
		{"stripMax", "keeps the greatest of the taps, the first of equal ones."},
	} {
		stripKernel(a, k.name, k.doc, true)
		stripKernel(a, k.name, k.doc, false)
	}
	for m := 1; m <= 14; m++ {
		narrow(a, m)
	}
}

func stripKernel(a *asm, kind, doc string, wide bool) {
	name, v, bytes := kind+"256", "Y", 32
	if wide {
		name, v, bytes = kind+"512", "Z", 64
	}
	a.fn(name, doc, "s *strip", 8)
	a.i("MOVQ s+0(FP), AX")
	a.i("MOVQ %d(AX), CX", stripN)
	a.i("MOVQ %d(AX), SI", stripX)
	a.i("MOVQ %d(AX), R10", stripXStep)
	a.i("LEAQ (R10)(R10*2), R11")
	a.i("MOVQ %d(AX), DI", stripY)
	a.i("MOVQ %d(AX), R12", stripYStep)
	a.i("LEAQ (R12)(R12*2), R13")
	a.i("MOVQ %d(AX), BX", stripW)
	for _, n := range []int{4, 1} {
		a.l(fmt.Sprintf("outputs%d", n))
		a.i("CMPQ CX, $%d", n)
		if n > 1 {
			a.i("JLT outputs1")
		} else {
			a.i("JLT done")
		}
		a.i("XORQ DX, DX")
		a.l(fmt.Sprintf("channels%d", n))
		stripChunk(a, kind, v, bytes, n, wide)
		a.i("ADDQ $%d, DX", bytes)
		a.i("CMPQ DX, %d(AX)", stripSize)
		a.i("JLT channels%d", n)
		if n == 4 {
			a.i("LEAQ (SI)(R10*4), SI")
			a.i("LEAQ (DI)(R12*4), DI")
		} else {
			a.i("ADDQ R10, SI")
			a.i("ADDQ R12, DI")
		}
		a.i("SUBQ $%d, CX", n)
		a.i("JMP outputs%d", n)
	}
	a.l("done")
	a.i("VZEROUPPER")
	a.i("RET")
}

// stripChunk does one vector of channels of n outputs: accumulators 0 to 3, weights 4, loads 5 to 8.
func stripChunk(a *asm, kind, v string, bytes, n int, wide bool) {
	mask := ""
	if wide {
		mask = ", K1"
		a.i("KXNORW K1, K1, K1")
		a.i("LEAQ %d(DX), R8", bytes)
		a.i("CMPQ R8, %d(AX)", stripSize)
		a.i("JLE whole%d", n)
		a.i("MOVQ %d(AX), R8", stripMask)
		a.i("KMOVW R8, K1")
		a.l(fmt.Sprintf("whole%d", n))
	}
	load := func(addr string, r int) {
		if wide {
			a.i("VMOVUPS.Z %s, K1, %s%d", addr, v, r)
		} else {
			a.i("VMOVUPS %s, %s%d", addr, v, r)
		}
	}
	x := []string{"(R8)", "(R8)(R10*1)", "(R8)(R10*2)", "(R8)(R11*1)"}
	place := func() { // R8 is where the tap at R9 reads
		a.i("MOVQ (R9), R8")
		a.i("ADDQ SI, R8")
		a.i("ADDQ DX, R8")
	}
	a.i("MOVQ %d(AX), R9", stripTable)
	if kind == "stripMax" {
		place()
		for o := 0; o < n; o++ {
			load(x[o], o)
		}
	} else {
		a.i("MOVQ %d(AX), R8", stripStart)
		load("(R8)(DX*1)", 0)
		for o := 1; o < n; o++ {
			a.i("VMOVAPS %s0, %s%d", v, v, o)
		}
	}
	a.i("MOVQ %d(AX), R15", stripTaps)
	a.l(fmt.Sprintf("taps%d", n))
	if kind == "stripFMA" {
		a.i("MOVQ 8(R9), R8")
		a.i("ADDQ BX, R8")
		load("(R8)(DX*1)", 4)
	}
	place()
	for o := 0; o < n; o++ {
		load(x[o], 5+o)
	}
	for o := 0; o < n; o++ {
		switch kind {
		case "stripFMA":
			a.i("VFMADD231PS %s4, %s%d, %s%d", v, v, 5+o, v, o)
		case "stripAdd":
			a.i("VADDPS %s%d, %s%d, %s%d", v, 5+o, v, o, v, o)
		default: // the new one if it is greater, else (NaN too) the old one
			a.i("VMAXPS %s%d, %s%d, %s%d", v, o, v, 5+o, v, o)
		}
	}
	a.i("ADDQ $16, R9")
	a.i("DECQ R15")
	a.i("JNE taps%d", n)
	a.i("LEAQ (DI)(DX*1), R8")
	for o, y := range []string{"(R8)", "(R8)(R12*1)", "(R8)(R12*2)", "(R8)(R13*1)"}[:n] {
		a.i("VMOVUPS %s%d%s, %s", v, o, mask, y)
	}
}

// narrow writes the micro-kernel of m rows and one vector of at most 16 columns: what gemm512 does for 32.
func narrow(a *asm, m int) {
	a.fn(fmt.Sprintf("narrow512x%d", m), fmt.Sprintf("computes tiles of %d rows and at most 16 columns.", m), "t *tile", 8)
	a.i("MOVQ t+0(FP), AX")
	a.i("MOVQ %d(AX), R8", tileARow)
	for odd := 3; odd < m; odd += 2 {
		a.i("LEAQ (%s)(R8*2), %s", indexRegs[odd-2], indexRegs[odd])
	}
	a.i("MOVQ %d(AX), R15", tileBRow)
	a.i("MOVQ %d(AX), BX", tileMask)
	a.i("KMOVW BX, K1")
	t := tileWriter{asm: a, m: m, v: "Z", wide: true}
	step := func() {
		a.i("VMOVUPS.Z (DI), K1, Z28")
		a.i("ADDQ R15, DI")
		for r := 0; r < m; r++ {
			a.i("VBROADCASTSS %s, Z%d", rowOf(r), 29+r%3)
			a.i("VFMADD231PS Z28, Z%d, Z%d", 29+r%3, r)
		}
		a.i("ADDQ BX, SI")
	}
	a.l("tile")
	a.i("CMPQ %d(AX), $1", tileMode)
	a.i("JEQ fromC")
	t.eachRow(func(int) { a.i("PREFETCHT0 (BX)") })
	a.i("CMPQ %d(AX), $2", tileMode)
	a.i("JEQ fromBias")
	for r := 0; r < m; r++ {
		a.i("VXORPS X%[1]d, X%[1]d, X%[1]d", r)
	}
	a.i("JMP go")
	a.l("fromBias")
	a.i("MOVQ %d(AX), BX", tileBias)
	a.i("VMOVUPS.Z (BX), K1, Z0")
	for r := 1; r < m; r++ {
		a.i("VMOVAPS Z0, Z%d", r)
	}
	a.i("JMP go")
	a.l("fromC")
	t.eachRow(func(r int) { a.i("VMOVUPS.Z (BX), K1, Z%d", r) })
	a.l("go")
	a.i("MOVQ %d(AX), CX", tileK)
	a.i("MOVQ %d(AX), SI", tileA)
	a.i("MOVQ %d(AX), DI", tileB)
	a.i("MOVQ %d(AX), BX", tileACol)
	a.i("SUBQ $%d, CX", unroll)
	a.i("JLT tail")
	a.i("PCALIGN $64")
	a.l("loop")
	for range unroll {
		step()
	}
	a.i("SUBQ $%d, CX", unroll)
	a.i("JGE loop")
	a.l("tail")
	a.i("ADDQ $%d, CX", unroll)
	a.i("JEQ store")
	a.l("one")
	step()
	a.i("DECQ CX")
	a.i("JNE one")
	a.l("store")
	t.eachRow(func(r int) { a.i("VMOVUPS Z%d, K1, (BX)", r) })
	a.i("DECQ %d(AX)", tileCount)
	a.i("JEQ done")
	for _, f := range [][2]int{{tileADown, tileA}, {tileCDown, tileC}} {
		a.i("MOVQ %d(AX), BX", f[0])
		a.i("ADDQ BX, %d(AX)", f[1])
	}
	a.i("JMP tile")
	a.l("done")
	a.i("VZEROUPPER")
	a.i("RET")
}
