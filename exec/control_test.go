package exec

import (
	"testing"

	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// sub makes a subgraph; f appends its nodes and returns its outputs.
func sub(name string, f func(b *graph.Builder) []*graph.Value) *graph.Graph {
	g := &graph.Graph{Name: name}
	b := graph.NewBuilder(g)
	b.Prefix = name + "/"
	g.Outputs = f(b)
	return g
}

func graphAttr(name string, g *graph.Graph) graph.Attr {
	return graph.Attr{Name: name, Kind: graph.AttrGraph, G: g}
}

func f32(v ...float32) *tensor.Tensor { return tensor.OfFloat32(v, len(v)) }
func i64(v int64) *tensor.Tensor      { return tensor.OfInt64([]int64{v}) }
func boolean(v bool) *tensor.Tensor   { return tensor.OfBool([]bool{v}) }

// agree runs g by the references and twice by one session, with and without passes, and compares with want.
func agree(t *testing.T, g *graph.Graph, s *Session, in, want []*tensor.Tensor) {
	t.Helper()
	got, err := Eval(g, in)
	if err != nil {
		t.Fatalf("Eval: %v", err)
	}
	check := func(by string, got []*tensor.Tensor) {
		t.Helper()
		for i := range want {
			if d := tensor.Diff(got[i], want[i], 1e-6, 1e-6); d != "" {
				t.Errorf("%s, output %d: %s", by, i, d)
			}
		}
	}
	check("Eval", got)
	for range 2 {
		if got, err = s.Run(in...); err != nil {
			t.Fatalf("Run: %v", err)
		}
		check("Run", got)
	}
}

func session(t *testing.T, g *graph.Graph, cfg Config) *Session {
	t.Helper()
	if err := g.Verify(); err != nil {
		t.Fatal(err)
	}
	s, err := New(g, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// ifGraph is cond ? x + w : concat(x, x), where w is an initialiser outside and x is captured.
func ifGraph(constant *tensor.Tensor) *graph.Graph {
	g := graph.New("if")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.Sym("N"))
	var cond *graph.Value
	if constant != nil {
		cond = b.Op("Not", b.Op("Not", b.Init("c", constant)))
	} else {
		cond = b.Input("cond", tensor.Bool)
	}
	w := b.Init("w", f32(10))
	y := b.Op("Neg", x)
	z := b.OpA("If", []graph.Attr{
		graphAttr("then_branch", sub("then", func(b *graph.Builder) []*graph.Value { return []*graph.Value{b.Op("Add", y, w)} })),
		graphAttr("else_branch", sub("else", func(b *graph.Builder) []*graph.Value {
			return []*graph.Value{b.OpA("Concat", []graph.Attr{graph.Int("axis", 0)}, y, x)}
		})),
	}, cond)
	b.Output("z", b.Op("Mul", z, z))
	return g
}

func TestIf(t *testing.T) {
	g := ifGraph(nil)
	s := session(t, g, Config{})
	x := f32(1, 2)
	for range 2 {
		agree(t, g, s, []*tensor.Tensor{x, boolean(true)}, []*tensor.Tensor{f32(81, 64)})
		agree(t, g, s, []*tensor.Tensor{x, boolean(false)}, []*tensor.Tensor{f32(1, 4, 1, 4)})
	}
	for _, c := range []bool{true, false} {
		g := ifGraph(boolean(c))
		s := session(t, g, Config{})
		want := f32(81, 64)
		if !c {
			want = f32(1, 4, 1, 4)
		}
		agree(t, g, s, []*tensor.Tensor{x}, []*tensor.Tensor{want})
		r, err := s.Plan(x)
		if err != nil || r.Later != 0 || r.Reference["If"] != 0 {
			t.Errorf("with a constant condition the plan is %v, %v", r, err)
		}
	}
	if _, err := s.Run(x, tensor.New(tensor.Bool, 2)); fault.ClassOf(err) != fault.Mismatch {
		t.Errorf("two conditions: %v", err)
	}
}

// loopGraph adds up k*(i+1) while the sum stays below a bound, and puts out every sum; M and k are fed.
func loopGraph() *graph.Graph {
	g := graph.New("loop")
	b := graph.NewBuilder(g)
	m := b.Input("M", tensor.Int64)
	k := b.Input("k", tensor.Float32, graph.D(1))
	start := b.Init("start", f32(0))
	cond := b.Init("on", boolean(true))
	body := sub("body", func(b *graph.Builder) []*graph.Value {
		i := b.Input("i", tensor.Int64)
		b.Input("c", tensor.Bool)
		sum := b.Input("sum", tensor.Float32, graph.D(1))
		step := b.Op("Mul", k, b.OpA("Cast", []graph.Attr{graph.Int("to", int64(tensor.Float32))}, b.Op("Add", i, b.Init("one", i64(1)))))
		next := b.Op("Add", sum, step)
		bound := b.Op("Squeeze", b.Op("Less", next, b.Init("bound", f32(20))))
		return []*graph.Value{bound, next, b.Op("Identity", next)}
	})
	out := b.Node("", "Loop", 2, []*graph.Value{m, cond, start}, graphAttr("body", body))
	b.Output("last", out[0])
	b.Output("all", out[1])
	return g
}

func TestLoop(t *testing.T) {
	g := loopGraph()
	s := session(t, g, Config{MaxSteps: 50})
	col := func(v ...float32) *tensor.Tensor { return tensor.OfFloat32(v, len(v), 1) }
	agree(t, g, s, []*tensor.Tensor{i64(3), f32(1)}, []*tensor.Tensor{f32(6), col(1, 3, 6)})
	agree(t, g, s, []*tensor.Tensor{i64(30), f32(1)}, []*tensor.Tensor{f32(21), col(1, 3, 6, 10, 15, 21)})
	agree(t, g, s, []*tensor.Tensor{i64(0), f32(1)}, []*tensor.Tensor{f32(0), col()})
	agree(t, g, s, []*tensor.Tensor{i64(-5), f32(1)}, []*tensor.Tensor{f32(0), col()})
	_, err := s.Run(i64(1<<40), f32(0))
	if fault.ClassOf(err) != fault.Exhausted {
		t.Errorf("a loop without end: %v", err)
	}
	agree(t, g, s, []*tensor.Tensor{i64(1), f32(2)}, []*tensor.Tensor{f32(2), col(2)})
}

// TestLoopGrows: the carried value gets longer in every iteration, inside an outer loop that captures through two levels.
func TestLoopGrows(t *testing.T) {
	g := graph.New("grow")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.D(1))
	n := b.Init("n", i64(2))
	axis := []graph.Attr{graph.Int("axis", 0)}
	outer := sub("outer", func(b *graph.Builder) []*graph.Value {
		b.Input("i", tensor.Int64)
		c := b.Input("c", tensor.Bool)
		y := b.Input("y", tensor.Float32, graph.Dim{Size: -1})
		inner := sub("inner", func(b *graph.Builder) []*graph.Value {
			j := b.Input("j", tensor.Int64)
			d := b.Input("d", tensor.Bool)
			z := b.Input("z", tensor.Float32, graph.Dim{Size: -1})
			scaled := b.Op("Mul", x, b.OpA("Cast", []graph.Attr{graph.Int("to", int64(tensor.Float32))}, j))
			return []*graph.Value{b.Op("Identity", d), b.OpA("Concat", axis, z, b.Op("Add", scaled, x))}
		})
		grown := b.OpA("Loop", []graph.Attr{graphAttr("body", inner)}, n, nil, y)
		return []*graph.Value{b.Op("Identity", c), grown}
	})
	out := b.OpA("Loop", []graph.Attr{graphAttr("body", outer)}, n, nil, x)
	b.Output("y", b.Op("ReduceSum", b.OpA("Concat", axis, out, x)))
	b.Output("grown", out)
	s := session(t, g, Config{})
	agree(t, g, s, []*tensor.Tensor{f32(5)}, []*tensor.Tensor{tensor.OfFloat32([]float32{40}, 1), f32(5, 5, 10, 5, 10)})
	if s.r.env.cfg.MaxSteps != maxSteps {
		t.Error("there is no limit")
	}
}

func TestScan(t *testing.T) {
	g := graph.New("scan")
	b := graph.NewBuilder(g)
	start := b.Init("start", f32(0, 0))
	x := b.Input("x", tensor.Float32, graph.D(2), graph.Sym("T"))
	w := b.Input("w", tensor.Float32, graph.D(1))
	body := sub("body", func(b *graph.Builder) []*graph.Value {
		s := b.Input("s", tensor.Float32, graph.D(2))
		r := b.Input("r", tensor.Float32, graph.D(2))
		next := b.Op("Add", s, b.Op("Mul", r, w))
		return []*graph.Value{next, b.Op("Identity", next)}
	})
	out := b.Node("", "Scan", 2, []*graph.Value{start, x}, graphAttr("body", body), graph.Int("num_scan_inputs", 1),
		graph.Ints("scan_input_axes", -1), graph.Ints("scan_input_directions", 1), graph.Ints("scan_output_axes", 1), graph.Ints("scan_output_directions", 1))
	b.Output("last", out[0])
	b.Output("all", out[1])
	s := session(t, g, Config{})
	in := tensor.OfFloat32([]float32{1, 2, 3, 4, 5, 6}, 2, 3)
	agree(t, g, s, []*tensor.Tensor{in, f32(2)}, []*tensor.Tensor{f32(12, 30), tensor.OfFloat32([]float32{12, 10, 6, 30, 22, 12}, 2, 3)})
	agree(t, g, s, []*tensor.Tensor{tensor.New(tensor.Float32, 2, 0), f32(2)}, []*tensor.Tensor{f32(0, 0), tensor.New(tensor.Float32, 2, 0)})
}

// segmentGraph has nodes whose shapes the data decide, in two segments.
func segmentGraph() *graph.Graph {
	g := graph.New("segments")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.Dim{Size: -1}) // an axis without a name
	count := b.Input("count", tensor.Int64)
	shape := b.Input("shape", tensor.Int64, graph.D(2))
	double := b.Op("Add", x, x)
	at := b.Op("Transpose", b.Op("NonZero", b.Op("Relu", double))) // [K, 1]
	picked := b.Op("GatherND", double, at)                         // [K]
	steps := b.Op("Range", b.Init("zero", i64(0)), count, b.Init("one", i64(1)))
	total := b.Op("Add", b.Op("ReduceSum", picked), b.OpA("Cast", []graph.Attr{graph.Int("to", int64(tensor.Float32))}, b.Op("ReduceSum", steps)))
	twice := b.Op("Transpose", b.Op("NonZero", picked)) // in the second segment
	b.Output("total", total)
	b.Output("picked", b.Op("GatherND", picked, twice))
	b.Output("shaped", b.Op("Sqrt", b.Op("Mul", b.Op("Reshape", double, shape), b.Op("Reshape", double, shape))))
	return g
}

