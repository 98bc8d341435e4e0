package op_test

import (
	"hash/fnv"
	"math"
	"slices"

	"muster/graph"
	"muster/tensor"
)

// families are the functions that list samples; the name seeds the draws of a family, so that a sample more in one does
// not change the numbers of the others.
var families = []struct {
	name string
	list func(add func(...sample))
}{
	{"elementwise", elementwise},
	{"structure", structure},
	{"reductions", reductions},
	{"products", products},
	{"linears", linears},
	{"integers", integers},
	{"fewBits", fewBits},
	{"quantized", quantized},
	{"private", private},
	{"fusions", fusions},
	{"movements", movements},
	{"mathOps", mathOps},
	{"attention", attention},
	{"indexing", indexing},
	{"recurrents", recurrents},
	{"moreReductions", moreReductions},
	{"convolutions", convolutions},
	{"models", models},
	{"microsoft", microsoft},
	{"randomOps", randomOps},
	{"signal", signal},
	{"einsumSamples", einsumSamples},
	{"stored", stored},
	{"trainingOps", trainingOps},
	{"crossEntropies", crossEntropies},
	{"slopesInOnePass", slopesInOnePass},
}

// samples lists every operator; a new one without a sample fails TestSamplesCoverTable.
func samples() []sample {
	var s []sample
	for _, f := range families {
		h := fnv.New64a()
		h.Write([]byte(f.name))
		pcg.Seed(1, h.Sum64())
		f.list(func(more ...sample) { s = append(s, more...) })
	}
	return s
}

func elementwise(add func(...sample)) {
	for _, name := range []string{"Abs", "Ceil", "Erf", "Exp", "Floor", "Gelu", "Neg", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Tanh", "Log", "Sqrt"} {
		for _, sh := range shapes {
			x := ff(sh...)
			if name == "Log" || name == "Sqrt" || name == "Reciprocal" {
				x = fp(sh...)
			}
			add(sample{op: name, in: at(x)})
			if name == "Gelu" {
				add(sample{op: name, in: at(x), attrs: attrs(graph.Str("approximate", "tanh"))})
			}
		}
	}
	add(sample{op: "Abs", in: at(as(ix(-5, 5, 9), tensor.Int32))}, sample{op: "Neg", in: at(ix(-5, 5, 9))}, sample{op: "Sign", in: at(ix(-2, 2, 9))},
		sample{op: "Exp", in: at(as(ff(33), tensor.Float16)), tol: halfUlp}, sample{op: "Tanh", in: at(as(ff(33), tensor.BFloat16)), tol: brainUlp})
	for _, name := range []string{"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum"} {
		for _, p := range pairs {
			x, y := ff(p[0]...), ff(p[1]...)
			switch name {
			case "Pow":
				x = fp(p[0]...)
			case "Div":
				y = fp(p[1]...)
			}
			add(sample{op: name, in: at(x, y)})
		}
		add(sample{op: name, in: at(ix(1, 9, 4, 3), ix(1, 4, 3))})
	}
	add(sample{op: "Pow", in: at(ff(4, 3), konst(fx([]float32{2})))}, sample{op: "Pow", in: at(fp(4, 3), cs(3))}, sample{op: "Pow", in: at(ff(7), konst(fx([]float32{3})))}, sample{op: "Pow", in: at(fp(7), fx([]float32{0.5}))}, sample{op: "Pow", in: at(fp(7), fx([]float32{-1}))}, sample{op: "Pow", in: at(fp(7), fx([]float32{1}))},
		sample{op: "Max", in: at(fd(4, 3), fd(3), fd(1, 3))}, sample{op: "Min", in: at(fd(4, 3), fd(4, 1), fd(3))}, sample{op: "Sum", in: at(ff(4, 3), ff(3), ff(4, 1))},
		sample{op: "Max", in: at(ff(5))})
	for _, name := range []string{"Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"} {
		for _, p := range pairs[:9] {
			add(sample{op: name, in: at(fu(0, 2, p[0]...), fu(0, 2, p[1]...))}, sample{op: name, in: at(ix(0, 3, p[0]...), ix(0, 3, p[1]...))})
		}
	}
	for _, name := range []string{"And", "Or", "Equal"} {
		add(sample{op: name, in: at(bb(4, 3), bb(3))})
	}
	add(sample{op: "Not", in: at(bb(4, 3))})
	for _, p := range pairs {
		add(sample{op: "Where", in: at(bb(p[0]...), ff(p[1]...), ff(p[0]...))}, sample{op: "Where", in: at(bb(p[1]...), ff(p[0]...), fx([]float32{0}))})
	}
	add(sample{op: "Where", in: at(bb(4, 3), ix(0, 9, 4, 3), ix(0, 9, 3))})
	for _, sh := range shapes {
		add(sample{op: "Clip", in: at(ff(sh...), konst(fx([]float32{-0.5})), konst(fx([]float32{0.7})))},
			sample{op: "Clip", in: at(ff(sh...), none, fx([]float32{0.2}))},
			sample{op: "Clip", opset: 10, in: at(ff(sh...)), attrs: attrs(graph.Float("min", -0.5), graph.Float("max", 0.7))})
	}
	add(sample{op: "Clip", in: at(ix(-5, 5, 9), cs(-2), cs(3))})
	all := []tensor.DType{tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16, tensor.Int64, tensor.Int32, tensor.Int16, tensor.Int8, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64, tensor.Bool}
	for _, from := range all {
		for _, to := range all {
			add(sample{op: "Cast", in: at(as(fu(0, 100, 3, 11), from)), attrs: attrs(graph.Int("to", int64(to)))})
		}
	}
	add(sample{op: "Cast", in: at(u8(50000)), attrs: attrs(graph.Int("to", 1))}, sample{op: "Cast", in: at(u8(0)), attrs: attrs(graph.Int("to", 1))})
	for _, sh := range shapes {
		add(sample{op: "Identity", in: at(ff(sh...))}, sample{op: "Dropout", in: at(ff(sh...)), out: 2}, sample{op: "Dropout", in: at(ff(sh...), konst(fx([]float32{0.3})), konst(arg{t: tensor.OfBool([]bool{false})}))},
			sample{op: "Dropout", opset: 10, in: at(ff(sh...)), attrs: attrs(graph.Float("ratio", 0.5))})
	}
}

