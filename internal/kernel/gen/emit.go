package main

import "fmt"

// emitter assigns registers and writes the instructions of one body.
type emitter struct {
	vm
	p     *prog
	ptr   map[string]string
	tail  bool
	reg   map[val]int // logical register of a value
	fixed map[val]int // registers that live through the loop: scalars, running values, constants
	free  []bool      // logical registers
	kfree [7]bool     // mask registers K1 to K6
	last  map[val]int // last node that reads a value
	most  int         // registers that were needed at once
	dry   bool
}

// registers is how many logical registers a tier has.
func registers(wide bool) int {
	if wide {
		return 32
	}
	return 8
}

// layout places scalars, running values and (where there is room) constants for the whole loop.
func (p *prog) layout(a *asm, wide bool) map[val]int {
	fixed := map[val]int{}
	top := registers(wide) - 1
	for i, n := range p.nodes {
		switch n.kind {
		case kAcc:
			fixed[val(i)] = n.imm
		case kScalar:
			fixed[val(i)] = top
			top--
		}
	}
	if !wide {
		return fixed
	}
	scratch := &asm{}
	need := 0
	for _, tail := range []bool{false, true} {
		e := p.emitter(scratch, wide, tail, fixed, map[string]string{})
		e.dry = true
		e.run()
		need = max(need, e.most)
	}
	for i, n := range p.nodes {
		if n.kind == kConst && top >= need+p.accs {
			fixed[val(i)] = top
			top--
		}
	}
	return fixed
}

func (p *prog) emitter(a *asm, wide, tail bool, fixed map[val]int, ptr map[string]string) *emitter {
	e := &emitter{vm: vm{a, wide}, p: p, ptr: ptr, tail: tail, reg: map[val]int{}, fixed: fixed, last: map[val]int{}, free: make([]bool, registers(wide))}
	for i := range e.free {
		e.free[i] = i >= p.accs
	}
	for i := range e.kfree {
		e.kfree[i] = i > 0
	}
	for v, r := range fixed {
		e.reg[v] = r
		e.free[r] = false
	}
	for i, n := range p.nodes {
		for _, v := range n.args {
			e.last[v] = i
		}
	}
	return e
}

// take returns a free logical register.
func (e *emitter) take() int {
	used := 0
	for r, f := range e.free {
		if r >= e.p.accs && !f {
			used++
		}
	}
	for r, f := range e.free {
		if f {
			e.free[r] = false
			e.most = max(e.most, used+1)
			return r
		}
	}
	panic("gen: out of vector registers")
}

// drop frees the registers of the operands that node i reads last.
func (e *emitter) drop(i int) {
	for _, v := range e.p.nodes[i].args {
		if e.dies(v, i) {
			if r, ok := e.reg[v]; ok {
				if e.wide && e.p.nodes[v].kind == kCmp {
					e.kfree[r] = true
				} else {
					e.free[r] = true
				}
				delete(e.reg, v)
			}
		}
	}
}

func (e *emitter) dies(v val, i int) bool {
	_, fixed := e.fixed[v]
	return e.last[v] == i && !fixed
}

func (e *emitter) symbol(v val) string { return e.bits(uint32(e.p.nodes[v].imm)) }

// inReg reports whether v has a register; constants may lie in memory.
func (e *emitter) inReg(v val) bool { _, ok := e.reg[v]; return ok }

// src is the operand for half h: a register, or the memory of a constant.
func (e *emitter) src(v val, h int) string {
	if r, ok := e.reg[v]; ok {
		return e.vm.reg(r, h)
	}
	if e.p.nodes[v].kind != kConst {
		panic("gen: a value is read after its last use")
	}
	return e.symbol(v)
}

// need loads a constant that must be in a register; the caller frees it by giveBack.
func (e *emitter) need(v val) (r int, temporary bool) {
	if r, ok := e.reg[v]; ok {
		return r, false
	}
	r = e.take()
	e.constant(e.symbol(v), r)
	return r, true
}