// TestSegments: shapes that depend on data, one after the other, with values that change from run to run.
func TestSegments(t *testing.T) {
	g := segmentGraph()
	s := session(t, g, Config{MaxPlans: 2})
	run := func(count int64, shape []int64, x []float32, picked []float32) {
		t.Helper()
		sum := float32(count * (count - 1) / 2)
		for _, v := range picked {
			sum += v
		}
		abs := make([]float32, len(x))
		for i, v := range x {
			abs[i] = max(2*v, -2*v)
		}
		agree(t, g, s, []*tensor.Tensor{f32(x...), i64(count), tensor.OfInt64(shape, 2)},
			[]*tensor.Tensor{tensor.OfFloat32([]float32{sum}, 1), f32(picked...), tensor.OfFloat32(abs, int(shape[0]), len(x)/int(shape[0]))})
	}
	for i := range 3 {
		run(4, []int64{2, 2}, []float32{1, -1, 2, 0}, []float32{2, 4})
		run(5, []int64{1, -1}, []float32{-1, -1, -2, 0}, nil)
		run(int64(i), []int64{4, 1}, []float32{1, 1, 2, 3}, []float32{2, 2, 4, 6})
		run(3, []int64{3, -1}, []float32{1, -1, 1, 2, -3, 7}, []float32{2, 2, 4, 14})
	}
	if _, err := s.Run(f32(1, 2, 3, 4), i64(2), tensor.OfInt64([]int64{3, 2}, 2)); fault.ClassOf(err) != fault.Mismatch {
		t.Errorf("a shape that does not fit: %v", err)
	}
	r, err := s.Plan(f32(1, 2, 3, 4), i64(2), tensor.OfInt64([]int64{3, 2}, 2))
	if err != nil || r.Later == 0 {
		t.Errorf("the plan is %v, %v", r, err)
	}
}

