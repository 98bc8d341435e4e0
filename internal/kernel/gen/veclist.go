package main

import "fmt"

// vecKernels lists the element-wise and row kernels. Every description is the order
// of operations that the plain Go twin (vec_ref.go, func_ref.go) has too.
func vecKernels() []kernelFn {
	var fns []kernelFn
	for _, group := range [][]kernelFn{functions(), gradients(), arithmetic(), folds(), norms(), quants(), choices(), columnar(), integers()} {
		fns = append(fns, group...)
	}
	return append(fns, adamw())
}

// arithmetic are the operations of two operands, and of one with a number.
func arithmetic() []kernelFn {
	var fns []kernelFn
	for _, b := range []struct {
		name, doc string
		f         func(p *prog, a, b val) val
	}{
		{"vadd", "a + %s", func(p *prog, a, b val) val { return p.plus(a, b) }},
		{"vsub", "a - %s", func(p *prog, a, b val) val { return p.minus(a, b) }},
		{"vmul", "a * %s", func(p *prog, a, b val) val { return p.times(a, b) }},
		{"vdiv", "a / %s", func(p *prog, a, b val) val { return p.over(a, b) }},
		{"vmaxi", "the larger of a and %s", func(p *prog, a, b val) val { return p.pick(p.compare(unordered, a, a), a, p.max(a, b)) }},
		{"vmini", "the smaller of a and %s", func(p *prog, a, b val) val { return p.pick(p.compare(unordered, a, a), a, p.min(a, b)) }},
		{"vleak", "a, or a * %s below 0", func(p *prog, a, b val) val { return p.pick(p.compare(less, a, p.c(0)), p.times(a, b), a) }},
		{"vrsub", "%s - a", func(p *prog, a, b val) val { return p.minus(b, a) }},
		{"vrdiv", "%s / a", func(p *prog, a, b val) val { return p.over(b, a) }},
	} {
		if b.name[1] != 'r' {
			fns = append(fns, kernelFn{name: b.name, doc: "is dst = " + fill(b.doc, "b") + ".", ptrs: []string{"dst", "a", "b"},
				prog: func(p *prog) { p.store("dst", b.f(p, p.load("a"), p.load("b"))) }})
		}
		fns = append(fns, kernelFn{name: b.name + "s", doc: "is dst = " + fill(b.doc, "s") + ".", ptrs: []string{"dst", "a"}, f32s: []string{"s"},
			prog: func(p *prog) { p.store("dst", b.f(p, p.load("a"), p.scalar(0))) }})
	}
	return append(fns, kernelFn{name: "vmulsub", doc: "is dst = y*(x-s).", ptrs: []string{"dst", "y", "x"}, f32s: []string{"s"}, prog: func(p *prog) {
		p.store("dst", p.times(p.minus(p.load("x"), p.scalar(0)), p.load("y")))
	}})
}

