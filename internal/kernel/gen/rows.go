package main

import "fmt"

// rowKernel goes over rows in several phases, each a loop over the row like that of a kernelFn. Between the
// phases a reduced number is worked on and spread over a register that later phases read as a scalar.
type rowKernel struct {
	name, doc string
	ptrs      []string // advanced by one row
	fixed     []string // the same for every row
	stats     []string // advanced by one number; nil: not wanted
	f32s      []string
	phases    []phase
}

type phase struct {
	each  func(p *prog)
	fold  string // instruction that joins the lanes of running value 0; "": there is none
	start uint32
	after func(r *rowWriter) // X0 holds the folded number
}

// rowWriter writes one rowKernel for one tier.
type rowWriter struct {
	vm
	k   *rowKernel
	off map[string]int
}

// arg is the memory operand of an argument.
func (r *rowWriter) arg(name string) string { return fmt.Sprintf("%s+%d(FP)", name, r.off[name]) }

// spread copies X0 into scalar i.
func (r *rowWriter) spread(i int) {
	r.halves(func(h int) { r.i("VBROADCASTSS X0, %s", r.reg(registers(r.wide)-1-i, h)) })
}

// keep stores X0 in the statistics name, if they are wanted.
func (r *rowWriter) keep(name string) {
	r.i("MOVQ %s, AX", r.arg(name))
	r.i("TESTQ AX, AX")
	r.i("JE no%s", name)
	r.i("MOVSS X0, (AX)")
	r.i("ADDQ $4, AX")
	r.i("MOVQ AX, %s", r.arg(name))
	r.l("no" + name)
}

// reciprocal makes X0 its reciprocal.
func (r *rowWriter) reciprocal() {
	r.i("VMOVSS %s, X1", r.f32(1))
	r.i("VDIVSS X0, X1, X0")
}

// invRoot makes X0 1 / sqrt(X0 / n + eps).
func (r *rowWriter) invRoot() {
	r.i("VDIVSS %s, X0, X0", r.arg("n"))
	r.i("VADDSS %s, X0, X0", r.arg("eps"))
	r.i("VSQRTSS X0, X0, X0")
	r.reciprocal()
}

func (k rowKernel) write(a *asm, wide bool) {
	suffix := "256"
	if wide {
		suffix = "512"
	}
	r := &rowWriter{vm: vm{a, wide}, k: &k, off: map[string]int{}}
	sig, off := "rows, cols int", 16
	r.off["rows"], r.off["cols"] = 0, 8
	for _, list := range [][]string{k.ptrs, k.fixed, k.stats} {
		for _, p := range list {
			sig += ", " + p + " *float32"
			r.off[p], off = off, off+8
		}
	}
	for _, s := range k.f32s {
		sig += ", " + s + " float32"
		r.off[s], off = off, off+4
	}
	name := k.name + suffix
	a.fn(name, k.doc+" rows and cols are positive.", sig, off)
	progs := make([]*prog, len(k.phases))
	for i, ph := range k.phases {
		progs[i] = &prog{accs: 1}
		ph.each(progs[i])
		progs[i].acc(0)
	}
	fixed := r.layout(progs)
	a.i("MOVQ cols+8(FP), R13")
	a.i("MOVQ R13, R12")
	a.i("ANDQ $15, R12")
	if wide {
		a.i("MOVQ R12, CX")
		a.i("MOVL $1, AX")
		a.i("SHLQ CX, AX")
		a.i("DECQ AX")
		a.i("KMOVW AX, K7")
	} else {
		a.i("LEAQ %s, R11", a.words("lanemask", append(fill16(0xffffffff), fill16(0)...)))
		a.i("ADDQ $64, R11")
		a.i("MOVQ R12, AX")
		a.i("SHLQ $2, AX")
		a.i("SUBQ AX, R11")
	}
	a.l("row")
	for i, ph := range k.phases {
		r.phase(i, ph, progs[i], fixed[i])
	}
	a.i("SHLQ $2, R13")
	for _, p := range k.ptrs {
		a.i("ADDQ R13, %s", r.arg(p))
	}
	a.i("SHRQ $2, R13")
	a.i("DECQ rows+0(FP)")
	a.i("JNE row")
	a.i("VZEROUPPER")
	a.i("RET")
}

// layout places the scalars of all phases at the top, and loads the constants there is room for.
func (r *rowWriter) layout(progs []*prog) []map[val]int {
	top := registers(r.wide) - 1
	maps := make([]map[val]int, len(progs))
	for i, p := range progs {
		maps[i] = map[val]int{}
		for j, n := range p.nodes {
			switch n.kind {
			case kAcc:
				maps[i][val(j)] = 0
			case kScalar:
				maps[i][val(j)] = registers(r.wide) - 1 - n.imm
				top = min(top, registers(r.wide)-2-n.imm)
			}
		}
	}
	if !r.wide {
		return maps
	}
	need := 0
	for i, p := range progs {
		for _, tail := range []bool{false, true} {
			e := p.emitter(&asm{}, r.wide, tail, maps[i], map[string]string{})
			e.run()
			need = max(need, e.most)
		}
	}
	at := map[int]int{}
	for i, p := range progs {
		for j, n := range p.nodes {
			if n.kind != kConst {
				continue
			}
			reg, ok := at[n.imm]
			if !ok {
				if top < need+1 {
					continue
				}
				reg, at[n.imm] = top, top
				top--
				r.constant(r.bits(uint32(n.imm)), reg)
			}
			maps[i][val(j)] = reg
		}
	}
	return maps
}

