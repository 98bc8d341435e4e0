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
		kernelFn{name: "vrowprod", doc: "multiplies the 16 numbers of total64 by x, 16 at a time.", ptrs: []string{"total64", "x"}, step: map[string]int{"total64": 0}, each: func(v vm, p map[string]string) { v.fold64("VMULPD", p, "") }},
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
		fns = append(fns, kernelFn{name: m.name, doc: "is the remainder of longa by longb " + m.doc + ", both of 32 bits, longb not 0.", ptrs: []string{"long", "longa", "longb"},
			step: map[string]int{"long": 128, "longa": 128, "longb": 128}, each: func(v vm, p map[string]string) {
				for g := range 4 {
					for i, s := range []string{"longa", "longb"} {
						v.i("VMOVDQU %d(%s), Y%d", 32*g, p[s], i)
						v.i("VPSHUFD $0x88, Y%d, Y%d", i, i)
						v.i("VPERMQ $0x08, Y%d, Y%d", i, i)
						v.i("VCVTDQ2PD X%d, Y%d", i, i)
					}
					v.i("VDIVPD Y1, Y0, Y2")
					v.i("VROUNDPD $%d, Y2, Y2", m.mode)
					v.i("VFNMADD231PD Y1, Y2, Y0")
					v.i("VCVTTPD2DQY Y0, X0")
					v.i("VPMOVSXDQ X0, Y0")
					v.i("VMOVDQU Y0, %d(%s)", 32*g, p["long"])
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
