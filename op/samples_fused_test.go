package op_test

import (
	"muster/graph"
	"muster/tensor"
)

// fusions are the private operators that passes put in place of chains of nodes.
func fusions(add func(...sample)) {
	m := graph.Domain
	for _, sh := range [][]int{{4, 3}, {2, 3, 17}, {70, 64}, {3, 1}, {0, 4}, {5}, {300, 197}} {
		c := sh[len(sh)-1]
		for _, rms := range []int64{0, 1} {
			a := attrs(graph.Int("rms", rms), graph.Float("epsilon", 1e-3))
			bias := ff(c)
			if rms != 0 {
				bias = none
			}
			add(sample{domain: m, op: "AddNormalization", in: at(ff(sh...), ff(sh...), ff(c), bias), attrs: a, out: 2, tol: 2e-5},
				sample{domain: m, op: "AddNormalization", in: at(ff(sh...), ff(sh...), ff(c)), attrs: a, tol: 2e-5},
				sample{domain: m, op: "AddNormalization", in: at(ff(sh...), none, ff(c), bias), attrs: a, tol: 2e-5})
		}
		add(sample{domain: m, op: "AddNormalization", in: at(ff(sh...)), out: 2, tol: 2e-5})
	}
	for _, name := range []string{"", "Relu", "Gelu", "GeluTanh", "Silu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Clip", "LeakyRelu"} {
		for _, sh := range [][]int{{}, {7}, {0, 3}, {17000}} {
			add(sample{domain: m, op: "Activation", in: at(fp(sh...)), attrs: attrs(graph.Str("activation", name), graph.Float("alpha", 0.2), graph.Float("beta", 0.9)), tol: 4e-6})
		}
	}
}

// movements are permutations of sizes at which blocks and edges of transposes differ.
func movements(add func(...sample)) {
	for _, c := range []struct {
		shape []int
		perm  []int64
	}{{[]int{40, 50}, []int64{1, 0}}, {[]int{3, 33, 70}, []int64{0, 2, 1}}, {[]int{20, 5, 18}, []int64{2, 1, 0}}, {[]int{2, 3, 17, 16}, []int64{0, 2, 3, 1}}, {[]int{2, 17, 16, 3}, []int64{0, 3, 1, 2}},
		{[]int{2, 19, 4, 17}, []int64{0, 2, 1, 3}}, {[]int{2, 19, 4, 17}, []int64{0, 2, 3, 1}}, {[]int{150, 300}, []int64{1, 0}}, {[]int{2, 300, 2}, []int64{0, 2, 1}}, {[]int{5, 300}, []int64{1, 0}}, {[]int{3, 4, 5, 6, 7}, []int64{4, 2, 0, 3, 1}}} {
		x, a := ff(c.shape...), attrs(graph.Ints("perm", c.perm...))
		add(sample{op: "Transpose", in: at(x), attrs: a}, sample{op: "Transpose", in: at(as(x, tensor.Float16)), attrs: a, tol: halfUlp},
			sample{op: "Transpose", in: at(as(x, tensor.Uint8)), attrs: a}, sample{op: "Transpose", in: at(as(x, tensor.Int64)), attrs: a})
	}
}

// slopesInOnePass are the gradients of activations in one pass.
func slopesInOnePass(add func(...sample)) {
	m := graph.Domain
	for _, name := range []string{"Relu", "Tanh", "Sigmoid"} {
		for _, sh := range [][]int{{}, {7}, {0, 3}, {17000}} {
			add(sample{domain: m, op: "ActivationGrad", in: at(ff(sh...), fu(0.1, 0.9, sh...)), attrs: attrs(graph.Str("activation", name))})
		}
		x := fx([]float32{-3, -1, 0, 0.5, 2}, 5)
		x.konst = true
		add(sample{domain: m, op: "ActivationGrad", in: at(ff(5), x), attrs: attrs(graph.Str("activation", name))})
	}
}