// TestManySegments: a chain longer than runners are nested.
func TestManySegments(t *testing.T) {
	g := graph.New("chain")
	b := graph.NewBuilder(g)
	v := b.Input("x", tensor.Float32, graph.Dim{Size: -1})
	for range maxSegments + 20 {
		v = b.Op("GatherND", v, b.Op("Transpose", b.Op("NonZero", v)))
	}
	b.Output("y", v)
	s := session(t, g, Config{})
	agree(t, g, s, []*tensor.Tensor{f32(1, 0, 3)}, []*tensor.Tensor{f32(1, 3)})
}

// sequenceGraph collects the doubled rows of x in a sequence, in a loop, and negates them.
func sequenceGraph() *graph.Graph {
	g := graph.New("sequences")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.Sym("N"), graph.D(2))
	n := b.Input("n", tensor.Int64)
	rows := b.OpA("SplitToSequence", []graph.Attr{graph.Int("axis", 0)}, x)
	empty := b.OpA("SequenceEmpty", []graph.Attr{graph.Int("dtype", int64(tensor.Float32))})
	// Collect the rows in reverse order, doubled.
	body := sub("body", func(b *graph.Builder) []*graph.Value {
		i := b.Input("i", tensor.Int64)
		c := b.Input("c", tensor.Bool)
		s := &graph.Value{Name: "body/s", DType: tensor.Sequence, Shape: []graph.Dim{}, Elem: &graph.Type{DType: tensor.Float32}}
		b.G.Inputs = append(b.G.Inputs, s)
		row := b.Op("SequenceAt", rows, i)
		return []*graph.Value{b.Op("Identity", c), b.Op("SequenceInsert", s, b.Op("Add", row, row), b.Init("front", i64(0)))}
	})
	all := b.OpA("Loop", []graph.Attr{graphAttr("body", body)}, n, nil, empty)
	mapped := b.OpA("SequenceMap", []graph.Attr{graphAttr("body", sub("map", func(b *graph.Builder) []*graph.Value {
		return []*graph.Value{b.Op("Neg", b.Input("item", tensor.Float32, graph.D(1), graph.D(2)))}
	}))}, all)
	b.Output("y", b.OpA("ConcatFromSequence", []graph.Attr{graph.Int("axis", 0)}, mapped))
	b.Output("seq", b.Op("SequenceErase", mapped, b.Init("first", i64(0))))
	b.Output("length", b.Op("SequenceLength", all))
	return g
}

