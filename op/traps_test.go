package op_test

import (
	"fmt"
	"math"
	"testing"

	"muster/grad"
	"muster/graph"
	"muster/tensor"
)

// slopes returns the gradients of the sum of output 0 by every fed floating-point input, in float64.
func slopes(t *testing.T, s sample) []*tensor.Tensor {
	t.Helper()
	s.in = append([]arg{}, s.in...)
	for i, a := range s.in {
		if a.t != nil && a.t.DType.IsFloat() {
			s.in[i] = as(a, tensor.Float64)
		}
	}
	g, _, feeds := s.build(t, false)
	y, err := eval(g, feeds)
	if err != nil {
		t.Fatal(s, err)
	}
	b := graph.NewBuilder(g)
	var wrt []*graph.Value
	for _, v := range g.Inputs {
		if v.DType.IsFloat() {
			wrt = append(wrt, v)
		}
	}
	ones := tensor.New(tensor.Float64, y[0].Shape...)
	for i := range ones.Float64s() {
		ones.Float64s()[i] = 1
	}
	d, err := grad.VJP(b, g.Outputs[:1], []*graph.Value{b.Init("ones", ones)}, wrt)
	if err != nil {
		t.Fatal(s, err)
	}
	g.Outputs = nil
	for i, v := range d {
		b.Output(fmt.Sprint("d", i), v)
	}
	out, err := eval(g, feeds)
	if err != nil {
		t.Fatal(s, err)
	}
	return out
}

// wide is a fed vector of float32 values.
func wide(v ...float32) arg { return fx(v, len(v)) }

var (
	inf = float32(math.Inf(1))
	nan = float32(math.NaN())
)

