package op_test

import (
	"muster/graph"
	"muster/tensor"
)

// windows are attributes of convolutions and pools of 2-D inputs of at least 7x6 with 3x2 kernels.
var windows = [][]graph.Attr{
	nil,
	attrs(graph.Ints("strides", 2, 3)),
	attrs(graph.Ints("pads", 1, 0, 2, 1)),
	attrs(graph.Ints("dilations", 2, 3), graph.Ints("pads", 1, 1, 1, 1)),
	attrs(graph.Ints("strides", 2, 2), graph.Ints("dilations", 2, 1), graph.Ints("pads", 2, 1, 0, 0)),
	attrs(graph.Str("auto_pad", "SAME_UPPER"), graph.Ints("strides", 2, 2)),
	attrs(graph.Str("auto_pad", "SAME_LOWER"), graph.Ints("strides", 3, 1)),
	attrs(graph.Str("auto_pad", "VALID"), graph.Ints("strides", 2, 1)),
}

func more(a []graph.Attr, b ...graph.Attr) []graph.Attr {
	return append(append([]graph.Attr{}, a...), b...)
}

// convolutions are the samples of convolution, pooling and the normalisations of channels.
func convolutions(add func(...sample)) {
	g := func(n int64) graph.Attr { return graph.Int("group", n) }
	kernel := graph.Ints("kernel_shape", 3, 2)
	for _, w := range windows {
		add(sample{op: "Conv", in: at(ff(2, 4, 7, 6), ff(6, 2, 3, 2), ff(6)), attrs: more(w, g(2)), tol: 1e-5, noSym: true},
			sample{op: "Conv", in: at(ff(2, 3, 8, 7), konst(ff(5, 3, 3, 2))), attrs: more(w, kernel), tol: 1e-5, noSym: true},
			sample{op: "Conv", in: at(ff(1, 3, 7, 7), konst(ff(3, 1, 3, 2)), konst(ff(3))), attrs: more(w, g(3)), tol: 1e-5, noSym: true},
			sample{op: "ConvTranspose", in: at(ff(2, 4, 4, 5), ff(4, 3, 3, 2), ff(6)), attrs: more(w, g(2)), tol: 1e-5, noSym: true},
			sample{op: "ConvTranspose", in: at(ff(1, 3, 4, 4), ff(3, 2, 3, 2)), attrs: w, tol: 1e-5, noSym: true},
			sample{op: "ConvInteger", in: at(u8(1, 2, 7, 6), s8(4, 2, 3, 2), u8(), s8(4)), attrs: w, noSym: true},
			sample{op: "ConvInteger", in: at(s8(2, 3, 7, 6), konst(s8(5, 3, 3, 2)), s8(), konst(s8(5))), attrs: w, noSym: true},
			sample{op: "ConvInteger", in: at(u8(1, 2, 7, 6), konst(u8(4, 1, 3, 2))), attrs: more(w, g(2)), noSym: true},
			sample{op: "MaxPool", in: at(fd(2, 3, 7, 6)), attrs: more(w, kernel), out: 2, noSym: true},
			sample{op: "MaxPool", in: at(fd(1, 2, 8, 7)), attrs: more(w, kernel, graph.Int("ceil_mode", 1)), noSym: true},
			sample{op: "MaxPool", in: at(u8(1, 2, 8, 7)), attrs: more(w, kernel), noSym: true},
			sample{op: "AveragePool", in: at(ff(2, 3, 7, 6)), attrs: more(w, kernel), noSym: true},
			sample{op: "AveragePool", in: at(ff(1, 2, 8, 7)), attrs: more(w, kernel, graph.Int("ceil_mode", 1), graph.Int("count_include_pad", 1)), noSym: true},
			sample{op: "AveragePool", in: at(ff(1, 2, 8, 7)), attrs: more(w, kernel, graph.Int("ceil_mode", 1)), noSym: true},
			sample{op: "LpPool", in: at(ff(1, 2, 7, 6)), attrs: more(w, kernel), tol: 1e-5, noSym: true},
			sample{op: "LpPool", in: at(fp(1, 2, 7, 6)), attrs: more(w, kernel, graph.Int("p", 3)), tol: 1e-5, noSym: true})
	}
	add(sample{op: "Conv", in: at(ff(2, 3, 9), ff(4, 3, 3)), attrs: attrs(graph.Ints("pads", 1, 1)), tol: 1e-5}, sample{op: "Conv", in: at(ff(2, 3, 5, 5), ff(4, 3, 1, 1), ff(4)), tol: 1e-5},
		sample{op: "Conv", in: at(ff(2, 3, 5, 5), ff(4, 3, 3, 3)), attrs: attrs(graph.Ints("pads", 1, 1, 1, 1)), tol: 1e-5}, sample{op: "Conv", in: at(ff(0, 3, 5, 5), ff(4, 3, 3, 3)), tol: 1e-5},
		sample{op: "Conv", in: at(ff(1, 2, 5, 4, 3), ff(4, 1, 3, 2, 2), ff(4)), attrs: attrs(graph.Ints("strides", 2, 1, 1), graph.Ints("pads", 1, 0, 1, 0, 1, 1), g(2)), tol: 1e-5, noSym: true},
		sample{op: "ConvTranspose", in: at(ff(1, 2, 3, 2, 3), ff(2, 2, 2, 3, 2)), attrs: attrs(graph.Ints("strides", 2, 1, 3), graph.Ints("output_padding", 1, 0, 2)), tol: 1e-5, noSym: true},
		sample{op: "ConvTranspose", in: at(ff(1, 2, 5), ff(2, 2, 3)), attrs: attrs(graph.Ints("strides", 3), graph.Ints("output_shape", 14)), tol: 1e-5, noSym: true},
		sample{op: "ConvTranspose", in: at(ff(1, 2, 5), ff(2, 2, 3)), attrs: attrs(graph.Ints("strides", 2), graph.Ints("output_shape", 14), graph.Str("auto_pad", "SAME_UPPER")), tol: 1e-5, noSym: true},
		sample{op: "ConvTranspose", in: at(ff(2, 2, 4, 4), ff(2, 2, 3, 3)), attrs: attrs(graph.Ints("pads", 1, 1, 1, 1)), tol: 1e-5, noSym: true},
		sample{op: "LpPool", in: at(fd(1, 2, 9)), attrs: attrs(graph.Ints("kernel_shape", 3), graph.Int("p", 1))},
		sample{op: "MaxPool", in: at(fd(2, 3, 7, 6)), attrs: more(windows[2], kernel, graph.Int("storage_order", 1)), out: 2, noSym: true},
		sample{op: "MaxPool", in: at(fd(1, 2, 5, 5, 5)), attrs: attrs(graph.Ints("kernel_shape", 2, 3, 2), graph.Ints("strides", 2, 2, 2)), noSym: true},
		sample{op: "MaxPool", in: at(s8(1, 2, 6)), attrs: attrs(graph.Ints("kernel_shape", 2)), noSym: true},
		sample{op: "MaxPool", in: at(fd(2, 40, 9, 9)), attrs: attrs(graph.Ints("kernel_shape", 3, 3), graph.Ints("strides", 2, 2), graph.Ints("pads", 1, 1, 1, 1)), noSym: true},
		sample{op: "MaxUnpool", in: at(ff(1, 1, 2, 2), ci2([]int64{5, 7, 13, 15}, 1, 1, 2, 2)), attrs: attrs(graph.Ints("kernel_shape", 2, 2), graph.Ints("strides", 2, 2)), noSym: true},
		sample{op: "MaxUnpool", in: at(ff(1, 1, 2, 2), ci2([]int64{5, 7, 13, 15}, 1, 1, 2, 2), ci(1, 1, 5, 5)), attrs: attrs(graph.Ints("kernel_shape", 2, 2), graph.Ints("strides", 2, 2)), noSym: true})
	for _, sh := range [][]int{{2, 3, 4, 5}, {3, 4, 7}, {2, 5, 1, 1}, {4, 16, 8, 8}} {
		C := sh[1]
		add(sample{op: "GlobalAveragePool", in: at(ff(sh...))}, sample{op: "GlobalMaxPool", in: at(fd(sh...))}, sample{op: "GlobalLpPool", in: at(ff(sh...)), tol: 1e-5}, sample{op: "GlobalLpPool", in: at(fp(sh...)), attrs: attrs(graph.Int("p", 3)), tol: 1e-5},
			sample{op: "BatchNormalization", in: at(ff(sh...), ff(C), ff(C), ff(C), fp(C)), tol: 1e-5},
			sample{op: "BatchNormalization", opset: 13, in: at(ff(sh...), ff(C), ff(C), ff(C), fp(C)), attrs: attrs(graph.Float("epsilon", 1e-3)), tol: 1e-5},
			sample{op: "BatchNormalization", in: at(ff(sh...), ff(C), ff(C), konst(ff(C)), konst(fp(C))), attrs: attrs(graph.Int("training_mode", 1), graph.Float("momentum", 0.7), graph.Float("epsilon", 1e-2)), out: 3, tol: 2e-5},
			sample{domain: graph.Domain, op: "BatchNormalizationTraining", in: at(ff(sh...), ff(C), ff(C), konst(ff(C)), konst(fp(C))), attrs: attrs(graph.Float("momentum", 0.7), graph.Float("epsilon", 1e-2)), out: 5, tol: 2e-5},
			sample{domain: graph.Domain, op: "BatchNormalizationGrad", in: at(ff(sh...), ff(sh...), ff(C), ff(C), fp(C)), out: 3, tol: 5e-5},
			sample{op: "InstanceNormalization", in: at(ff(sh...), ff(C), ff(C)), attrs: attrs(graph.Float("epsilon", 1e-2)), tol: 2e-5, noSym: true},
			sample{op: "LRN", in: at(ff(sh...)), attrs: attrs(graph.Int("size", 3), graph.Float("alpha", 0.1)), tol: 1e-5}, sample{op: "LRN", in: at(ff(sh...)), attrs: attrs(graph.Int("size", 4), graph.Float("beta", 0.5), graph.Float("bias", 2)), tol: 1e-5})
	}
	for _, sh := range [][]int{{2, 4, 3, 5}, {3, 4, 6}, {2, 32, 8, 8}} {
		C, n := sh[1], graph.Int("num_groups", 2)
		add(sample{op: "GroupNormalization", opset: 18, in: at(ff(sh...), ff(2), ff(2)), attrs: attrs(n), tol: 2e-5, noSym: true},
			sample{op: "GroupNormalization", opset: 21, in: at(ff(sh...), ff(C), ff(C)), attrs: attrs(n), tol: 2e-5, noSym: true})
	}
	two := []graph.Attr{graph.Ints("strides", 2, 2), graph.Ints("pads", 1, 0, 1, 1)}
	plain := []graph.Attr{graph.Ints("strides", 1, 1), graph.Ints("pads", 1, 1, 1, 1)}
	last := func(in []arg, a ...graph.Attr) {
		add(sample{domain: graph.Domain, op: "ConvNHWC", in: in, attrs: a, tol: 5e-5, noSym: true})
	}
	act := func(name string) graph.Attr { return graph.Str("activation", name) }
	last(at(ff(2, 7, 6, 4), ff(6, 2, 3, 2), ff(6), ff(2, 4, 3, 6)), more(two, g(2), act("Relu"))...)
	last(at(ff(1, 7, 6, 3), konst(ff(5, 3, 3, 3)), none, ff(1, 7, 6, 5)), plain...)
	last(at(ff(1, 7, 6, 8), konst(ff(8, 1, 3, 3)), konst(ff(8))), more(plain, g(8), act("Clip"), graph.Float("alpha", 0), graph.Float("beta", 0.6))...)
	// 288 terms of variance 1 add up: the error is that of the terms.
	add(sample{domain: graph.Domain, op: "ConvNHWC", in: at(ff(1, 39, 40, 32), ff(32, 32, 3, 3)), attrs: more(plain, graph.Int("transposed", 1)), tol: 5e-5, noSym: true})
	last(at(ff(1, 7, 6, 33), ff(33, 40, 3, 3)), more(plain, graph.Int("transposed", 1))...)
	last(at(ff(1, 7, 6, 33), konst(ff(35, 33, 3, 3)), konst(ff(35)), ff(1, 7, 6, 35)), more(plain, act("Relu"))...)
	last(at(ff(1, 5, 6, 8), konst(ff(7, 8, 1, 1)), konst(ff(7)), ff(1, 5, 6, 7)), graph.Ints("strides", 1, 1), act("Silu"))
	last(at(ff(1, 5, 6, 8), ff(7, 8, 1, 1)), graph.Ints("strides", 1, 1), act("HardSwish"))
	last(at(ff(1, 4, 3, 5), ff(5, 6, 3, 3), ff(6)), more(two, graph.Int("transposed", 1), graph.Ints("output_padding", 1, 0))...)
	last(at(ff(1, 4, 3, 5), ff(5, 6, 1, 1)), graph.Ints("strides", 1, 1), graph.Int("transposed", 1), act("Relu"))
	last(at(ff(1, 4, 3, 5), ff(5, 1, 3, 3)), more(two, graph.Int("transposed", 1), g(5))...)
	last(at(ff(2, 9, 3), ff(4, 3, 3)), graph.Ints("strides", 2), graph.Ints("dilations", 2), graph.Ints("pads", 2, 1), act("LeakyRelu"), graph.Float("alpha", 0.1))
	for _, w := range windows {
		add(sample{domain: graph.Domain, op: "MaxPoolNHWC", in: at(fd(2, 7, 6, 19)), attrs: more(w, kernel), noSym: true},
			sample{domain: graph.Domain, op: "AveragePoolNHWC", in: at(ff(2, 7, 6, 5)), attrs: more(w, kernel), noSym: true},
			sample{domain: graph.Domain, op: "AveragePoolNHWC", in: at(ff(1, 8, 7, 16)), attrs: more(w, kernel, graph.Int("count_include_pad", 1), graph.Int("ceil_mode", 1)), noSym: true})
	}
	add(sample{domain: graph.Domain, op: "MaxPoolNHWC", in: at(fd(2, 7, 3)), attrs: attrs(graph.Ints("kernel_shape", 2), graph.Int("rank", 3)), out: 2, noSym: true})
	for _, sh := range [][]int{{2, 4, 5, 3}, {3, 8, 8, 32}, {2, 7, 7, 19}} {
		C := sh[3]
		add(sample{domain: graph.Domain, op: "BatchNormalizationTrainingNHWC", in: at(ff(sh...), ff(C), ff(C), konst(ff(C)), konst(fp(C))), attrs: attrs(graph.Float("momentum", 0.7), graph.Float("epsilon", 1e-2)), out: 5, tol: 2e-5},
			sample{domain: graph.Domain, op: "BatchNormalizationGradNHWC", in: at(ff(sh...), ff(sh...), ff(C), ff(C), fp(C)), out: 3, tol: 5e-5})
	}
	add(sample{domain: graph.Domain, op: "ConvGradWeightNHWC", in: at(ff(2, 7, 6, 4), ff(2, 4, 3, 6)), attrs: attrs(kernel, graph.Ints("strides", 2, 2), graph.Ints("dilations", 1, 1), graph.Ints("pads", 1, 0, 1, 0)), tol: 5e-5, noSym: true},
		sample{domain: graph.Domain, op: "MaxPoolNHWC", in: at(fd(2, 7, 6, 5)), attrs: attrs(kernel, graph.Ints("pads", 1, 1, 1, 0)), out: 2, noSym: true},
		sample{domain: graph.Domain, op: "MaxPoolGradNHWC", in: at(ff(1, 3, 2), konst(arg{t: tensor.OfInt64([]int64{0, 6, 2, 7, 2, 9}, 1, 3, 2)}), konst(ff(1, 5, 2))), attrs: attrs(graph.Int("rank", 3)), noSym: true})
	add(sample{op: "DeformConv", opset: 22, in: at(ff(2, 4, 5, 5), ff(4, 2, 3, 2), ff(2, 2*6*2, 3, 5), ff(4), ff(2, 2*6, 3, 5)), tol: 1e-5, noSym: true,
		attrs: attrs(g(2), graph.Int("offset_group", 2), graph.Ints("pads", 1, 0, 1, 1), graph.Ints("strides", 2, 1))},
		sample{op: "DeformConv", opset: 19, in: at(ff(1, 3, 4, 4), ff(2, 3, 2, 2), ff(1, 8, 3, 3)), tol: 1e-5, noSym: true})
	ms := "com.microsoft"
	for _, sh := range [][]int{{2, 4, 5, 8}, {1, 3, 3, 12}, {2, 8, 8, 32}} {
		C := sh[3]
		groups := graph.Int("groups", 4)
		add(sample{domain: graph.Domain, op: "GroupNormalizationNHWC", in: at(ff(sh...), ff(C), ff(C)), attrs: attrs(graph.Int("num_groups", 4)), tol: 5e-5, noSym: true},
			sample{domain: graph.Domain, op: "InstanceNormalizationNHWC", in: at(ff(sh...), ff(C), ff(C)), attrs: attrs(graph.Float("epsilon", 1e-2)), tol: 5e-5, noSym: true},
			sample{domain: ms, op: "GroupNorm", in: at(ff(sh...), ff(C), ff(C)), attrs: attrs(groups, graph.Int("activation", 1)), tol: 5e-5, noSym: true},
			sample{domain: ms, op: "SkipGroupNorm", in: at(ff(sh...), ff(C), ff(C), ff(sh[0], C), ff(C)), attrs: attrs(groups), out: 2, tol: 5e-5, noSym: true},
			sample{domain: ms, op: "BiasSplitGelu", in: at(ff(2, 3, C), ff(C)), tol: 1e-5, noSym: true})
	}
	add(sample{domain: ms, op: "GroupNorm", in: at(ff(2, 4, 5, 3), ff(4), ff(4)), attrs: attrs(graph.Int("groups", 2), graph.Int("channels_last", 0)), tol: 5e-5, noSym: true})
	for _, a := range []string{"", "Relu", "Sigmoid", "LeakyRelu"} {
		add(sample{domain: ms, op: "FusedConv", in: at(ff(1, 3, 6, 5), ff(4, 3, 3, 3), ff(4), ff(1, 4, 4, 3)), attrs: attrs(graph.Str("activation", a)), tol: 1e-5, noSym: true})
	}
	add(sample{domain: ms, op: "FusedConv", in: at(ff(1, 3, 6, 5), ff(4, 3, 3, 3)), tol: 1e-5, noSym: true,
		attrs: attrs(graph.Str("activation", "Clip"), graph.Attr{Name: "activation_params", Kind: graph.AttrFloats, Floats: []float32{-0.1, 0.5}})})
	gw := func(x, dy []int, a ...graph.Attr) {
		add(sample{domain: graph.Domain, op: "ConvGradWeight", in: at(ff(x...), ff(dy...)), attrs: a, tol: 5e-5, noSym: true})
	}
	gw([]int{2, 4, 7, 6}, []int{2, 6, 5, 5}, kernel, g(2), graph.Ints("strides", 1, 1), graph.Ints("dilations", 1, 1), graph.Ints("pads", 0, 0, 0, 0))
	gw([]int{2, 4, 7, 6}, []int{2, 6, 4, 3}, kernel, graph.Ints("strides", 2, 2), graph.Ints("dilations", 1, 1), graph.Ints("pads", 1, 0, 1, 0))
	gw([]int{2, 3, 9}, []int{2, 3, 7}, graph.Ints("kernel_shape", 2), g(3), graph.Ints("strides", 1), graph.Ints("dilations", 3), graph.Ints("pads", 1, 0))
	add(sample{domain: graph.Domain, op: "MaxPoolGrad", in: at(ff(1, 2, 3), konst(arg{t: tensor.OfInt64([]int64{0, 2, 2, 5, 6, 8}, 1, 2, 3)}), konst(ff(1, 2, 5))), noSym: true})
	scale := func(v ...float32) arg { return konst(fx(v, len(v))) }
	one := func(v float32) arg { return konst(fx([]float32{v})) }
	zero := func(v uint8) arg { return konst(arg{t: tensor.OfUint8([]uint8{v})}) }
	bias := arg{t: tensor.OfInt32([]int32{100, -200, 300, 0}, 4)}
	for _, w := range windows {
		add(sample{op: "QLinearConv", in: at(u8(1, 4, 7, 6), one(0.02), zero(120), konst(s8(4, 2, 3, 2)), scale(0.01, 0.02, 0.005, 0.01), konst(arg{t: tensor.OfInt8([]int8{0, 0, 0, 0}, 4)}), one(0.05), zero(100), bias), attrs: more(w, g(2)), tol: oneStep, noSym: true},
			sample{op: "QLinearConv", in: at(u8(2, 2, 7, 6), one(0.02), zero(3), u8(5, 2, 3, 2), one(0.01), zero(128), one(0.05), zero(100)), attrs: w, tol: oneStep, noSym: true})
	}
}

// ci2 are constant int64 values of a shape.
func ci2(v []int64, shape ...int) arg { return arg{tensor.OfInt64(v, shape...), true} }
