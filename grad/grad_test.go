package grad_test

import (
	"strings"
	"testing"

	"muster/fault"
	"muster/grad"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// run evaluates one value of g by the references; feeds by input name.
func run(t *testing.T, g *graph.Graph, v *graph.Value, feeds map[string]*tensor.Tensor) *tensor.Tensor {
	t.Helper()
	dims := map[string]int{}
	for _, in := range g.Inputs {
		for k, d := range in.Shape {
			if !d.Known() {
				dims[d.Name] = feeds[in.Name].Shape[k]
			}
		}
	}
	c, m, err := op.Bind(g, dims)
	if err != nil {
		t.Fatal(err)
	}
	env := map[*graph.Value]*tensor.Tensor{}
	for _, in := range c.Inputs {
		env[in] = feeds[in.Name]
	}
	get := func(v *graph.Value) *tensor.Tensor {
		if v != nil && v.Const != nil {
			return v.Const
		}
		return env[v]
	}
	for _, n := range c.Nodes {
		o, err := op.Of(c, n)
		if err != nil {
			t.Fatal(err)
		}
		call := &op.Call{Node: n}
		for _, in := range n.Inputs {
			call.In = append(call.In, get(in))
		}
		for _, out := range n.Outputs {
			s, _ := out.Static()
			env[out] = tensor.New(out.DType, s...)
			call.Out = append(call.Out, env[out])
		}
		if err := o.Ref(call); err != nil {
			t.Fatal(n.Place(), err)
		}
	}
	return get(m[v])
}

func want(t *testing.T, what string, got *tensor.Tensor, v ...float32) {
	t.Helper()
	if d := tensor.Diff(got, tensor.OfFloat32(v, got.Shape...), 1e-6, 1e-6); d != "" {
		t.Errorf("%s: %s", what, d)
	}
}

func sumAll(b *graph.Builder, v *graph.Value) *graph.Value {
	return b.OpA("ReduceSum", []graph.Attr{graph.Int("keepdims", 0)}, v)
}

// loss = sum(x*x + 3x) with x read three times: dx = 2x + 3, while the batch is known by name only.
func TestFanInAndNamedBatch(t *testing.T) {
	g := graph.New("fan-in")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.Sym("B"))
	loss := sumAll(b, b.Op("Add", b.Op("Mul", x, x), b.Op("Mul", x, b.Scalar(3))))
	d, err := grad.Build(b, loss, []*graph.Value{x})
	if err != nil {
		t.Fatal(err)
	}
	b.Output("d", d[0])
	if err := g.Verify(); err != nil {
		t.Fatal(err)
	}
	want(t, "dx", run(t, g, d[0], map[string]*tensor.Tensor{"x": tensor.OfFloat32([]float32{1, -2, 5}, 3)}), 5, -1, 13)
}

// The gradient by an intermediate value, by a broadcast bias, and by the loss itself.
func TestIntermediateAndBroadcast(t *testing.T) {
	g := graph.New("bias")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.Sym("B"), graph.D(2))
	bias := b.Init("bias", tensor.OfFloat32([]float32{10, 20}, 2))
	h := b.Op("Add", x, bias)
	loss := sumAll(b, b.Op("Mul", h, h))
	d, err := grad.Build(b, loss, []*graph.Value{bias, h, loss})
	if err != nil {
		t.Fatal(err)
	}
	feeds := map[string]*tensor.Tensor{"x": tensor.OfFloat32([]float32{1, 2, 3, 4}, 2, 2)}
	want(t, "dbias", run(t, g, d[0], feeds), 2*(11+13), 2*(22+24))
	want(t, "dh", run(t, g, d[1], feeds), 22, 44, 26, 48)
	want(t, "dloss", run(t, g, d[2], feeds), 1)
}

// d/dx d/dx sum(x^3) = 6x, and second derivatives through private operators, which are inlined.
func TestSecondDerivative(t *testing.T) {
	g := graph.New("twice")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.D(2))
	first, err := grad.Build(b, sumAll(b, b.Op("Mul", b.Op("Mul", x, x), x)), []*graph.Value{x})
	if err != nil {
		t.Fatal(err)
	}
	second, err := grad.Build(b, sumAll(b, first[0]), []*graph.Value{x})
	if err != nil {
		t.Fatal(err)
	}
	feeds := map[string]*tensor.Tensor{"x": tensor.OfFloat32([]float32{0.5, -2}, 2)}
	want(t, "6x", run(t, g, second[0], feeds), 3, -12)

	// Gelu'' = phi(x) (2 - x^2).
	first, err = grad.Build(b, sumAll(b, b.Op("Gelu", x)), []*graph.Value{x})
	if err != nil {
		t.Fatal(err)
	}
	if second, err = grad.Build(b, sumAll(b, first[0]), []*graph.Value{x}); err != nil {
		t.Fatal(err)
	}
	want(t, "gelu''", run(t, g, second[0], feeds), 0.35206533*1.75, 0.05399097*-2)
}

// Only what wrt needs is appended: nothing for the frozen weight.
func TestOnlyWhatIsNeeded(t *testing.T) {
	g := graph.New("frozen")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.D(4), graph.D(3))
	w := b.Init("w", tensor.New(tensor.Float32, 3, 2))
	loss := sumAll(b, b.Op("MatMul", x, w))
	before := len(g.Nodes)
	if _, err := grad.Build(b, loss, []*graph.Value{x}); err != nil {
		t.Fatal(err)
	}
	for _, n := range g.Nodes[before:] {
		if n.Op == "Gemm" {
			t.Error("the gradient of the frozen weight is computed")
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name  string
		class fault.Class
		text  string
		build func(b *graph.Builder, x *graph.Value) (loss, wrt *graph.Value)
	}{
		{"not a scalar", fault.Mismatch, "scalar", func(b *graph.Builder, x *graph.Value) (*graph.Value, *graph.Value) { return b.Op("Neg", x), x }},
		{"not a float", fault.Mismatch, "int64", func(b *graph.Builder, x *graph.Value) (*graph.Value, *graph.Value) {
			return b.OpA("ArgMax", []graph.Attr{graph.Int("keepdims", 0)}, x), x
		}},
		{"independent", fault.Mismatch, "does not depend", func(b *graph.Builder, x *graph.Value) (*graph.Value, *graph.Value) {
			return sumAll(b, b.Init("c", tensor.New(tensor.Float32, 2))), x
		}},
		{"quantized", fault.Unsupported, "QuantizeLinear", func(b *graph.Builder, x *graph.Value) (*graph.Value, *graph.Value) {
			s := b.Scalar(0.1)
			return sumAll(b, b.Op("DequantizeLinear", b.Op("QuantizeLinear", x, s), s)), x
		}},
		{"values of OneHot", fault.Unsupported, "OneHot", func(b *graph.Builder, x *graph.Value) (*graph.Value, *graph.Value) {
			return sumAll(b, b.Op("OneHot", b.Ints(1), b.Init("depth", tensor.OfInt64([]int64{3})), b.Op("Slice", x, b.Ints(0), b.Ints(2)))), x
		}},
	} {
		b := graph.NewBuilder(graph.New(c.name))
		loss, wrt := c.build(b, b.Input("x", tensor.Float32, graph.D(4)))
		_, err := grad.Build(b, loss, []*graph.Value{wrt})
		if err == nil || fault.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