func structure(add func(...sample)) {
	i1 := func(name string, v int64) []graph.Attr { return attrs(graph.Int(name, v)) }
	add(sample{op: "Constant", attrs: attrs(graph.Ten("value", ff(2, 3).t))}, sample{op: "Constant", attrs: attrs(graph.Float("value_float", 2))},
		sample{op: "Constant", attrs: i1("value_int", 3)}, sample{op: "Constant", attrs: attrs(graph.Ints("value_ints", 1, 2))},
		sample{op: "ConstantOfShape", in: at(ci(2, 3))}, sample{op: "ConstantOfShape", in: at(ci(2, 0))}, sample{op: "ConstantOfShape", in: at(ci(300, 400)), attrs: attrs(graph.Ten("value", tensor.OfFloat32([]float32{1.5}, 1)))},
		sample{op: "Shape", in: at(ff(2, 3, 4))}, sample{op: "Shape", in: at(ff(2, 3, 4)), attrs: attrs(graph.Int("start", -2), graph.Int("end", 9))}, sample{op: "Shape", in: at(ff())})
	add(sample{op: "Reshape", in: at(ff(2, 3, 4), ci(0, -1))}, sample{op: "Reshape", in: at(ff(2, 3, 4), ci(4, 6)), noSym: true}, sample{op: "Reshape", in: at(ff(0, 3), ci(0, 3))}, sample{op: "Reshape", in: at(ff(0, 3), ci(3, 0)), attrs: i1("allowzero", 1), noSym: true}, sample{op: "Reshape", in: at(ff(1), ci())},
		sample{op: "Flatten", in: at(ff(2, 3, 4))}, sample{op: "Flatten", in: at(ff(2, 3, 4)), attrs: i1("axis", 0)}, sample{op: "Flatten", in: at(ff(2, 3, 4)), attrs: i1("axis", -1)}, sample{op: "Flatten", in: at(ff(2, 3, 4)), attrs: i1("axis", 3)},
		sample{op: "Squeeze", in: at(ff(1, 3, 1), ci(0, -1))}, sample{op: "Squeeze", in: at(ff(1, 3, 1)), noSym: true}, sample{op: "Squeeze", opset: 11, in: at(ff(1, 3, 1)), attrs: attrs(graph.Ints("axes", 0))},
		sample{op: "Unsqueeze", in: at(ff(3, 2), ci(0, 3))}, sample{op: "Unsqueeze", in: at(ff(), ci(0))}, sample{op: "Unsqueeze", opset: 11, in: at(ff(3, 2)), attrs: attrs(graph.Ints("axes", 1))})
	for _, p := range []struct {
		shape []int
		perm  []int64
	}{{[]int{3, 5}, nil}, {[]int{2, 3, 4, 5}, []int64{0, 2, 1, 3}}, {[]int{2, 3, 4, 5}, []int64{0, 1, 3, 2}}, {[]int{2, 3, 4, 5}, []int64{0, 2, 3, 1}}, {[]int{2, 3, 4, 5}, []int64{3, 1, 0, 2}}, {[]int{2, 3, 4}, []int64{0, 1, 2}},
		{[]int{0, 3}, []int64{1, 0}}, {[]int{1, 7}, []int64{1, 0}}, {[]int{100, 130}, []int64{1, 0}}, {[]int{4, 50, 3, 60}, []int64{0, 2, 1, 3}}, {[]int{2, 1, 4, 2, 4, 2}, []int64{0, 2, 4, 1, 3, 5}}, {[]int{}, nil}} {
		a := attrs()
		if p.perm != nil {
			a = attrs(graph.Ints("perm", p.perm...))
		}
		add(sample{op: "Transpose", in: at(ff(p.shape...)), attrs: a}, sample{op: "Transpose", in: at(as(fu(0, 9, p.shape...), tensor.Uint8)), attrs: a})
	}
	for _, ax := range []int64{0, 1, -1} {
		add(sample{op: "Concat", in: at(ff(3, 4, 5), ff(3, 4, 5), ff(3, 4, 5)), attrs: i1("axis", ax)})
	}
	add(sample{op: "Concat", in: at(ff(3, 4), ff(3, 0), ff(3, 70)), attrs: i1("axis", 1)}, sample{op: "Concat", in: at(ff(3, 4)), attrs: i1("axis", 1)}, sample{op: "Concat", in: at(ix(0, 9, 2), ix(0, 9, 3)), attrs: i1("axis", 0)},
		sample{op: "Concat", opset: 11, in: at(ff(3, 4), ff(2, 4)), attrs: i1("axis", 0), noSym: true})
	add(sample{op: "Split", in: at(ff(3, 12)), attrs: attrs(graph.Int("axis", -1), graph.Int("num_outputs", 3)), out: 3}, sample{op: "Split", in: at(ff(7, 2)), attrs: attrs(graph.Int("num_outputs", 3)), out: 3, noSym: true},
		sample{op: "Split", in: at(ff(3, 12), ci(5, 0, 7)), attrs: i1("axis", 1), out: 3}, sample{op: "Split", opset: 13, in: at(ff(3, 12)), attrs: i1("axis", 1), out: 2},
		sample{op: "Split", opset: 11, in: at(ff(6, 2)), attrs: attrs(graph.Ints("split", 4, 2)), out: 2}, sample{op: "Split", in: at(ff(0, 4)), attrs: attrs(graph.Int("axis", 1), graph.Int("num_outputs", 2)), out: 2})
	add(sample{op: "Slice", in: at(ff(5, 6, 7), ci(1, 2), ci(4, 100), ci(0, 2)), noSym: true}, sample{op: "Slice", in: at(ff(5, 6), ci(-1), ci(-100), ci(1), ci(-2)), noSym: true}, sample{op: "Slice", in: at(ff(5, 6), ci(3), ci(1)), noSym: true},
		sample{op: "Slice", in: at(ff(5, 60), ci(0), ci(30), ci(-1))}, sample{op: "Slice", in: at(ff(0, 6), ci(0), ci(3), ci(1))}, sample{op: "Slice", opset: 9, in: at(ff(5, 6)), attrs: attrs(graph.Ints("starts", 1), graph.Ints("ends", 3), graph.Ints("axes", 1)), noSym: true},
		sample{op: "Slice", in: at(ff(50, 300), ci(10), ci(40))})
	add(sample{op: "Gather", in: at(ff(5, 3), ix(-5, 5, 2, 4))}, sample{op: "Gather", in: at(ff(4, 5, 3), ix(0, 5, 6)), attrs: i1("axis", 1)}, sample{op: "Gather", in: at(ff(4, 5), cs(2)), attrs: i1("axis", -1)}, sample{op: "Gather", in: at(ff(5), as(ix(0, 5, 9), tensor.Int32))},
		sample{op: "Gather", in: at(ff(5, 0), ix(0, 5, 2))}, sample{op: "Gather", in: at(ix(0, 9, 5), ci())}, sample{op: "Gather", in: at(ff(100, 64), ix(0, 100, 300))})
	for _, p := range pairs[:13] {
		want := []int64{}
		for _, d := range p[0] {
			want = append(want, int64(d))
		}
		add(sample{op: "Expand", in: at(ff(p[1]...), ci(want...)), noSym: true})
	}
	add(sample{op: "Expand", in: at(ff(70, 1), ci(70, 500))}, sample{op: "Expand", in: at(ff(3, 1), ci(1, 4))}, sample{op: "Expand", in: at(ix(0, 5, 3, 1), ci(3, 4))},
		sample{op: "Tile", in: at(ff(2, 3), ci(2, 3))}, sample{op: "Tile", in: at(ff(2, 3), ci(1, 1))}, sample{op: "Tile", in: at(ff(2, 3), ci(0, 1))},
		sample{op: "Range", in: at(cs(3), cs(10), cs(2))}, sample{op: "Range", in: at(konst(fx([]float32{1})), konst(fx([]float32{-1})), konst(fx([]float32{-0.3})))}, sample{op: "Range", in: at(cs(3), cs(1), cs(1))},
		sample{op: "OneHot", in: at(ix(-3, 7, 2, 5), cs(6), fx([]float32{0.1, 0.9}, 2))}, sample{op: "OneHot", in: at(ix(0, 4, 2, 5), cs(4), ci(0, 1)), attrs: i1("axis", 1)}, sample{op: "OneHot", in: at(ix(0, 4), cs(4), ci(0, 1)), attrs: i1("axis", 0)})
}