// folds reduce a row to one number.
func folds() []kernelFn {
	const inf = 0x7f800000
	fold := func(name, doc string, ptrs, f32s []string, each func(p *prog) val) kernelFn {
		return kernelFn{name: name, doc: doc, ptrs: ptrs, f32s: f32s, ret: []string{"sum"}, ins: "VADDPS", start: []uint32{0},
			prog: func(p *prog) { p.next(0, each(p)) }}
	}
	extreme := func(name, doc, ins string, start uint32, each func(p *prog, a, x val) val) kernelFn {
		return kernelFn{name: name, doc: doc, ptrs: []string{"x"}, ret: []string{"top"}, ins: ins, start: []uint32{start}, prog: func(p *prog) { p.next(0, each(p, p.acc(0), p.load("x"))) }}
	}
	return []kernelFn{
		fold("vsum", "returns the sum of x.", []string{"x"}, nil, func(p *prog) val { return p.plus(p.acc(0), p.load("x")) }),
		fold("vabssum", "returns the sum of |x|.", []string{"x"}, nil, func(p *prog) val { return p.plus(p.acc(0), p.abs(p.load("x"))) }),
		fold("vdot", "returns the sum of a*b.", []string{"a", "b"}, nil, func(p *prog) val { return p.fma(p.load("a"), p.load("b"), p.acc(0)) }),
		fold("vsquares", "returns the sum of (x-m)^2.", []string{"x"}, []string{"m"}, func(p *prog) val {
			d := p.minus(p.load("x"), p.scalar(0))
			return p.fma(d, d, p.acc(0))
		}),
		fold("vexpsum", "is dst = e^(x-m) for m not below any x, and returns the sum.", []string{"dst", "x"}, []string{"m"}, func(p *prog) val {
			e := p.expNeg(p.minus(p.load("x"), p.scalar(0)))
			p.store("dst", e)
			return p.plus(p.acc(0), e)
		}),
		fold("vexpsumonly", "returns the sum of e^(x-m) for m not below any x.", []string{"x"}, []string{"m"}, func(p *prog) val {
			return p.plus(p.acc(0), p.expNeg(p.minus(p.load("x"), p.scalar(0))))
		}),
		extreme("vmax", "returns the largest element of x; NaN may be lost.", "VMAXPS", 0xff800000, func(p *prog, a, x val) val { return p.max(a, x) }),
		// A NaN stays in its lane; the lanes are joined in Go.
		extreme("vmaxabs", "returns the largest |x|; NaN is lost.", "VMAXPS", 0, func(p *prog, a, x val) val { return p.max(p.abs(x), a) }),
		extreme("vnans", "returns 0, or NaN if there is one in x.", "VADDPS", 0, func(p *prog, a, x val) val {
			return p.pick(p.compare(unordered, x, x), x, a)
		}),
		extreme("vmin", "returns the smallest element of x; NaN may be lost.", "VMINPS", inf, func(p *prog, a, x val) val { return p.min(a, x) }),
	}
}

// norms are the parts of layer normalisation and its gradient.
func norms() []kernelFn {
	hat := func(p *prog) val { return p.times(p.minus(p.load("x"), p.scalar(0)), p.scalar(1)) }
	return []kernelFn{
		{name: "vnorm", doc: "is y = (x-m)*r*scale + bias.", ptrs: []string{"y", "x", "scale", "bias"}, f32s: []string{"m", "r"}, prog: func(p *prog) {
			p.store("y", p.fma(hat(p), p.load("scale"), p.load("bias")))
		}},
		{name: "vrms", doc: "is y = x*r*scale.", ptrs: []string{"y", "x", "scale"}, f32s: []string{"r"}, prog: func(p *prog) {
			p.store("y", p.times(p.times(p.load("x"), p.scalar(0)), p.load("scale")))
		}},
		{name: "vaddsum", doc: "is dst = a + b, and returns the sum.", ptrs: []string{"dst", "a", "b"}, ret: []string{"sum"}, ins: "VADDPS", start: []uint32{0}, prog: func(p *prog) {
			s := p.plus(p.load("a"), p.load("b"))
			p.store("dst", s)
			p.next(0, p.plus(p.acc(0), s))
		}},
		{name: "vnormsums", doc: "returns the sums of dy*scale and of dy*scale*(x-m)*r.", ptrs: []string{"dy", "x", "scale"}, f32s: []string{"m", "r"}, ret: []string{"sg", "sgx"}, ins: "VADDPS", start: []uint32{0, 0}, prog: func(p *prog) {
			t := p.times(p.load("dy"), p.load("scale"))
			p.next(0, p.plus(p.acc(0), t))
			p.next(1, p.fma(t, hat(p), p.acc(1)))
		}},
		{name: "vnormgrad", doc: "is dx = r*(dy*scale - mg - (x-m)*r*mgx).", ptrs: []string{"dx", "dy", "x", "scale"}, f32s: []string{"m", "r", "mg", "mgx"}, prog: func(p *prog) {
			t := p.minus(p.times(p.load("dy"), p.load("scale")), p.scalar(2))
			p.store("dx", p.times(p.fnma(hat(p), p.scalar(3), t), p.scalar(1)))
		}},
		{name: "vnormparam", doc: "adds dy*(x-m)*r to ds and dy to db.", ptrs: []string{"ds", "db", "dy", "x"}, f32s: []string{"m", "r"}, prog: func(p *prog) {
			dy := p.load("dy")
			p.store("ds", p.fma(dy, hat(p), p.load("ds")))
			p.store("db", p.plus(p.load("db"), dy))
		}},
	}
}

