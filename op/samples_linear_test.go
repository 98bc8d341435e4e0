package op_test

import (
	"muster/graph"
	"muster/tensor"
)

// linears are the products that end in a bias, a residual and an activation.
func linears(add func(...sample)) {
	for _, act := range []string{"", "Relu", "Gelu", "GeluTanh", "Silu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Clip", "LeakyRelu"} {
		a := attrs(graph.Str("activation", act))
		switch act {
		case "HardSigmoid":
			a = append(a, graph.Float("alpha", 0.2), graph.Float("beta", 0.5))
		case "Clip":
			a = append(a, graph.Float("alpha", -0.5), graph.Float("beta", 0.8))
		case "LeakyRelu":
			a = append(a, graph.Float("alpha", 0.1))
		}
		l := sample{domain: graph.Domain, op: "Linear", attrs: a, tol: 2e-5}
		for _, in := range [][]arg{at(ff(5, 9), ff(9, 7), ff(7), ff(5, 7)), at(ff(2, 3, 9), konst(ff(9, 40)), none, ff(2, 3, 40)),
			at(ff(2, 3, 9), konst(ff(9, 40)), konst(ff(40))), at(ff(4, 9), ff(9, 33)), at(ff(1, 70), konst(ff(70, 130)), ff(130), ff(1, 130))} {
			l.in, l.noSym = in, len(in) > 3
			add(l)
		}
	}
	big := sample{domain: graph.Domain, op: "Linear", attrs: attrs(graph.Str("activation", "Relu"), graph.Int("transB", 1)), tol: 2e-5}
	for _, in := range [][]arg{at(ff(180, 33), konst(ff(70, 33)), ff(70), ff(180, 70)), at(ff(6, 5), ff(7, 5)), at(ff(0, 5), ff(7, 5))} {
		big.in = in
		add(big)
	}
	// Large enough to be left out where derivatives are compared with differences, which steps of bfloat16 do not have.
	for _, p := range []struct {
		in         []arg
		transA, tB int64
	}{{at(ff(60, 40), ff(40, 70), ff(70), ff(60, 70)), 0, 0}, {at(ff(2, 30, 45), konst(ff(40, 45)), ff(40)), 0, 1}, {at(ff(45, 50), ff(45, 70)), 1, 0}, {at(ff(40, 300), ff(500, 40), none, ff(300, 500)), 1, 1}} {
		for _, act := range []string{"", "Relu"} {
			add(sample{domain: graph.Domain, op: "Linear", in: p.in, tol: 2e-5, noSym: len(p.in) > 3,
				attrs: attrs(graph.Str("activation", act), graph.Str("precision", "bf16"), graph.Int("transA", p.transA), graph.Int("transB", p.tB))})
		}
	}
	add(sample{domain: graph.Domain, op: "Linear", in: at(ff(20, 6), ff(20, 7), ff(7)), attrs: attrs(graph.Int("transA", 1)), tol: 2e-5})
	bf := func(shape ...int) arg { return as(ff(shape...), tensor.BFloat16) }
	for _, p := range [][2][]int{{{4, 3}, {3, 5}}, {{2, 4, 3}, {3, 5}}, {{2, 3, 4, 6}, {2, 3, 6, 5}}, {{2, 1, 4, 6}, {3, 6, 5}}, {{3}, {3, 5}}, {{4, 0}, {0, 5}}, {{0, 3}, {3, 2}}, {{180, 37}, {37, 70}}, {{1, 64}, {64, 33}}} {
		add(sample{op: "MatMul", in: at(bf(p[0]...), bf(p[1]...)), tol: brainUlp}, sample{op: "MatMul", in: at(bf(p[0]...), konst(bf(p[1]...))), tol: brainUlp})
	}
}