func TestSequences(t *testing.T) {
	g := sequenceGraph()
	s := session(t, g, Config{})
	in := tensor.OfFloat32([]float32{1, 2, 3, 4, 5, 6}, 3, 2)
	items := &tensor.Tensor{DType: tensor.Sequence, Shape: tensor.Shape{}, Items: []*tensor.Tensor{tensor.OfFloat32([]float32{-2, -4}, 1, 2)}}
	agree(t, g, s, []*tensor.Tensor{in, i64(2)}, []*tensor.Tensor{tensor.OfFloat32([]float32{-6, -8, -2, -4}, 2, 2), items, i64(2)})
	if _, err := s.Run(in, i64(7)); fault.ClassOf(err) != fault.Mismatch {
		t.Errorf("a position outside: %v", err)
	}
	c, err := g.Encode()
	if err != nil {
		t.Fatal(err)
	}
	h, err := graph.Decode(c)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, h, session(t, h, Config{}), []*tensor.Tensor{in, i64(2)}, []*tensor.Tensor{tensor.OfFloat32([]float32{-6, -8, -2, -4}, 2, 2), items, i64(2)})
}

// TestFunctionWithSubgraph: the body of a function has an If whose branches read the function's input and attribute.
func TestFunctionWithSubgraph(t *testing.T) {
	f := graph.New("f")
	fb := graph.NewBuilder(f)
	x, c := fb.Input("x", tensor.Float32), fb.Input("c", tensor.Bool)
	x.Shape, c.Shape = nil, nil
	y := fb.Op("Exp", x)
	scale := graph.Attr{Name: "value_float", Kind: graph.AttrFloat, Ref: "scale"}
	fb.G.Outputs = []*graph.Value{fb.OpA("If", []graph.Attr{
		graphAttr("then_branch", sub("then", func(b *graph.Builder) []*graph.Value {
			return []*graph.Value{b.Op("Mul", y, b.OpA("Constant", []graph.Attr{scale}))}
		})),
		graphAttr("else_branch", sub("else", func(b *graph.Builder) []*graph.Value { return []*graph.Value{b.Op("Neg", x)} })),
	}, c)}
	g := graph.New("calls")
	b := graph.NewBuilder(g)
	in, cond := b.Input("x", tensor.Float32, graph.Sym("N")), b.Input("c", tensor.Bool)
	var sum *graph.Value
	for i := 2; i < 4; i++ {
		v := b.Node("own", "F", 1, []*graph.Value{in, cond}, graph.Float("scale", float32(i)))[0]
		if sum == nil {
			sum = v
			continue
		}
		b.Output("sum", b.Op("Add", sum, v))
	}
	f.Model = nil
	g.Model.Functions = []*graph.Function{{Domain: "own", Name: "F", AttrNames: []string{"scale"}, Opsets: map[string]int{"": graph.Opset}, Body: f}}
	s := session(t, g, Config{})
	agree(t, g, s, []*tensor.Tensor{f32(0, 0), boolean(true)}, []*tensor.Tensor{f32(5, 5)})
	agree(t, g, s, []*tensor.Tensor{f32(1, 2), boolean(false)}, []*tensor.Tensor{f32(-2, -4)})
}

