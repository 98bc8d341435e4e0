package graph

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"muster/fault"
	"muster/onnx"
	"muster/tensor"
)

// sample has every kind of attribute, a subgraph that captures a value, a function and a symbolic axis.
func sample() *Graph {
	g := New("sample")
	b := NewBuilder(g)
	x := b.Input("x", tensor.Float32, Sym("B"), D(3))
	w := b.Init("w", tensor.OfFloat32([]float32{1, 2, 3, 4, 5, 6}, 3, 2))
	y := b.Op("MatMul", x, w)
	cond := b.Init("cond", tensor.OfBool([]bool{true}))
	branch := func(scale float32) *Graph {
		s := &Graph{Name: "branch"}
		sb := &Builder{G: s, Prefix: "in_", used: map[string]bool{}, serial: map[string]int{}}
		if scale > 1 {
			sb.Prefix = "other_"
		}
		s.Outputs = []*Value{sb.Op("Mul", y, sb.Scalar(scale))}
		return s
	}
	z := b.OpA("If", []Attr{{Name: "then_branch", Kind: AttrGraph, G: branch(1)}, {Name: "else_branch", Kind: AttrGraph, G: branch(2)}}, cond)
	z = b.OpA("Odd", []Attr{Int("i", 0), Int("j", -7), Float("f", 0), Float("h", 1.5), Str("s", ""), Str("t", "text"), Ints("is", 1, -2, 3),
		{Name: "fs", Kind: AttrFloats, Floats: []float32{1, 2}}, {Name: "ss", Kind: AttrStrings, Strings: [][]byte{[]byte("a"), nil}},
		Ten("v", tensor.OfInt64([]int64{1, 2}, 2))}, z, nil, x)
	b.Output("z", z)
	f := &Function{Domain: Domain, Name: "Twice", AttrNames: []string{"axis"}, Opsets: map[string]int{"": Opset}}
	fg := New("Twice")
	fb := NewBuilder(fg)
	in := fb.Input("a", tensor.Undefined)
	in.Shape = nil
	fg.Outputs = []*Value{fb.Op("Mul", in, fb.Scalar(2))}
	f.Body = fg
	g.Model.Functions = []*Function{f}
	g.Model.Metadata = []Property{{"key", "value"}, {"", ""}}
	return g
}

func encoded(t testing.TB, g *Graph) []byte {
	t.Helper()
	b, err := g.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	a := encoded(t, sample())
	if !bytes.Equal(a, encoded(t, sample())) {
		t.Error("the same graph gives two files")
	}
	g, err := Decode(a)
	if err != nil {
		t.Fatal(err)
	}
	if b := encoded(t, g); !bytes.Equal(a, b) {
		t.Errorf("decoded and encoded again: %d bytes, were %d", len(b), len(a))
	}
	if n := g.Nodes[len(g.Nodes)-1]; n.Int("j", 0) != -7 || n.Str("t", "") != "text" || n.In(1) != nil || n.Attr("i").Kind != AttrInt {
		t.Errorf("attributes were lost: %+v", n.Attrs)
	}
}

