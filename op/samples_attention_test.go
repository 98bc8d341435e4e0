package op_test

import (
	"muster/graph"
	"muster/tensor"
)

// maskOf is a mask of bools in which every row has a true entry.
func maskOf(shape ...int) arg {
	m := bb(shape...)
	for i := 0; i < len(m.t.Data); i += shape[len(shape)-1] {
		m.t.Data[i] = 1
	}
	return m
}

// attention has the forms of Attention and its private operators.
func attention(add func(...sample)) {
	h := func(q, k int64) []graph.Attr { return attrs(graph.Int("q_num_heads", q), graph.Int("kv_num_heads", k)) }
	one := func(opset, out int, a []graph.Attr, in ...arg) {
		add(sample{op: "Attention", opset: opset, in: in, out: out, attrs: a, tol: 1e-5, noSym: true})
	}
	causal, capped := graph.Int("is_causal", 1), graph.Float("softcap", 1.5)
	for _, opset := range []int{23, 24, 25} {
		one(opset, 1, h(3, 3), ff(2, 5, 24), ff(2, 6, 24), ff(2, 6, 18))
	}
	one(23, 1, nil, ff(2, 3, 5, 8), ff(2, 3, 6, 8), ff(2, 3, 6, 10), ff(5, 6))
	one(23, 1, attrs(causal, graph.Float("scale", 0.3)), ff(2, 4, 7, 8), ff(2, 2, 7, 8), ff(2, 2, 7, 8))
	one(23, 1, nil, ff(2, 3, 5, 8), ff(2, 3, 6, 8), ff(2, 3, 6, 8), maskOf(2, 1, 5, 6))
	one(23, 3, append(h(4, 2), causal), ff(2, 3, 32), ff(2, 3, 16), ff(2, 3, 12), ff(2, 1, 3, 7), ff(2, 2, 4, 8), ff(2, 2, 4, 6))
	one(23, 4, append(h(4, 2), capped, graph.Int("qk_matmul_output_mode", 1)), ff(2, 3, 32), ff(2, 3, 16), ff(2, 3, 12), ff(2, 1, 3, 7), ff(2, 2, 4, 8), ff(2, 2, 4, 6))
	for mode := range int64(4) {
		one(23, 4, attrs(graph.Int("qk_matmul_output_mode", mode)), ff(2, 2, 3, 4), ff(2, 2, 5, 4), ff(2, 2, 5, 4), ff(3, 5))
	}
	lens := arg{t: tensor.OfInt64([]int64{4, 6}, 2)}
	one(24, 1, attrs(causal), ff(2, 2, 3, 8), ff(2, 2, 6, 8), ff(2, 2, 6, 8), ff(2, 1, 3, 6), none, none, lens)
	one(24, 1, nil, ff(2, 2, 3, 8), ff(2, 2, 8, 8), ff(2, 2, 8, 8), ff(3, 6), none, none, lens)
	one(25, 1, attrs(graph.Int("left_window_size", 2), graph.Int("right_window_size", 1)), ff(1, 2, 9, 4), ff(1, 2, 9, 4), ff(1, 2, 9, 4))
	one(25, 1, attrs(graph.Int("left_window_size", 3), causal), ff(1, 2, 9, 4), ff(1, 2, 9, 4), ff(1, 2, 9, 4))
	one(23, 1, nil, as(ff(1, 2, 3, 4), tensor.Float16), as(ff(1, 2, 3, 4), tensor.Float16), as(ff(1, 2, 3, 4), tensor.Float16))

	m := func(out int, a []graph.Attr, in ...arg) {
		add(sample{domain: graph.Domain, op: "Attention", in: in, out: out, attrs: a, tol: 1e-5, noSym: true})
	}
	f := func(q, k int64, layout string, more ...graph.Attr) []graph.Attr {
		return append(attrs(graph.Int("heads", q), graph.Int("kv_heads", k), graph.Str("layout", layout), graph.Float("scale", 0.3)), more...)
	}
	grad := func(a []graph.Attr, y []int, lse arg, in ...arg) {
		full := append(at(ff(y...), in[0], in[1], in[2], ff(y...), lse), in[3:]...)
		add(sample{domain: graph.Domain, op: "AttentionGrad", in: full, out: 3, attrs: a, tol: 2e-5, noSym: true})
	}
	for _, c := range []int64{0, 1, 2} {
		cc := graph.Int("causal", c)
		m(2, f(3, 3, "3333", cc), ff(2, 5, 24), ff(2, 6, 24), ff(2, 6, 18))
		m(1, f(4, 2, "4444", cc), ff(2, 4, 6, 8), ff(2, 2, 9, 8), ff(2, 2, 9, 6), ff(2, 1, 6, 9))
		m(2, f(4, 2, "4433", cc), ff(2, 4, 70, 8), ff(2, 2, 70, 8), ff(2, 70, 32), ff(1, 70))
		grad(f(3, 3, "3333", cc), []int{2, 5, 18}, fu(1, 2, 2, 3, 5), ff(2, 5, 24), ff(2, 6, 24), ff(2, 6, 18))
		grad(f(4, 2, "4433", cc), []int{2, 70, 64}, fu(4, 5, 2, 4, 70), ff(2, 4, 70, 8), ff(2, 2, 70, 8), ff(2, 70, 32), ff(1, 70))
	}
	packed := func(layout string, v int64) []graph.Attr {
		return f(4, 2, layout, graph.Int("packed", 1), graph.Int("size", 8), graph.Int("v_size", 4), graph.Int("q_offset", 2), graph.Int("k_offset", 34), graph.Int("v_offset", v))
	}
	beside := func(a []graph.Attr, lse arg, in ...arg) {
		add(sample{domain: graph.Domain, op: "AttentionGrad", in: append(at(in[3], in[0], in[1], in[2], in[3], lse), in[4:]...),
			attrs: append(a, graph.Int("joint", 1)), tol: 2e-5, noSym: true})
	}
	beside(f(3, 3, "3333", graph.Int("causal", 1)), fu(1, 2, 2, 3, 5), ff(2, 5, 24), ff(2, 5, 24), ff(2, 5, 18), ff(2, 5, 18))
	beside(f(4, 2, "3334"), fu(4, 5, 2, 4, 70), ff(2, 70, 32), ff(2, 70, 16), ff(2, 70, 8), ff(2, 4, 70, 4), ff(1, 70))
	joint := ff(2, 5, 60)
	add(sample{domain: graph.Domain, op: "Attention", in: at(konst(joint), konst(joint), konst(joint)), out: 2, attrs: packed("3333", 50), tol: 1e-5, noSym: true},
		sample{domain: graph.Domain, op: "Attention", in: at(konst(ff(2, 4, 5, 8)), konst(joint), konst(ff(2, 2, 5, 4))), attrs: packed("4344", 0), tol: 1e-5, noSym: true},
		sample{domain: graph.Domain, op: "AttentionGrad", in: at(ff(2, 4, 5, 4), konst(joint), konst(joint), konst(joint), ff(2, 4, 5, 4), fu(1, 2, 2, 4, 5)), out: 3, attrs: packed("3334", 50), tol: 1e-5, noSym: true})
	m(2, f(2, 2, "3333", graph.Int("causal", 1)), ff(1, 1, 8), ff(1, 1, 8), ff(1, 1, 8))
	m(2, f(2, 1, "3333"), ff(1, 150, 64), ff(1, 525, 32), ff(1, 525, 32))
	m(2, f(1, 1, "3333", graph.Int("causal", 1)), ff(1, 525, 32), ff(1, 525, 32), ff(1, 525, 32))
	m(2, f(2, 1, "4444"), ff(1, 2, 3, 4), ff(1, 1, 5, 4), ff(1, 1, 5, 4), ff(2, 1, 5))
	grad(f(2, 1, "4444"), []int{1, 2, 3, 4}, fu(1, 2, 1, 2, 3), ff(1, 2, 3, 4), ff(1, 1, 5, 4), ff(1, 1, 5, 4), ff(2, 1, 5))
	grad(f(1, 1, "3333", graph.Int("causal", 1)), []int{1, 525, 32}, fu(9, 10, 1, 1, 525), ff(1, 525, 32), ff(1, 525, 32), ff(1, 525, 32))
}