func reductions(add func(...sample)) {
	for _, name := range []string{"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare"} {
		for _, r := range []struct {
			shape []int
			axes  []int64
		}{{[]int{4, 3, 5}, []int64{-1}}, {[]int{4, 3, 5}, []int64{0}}, {[]int{4, 3, 5}, []int64{1}}, {[]int{4, 3, 5}, []int64{1, 2}}, {[]int{4, 3, 5}, []int64{0, 1}}, {[]int{4, 3, 5}, []int64{0, 2}}, {[]int{4, 3, 5}, nil}, {[]int{}, nil}, {[]int{1, 1}, []int64{0}},
			{[]int{70, 300}, []int64{1}}, {[]int{300, 70}, []int64{0}}, {[]int{3, 40, 16}, []int64{1}}, {[]int{20000}, nil}, {[]int{2, 0, 3}, []int64{2}}} {
			for _, keep := range []int64{0, 1} {
				x := fd(r.shape...)
				if name == "ReduceProd" {
					x = fu(0.9, 1.1, r.shape...)
				}
				k := graph.Int("keepdims", keep)
				in := at(x)
				if r.axes != nil {
					in = at(x, ci(r.axes...))
				}
				// A float32 sum errs by about 2e-8 of the sum of magnitudes that goes into one output; they cancel here.
				sum, outs := 0.0, 1
				for i := 0; i < x.t.Elems(); i++ {
					sum += math.Abs(x.t.Float(i))
				}
				for i, d := range r.shape {
					if r.axes != nil && !slices.Contains(r.axes, int64(i)) && !slices.Contains(r.axes, int64(i-len(r.shape))) {
						outs *= d
					}
				}
				tol := 1e-5
				if name == "ReduceSum" || name == "ReduceMean" {
					tol = max(tol, 4e-8*sum/float64(max(outs, 1)))
				}
				add(sample{op: name, in: in, attrs: attrs(k), tol: tol})
				if r.axes != nil && keep == 0 {
					add(sample{op: name, opset: 11, in: at(x), attrs: attrs(k, graph.Ints("axes", r.axes...)), tol: tol})
				}
			}
		}
		add(sample{op: name, in: at(ix(1, 4, 3, 4), ci(1))}, sample{op: name, in: at(ff(3, 4), ci()), attrs: attrs(graph.Int("noop_with_empty_axes", 1))})
	}
	add(sample{op: "ReduceSum", in: at(ff(2, 0, 3), ci(1))}, sample{op: "ReduceMax", in: at(ff(2, 0, 3), ci(1))}, sample{op: "ReduceMax", in: at(bb(2, 3), ci(1))})
	for _, a := range []int64{0, 1, -1} {
		add(sample{op: "ArgMax", in: at(ff(3, 4, 5)), attrs: attrs(graph.Int("axis", a))}, sample{op: "ArgMax", in: at(ix(0, 3, 3, 4, 5)), attrs: attrs(graph.Int("axis", a), graph.Int("keepdims", 0), graph.Int("select_last_index", 1))})
	}
	for _, name := range []string{"Softmax", "LogSoftmax"} {
		for _, sh := range [][]int{{5}, {4, 3}, {2, 3, 17}, {70, 64}, {3, 1}, {0, 4}, {2, 300}} {
			add(sample{op: name, in: at(ff(sh...)), tol: 4e-6}, sample{op: name, in: at(ff(sh...)), attrs: attrs(graph.Int("axis", 0)), tol: 4e-6})
			if len(sh) > 1 {
				add(sample{op: name, opset: 11, in: at(ff(sh...)), tol: 4e-6})
			}
		}
	}
	add(sample{op: "Softmax", in: at(fu(-1000, 1000, 6, 9))}, sample{op: "Softmax", in: at(ff(0, 4))})
}

