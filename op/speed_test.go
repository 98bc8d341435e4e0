package op_test

import (
	"fmt"
	"math"
	"math/bits"
	"testing"
	"time"

	"muster/graph"
	"muster/internal/kernel"
	"muster/internal/team"
	"muster/op"
	"muster/tensor"
)

// speedSamples are operators that should be limited by memory, at sizes that models have.
func speedSamples() []sample {
	perm := func(p ...int64) []graph.Attr { return attrs(graph.Ints("perm", p...)) }
	axis := func(a int64) []graph.Attr { return attrs(graph.Int("axis", a)) }
	keep := func(k int64, axes ...int64) []graph.Attr { return attrs(graph.Int("keepdims", k)) }
	axes := func(a ...int64) arg { return ci(a...) }
	h := func(sh ...int) arg { return as(ff(sh...), tensor.Float16) }
	var s []sample
	for _, f := range []string{"Abs", "Ceil", "Cos", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu", "IsNaN"} {
		s = append(s, sample{op: f, in: at(fp(128, 3072))})
	}
	for _, f := range []string{"Add", "Div", "Max", "Min", "Mul", "Sub", "Less", "Equal", "PRelu"} {
		s = append(s, sample{op: f, in: at(ff(128, 3072), ff(128, 3072))})
	}
	s = append(s, sample{op: "Pow", in: at(fp(128, 3072), fx([]float32{2}))}, sample{op: "Pow", in: at(fp(128, 3072), fx([]float32{1.7}))}, sample{op: "Mod", in: at(ix(0, 99, 128, 768), ix(1, 9, 128, 768))},
		sample{op: "Add", in: at(ff(1, 12, 128, 128), ff(1, 1, 1, 128))}, sample{op: "Add", in: at(ff(8, 12, 128, 128), ff(8, 1, 1, 128))}, sample{op: "Add", in: at(ff(1, 64, 112, 112), ff(64, 1, 1))},
		sample{op: "Mul", in: at(ff(1, 256, 56, 56), ff(1, 256, 1, 1))}, sample{op: "Add", in: at(ff(128, 768), ff(768))}, sample{op: "Add", in: at(ff(50176, 16), ff(16))}, sample{op: "Add", in: at(ff(50176, 3), ff(3))},
		sample{op: "Div", in: at(ff(1536, 128), ff(1536, 1))}, sample{op: "Sub", in: at(fx([]float32{1}), ff(128, 3072))}, sample{op: "Add", in: at(ix(0, 9, 128, 768), ix(0, 9, 128, 768))}, sample{op: "Mul", in: at(as(ix(0, 9, 128, 768), tensor.Int32), as(ix(0, 9, 768), tensor.Int32))},
		sample{op: "Greater", in: at(ix(0, 9, 128, 768), ix(0, 9, 128, 768))}, sample{op: "Greater", in: at(ff(128, 3072), fx([]float32{0}))}, sample{op: "And", in: at(bb(128, 3072), bb(128, 3072))}, sample{op: "Not", in: at(bb(128, 3072))},
		sample{op: "Where", in: at(bb(1, 1, 128, 128), ff(8, 12, 128, 128), fx([]float32{0}))}, sample{op: "Where", in: at(bb(128, 3072), ff(128, 3072), ff(128, 3072))}, sample{op: "Where", in: at(bb(128, 768), ix(0, 9, 128, 768), ix(0, 9, 128, 768))},
		sample{op: "Clip", in: at(ff(128, 3072), fx([]float32{0}), fx([]float32{6}))}, sample{op: "Sum", in: at(ff(128, 3072), ff(128, 3072), ff(128, 3072))})
	for _, c := range []struct {
		x  arg
		to tensor.DType
	}{{ff(128, 3072), tensor.Int64}, {ix(0, 9, 128, 768), tensor.Float32}, {ff(128, 3072), tensor.Float16}, {h(128, 3072), tensor.Float32}, {ff(128, 3072), tensor.BFloat16}, {as(ff(128, 3072), tensor.BFloat16), tensor.Float32},
		{as(ix(0, 99, 128, 768), tensor.Uint8), tensor.Float32}, {ff(128, 3072), tensor.Uint8}, {ff(128, 3072), tensor.Bool}, {bb(128, 3072), tensor.Float32}, {ix(0, 9, 128, 768), tensor.Int32}, {as(ix(0, 9, 128, 768), tensor.Int32), tensor.Int64}} {
		s = append(s, sample{op: "Cast", in: at(c.x), attrs: attrs(graph.Int("to", int64(c.to)))})
	}
	s = append(s, sample{op: "Softmax", in: at(ff(1536, 128)), attrs: axis(-1)}, sample{op: "Softmax", in: at(ff(2364, 197)), attrs: axis(-1)}, sample{op: "Softmax", in: at(ff(8, 50257)), attrs: axis(-1)}, sample{op: "Softmax", in: at(ff(4, 1000)), attrs: axis(-1)},
		sample{op: "Softmax", in: at(ff(1, 84, 8400)), attrs: axis(1)}, sample{op: "Softmax", in: at(ff(8400, 16)), attrs: axis(-1)}, sample{op: "LogSoftmax", in: at(ff(8, 50257)), attrs: axis(-1)},
		sample{op: "LayerNormalization", in: at(ff(128, 768), ff(768), ff(768)), attrs: axis(-1)}, sample{op: "LayerNormalization", in: at(ff(4096, 77), ff(77), ff(77)), attrs: axis(-1)}, sample{op: "RMSNormalization", opset: 23, in: at(ff(128, 768), ff(768)), attrs: axis(-1)},
		sample{domain: graph.Domain, op: "AddNormalization", in: at(ff(128, 768), ff(128, 768), ff(768), ff(768)), out: 2})
	for _, f := range []string{"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceProd"} {
		for _, a := range []arg{axes(-1), axes(0), axes(1)} {
			s = append(s, sample{op: f, in: at(ff(64, 49, 256), a), attrs: keep(1)})
		}
	}
	s = append(s, sample{op: "ReduceMean", in: at(ff(1, 1280, 7, 7), axes(2, 3)), attrs: keep(1)}, sample{op: "ReduceMean", in: at(ff(8, 64, 56, 56), axes(0, 2, 3)), attrs: keep(1)}, sample{op: "ArgMax", in: at(ff(128, 1000)), attrs: axis(-1)}, sample{op: "ArgMax", in: at(ff(1, 80, 8400)), attrs: axis(1)},
		sample{op: "CumSum", in: at(ff(128, 3072), cs(1))}, sample{op: "CumSum", in: at(ff(128, 3072), cs(0))}, sample{op: "TopK", in: at(ff(8, 8400), ci(100)), out: 2})
	for _, t := range []struct {
		x arg
		p []int64
	}{{ff(1, 128, 12, 64), []int64{0, 2, 1, 3}}, {ff(1, 12, 128, 64), []int64{0, 2, 1, 3}}, {ff(1, 128, 12, 64), []int64{0, 2, 3, 1}}, {ff(1, 256, 56, 56), []int64{0, 2, 3, 1}}, {ff(1, 56, 56, 256), []int64{0, 3, 1, 2}},
		{ff(768, 3072), []int64{1, 0}}, {ff(1000, 1001), []int64{1, 0}}, {h(512, 1024), []int64{1, 0}}, {ix(0, 9, 768, 768), []int64{1, 0}}, {h(1, 128, 12, 64), []int64{0, 2, 1, 3}}, {as(ix(0, 99, 1, 56, 56, 64), tensor.Uint8), []int64{0, 3, 1, 2}},
		{ff(1, 3, 224, 224), []int64{0, 2, 3, 1}}, {ff(1, 224, 224, 3), []int64{0, 3, 1, 2}}, {ff(1, 2, 116, 28, 28), []int64{0, 2, 1, 3, 4}}, {ff(64, 32, 48), []int64{2, 1, 0}}, {ff(8, 49, 3, 8, 32), []int64{2, 0, 3, 1, 4}}} {
		s = append(s, sample{op: "Transpose", in: at(t.x), attrs: perm(t.p...)})
	}
	return append(s, sample{op: "Concat", in: at(ff(1, 64, 56, 56), ff(1, 128, 56, 56)), attrs: axis(1)}, sample{op: "Concat", in: at(ff(128, 64), ff(128, 64)), attrs: axis(-1)}, sample{op: "Concat", in: at(ff(8400, 4), ff(8400, 80)), attrs: axis(-1)},
		sample{op: "Split", in: at(ff(128, 2304)), attrs: append(axis(-1), graph.Int("num_outputs", 3)), out: 3}, sample{op: "Split", in: at(ff(1, 128, 56, 56)), attrs: append(axis(1), graph.Int("num_outputs", 2)), out: 2},
		sample{op: "Slice", in: at(ff(1, 128, 3072), ci(0), ci(1536), ci(2))}, sample{op: "Slice", in: at(ff(1, 64, 112, 112), ci(0, 0), ci(112, 112), ci(2, 3), ci(2, 2))}, sample{op: "Expand", in: at(ff(1, 1, 128, 64), ci(1, 12, 128, 64))}, sample{op: "Expand", in: at(ff(128, 1), ci(128, 768))},
		sample{op: "Gather", in: at(ff(30522, 384), ix(0, 30521, 1, 128)), attrs: axis(0)}, sample{op: "Gather", in: at(ff(128, 768), ix(0, 767, 768)), attrs: axis(1)}, sample{op: "Pad", in: at(ff(1, 64, 56, 56), ci(0, 0, 1, 1, 0, 0, 1, 1))}, sample{op: "Tile", in: at(ff(1, 128, 64), ci(8, 1, 1))},
		sample{op: "Trilu", in: at(ff(12, 128, 128))}, sample{op: "DepthToSpace", in: at(ff(1, 64, 56, 56)), attrs: attrs(graph.Int("blocksize", 2))},
		sample{domain: graph.Domain, op: "GeluGrad", in: at(ff(128, 3072), ff(128, 3072))}, sample{domain: graph.Domain, op: "SoftmaxGrad", in: at(ff(1536, 128), ff(1536, 128)), attrs: axis(-1)},
		sample{op: "QuantizeLinear", in: at(ff(128, 3072), fx([]float32{0.1}), as(cs(128), tensor.Uint8))}, sample{op: "DequantizeLinear", in: at(as(ix(0, 255, 128, 3072), tensor.Uint8), fx([]float32{0.1}), as(cs(128), tensor.Uint8))})
}

