package op_test

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// mathOps are the element-wise, logical and bitwise operators.
func mathOps(add func(...sample)) {
	for _, u := range []struct {
		name   string
		lo, hi float64
		attrs  []graph.Attr
	}{
		{"Acos", -0.9, 0.9, nil}, {"Acosh", 1.2, 9, nil}, {"Asin", -0.9, 0.9, nil}, {"Asinh", -3, 3, nil}, {"Atan", -5, 5, nil}, {"Atanh", -0.9, 0.9, nil},
		{"Cos", -9, 9, nil}, {"Cosh", -3, 3, nil}, {"Sin", -9, 9, nil}, {"Sinh", -3, 3, nil}, {"Tan", -1.4, 1.4, nil},
		{"Elu", -3, 3, nil}, {"Elu", -3, 3, attrs(graph.Float("alpha", 0.5))}, {"Selu", -3, 3, nil}, {"Selu", -3, 3, attrs(graph.Float("alpha", 2), graph.Float("gamma", 3))},
		{"Celu", -3, 3, nil}, {"Celu", -3, 3, attrs(graph.Float("alpha", 2))}, {"Mish", -9, 9, nil}, {"Softplus", -30, 30, nil}, {"Softsign", -5, 5, nil},
		{"HardSwish", -5, 5, nil}, {"HardSigmoid", -5, 5, nil}, {"HardSigmoid", -5, 5, attrs(graph.Float("alpha", 0.5), graph.Float("beta", 0.6))},
		{"LeakyRelu", -3, 3, nil}, {"LeakyRelu", -3, 3, attrs(graph.Float("alpha", 0.3))}, {"ThresholdedRelu", -3, 3, nil}, {"ThresholdedRelu", -3, 3, attrs(graph.Float("alpha", 0.3))},
		{"Shrink", -3, 3, nil}, {"Shrink", -3, 3, attrs(graph.Float("bias", 0.4), graph.Float("lambd", 1))}, {"Swish", -9, 9, nil}, {"Swish", -9, 9, attrs(graph.Float("alpha", 0.5))},
	} {
		opset := 0
		if u.name == "Celu" || u.name == "Swish" {
			opset = 26
		}
		for _, sh := range shapes {
			add(sample{op: u.name, opset: opset, in: at(fu(u.lo, u.hi, sh...)), attrs: u.attrs, tol: 4e-6})
		}
		x := fx([]float32{0.07, 0.19, 0.33, 0.41, 0.58, 0.67, 0.83, 0.91}, 8) // of the range: away from every bend
		for i, v := range x.t.Float32s() {
			x.t.Float32s()[i] = float32(u.lo) + v*float32(u.hi-u.lo)
		}
		add(sample{op: u.name, opset: opset, in: at(as(x, tensor.Float16)), attrs: u.attrs, tol: halfUlp},
			sample{op: u.name, opset: opset, in: at(as(x, tensor.BFloat16)), attrs: u.attrs, tol: brainUlp})
	}
	add(sample{op: "Shrink", in: at(ix(-9, 9, 20)), attrs: attrs(graph.Float("bias", 1.5), graph.Float("lambd", 3))})
	for _, p := range [][2][]int{{{4, 3}, {4, 3}}, {{4, 3}, {3}}, {{4, 3}, {1}}, {{2, 3, 4, 5}, {3, 1, 1}}, {{0, 3}, {3}}, {{70, 600}, {600}}, {{}, {}}} {
		add(sample{op: "PRelu", in: at(ff(p[0]...), ff(p[1]...))})
	}
	add(sample{op: "PRelu", in: at(ix(-5, 5, 4, 3), ix(-3, 3, 3))})
	special := fx([]float32{0, 1, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}, 5)
	for _, x := range []arg{special, as(special, tensor.Float64), as(special, tensor.Float16), ff(0), ff(20000)} {
		add(sample{op: "IsNaN", in: at(x)}, sample{op: "IsInf", in: at(x)}, sample{op: "IsInf", in: at(x), attrs: attrs(graph.Int("detect_negative", 0))},
			sample{op: "IsInf", in: at(x), attrs: attrs(graph.Int("detect_positive", 0))})
	}
	ints := []tensor.DType{tensor.Int64, tensor.Int32, tensor.Int16, tensor.Int8, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64}
	for _, d := range ints {
		x, y := raw(d, 4, 3), raw(d, 3)
		for _, name := range []string{"BitwiseAnd", "BitwiseOr", "BitwiseXor"} {
			add(sample{op: name, in: at(x, y)})
		}
		add(sample{op: "BitwiseNot", in: at(x)}, sample{op: "Abs", in: at(x)}, sample{op: "Sign", in: at(x)}, sample{op: "Mod", in: at(x, as(ix(1, 7, 3), d))},
			sample{op: "Mod", in: at(x, as(ix(1, 7, 3), d)), attrs: attrs(graph.Int("fmod", 1))}, sample{op: "Mod", in: at(x, as(ix(0, 1, 1), d))})
		for _, dir := range []string{"LEFT", "RIGHT"} {
			add(sample{op: "BitShift", in: at(x, as(ix(0, 70, 4, 1), d)), attrs: attrs(graph.Str("direction", dir))})
		}
		for _, name := range []string{"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"} {
			add(sample{op: name, in: at(x, as(ix(0, 5, 3), d))})
		}
	}
	for _, p := range pairs {
		add(sample{op: "Mod", in: at(ff(p[0]...), fp(p[1]...))}, sample{op: "Mod", in: at(ff(p[0]...), fu(-3, -0.3, p[1]...)), attrs: attrs(graph.Int("fmod", 1))},
			sample{op: "Mean", in: at(ff(p[0]...), ff(p[1]...))}, sample{op: "Xor", in: at(bb(p[0]...), bb(p[1]...))})
	}
	add(sample{op: "Mean", in: at(ff(4, 3), ff(3), ff(4, 1))}, sample{op: "Mean", in: at(ff(5))}, sample{op: "Pow", in: at(fp(4), as(ix(0, 4, 4), tensor.Int32))}, sample{op: "Pow", in: at(ix(1, 9, 4), fu(0, 2, 4))})
	shapeOps(add)
}