func products(add func(...sample)) {
	for _, p := range [][2][]int{{{4, 3}, {3, 5}}, {{3}, {3, 5}}, {{4, 3}, {3}}, {{3}, {3}}, {{2, 4, 3}, {3, 5}}, {{2, 4, 3}, {2, 3, 5}}, {{2, 3, 4, 6}, {2, 3, 6, 5}}, {{2, 1, 4, 6}, {3, 6, 5}}, {{4, 6}, {2, 6, 5}}, {{2, 3, 4}, {4}}, {{4}, {2, 4, 3}},
		{{1, 1}, {1, 1}}, {{0, 3}, {3, 5}}, {{4, 0}, {0, 5}}, {{4, 3}, {3, 0}}, {{33, 70}, {70, 45}}, {{2, 16, 33}, {33, 65}}, {{130, 64}, {64, 129}}, {{1, 64}, {64, 33}}} {
		add(sample{op: "MatMul", in: at(ff(p[0]...), ff(p[1]...)), tol: 1e-5}, sample{op: "MatMul", in: at(ff(p[0]...), konst(ff(p[1]...))), tol: 1e-5})
	}
	add(sample{op: "MatMul", in: at(ix(-5, 5, 4, 3), ix(-5, 5, 3, 2))})
	for _, ta := range []int64{0, 1} {
		for _, tb := range []int64{0, 1} {
			for _, mkn := range [][3]int{{4, 3, 5}, {33, 17, 40}, {1, 1, 1}, {3, 0, 4}, {0, 3, 4}} {
				m, k, n := mkn[0], mkn[1], mkn[2]
				a, b := []int{m, k}, []int{k, n}
				if ta == 1 {
					a = []int{k, m}
				}
				if tb == 1 {
					b = []int{n, k}
				}
				t := []graph.Attr{graph.Int("transA", ta), graph.Int("transB", tb)}
				add(sample{op: "Gemm", in: at(ff(a...), ff(b...)), attrs: t, tol: 1e-5}, sample{op: "Gemm", in: at(ff(a...), konst(ff(b...)), ff(n)), attrs: t, tol: 1e-5},
					sample{op: "Gemm", in: at(ff(a...), ff(b...), ff(m, 1)), attrs: append(attrs(graph.Float("alpha", 0.5), graph.Float("beta", 2)), t...), tol: 1e-5},
					sample{op: "Gemm", in: at(ff(a...), ff(b...), ff(m, n)), attrs: append(attrs(graph.Float("alpha", 0.5)), t...), tol: 1e-5},
					sample{op: "Gemm", in: at(ff(a...), ff(b...), ff()), attrs: append(attrs(graph.Float("beta", 0.5)), t...), tol: 1e-5})
				add(sample{domain: "com.microsoft", op: "FusedMatMul", in: at(ff(a...), ff(b...)), attrs: append(attrs(graph.Float("alpha", 0.25)), t...), tol: 1e-5},
					sample{domain: "com.microsoft", op: "FusedMatMul", in: at(ff(append([]int{2, 3}, a...)...), ff(append([]int{2, 3}, b...)...)), attrs: t, tol: 1e-5},
					sample{domain: "com.microsoft", op: "FusedMatMul", in: at(ff(append([]int{2, 3}, a...)...), konst(ff(b...))), attrs: t, tol: 1e-5})
			}
		}
	}
	for _, sh := range [][]int{{4, 6}, {2, 3, 64}, {70, 48}, {1, 1}, {0, 4}, {3, 300}} {
		C := sh[len(sh)-1]
		add(sample{op: "LayerNormalization", in: at(ff(sh...), ff(C), ff(C)), tol: 2e-5}, sample{op: "LayerNormalization", in: at(ff(sh...), ff(C)), out: 3, tol: 2e-5},
			sample{domain: graph.Domain, op: "LayerNormalizationGrad", in: at(ff(sh...), ff(sh...), ff(C), ff(append(append([]int{}, sh[:len(sh)-1]...), 1)...), fp(append(append([]int{}, sh[:len(sh)-1]...), 1)...)), out: 3, tol: 5e-5},
			sample{domain: graph.Domain, op: "Linear", in: at(ff(sh...), ff(C, 7), ff(7)), tol: 1e-5}, sample{domain: graph.Domain, op: "Linear", in: at(ff(sh...), konst(ff(C, 33)), konst(ff(33))), tol: 1e-5})
	}
	add(sample{op: "LayerNormalization", in: at(ff(2, 3, 4), ff(3, 4), ff(3, 4)), attrs: attrs(graph.Int("axis", 1), graph.Float("epsilon", 1e-3)), out: 3, tol: 1e-5},
		sample{domain: graph.Domain, op: "LayerNormalizationGrad", in: at(ff(2, 3, 4), ff(2, 3, 4), ff(3, 4), ff(2, 1, 1), fp(2, 1, 1)), attrs: attrs(graph.Int("axis", -2)), out: 3, tol: 1e-5})
}

