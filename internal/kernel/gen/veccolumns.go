package main

import "fmt"

// columnar are kernels of one row that fold it into running rows, and powers.
func columnar() []kernelFn {
	add := func(p *prog, x val) { p.store("total", p.plus(p.load("total"), x)) }
	exp := func(p *prog) val { return p.expNeg(p.minus(p.load("x"), p.load("m"))) }
	top := func(name, doc string, pred int) kernelFn {
		return kernelFn{name: name, doc: doc, ptrs: []string{"best", "at", "x"}, f32s: []string{"sign", "row"}, prog: func(p *prog) {
			x, old := p.times(p.load("x"), p.scalar(0)), p.load("best")
			better := p.compare(pred, x, old)
			p.store("best", p.pick(better, x, old))
			p.store("at", p.pick(better, p.scalar(1), p.load("at")))
		}}
	}
	var fns []kernelFn
	for _, f := range []struct{ name, doc, ins string }{{"sum", "adds", "VADDPD"}, {"prod", "multiplies", "VMULPD"}} {
		fns = append(fns, kernelFn{name: "vrun" + f.name, doc: f.doc + " x to total64 and is dst = total64.", ptrs: []string{"dst", "total64", "x"}, step: map[string]int{"total64": 128},
			each: func(v vm, p map[string]string) { v.fold64(f.ins, p, "dst") }})
	}
	return append(fns,
		kernelFn{name: "vcolprod", doc: "multiplies total64 by x.", ptrs: []string{"total64", "x"}, step: map[string]int{"total64": 128}, each: func(v vm, p map[string]string) { v.fold64("VMULPD", p, "") }},
		kernelFn{name: "vaffine", doc: "is dst = (x-m)*a + b.", ptrs: []string{"dst", "x"}, f32s: []string{"m", "a", "b"}, prog: func(p *prog) {
			p.store("dst", p.fma(p.minus(p.load("x"), p.scalar(0)), p.scalar(1), p.scalar(2)))
		}},
		kernelFn{name: "vmix", doc: "adds w0*a + w1*b + w2*c + w3*d to dst, in this order.", ptrs: []string{"dst", "a", "b", "c", "d"}, f32s: []string{"w0", "w1", "w2", "w3"}, prog: func(p *prog) {
			s := p.load("dst")
			for i, x := range []string{"a", "b", "c", "d"} {
				s = p.fma(p.load(x), p.scalar(i), s)
			}
			p.store("dst", s)
		}},
		kernelFn{name: "vbits", doc: "returns the largest of the words x-low&mask, without signs.", ptrs: []string{"x"}, f32s: []string{"low", "mask"}, ret: []string{"top"}, ins: "VPMAXUD", start: []uint32{0}, prog: func(p *prog) {
			p.next(0, p.op("VPMAXUD", p.acc(0), p.commute("VANDPS", p.op("VPSUBD", p.load("x"), p.scalar(0)), p.scalar(1))))
		}},
		kernelFn{name: "vexpcols", doc: "is dst = e^(x-m), and adds it to total.", ptrs: []string{"dst", "total", "x", "m"}, prog: func(p *prog) {
			e := exp(p)
			p.store("dst", e)
			add(p, e)
		}},
		kernelFn{name: "vexpcolsum", doc: "adds e^(x-m) to total.", ptrs: []string{"total", "x", "m"}, prog: func(p *prog) { add(p, exp(p)) }},
		top("vtopcols", "puts x*sign into best and row into at where it is larger.", greater),
		top("vtopcolslast", "puts x*sign into best and row into at where it is not smaller.", greaterEqual),
		kernelFn{name: "vpow", doc: "is dst = x^y for normal x > 0 and finite y.", ptrs: []string{"dst", "x", "y"}, prog: func(p *prog) {
			p.store("dst", p.pow(func() val { return p.load("x") }, func() val { return p.load("y") }))
		}},
		kernelFn{name: "vpows", doc: "is dst = x^s for normal x > 0 and a finite s.", ptrs: []string{"dst", "x"}, f32s: []string{"s"}, prog: func(p *prog) {
			p.store("dst", p.pow(func() val { return p.load("x") }, func() val { return p.scalar(0) }))
		}})
}

