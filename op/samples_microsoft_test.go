package op_test

import (
	"strings"

	"muster/graph"
	"muster/tensor"
)

// microsoft has the operators of com.microsoft; their answers are compared with ONNX Runtime's in TestMicrosoft.
func microsoft(add func(...sample)) {
	ms := func(op string, out int, a []graph.Attr, in ...arg) {
		tol := 2e-5
		if strings.HasPrefix(op, "Q") && op != "QAttention" && op != "QuickGelu" { // a number may lie between two integers
			tol = oneStep
		}
		add(sample{domain: "com.microsoft", op: op, in: in, out: out, attrs: a, tol: tol, noSym: true})
	}
	heads := func(n int64, more ...graph.Attr) []graph.Attr {
		return append(attrs(graph.Int("num_heads", n)), more...)
	}
	lens := func(v ...int32) arg { return arg{t: tensor.OfInt32(v, len(v))} }
	past := graph.Int("unidirectional", 1)
	ms("MultiHeadAttention", 1, heads(2), ff(2, 3, 8), ff(2, 5, 8), ff(2, 5, 12), ff(28), lens(2, 5), ff(1, 2, 3, 5))
	ms("MultiHeadAttention", 3, heads(2, past), ff(2, 3, 8), ff(2, 3, 8), ff(2, 3, 8), none, none, none, ff(2, 2, 4, 4), ff(2, 2, 4, 4))
	ms("MultiHeadAttention", 1, heads(2), ff(2, 3, 2, 3, 4))
	ms("MultiHeadAttention", 1, heads(2), ff(2, 3, 8), ff(2, 5, 2, 2, 4))
	ms("MultiHeadAttention", 1, heads(2), ff(2, 3, 8), ff(2, 2, 5, 4), ff(2, 2, 5, 6))
	ms("Attention", 1, heads(2), ff(2, 3, 6), ff(6, 24), ff(24), lens(2, 3))
	ms("Attention", 2, heads(2, past, graph.Float("scale", 0.4)), ff(2, 3, 6), ff(6, 24), ff(24), none, ff(2, 2, 2, 4, 4))
	ms("Attention", 1, heads(2, graph.Ints("qkv_hidden_sizes", 8, 8, 4)), ff(2, 3, 6), ff(6, 20))
	ms("QAttention", 1, heads(2), u8(2, 3, 6), s8(6, 24), ff(24), konst(fx([]float32{0.02})), konst(fx([]float32{0.01})))
	rotary := attrs(graph.Int("num_heads", 4), graph.Int("kv_num_heads", 2), graph.Int("do_rotary", 1))
	ms("GroupQueryAttention", 3, rotary, ff(2, 2, 32), ff(2, 2, 16), ff(2, 2, 16), ff(2, 2, 5, 8), ff(2, 2, 5, 8), lens(3, 6), konst(lens(7)), ff(9, 4), ff(9, 4))
	ms("GroupQueryAttention", 3, append(rotary[:2:2], graph.Int("local_window_size", 3), graph.Float("softcap", 2)), ff(1, 6, 64), none, none, none, none, lens(5), konst(lens(6)), none, none, none, ff(1, 4, 6, 6))
	eps := attrs(graph.Float("epsilon", 1e-5))
	ms("SkipLayerNormalization", 1, eps, ff(2, 3, 8), ff(2, 3, 8), ff(8), ff(8), ff(8))
	ms("SkipLayerNormalization", 1, eps, ff(2, 3, 8), ff(1, 3, 8), ff(8))
	ms("SkipSimplifiedLayerNormalization", 1, eps, ff(2, 3, 8), ff(2, 3, 8), ff(8), ff(8))
	ms("EmbedLayerNormalization", 3, eps, ix(0, 7, 2, 3), ix(0, 2, 2, 3), ff(7, 8), ff(5, 8), ff(2, 8), ff(8), ff(8), ix(0, 2, 2, 3), ix(0, 5, 1, 3))
	for _, sh := range [][]int{{2, 8}, {3, 70}, {5}} {
		C := sh[len(sh)-1]
		ms("Gelu", 1, nil, ff(sh...))
		ms("BiasGelu", 1, nil, ff(sh...), ff(C))
		ms("FastGelu", 1, nil, ff(sh...), ff(C))
		ms("FastGelu", 1, nil, ff(sh...))
		ms("QuickGelu", 1, nil, ff(sh...))
	}
	for _, act := range []string{"relu", "gelu", "silu", "identity", "swiglu"} {
		F := 12
		a := attrs(graph.Str("activation_type", act), graph.Int("k", 2), graph.Int("normalize_routing_weights", int64(len(act)%2)))
		if act == "swiglu" {
			F, a = 24, append(a, graph.Int("swiglu_fusion", 1), graph.Float("activation_alpha", 1.7), graph.Float("activation_beta", 1), graph.Float("swiglu_limit", 1.5))
		}
		ms("MoE", 1, a, ff(2, 3, 8), ff(6, 4), ff(4, F, 8), ff(4, F), ff(4, 8, 12), ff(4, 8))
		ms("MoE", 1, a, ff(5, 8), ff(5, 3), ff(3, F, 8), none, ff(3, 8, 12))
	}
	num := func(v float32) arg { return konst(fx([]float32{v})) }
	zero := func(v uint8) arg { return konst(arg{t: tensor.OfUint8([]uint8{v})}) }
	ms("QLinearAdd", 1, nil, u8(2, 3, 4), num(0.02), zero(120), u8(3, 4), num(0.03), none, num(0.05), zero(128))
	ms("QLinearMul", 1, nil, s8(2, 3), num(0.02), none, s8(2, 3), num(0.03), none, num(0.05))
	ms("QLinearSigmoid", 1, nil, u8(40), num(0.05), zero(128), num(1./256), zero(0))
	ms("QLinearLeakyRelu", 1, attrs(graph.Float("alpha", 0.1)), u8(40), num(0.05), zero(128), num(0.05), zero(9))
	ms("QLinearSoftmax", 1, attrs(graph.Int("axis", 1), graph.Int("opset", 13)), u8(2, 3, 4), num(0.05), zero(128), num(1./256), zero(0))
	ms("QLinearConcat", 1, attrs(graph.Int("axis", 1)), num(0.05), zero(128), u8(2, 3), num(0.02), zero(120), u8(2, 2), num(0.04), zero(90))
	ms("QLinearAveragePool", 1, attrs(graph.Ints("kernel_shape", 2, 2), graph.Int("channels_last", 1)), u8(1, 5, 5, 2), num(0.02), zero(120), num(0.03), zero(100))
	ms("QLinearGlobalAveragePool", 1, nil, u8(2, 3, 4, 4), num(0.02), zero(120), num(0.01), zero(100))
	ms("QGemm", 1, attrs(graph.Int("transB", 1)), u8(3, 6), num(0.02), zero(120), u8(4, 6), konst(fp(4)), konst(u8(4)), as(ix(-200, 200, 4), tensor.Int32), num(0.5), zero(128))
}