// TestUnboundInputs: an input of unknown rank, or without a type, is bound by what is fed.
func TestUnboundInputs(t *testing.T) {
	g := graph.New("free")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Undefined)
	x.Shape = nil
	b.Output("y", b.Op("Add", x, x))
	s := session(t, g, Config{})
	agree(t, g, s, []*tensor.Tensor{f32(1, 2)}, []*tensor.Tensor{f32(2, 4)})
	agree(t, g, s, []*tensor.Tensor{tensor.OfFloat64([]float64{1, 2, 3, 4}, 2, 2)}, []*tensor.Tensor{tensor.OfFloat64([]float64{2, 4, 6, 8}, 2, 2)})
}

// tiny is a graph of ten element-wise nodes that nothing fuses.
func tiny() *graph.Graph {
	g := graph.New("tiny")
	b := graph.NewBuilder(g)
	v := b.Input("x", tensor.Float32, graph.D(8))
	for i := range 10 {
		v = b.Op([]string{"Neg", "Abs"}[i%2], v)
	}
	b.Output("y", v)
	return g
}

func BenchmarkTenNodes(b *testing.B) {
	s, err := New(tiny(), Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	in, out := []*tensor.Tensor{tensor.New(tensor.Float32, 8)}, []*tensor.Tensor{tensor.New(tensor.Float32, 8)}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.RunInto(in, out); err != nil {
			b.Fatal(err)
		}
	}
}

// TestLift: the graph that was lifted still verifies, and says so of what it does not take.
func TestLift(t *testing.T) {
	g, _ := ifGraph(nil).Clone()
	if err := op.Lift(g); err != nil {
		t.Fatal(err)
	}
	if err := g.Verify(); err != nil {
		t.Error(err)
	}
	for _, n := range g.Nodes {
		if n.Op == "If" && (len(n.Inputs) != 3 || len(n.Captured()) != 0) {
			t.Errorf("an If with %d inputs that captures %d", len(n.Inputs), len(n.Captured()))
		}
	}
	if err := op.Lift(g); fault.ClassOf(err) != fault.Malformed {
		t.Errorf("lifted again: %v", err)
	}
}
