package op_test

import (
	"muster/graph"
	"muster/tensor"
)

// moreReductions are the norms, logarithms, running folds and normalisations.
func moreReductions(add func(...sample)) {
	for _, name := range []string{"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"} {
		for _, r := range []struct {
			shape []int
			axes  []int64
		}{{[]int{4, 3, 5}, []int64{-1}}, {[]int{4, 3, 5}, []int64{0}}, {[]int{4, 3, 5}, []int64{0, 2}}, {[]int{4, 3, 5}, nil}, {[]int{}, nil}, {[]int{70, 300}, []int64{1}}, {[]int{3, 1027}, []int64{1}},
			{[]int{3, 40, 16}, []int64{1}}, {[]int{20000}, nil}, {[]int{2, 0, 3}, []int64{2}}, {[]int{2, 0}, []int64{1}}} {
			for _, keep := range []int64{0, 1} {
				x, k := fp(r.shape...), graph.Int("keepdims", keep)
				in := at(x)
				if r.axes != nil {
					in = at(x, ci(r.axes...))
				}
				add(sample{op: name, in: in, attrs: attrs(k), tol: 1e-5})
				if r.axes != nil {
					add(sample{op: name, opset: 11, in: at(x), attrs: attrs(k, graph.Ints("axes", r.axes...)), tol: 1e-5})
				}
			}
		}
		add(sample{op: name, in: at(ix(1, 9, 3, 4), ci(1))}, sample{op: name, in: at(fp(3, 4), ci()), attrs: attrs(graph.Int("noop_with_empty_axes", 1)), tol: 4e-6},
			sample{op: name, in: at(as(fp(3, 4), tensor.Float16), ci(1)), tol: halfUlp}, sample{op: name, opset: 11, in: at(fp(3, 4)), attrs: attrs(graph.Int("keepdims", 0)), tol: 1e-5})
	}
	add(sample{op: "ReduceLogSumExp", in: at(fu(-900, 900, 5, 9), ci(1)), tol: 1e-5})
	for _, d := range []tensor.DType{tensor.Int32, tensor.Int8, tensor.Uint8, tensor.Uint64, tensor.Uint32} {
		for _, name := range []string{"ReduceMax", "ReduceMin", "ReduceSum", "ReduceL1", "ReduceProd"} {
			add(sample{op: name, in: at(raw(d, 3, 4), ci(1))}, sample{op: name, in: at(raw(d, 0, 4), ci(0))})
		}
		for _, name := range []string{"ArgMax", "ArgMin"} {
			add(sample{op: name, in: at(raw(d, 3, 4)), attrs: attrs(graph.Int("axis", 1))})
		}
	}
	add(sample{op: "ReduceProd", in: at(fx([]float32{2, 0, 3, 4, 0, 0, 5, 6, 7}, 3, 3), ci(1))}, sample{op: "ReduceMin", in: at(bb(2, 3), ci(1))}, sample{op: "ReduceMin", in: at(ff(2, 0, 3), ci(1))})
	for _, a := range []int64{0, 1, -1} {
		add(sample{op: "ArgMin", in: at(ff(3, 4, 5)), attrs: attrs(graph.Int("axis", a))}, sample{op: "ArgMin", in: at(ix(0, 3, 3, 4, 5)), attrs: attrs(graph.Int("axis", a), graph.Int("keepdims", 0), graph.Int("select_last_index", 1))})
	}
	for _, ex := range []int64{0, 1} {
		for _, rev := range []int64{0, 1} {
			a := attrs(graph.Int("exclusive", ex), graph.Int("reverse", rev))
			for _, ax := range []int64{0, 1, -1} {
				add(sample{op: "CumSum", in: at(ff(4, 3, 5), cs(ax)), attrs: a}, sample{op: "CumProd", opset: 26, in: at(fp(4, 3, 5), cs(ax)), attrs: a, tol: 1e-5})
			}
			add(sample{op: "CumSum", in: at(ff(70, 300), cs(1)), attrs: a, tol: 1e-5}, sample{op: "CumSum", in: at(ff(41, 3, 270), cs(1)), attrs: a, tol: 1e-5}, sample{op: "CumSum", in: at(ff(0, 3), cs(0)), attrs: a}, sample{op: "CumSum", in: at(ff(3, 0), cs(1)), attrs: a},
				sample{op: "CumSum", in: at(ix(-5, 5, 6), ci(0)), attrs: a}, sample{op: "CumSum", in: at(ff(6), as(ix(0, 1, 1), tensor.Int32)), attrs: a}, sample{op: "CumSum", in: at(as(ff(6), tensor.Float16), cs(0)), attrs: a},
				sample{op: "CumProd", opset: 26, in: at(fx([]float32{2, 3, 0, 4, 5, 0, 7, 8}, 2, 4), cs(1)), attrs: a}, sample{op: "CumProd", opset: 26, in: at(ix(-3, 3, 6), cs(0)), attrs: a})
		}
	}
	for _, p := range []int64{1, 2} {
		for _, ax := range []int64{0, 1, -1} {
			add(sample{op: "LpNormalization", in: at(ff(4, 3, 5)), attrs: attrs(graph.Int("p", p), graph.Int("axis", ax)), tol: 4e-6})
		}
		add(sample{op: "LpNormalization", in: at(konst(fx([]float32{0, 0, 0, 3, -4, 0}, 2, 3))), attrs: attrs(graph.Int("p", p))}, sample{op: "LpNormalization", in: at(ff(0, 3)), attrs: attrs(graph.Int("p", p))})
	}
	add(sample{op: "MeanVarianceNormalization", in: at(ff(2, 3, 4, 5)), tol: 1e-5}, sample{op: "MeanVarianceNormalization", in: at(ff(4, 7)), attrs: attrs(graph.Ints("axes", 1)), tol: 1e-5},
		sample{op: "MeanVarianceNormalization", opset: 11, in: at(ff(4, 7)), attrs: attrs(graph.Ints("axes", 0)), tol: 1e-5})
}

