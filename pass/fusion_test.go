package pass_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"muster/exec"
	"muster/graph"
	"muster/op"
	"muster/pass"
	"muster/rng"
	"muster/tensor"
)

// attentionGrads are the gradients of the attention of two heads whose queries, keys, values and answers are x.
func attentionGrads(b *graph.Builder, x *graph.Value) []*graph.Value {
	lse := tensor.New(tensor.Float32, 2, 2, 3)
	for i := range lse.Float32s() {
		lse.Float32s()[i] = 2
	}
	return b.Node(graph.Domain, "AttentionGrad", 3, []*graph.Value{x, x, x, x, x, b.Init("lse", lse)}, graph.Int("heads", 2), graph.Int("kv_heads", 2))
}

// spelled are chains of nodes and what they become: the operators that are left, in order.
var spelled = []struct {
	name  string
	opset int
	make  func(b *graph.Builder, x *graph.Value) []*graph.Value
	want  string
}{
	{"layer norm of torch", 11, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		d := b.Op("Sub", x, mean(b, x))
		return one(b.Op("Add", b.Op("Mul", b.Op("Div", d, root(b, b.Op("Pow", d, b.Scalar(2)))), vector(b, 1.5)), vector(b, 0.25)))
	}, "muster.AddNormalization"},
	{"layer norm with two differences and a product", 11, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		d, e := b.Op("Sub", x, mean(b, x)), b.Op("Sub", x, mean(b, x))
		return one(b.Op("Mul", d, b.Op("Reciprocal", root(b, b.Op("Mul", e, e)))))
	}, "muster.AddNormalization"},
	{"rms norm", 11, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		inv := b.Op("Div", b.Scalar(1), root(b, b.Op("Pow", x, b.Scalar(2))))
		return one(b.Op("Mul", vector(b, 1.5), b.Op("Mul", x, inv)))
	}, "muster.AddNormalization"},
	{"another mean than that of the input", 11, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		d := b.Op("Sub", x, mean(b, b.Op("Abs", x)))
		return one(b.Op("Div", d, root(b, b.Op("Pow", d, b.Scalar(2)))))
	}, "Abs ReduceMean Sub muster.AddNormalization"},
	{"residual and layer norm", 17, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		s := b.Op("Add", x, b.Op("Abs", x))
		return []*graph.Value{b.Op("LayerNormalization", s, vector(b, 2), vector(b, 1)), b.Op("Neg", s)}
	}, "Abs muster.AddNormalization Neg"},
	{"gelu of torch", 11, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		g := b.Op("Add", b.Op("Erf", b.Op("Div", x, b.Scalar(1.4142135))), b.Scalar(1))
		return one(b.Op("Mul", b.Op("Mul", x, g), b.Scalar(0.5)))
	}, "muster.Activation"},
	{"gelu with half of x", 11, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		g := b.Op("Add", b.Scalar(1), b.Op("Erf", b.Op("Mul", x, b.Scalar(0.70710677))))
		return one(b.Op("Mul", b.Op("Mul", b.Scalar(0.5), x), g))
	}, "muster.Activation"},
	{"gelu with half of the gate", 11, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		g := b.Op("Add", b.Scalar(1), b.Op("Erf", b.Op("Mul", x, b.Scalar(0.70710677))))
		return one(b.Op("Mul", b.Op("Mul", b.Scalar(0.5), g), x))
	}, "muster.Activation"},
	{"gelu with another factor", 11, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		g := b.Op("Add", b.Scalar(1), b.Op("Erf", b.Op("Mul", x, b.Scalar(0.70710677))))
		return one(b.Op("Mul", b.Op("Mul", b.Scalar(0.6), x), g))
	}, "Mul Erf Add Mul Mul"},
	{"gelu by tanh", 11, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		u := b.Op("Add", x, b.Op("Mul", b.Scalar(0.044715), b.Op("Pow", x, b.Scalar(3))))
		g := b.Op("Add", b.Op("Tanh", b.Op("Mul", b.Scalar(0.7978846), u)), b.Scalar(1))
		return one(b.Op("Mul", b.Op("Mul", b.Scalar(0.5), x), g))
	}, "muster.Activation"},
	{"gelu by tanh, factored", 11, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		q := b.Op("Add", b.Scalar(1), b.Op("Mul", b.Op("Mul", b.Scalar(0.044715), x), x))
		g := b.Op("Add", b.Op("Tanh", b.Op("Mul", b.Op("Mul", b.Scalar(0.7978846), x), q)), b.Scalar(1))
		return one(b.Op("Mul", b.Op("Mul", x, g), b.Scalar(0.5)))
	}, "muster.Activation"},
	{"silu", 11, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		return one(b.Op("Mul", b.Op("Sigmoid", x), x))
	}, "muster.Activation"},
	{"gradients of activations", 13, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		dy, y := b.Op("Abs", x), b.Op("Neg", x)
		relu := b.Op("Where", b.Op("Greater", x, b.Scalar(0)), dy, b.Scalar(0))
		tanh := b.Op("Mul", dy, b.Op("Sub", b.Scalar(1), b.Op("Mul", y, y)))
		sigmoid := b.Op("Mul", dy, b.Op("Mul", y, b.Op("Sub", b.Scalar(1), y)))
		return []*graph.Value{relu, tanh, sigmoid}
	}, "Abs Neg muster.ActivationGrad muster.ActivationGrad muster.ActivationGrad"},
	{"linear layer", 11, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		y := b.Op("Add", vector(b, 0.1), b.Op("MatMul", x, square(b)))
		return one(b.Op("Relu", b.Op("Add", y, x)))
	}, "muster.Linear"},
	{"linear layer by Gelu", 20, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		return one(b.Op("Gelu", b.Op("Add", vector(b, 0.1), b.Op("MatMul", x, square(b)))))
	}, "muster.Linear"},
	{"clipped linear layer without bias", 11, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		return one(b.Op("Clip", b.Op("MatMul", x, square(b)), b.Scalar(-0.5), b.Scalar(0.5)))
	}, "muster.Linear"},
	{"Gemm between reshapes", 11, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		y := b.Op("Gemm", b.Op("Reshape", x, b.Ints(-1, 8)), square(b), vector(b, 0.1))
		return one(b.Op("Add", x, b.Op("Reshape", y, b.Ints(2, 3, 8))))
	}, "muster.Linear"},
	{"Gemm whose rows are cut otherwise", 11, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		y := b.Op("Gemm", b.Op("Reshape", x, b.Ints(-1, 8)), square(b), vector(b, 0.1))
		return one(b.Op("Reshape", y, b.Ints(3, 2, 8)))
	}, "Reshape muster.Linear Reshape"},
	{"a product that is read twice", 11, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		y := b.Op("MatMul", x, square(b))
		return one(b.Op("Mul", y, b.Op("Relu", y)))
	}, "MatMul Relu Mul"},
	{"two products that are added", 11, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		return one(b.Op("Add", b.Op("MatMul", x, square(b)), b.Op("MatMul", b.Op("Abs", x), square(b))))
	}, "Abs MatMul muster.Linear"},
	{"gradients of a table that is read in two ways", 13, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		rows := b.Node(graph.Domain, "GatherGrad", 1, []*graph.Value{x, b.Init("ids", tensor.OfInt64([]int64{3, 0, 3, 1, 2, 3}, 2, 3)), b.Ints(8, 8)})[0]
		return one(b.Op("Add", b.Op("MatMul", square(b), square(b)), rows))
	}, "muster.GatherGrad"},
	{"gradients of attention side by side", 13, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		d := attentionGrads(b, x)
		return one(b.OpA("Concat", []graph.Attr{graph.Int("axis", -1)}, d...))
	}, "muster.AttentionGrad"},
	{"gradients of attention in another order", 13, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		d := attentionGrads(b, x)
		return one(b.OpA("Concat", []graph.Attr{graph.Int("axis", -1)}, d[1], d[0], d[2]))
	}, "muster.AttentionGrad Concat"},
	{"nothing", 13, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		y := b.Op("Reshape", b.Op("Identity", x), b.Ints(3, 2, 8))
		y = b.Op("Reshape", y, b.Ints(2, 3, 8))
		y = transpose(b, transpose(b, y, 1, 0, 2), 1, 0, 2)
		y = b.OpA("Concat", []graph.Attr{graph.Int("axis", 0)}, b.OpA("Cast", []graph.Attr{graph.Int("to", 1)}, y))
		y = b.Op("Slice", b.Op("Expand", y, b.Ints(1, 1, 1)), b.Ints(0), b.Ints(1<<40), b.Ints(1))
		return one(b.Op("Neg", b.Op("Div", b.Op("Add", b.Op("Mul", y, b.Scalar(1)), b.Scalar(0)), b.Scalar(1))))
	}, "Neg"},
	{"backwards", 13, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		return one(b.Op("Slice", x, b.Ints(-1), b.Ints(-1<<40), b.Ints(1), b.Ints(-1)))
	}, "Slice"},
	{"transposes in a row", 13, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		return one(b.Op("Abs", transpose(b, transpose(b, x, 1, 0, 2), 2, 0, 1)))
	}, "Transpose Abs"},
	{"the same twice", 13, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		return one(b.Op("Mul", b.Op("Exp", b.Op("Mul", x, b.Scalar(0.3))), b.Op("Exp", b.Op("Mul", x, b.Scalar(0.3)))))
	}, "Mul Exp Mul"},
	{"constants", 13, func(b *graph.Builder, x *graph.Value) []*graph.Value {
		return one(b.Op("Mul", x, b.Op("Add", vector(b, 1), vector(b, 2))))
	}, "Mul"},
}

