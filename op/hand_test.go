package op_test

import (
	"math"
	"testing"

	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// call evaluates one node by both forms and returns the reference's outputs.
func call(t *testing.T, s sample) []*tensor.Tensor {
	t.Helper()
	g, _, feeds := s.build(t, false)
	out, err := both(g, feeds)
	if err != nil {
		t.Fatal(s, err)
	}
	n := len(out) / 2
	for i := range n {
		if d := diff(out[n+i], out[i], 1e-6); d != "" {
			t.Errorf("%v: kernel: %s", s, d)
		}
	}
	return out[:n]
}

// Two steps worked out by hand from algorithm 2 of arXiv 1711.05101 with PyTorch's defaults, lr 0.1:
// gradients 0.5 and -0.25, parameter 1.
func TestAdamWByHand(t *testing.T) {
	p, m, v := fx([]float32{1}, 1), fx([]float32{0}, 1), fx([]float32{0}, 1)
	want := []float64{0.899, 0.871467297}
	for i, g := range []float32{0.5, -0.25} {
		out := call(t, sample{domain: graph.Domain, op: "AdamW", out: 3,
			in: at(p, m, v, fx([]float32{g}, 1), fx([]float32{0.1}), arg{t: tensor.OfInt64([]int64{int64(i + 1)})})})
		if got := out[0].Float(0); math.Abs(got-want[i]) > 1e-6 {
			t.Errorf("step %d: %.9f, want %.9f", i+1, got, want[i])
		}
		p, m, v = arg{t: out[0]}, arg{t: out[1]}, arg{t: out[2]}
	}
}

// -log softmax of (1, 2, 3) is 2.407606, 1.407606, 0.407606; the gradient is softmax minus one-hot over the count.
func TestCrossEntropyByHand(t *testing.T) {
	labels := arg{t: tensor.OfInt64([]int64{2, 0, -1}, 3)}
	scores := fx([]float32{1, 2, 3, 1, 2, 3, 9, 9, 9}, 3, 3)
	ignore := graph.Int("ignore_index", -1)
	out := call(t, sample{op: "SoftmaxCrossEntropyLoss", in: at(scores, labels), out: 2, attrs: attrs(ignore)})
	if got := out[0].Float(0); math.Abs(got-(0.4076059644+2.4076059644)/2) > 1e-6 {
		t.Error("loss", got)
	}
	grad := call(t, sample{domain: graph.Domain, op: "SoftmaxCrossEntropyLossGrad", in: at(fx([]float32{1}), arg{t: out[1]}, labels), attrs: attrs(ignore)})
	want := tensor.OfFloat32([]float32{0.04501529, 0.1223642, -0.1673795, -0.4549847, 0.1223642, 0.3326205, 0, 0, 0}, 3, 3)
	if d := tensor.Diff(grad[0], want, 1e-5, 1e-6); d != "" {
		t.Error(d)
	}
}

// Half to even on both sides, saturation, and what is not a number.
func TestQuantizeByHand(t *testing.T) {
	x := []float32{0.5, 1.5, 2.5, -0.5, -1.5, 300, -300, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}
	out := call(t, sample{op: "QuantizeLinear", in: at(fx(x, len(x)), konst(fx([]float32{1})), konst(arg{t: tensor.OfUint8([]uint8{10})}))})
	want := tensor.OfUint8([]uint8{10, 12, 12, 10, 8, 255, 0, 255, 0, 255}, len(x))
	if d := tensor.Diff(out[0], want, 0, 0); d != "" {
		t.Error(d)
	}
}

// Values that only the data can show are errors, not panics, in the reference and before the kernel.
func TestDataErrors(t *testing.T) {
	idx := func(v ...int64) arg { return arg{t: tensor.OfInt64(v, len(v))} }
	for _, s := range []sample{
		{op: "Gather", in: at(ff(5, 3), idx(5))},
		{op: "Gather", in: at(ff(5, 3), idx(-6))},
		{op: "Gather", in: at(ff(0, 3), idx(0))},
		{domain: graph.Domain, op: "GatherGrad", in: at(ff(1, 3), idx(9), ci(5, 3))},
		{op: "SoftmaxCrossEntropyLoss", in: at(ff(2, 3), idx(0, 3))},
		{op: "SoftmaxCrossEntropyLoss", in: at(ff(2, 3), idx(0, -1))},
		{domain: graph.Domain, op: "SoftmaxCrossEntropyLossGrad", in: at(ff(), ff(2, 3), idx(0, 7))},
	} {
		g, n, feeds := s.build(t, false)
		if _, err := eval(g, feeds); fault.ClassOf(err) != fault.Mismatch {
			t.Errorf("%v: reference: %v", s, err)
		}
		o, err := op.Of(g, n)
		if err != nil {
			t.Fatal(err)
		}
		var in, out []*tensor.Tensor
		for _, a := range s.in {
			in = append(in, a.t)
		}
		for _, v := range n.Outputs {
			shape, _ := v.Static()
			if shape == nil {
				shape = in[0].Shape
			}
			out = append(out, tensor.New(tensor.Float32, shape...))
		}
		if k, ok := o.Prepare(&op.Prep{Node: n, In: in, Out: out}); !ok || k.Check == nil || fault.ClassOf(k.Check(in)) != fault.Mismatch {
			t.Errorf("%v: the kernel does not check", s)
		}
	}
}

// An attribute that is not understood is refused: ignoring it would compute something else.
func TestUnknownAttribute(t *testing.T) {
	g, _, feeds := sample{op: "Relu", in: at(ff(2)), attrs: attrs(graph.Int("leaky", 1))}.build(t, false)
	if _, err := eval(g, feeds); fault.ClassOf(err) != fault.Unsupported {
		t.Error(err)
	}
}

// Halves, ties and limits of the 16-bit conversions, from IEEE 754 and bfloat16's definition.
func TestSixteenBits(t *testing.T) {
	for _, c := range []struct {
		x      float64
		f16, b uint16
	}{
		{1, 0x3c00, 0x3f80}, {-2, 0xc000, 0xc000}, {65504, 0x7bff, 0x4780}, {65519.99, 0x7bff, 0x4780}, {65520, 0x7c00, 0x4780},
		{1e300, 0x7c00, 0x7f80}, {math.Inf(-1), 0xfc00, 0xff80}, {5.960464477539063e-08, 0x0001, 0x3380}, {2.98023223876953125e-08, 0, 0x3300},
		{2.9802322387695316e-08, 0x0001, 0x3300}, {1 + 1.0/2048, 0x3c00, 0x3f80}, {1 + 3.0/2048, 0x3c02, 0x3f80}, {1 + 1.0/256, 0x3c04, 0x3f80},
		{1 + 1.0/256 + 1e-12, 0x3c04, 0x3f81}, {1 + 3.0/256, 0x3c0c, 0x3f82}, {math.Copysign(0, -1), 0x8000, 0x8000},
	} {
		for to, want := range map[tensor.DType]uint16{tensor.Float16: c.f16, tensor.BFloat16: c.b} {
			out := call(t, sample{op: "Cast", in: at(arg{t: tensor.OfFloat64([]float64{c.x})}), attrs: attrs(graph.Int("to", int64(to)))})
			if got := out[0].Uint16s()[0]; got != want {
				t.Errorf("%v(%g) = %#04x, want %#04x", to, c.x, got, want)
			}
		}
	}
}

// TestRootOfMinusInfinity: (-Inf)^0.5 is +Inf, which a square root is not.
func TestRootOfMinusInfinity(t *testing.T) {
	inf := float32(math.Inf(1))
	s := sample{op: "Pow", in: at(fx([]float32{-inf, inf, 4, 0, -1}, 5), fx([]float32{0.5}))}
	g, _, feeds := s.build(t, false)
	want, err := eval(g, feeds)
	if err != nil {
		t.Fatal(err)
	}
	if g, _, err = op.Bind(g, nil); err != nil {
		t.Fatal(err)
	}
	out, k, ok := prepared(t, s, g, feeds, []bool{false, false})
	if !ok {
		t.Fatal("no kernel")
	}
	k.Run(feeds, out, nil)
	same(t, s, "from the reference", out, want)
}