// randomOps are the random operators and the losses.
func randomOps(add func(...sample)) {
	for _, sh := range [][]int64{{}, {0}, {5}, {3, 4}, {17000}} {
		shape := graph.Ints("shape", sh...)
		var s []int
		for _, n := range sh {
			s = append(s, int(n))
		}
		add(sample{op: "RandomNormal", attrs: attrs(shape)}, sample{op: "RandomUniform", attrs: attrs(shape, graph.Float("low", -2), graph.Float("high", 3), graph.Float("seed", 7))},
			sample{op: "RandomNormal", attrs: attrs(shape, graph.Int("dtype", 11), graph.Float("mean", 3), graph.Float("scale", 2))}, sample{op: "RandomUniform", attrs: attrs(shape, graph.Int("dtype", 10))},
			sample{op: "RandomNormalLike", in: at(ff(s...))}, sample{op: "RandomUniformLike", in: at(ix(0, 3, s...)), attrs: attrs(graph.Int("dtype", 1))},
			sample{op: "Bernoulli", in: at(fu(0, 1, s...))}, sample{op: "Bernoulli", in: at(fu(0, 1, s...)), attrs: attrs(graph.Int("dtype", 9), graph.Float("seed", 1))})
		training := arg{t: tensor.OfBool([]bool{true})}
		for _, t := range []arg{training, konst(training)} {
			add(sample{op: "Dropout", in: at(ff(s...), fx([]float32{0.3}), t), out: 2}, sample{op: "Dropout", in: at(ff(s...), konst(fx([]float32{0})), t), out: 2},
				sample{op: "Dropout", in: at(ff(s...), none, t), attrs: attrs(graph.Int("seed", 3))}, sample{op: "Dropout", in: at(as(ff(s...), tensor.Float16), konst(fx([]float32{0.25})), t), out: 2, tol: halfUlp})
		}
	}
	add(sample{op: "Multinomial", in: at(ff(3, 4))}, sample{op: "Multinomial", in: at(ff(3, 4)), attrs: attrs(graph.Int("sample_size", 50), graph.Int("dtype", 7), graph.Float("seed", 2))}, sample{op: "Multinomial", in: at(ff(0, 4))})
	for _, red := range []string{"mean", "sum", "none"} {
		for _, sh := range [][]int{{6, 5}, {3, 4, 2}, {2, 3, 4, 5}, {70, 10}, {2, 2, 9000}} {
			l := append([]int{sh[0]}, sh[2:]...)
			labels := ix(0, sh[1], l...)
			labels.t.Int64s()[0], labels.t.Int64s()[1] = 0, 1
			a := attrs(graph.Str("reduction", red))
			tol := 2e-5
			if len(sh) == 3 {
				tol = 2e-4 // a long sum of numbers that cancel
			}
			add(sample{op: "NegativeLogLikelihoodLoss", in: at(ff(sh...), labels), attrs: a, tol: tol}, sample{op: "NegativeLogLikelihoodLoss", in: at(ff(sh...), labels, fp(sh[1])), attrs: append(a, graph.Int("ignore_index", 1)), tol: tol},
				sample{op: "NegativeLogLikelihoodLoss", in: at(ff(sh...), as(labels, tensor.Int32)), attrs: append(a, graph.Int("ignore_index", -100)), tol: tol})
		}
	}
}

