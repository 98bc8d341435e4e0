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
	tileCount // tiles below each other
	tileADown // bytes to the A of the next tile
	tileCDown // bytes to the C of the next tile
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
	axpy(a, true)
	axpy(a, false)
	transpose512(a)
	transpose256(a)
	copyPanel(a, true)
	copyPanel(a, false)
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

// unroll is the number of k steps between two jumps.
const unroll = 4

// gemmTile writes one micro-kernel of m rows and two vectors, which goes down tiles of m rows.
// Registers: accumulators from 0 in row-major pairs, then two for B, then one or two for the
// broadcast of A. With VPDPBUSD a step of k is four bytes and everything is int32.
func gemmTile(a *asm, name string, m int, v string, b0, bytes int, broadcast, multiply string) {
	wide := v == "Z"
	a.fn(name, fmt.Sprintf("computes tiles of %d rows.", m), "t *tile", 8)
	a.i("MOVQ t+0(FP), AX")
	a.i("MOVQ %d(AX), R8", tileARow)
	for odd := 3; odd < m; odd += 2 {
		a.i("LEAQ (%s)(R8*2), %s", indexRegs[odd-2], indexRegs[odd])
	}
	a.i("MOVQ %d(AX), R15", tileBRow)
	if wide {
		a.i("MOVQ %d(AX), BX", tileMask)
		a.i("KMOVW BX, K1")
		a.i("SHRQ $16, BX")
		a.i("KMOVW BX, K2")
	}
	t := tileWriter{asm: a, m: m, v: v, b0: b0, bytes: bytes, wide: wide}
	a.l("tile")
	t.start()
	a.i("MOVQ %d(AX), CX", tileK)
	a.i("MOVQ %d(AX), SI", tileA)
	a.i("MOVQ %d(AX), DI", tileB)
	a.i("MOVQ %d(AX), BX", tileACol)
	a.i("SUBQ $%d, CX", unroll)
	a.i("JLT tail")
	a.i("PCALIGN $64")
	a.l("loop")
	for range unroll {
		t.step(broadcast, multiply)
	}
	a.i("SUBQ $%d, CX", unroll)
	a.i("JGE loop")
	a.l("tail")
	a.i("ADDQ $%d, CX", unroll)
	a.i("JEQ store")
	a.l("one")
	t.step(broadcast, multiply)
	a.i("DECQ CX")
	a.i("JNE one")
	a.l("store")
	t.eachRow(func(r int) {
		for h := 0; h < 2; h++ {
			if wide {
				a.i("VMOVUPS %s, K%d, %d(BX)", t.acc(r, h), h+1, bytes*h)
			} else {
				a.i("VMOVUPS %s, %d(BX)", t.acc(r, h), bytes*h)
			}
		}
	})
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

// tileWriter writes the parts of a micro-kernel.
type tileWriter struct {
	*asm
	m         int
	v         string // register letter
	b0, bytes int    // register of B, bytes of a vector
	wide      bool
}

func (t tileWriter) acc(r, half int) string { return fmt.Sprintf("%s%d", t.v, 2*r+half) }

func (t tileWriter) load(addr string, half int, reg string) {
	if t.wide {
		t.i("VMOVUPS.Z %s, K%d, %s", addr, half+1, reg)
	} else {
		t.i("VMOVUPS %s, %s", addr, reg)
	}
}

// eachRow runs f for every row with its place in C in BX.
func (t tileWriter) eachRow(f func(r int)) {
	t.i("MOVQ %d(AX), BX", tileC)
	for r := 0; r < t.m; r++ {
		f(r)
		if r < t.m-1 {
			t.i("ADDQ %d(AX), BX", tileCRow)
		}
	}
}

// start sets the accumulators.
func (t tileWriter) start() {
	t.i("MOVQ %d(AX), BX", tileMode)
	t.i("CMPQ BX, $1")
	t.i("JEQ fromC")
	// The lines of C are wanted at the end: ask for them now.
	t.eachRow(func(int) {
		t.i("PREFETCHT0 (BX)")
		t.i("PREFETCHT0 %d(BX)", 2*t.bytes-4)
	})
	t.i("CMPQ %d(AX), $2", tileMode)
	t.i("JEQ fromBias")
	for r := 0; r < t.m; r++ {
		for h := 0; h < 2; h++ {
			if x := 2*r + h; t.wide && x > 15 {
				t.i("VPXORD %[1]s, %[1]s, %[1]s", t.acc(r, h))
			} else {
				t.i("VXORPS X%[1]d, X%[1]d, X%[1]d", x)
			}
		}
	}
	t.i("JMP go")
	t.l("fromBias")
	t.i("MOVQ %d(AX), BX", tileBias)
	for h := 0; h < 2; h++ {
		t.load(fmt.Sprintf("%d(BX)", t.bytes*h), h, t.acc(0, h))
		for r := 1; r < t.m; r++ {
			t.i("VMOVAPS %s, %s", t.acc(0, h), t.acc(r, h))
		}
	}
	t.i("JMP go")
	t.l("fromC")
	t.eachRow(func(r int) {
		for h := 0; h < 2; h++ {
			t.load(fmt.Sprintf("%d(BX)", t.bytes*h), h, t.acc(r, h))
		}
	})
	t.l("go")
}

// step is one k: two vectors of B, a broadcast per row of A.
func (t tileWriter) step(broadcast, multiply string) {
	spare := 1
	if t.wide {
		spare = 2
	}
	for h := 0; h < 2; h++ {
		t.load(fmt.Sprintf("%d(DI)", t.bytes*h), h, fmt.Sprintf("%s%d", t.v, t.b0+h))
	}
	t.i("ADDQ R15, DI")
	for r := 0; r < t.m; r++ {
		br := fmt.Sprintf("%s%d", t.v, t.b0+2+r%spare)
		t.i("%s %s, %s", broadcast, rowOf(r), br)
		for h := 0; h < 2; h++ {
			if multiply == "VDPBF16PS" {
				t.dpbf16(2*r+h, t.b0+2+r%spare, t.b0+h)
				continue
			}
			t.i("%s %s%d, %s, %s", multiply, t.v, t.b0+h, br, t.acc(r, h))
		}
	}
	t.i("ADDQ BX, SI")
}

// axpy writes y += x[0] b[0] + ... + x[7] b[7] for eight rows of B, a chain of multiply-adds per element:
// a product with one row of A that reads B in the order of memory.
func axpy(a *asm, wide bool) {
	v, name, per := "Y", "axpy256", 8
	if wide {
		v, name, per = "Z", "axpy512", 16
	}
	a.fn(name, "adds the products of eight x with eight rows of b to y; n is a positive multiple of 16.", "n int, y *float32, x *float32, xstep int, b *float32, brow int", 48)
	for i, r := range []string{"CX", "DI", "SI", "R8", "DX", "R9"} {
		arg := []string{"n", "y", "x", "xstep", "b", "brow"}[i]
		a.i("MOVQ %s+%d(FP), %s", arg, 8*i, r)
	}
	for i := range 8 {
		a.i("VBROADCASTSS (SI), %s%d", v, 8+i)
		a.i("ADDQ R8, SI")
	}
	a.i("LEAQ (R9)(R9*2), R10")  // 3
	a.i("LEAQ (R9)(R9*4), R11")  // 5
	a.i("LEAQ (R10)(R9*4), R12") // 7
	rows := []string{"(DX)", "(DX)(R9*1)", "(DX)(R9*2)", "(DX)(R10*1)", "(DX)(R9*4)", "(DX)(R11*1)", "(DX)(R10*2)", "(DX)(R12*1)"}
	a.l("loop")
	for u := 0; u < 16/per; u++ {
		a.i("VMOVUPS %d(DI), %s%d", 4*per*u, v, u)
		for i, r := range rows {
			a.i("VFMADD231PS %d%s, %s%d, %s%d", 4*per*u, r, v, 8+i, v, u)
		}
		a.i("VMOVUPS %s%d, %d(DI)", v, u, 4*per*u)
	}
	a.i("ADDQ $64, DI")
	a.i("ADDQ $64, DX")
	a.i("SUBQ $16, CX")
	a.i("JNE loop")
	a.i("VZEROUPPER")
	a.i("RET")
}