// choices compare, choose and convert; n is a multiple of 16.
func choices() []kernelFn {
	var fns []kernelFn
	for _, c := range []struct {
		name, sign string
		pred       int
	}{{"veq", "==", equal}, {"vlt", "<", less}, {"vle", "<=", lessEqual}, {"vgt", ">", greater}, {"vge", ">=", greaterEqual}, {"vne", "!=", notEqual}} {
		test := func(v vm, p map[string]string, second func(h int) string) {
			if v.wide {
				v.i("VCMPPS $%d, %s, Z0, K1", c.pred, second(0))
				v.i("VMOVDQU8.Z %s, K1, X2", v.bits(0x01010101))
				v.i("VMOVDQU X2, (%s)", p["q"])
				return
			}
			v.halves(func(h int) { v.i("VCMPPS $%d, %s, %s, %s", c.pred, second(h), v.reg(0, h), v.reg(0, h)) })
			v.i("VPACKSSDW Y1, Y0, Y0") // per 128 bits: 0-3 8-11 | 4-7 12-15
			v.i("VPERMQ $0xd8, Y0, Y0")
			v.i("VEXTRACTI128 $1, Y0, X1")
			v.i("VPACKSSWB X1, X0, X0")
			v.i("VPAND %s, X0, X0", v.bits(0x01010101))
			v.i("VMOVDQU X0, (%s)", p["q"])
		}
		fns = append(fns, kernelFn{name: c.name, doc: "is q = a " + c.sign + " b.", ptrs: []string{"q", "a", "b"}, step: map[string]int{"q": 16}, each: func(v vm, p map[string]string) {
			v.load(p["a"], 0)
			test(v, p, func(h int) string { return fmt.Sprintf("%d(%s)", 32*h, p["b"]) })
		}}, kernelFn{name: c.name + "s", doc: "is q = a " + c.sign + " s.", ptrs: []string{"q", "a"}, f32s: []string{"s"}, step: map[string]int{"q": 16}, each: func(v vm, p map[string]string) {
			v.load(p["a"], 0)
			test(v, p, func(h int) string { return v.reg(7, h) })
		}})
	}
	return append(fns, kernelFn{name: "vselect", doc: "is dst = q ? a : b.", ptrs: []string{"dst", "q", "a", "b"}, step: map[string]int{"q": 16}, each: func(v vm, p map[string]string) {
		v.load(p["b"], 1)
		if v.wide {
			v.i("VPMOVZXBD (%s), Z0", p["q"])
			v.i("VPTESTMD Z0, Z0, K1")
			v.i("VBLENDMPS (%s), Z1, K1, Z1", p["a"])
			v.store(1, p["dst"])
			return
		}
		v.zero(2)
		v.halves(func(h int) {
			v.i("VPMOVZXBD %d(%s), %s", 8*h, p["q"], v.reg(0, h))
			v.i("VPCMPGTD %s, %s, %s", v.reg(2, h), v.reg(0, h), v.reg(0, h))
			v.i("VBLENDVPS %s, %d(%s), %s, %s", v.reg(0, h), 32*h, p["a"], v.reg(1, h), v.reg(1, h))
		})
		v.store(1, p["dst"])
	}}, kernelFn{name: "vbytes", doc: "is dst = (q - zero)*scale.", ptrs: []string{"dst", "q"}, f32s: []string{"zero", "scale"}, step: map[string]int{"q": 16}, each: func(v vm, p map[string]string) {
		widen(v, p["q"], "VPMOVZXBD", 8)
		v.op("VSUBPS", 0, 0, 7)
		v.op("VMULPS", 0, 0, 6)
		v.store(0, p["dst"])
	}}, kernelFn{name: "vsignedbytes", doc: "is dst = (q - zero)*scale for signed q.", ptrs: []string{"dst", "q"}, f32s: []string{"zero", "scale"}, step: map[string]int{"q": 16}, each: func(v vm, p map[string]string) {
		widen(v, p["q"], "VPMOVSXBD", 8)
		v.op("VSUBPS", 0, 0, 7)
		v.op("VMULPS", 0, 0, 6)
		v.store(0, p["dst"])
	}}, kernelFn{name: "vfrombf16", doc: "converts bfloat16 to single precision.", ptrs: []string{"dst", "half"}, step: map[string]int{"half": 32}, each: func(v vm, p map[string]string) {
		v.halves(func(h int) {
			v.i("VPMOVZXWD %d(%s), %s", 16*h, p["half"], v.reg(0, h))
			v.i("VPSLLD $16, %s, %s", v.reg(0, h), v.reg(0, h))
		})
		v.store(0, p["dst"])
	}}, kernelFn{name: "vtobf16", doc: "converts single precision to bfloat16, to nearest even.", ptrs: []string{"half", "x"}, step: map[string]int{"half": 32}, each: func(v vm, p map[string]string) {
		v.load(p["x"], 0)
		v.imm("VPSRLD", 16, 1, 0)
		and, or := "VPAND", "VPOR"
		if v.wide {
			and, or = "VPANDD", "VPORD"
		}
		v.opm(and, 2, 1, v.bits(1))
		v.opm("VPADDD", 2, 2, v.bits(0x7fff))
		v.op("VPADDD", 2, 2, 0)
		v.imm("VPSRLD", 16, 2, 2)
		v.opm(or, 1, 1, v.bits(0x40)) // what a NaN becomes
		if v.wide {
			v.i("VCMPPS $3, Z0, Z0, K1")
			v.i("VMOVDQA32 Z1, K1, Z2")
			v.i("VPMOVDW Z2, (%s)", p["half"])
			return
		}
		v.halves(func(h int) {
			v.i("VCMPPS $3, %[1]s, %[1]s, %[1]s", v.reg(0, h))
			v.i("VBLENDVPS %s, %s, %s, %s", v.reg(0, h), v.reg(1, h), v.reg(2, h), v.reg(2, h))
		})
		v.i("VPACKUSDW Y5, Y4, Y4") // per 128 bits: 0-3 8-11 | 4-7 12-15
		v.i("VPERMQ $0xd8, Y4, Y4")
		v.i("VMOVDQU Y4, (%s)", p["half"])
	}}, kernelFn{name: "vwiden", doc: "converts half precision to single.", ptrs: []string{"dst", "half"}, step: map[string]int{"half": 32}, each: func(v vm, p map[string]string) {
		v.halves(func(h int) { v.i("VCVTPH2PS %d(%s), %s", 16*h, p["half"], v.reg(0, h)) })
		v.store(0, p["dst"])
	}}, kernelFn{name: "vnarrow", doc: "converts single precision to half, to nearest even.", ptrs: []string{"half", "x"}, step: map[string]int{"half": 32}, each: func(v vm, p map[string]string) {
		v.load(p["x"], 0)
		v.halves(func(h int) { v.i("VCVTPS2PH $0, %s, %d(%s)", v.reg(0, h), 16*h, p["half"]) })
	}})
}