func shapeOps(add func(...sample)) {
	for _, sh := range [][]int{{4, 4}, {3, 5}, {5, 3}, {2, 3, 4}, {0, 3}, {3, 0}, {1, 1}, {2, 100, 130}} {
		for _, up := range []int64{0, 1} {
			for _, k := range []int64{-7, -1, 0, 1, 3, 200} {
				add(sample{op: "Trilu", in: at(ff(sh...), cs(k)), attrs: attrs(graph.Int("upper", up))})
			}
			add(sample{op: "Trilu", in: at(ff(sh...)), attrs: attrs(graph.Int("upper", up))}, sample{op: "Trilu", in: at(raw(tensor.Uint8, sh...), ix(-2, 2)), attrs: attrs(graph.Int("upper", up))})
		}
		add(sample{op: "Size", in: at(ff(sh...))})
		if len(sh) == 2 {
			add(sample{op: "EyeLike", in: at(ff(sh...))}, sample{op: "EyeLike", in: at(ix(0, 2, sh...)), attrs: attrs(graph.Int("k", -1), graph.Int("dtype", 11))}, sample{op: "EyeLike", in: at(bb(sh...)), attrs: attrs(graph.Int("k", 2))})
		}
	}
	add(sample{op: "CastLike", in: at(ff(4, 3), as(ff(1), tensor.Float64))}, sample{op: "CastLike", in: at(fu(0, 9, 4, 3), ix(0, 1, 1))}, sample{op: "CastLike", in: at(ff(4, 3), bb(2))},
		sample{op: "BitCast", opset: 26, in: at(ff(4, 3)), attrs: attrs(graph.Int("to", 6))}, sample{op: "BitCast", opset: 26, in: at(raw(tensor.Int16, 5)), attrs: attrs(graph.Int("to", int64(tensor.Uint16)))})
	for _, sh := range [][]int{{5}, {4, 3}, {2, 3, 4}, {0, 4}} {
		add(sample{op: "Hardmax", in: at(ff(sh...))}, sample{op: "Hardmax", in: at(ff(sh...)), attrs: attrs(graph.Int("axis", 0))})
		if len(sh) > 1 {
			add(sample{op: "Hardmax", opset: 11, in: at(ff(sh...))})
		}
	}
}
