package op_test

import (
	"math"
	"testing"

	"muster/graph"
	"muster/tensor"
)

var storedTypes = []tensor.DType{tensor.Float8E4M3FN, tensor.Float8E4M3FNUZ, tensor.Float8E5M2, tensor.Float8E5M2FNUZ, tensor.Uint4, tensor.Int4, tensor.Float4E2M1, tensor.Float8E8M0, tensor.Uint2, tensor.Int2}

// stored are the conversions of the types of few bits.
func stored(add func(...sample)) {
	for _, d := range storedTypes {
		x := raw(d, 3, 5)
		to := attrs(graph.Int("to", int64(d)))
		add(sample{op: "Cast", opset: 25, in: at(fu(0, 3, 3, 5)), attrs: to}, sample{op: "Cast", opset: 25, in: at(ix(0, 3, 7)), attrs: to}, sample{op: "Cast", opset: 25, in: at(x), attrs: attrs(graph.Int("to", 1))},
			sample{op: "Cast", opset: 25, in: at(x), attrs: attrs(graph.Int("to", 3))}, sample{op: "CastLike", opset: 25, in: at(fu(0, 3, 4), x)}, sample{op: "Reshape", opset: 25, in: at(x, ci(15)), noSym: true},
			sample{op: "Identity", opset: 25, in: at(x)}, sample{op: "Size", opset: 25, in: at(x)}, sample{op: "Shape", opset: 25, in: at(x)})
		if d == tensor.Float8E8M0 {
			continue
		}
		scale, zero := konst(fx([]float32{0.25})), konst(arg{t: tensor.New(d)})
		blocks := konst(fp(3, 2))
		add(sample{op: "QuantizeLinear", opset: 25, in: at(ff(3, 5), scale, zero)}, sample{op: "QuantizeLinear", opset: 25, in: at(ff(3, 5), blocks), attrs: attrs(graph.Int("axis", 1), graph.Int("block_size", 3), graph.Int("output_dtype", int64(d)))},
			sample{op: "DequantizeLinear", opset: 25, in: at(x, scale)}, sample{op: "DequantizeLinear", opset: 25, in: at(x, blocks), attrs: attrs(graph.Int("axis", 1), graph.Int("block_size", 3))})
	}
}

// Codes of chosen numbers: the tables of the Cast operator's text and of the OCP formats.
func TestStoredTypes(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		d       tensor.DType
		x       float64
		yes, no byte // with and without saturation
	}{
		{tensor.Float8E4M3FN, 448, 0x7e, 0x7e}, {tensor.Float8E4M3FN, 464, 0x7e, 0x7e}, {tensor.Float8E4M3FN, 465, 0x7e, 0x7f}, {tensor.Float8E4M3FN, -inf, 0xfe, 0xff}, {tensor.Float8E4M3FN, nan, 0x7f, 0x7f},
		{tensor.Float8E4M3FN, 1, 0x38, 0x38}, {tensor.Float8E4M3FN, 1.0625, 0x38, 0x38}, {tensor.Float8E4M3FN, 1.1875, 0x3a, 0x3a}, {tensor.Float8E4M3FN, math.Copysign(0, -1), 0x80, 0x80}, {tensor.Float8E4M3FN, 0x1p-9, 1, 1}, {tensor.Float8E4M3FN, 0x1p-10, 0, 0},
		{tensor.Float8E4M3FNUZ, 240, 0x7f, 0x7f}, {tensor.Float8E4M3FNUZ, 247, 0x7f, 0x7f}, {tensor.Float8E4M3FNUZ, 248, 0x7f, 0x80}, {tensor.Float8E4M3FNUZ, nan, 0x80, 0x80}, {tensor.Float8E4M3FNUZ, math.Copysign(0, -1), 0, 0}, {tensor.Float8E4M3FNUZ, -1e-9, 0, 0},
		{tensor.Float8E5M2, 57344, 0x7b, 0x7b}, {tensor.Float8E5M2, 61439, 0x7b, 0x7b}, {tensor.Float8E5M2, 61440, 0x7b, 0x7c}, {tensor.Float8E5M2, -inf, 0xfb, 0xfc}, {tensor.Float8E5M2FNUZ, inf, 0x7f, 0x80},
		{tensor.Float4E2M1, 5, 0x6, 0x6}, {tensor.Float4E2M1, 2.5, 0x4, 0x4}, {tensor.Float4E2M1, -100, 0xf, 0xf}, {tensor.Float4E2M1, 0.25, 0, 0}, {tensor.Float4E2M1, 0.3, 1, 1},
		{tensor.Float8E8M0, 3, 129, 129}, {tensor.Float8E8M0, 0, 0, 0xff}, {tensor.Float8E8M0, inf, 0xfe, 0xff}, {tensor.Float8E8M0, nan, 0xff, 0xff},
		{tensor.Int4, 7.9, 7, 7}, {tensor.Int4, -8, 8, 8}, {tensor.Uint4, 15, 15, 15}, {tensor.Int2, -2, 2, 2}, {tensor.Uint2, 3.5, 3, 3},
	} {
		for saturate, want := range map[int64]byte{1: c.yes, 0: c.no} {
			out := call(t, sample{op: "Cast", opset: 25, in: at(arg{t: tensor.OfFloat64([]float64{c.x})}), attrs: attrs(graph.Int("to", int64(c.d)), graph.Int("saturate", saturate))})
			if got := out[0].Code(0); got != want {
				t.Errorf("%v(%g), saturate %d: %#02x, want %#02x", c.d, c.x, saturate, got, want)
			}
		}
	}
	for mode, want := range map[string]byte{"up": 129, "down": 128, "nearest": 129} {
		out := call(t, sample{op: "Cast", opset: 25, in: at(arg{t: tensor.OfFloat64([]float64{3})}), attrs: attrs(graph.Int("to", int64(tensor.Float8E8M0)), graph.Str("round_mode", mode))})
		if got := out[0].Code(0); got != want {
			t.Errorf("3 rounded %s: %d, want %d", mode, got, want)
		}
	}
}

// Every finite code is what its number is converted to, in every stored type.
func TestStoredTypesRoundTrip(t *testing.T) {
	for _, d := range storedTypes {
		n := 1 << d.Bits()
		all := tensor.New(d, n)
		for i := range n {
			all.SetCode(i, byte(i))
		}
		wide := call(t, sample{op: "Cast", opset: 25, in: at(arg{t: all}), attrs: attrs(graph.Int("to", 11))})[0]
		back := call(t, sample{op: "Cast", opset: 25, in: at(arg{t: wide}), attrs: attrs(graph.Int("to", int64(d)), graph.Int("saturate", 0))})[0]
		for i := range n {
			if x := wide.Float(i); back.Code(i) != byte(i) && !math.IsNaN(x) {
				t.Errorf("%v: code %#02x is %g, which becomes %#02x", d, i, x, back.Code(i))
			}
		}
	}
}