func one(v *graph.Value) []*graph.Value { return []*graph.Value{v} }

func mean(b *graph.Builder, x *graph.Value) *graph.Value { return b.ReduceMean(x, 1, -1) }

func root(b *graph.Builder, square *graph.Value) *graph.Value {
	return b.Op("Sqrt", b.Op("Add", mean(b, square), b.Scalar(1e-3)))
}

func vector(b *graph.Builder, v float32) *graph.Value {
	t := tensor.New(tensor.Float32, 8)
	for i := range t.Float32s() {
		t.Float32s()[i] = v + float32(i)/10
	}
	return b.Init("vector", t)
}

func square(b *graph.Builder) *graph.Value {
	t := tensor.New(tensor.Float32, 8, 8)
	for i := range t.Float32s() {
		t.Float32s()[i] = float32(i%11)/10 - 0.5
	}
	return b.Init("matrix", t)
}

func transpose(b *graph.Builder, x *graph.Value, perm ...int64) *graph.Value {
	return b.OpA("Transpose", []graph.Attr{graph.Ints("perm", perm...)}, x)
}

// TestPatterns: what is spelled out becomes the operators that are expected, and computes the same.
func TestPatterns(t *testing.T) {
	for _, c := range spelled {
		g := graph.New("g")
		g.Model.Opsets[""] = c.opset
		b := graph.NewBuilder(g)
		x := b.Input("x", tensor.Float32, graph.D(2), graph.D(3), graph.D(8))
		for i, v := range c.make(b, x) {
			b.Output(fmt.Sprint("y", i), v)
		}
		in := tensor.New(tensor.Float32, 2, 3, 8)
		s := rng.New(4).Stream()
		for i := range in.Float32s() {
			in.Float32s()[i] = 4*s.Float32() - 2
		}
		want, err := exec.Eval(g, []*tensor.Tensor{in})
		if err != nil {
			t.Fatal(c.name, err)
		}
		o, _, err := op.Bind(g, nil)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if err := pass.Optimize(o, pass.Config{Verify: true}); err != nil {
			t.Fatal(c.name, err)
		}
		var left []string
		for _, n := range o.Nodes {
			left = append(left, n.FullOp())
		}
		if got := strings.Join(left, " "); got != c.want {
			t.Errorf("%s becomes %q, want %q", c.name, got, c.want)
		}
		got, err := exec.Eval(o, []*tensor.Tensor{in})
		if err != nil {
			t.Fatal(c.name, err)
		}
		for i := range want {
			if o.Outputs[i].Name != g.Outputs[i].Name {
				t.Errorf("%s: output %d is named %q", c.name, i, o.Outputs[i].Name)
			}
			if d := tensor.Diff(got[i], want[i], 1e-5, 1e-5); d != "" {
				t.Errorf("%s: output %d: %s", c.name, i, d)
			}
		}
	}
}

// TestPassesAreLinear: ten times the nodes take about ten times as long.
func TestPassesAreLinear(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures time")
	}
	took := func(n int) time.Duration {
		g := graph.New("long")
		b := graph.NewBuilder(g)
		v := b.Input("x", tensor.Float32, graph.D(2), graph.D(8))
		for i := range n / 8 {
			v = b.Op("Mul", b.Op("Sigmoid", v), v)
			v = b.Op("Add", v, b.Op("Mul", v, b.Scalar(float32(i))))
			v = b.Op("Relu", b.Op("Add", b.Op("MatMul", v, square(b)), vector(b, 1)))
			v = b.Op("Identity", v)
		}
		b.Output("y", v)
		o, _, err := op.Bind(g, nil)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := pass.Optimize(o, pass.Config{}); err != nil {
			t.Fatal(err)
		}
		return time.Since(start)
	}
	took(800)
	small, large := min(took(2_000), took(2_000), took(2_000)), min(took(20_000), took(20_000), took(20_000))
	t.Logf("%v for 2,000 nodes, %v for 20,000", small, large)
	if large > 40*small {
		t.Errorf("%v for 2,000 nodes, %v for 20,000", small, large)
	}
}
