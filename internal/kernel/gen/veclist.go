package main

// vecKernels lists the element-wise and row kernels. Every description is the order
// of operations that the plain Go twin in vec_ref.go has too.
func vecKernels() []kernelFn {
	fns := []kernelFn{
		{name: "vexp", doc: "is dst = e^x.", ptrs: []string{"dst", "x"}, each: func(v vm, p map[string]string) {
			v.load(p["x"], 0)
			v.exp(0, 1, 2, 3)
			v.store(0, p["dst"])
		}},
		{name: "vexpsum", doc: "is dst = e^(x-m), and returns the sum.", ptrs: []string{"dst", "x"}, f32s: []string{"m"}, ret: []string{"sum"}, ins: "VADDPS",
			init: func(v vm) { v.zero(0) },
			each: func(v vm, p map[string]string) {
				v.load(p["x"], 1)
				v.op("VSUBPS", 1, 1, 7)
				v.exp(1, 2, 3, 4)
				v.store(1, p["dst"])
				v.op("VADDPS", 0, 0, 1)
			}},
		{name: "vgelu", doc: "is the tanh form of the Gaussian error linear unit.", ptrs: []string{"dst", "x"}, each: func(v vm, p map[string]string) {
			v.load(p["x"], 0)
			gate(v)
			v.op("VDIVPS", 1, 0, 1)
			v.store(1, p["dst"])
		}},
		{name: "vgelugrad", doc: "is dx = dy times the derivative of vgelu at x.", ptrs: []string{"dx", "dy", "x"}, each: func(v vm, p map[string]string) {
			v.load(p["x"], 0)
			gate(v) // 1 holds 1 + e
			v.constant(v.f32(1), 2)
			v.op("VDIVPS", 1, 2, 1) // s
			v.op("VSUBPS", 2, 2, 1)
			v.op("VMULPS", 2, 2, 1) // s (1-s)
			v.op("VMULPS", 2, 2, 0) // x s (1-s)
			v.op("VMULPS", 3, 0, 0)
			v.constant(v.f32(geluA), 4)
			v.opm("VFMADD132PS", 3, 4, v.f32(3*geluB)) // a + 3b x^2
			v.fma(1, 2, 3)
			v.load(p["dy"], 2)
			v.op("VMULPS", 1, 1, 2)
			v.store(1, p["dx"])
		}},
		{name: "vsum", doc: "returns the sum of x.", ptrs: []string{"x"}, ret: []string{"sum"}, ins: "VADDPS",
			init: func(v vm) { v.zero(0) },
			each: func(v vm, p map[string]string) {
				v.load(p["x"], 1)
				v.op("VADDPS", 0, 0, 1)
			}},
		{name: "vmax", doc: "returns the largest element of x.", ptrs: []string{"x"}, ret: []string{"top"}, ins: "VMAXPS",
			init: func(v vm) { v.constant(v.bits(0xff800000), 0) },
			each: func(v vm, p map[string]string) {
				v.load(p["x"], 1)
				v.op("VMAXPS", 0, 0, 1)
			}},
		{name: "vdot", doc: "returns the sum of a*b.", ptrs: []string{"a", "b"}, ret: []string{"sum"}, ins: "VADDPS",
			init: func(v vm) { v.zero(0) },
			each: func(v vm, p map[string]string) {
				v.load(p["a"], 1)
				v.load(p["b"], 2)
				v.fma(0, 1, 2)
			}},
		{name: "vsquares", doc: "returns the sum of (x-m)^2.", ptrs: []string{"x"}, f32s: []string{"m"}, ret: []string{"sum"}, ins: "VADDPS",
			init: func(v vm) { v.zero(0) },
			each: func(v vm, p map[string]string) {
				v.load(p["x"], 1)
				v.op("VSUBPS", 1, 1, 7)
				v.fma(0, 1, 1)
			}},
		{name: "vnorm", doc: "is y = (x-m)*r*scale + bias.", ptrs: []string{"y", "x", "scale", "bias"}, f32s: []string{"m", "r"}, each: func(v vm, p map[string]string) {
			v.load(p["x"], 0)
			v.op("VSUBPS", 0, 0, 7)
			v.op("VMULPS", 0, 0, 6)
			v.load(p["scale"], 1)
			v.load(p["bias"], 2)
			v.fma(2, 0, 1)
			v.store(2, p["y"])
		}},
		{name: "vnormsums", doc: "returns the sums of dy*scale and of dy*scale*(x-m)*r.", ptrs: []string{"dy", "x", "scale"}, f32s: []string{"m", "r"}, ret: []string{"sg", "sgx"}, ins: "VADDPS",
			init: func(v vm) { v.zero(0); v.zero(1) },
			each: func(v vm, p map[string]string) {
				v.load(p["dy"], 2)
				v.load(p["scale"], 3)
				v.op("VMULPS", 2, 2, 3)
				v.op("VADDPS", 0, 0, 2)
				v.load(p["x"], 3)
				v.op("VSUBPS", 3, 3, 7)
				v.op("VMULPS", 3, 3, 6)
				v.fma(1, 2, 3)
			}},
		{name: "vnormgrad", doc: "is dx = r*(dy*scale - mg - (x-m)*r*mgx).", ptrs: []string{"dx", "dy", "x", "scale"}, f32s: []string{"m", "r", "mg", "mgx"}, each: func(v vm, p map[string]string) {
			v.load(p["dy"], 0)
			v.load(p["scale"], 1)
			v.op("VMULPS", 0, 0, 1)
			v.op("VSUBPS", 0, 0, 5)
			v.load(p["x"], 1)
			v.op("VSUBPS", 1, 1, 7)
			v.op("VMULPS", 1, 1, 6)
			v.op("VFNMADD231PS", 0, 1, 4)
			v.op("VMULPS", 0, 0, 6)
			v.store(0, p["dx"])
		}},
		{name: "vnormparam", doc: "adds dy*(x-m)*r to ds and dy to db.", ptrs: []string{"ds", "db", "dy", "x"}, f32s: []string{"m", "r"}, each: func(v vm, p map[string]string) {
			v.load(p["dy"], 0)
			v.load(p["x"], 1)
			v.op("VSUBPS", 1, 1, 7)
			v.op("VMULPS", 1, 1, 6)
			v.load(p["ds"], 2)
			v.fma(2, 0, 1)
			v.store(2, p["ds"])
			v.load(p["db"], 2)
			v.op("VADDPS", 2, 2, 0)
			v.store(2, p["db"])
		}},
		{name: "vmulsub", doc: "is dst = y*(x-s).", ptrs: []string{"dst", "y", "x"}, f32s: []string{"s"}, each: func(v vm, p map[string]string) {
			v.load(p["x"], 0)
			v.op("VSUBPS", 0, 0, 7)
			v.load(p["y"], 1)
			v.op("VMULPS", 0, 0, 1)
			v.store(0, p["dst"])
		}},
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
	fns = append(fns, adamw())
	for _, b := range []struct{ name, ins, sign string }{{"vadd", "VADDPS", "+"}, {"vsub", "VSUBPS", "-"}, {"vmul", "VMULPS", "*"}, {"vdiv", "VDIVPS", "/"}} {
		fns = append(fns, kernelFn{name: b.name, doc: "is dst = a " + b.sign + " b.", ptrs: []string{"dst", "a", "b"}, each: func(v vm, p map[string]string) {
			v.load(p["a"], 0)
			v.load(p["b"], 1)
			v.op(b.ins, 0, 0, 1)
			v.store(0, p["dst"])
		}}, kernelFn{name: b.name + "s", doc: "is dst = a " + b.sign + " s.", ptrs: []string{"dst", "a"}, f32s: []string{"s"}, each: func(v vm, p map[string]string) {
			v.load(p["a"], 0)
			v.op(b.ins, 0, 0, 7)
			v.store(0, p["dst"])
		}})
	}
	return fns
}

// Constants of the tanh form: 2u = 2 sqrt(2/pi) (x + 0.044715 x^3) = x (geluA + geluB x^2).
const (
	geluA = 1.5957691216057308
	geluB = 0.07135481282850852
)

// gate computes 1 + e^(-2u) of x in register 0 into register 1; 0 keeps x.
func gate(v vm) {
	v.op("VMULPS", 1, 0, 0)
	v.constant(v.f32(-geluA), 2)
	v.opm("VFMADD132PS", 1, 2, v.f32(-geluB)) // 1 = 1*(-b) + (-a)
	v.op("VMULPS", 1, 1, 0)
	v.exp(1, 2, 3, 4)
	v.opm("VADDPS", 1, 1, v.f32(1))
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