func TestUnknownFieldsSurvive(t *testing.T) {
	m, err := onnx.Unmarshal(encoded(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	m.Unknown = []byte{0xfa, 0x06, 0x01, 'x'} // field 111
	m.Graph.Node[0].Unknown = []byte{0xfa, 0x06, 0x01, 'y'}
	b := m.Marshal()
	g, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, encoded(t, g)) {
		t.Error("unknown fields were lost")
	}
}

// TestTruncation cuts the file at every byte: an error with a class, never a panic.
func TestTruncation(t *testing.T) {
	b := encoded(t, sample())
	for n := 0; n < len(b); n++ {
		if g, err := Decode(b[:n]); err != nil && fault.ClassOf(err) == fault.Internal {
			t.Fatalf("cut at %d: %v has no class", n, err)
		} else if err == nil && g.Model == nil {
			t.Fatalf("cut at %d: no model", n)
		}
	}
	for i := range b {
		c := append([]byte{}, b...)
		c[i] ^= 0xff
		if _, err := Decode(c); err != nil && fault.ClassOf(err) == fault.Internal {
			t.Fatalf("flipped byte %d: %v has no class", i, err)
		}
	}
}

func TestHostileModels(t *testing.T) {
	change := func(f func(m *onnx.ModelProto)) []byte {
		m, err := onnx.Unmarshal(encoded(t, sample()))
		if err != nil {
			t.Fatal(err)
		}
		f(m)
		return m.Marshal()
	}
	for _, c := range []struct {
		name  string
		class fault.Class
		f     func(m *onnx.ModelProto)
	}{
		{"negative axis", fault.Malformed, func(m *onnx.ModelProto) { m.Graph.Initializer[0].Dims = []int64{-1} }},
		{"product overflows", fault.Exhausted, func(m *onnx.ModelProto) { m.Graph.Initializer[0].Dims = []int64{1 << 40, 1 << 40} }},
		{"more data declared than there is", fault.Malformed, func(m *onnx.ModelProto) { m.Graph.Initializer[0].Dims = []int64{1 << 20} }},
		{"unknown element type", fault.Unsupported, func(m *onnx.ModelProto) { m.Graph.Initializer[0].DataType = 99 }},
		{"strings", fault.Unsupported, func(m *onnx.ModelProto) { m.Graph.Initializer[0].DataType = 8 }},
		{"a value made twice", fault.Malformed, func(m *onnx.ModelProto) { m.Graph.Node[0].Output[0] = "x" }},
		{"an input made by nothing", fault.Malformed, func(m *onnx.ModelProto) { m.Graph.Node[0].Input[1] = "nowhere" }},
		{"an output made by nothing", fault.Malformed, func(m *onnx.ModelProto) { m.Graph.Output[0].Name = "nowhere" }},
		{"a cycle", fault.Malformed, func(m *onnx.ModelProto) { m.Graph.Node[0].Input[0] = "z" }},
		{"no graph", fault.Malformed, func(m *onnx.ModelProto) { m.Graph = nil }},
		{"opset 3", fault.Unsupported, func(m *onnx.ModelProto) { m.OpsetImport = []onnx.OperatorSetIdProto{{Version: 3}} }},
		{"no operator", fault.Malformed, func(m *onnx.ModelProto) { m.Graph.Node[0].OpType = "" }},
		{"an attribute given twice", fault.Malformed, func(m *onnx.ModelProto) {
			a := &onnx.AttributeProto{Name: "axis", Type: 2, I: 1}
			m.Graph.Node[0].Attribute = append(m.Graph.Node[0].Attribute, a, a)
		}},
		{"external data in memory", fault.Unsupported, func(m *onnx.ModelProto) { m.Graph.Initializer[0].DataLocation = 1 }},
	} {
		_, err := Decode(change(c.f))
		if err == nil {
			t.Errorf("%s: accepted", c.name)
		} else if got := fault.ClassOf(err); got != c.class {
			t.Errorf("%s: %s (%v), want %s", c.name, got, err, c.class)
		}
	}
}

func TestExternalDataStaysInTheFolder(t *testing.T) {
	dir := t.TempDir()
	inside := filepath.Join(dir, "model")
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 40)
	data[16] = 7
	for _, p := range []string{filepath.Join(inside, "w.bin"), filepath.Join(dir, "secret.bin")} {
		if err := os.WriteFile(p, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../secret.bin", filepath.Join(inside, "link.bin")); err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Unmarshal(encoded(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	load := func(location, offset, length string) error {
		w := m.Graph.Initializer[0]
		w.RawData, w.HasRaw, w.DataLocation = nil, false, 1
		w.ExternalData = []onnx.StringStringEntryProto{{Key: "location", Value: location}, {Key: "offset", Value: offset}, {Key: "length", Value: length}}
		path := filepath.Join(inside, "m.onnx")
		if err := os.WriteFile(path, m.Marshal(), 0o644); err != nil {
			t.Fatal(err)
		}
		g, err := Load(path)
		if err == nil && g.Inits[0].Const.Data[0] != 7 {
			t.Errorf("%s: wrong bytes", location)
		}
		return err
	}
	if err := load("w.bin", "16", "24"); err != nil {
		t.Error(err)
	}
	for _, c := range [][3]string{{"../secret.bin", "16", "24"}, {"link.bin", "16", "24"}, {"/etc/passwd", "0", "24"}, {"w.bin", "17", "24"},
		{"w.bin", "-1", "24"}, {"w.bin", "16", "23"}, {"w.bin", "9223372036854775807", "24"}, {"", "0", "24"}, {".", "0", "24"}} {
		if err := load(c[0], c[1], c[2]); err == nil {
			t.Errorf("%v: accepted", c)
		}
	}
}

func TestSaveIsAtomic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := sample().Save(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err != nil {
		t.Error(err)
	}
	if err := sample().Save(filepath.Join(path, "x.onnx")); fault.ClassOf(err) != fault.Exhausted {
		t.Errorf("saving below a file: %v", err)
	}
	left, _ := os.ReadDir(filepath.Dir(path))
	if len(left) != 1 {
		t.Errorf("%d files are left", len(left))
	}
}

func TestSortFindsCycles(t *testing.T) {
	g := New("cycle")
	b := NewBuilder(g)
	x := b.Input("x", tensor.Float32)
	p := b.Op("Exp", x)
	q := b.Op("Add", p, x)
	q.Producer.Inputs[1] = b.Op("Neg", q)
	b.Output("y", q)
	if err := g.Sort(); fault.ClassOf(err) != fault.Malformed {
		t.Errorf("a cycle: %v", err)
	}
}

func TestCloneIsDeep(t *testing.T) {
	g := sample()
	want := encoded(t, g)
	c, m := g.Clone()
	c.Nodes[0].Op = "Changed"
	c.Inputs[0].Name = "changed"
	c.Nodes[1].Attrs[0].G.Nodes[0].Op = "Changed"
	if !bytes.Equal(want, encoded(t, g)) {
		t.Error("changing the copy changed the original")
	}
	if m[g.Inputs[0]] != c.Inputs[0] {
		t.Error("the map does not lead to the copy")
	}
}

func TestReplaceAndPrune(t *testing.T) {
	g := New("r")
	b := NewBuilder(g)
	x := b.Input("x", tensor.Float32, D(1))
	dead := b.Op("Exp", x)
	y := b.Op("Neg", dead)
	b.Output("y", y)
	z := b.Op("Abs", x)
	g.Replace(y, z)
	g.Prune()
	if len(g.Nodes) != 1 || g.Nodes[0].Op != "Abs" || g.Outputs[0].Name != "y" {
		t.Errorf("%d nodes, output %q", len(g.Nodes), g.Outputs[0].Name)
	}
	if err := g.Verify(); err != nil {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encoded(f, sample()))
	g := New("one")
	b := NewBuilder(g)
	b.Output("y", b.Op("Exp", b.Input("x", tensor.Float32, Sym("N"))))
	f.Add(encoded(f, g))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := Decode(b)
		if err != nil {
			if fault.ClassOf(err) == fault.Internal {
				t.Fatalf("an error without a class: %v", err)
			}
			return
		}
		a, err := g.Encode()
		if err != nil {
			t.Fatalf("a decoded model does not encode: %v", err)
		}
		h, err := Decode(a)
		if err != nil {
			t.Fatalf("an encoded model does not decode: %v", err)
		}
		c, err := h.Encode()
		if err != nil || !bytes.Equal(a, c) {
			t.Fatalf("encoding is not stable: %v", err)
		}
	})
}

