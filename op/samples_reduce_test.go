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
			sample{op: name, in: at(as(fp(3, 4), tensor.Float16), ci(1)), tol: 3e-3}, sample{op: name, opset: 11, in: at(fp(3, 4)), attrs: attrs(graph.Int("keepdims", 0)), tol: 1e-5})
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
			add(sample{op: "CumSum", in: at(ff(70, 300), cs(1)), attrs: a, tol: 1e-5}, sample{op: "CumSum", in: at(ff(0, 3), cs(0)), attrs: a}, sample{op: "CumSum", in: at(ff(3, 0), cs(1)), attrs: a},
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