// Gradients where the derivative does not exist or a formula would divide by 0. The values are what PyTorch's
// derivatives.yaml and its tests state, or follow from the rule that is named.
func TestGradientTraps(t *testing.T) {
	scalar := func(v float32) arg { return fx([]float32{v}) }
	f := graph.Float
	for _, c := range []struct {
		why  string
		s    sample
		want [][]float64 // by the fed inputs in order; nil: not checked
	}{
		{"abs: sgn(0) is 0", sample{op: "Abs", in: at(wide(-2, 0, 3))}, [][]float64{{-1, 0, 1}}},
		{"relu: threshold_backward passes x > 0 only", sample{op: "Relu", in: at(wide(-1, 0, 1))}, [][]float64{{0, 0, 1}}},
		{"sqrt: 1 / (2 sqrt x) is infinite at 0", sample{op: "Sqrt", in: at(wide(0, 4))}, [][]float64{{math.Inf(1), 0.25}}},
		{"div: 1/y and -x/y^2", sample{op: "Div", in: at(wide(1, 3), wide(2, -2))}, [][]float64{{0.5, -0.5}, {-0.25, -0.75}}},
		{"pow: y x^(y-1), 0 for y = 0 even at x = 0; x^y ln x counts as 0 at x = 0, y >= 0", sample{op: "Pow", in: at(wide(0, 0, 2, -3), wide(0, 2, 3, 2))}, [][]float64{{0, 0, 12, -6}, nil}},
		{"pow: by the exponent, 0 at base 0", sample{op: "Pow", in: at(wide(0, 2), wide(2, 3))}, [][]float64{{0, 12}, {0, 8 * math.Ln2}}},
		{"max: ties are split evenly (amax, maximum)", sample{op: "Max", in: at(wide(1, 2, 3), wide(1, 3, 2))}, [][]float64{{0.5, 0, 1}, {0.5, 1, 0}}},
		{"min: the same", sample{op: "Min", in: at(wide(1, 2, 3), wide(1, 3, 2))}, [][]float64{{0.5, 1, 0}, {0.5, 0, 1}}},
		{"max of three: a third each", sample{op: "Max", in: at(wide(2), wide(2), wide(2))}, [][]float64{{1. / 3}, {1. / 3}, {1. / 3}}},
		{"amax: evenly among equals", sample{op: "ReduceMax", in: at(wide(5, 1, 5, 5), ci(0))}, [][]float64{{1. / 3, 0, 1. / 3, 1. / 3}}},
		{"amin: the same", sample{op: "ReduceMin", in: at(wide(5, 1, 5, 1), ci(0))}, [][]float64{{0, 0.5, 0, 0.5}}},
		{"clamp passes on the closed interval", sample{op: "Clip", in: at(wide(-2, -1, 0, 1, 2), konst(scalar(-1)), konst(scalar(1)))}, [][]float64{{0, 1, 1, 1, 0}}},
		{"remainder: 1 and -floor(x/y)", sample{op: "Mod", in: at(wide(7, -7), wide(3, 3))}, [][]float64{{1, 1}, {-2, 3}}},
		{"fmod: 1 and -trunc(x/y)", sample{op: "Mod", in: at(wide(7, -7), wide(3, 3)), attrs: attrs(graph.Int("fmod", 1))}, [][]float64{{1, 1}, {-2, 2}}},
		{"prelu: 0 belongs to the negative side", sample{op: "PRelu", in: at(wide(-2, 0, 3), wide(0.5))}, [][]float64{{0.5, 0.5, 1}, {-2}}},
		{"leaky_relu: x > 0 ? 1 : slope", sample{op: "LeakyRelu", in: at(wide(-2, 0, 3)), attrs: attrs(f("alpha", 0.25))}, [][]float64{{0.25, 0.25, 1}}},
		{"elu_backward: x <= 0 is alpha e^x", sample{op: "Elu", in: at(wide(0, 2)), attrs: attrs(f("alpha", 0.5))}, [][]float64{{0.5, 1}}},
		{"elu: far up e^x would overflow", sample{op: "Elu", in: at(wide(2000))}, [][]float64{{1}}},
		{"hardsigmoid: 0 at both bends", sample{op: "HardSigmoid", in: at(wide(-2, 0, 2)), attrs: attrs(f("alpha", 0.25))}, [][]float64{{0, 0.25, 0}}},
		{"hardswish: x <= -3 is 0, x < 3 is x/3 + 1/2, else 1", sample{op: "HardSwish", in: at(wide(-3, 0, 1.5, 3))}, [][]float64{{0, 0.5, 1, 1}}},
		{"threshold: x > alpha", sample{op: "ThresholdedRelu", in: at(wide(1, 1.5))}, [][]float64{{0, 1}}},
		{"softshrink: |x| > lambd", sample{op: "Shrink", in: at(wide(-0.5, 0.5, 0.75, -2)), attrs: attrs(f("bias", 0.5))}, [][]float64{{0, 0, 1, 1}}},
		{"softplus: sigmoid, also far out", sample{op: "Softplus", in: at(wide(-2000, 0, 2000))}, [][]float64{{0, 0.5, 1}}},
		{"acos, asin: infinite at 1", sample{op: "Asin", in: at(wide(1, 0))}, [][]float64{{math.Inf(1), 1}}},
		{"norm: masked to 0 where the norm is 0", sample{op: "ReduceL2", in: at(fx([]float32{0, 0, 3, 4}, 2, 2), ci(1))}, [][]float64{{0, 0, 0.6, 0.8}}},
		{"1-norm: sgn", sample{op: "ReduceL1", in: at(wide(-2, 0, 3), ci(0))}, [][]float64{{-1, 0, 1}}},
		{"prod: no zero, one zero, two zeros", sample{op: "ReduceProd", in: at(fx([]float32{2, 3, 4, 2, 0, 4, 0, 0, 4}, 3, 3), ci(1))}, [][]float64{{12, 8, 6, 0, 8, 0, 0, 0, 0}}},
		{"logsumexp: a softmax; 0 where all are -inf", sample{op: "ReduceLogSumExp", in: at(fx([]float32{1000, 1000, -inf, -inf}, 2, 2), ci(1))}, [][]float64{{0.5, 0.5, 0, 0}}},
		{"cumsum: the sum from the other end", sample{op: "CumSum", in: at(wide(1, 2, 3), cs(0))}, [][]float64{{3, 2, 1}}},
		{"cumsum exclusive: without itself", sample{op: "CumSum", in: at(wide(1, 2, 3), cs(0)), attrs: attrs(graph.Int("exclusive", 1))}, [][]float64{{2, 1, 0}}},
		// y = (2, 6, 0, 0): dx0 = 1 + 3 + 0 + 0, dx1 = 2 + 0, dx2 = 6 + 6*5, dx3 = 0.
		{"cumprod through a zero", sample{op: "CumProd", opset: 26, in: at(wide(2, 3, 0, 5), cs(0))}, [][]float64{{4, 2, 36, 0}}},
		{"det of a singular matrix: its cofactors", sample{op: "Det", in: at(fx([]float32{1, 2, 2, 4}, 2, 2))}, [][]float64{{4, -2, -2, 1}}},
		{"einsum trace: the identity", sample{op: "Einsum", in: at(ff(2, 2)), attrs: attrs(graph.Str("equation", "ii"))}, [][]float64{{1, 0, 0, 1}}},
		{"where: the other branch's infinity does not leak", sample{op: "Where", in: at(konst(arg{t: tensor.OfBool([]bool{true, false}, 2)}), wide(1, 2), wide(inf, 3))}, [][]float64{{1, 0}, {0, 1}}},
		{"cross-entropy, all labels ignored: the loss is 0/0, the gradient 0 (grad_input is never written)", sample{op: "SoftmaxCrossEntropyLoss", in: at(fx([]float32{1, 2}, 1, 2), arg{t: tensor.OfInt64([]int64{-1}, 1)}), attrs: attrs(graph.Int("ignore_index", -1))}, [][]float64{{0, 0}}},
		{"nll: minus the share of a label; ignored ones count for nothing", sample{op: "NegativeLogLikelihoodLoss", in: at(fx([]float32{1, 2, 3, 4, 5, 6}, 3, 2), arg{t: tensor.OfInt64([]int64{1, -1, 0}, 3)}), attrs: attrs(graph.Int("ignore_index", -1))}, [][]float64{{0, -0.5, 0, 0, -0.5, 0}}},
		{"mean of operands", sample{op: "Mean", in: at(wide(1, 2), wide(3, 4))}, [][]float64{{0.5, 0.5}, {0.5, 0.5}}},
		{"lp_normalization of zeros: the identity, since the norm counts as 1", sample{op: "LpNormalization", in: at(wide(0, 0))}, [][]float64{{1, 1}}},
	} {
		got := slopes(t, c.s)
		for i, w := range c.want {
			if w == nil {
				continue
			}
			if d := tensor.Diff(got[i], tensor.OfFloat64(w, got[i].Shape...), 1e-7, 1e-9); d != "" {
				t.Errorf("%s: input %d: %s (%v)", c.why, i, d, got[i].Float64s())
			}
		}
	}
}

