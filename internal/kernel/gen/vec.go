package main

import (
	"fmt"
	"strings"
)

// vm writes one kernel over vectors of 16 float32: one zmm register, or two ymm
// registers. The same description is written for both, so that the order of operations
// cannot differ between the tiers. Logical register r is Zr, or Y(2r) and Y(2r+1); there are eight.
type vm struct {
	*asm
	wide bool
}

// halves calls f for every machine register of a logical one.
func (v vm) halves(f func(h int)) {
	f(0)
	if !v.wide {
		f(1)
	}
}

func (v vm) reg(r, h int) string {
	if v.wide {
		return fmt.Sprintf("Z%d", r)
	}
	return fmt.Sprintf("Y%d", 2*r+h)
}

// load and store move 16 values.
func (v vm) load(ptr string, r int) {
	v.halves(func(h int) { v.i("VMOVUPS %d(%s), %s", 32*h, ptr, v.reg(r, h)) })
}

func (v vm) store(r int, ptr string) {
	v.halves(func(h int) { v.i("VMOVUPS %s, %d(%s)", v.reg(r, h), 32*h, ptr) })
}

// op is d = op(s1, s2) in the order of Intel's manual.
func (v vm) op(ins string, d, s1, s2 int) {
	v.halves(func(h int) { v.i("%s %s, %s, %s", ins, v.reg(s2, h), v.reg(s1, h), v.reg(d, h)) })
}

// opm is d = op(s1, constant).
func (v vm) opm(ins string, d, s1 int, sym string) {
	v.halves(func(h int) { v.i("%s %s, %s, %s", ins, sym, v.reg(s1, h), v.reg(d, h)) })
}

// un is d = op(s).
func (v vm) un(ins string, d, s int) {
	v.halves(func(h int) { v.i("%s %s, %s", ins, v.reg(s, h), v.reg(d, h)) })
}

// imm is d = op(s, immediate).
func (v vm) imm(ins string, n, d, s int) {
	v.halves(func(h int) { v.i("%s $%d, %s, %s", ins, n, v.reg(s, h), v.reg(d, h)) })
}

// constant loads 16 equal words.
func (v vm) constant(sym string, d int) {
	v.halves(func(h int) { v.i("VMOVUPS %s, %s", sym, v.reg(d, h)) })
}

// broadcast loads a scalar argument into all lanes.
func (v vm) broadcast(arg string, d int) {
	v.halves(func(h int) { v.i("VBROADCASTSS %s, %s", arg, v.reg(d, h)) })
}

func (v vm) zero(r int) {
	if v.wide {
		v.i("VPXORD Z%d, Z%d, Z%d", r, r, r)
		return
	}
	v.halves(func(h int) { v.i("VXORPS %[1]s, %[1]s, %[1]s", v.reg(r, h)) })
}

// tree reduces the 16 lanes of r to lane 0 of X(r) or X(2r): l with l+8, l+4, l+2, l+1.
func (v vm) tree(ins string, r, tmp int) string {
	y, x, t, tx := fmt.Sprintf("Y%d", r), fmt.Sprintf("X%d", r), fmt.Sprintf("Y%d", tmp), fmt.Sprintf("X%d", tmp)
	if v.wide {
		v.i("VEXTRACTF64X4 $1, Z%d, %s", r, t)
	} else {
		y, x, t, tx = fmt.Sprintf("Y%d", 2*r), fmt.Sprintf("X%d", 2*r), fmt.Sprintf("Y%d", 2*tmp), fmt.Sprintf("X%d", 2*tmp)
		v.i("VMOVAPS Y%d, %s", 2*r+1, t)
	}
	v.i("%s %s, %s, %s", ins, t, y, y)
	v.i("VEXTRACTF128 $1, %s, %s", y, tx)
	v.i("%s %s, %s, %s", ins, tx, x, x)
	v.i("VPERMILPS $0x0e, %s, %s", x, tx)
	v.i("%s %s, %s, %s", ins, tx, x, x)
	v.i("VPERMILPS $0x01, %s, %s", x, tx)
	v.i("%s %s, %s, %s", ins, tx, x, x)
	return x
}

// fma is d = d + s1*s2.
func (v vm) fma(d, s1, s2 int) { v.op("VFMADD231PS", d, s1, s2) }

// kernelFn is one kernel: its Go arguments after n, and what is done for 16 elements.
type kernelFn struct {
	name  string
	doc   string
	ptrs  []string // pointer arguments, advanced by 64 bytes (or step) a time
	f32s  []string // scalar arguments, in logical registers from 7 downwards
	ret   []string // results, reduced from logical registers 0, 1
	step  map[string]int
	each  func(v vm, p map[string]string) // n is a multiple of 16
	prog  func(p *prog)                   // or this, for every n
	start []uint32                        // bits of the first values of ret
	ins   string                          // of the reduction
}

