package op_test

import (
	"math"
	"testing"

	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// drawStep evaluates a sample at a step by its reference.
func drawStep(t *testing.T, s sample, step uint64) []*tensor.Tensor {
	t.Helper()
	g, _, feeds := s.build(t, false)
	out, err := evalWith(g, feeds, func(o *op.Op, c *op.Call, _ []bool) error {
		c.Step = step
		return o.Ref(c)
	})
	if err != nil {
		t.Fatal(s, err)
	}
	return out
}

// Draws depend on the seed and the step only, and a kernel that is told the step draws what the reference draws.
func TestDrawsAreReplayed(t *testing.T) {
	shape, training := graph.Ints("shape", 50), konst(arg{t: tensor.OfBool([]bool{true})})
	for _, s := range []sample{
		{op: "RandomNormal", attrs: attrs(shape, graph.Float("seed", 1))}, {op: "RandomUniform", attrs: attrs(shape)}, {op: "RandomNormalLike", in: at(ff(50))}, {op: "RandomUniformLike", in: at(ff(50)), attrs: attrs(graph.Float("seed", 2))},
		{op: "Bernoulli", in: at(fu(0, 1, 50))}, {op: "Multinomial", in: at(ff(2, 9)), attrs: attrs(graph.Int("sample_size", 30))}, {op: "Dropout", in: at(ff(50), none, training), out: 2},
	} {
		first, again, later := drawStep(t, s, 0), drawStep(t, s, 0), drawStep(t, s, 1)
		if !tensor.Equal(first[0], again[0]) {
			t.Errorf("%v: two draws of a step differ", s)
		}
		if tensor.Equal(first[0], later[0]) {
			t.Errorf("%v: two steps draw the same", s)
		}
		g, n, feeds := s.build(t, false)
		g, _, err := op.Bind(g, nil)
		if err != nil {
			t.Fatal(err)
		}
		in := append([]*tensor.Tensor{}, feeds...)
		if n.Op == "Dropout" {
			in = []*tensor.Tensor{feeds[0], nil, s.in[2].t}
		}
		out, k, ok := prepared(t, s, g, in, make([]bool, len(in)))
		if !ok {
			continue
		}
		k.Step(1)
		k.Run(in, out, tensor.Alloc(k.Scratch))
		if d := diff(out[0], later[0], 1e-6); d != "" {
			t.Errorf("%v: the kernel at step 1: %s", s, d)
		}
	}
	other := drawStep(t, sample{op: "RandomNormal", attrs: attrs(shape, graph.Float("seed", 5))}, 0)
	if tensor.Equal(other[0], drawStep(t, sample{op: "RandomNormal", attrs: attrs(shape, graph.Float("seed", 6))}, 0)[0]) {
		t.Error("two seeds draw the same")
	}
}

// Moments of 20000 draws lie within 5 standard errors: by chance once in a million and a half.
func TestDrawsAreDistributed(t *testing.T) {
	const n = 20000
	moments := func(x *tensor.Tensor) (mean, dev float64) {
		for i := range n {
			mean += x.Float(i) / n
		}
		for i := range n {
			dev += (x.Float(i) - mean) * (x.Float(i) - mean) / n
		}
		return mean, math.Sqrt(dev)
	}
	shape := graph.Ints("shape", n)
	within := func(what string, got, want, se float64) {
		t.Helper()
		if math.Abs(got-want) > 5*se {
			t.Errorf("%s is %g, want %g +- %g", what, got, want, se)
		}
	}
	root := math.Sqrt(n)
	m, d := moments(drawStep(t, sample{op: "RandomNormal", attrs: attrs(shape, graph.Float("mean", 3), graph.Float("scale", 2))}, 7)[0])
	within("the mean of normal draws", m, 3, 2/root)
	within("their deviation", d, 2, 2/root/math.Sqrt2)
	m, d = moments(drawStep(t, sample{op: "RandomUniform", attrs: attrs(shape, graph.Float("low", -1), graph.Float("high", 5))}, 7)[0])
	within("the mean of uniform draws", m, 2, 6/math.Sqrt(12)/root)
	within("their deviation", d, 6/math.Sqrt(12), 6/math.Sqrt(12)/root)
	p := tensor.New(tensor.Float32, n)
	for i := range p.Float32s() {
		p.Float32s()[i] = 0.3
	}
	m, _ = moments(drawStep(t, sample{op: "Bernoulli", in: at(arg{t: p})}, 7)[0])
	within("the share of Bernoulli draws", m, 0.3, math.Sqrt(0.21)/root)
	logp := fx([]float32{float32(math.Log(0.2)) + 9, float32(math.Log(0.5)) + 9, float32(math.Log(0.3)) + 9, -inf}, 1, 4)
	y := drawStep(t, sample{op: "Multinomial", in: at(logp), attrs: attrs(graph.Int("sample_size", n))}, 7)[0]
	var share [4]float64
	for i := range n {
		share[int(y.Float(i))] += 1. / n
	}
	for i, q := range []float64{0.2, 0.5, 0.3, 0} {
		within("the share of a class", share[i], q, math.Sqrt(q*(1-q))/root)
	}
	for i := range p.Float32s() {
		p.Float32s()[i] = 8
	}
	out := drawStep(t, sample{op: "Dropout", in: at(arg{t: p}, konst(fx([]float32{0.25})), konst(arg{t: tensor.OfBool([]bool{true})})), out: 2}, 7)
	m, _ = moments(out[0])
	within("the mean after Dropout", m, 8, 8*math.Sqrt(0.25/0.75)/root)
	for i := range n {
		want := 0.0
		if out[1].Bools()[i] {
			want = 8 / 0.75
		}
		if math.Abs(out[0].Float(i)-want) > 1e-5 {
			t.Fatalf("element %d is %g, want %g", i, out[0].Float(i), want)
		}
	}
}