// Values at the edges of definition sets, from the operators' text in the ONNX standard.
func TestValueTraps(t *testing.T) {
	f := graph.Float
	i8 := func(v ...int8) arg { return arg{t: tensor.OfInt8(v, len(v))} }
	for _, c := range []struct {
		why  string
		s    sample
		want *tensor.Tensor
	}{
		{"mod takes the sign of the divisor, fmod = 0", sample{op: "Mod", in: at(i8(-4, 7, 5, 4, -7, 8), i8(2, -3, 8, -2, 3, 5))}, tensor.OfInt8([]int8{0, -2, 5, 0, 2, 3}, 6)},
		{"fmod takes that of the dividend", sample{op: "Mod", in: at(i8(-4, 7, 5, 4, -7, 8), i8(2, -3, 8, -2, 3, 5)), attrs: attrs(graph.Int("fmod", 1))}, tensor.OfInt8([]int8{0, 1, 5, 0, -1, 3}, 6)},
		{"the remainder of -128 by -1 is 0", sample{op: "Mod", in: at(i8(-128), i8(-1))}, tensor.OfInt8([]int8{0}, 1)},
		{"integer division truncates, -128 / -1 wraps around", sample{op: "Div", in: at(i8(-7, 7, -128), i8(2, -2, -1))}, tensor.OfInt8([]int8{-3, -3, -128}, 3)},
		{"shifts by the width and more leave the sign", sample{op: "BitShift", in: at(i8(-5, 5, -5), i8(8, 9, 1)), attrs: attrs(graph.Str("direction", "RIGHT"))}, tensor.OfInt8([]int8{-1, 0, -3}, 3)},
		{"reductions of nothing: 0, 1, the extremes, log 0", sample{op: "ReduceLogSumExp", in: at(ff(0, 2), ci(0))}, tensor.OfFloat32([]float32{-inf, -inf}, 1, 2)},
		{"ReduceMax of nothing is -inf", sample{op: "ReduceMax", in: at(ff(0, 2), ci(0))}, tensor.OfFloat32([]float32{-inf, -inf}, 1, 2)},
		{"ReduceMin of no int8 is 127", sample{op: "ReduceMin", in: at(i8(), ci(0))}, tensor.OfInt8([]int8{127}, 1)},
		{"ReduceProd of nothing is 1", sample{op: "ReduceProd", in: at(ff(0), ci(0)), attrs: attrs(graph.Int("keepdims", 0))}, tensor.OfFloat32([]float32{1})},
		{"NaN is the greatest", sample{op: "ReduceMax", in: at(wide(1, nan, 3), ci(0))}, tensor.OfFloat32([]float32{nan}, 1)},
		{"no axes and noop_with_empty_axes: squares stay squares", sample{op: "ReduceSumSquare", in: at(wide(-2, 3), ci()), attrs: attrs(graph.Int("noop_with_empty_axes", 1))}, tensor.OfFloat32([]float32{4, 9}, 2)},
		{"logsumexp does not overflow", sample{op: "ReduceLogSumExp", in: at(wide(1000, 1000), ci(0))}, tensor.OfFloat32([]float32{1000 + math.Ln2}, 1)},
		{"a vector of zeros stays so", sample{op: "LpNormalization", in: at(wide(0, 0))}, tensor.OfFloat32([]float32{0, 0}, 2)},
		{"softplus far out", sample{op: "Softplus", in: at(wide(-200, 200))}, tensor.OfFloat32([]float32{0, 200}, 2)},
		{"sigmoid and swish at infinity", sample{op: "Swish", opset: 24, in: at(wide(-90, 90))}, tensor.OfFloat32([]float32{0, 90}, 2)},
		{"clip: the upper bound wins", sample{op: "Clip", in: at(wide(0, 5), konst(fx([]float32{3})), konst(fx([]float32{1})))}, tensor.OfFloat32([]float32{1, 1}, 2)},
		{"hardmax: the first of equals", sample{op: "Hardmax", in: at(wide(1, 3, 3))}, tensor.OfFloat32([]float32{0, 1, 0}, 3)},
		{"argmin: the last of equals if asked for", sample{op: "ArgMin", in: at(wide(1, 0, 0)), attrs: attrs(graph.Int("select_last_index", 1))}, tensor.OfInt64([]int64{2}, 1)},
		{"ArgMax of uint64 above 2^63", sample{op: "ArgMax", in: at(arg{t: tensor.FromBytes(tensor.Uint64, tensor.Shape{2}, []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80})})}, tensor.OfInt64([]int64{1}, 1)},
		{"a determinant with a zero on the diagonal: rows are exchanged", sample{op: "Det", in: at(fx([]float32{0, 1, 1, 0}, 2, 2))}, tensor.OfFloat32([]float32{-1})},
		{"cumsum from the end without itself", sample{op: "CumSum", in: at(wide(1, 2, 3), cs(0)), attrs: attrs(graph.Int("exclusive", 1), graph.Int("reverse", 1))}, tensor.OfFloat32([]float32{5, 3, 0}, 3)},
		{"log-softmax losses: all labels ignored, none left to average", sample{op: "NegativeLogLikelihoodLoss", in: at(fx([]float32{1, 2}, 1, 2), arg{t: tensor.OfInt64([]int64{-1}, 1)}), attrs: attrs(graph.Int("ignore_index", -1))}, tensor.OfFloat32([]float32{nan})},
		{"elu", sample{op: "Elu", in: at(wide(-inf, inf)), attrs: attrs(f("alpha", 2))}, tensor.OfFloat32([]float32{-2, inf}, 2)},
	} {
		got := call(t, c.s)[0]
		if d := tensor.Diff(got, c.want, 1e-6, 1e-6); d != "" {
			t.Errorf("%s: %s", c.why, d)
		}
	}
}
