package op_test

import (
	"muster/graph"
	"muster/tensor"
)

func strs(name string, v ...string) graph.Attr {
	a := graph.Attr{Name: name, Kind: graph.AttrStrings}
	for _, s := range v {
		a.Strings = append(a.Strings, []byte(s))
	}
	return a
}

func recurrents(add func(...sample)) {
	for _, cell := range []string{"LSTM", "GRU", "RNN"} {
		G := map[string]int{"LSTM": 4, "GRU": 3, "RNN": 1}[cell]
		outs := 2
		if cell == "LSTM" {
			outs = 3
		}
		call := func(T, B, I, H, D int, weights func(arg) arg, full bool, more ...graph.Attr) {
			scale := func(shape ...int) arg { return weights(fu(-0.6, 0.6, shape...)) }
			layout := false
			for _, a := range more {
				layout = layout || a.Name == "layout"
			}
			x, state := ff(T, B, I), []int{D, B, H}
			if layout {
				x, state = ff(B, T, I), []int{B, D, H}
			}
			in := at(x, scale(D, G*H, I), scale(D, G*H, H))
			if full {
				lens := as(ix(0, T+1, B), tensor.Int32)
				lens.t.Int32s()[0] = int32(T)
				in = append(in, scale(D, 2*G*H), lens, ff(state...))
				if cell == "LSTM" {
					in = append(in, ff(state...), scale(D, 3*H))
				}
			}
			s := sample{op: cell, in: in, attrs: append(attrs(graph.Int("hidden_size", int64(H))), more...), out: outs, tol: 2e-5, noSym: true}
			if T == 0 || len(more) == 0 && H == 5 {
				s.out = 1
			}
			add(s)
		}
		fed := func(a arg) arg { return a }
		dir := func(d string) graph.Attr { return graph.Str("direction", d) }
		call(4, 2, 3, 5, 1, konst, false)
		for _, w := range []func(arg) arg{fed, konst} {
			call(5, 3, 4, 6, 1, w, true)
			call(5, 3, 4, 6, 1, w, true, dir("reverse"))
			call(4, 2, 3, 5, 2, w, true, dir("bidirectional"), graph.Int("layout", 1))
			call(3, 2, 4, 4, 2, w, false, dir("bidirectional"))
			call(4, 2, 3, 5, 1, w, true, graph.Float("clip", 0.3))
		}
		call(1, 40, 33, 70, 1, konst, true)
		call(3, 0, 2, 5, 1, konst, false)
		call(7, 1, 20, 64, 1, konst, true, dir("reverse"))
		act := map[string][]string{"LSTM": {"HardSigmoid", "Softsign", "ScaledTanh"}, "GRU": {"HardSigmoid", "LeakyRelu"}, "RNN": {"Affine"}}[cell]
		alpha := graph.Attr{Name: "activation_alpha", Kind: graph.AttrFloats, Floats: []float32{0.3, 0.7}}
		beta := graph.Attr{Name: "activation_beta", Kind: graph.AttrFloats, Floats: []float32{0.4, 0.9}}
		call(3, 2, 3, 4, 1, fed, true, strs("activations", act...), alpha, beta)
		rest := map[string][]string{"LSTM": {"Softplus", "Elu", "Relu", "Sigmoid", "ThresholdedRelu", "Tanh"}, "GRU": {"sigmoid", "Elu", "Softplus", "relu"}, "RNN": {"Elu", "ThresholdedRelu"}}[cell]
		call(3, 2, 3, 4, 2, konst, true, strs("activations", rest...), dir("bidirectional"))
		switch cell {
		case "LSTM":
			call(4, 2, 3, 5, 1, fed, true, graph.Int("input_forget", 1))
		case "GRU":
			call(4, 2, 3, 5, 1, fed, true, graph.Int("linear_before_reset", 1))
			call(4, 2, 3, 5, 2, konst, true, graph.Int("linear_before_reset", 1), dir("bidirectional"))
			call(4, 2, 3, 5, 1, konst, false, graph.Int("linear_before_reset", 1))
		}
	}
}