func quantized(add func(...sample)) {
	scale := func(v float32) arg { return konst(fx([]float32{v})) }
	zero := func(v uint8) arg { return konst(arg{t: tensor.OfUint8([]uint8{v})}) }
	zero8 := konst(arg{t: tensor.OfInt8([]int8{3})})
	for _, sh := range [][]int{{4, 3}, {}, {0, 3}, {2, 3, 40}, {20000}} {
		add(sample{op: "QuantizeLinear", in: at(ff(sh...), scale(0.02), zero(120))}, sample{op: "QuantizeLinear", in: at(ff(sh...), scale(0.02))}, sample{op: "QuantizeLinear", in: at(ff(sh...), scale(0.02), zero8)},
			sample{op: "DequantizeLinear", in: at(u8(sh...), scale(0.02), zero(120))}, sample{op: "DequantizeLinear", in: at(u8(sh...), scale(0.02))}, sample{op: "DequantizeLinear", in: at(s8(sh...), scale(0.02), zero8)},
			sample{op: "DequantizeLinear", in: at(raw(tensor.Int32, sh...), scale(0.02))}, sample{op: "DynamicQuantizeLinear", in: at(ff(sh...)), out: 3})
	}
	add(sample{op: "QuantizeLinear", in: at(ff(4, 3, 5), konst(fp(3)), konst(u8(3)))}, sample{op: "QuantizeLinear", in: at(ff(4, 3), konst(fp(4)), konst(s8(4))), attrs: attrs(graph.Int("axis", 0))},
		sample{op: "DequantizeLinear", in: at(u8(4, 3, 5), konst(fp(3)), konst(u8(3)))}, sample{op: "DequantizeLinear", in: at(s8(4, 3), konst(fp(3)), konst(s8(3))), attrs: attrs(graph.Int("axis", -1))},
		sample{op: "QuantizeLinear", in: at(fx([]float32{-1e30, 1e30, 0.5, 1.5, 2.5, -0.5}, 6), scale(1), zero(2))}, sample{op: "QuantizeLinear", in: at(ff(5), scale(0.001), konst(raw(tensor.Int16)))})
	for _, p := range [][2][]int{{{4, 3}, {3, 5}}, {{2, 4, 64}, {64, 33}}, {{1, 1}, {1, 1}}, {{33, 70}, {70, 45}}, {{2, 4, 8}, {2, 8, 5}}, {{0, 3}, {3, 2}}, {{3, 0}, {0, 2}}} {
		a, b := p[0], p[1]
		n := b[len(b)-1]
		for _, w := range []arg{s8(b...), konst(s8(b...)), u8(b...)} {
			add(sample{op: "MatMulInteger", in: at(u8(a...), w)}, sample{op: "MatMulInteger", in: at(u8(a...), w, zero(7))})
		}
		add(sample{op: "MatMulInteger", in: at(s8(a...), s8(b...), zero8, konst(s8(n)))}, sample{op: "MatMulInteger", in: at(u8(a...), u8(b...), zero(7), zero(9))},
			sample{op: "QLinearMatMul", in: at(u8(a...), scale(0.02), zero(100), konst(s8(b...)), scale(0.01), konst(arg{t: tensor.OfInt8([]int8{0})}), scale(0.05), zero(128)), tol: oneStep},
			sample{op: "QLinearMatMul", in: at(u8(a...), scale(0.02), zero(100), u8(b...), konst(fu(0.01, 0.02, n)), konst(u8(n)), scale(0.05), zero(128)), tol: oneStep})
		if len(b) == 2 {
			for _, bias := range []arg{none, konst(ff(n))} {
				for _, w := range []arg{konst(s8(b...)), s8(b...)} {
					add(sample{domain: graph.Domain, op: "QLinear", in: at(u8(a...), scale(0.02), zero(100), w, konst(fu(0.001, 0.01, n)), bias, scale(0.05), zero(128)), tol: oneStep},
						sample{domain: graph.Domain, op: "QLinearFloat", in: at(u8(a...), scale(0.02), none, w, konst(fu(0.001, 0.01, n)), bias), tol: 2e-5})
				}
			}
		}
	}
}