// FuzzDecodeValue reads tensors, sequences and optionals of test data and input files.
func FuzzDecodeValue(f *testing.F) {
	tensors := [][]byte{
		[]byte("\x08\x02\x10\x07\x42\x01xJ\x10\x07\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00"), // raw int64 [2]
		[]byte("\x08\x01\x10\x01\x22\x04\x00\x00\x80\x3f"),                                                       // float_data [1]
		[]byte("\x08\x03\x10\x06\x2a\x03\x01\x02\x03"),                                                           // int32_data [3]
	}
	for i, b := range tensors {
		f.Add(uint8(0), b)
		item := append([]byte{0x1a, byte(len(b))}, b...)
		f.Add(uint8(1), append([]byte{0x12, 1}, item...))
		f.Add(uint8(2), append([]byte{0x12, byte(i)}, item...))
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		v := &Value{DType: []tensor.DType{tensor.Float32, tensor.Sequence, tensor.Optional}[kind%3]}
		x, err := DecodeValue(v, b)
		if err != nil {
			if fault.ClassOf(err) == fault.Internal {
				t.Fatalf("an error without a class: %v", err)
			}
			return
		}
		whole(t, x)
	})
}

// whole checks that the data are as long as type and shape say.
func whole(t *testing.T, x *tensor.Tensor) {
	if n, ok := x.Shape.CheckedElems(); !ok || !x.DType.IsContainer() && len(x.Data) != x.DType.Bytes(n) {
		t.Fatalf("%d bytes for %s %s", len(x.Data), x.DType, x.Shape)
	}
	for _, i := range x.Items {
		whole(t, i)
	}
}