// crossEntropies are shapes that the strips of the kernel split: more than one strip, more than one task, many classes.
func crossEntropies(add func(...sample)) {
	for _, sh := range [][]int{{2, 3, 20, 30}, {1, 5, 257}, {3, 1500}, {0, 3, 4}, {2, 3, 0}} {
		for _, red := range []string{"mean", "sum", "none"} {
			l := append([]int{sh[0]}, sh[2:]...)
			labels, loss := ix(0, sh[1], l...), ff()
			if red == "none" {
				loss = ff(l...)
			}
			for i := 4; i < labels.t.Elems(); i += 5 {
				labels.t.Int64s()[i] = -1
			}
			a := attrs(graph.Str("reduction", red), graph.Int("ignore_index", -1))
			if tensor.Shape(l).Elems() == 0 && red == "mean" {
				continue // 0/0
			}
			add(sample{op: "SoftmaxCrossEntropyLoss", in: at(ff(sh...), labels, fp(sh[1])), attrs: a, tol: 4e-5}, sample{op: "SoftmaxCrossEntropyLoss", in: at(ff(sh...), labels), attrs: a, out: 2, tol: 4e-5},
				sample{domain: graph.Domain, op: "SoftmaxCrossEntropyLossGrad", in: at(loss, fu(-3, 0, sh...), labels, fp(sh[1])), attrs: a, tol: 1e-5})
		}
	}
}

// trainingOps are the optimizers of the preview domain, and Dropout before it had a training mode.
func trainingOps(add func(...sample)) {
	f, domain := graph.Float, "ai.onnx.preview.training"
	for _, t := range []int64{0, 3} {
		for _, sh := range [][]int{{}, {4, 3}} {
			R, T := fx([]float32{0.1}), arg{t: tensor.OfInt64([]int64{t})}
			add(sample{domain: domain, op: "Adagrad", in: at(R, T, ff(sh...), ff(2), ff(sh...), ff(2), fp(sh...), fp(2)), out: 4, attrs: attrs(f("norm_coefficient", 0.1), f("epsilon", 1e-3), f("decay_factor", 0.2))},
				sample{domain: domain, op: "Adam", in: at(R, T, ff(sh...), ff(sh...), ff(sh...), fp(sh...)), out: 3, attrs: attrs(f("norm_coefficient", 0.1), f("epsilon", 1e-3), f("norm_coefficient_post", 0.1))},
				sample{domain: domain, op: "Momentum", in: at(R, T, ff(sh...), ff(sh...), ff(sh...)), out: 2, attrs: attrs(f("norm_coefficient", 0.1), f("alpha", 0.9), f("beta", 0.5), graph.Str("mode", "nesterov"))})
		}
	}
	add(sample{op: "Dropout", opset: 9, in: at(ff(4, 3)), out: 2}, sample{op: "Dropout", opset: 9, in: at(ff(4, 3))}, sample{op: "Dropout", opset: 11, in: at(ff(4, 3)), out: 2}, sample{op: "Dropout", opset: 11, in: at(as(ff(5), tensor.Float16))})
}