// lengths says what n may be.
func (fn kernelFn) lengths() string {
	if fn.prog != nil {
		return "n is positive."
	}
	return "n is a positive multiple of 16."
}

// ptrRegs hold the pointer arguments.
var ptrRegs = []string{"DI", "SI", "DX", "R8", "R9", "R10"}

// write writes fn for one tier.
func (fn kernelFn) write(a *asm, wide bool) {
	v := vm{a, wide}
	suffix := "256"
	if wide {
		suffix = "512"
	}
	args, off := "n int", 8
	regs := map[string]string{}
	var pre []func()
	for i, p := range fn.ptrs {
		args += ", " + p + " " + pointerType(p)
		regs[p] = ptrRegs[i]
		o, p := off, p
		pre = append(pre, func() { v.i("MOVQ %s+%d(FP), %s", p, o, regs[p]) })
		off += 8
	}
	for i, s := range fn.f32s {
		args += ", " + s + " float32"
		o, s, r := off, s, 7-i
		if fn.prog == nil {
			pre = append(pre, func() { v.broadcast(fmt.Sprintf("%s+%d(FP)", s, o), r) })
		}
		off += 4
	}
	retOff := (off + 7) &^ 7
	sig, size := args, off
	if len(fn.ret) > 0 {
		size = retOff + 4*len(fn.ret)
	}
	ret := ""
	for i, r := range fn.ret {
		if i > 0 {
			ret += ", "
		}
		ret += r + " float32"
	}
	name := fn.name + suffix
	results := ""
	if ret != "" {
		results = " (" + ret + ")"
	}
	fmt.Fprintf(&a.decl, "// %s %s %s\n//\n//go:noescape\nfunc %s(%s)%s\n\n", name, fn.doc, fn.lengths(), name, sig, results)
	fmt.Fprintf(&a.b, "\n// func %s(%s)%s\nTEXT ·%s(SB), NOSPLIT, $0-%d\n", name, sig, results, name, size)
	a.i("MOVQ n+0(FP), CX")
	for _, f := range pre {
		f()
	}
	if fn.prog != nil {
		fn.writeLoop(a, wide, regs)
	} else {
		for i, start := range fn.start {
			v.constant(a.bits(start), i)
		}
		a.i("SHRQ $4, CX")
		a.l("loop")
		fn.each(v, regs)
		for _, p := range fn.ptrs {
			step := 64
			if s, ok := fn.step[p]; ok {
				step = s
			}
			a.i("ADDQ $%d, %s", step, regs[p])
		}
		a.i("DECQ CX")
		a.i("JNE loop")
	}
	for i, r := range fn.ret {
		x := v.tree(fn.ins, i, 6)
		a.i("MOVSS %s, %s+%d(FP)", x, r, retOff+4*i)
	}
	a.i("VZEROUPPER")
	a.i("RET")
}

// vec writes the element-wise and row kernels.
func vec(a *asm) {
	a.decl.WriteString("const haveAsm = true\n\n")
	for _, fn := range vecKernels() {
		fn.write(a, true)
		fn.write(a, false)
		fn.dispatch(a)
	}
	for _, k := range rowKernels() {
		k.write(a, true)
		k.write(a, false)
		k.dispatch(a)
	}
	folds16(a)
	transposeNarrow(a, 1)
	transposeNarrow(a, 2)
}

// dispatch writes the Go function that calls the kernel of the active tier, and what
// stands in for it on processors without assembly.
func (fn kernelFn) dispatch(a *asm) {
	params, args := "n int", "n"
	for _, p := range fn.ptrs {
		params += ", " + p + " " + pointerType(p)
		args += ", " + p
	}
	for _, s := range fn.f32s {
		params += ", " + s + " float32"
		args += ", " + s
	}
	results, ret := "", ""
	if len(fn.ret) > 0 {
		results, ret = " ("+strings.Join(fn.ret, ", ")+" float32)", "return "
	}
	fmt.Fprintf(&a.decl, "// %s %s %s\nfunc %s(%s)%s {\n\tif cpu.Active() == cpu.AVX512 {\n\t\t%s%s512(%s)\n", fn.name, fn.doc, fn.lengths(), fn.name, params, results, ret, fn.name, args)
	if ret == "" {
		fmt.Fprintf(&a.decl, "\t\treturn\n\t}\n\t%s256(%s)\n}\n\n", fn.name, args)
	} else {
		fmt.Fprintf(&a.decl, "\t}\n\treturn %s256(%s)\n}\n\n", fn.name, args)
	}
	fmt.Fprintf(&a.stub, "func %s(%s)%s { panic(\"kernel: no assembly\") }\n\n", fn.name, params, results)
}

// pointerType is the Go type of a pointer argument.
func pointerType(p string) string {
	switch p {
	case "q":
		return "*uint8"
	case "half":
		return "*uint16"
	case "acc":
		return "*int32"
	case "total64":
		return "*float64"
	case "long", "longa", "longb":
		return "*int64"
	}
	return "*float32"
}
