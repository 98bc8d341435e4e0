package pass_test

import (
	"math"
	"testing"

	"muster/exec"
	"muster/graph"
	"muster/op"
	"muster/pass"
	"muster/rng"
	"muster/tensor"
)

// pattern builds attention over the inputs x [2, 5, C] (three of them if apart) in the form of an exporter.
type pattern struct {
	name   string
	widths []int // of the inputs [2, 5, width]
	build  func(p *patternBuilder, x []*graph.Value) *graph.Value
	layout string // what the pass makes of it; empty: it must keep away
	packed int64
}

type patternBuilder struct{ *graph.Builder }

func (p *patternBuilder) perm(x *graph.Value, perm ...int64) *graph.Value {
	return p.OpA("Transpose", []graph.Attr{graph.Ints("perm", perm...)}, x)
}

func (p *patternBuilder) shape(x *graph.Value, s ...int64) *graph.Value {
	return p.Op("Reshape", x, p.Ints(s...))
}

func (p *patternBuilder) heads(x *graph.Value, n int64) *graph.Value {
	return p.perm(p.shape(x, 0, 0, n, -1), 0, 2, 1, 3)
}

func (p *patternBuilder) softmax(x *graph.Value) *graph.Value {
	return p.OpA("Softmax", []graph.Attr{graph.Int("axis", -1)}, x)
}

// draw is a constant of normal values.
func (p *patternBuilder) draw(seed uint64, shape ...int) *graph.Value {
	t := tensor.New(tensor.Float32, shape...)
	s := rng.New(seed).Stream()
	for i := range t.Float32s() {
		t.Float32s()[i] = float32(s.Norm())
	}
	return p.Init("drawn", t)
}

// seen is a mask of bools [1, 1, 5, n] with a true entry in every row.
func (p *patternBuilder) seen(n int) *graph.Value {
	t := tensor.New(tensor.Bool, 1, 1, 5, n)
	for i := range t.Data {
		if i%n <= i/n || i%3 == 0 {
			t.Data[i] = 1
		}
	}
	return p.Init("seen", t)
}

var apart = []int{24, 24, 24}

