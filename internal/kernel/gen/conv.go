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