// BenchmarkOperators prints the time of every operator as a multiple of what reading its inputs and writing its
// outputs takes at the speed of a triad over as much memory ("x-triad"); the fastest call counts.
//
//	go test ./op -run xxx -bench Operators -benchtime 20ms
func BenchmarkOperators(b *testing.B) {
	triads := map[int]float64{}
	for _, s := range speedSamples() {
		k, in, out, scratch, size := speedKernel(b, s)
		log := bits.Len(uint(size))
		if triads[log] == 0 {
			_, triads[log] = kernel.Bandwidth(3<<(log-2), 20*time.Millisecond)
		}
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%v/%d", s, threads), func(b *testing.B) {
				defer team.Resize(threads)()
				best := math.Inf(1)
				for b.Loop() {
					start := time.Now()
					k.Run(in, out, scratch)
					best = min(best, time.Since(start).Seconds())
				}
				b.ReportMetric(best*1e6, "us")
				b.ReportMetric(best*triads[log]/float64(size), "x-triad")
			})
		}
	}
}

// speedKernel prepares a sample; without a kernel the reference stands in.
func speedKernel(b *testing.B, s sample) (k op.Kernel, in, out []*tensor.Tensor, scratch []byte, size int) {
	g, _, _ := s.build(&testing.T{}, false)
	g, _, err := op.Bind(g, nil)
	if err != nil {
		b.Fatal(s, err)
	}
	n := g.Nodes[0]
	o, err := op.Of(g, n)
	if err != nil {
		b.Fatal(s, err)
	}
	p := &op.Prep{Node: n}
	for _, a := range s.in {
		in = append(in, a.t)
		x := a.t
		if x != nil && !a.konst {
			x = &tensor.Tensor{DType: x.DType, Shape: x.Shape}
		}
		p.In = append(p.In, x)
		if a.t != nil {
			size += len(a.t.Data)
		}
	}
	for _, v := range n.Outputs {
		shape, _ := v.Static()
		t := tensor.New(v.DType, shape...)
		out = append(out, t)
		p.Out = append(p.Out, &tensor.Tensor{DType: t.DType, Shape: shape})
		size += len(t.Data)
	}
	if n.Op == "Gather" { // the rows that are read
		size = 2 * len(out[0].Data)
	}
	ok := false
	if o.Prepare != nil {
		k, ok = o.Prepare(p)
	}
	if !ok {
		c := &op.Call{Node: n, In: in, Out: out}
		k.Run = func([]*tensor.Tensor, []*tensor.Tensor, []byte) {
			if err := o.Ref(c); err != nil {
				b.Fatal(s, err)
			}
		}
	}
	return k, in, out, tensor.Alloc(k.Scratch), size
}
