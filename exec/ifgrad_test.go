package exec

import (
	"math"
	"testing"

	"muster/grad"
	"muster/graph"
	"muster/tensor"
)

// TestGradientOfIf: the gradient of sum(cond ? x*w*exp(w) : nested) by x and w, in float64 against difference quotients,
// for every way through the branches; the file can be written and read.
func TestGradientOfIf(t *testing.T) {
	g := graph.New("ifgrad")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float64, graph.D(3))
	w := b.Input("w", tensor.Float64, graph.D(3))
	c1, c2 := b.Input("c1", tensor.Bool), b.Input("c2", tensor.Bool)
	y := b.Op("Mul", x, w)
	inner := func(name string, f func(b *graph.Builder) *graph.Value) graph.Attr {
		return graphAttr(name, sub(name+"_inner", func(b *graph.Builder) []*graph.Value { return []*graph.Value{f(b)} }))
	}
	z := b.OpA("If", []graph.Attr{
		graphAttr("then_branch", sub("then", func(b *graph.Builder) []*graph.Value { return []*graph.Value{b.Op("Mul", y, b.Op("Exp", w))} })),
		graphAttr("else_branch", sub("else", func(b *graph.Builder) []*graph.Value {
			s := b.Op("Sin", x)
			return []*graph.Value{b.OpA("If", []graph.Attr{
				inner("then_branch", func(b *graph.Builder) *graph.Value { return b.Op("Mul", s, y) }),
				inner("else_branch", func(b *graph.Builder) *graph.Value { return b.Op("Tanh", x) }),
			}, c2)}
		})),
	}, c1)
	loss := b.Output("loss", b.Op("ReduceSum", b.Op("Mul", z, y)))
	loss.Shape = nil
	sum := b.OpA("ReduceSum", []graph.Attr{graph.Int("keepdims", 0)}, b.Op("Mul", z, y))
	ds, err := grad.Build(b, sum, []*graph.Value{x, w})
	if err != nil {
		t.Fatal(err)
	}
	g.Outputs = append([]*graph.Value{sum}, ds...)
	bytes, err := g.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if g, err = graph.Decode(bytes); err != nil {
		t.Fatal(err)
	}
	s := session(t, g, Config{})
	xs, ws := []float64{0.3, -0.7, 1.1}, []float64{0.5, 0.2, -0.4}
	at := func(x, w []float64, c1, c2 bool) []*tensor.Tensor {
		in := []*tensor.Tensor{tensor.OfFloat64(x, 3), tensor.OfFloat64(w, 3), boolean(c1), boolean(c2)}
		out, err := s.Run(in...)
		if err != nil {
			t.Fatal(err)
		}
		ref, err := Eval(g, in)
		if err != nil {
			t.Fatal(err)
		}
		for i := range out {
			if d := tensor.Diff(out[i], ref[i], 1e-12, 1e-12); d != "" {
				t.Error(d)
			}
		}
		return out
	}
	for _, c := range [][2]bool{{true, true}, {false, true}, {false, false}} {
		out := at(xs, ws, c[0], c[1])
		for k := range 2 {
			for i := range 3 {
				f := func(h float64) float64 {
					v := [2][]float64{append([]float64{}, xs...), append([]float64{}, ws...)}
					v[k][i] += h
					return at(v[0], v[1], c[0], c[1])[0].Float(0)
				}
				want := (f(1e-6) - f(-1e-6)) / 2e-6
				if got := out[1+k].Float(i); math.Abs(got-want) > 1e-7 {
					t.Errorf("%v: gradient %d [%d] is %g, the difference quotient %g", c, k, i, got, want)
				}
			}
		}
	}
}