func private(add func(...sample)) {
	m := graph.Domain
	for _, sh := range shapes {
		add(sample{domain: m, op: "GeluGrad", in: at(ff(sh...), ff(sh...))}, sample{domain: m, op: "GeluGrad", in: at(ff(sh...), ff(sh...)), attrs: attrs(graph.Str("approximate", "tanh"))})
	}
	for _, sh := range [][]int{{4, 3}, {2, 3, 17}, {70, 64}, {3, 1}, {0, 4}} {
		add(sample{domain: m, op: "SoftmaxGrad", in: at(ff(sh...), ff(sh...)), tol: 1e-5}, sample{domain: m, op: "SoftmaxGrad", in: at(ff(sh...), ff(sh...)), attrs: attrs(graph.Int("axis", 0)), tol: 1e-5})
	}
	add(sample{domain: m, op: "GatherGrad", in: at(ff(2, 4, 3), ix(-5, 5, 2, 4), ci(5, 3))}, sample{domain: m, op: "GatherGrad", in: at(ff(4, 6, 3), ix(0, 5, 6), ci(4, 5, 3)), attrs: attrs(graph.Int("axis", 1))},
		sample{domain: m, op: "GatherGrad", in: at(ff(6, 40), ix(-3, 3, 6), ci(3, 40), ff(3, 40))}, sample{domain: m, op: "GatherGrad", in: at(ff(2, 6, 3), ix(0, 5, 6), ci(2, 5, 3), ff(2, 5, 3)), attrs: attrs(graph.Int("axis", 1))},
		sample{domain: m, op: "GatherGrad", in: at(ff(4), cs(2), ci(4, 5)), attrs: attrs(graph.Int("axis", -1))}, sample{domain: m, op: "GatherGrad", in: at(ff(0, 3), ix(0, 1, 0), ci(5, 3))})
	for _, red := range []string{"mean", "sum", "none"} {
		for _, ignore := range []bool{false, true} {
			for _, weighted := range []bool{false, true} {
				for _, sh := range [][]int{{6, 5}, {3, 4, 2}, {70, 10}} {
					a := attrs(graph.Str("reduction", red))
					if ignore {
						a = append(a, graph.Int("ignore_index", 1))
					}
					l := append([]int{sh[0]}, sh[2:]...)
					labels := ix(0, sh[1], l...)
					labels.t.Int64s()[0] = 0
					if ignore {
						labels.t.Int64s()[1] = 1
					}
					in, loss := at(ff(sh...), labels), ff()
					if red == "none" {
						loss = ff(l...)
					}
					grad := at(loss, fu(-3, 0, sh...), labels)
					if weighted {
						w := fp(sh[1])
						in, grad = append(in, w), append(grad, w)
					}
					add(sample{op: "SoftmaxCrossEntropyLoss", in: in, attrs: a, tol: 1e-5}, sample{op: "SoftmaxCrossEntropyLoss", in: in, attrs: a, out: 2, tol: 1e-5},
						sample{domain: m, op: "SoftmaxCrossEntropyLossGrad", in: grad, attrs: a, tol: 1e-5})
				}
			}
		}
	}
	for _, sh := range [][]int{{}, {5}, {3, 4}, {20000}, {0}} {
		a := attrs(graph.Float("weight_decay", 0.1), graph.Float("epsilon", 1e-6))
		add(sample{domain: m, op: "AdamW", in: at(ff(sh...), ff(sh...), fp(sh...), ff(sh...), fx([]float32{0.01}), arg{t: tensor.OfInt64([]int64{3})}), attrs: a, out: 3, tol: 1e-5},
			sample{domain: m, op: "AdamW", in: at(ff(sh...), ff(sh...), fp(sh...), ff(sh...), fx([]float32{0.01}), fx([]float32{100})), out: 3, tol: 1e-5},
			sample{domain: m, op: "AdamW", in: at(ff(sh...), ff(sh...), fp(sh...), ff(sh...), fx([]float32{0.01}), fx([]float32{2}), fx([]float32{0.25})), out: 3, tol: 1e-5})
	}
}