func (r *rowWriter) phase(i int, ph phase, p *prog, fixed map[val]int) {
	label := func(s string) string { return fmt.Sprint(s, i) }
	regs, used := map[string]string{}, []string{}
	for _, n := range p.nodes {
		if (n.kind == kLoad || n.kind == kStore) && regs[n.ins] == "" {
			regs[n.ins] = ptrRegs[len(used)]
			used = append(used, n.ins)
			r.i("MOVQ %s, %s", r.arg(n.ins), regs[n.ins])
		}
	}
	if ph.fold != "" {
		r.constant(r.bits(ph.start), 0)
	}
	r.i("MOVQ R13, CX")
	r.i("SHRQ $4, CX")
	r.i("JE %s", label("rest"))
	r.l(label("loop"))
	p.emitter(r.asm, r.wide, false, fixed, regs).run()
	for _, u := range used {
		r.i("ADDQ $64, %s", regs[u])
	}
	r.i("DECQ CX")
	r.i("JNE %s", label("loop"))
	r.l(label("rest"))
	r.i("TESTQ R12, R12")
	r.i("JE %s", label("done"))
	p.emitter(r.asm, r.wide, true, fixed, regs).run()
	r.l(label("done"))
	if ph.fold != "" {
		r.tree(ph.fold, 0, 1)
	}
	if ph.after != nil {
		ph.after(r)
	}
}

// rowKernels lists what works row by row; the twins are in vec_ref.go.
func rowKernels() []rowKernel {
	sum := func(f func(p *prog) val) func(p *prog) { return func(p *prog) { p.next(0, p.plus(p.acc(0), f(p))) } }
	squares := func(x string) phase {
		return phase{each: func(p *prog) {
			d := p.minus(p.load(x), p.scalar(0))
			p.next(0, p.fma(d, d, p.acc(0)))
		}, fold: "VADDPS", after: func(r *rowWriter) { r.invRoot(); r.keep("invstd"); r.spread(1) }}
	}
	mean := func(r *rowWriter) { r.i("VDIVSS %s, X0, X0", r.arg("n")); r.keep("mean"); r.spread(0) }
	norm := func(x string) phase {
		return phase{each: func(p *prog) {
			h := p.times(p.minus(p.load(x), p.scalar(0)), p.scalar(1))
			p.store("y", p.fma(h, p.load("scale"), p.load("bias")))
		}}
	}
	return []rowKernel{
		{name: "rsoftmax", doc: "is e^(x-max)/sum for every row.", ptrs: []string{"dst", "x"}, phases: []phase{
			{each: func(p *prog) { p.next(0, p.max(p.acc(0), p.load("x"))) }, fold: "VMAXPS", start: 0xff800000, after: func(r *rowWriter) { r.spread(0) }},
			{each: sum(func(p *prog) val {
				e := p.expNeg(p.minus(p.load("x"), p.scalar(0)))
				p.store("dst", e)
				return e
			}), fold: "VADDPS", after: func(r *rowWriter) { r.reciprocal(); r.spread(0) }},
			{each: func(p *prog) { p.store("dst", p.times(p.load("dst"), p.scalar(0))) }},
		}},
		{name: "rlayernorm", doc: "normalises every row.", ptrs: []string{"y", "x"}, fixed: []string{"scale", "bias"}, stats: []string{"mean", "invstd"}, f32s: []string{"n", "eps"}, phases: []phase{
			{each: sum(func(p *prog) val { return p.load("x") }), fold: "VADDPS", after: mean}, squares("x"), norm("x"),
		}},
		{name: "raddnorm", doc: "normalises every row of sum = a + b.", ptrs: []string{"y", "sum", "a", "b"}, fixed: []string{"scale", "bias"}, stats: []string{"mean", "invstd"}, f32s: []string{"n", "eps"}, phases: []phase{
			{each: sum(func(p *prog) val {
				s := p.plus(p.load("a"), p.load("b"))
				p.store("sum", s)
				return s
			}), fold: "VADDPS", after: mean}, squares("sum"), norm("sum"),
		}},
		{name: "rrms", doc: "divides every row by the root of its mean square.", ptrs: []string{"y", "x"}, fixed: []string{"scale"}, stats: []string{"invstd"}, f32s: []string{"n", "eps"}, phases: []phase{
			{each: func(p *prog) { x := p.load("x"); p.next(0, p.fma(x, x, p.acc(0))) }, fold: "VADDPS", after: func(r *rowWriter) { r.invRoot(); r.keep("invstd"); r.spread(0) }},
			{each: func(p *prog) { p.store("y", p.times(p.times(p.load("x"), p.scalar(0)), p.load("scale"))) }},
		}},
	}
}

// dispatch writes the Go function that calls the kernel of the active tier.
func (k rowKernel) dispatch(a *asm) {
	params, args := "rows, cols int", "rows, cols"
	for _, list := range [][]string{k.ptrs, k.fixed, k.stats} {
		for _, p := range list {
			params, args = params+", "+p+" *float32", args+", "+p
		}
	}
	for _, s := range k.f32s {
		params, args = params+", "+s+" float32", args+", "+s
	}
	fmt.Fprintf(&a.decl, "// %[1]s %[2]s\nfunc %[1]s(%[3]s) {\n\tif cpu.Active() == cpu.AVX512 {\n\t\t%[1]s512(%[4]s)\n\t\treturn\n\t}\n\t%[1]s256(%[4]s)\n}\n\n", k.name, k.doc, params, args)
	fmt.Fprintf(&a.stub, "func %s(%s) { panic(\"kernel: no assembly\") }\n\n", k.name, params)
}