var patterns = []pattern{
	{"TorchScript", apart, func(p *patternBuilder, x []*graph.Value) *graph.Value {
		q, v, k := p.heads(x[0], 3), p.heads(x[2], 3), p.perm(p.shape(x[1], 0, 0, 3, 8), 0, 2, 3, 1)
		s := p.Op("MatMul", p.Op("Mul", q, p.Scalar(0.6)), p.Op("Mul", k, p.Scalar(0.6)))
		w := p.softmax(p.Op("Add", s, p.Op("Where", p.seen(5), p.Scalar(0), p.Scalar(float32(math.Inf(-1))))))
		w = p.Op("Where", p.Op("IsNaN", w), p.Scalar(0), w)
		return p.shape(p.perm(p.Op("MatMul", w, v), 0, 2, 1, 3), 0, 0, -1)
	}, "3333", 0},
	{"dynamo", apart, func(p *patternBuilder, x []*graph.Value) *graph.Value {
		k := p.shape(p.perm(p.shape(p.heads(x[1], 3), -1, 5, 8), 0, 2, 1), 2, 3, 8, 5)
		s := p.Op("MatMul", p.Op("Mul", p.heads(x[0], 3), p.Scalar(0.6)), p.Op("Mul", k, p.Scalar(0.6)))
		y := p.Op("MatMul", p.softmax(p.Op("Add", s, p.draw(1, 2, 1, 5, 5))), p.heads(x[2], 3))
		return p.shape(p.perm(y, 0, 2, 1, 3), 10, 24)
	}, "3433", 0}, // batch and heads of the keys cannot be joined in place
	{"old BERT", apart, func(p *patternBuilder, x []*graph.Value) *graph.Value {
		s := p.Op("Div", p.Op("MatMul", p.heads(x[0], 3), p.perm(p.heads(x[1], 3), 0, 1, 3, 2)), p.Scalar(2.8))
		return p.Op("MatMul", p.softmax(p.Op("Add", p.draw(1, 5), s)), p.heads(x[2], 3))
	}, "3334", 0},
	{"timm", []int{72}, func(p *patternBuilder, x []*graph.Value) *graph.Value {
		h := p.perm(p.shape(x[0], 2, 5, 3, 3, 8), 2, 0, 3, 1, 4)
		at := func(i int64) *graph.Value {
			return p.OpA("Gather", []graph.Attr{graph.Int("axis", 0)}, h, p.Init("i", tensor.OfInt64([]int64{i})))
		}
		s := p.Op("MatMul", p.Op("Mul", at(0), p.Scalar(0.3)), p.perm(at(1), 0, 1, 3, 2))
		return p.shape(p.perm(p.Op("MatMul", p.softmax(s), at(2)), 0, 2, 1, 3), 2, 5, 24)
	}, "3333", 1},
	{"joint, by Slice", []int{72}, func(p *patternBuilder, x []*graph.Value) *graph.Value {
		h := p.perm(p.shape(x[0], 2, 5, 3, 3, 8), 2, 0, 3, 1, 4)
		at := func(i int64) *graph.Value {
			return p.Squeeze(p.Op("Slice", h, p.Ints(i-3), p.Ints(i+1), p.Ints(0)), 0)
		}
		s := p.Op("MatMul", at(0), p.perm(at(1), 0, 1, 3, 2))
		return p.shape(p.perm(p.Op("MatMul", p.softmax(s), at(2)), 0, 2, 1, 3), 2, 5, 24)
	}, "3333", 1},
	{"GPT-2 with a past", []int{72}, func(p *patternBuilder, x []*graph.Value) *graph.Value {
		part := p.Node("", "Split", 3, []*graph.Value{x[0]}, graph.Int("axis", 2), graph.Int("num_outputs", 3))
		axis := []graph.Attr{graph.Int("axis", 2)}
		k := p.OpA("Concat", axis, p.draw(1, 2, 3, 4, 8), p.heads(part[1], 3))
		v := p.OpA("Concat", axis, p.draw(2, 2, 3, 4, 8), p.heads(part[2], 3))
		s := p.Op("Div", p.Op("MatMul", p.heads(part[0], 3), p.perm(k, 0, 1, 3, 2)), p.Scalar(2.8))
		s = p.Op("Where", p.seen(9), s, p.Scalar(float32(math.Inf(-1))))
		return p.shape(p.perm(p.Op("MatMul", p.softmax(s), v), 0, 2, 1, 3), 0, 0, 24)
	}, "3443", 1},
	{"grouped queries", []int{32, 16, 16}, func(p *patternBuilder, x []*graph.Value) *graph.Value {
		repeat := func(x *graph.Value) *graph.Value {
			return p.shape(p.Op("Expand", p.Unsqueeze(p.heads(x, 2), 2), p.Ints(2, 2, 2, 5, 8)), 2, 4, 5, 8)
		}
		q := p.Op("Sub", p.heads(x[0], 4), p.Scalar(0.1)) // a rotation, say
		s := p.Op("MatMul", q, p.perm(repeat(x[1]), 0, 1, 3, 2))
		return p.shape(p.perm(p.Op("MatMul", p.softmax(s), repeat(x[2])), 0, 2, 1, 3), 0, 0, -1)
	}, "4333", 0},
	{"an operator with its own projection", []int{24}, func(p *patternBuilder, x []*graph.Value) *graph.Value {
		return p.Node("com.microsoft", "Attention", 1, []*graph.Value{x[0], p.draw(1, 24, 72), p.draw(2, 72)}, graph.Int("num_heads", 3))[0]
	}, "", 1},
	{"parts of a projection", []int{72}, func(p *patternBuilder, x []*graph.Value) *graph.Value {
		part := p.Node("", "Split", 3, x, graph.Int("axis", -1), graph.Int("num_outputs", 3))
		return p.Node(graph.Domain, "Attention", 1, part, graph.Int("heads", 3), graph.Int("kv_heads", 3), graph.Int("causal", 1))[0]
	}, "", 1},
	{"weights read elsewhere", apart, func(p *patternBuilder, x []*graph.Value) *graph.Value {
		w := p.softmax(p.Op("MatMul", p.heads(x[0], 3), p.perm(p.heads(x[1], 3), 0, 1, 3, 2)))
		p.Output("weights", p.Op("Neg", w))
		return p.Op("MatMul", w, p.heads(x[2], 3))
	}, "", 0},
	{"softmax over the queries", apart, func(p *patternBuilder, x []*graph.Value) *graph.Value {
		w := p.OpA("Softmax", []graph.Attr{graph.Int("axis", 2)}, p.Op("MatMul", p.heads(x[0], 3), p.perm(p.heads(x[1], 3), 0, 1, 3, 2)))
		return p.Op("MatMul", w, p.heads(x[2], 3))
	}, "", 0},
	{"a scale for every head", apart, func(p *patternBuilder, x []*graph.Value) *graph.Value {
		s := p.Op("Mul", p.Op("MatMul", p.heads(x[0], 3), p.perm(p.heads(x[1], 3), 0, 1, 3, 2)), p.draw(1, 3, 1, 1))
		return p.Op("MatMul", p.softmax(s), p.heads(x[2], 3))
	}, "", 0},
	{"scaled after the mask", apart, func(p *patternBuilder, x []*graph.Value) *graph.Value {
		s := p.Op("Add", p.Op("MatMul", p.heads(x[0], 3), p.perm(p.heads(x[1], 3), 0, 1, 3, 2)), p.draw(1, 5, 5))
		return p.Op("MatMul", p.softmax(p.Op("Mul", s, p.Scalar(0.3))), p.heads(x[2], 3))
	}, "", 0},
	{"scaled values", apart, func(p *patternBuilder, x []*graph.Value) *graph.Value {
		w := p.softmax(p.Op("MatMul", p.heads(x[0], 3), p.perm(p.heads(x[1], 3), 0, 1, 3, 2)))
		return p.Op("MatMul", w, p.Op("Mul", p.heads(x[2], 3), p.Scalar(3)))
	}, "3344", 0},
	{"heads of other channels", apart, func(p *patternBuilder, x []*graph.Value) *graph.Value {
		odd := p.perm(p.shape(x[0], 0, 0, 8, 3), 0, 3, 1, 2) // head h has channels h, h+3, ...
		w := p.softmax(p.Op("MatMul", odd, p.perm(p.heads(x[1], 3), 0, 1, 3, 2)))
		return p.Op("MatMul", w, p.heads(x[2], 3))
	}, "4334", 0},
}