// widen loads 16 small integers as numbers.
func widen(v vm, ptr, ins string, bytes int) {
	v.halves(func(h int) {
		v.i("%s %d(%s), %s", ins, bytes*h, ptr, v.reg(0, h))
		v.i("VCVTDQ2PS %s, %s", v.reg(0, h), v.reg(0, h))
	})
}

// quants convert between float32 and the integers of quantized layers.
func quants() []kernelFn {
	return []kernelFn{
		{name: "vquantu8", doc: "is q = clamp(round(x/scale) + zero, 0, 255).", ptrs: []string{"q", "x"}, f32s: []string{"scale", "zero"}, step: map[string]int{"q": 16}, each: func(v vm, p map[string]string) {
			v.load(p["x"], 0)
			v.op("VDIVPS", 0, 0, 7)
			v.constant(v.f32(1e6), 1)
			v.op("VMINPS", 0, 0, 1) // NaN becomes 1e6, as in the twin
			v.constant(v.f32(-1e6), 1)
			v.op("VMAXPS", 0, 0, 1)
			v.un("VCVTPS2DQ", 0, 0)
			v.op("VPADDD", 0, 0, 6) // zero is an integer in a float's clothes
			v.zero(1)
			v.op("VPMAXSD", 0, 0, 1)
			v.opm("VPMINSD", 0, 0, v.bits(255))
			if v.wide {
				v.i("VPMOVDB Z0, (%s)", p["q"])
				return
			}
			v.i("VPACKUSDW Y1, Y0, Y0") // per 128 bits: 0-3 8-11 | 4-7 12-15
			v.i("VPERMQ $0xd8, Y0, Y0")
			v.i("VEXTRACTI128 $1, Y0, X1")
			v.i("VPACKUSWB X1, X0, X0")
			v.i("VMOVDQU X0, (%s)", p["q"])
		}},
		{name: "vdequant", doc: "is y = float(acc)*scale + bias.", ptrs: []string{"y", "acc", "scale", "bias"}, each: func(v vm, p map[string]string) {
			v.halves(func(h int) { v.i("VCVTDQ2PS %d(%s), %s", 32*h, p["acc"], v.reg(0, h)) })
			v.load(p["scale"], 1)
			v.load(p["bias"], 2)
			v.fma(2, 0, 1)
			v.store(2, p["y"])
		}},
	}
}