// fold64 folds 16 numbers x into total64 in double precision; to, if it is named, gets the rounded totals.
func (v vm) fold64(ins string, p map[string]string, to string) {
	parts, size, reg, narrow := 2, 64, "Z", "VCVTPD2PS Z%d, Y%d"
	if !v.wide {
		parts, size, reg, narrow = 4, 32, "Y", "VCVTPD2PSY Y%d, X%d"
	}
	for q := range parts {
		r := fmt.Sprint(reg, q)
		v.i("VCVTPS2PD %d(%s), %s", size/2*q, p["x"], r)
		v.i("%s %d(%s), %s, %s", ins, size*q, p["total64"], r, r)
		v.i("VMOVUPD %s, %d(%s)", r, size*q, p["total64"])
		if to != "" {
			v.i(narrow, q, q)
			v.i("VMOVUPS %s%d, %d(%s)", map[bool]string{true: "Y", false: "X"}[v.wide], q, size/2*q, p[to])
		}
	}
}

// fold16 folds n numbers x, 16 at a time, into the 16 numbers of total64, in registers; with dst the rounded totals go there.
func fold16(a *asm, name, ins string, dst, wide bool) {
	suffix, doc, args, size, regs := "256", "folds x, 16 at a time, into the 16 numbers of total64. n is a positive multiple of 16.", "n int, total64 *float64, x *float32", 24, []string{"CX", "DX", "SI"}
	names := []string{"n", "total64", "x"}
	if wide {
		suffix = "512"
	}
	if dst {
		args, size, regs, names = "n int, dst *float32, total64 *float64, x *float32", 32, []string{"CX", "DI", "DX", "SI"}, []string{"n", "dst", "total64", "x"}
		doc = "is dst = the totals at every step: it " + doc
	}
	parts, bytes, reg, half, narrow := 2, 64, "Z", "Y", "VCVTPD2PS Z%d, Y%d"
	if !wide {
		parts, bytes, reg, half, narrow = 4, 32, "Y", "X", "VCVTPD2PSY Y%d, X%d"
	}
	a.fn(name+suffix, doc, args, size)
	for i, r := range regs {
		a.i("MOVQ %s+%d(FP), %s", names[i], 8*i, r)
	}
	for q := range parts {
		a.i("VMOVUPD %d(DX), %s%d", bytes*q, reg, q)
	}
	a.i("SHRQ $4, CX")
	a.l("loop")
	for q := range parts {
		a.i("VCVTPS2PD %d(SI), %s%d", bytes/2*q, reg, 4+q)
		a.i("%s %s%d, %s%d, %s%d", ins, reg, 4+q, reg, q, reg, q)
		if dst {
			a.i(narrow, q, 4+q)
			a.i("VMOVUPS %s%d, %d(DI)", half, 4+q, bytes/2*q)
		}
	}
	a.i("ADDQ $64, SI")
	if dst {
		a.i("ADDQ $64, DI")
	}
	a.i("DECQ CX")
	a.i("JNE loop")
	for q := range parts {
		a.i("VMOVUPD %s%d, %d(DX)", reg, q, bytes*q)
	}
	a.i("VZEROUPPER")
	a.i("RET")
}

// folds16 writes the forms of fold16 and the functions that call them.
func folds16(a *asm) {
	for _, f := range []struct {
		name, ins    string
		dst          bool
		params, args string
	}{
		{"vrowprod", "VMULPD", false, "n int, total64 *float64, x *float32", "n, total64, x"},
		{"vrowsums", "VADDPD", true, "n int, dst *float32, total64 *float64, x *float32", "n, dst, total64, x"},
		{"vrowprods", "VMULPD", true, "n int, dst *float32, total64 *float64, x *float32", "n, dst, total64, x"},
	} {
		fold16(a, f.name, f.ins, f.dst, true)
		fold16(a, f.name, f.ins, f.dst, false)
		fmt.Fprintf(&a.decl, "// %[1]s is %[1]s512 or %[1]s256.\nfunc %[1]s(%[2]s) {\n\tif cpu.Active() == cpu.AVX512 {\n\t\t%[1]s512(%[3]s)\n\t\treturn\n\t}\n\t%[1]s256(%[3]s)\n}\n\n", f.name, f.params, f.args)
		fmt.Fprintf(&a.stub, "func %s(%s) { panic(\"kernel: no assembly\") }\n\n", f.name, f.params)
	}
}

