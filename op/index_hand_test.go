package op_test

import (
	"math"
	"testing"

	"muster/grad"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

var notNumber = float32(math.NaN())

// Values worked out by hand: duplicates, borders, ties, what is not a number.
func TestIndexByHand(t *testing.T) {
	i := func(name string, v int64) graph.Attr { return graph.Int(name, v) }
	mode := func(m string) []graph.Attr { return attrs(graph.Str("mode", m)) }
	v := func(x ...float32) arg { return fx(x, len(x)) }
	k := func(x ...int64) arg { return iv(x, len(x)) }
	for _, c := range []struct {
		name string
		s    sample
		want []float64
	}{
		{"duplicates add up", sample{op: "ScatterElements", in: at(v(1, 1, 1), k(2, 2, -1, 0), v(1, 2, 3, 4)), attrs: attrs(graph.Str("reduction", "add"))}, []float64{5, 1, 7}},
		{"the last duplicate stays", sample{op: "ScatterElements", in: at(v(1, 1, 1), k(2, 2, -1), v(1, 2, 3))}, []float64{1, 1, 3}},
		{"max keeps NaN", sample{op: "ScatterElements", in: at(v(1, 5, 1), k(0, 1), v(notNumber, 2)), attrs: attrs(graph.Str("reduction", "max"))}, []float64{math.NaN(), 5, 1}},
		{"rows repeat", sample{domain: graph.Domain, op: "GatherGrad", in: at(fx([]float32{1, 2, 10, 20, 100, 200}, 3, 2), k(1, 1, -2), ci(2, 2))}, []float64{100, 200, 11, 22}},
		{"ties by index", sample{op: "TopK", in: at(v(3, 7, 7, 7, 1), ci(3)), out: 2}, []float64{7, 7, 7}},
		{"NaN is the largest", sample{op: "TopK", in: at(v(3, notNumber, 7), ci(2)), out: 2}, []float64{math.NaN(), 7}},
		{"and never the smallest", sample{op: "TopK", in: at(v(3, notNumber, 7), ci(2)), attrs: attrs(i("largest", 0)), out: 2}, []float64{3, 7}},
		{"reflect twice", sample{op: "Pad", in: at(v(1, 2, 3), ci(3, 5)), attrs: mode("reflect")}, []float64{2, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2}},
		{"wrap", sample{op: "Pad", in: at(v(1, 2, 3), ci(4, 1)), attrs: mode("wrap")}, []float64{3, 1, 2, 3, 1, 2, 3, 1}},
		{"cut, then wrap what is left", sample{op: "Pad", in: at(v(1, 2, 3), ci(-1, 2)), attrs: mode("wrap")}, []float64{2, 3, 2, 3}},
		{"half way goes down", sample{op: "Resize", in: at(v(1, 2, 3, 4), none, konst(v(0.5)))}, []float64{1, 3}},
		{"NonZero of -0 and NaN", sample{op: "NonZero", in: at(konst(v(0, float32(math.Copysign(0, -1)), notNumber, 2)))}, []float64{2, 3}},
		{"Unique joins NaN", sample{op: "Unique", in: at(konst(v(notNumber, 2, notNumber, 1)))}, []float64{1, 2, math.NaN()}},
		{"a grid outside", sample{op: "GridSample", in: at(fx([]float32{1, 2, 3, 4}, 1, 1, 2, 2), fx([]float32{-5, 0, 0, 0, -1, -1}, 1, 1, 3, 2))}, []float64{0, 2.5, 0.25}},
		{"sequences of 2 and 1", sample{op: "ReverseSequence", in: at(fx([]float32{1, 2, 3, 4, 5, 6}, 3, 2), k(2, 1))}, []float64{3, 2, 1, 4, 5, 6}},
	} {
		got := call(t, c.s)[0]
		if got.Elems() != len(c.want) {
			t.Errorf("%s: %v", c.name, got.Shape)
			continue
		}
		for n, w := range c.want {
			if g := got.Float(n); !(math.Abs(g-w) < 1e-6 || g != g && w != w) {
				t.Errorf("%s: element %d is %g, want %g", c.name, n, g, w)
			}
		}
	}
}

// Gradients where updates meet: ties of max share, a product with one 0 goes to that factor only.
func TestScatterGradByHand(t *testing.T) {
	for _, c := range []struct {
		how          string
		x, u, dx, du []float32
	}{
		{"max", []float32{2, 0}, []float32{2, 2, 1}, []float32{1. / 3, 0}, []float32{1. / 3, 1. / 3, 1}},
		{"mul", []float32{3, 5}, []float32{0, 4, 0}, []float32{0, 0}, []float32{12, 0, 5}},
		{"add", []float32{3, 5}, []float32{0, 4, 0}, []float32{1, 1}, []float32{1, 1, 1}},
	} {
		g := graph.New("scatter")
		b := graph.NewBuilder(g)
		x, u := b.Input("x", tensor.Float32, graph.D(2)), b.Input("u", tensor.Float32, graph.D(3))
		y := b.OpA("ScatterElements", attrs(graph.Str("reduction", c.how)), x, b.Ints(0, 0, 1), u)
		b.Output("y", y)
		d, err := grad.VJP(b, []*graph.Value{y}, []*graph.Value{b.Init("dy", tensor.OfFloat32([]float32{1, 1}, 2))}, []*graph.Value{x, u})
		if err != nil {
			t.Fatal(err)
		}
		b.Output("dx", d[0])
		b.Output("du", d[1])
		out, err := eval(g, []*tensor.Tensor{tensor.OfFloat32(c.x, 2), tensor.OfFloat32(c.u, 3)})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range [][]float32{c.dx, c.du} {
			if s := tensor.Diff(out[i+1], tensor.OfFloat32(want, len(want)), 1e-6, 1e-6); s != "" {
				t.Errorf("%s: gradient %d: %s", c.how, i, s)
			}
		}
	}
}

// What only the data can show is refused before a kernel runs.
func TestIndexDataErrors(t *testing.T) {
	for _, s := range []sample{
		{op: "GatherElements", in: at(ff(3, 2), ix(3, 4, 3, 2))}, {op: "GatherND", in: at(ff(3, 2), ix(-4, -3, 2, 1))}, {op: "ScatterElements", in: at(ff(3), ix(3, 4, 2), ff(2))},
		{op: "ScatterND", in: at(ff(3), ix(3, 4, 2, 1), ff(2))}, {op: "ReverseSequence", in: at(ff(3, 2), ix(4, 5, 2))}, {op: "RoiAlign", in: at(ff(1, 1, 2, 2), ff(1, 4), ix(1, 2, 1)), attrs: attrs(graph.Int("sampling_ratio", 1))},
		{op: "RNN", in: at(ff(2, 1, 1), ff(1, 1, 1), ff(1, 1, 1), none, ix(3, 4, 1))},
	} {
		g, n, feeds := s.build(t, false)
		if _, err := eval(g, feeds); err == nil {
			t.Errorf("%v: the reference accepts it", s)
		}
		o, err := op.Of(g, n)
		if err != nil {
			t.Fatal(err)
		}
		p := &op.Prep{Node: n}
		for i, a := range s.in {
			p.In = append(p.In, nil)
			if a.t != nil {
				p.In[i] = &tensor.Tensor{DType: a.t.DType, Shape: a.t.Shape}
			}
		}
		shape, _ := n.Outputs[0].Static()
		if shape == nil {
			if err := op.Infer(g); err != nil {
				t.Fatal(err)
			}
			shape, _ = n.Outputs[0].Static()
		}
		p.Out = []*tensor.Tensor{{DType: tensor.Float32, Shape: shape}}
		var in []*tensor.Tensor
		for _, a := range s.in {
			in = append(in, a.t)
		}
		if k, ok := o.Prepare(p); !ok || k.Check == nil || k.Check(in) == nil {
			t.Errorf("%v: the kernel does not check", s)
		}
	}
}