// adamw keeps its eight scalars in memory: they do not fit into registers beside the data.
func adamw() kernelFn {
	return kernelFn{name: "vadamw", doc: "is one step of AdamW; k holds its eight scalars, 16 times each. See AdamW.", ptrs: []string{"p", "m", "w", "grad", "k"}, step: map[string]int{"k": 0},
		each: func(v vm, p map[string]string) {
			k := func(i, d int) {
				v.halves(func(h int) { v.i("VMOVUPS %d(%s), %s", 64*i+32*h, p["k"], v.reg(d, h)) })
			}
			v.load(p["grad"], 0)
			v.load(p["m"], 1)
			k(1, 7)
			v.op("VMULPS", 1, 1, 7)
			k(2, 7)
			v.fma(1, 0, 7) // m = b1 m + c1 g
			v.store(1, p["m"])
			v.op("VMULPS", 0, 0, 0)
			v.load(p["w"], 2)
			k(3, 7)
			v.op("VMULPS", 2, 2, 7)
			k(4, 7)
			v.fma(2, 0, 7) // v = b2 v + c2 g^2
			v.store(2, p["w"])
			v.un("VSQRTPS", 2, 2)
			k(6, 7)
			v.op("VMULPS", 2, 2, 7)
			k(7, 7)
			v.op("VADDPS", 2, 2, 7) // sqrt(v) rootscale + eps
			v.op("VDIVPS", 1, 1, 2)
			v.load(p["p"], 0)
			k(0, 7)
			v.op("VMULPS", 0, 0, 7) // p (1 - lr wd)
			k(5, 7)
			v.op("VFNMADD231PS", 0, 1, 7) // - stepsize m / (...)
			v.store(0, p["p"])
		}}
}
