package main

import "fmt"

// peak writes the loops that measure what this machine can do at most: independent
// multiply-adds in registers, and passes over memory.
func peak(a *asm) {
	rate := func(name, doc, v string, accs int, op func(i int)) {
		a.fn(name, doc, "n int", 8)
		a.i("MOVQ n+0(FP), CX")
		for i := 0; i < accs+2; i++ {
			if v == "Z" {
				a.i("VPXORD Z%d, Z%d, Z%d", i, i, i)
			} else {
				a.i("VXORPS Y%d, Y%d, Y%d", i, i, i)
			}
		}
		a.l("loop")
		for i := 0; i < accs; i++ {
			op(i)
		}
		a.i("DECQ CX")
		a.i("JNE loop")
		a.i("VZEROUPPER")
		a.i("RET")
	}
	rate("peakFMA512", "does n times 24 multiply-adds of 16 float32.", "Z", 24, func(i int) { a.i("VFMADD231PS Z24, Z25, Z%d", i) })
	rate("peakFMA256", "does n times 12 multiply-adds of 8 float32.", "Y", 12, func(i int) { a.i("VFMADD231PS Y12, Y13, Y%d", i) })
	rate("peakVNNI512", "does n times 24 multiply-adds of 64 bytes.", "Z", 24, func(i int) { a.i("VPDPBUSD Z24, Z25, Z%d", i) })
	rate("peakBF16512", "does n times 24 multiply-adds of 32 bfloat16.", "Z", 24, func(i int) { a.dpbf16(i, 25, 24) })
	for _, wide := range []bool{true, false} {
		memoryLoops(a, wide)
	}
}

// memoryLoops writes a pass that only reads, and y = s x + z, which reads two vectors and writes one.
func memoryLoops(a *asm, wide bool) {
	v, suffix, size := "Y", "256", 32
	if wide {
		v, suffix, size = "Z", "512", 64
	}
	a.fn("readPass"+suffix, "reads n times 512 bytes at x.", "n int, x *float32", 16)
	a.i("MOVQ n+0(FP), CX")
	a.i("MOVQ x+8(FP), SI")
	a.l("loop")
	for i := 0; i < 512/size; i++ {
		a.i("VMOVUPS %d(SI), %s%d", size*i, v, i%8)
	}
	a.i("ADDQ $512, SI")
	a.i("DECQ CX")
	a.i("JNE loop")
	a.i("VZEROUPPER")
	a.i("RET")
	a.fn("triadPass"+suffix, "is y = s x + z for n times 64 elements.", "n int, y *float32, x *float32, z *float32, s float32", 36)
	a.i("MOVQ n+0(FP), CX")
	a.i("MOVQ y+8(FP), DI")
	a.i("MOVQ x+16(FP), SI")
	a.i("MOVQ z+24(FP), DX")
	a.i("VBROADCASTSS s+32(FP), %s15", v)
	a.l("loop")
	for i := 0; i < 256/size; i++ {
		a.i("VMOVUPS %d(DX), %s%d", size*i, v, i)
		a.i("VFMADD231PS %d(SI), %s15, %s%d", size*i, v, v, i)
		a.i("VMOVUPS %s%d, %d(DI)", v, i, size*i)
	}
	for _, p := range []string{"DI", "SI", "DX"} {
		a.i("ADDQ $256, %s", p)
	}
	a.i("DECQ CX")
	a.i("JNE loop")
	a.i("VZEROUPPER")
	a.i("RET")
}

// dpbf16 writes VDPBF16PS Z(b), Z(s), Z(d), which Go's assembler does not know:
// EVEX.512.F3.0F38.W0 52 /r with d in reg, s in vvvv and b in rm (Intel's manual, volume 2, 2.7).
func (a *asm) dpbf16(d, s, b int) {
	inv := func(n, bit, to int) int { return (^n >> bit & 1) << to }
	p0 := 2 | inv(d, 3, 7) | inv(b, 4, 6) | inv(b, 3, 5) | inv(d, 4, 4)
	p1 := 1<<2 | 2 | (^s&15)<<3
	p2 := 2<<5 | inv(s, 4, 3)
	bytes := ""
	for i, x := range []int{0x62, p0, p1, p2, 0x52, 0xc0 | d&7<<3 | b&7} {
		if i > 0 {
			bytes += "; "
		}
		bytes += fmt.Sprintf("BYTE $0x%02x", x)
	}
	a.i("%s // VDPBF16PS Z%d, Z%d, Z%d", bytes, b, s, d)
}