func (e *emitter) run() {
	for i := range e.p.nodes {
		e.node(i)
	}
}

func (e *emitter) node(i int) {
	n := e.p.nodes[i]
	switch n.kind {
	case kLoad:
		e.loadNode(i, n)
	case kOp, kImm:
		e.opNode(i, n)
	case kFma:
		e.fmaNode(i, n)
	case kCmp:
		e.cmpNode(i, n)
	case kSelect:
		e.selectNode(i, n)
	case kScale:
		e.scaleNode(i, n)
	case kStore:
		e.storeNode(i, n)
	case kNext:
		e.nextNode(i, n)
	}
}

// mask loads the mask of the last vector into a free register (narrow only).
func (e *emitter) mask() int {
	r := e.take()
	e.halves(func(h int) { e.i("VMOVUPS %d(R11), %s", 32*h, e.vm.reg(r, h)) })
	return r
}

func (e *emitter) loadNode(i int, n node) {
	r := e.take()
	e.reg[val(i)] = r
	switch {
	case !e.tail:
		e.load(e.ptr[n.ins], r)
	case e.wide:
		e.i("VMOVUPS.Z (%s), K7, Z%d", e.ptr[n.ins], r)
	default:
		e.halves(func(h int) {
			y := e.vm.reg(r, h)
			e.i("VMOVUPS %d(R11), %s", 32*h, y)
			e.i("VMASKMOVPS %d(%s), %s, %s", 32*h, e.ptr[n.ins], y, y)
		})
	}
}

func (e *emitter) storeNode(i int, n node) {
	r, tmp := e.need(n.args[0])
	switch {
	case !e.tail:
		e.store(r, e.ptr[n.ins])
	case e.wide:
		e.i("VMOVUPS Z%d, K7, (%s)", r, e.ptr[n.ins])
	default:
		m := e.mask()
		e.halves(func(h int) {
			e.i("VMASKMOVPS %s, %s, %d(%s)", e.vm.reg(r, h), e.vm.reg(m, h), 32*h, e.ptr[n.ins])
		})
		e.free[m] = true
	}
	if tmp {
		e.free[r] = true
	}
	e.drop(i)
}

// nextNode makes the running value; lanes behind the end keep theirs.
func (e *emitter) nextNode(i int, n node) {
	r, ok := e.reg[n.args[0]]
	if !ok {
		panic("gen: a running value must be computed")
	}
	switch {
	case e.tail && e.wide:
		e.i("VMOVAPS Z%d, K7, Z%d", r, n.imm)
	case e.tail:
		m := e.mask()
		e.halves(func(h int) {
			a := e.vm.reg(n.imm, h)
			e.i("VBLENDVPS %s, %s, %s, %s", e.vm.reg(m, h), e.vm.reg(r, h), a, a)
		})
		e.free[m] = true
	case r != n.imm:
		e.halves(func(h int) { e.i("VMOVAPS %s, %s", e.vm.reg(r, h), e.vm.reg(n.imm, h)) })
	}
	if r != n.imm {
		e.drop(i)
	}
}

// target chooses the register of node i's value: that of the running value it becomes, if nothing reads the old one later.
func (e *emitter) target(i int) int {
	if e.tail {
		return e.take()
	}
	for j := i + 1; j < len(e.p.nodes); j++ {
		n := e.p.nodes[j]
		if n.kind == kNext && n.args[0] == val(i) && e.last[val(i)] == j {
			old := e.p.once(node{kind: kAcc, imm: n.imm})
			if e.last[old] <= i {
				return n.imm
			}
		}
	}
	return e.take()
}

