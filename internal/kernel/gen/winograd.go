package main

import "fmt"

// Offsets of the fields of kernel.patch.
const (
	patchAt   = 0
	patchMat  = 128
	patchStep = 136
	patchBias = 144
	patchSize = 152
	patchMask = 160
)

// winograd writes the transforms of F(2x2, 3x3) over channels side by side.
func winograd(a *asm) {
	for _, wide := range []bool{true, false} {
		patchIn(a, wide)
		patchOut(a, wide)
	}
}

// patchWriter writes one transform: matrices of the 16 places are SI + i*step with R8 to R11 at rows of four.
type patchWriter struct {
	*asm
	v     string
	bytes int
	wide  bool
}

func (p patchWriter) begin(name, doc string) {
	p.fn(name, doc, "p *patch", 8)
	p.i("MOVQ p+0(FP), AX")
	p.i("MOVQ %d(AX), R12", patchStep)
	p.i("LEAQ (R12)(R12*2), R13")
	p.i("XORQ DX, DX")
	p.l("chunk")
	if p.wide {
		p.i("KXNORW K1, K1, K1")
		p.i("LEAQ %d(DX), R8", p.bytes)
		p.i("CMPQ R8, %d(AX)", patchSize)
		p.i("JLE whole")
		p.i("MOVQ %d(AX), R8", patchMask)
		p.i("KMOVW R8, K1")
		p.l("whole")
	}
	p.i("MOVQ %d(AX), R8", patchMat)
	p.i("ADDQ DX, R8")
	for r := 9; r <= 11; r++ {
		p.i("LEAQ (R%d)(R12*4), R%d", r-1, r)
	}
}

func (p patchWriter) end() {
	p.i("ADDQ $%d, DX", p.bytes)
	p.i("CMPQ DX, %d(AX)", patchSize)
	p.i("JLT chunk")
	p.i("VZEROUPPER")
	p.i("RET")
}

// mat is the address of matrix i.
func (p patchWriter) mat(i int) string {
	return fmt.Sprintf([]string{"(R%d)", "(R%d)(R12*1)", "(R%d)(R12*2)", "(R%d)(R13*1)"}[i%4], 8+i/4)
}

func (p patchWriter) load(addr string, r int) {
	if p.wide {
		p.i("VMOVUPS.Z %s, K1, Z%d", addr, r)
	} else {
		p.i("VMOVUPS %s, Y%d", addr, r)
	}
}

func (p patchWriter) store(r int, addr string) {
	if p.wide {
		p.i("VMOVUPS Z%d, K1, %s", r, addr)
	} else {
		p.i("VMOVUPS Y%d, %s", r, addr)
	}
}

// op is d = x op y.
func (p patchWriter) op(ins string, d, x, y int) {
	p.i("%s %s%d, %s%d, %s%d", ins, p.v, y, p.v, x, p.v, d)
}

func newPatchWriter(a *asm, wide bool) (patchWriter, string) {
	if wide {
		return patchWriter{a, "Z", 64, true}, "512"
	}
	return patchWriter{a, "Y", 32, false}, "256"
}

func patchIn(a *asm, wide bool) {
	p, suffix := newPatchWriter(a, wide)
	p.begin("patchIn"+suffix, "transforms a patch.")
	four := func() { // 4 to 7 from 0 to 3
		p.op("VSUBPS", 4, 0, 2)
		p.op("VADDPS", 5, 1, 2)
		p.op("VSUBPS", 6, 2, 1)
		p.op("VSUBPS", 7, 1, 3)
	}
	for j := 0; j < 4; j++ {
		for i := 0; i < 4; i++ {
			p.i("MOVQ %d(AX), BX", patchAt+8*(4*i+j))
			p.load("(BX)(DX*1)", i)
		}
		four()
		for i := 0; i < 4; i++ {
			p.store(4+i, p.mat(4*i+j))
		}
	}
	for i := 0; i < 4; i++ {
		for j := 0; j < 4; j++ {
			p.load(p.mat(4*i+j), j)
		}
		four()
		for j := 0; j < 4; j++ {
			p.store(4+j, p.mat(4*i+j))
		}
	}
	p.end()
}

func patchOut(a *asm, wide bool) {
	p, suffix := newPatchWriter(a, wide)
	p.begin("patchOut"+suffix, "transforms products back to outputs and adds the bias.")
	two := func(d0, d1, x int) { // from x to x+3
		p.op("VADDPS", d0, x, x+1)
		p.op("VADDPS", d0, d0, x+2)
		p.op("VSUBPS", d1, x+1, x+2)
		p.op("VSUBPS", d1, d1, x+3)
	}
	// Sums over the rows: 0 to 3 and 4 to 7.
	for j := 0; j < 4; j++ {
		for i := 0; i < 4; i++ {
			p.load(p.mat(4*i+j), 8+i)
		}
		two(j, 4+j, 8)
	}
	p.i("MOVQ %d(AX), BX", patchBias)
	p.load("(BX)(DX*1)", 12)
	for i := 0; i < 2; i++ {
		two(8, 9, 4*i)
		for j := 0; j < 2; j++ {
			p.op("VADDPS", 8+j, 8+j, 12)
			p.i("MOVQ %d(AX), BX", patchAt+8*(2*i+j))
			p.store(8+j, "(BX)(DX*1)")
		}
	}
	p.end()
}
