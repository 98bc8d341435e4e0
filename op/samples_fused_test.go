package op_test

import "muster/graph"

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
		for _, sh := range [][]int{{}, {7}, {0, 3}, {40000}} {
			add(sample{domain: m, op: "Activation", in: at(fp(sh...)), attrs: attrs(graph.Str("activation", name), graph.Float("alpha", 0.2), graph.Float("beta", 0.9)), tol: 4e-6})
		}
	}
}