func (e *emitter) opNode(i int, n node) {
	a := n.args
	if n.com && !e.inReg(a[0]) {
		a = []val{a[1], a[0]}
	}
	if len(a) == 1 {
		r, tmp := e.need(a[0])
		e.drop(i)
		d := e.target(i)
		e.reg[val(i)] = d
		switch {
		case n.kind == kImm && n.ins == "ROUND" && e.wide:
			e.vm.imm("VRNDSCALEPS", n.imm, d, r)
		case n.kind == kImm && n.ins == "ROUND":
			e.vm.imm("VROUNDPS", n.imm, d, r)
		case n.kind == kImm:
			e.vm.imm(n.ins, n.imm, d, r)
		default:
			e.vm.un(n.ins, d, r)
		}
		if tmp {
			e.free[r] = true
		}
		return
	}
	first, tmp := e.need(a[0])
	second := [2]string{e.src(a[1], 0)}
	if !e.wide {
		second[1] = e.src(a[1], 1)
	}
	if tmp {
		e.free[first] = true
	}
	e.drop(i)
	d := e.target(i)
	e.reg[val(i)] = d
	e.halves(func(h int) { e.i("%s %s, %s, %s", n.ins, second[h], e.vm.reg(first, h), e.vm.reg(d, h)) })
}

// fmaNode chooses the form whose overwritten operand is not read again.
func (e *emitter) fmaNode(i int, n node) {
	a, b, c := n.args[0], n.args[1], n.args[2]
	if !e.inReg(a) {
		a, b = b, a
	}
	over := func(v val) bool { return e.inReg(v) && e.dies(v, i) && v != a }
	isAcc := e.p.nodes[c].kind == kAcc && !e.tail && e.last[c] == i
	form := func(name string, d val, s1, s2 val) {
		r := e.reg[d]
		e.halves(func(h int) {
			e.i("%s%sPS %s, %s, %s", n.ins, name, e.src(s2, h), e.src(s1, h), e.vm.reg(r, h))
		})
		if isAcc {
			e.drop(i)
			e.reg[val(i)] = r
			return
		}
		delete(e.reg, d)
		e.drop(i)
		e.free[r] = false
		e.reg[val(i)] = r
	}
	switch {
	case e.inReg(a) && c != a && c != b && (over(c) || isAcc):
		form("231", c, a, b)
	case e.inReg(a) && e.dies(a, i) && a != b && a != c && e.inReg(b):
		form("213", a, b, c)
	case e.inReg(a) && e.dies(a, i) && a != b && a != c && e.inReg(c):
		form("132", a, c, b)
	case e.inReg(b) && e.dies(b, i) && b != a && b != c && e.inReg(a):
		form("213", b, a, c)
	default:
		r, tmp := e.need(a)
		d := e.take()
		e.halves(func(h int) {
			e.i("VMOVUPS %s, %s", e.src(c, h), e.vm.reg(d, h))
			e.i("%s231PS %s, %s, %s", n.ins, e.src(b, h), e.vm.reg(r, h), e.vm.reg(d, h))
		})
		if tmp {
			e.free[r] = true
		}
		e.drop(i)
		e.reg[val(i)] = d
	}
}

func (e *emitter) cmpNode(i int, n node) {
	r, tmp := e.need(n.args[0])
	if e.wide {
		k := 1
		for ; k < 7 && !e.kfree[k]; k++ {
		}
		if k == 7 {
			panic("gen: out of mask registers")
		}
		e.kfree[k] = false
		e.i("VCMPPS $%d, %s, Z%d, K%d", n.imm, e.src(n.args[1], 0), r, k)
		e.drop(i)
		e.reg[val(i)] = k
	} else {
		second := [2]string{e.src(n.args[1], 0), e.src(n.args[1], 1)}
		e.drop(i)
		d := e.take()
		e.halves(func(h int) {
			e.i("VCMPPS $%d, %s, %s, %s", n.imm, second[h], e.vm.reg(r, h), e.vm.reg(d, h))
		})
		e.reg[val(i)] = d
	}
	if tmp {
		e.free[r] = true
	}
}

