package exec

import (
	"os"
	"strings"
	"sync"
	"testing"

	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// TestHostileGraphs: what a file can ask for and cannot have is an error of the right class that names the node, from
// the session as from the references.
func TestHostileGraphs(t *testing.T) {
	vec := func(v ...int64) *tensor.Tensor { return tensor.OfInt64(v, len(v)) }
	cast := []graph.Attr{graph.Int("to", int64(tensor.Int64))}
	for _, c := range []struct {
		name  string
		class fault.Class
		place string
		in    []*tensor.Tensor
		f     func(b *graph.Builder, in []*graph.Value) *graph.Value
	}{
		{"wrong types", fault.Mismatch, "Add", []*tensor.Tensor{f32(1), i64(1)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value { return b.Op("Add", in[0], in[1]) }},
		{"unknown operator", fault.Unsupported, "Frobnicate", []*tensor.Tensor{f32(1)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value { return b.Op("Frobnicate", in[0]) }},
		{"unknown operator in a branch", fault.Unsupported, "Frobnicate", []*tensor.Tensor{f32(1), boolean(true)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value {
				br := func(name, op string) graph.Attr {
					return graphAttr(name, sub(name, func(b *graph.Builder) []*graph.Value { return []*graph.Value{b.Op(op, in[0])} }))
				}
				return b.OpA("If", []graph.Attr{br("then_branch", "Neg"), br("else_branch", "Frobnicate")}, in[1])
			}},
		{"a constant shape whose product overflows", fault.Exhausted, "Expand", []*tensor.Tensor{f32(1)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value {
				return b.Op("Expand", in[0], b.Ints(1<<31, 1<<31, 1<<31))
			}},
		{"a fed shape whose product overflows", fault.Exhausted, "Expand", []*tensor.Tensor{f32(1), vec(1<<31, 1<<31, 1<<31)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value { return b.Op("Expand", in[0], in[1]) }},
		{"a fed shape beyond memory", fault.Exhausted, "Expand", []*tensor.Tensor{f32(1), vec(1 << 33)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value { return b.Op("Expand", in[0], in[1]) }},
		{"a negative size", fault.Mismatch, "ConstantOfShape", []*tensor.Tensor{vec(2, -3)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value { return b.Op("ConstantOfShape", in[0]) }},
		{"a range beyond memory", fault.Exhausted, "Range", []*tensor.Tensor{i64(1 << 40)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value {
				return b.Op("Range", b.Init("lo", i64(0)), in[0], b.Init("step", i64(1)))
			}},
		{"an arena beyond memory", fault.Exhausted, "", []*tensor.Tensor{f32(1)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value {
				x := b.Op("Expand", in[0], b.Ints(1<<33))
				return b.Op("Add", b.Op("Transpose", x), b.Op("Exp", x))
			}},
		{"a carried value that grows for ever", fault.Exhausted, "Loop", []*tensor.Tensor{tensor.New(tensor.Float32, 1<<12)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value {
				body := sub("body", func(b *graph.Builder) []*graph.Value {
					b.Input("i", tensor.Int64)
					c := b.Input("c", tensor.Bool)
					x := b.Input("x", tensor.Float32, graph.Dim{Size: -1})
					return []*graph.Value{b.Op("Identity", c), b.Op("Tile", x, b.Ints(4096))}
				})
				return b.OpA("Loop", []graph.Attr{graphAttr("body", body)}, nil, nil, in[0])
			}},
		{"a loop without end", fault.Exhausted, "Loop", []*tensor.Tensor{f32(1)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value {
				body := sub("body", func(b *graph.Builder) []*graph.Value {
					b.Input("i", tensor.Int64)
					c := b.Input("c", tensor.Bool)
					return []*graph.Value{b.Op("Identity", c), b.Op("Neg", b.Input("x", tensor.Float32, graph.D(1)))}
				})
				return b.OpA("Loop", []graph.Attr{graphAttr("body", body)}, nil, nil, in[0])
			}},
		{"a fed shape against an axis", fault.Mismatch, "Expand", []*tensor.Tensor{tensor.New(tensor.Float32, 1, 3, 2), vec(5)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value {
				in[0].Shape = []graph.Dim{graph.D(1), graph.D(3), graph.D(2)}
				in[1].Shape = []graph.Dim{graph.D(1)}
				return b.Op("Expand", in[0], in[1])
			}},
		{"a fed shape without axes", fault.Mismatch, "Reshape", []*tensor.Tensor{f32(1, 2, 3), vec()},
			func(b *graph.Builder, in []*graph.Value) *graph.Value { return b.Op("Reshape", in[0], in[1]) }},
		{"a window of -1", fault.Mismatch, "AveragePool", []*tensor.Tensor{tensor.New(tensor.Float32, 1, 1, 4, 4)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value {
				return b.OpA("AveragePool", []graph.Attr{{Name: "kernel_shape", Kind: graph.AttrInts, Ints: []int64{2, -1}}}, in[0])
			}},
		{"a declared shape whose product overflows", fault.Exhausted, "Reshape", []*tensor.Tensor{f32(1, 2), vec(-1)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value {
				y := b.Op("Reshape", in[0], in[1])
				y.Shape = []graph.Dim{graph.D(1 << 62), graph.D(1 << 62)}
				return b.Op("Reshape", y, b.Ints(1<<62, 1<<62))
			}},
		{"a body of other inputs", fault.Mismatch, "Loop", []*tensor.Tensor{f32(1)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value {
				body := sub("body", func(b *graph.Builder) []*graph.Value {
					return []*graph.Value{b.Op("Neg", b.Input("x", tensor.Float32))}
				})
				return b.OpA("Loop", []graph.Attr{graphAttr("body", body)}, nil, nil, in[0])
			}},
		{"a branch that is no graph", fault.Malformed, "If", []*tensor.Tensor{boolean(true)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value {
				return b.OpA("If", []graph.Attr{graph.Int("then_branch", 1), graph.Int("else_branch", 1)}, in[0])
			}},
		{"the tensor of an empty sequence", fault.Mismatch, "SequenceAt", []*tensor.Tensor{f32(1)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value {
				return b.Op("SequenceAt", b.Op("SequenceEmpty"), b.OpA("Cast", cast, in[0]))
			}},
		{"arithmetic on a sequence", fault.Unsupported, "Neg", []*tensor.Tensor{f32(1)},
			func(b *graph.Builder, in []*graph.Value) *graph.Value {
				return b.Op("Neg", b.Op("SequenceConstruct", in[0]))
			}},
	} {
		g := graph.New("hostile")
		b := graph.NewBuilder(g)
		var in []*graph.Value
		for _, x := range c.in {
			v := b.Input("x", x.DType)
			for range x.Shape {
				v.Shape = append(v.Shape, graph.Dim{Size: -1})
			}
			in = append(in, v)
		}
		b.Output("y", c.f(b, in))
		s, err := New(g, Config{MaxSteps: 1000})
		if err == nil {
			_, err = s.Run(c.in...)
			s.Close()
		}
		if fault.ClassOf(err) != c.class || err == nil || !strings.Contains(err.Error(), c.place) {
			t.Errorf("%s: the session says %v", c.name, err)
		}
		if strings.Contains(c.name, "without end") || strings.Contains(c.name, "in a branch") {
			continue // the references would take the default number of steps; they do not look at a branch they do not take
		}
		if _, err = Eval(g, c.in); fault.ClassOf(err) != c.class || err == nil || !strings.Contains(err.Error(), c.place) {
			t.Errorf("%s: the references say %v", c.name, err)
		}
	}
}

// TestStateThatChanges: the next value of a state must have its shape.
func TestStateThatChanges(t *testing.T) {
	g := graph.New("state")
	b := graph.NewBuilder(g)
	w := b.Init("w", f32(1, 0))
	next := b.Op("Squeeze", b.OpA("Cast", []graph.Attr{graph.Int("to", int64(tensor.Float32))}, b.Op("NonZero", w)), b.Ints(0))
	b.Output("y", b.Op("Neg", w))
	g.Outputs = append(g.Outputs, next)
	s, err := New(g, Config{State: []graph.State{{In: w, Out: next}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Run(); fault.ClassOf(err) != fault.Mismatch {
		t.Errorf("a state of another shape: %v", err)
	}
}

// TestManySessions: sessions from many goroutines over one graph, closed while others run, give the right answers, and
// their memory goes back.
func TestManySessions(t *testing.T) {
	g := graph.New("many")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.D(1<<16))
	b.Output("y", b.Op("Exp", b.Op("Neg", b.Op("Cast", b.Op("NonZero", b.Op("Relu", x))))))
	g.Nodes[2].Attrs = []graph.Attr{graph.Int("to", 1)}
	shared, err := New(g, Config{})
	if err != nil {
		t.Fatal(err)
	}
	feed := tensor.New(tensor.Float32, 1<<16)
	feed.Float32s()[3] = 1
	check := func(s *Session) {
		out, err := s.Run(feed)
		if err != nil || out[0].Elems() != 1 || out[0].Float32s()[0] < 0.0497 || out[0].Float32s()[0] > 0.0499 {
			t.Errorf("%v: %v, want exp(-3)", err, out)
		}
	}
	n := 1000
	if testing.Short() {
		n = 100
	}
	maps := mappings(t)
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			for i := range n / 4 {
				s, err := New(g, Config{})
				if err != nil {
					t.Error(err)
					return
				}
				check(s)
				check(shared)
				s.Close()
				if i%16 == k {
					shared.Close() // a session that was closed plans anew
				}
			}
		})
	}
	wg.Wait()
	shared.Close()
	if now := mappings(t); now > maps+50 {
		t.Errorf("%d mappings before, %d after %d sessions", maps, now, n)
	}
	s, _ := New(g, Config{})
	defer s.Close()
	for _, out := range [][]*tensor.Tensor{{}, {tensor.New(tensor.Float32, 1, 2)}, {tensor.New(tensor.Int64, 1, 1)}, {nil}} {
		if err := s.RunInto([]*tensor.Tensor{feed}, out); fault.ClassOf(err) != fault.Mismatch {
			t.Errorf("outputs %v: %v", out, err)
		}
	}
	for _, in := range [][]*tensor.Tensor{nil, {nil}, {tensor.New(tensor.Float64, 1<<16)}, {tensor.New(tensor.Float32, 5)}} {
		if _, err := s.Run(in...); fault.ClassOf(err) != fault.Mismatch {
			t.Errorf("inputs %v: %v", in, err)
		}
	}
}

// mappings counts the memory mappings of this process; 0 where they cannot be read.
func mappings(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Log(err)
	}
	return strings.Count(string(b), "\n")
}
