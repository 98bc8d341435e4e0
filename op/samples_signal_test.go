package op_test

import (
	"muster/graph"
	"muster/tensor"
)

// signal are the Fourier transforms, windows and determinants.
func signal(add func(...sample)) {
	i := func(name string, v int64) graph.Attr { return graph.Int(name, v) }
	for _, sh := range [][]int{{2, 8, 1}, {2, 15, 2}, {3, 7, 1}, {1, 12, 2}, {2, 6, 3, 2}, {5, 2}, {0, 4, 1}, {2, 64, 1}} {
		ax := int64(-2)
		in := func(length arg) []arg { return at(ff(sh...), length, cs(ax)) }
		for _, inv := range []int64{0, 1} {
			for _, length := range []arg{none, cs(5), cs(9)} {
				add(sample{op: "DFT", in: in(length), attrs: attrs(i("inverse", inv)), tol: 2e-5, noSym: true})
				if inv == 0 || sh[len(sh)-1] == 2 {
					add(sample{op: "DFT", in: in(length), attrs: attrs(i("inverse", inv), i("onesided", 1)), tol: 2e-5, noSym: true})
				}
			}
		}
		if len(sh) == 3 {
			add(sample{op: "DFT", opset: 19, in: at(ff(sh...)), attrs: attrs(i("axis", 1)), tol: 2e-5, noSym: true}, sample{op: "DFT", opset: 19, in: at(ff(sh...), cs(6)), attrs: attrs(i("axis", -2), i("onesided", 1)), tol: 2e-5, noSym: true},
				sample{op: "DFT", in: at(ff(sh...), none, cs(1)), tol: 2e-5, noSym: true})
		}
	}
	add(sample{op: "DFT", in: at(ff(6, 5, 2), none, cs(0)), tol: 2e-5, noSym: true}, sample{op: "DFT", in: at(as(ff(2, 8, 1), tensor.Float16)), tol: halfUlp, noSym: true})
	for _, one := range []int64{0, 1} {
		a := attrs(i("onesided", one))
		add(sample{op: "STFT", in: at(ff(2, 30, 1), cs(4), ff(8)), attrs: a, tol: 2e-5, noSym: true}, sample{op: "STFT", in: at(ff(2, 30, 1), cs(5), none, cs(10)), attrs: a, tol: 2e-5, noSym: true},
			sample{op: "STFT", in: at(ff(1, 12, 2), cs(3), ff(6), cs(6)), attrs: a, tol: 2e-5, noSym: true}, sample{op: "STFT", in: at(ff(1, 9, 1), cs(3)), attrs: a, tol: 2e-5, noSym: true},
			sample{op: "STFT", opset: 18, in: at(ff(40, 64, 1), cs(16), konst(fp(32))), attrs: a, tol: 2e-5, noSym: true})
	}
	for _, name := range []string{"HannWindow", "HammingWindow", "BlackmanWindow"} {
		for _, n := range []int64{0, 1, 2, 9, 10} {
			add(sample{op: name, in: at(cs(n))}, sample{op: name, in: at(cs(n)), attrs: attrs(i("periodic", 0), i("output_datatype", 11))})
		}
	}
	add(sample{op: "MelWeightMatrix", in: at(cs(8), cs(16), cs(8192), konst(fx([]float32{0})), konst(fx([]float32{4096})))}, sample{op: "MelWeightMatrix", in: at(cs(40), cs(512), cs(16000), konst(fx([]float32{20})), konst(fx([]float32{7600}))), attrs: attrs(i("output_datatype", 11))})
	for _, sh := range [][]int{{1, 1}, {2, 2}, {3, 3}, {2, 4, 4}, {0, 3, 3}, {2, 3, 2, 2}, {0, 0}} {
		add(sample{op: "Det", in: at(ff(sh...)), tol: 1e-5, noSym: true})
	}
	add(sample{op: "Det", in: at(fx([]float32{1, 2, 2, 4}, 2, 2)), tol: 1e-6, noSym: true})
}