// models has the operators around attention in language models.
func models(add func(...sample)) {
	ms := "com.microsoft"
	for _, sh := range [][]int{{4, 6}, {2, 3, 64}, {70, 48}, {1, 1}, {3, 300}} {
		C := sh[len(sh)-1]
		for _, s := range []sample{{op: "RMSNormalization", opset: 23}, {op: "SimplifiedLayerNormalization", out: 2}, {domain: ms, op: "SimplifiedLayerNormalization"}} {
			s.in, s.tol = at(ff(sh...), ff(C)), 1e-5
			add(s)
		}
	}
	add(sample{op: "RMSNormalization", opset: 23, in: at(ff(2, 3, 4), ff(3, 4)), attrs: attrs(graph.Int("axis", 1), graph.Float("epsilon", 1e-3)), tol: 1e-5},
		sample{op: "RMSNormalization", opset: 23, in: at(as(ff(2, 3, 4), tensor.Float16), as(ff(4), tensor.Float16)), tol: halfUlp})
	rot := func(i, heads, dim int64) []graph.Attr {
		return attrs(graph.Int("interleaved", i), graph.Int("num_heads", heads), graph.Int("rotary_embedding_dim", dim))
	}
	for _, i := range []int64{0, 1} {
		add(sample{op: "RotaryEmbedding", opset: 23, in: at(ff(2, 3, 5, 8), konst(ff(9, 4)), konst(ff(9, 4)), ix(0, 9, 2, 5)), attrs: rot(i, 0, 0)},
			sample{op: "RotaryEmbedding", opset: 23, in: at(ff(2, 5, 24), konst(ff(2, 5, 4)), konst(ff(2, 5, 4))), attrs: rot(i, 3, 0)},
			sample{op: "RotaryEmbedding", opset: 23, in: at(ff(2, 5, 24), konst(ff(9, 2)), konst(ff(9, 2)), ix(0, 9, 2, 5)), attrs: rot(i, 3, 4)},
			sample{domain: ms, op: "RotaryEmbedding", in: at(ff(2, 5, 24), ix(0, 9, 2, 5), konst(ff(9, 4)), konst(ff(9, 4))), attrs: rot(i, 0, 0)},
			sample{domain: ms, op: "RotaryEmbedding", in: at(ff(2, 3, 5, 8), arg{t: tensor.OfInt64([]int64{4}, 1)}, konst(ff(9, 4)), konst(ff(9, 4))), attrs: rot(i, 0, 0)})
	}
	for _, mode := range []string{"linear", "circular"} {
		a := attrs(graph.Str("mode", mode))
		add(sample{op: "TensorScatter", opset: 24, in: at(ff(2, 3, 6, 4), ff(2, 3, 2, 4), arg{t: tensor.OfInt64([]int64{0, 4}, 2)}), attrs: a},
			sample{op: "TensorScatter", opset: 24, in: at(ff(2, 6, 4), ff(2, 6, 4)), attrs: append(a, graph.Int("axis", 1))})
	}
	add(sample{op: "TensorScatter", opset: 24, in: at(ix(0, 9, 2, 6, 4), ix(0, 9, 2, 3, 4), arg{t: tensor.OfInt64([]int64{5, 2}, 2)}), attrs: attrs(graph.Str("mode", "circular"))})
	for _, act := range []string{"none", "silu"} {
		a := attrs(graph.Str("activation", act))
		add(sample{op: "CausalConvWithState", opset: 27, in: at(ff(2, 3, 7), ff(3, 1, 4), ff(3), ff(2, 3, 3)), out: 2, attrs: a, tol: 1e-5, noSym: true},
			sample{op: "CausalConvWithState", opset: 27, in: at(ff(2, 3, 2), ff(3, 1, 4)), out: 2, attrs: a, tol: 1e-5, noSym: true},
			sample{op: "CausalConvWithState", opset: 27, in: at(ff(1, 2, 70), ff(2, 1, 1)), attrs: a, tol: 1e-5, noSym: true})
	}
	for _, rule := range []string{"linear", "gated", "delta", "gated_delta"} {
		a := attrs(graph.Int("q_num_heads", 4), graph.Int("kv_num_heads", 2), graph.Str("update_rule", rule))
		gate, beta, past := none, none, none
		if rule != "linear" && rule != "delta" {
			gate = fu(-1, 0, 2, 5, 12)
		}
		if rule != "linear" && rule != "gated" {
			beta, past = fu(0, 1, 2, 5, 2), ff(2, 2, 6, 4)
		}
		add(sample{op: "LinearAttention", opset: 27, in: at(ff(2, 5, 24), fu(-0.5, 0.5, 2, 5, 12), ff(2, 5, 8), past, gate, beta), out: 2, attrs: a, tol: 1e-5, noSym: true})
	}
	add(sample{op: "LinearAttention", opset: 27, in: at(ff(1, 70, 32), fu(-0.3, 0.3, 1, 70, 16), ff(1, 70, 32), none, fu(-1, 0, 1, 70, 1), fu(0, 1, 1, 70, 1)),
		attrs: attrs(graph.Int("q_num_heads", 2), graph.Int("kv_num_heads", 1), graph.Float("scale", 0.5)), tol: 5e-5, noSym: true})
}