// Every exported form becomes one operator that reads its operands where they are, with the same answers; what only
// looks like it is left alone.
func TestAttentionPatterns(t *testing.T) {
	for _, c := range patterns {
		p := &patternBuilder{graph.NewBuilder(graph.New(c.name))}
		var x []*graph.Value
		var feeds []*tensor.Tensor
		s := rng.New(7).Stream()
		for _, w := range c.widths {
			x = append(x, p.Input("x", tensor.Float32, graph.D(2), graph.D(5), graph.D(w)))
			f := tensor.New(tensor.Float32, 2, 5, w)
			for i := range f.Float32s() {
				f.Float32s()[i] = float32(s.Norm())
			}
			feeds = append(feeds, f)
		}
		p.Output("y", c.build(p, x))
		want, err := exec.Eval(p.G, feeds)
		if err != nil {
			t.Fatal(c.name, err)
		}
		g, _, err := op.Bind(p.G, nil)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if err := pass.Optimize(g, pass.Config{Verify: true}); err != nil {
			t.Fatal(c.name, err)
		}
		got, err := exec.Eval(g, feeds)
		if err != nil {
			t.Fatal(c.name, err)
		}
		for i := range want {
			if d := tensor.Diff(got[i], want[i], 1e-5, 1e-5); d != "" {
				t.Errorf("%s: %s", c.name, d)
			}
		}
		layout, packed := "", int64(0)
		for _, n := range g.Nodes {
			if n.FullOp() == "muster.Attention" {
				layout, packed = n.Str("layout", ""), n.Int("packed", 0)
			}
		}
		if layout != c.layout || packed != c.packed {
			t.Errorf("%s: layout %q, packed %d, want %q, %d", c.name, layout, packed, c.layout, c.packed)
		}
	}
}