func (e *emitter) selectNode(i int, n node) {
	m, a, b := n.args[0], n.args[1], n.args[2]
	r, tmp := e.need(b)
	k := e.reg[m]
	yes := [2]string{e.src(a, 0)}
	if !e.wide {
		yes[1] = e.src(a, 1)
	}
	e.drop(i)
	d := e.target(i)
	e.reg[val(i)] = d
	if e.wide {
		e.i("VBLENDMPS %s, Z%d, K%d, Z%d", yes[0], r, k, d)
	} else {
		e.halves(func(h int) {
			e.i("VBLENDVPS %s, %s, %s, %s", e.vm.reg(k, h), yes[h], e.vm.reg(r, h), e.vm.reg(d, h))
		})
	}
	if tmp {
		e.free[r] = true
	}
}

// scaleNode: AVX2 builds the power of two in two factors, so that a subnormal result is rounded once.
func (e *emitter) scaleNode(i int, n node) {
	x, tmp := e.need(n.args[0])
	k, _ := e.need(n.args[1])
	if e.wide {
		e.drop(i)
		d := e.target(i)
		e.reg[val(i)] = d
		e.i("VSCALEFPS Z%d, Z%d, Z%d", k, x, d)
	} else {
		t, u := e.take(), e.take()
		e.vm.un("VCVTPS2DQ", t, k)
		e.vm.imm("VPSRAD", 1, u, t)
		e.vm.op("VPSUBD", t, t, u)
		for _, r := range []int{t, u} {
			e.opm("VPADDD", r, r, e.bits(127))
			e.vm.imm("VPSLLD", 23, r, r)
		}
		e.vm.op("VMULPS", u, x, u)
		e.vm.op("VMULPS", t, u, t)
		e.free[u] = true
		e.drop(i)
		e.reg[val(i)] = t
	}
	if tmp {
		e.free[x] = true
	}
}

// writeLoop writes the loop over whole vectors and the masked rest.
func (fn kernelFn) writeLoop(a *asm, wide bool, regs map[string]string) {
	p := &prog{accs: len(fn.ret)}
	fn.prog(p)
	for i := 0; i < p.accs; i++ {
		p.acc(i)
	}
	fixed := p.layout(a, wide)
	v := vm{a, wide}
	for i, n := range p.nodes {
		r, ok := fixed[val(i)]
		switch {
		case n.kind == kScalar:
			v.broadcast(fmt.Sprintf("%s+%d(FP)", fn.f32s[n.imm], 8+8*len(fn.ptrs)+4*n.imm), r)
		case n.kind == kConst && ok:
			v.constant(a.bits(uint32(n.imm)), r)
		}
	}
	for i, start := range fn.start {
		v.constant(a.bits(start), i)
	}
	a.i("MOVQ CX, BX")
	a.i("ANDQ $15, BX")
	a.i("SHRQ $4, CX")
	a.i("JE rest")
	a.i("PCALIGN $32")
	a.l("loop")
	p.emitter(a, wide, false, fixed, regs).run()
	for _, q := range fn.ptrs {
		a.i("ADDQ $64, %s", regs[q])
	}
	a.i("DECQ CX")
	a.i("JNE loop")
	a.l("rest")
	a.i("TESTQ BX, BX")
	a.i("JE done")
	if wide {
		a.i("MOVQ BX, CX")
		a.i("MOVL $1, AX")
		a.i("SHLQ CX, AX")
		a.i("DECQ AX")
		a.i("KMOVW AX, K7")
	} else {
		a.i("LEAQ %s, R11", a.words("lanemask", append(fill16(0xffffffff), fill16(0)...)))
		a.i("ADDQ $64, R11")
		a.i("SHLQ $2, BX")
		a.i("SUBQ BX, R11")
	}
	p.emitter(a, wide, true, fixed, regs).run()
	a.l("done")
}
