package conformance

import (
	"cmp"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"testing"

	"muster/exec"
	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// A fuzzed case is a case of the ONNX project that is broken in a few places: operators with subgraphs, sequences and
// optionals among them. Whatever comes out, nothing panics, errors have a class, and where both the references and a
// session answer, they agree.

// caseDirs are the folders of the cases, and what holds them. MUSTER_CASES may name a folder with more of them.
func caseDirs(tb testing.TB) (fs.FS, []string) {
	files, closer, err := Open(cmp.Or(os.Getenv("MUSTER_CASES"), "../../op/testdata/node.zip"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closer.Close() })
	var dirs []string
	if err := fs.WalkDir(files, ".", func(name string, _ fs.DirEntry, err error) error {
		if path.Base(name) == "model.onnx" {
			dirs = append(dirs, path.Dir(name))
		}
		return err
	}); err != nil {
		tb.Fatal(err)
	}
	return files, dirs
}

// odd are numbers that files use to break readers: small ones, and ones that nothing can hold.
var odd = []int64{0, 1, -1, 2, 3, 5, -2, -7, 100, 1 << 40, -1 << 40, 1 << 62, math.MaxInt64, math.MinInt64}

type mutator struct {
	*rand.Rand
	g       *graph.Graph
	in      []*tensor.Tensor
	special bool // a NaN or an infinity went in: kernels may spread it further than the references
}

// float is a value for a float32.
func (m *mutator) float() float32 {
	x := []float32{0, -1, 1, 0.5, 2, 3, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}[m.IntN(9)]
	m.special = m.special || x-x != 0
	return x
}

func (m *mutator) odd() int64 { return odd[m.IntN(len(odd))] }

// nodes are those of g and of its subgraphs.
func nodes(g *graph.Graph) (ns []*graph.Node) {
	for _, n := range g.Nodes {
		ns = append(ns, n)
		n.Subgraphs(func(s *graph.Graph) { ns = append(ns, nodes(s)...) })
	}
	return ns
}

func (m *mutator) mutate() {
	ns := nodes(m.g)
	if len(ns) == 0 {
		return
	}
	n := ns[m.IntN(len(ns))]
	switch m.IntN(9) {
	case 0, 1:
		m.attr(n)
	case 2:
		m.rewire(n)
	case 3, 4:
		if len(m.in) > 0 {
			m.feed(m.IntN(len(m.in)))
		}
	case 5:
		if i := m.IntN(len(m.g.Inits) + 1); i < len(m.g.Inits) {
			m.g.Inits[i].Const = m.data(m.g.Inits[i].Const)
		}
	case 6:
		m.g.Model.Opsets[""] = 7 + m.IntN(21)
	case 7: // an input becomes a constant: other branches of the shape rules and of the kernels' choice
		if len(m.in) == 0 {
			return
		}
		i := m.IntN(len(m.in))
		if v := m.g.Inputs[i]; !v.DType.IsContainer() {
			v.Const = m.in[i]
			m.g.Inits = append(m.g.Inits, v)
			m.g.Inputs = append(m.g.Inputs[:i:i], m.g.Inputs[i+1:]...)
			m.in = append(m.in[:i:i], m.in[i+1:]...)
		}
	case 8:
		if i := m.IntN(len(n.Outputs) + 1); i > 0 && i < len(n.Outputs) {
			n.Outputs[i] = nil
		}
	}
}

func (m *mutator) attr(n *graph.Node) {
	if len(n.Attrs) == 0 {
		return
	}
	i := m.IntN(len(n.Attrs))
	a := &n.Attrs[i]
	switch {
	case m.IntN(4) == 0:
		n.Attrs = append(n.Attrs[:i:i], n.Attrs[i+1:]...)
	case a.Kind == graph.AttrInt:
		a.I = m.odd()
	case a.Kind == graph.AttrInts && len(a.Ints) > 0:
		a.Ints = append([]int64{}, a.Ints...)
		a.Ints[m.IntN(len(a.Ints))] = m.odd()
	case a.Kind == graph.AttrInts:
		a.Ints = []int64{m.odd()}
	case a.Kind == graph.AttrFloat:
		a.F = m.float()
	case a.Kind == graph.AttrString:
		a.S = []byte([]string{"", "linear", "reverse", "SAME_UPPER", "VALID", "add", "max", "\xff"}[m.IntN(8)])
	case a.Kind == graph.AttrTensor:
		a.T = m.data(a.T)
	}
}

// rewire lets an input of n be absent, or another value of the graph.
func (m *mutator) rewire(n *graph.Node) {
	if len(n.Inputs) == 0 {
		return
	}
	i := m.IntN(len(n.Inputs))
	switch m.IntN(3) {
	case 0:
		n.Inputs[i] = nil
	case 1:
		n.Inputs = n.Inputs[:i]
	default:
		from := append(append([]*graph.Value{}, m.g.Inputs...), m.g.Inits...)
		for _, k := range m.g.Nodes {
			from = append(from, k.Outputs...)
		}
		if len(from) > 0 {
			n.Inputs[i] = from[m.IntN(len(from))]
		}
	}
}

// feed changes the type, the shape or the data of an input, and what the file says of it.
func (m *mutator) feed(i int) {
	v, t := m.g.Inputs[i], m.in[i]
	if t.DType.IsContainer() {
		if len(t.Items) > 0 {
			k := m.IntN(len(t.Items))
			t.Items = append(append([]*tensor.Tensor{}, t.Items[:k]...), t.Items[k+1:]...)
		}
		return
	}
	shape, d := t.Shape.Clone(), t.DType
	switch k := m.IntN(6); {
	case k < 3:
		m.in[i] = m.data(t)
		return
	case k == 3:
		d = []tensor.DType{1, 2, 3, 6, 7, 9, 10, 11, 13, 16}[m.IntN(10)]
	case k == 4 && len(shape) > 0:
		shape[m.IntN(len(shape))] = m.IntN(4)
	case len(shape) > 0 && m.IntN(2) == 0:
		shape = shape[:len(shape)-1]
	default:
		shape = append(shape, m.IntN(3))
	}
	x := tensor.New(d, shape...)
	for k := range x.Data {
		if d == tensor.Bool || d.Bits() == 8 {
			x.Data[k] = byte(m.IntN(2))
		}
	}
	if d.IsFloat() && t.DType.IsFloat() && x.Elems() > 0 && t.Elems() > 0 && d == t.DType {
		for k := 0; k < len(x.Data); k++ {
			x.Data[k] = t.Data[k%len(t.Data)]
		}
	}
	m.in[i] = x
	v.SetStatic(d, shape)
}

// data changes an element.
func (m *mutator) data(t *tensor.Tensor) *tensor.Tensor {
	if t == nil || t.Elems() == 0 {
		return t
	}
	t = t.Clone()
	i := m.IntN(t.Elems())
	switch t.DType {
	case tensor.Int64:
		t.Int64s()[i] = m.odd()
	case tensor.Int32:
		t.Int32s()[i] = int32(m.odd())
	case tensor.Float32:
		t.Float32s()[i] = m.float()
	case tensor.Bool:
		t.Data[i] ^= 1
	case tensor.Uint8, tensor.Int8:
		t.Data[i] = byte(m.Uint32())
	}
	return t
}

func FuzzCase(f *testing.F) {
	files, dirs := caseDirs(f)
	for i := 0; i < len(dirs); i += 29 {
		f.Add(uint64(i), uint64(i))
	}
	f.Fuzz(func(t *testing.T, which, seed uint64) {
		dir := dirs[which%uint64(len(dirs))]
		b, err := fs.ReadFile(files, dir+"/model.onnx")
		if err != nil {
			t.Fatal(err)
		}
		g, err := graph.Decode(b)
		if err != nil {
			return // strings, sparse tensors
		}
		in, err := values(files, dir+"/test_data_set_0", "input", g.Inputs)
		if err != nil {
			return
		}
		m := &mutator{Rand: rand.New(rand.NewPCG(seed, which)), g: g, in: in}
		for n := 1 + m.IntN(3); n > 0; n-- {
			m.mutate()
		}
		if b, err = g.Encode(); err != nil {
			return
		}
		if g, err = graph.Decode(b); err != nil {
			classed(t, dir, err)
			return
		}
		if len(g.Inputs) == len(m.in) {
			attempt(t, dir, g, m.in, m.special)
		}
	})
}

func classed(t *testing.T, dir string, err error) {
	t.Helper()
	if err != nil && fault.ClassOf(err) == fault.Internal {
		t.Fatalf("%s: an error without a class: %v", dir, err)
	}
}

// attempt runs g by a session and, if that has an answer and not too much to do, by the references.
func attempt(t *testing.T, dir string, g *graph.Graph, in []*tensor.Tensor, special bool) {
	t.Helper()
	s, err := exec.New(g, exec.Config{MaxSteps: 200})
	if err != nil {
		classed(t, dir, err)
		return
	}
	defer s.Close()
	r, err := s.Plan(in...)
	if err != nil {
		classed(t, dir, err)
		return
	}
	if r.Flops > 1<<27 || r.ArenaBytes > 1<<26 {
		return
	}
	got, err := s.Run(in...)
	if err != nil {
		classed(t, dir, err)
		return
	}
	want, err := exec.Eval(g, in)
	classed(t, dir, err)
	if special || uses(g, "Dropout") { // inference takes a Dropout out before its ratio is looked at
		return
	}
	if err != nil {
		t.Fatalf("%s: the session answers, the references say %v", dir, err)
	}
	for _, w := range want {
		for i := range w.Elems() {
			if w.DType.IsFloat() && math.IsNaN(w.Float(i)) {
				return // rows that are masked as a whole: NaN by the formula, 0 from the fused kernel
			}
		}
	}
	if err := compare("training_dropout", g, got, want); err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
}