// integers are kernels of whole numbers.
func integers() []kernelFn {
	var fns []kernelFn
	for _, f := range []struct{ name, sign, ins string }{{"vaddi", "+", "VPADDD"}, {"vsubi", "-", "VPSUBD"}, {"vmuli", "*", "VPMULLD"}} {
		fns = append(fns, kernelFn{name: f.name, doc: "is dst = a " + f.sign + " b in 32-bit integers.", ptrs: []string{"dst", "a", "b"}, prog: func(p *prog) {
			p.store("dst", p.op(f.ins, p.load("a"), p.load("b")))
		}})
	}
	for _, m := range []struct {
		name, doc string
		mode      int
	}{{"vmodfloor", "with the sign of longb", 1}, {"vmodzero", "with the sign of longa", 3}} {
		fns = append(fns, kernelFn{name: m.name, doc: "is the remainder of longa by longb " + m.doc + "; it returns bits if one has more than 32 bits or longb is 0.", ptrs: []string{"long", "longa", "longb"},
			ret: []string{"wrong"}, ins: "VORPS", start: []uint32{0},
			step: map[string]int{"long": 128, "longa": 128, "longb": 128}, each: func(v vm, p map[string]string) {
				v.i("VPXOR Y8, Y8, Y8")
				for g := range 4 { // Y0 collects what is wrong
					for i, s := range []string{"longa", "longb"} {
						x := 2 + i
						v.i("VMOVDQU %d(%s), Y%d", 32*g, p[s], 4+i)
						v.i("VPSHUFD $0x88, Y%d, Y%d", 4+i, x)
						v.i("VPERMQ $0x08, Y%d, Y%d", x, x)
						v.i("VPMOVSXDQ X%d, Y6", x)
						v.i("VPXOR Y6, Y%d, Y6", 4+i)
						v.i("VPOR Y6, Y0, Y0")
						v.i("VCVTDQ2PD X%d, Y%d", x, x)
					}
					v.i("VPCMPEQQ Y5, Y8, Y6")
					v.i("VPOR Y6, Y0, Y0")
					v.i("VDIVPD Y3, Y2, Y6")
					v.i("VROUNDPD $%d, Y6, Y6", m.mode)
					v.i("VFNMADD231PD Y3, Y6, Y2")
					v.i("VCVTTPD2DQY Y2, X2")
					v.i("VPMOVSXDQ X2, Y2")
					v.i("VMOVDQU Y2, %d(%s)", 32*g, p["long"])
				}
			}})
	}
	trunc := func(name, to, ptr string, step int, store func(v vm, p map[string]string)) kernelFn {
		return kernelFn{name: name, doc: "rounds |x| < 2^31 towards zero, to " + to + ".", ptrs: []string{ptr, "x"}, step: map[string]int{ptr: step}, each: func(v vm, p map[string]string) {
			v.halves(func(h int) { v.i("VCVTTPS2DQ %d(%s), %s", 32*h, p["x"], v.reg(0, h)) })
			store(v, p)
		}}
	}
	return append(fns,
		trunc("vtruncs", "32 bits", "acc", 64, func(v vm, p map[string]string) { v.store(0, p["acc"]) }),
		trunc("vtruncl", "64 bits", "long", 128, func(v vm, p map[string]string) {
			if v.wide {
				v.i("VPMOVSXDQ Y0, Z1")
				v.i("VEXTRACTI64X4 $1, Z0, Y0")
				v.i("VPMOVSXDQ Y0, Z2")
				v.i("VMOVDQU64 Z1, (%s)", p["long"])
				v.i("VMOVDQU64 Z2, 64(%s)", p["long"])
				return
			}
			for q := range 4 {
				v.i("VEXTRACTI128 $%d, Y%d, X2", q%2, q/2)
				v.i("VPMOVSXDQ X2, Y2")
				v.i("VMOVDQU Y2, %d(%s)", 32*q, p["long"])
			}
		}),
		trunc("vtruncb", "the lowest 8 bits", "q", 16, func(v vm, p map[string]string) {
			if v.wide {
				v.i("VPMOVDB Z0, (%s)", p["q"])
				return
			}
			v.opm("VPAND", 0, 0, v.bits(255))
			v.i("VPACKUSDW Y1, Y0, Y0") // per 128 bits: 0-3 8-11 | 4-7 12-15
			v.i("VPERMQ $0xd8, Y0, Y0")
			v.i("VEXTRACTI128 $1, Y0, X1")
			v.i("VPACKUSWB X1, X0, X0")
			v.i("VMOVDQU X0, (%s)", p["q"])
		}),
		kernelFn{name: "vtwice", doc: "writes every word of x twice.", ptrs: []string{"dst", "x"}, step: map[string]int{"dst": 128}, each: func(v vm, p map[string]string) {
			for q := range map[bool]int{true: 2, false: 4}[v.wide] {
				reg, size := "Y", 32
				if v.wide {
					reg, size = "Z", 64
				}
				v.i("VPMOVZXDQ %d(%s), %s%d", size/2*q, p["x"], reg, q)
				v.i("VPSHUFD $0xa0, %s%d, %s%d", reg, q, reg, q)
				v.i("VMOVUPS %s%d, %d(%s)", reg, q, size*q, p["dst"])
			}
		}},
		kernelFn{name: "vweave", doc: "writes the words of a and b in turn.", ptrs: []string{"dst", "a", "b"}, step: map[string]int{"dst": 128}, each: func(v vm, p map[string]string) {
			for q := range map[bool]int{true: 2, false: 4}[v.wide] {
				reg, size := "Y", 32
				if v.wide {
					reg, size = "Z", 64
				}
				v.i("VPMOVZXDQ %d(%s), %s0", size/2*q, p["a"], reg)
				v.i("VPMOVZXDQ %d(%s), %s1", size/2*q, p["b"], reg)
				v.i("VPSLLQ $32, %[1]s1, %[1]s1", reg)
				v.i("VORPS %[1]s0, %[1]s1, %[1]s0", reg)
				v.i("VMOVUPS %s0, %d(%s)", reg, size*q, p["dst"])
			}
		}},
		kernelFn{name: "vselectl", doc: "is long = q ? longa : longb.", ptrs: []string{"long", "q", "longa", "longb"}, step: map[string]int{"q": 16, "long": 128, "longa": 128, "longb": 128}, each: func(v vm, p map[string]string) {
			if v.wide {
				for h := range 2 {
					v.i("VMOVDQU64 %d(%s), Z1", 64*h, p["longb"])
					v.i("VPMOVZXBQ %d(%s), Z0", 8*h, p["q"])
					v.i("VPTESTMQ Z0, Z0, K1")
					v.i("VMOVDQU64 %d(%s), K1, Z1", 64*h, p["longa"])
					v.i("VMOVDQU64 Z1, %d(%s)", 64*h, p["long"])
				}
				return
			}
			v.i("VPXOR Y3, Y3, Y3")
			for h := range 4 {
				v.i("VMOVDQU %d(%s), Y1", 32*h, p["longb"])
				v.i("VPMOVZXBQ %d(%s), Y0", 4*h, p["q"])
				v.i("VPCMPGTQ Y3, Y0, Y0")
				v.i("VBLENDVPD Y0, %d(%s), Y1, Y1", 32*h, p["longa"])
				v.i("VMOVDQU Y1, %d(%s)", 32*h, p["long"])
			}
		}})
}
