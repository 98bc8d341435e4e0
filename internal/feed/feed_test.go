package feed

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// encoder is what an exporter writes for the inputs of a text encoder: ids into a table, a mask, a rate it compares with.
func encoder() *graph.Graph {
	b := graph.NewBuilder(graph.New("encoder"))
	ids := b.Input("ids", tensor.Int64, graph.Sym("batch"), graph.Sym("tokens"))
	mask := b.Input("attention_mask", tensor.Int64, graph.Sym("batch"), graph.Sym("tokens"))
	rate := b.Input("sr", tensor.Int64)
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.D(4))
	b.Output("y", b.Op("Gather", b.Init("table", tensor.New(tensor.Float32, 7, 4)), b.Op("Unsqueeze", ids, b.Ints(0))))
	b.Output("m", b.OpA("Cast", []graph.Attr{graph.Int("to", 1)}, mask))
	b.Output("r", b.Op("Equal", rate, b.Init("rate", tensor.OfInt64([]int64{16000}))))
	b.Output("z", b.Op("Relu", x))
	return b.G
}

func TestInputsAreValid(t *testing.T) {
	in, assumed, err := Inputs(encoder(), Config{Shapes: map[string][]int{"batch": {300}}, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got := in[0].Shape.String() + in[3].Shape.String(); got != (tensor.Shape{300, 128}).String()+(tensor.Shape{300, 4}).String() {
		t.Errorf("the shapes are %s", got)
	}
	if len(assumed) != 1 || assumed[0] != (Assumed{"ids", 1, "tokens", 128}) {
		t.Errorf("assumed %v: tokens should be assumed once, batch was given", assumed)
	}
	seen := map[int64]bool{}
	for _, id := range in[0].Int64s() {
		seen[id] = true
		if id < 0 || id >= 7 {
			t.Fatalf("the id %d is outside the table of 7", id)
		}
	}
	if len(seen) != 7 {
		t.Errorf("of 7 ids, %d are drawn", len(seen))
	}
	for _, m := range in[1].Int64s() {
		if m != 1 {
			t.Fatalf("the mask holds %d", m)
		}
	}
	if r := in[2].Int64s()[0]; r != 16000 {
		t.Errorf("the graph compares the rate with 16000, it is fed %d", r)
	}
	again, _, _ := Inputs(encoder(), Config{Shapes: map[string][]int{"batch": {300}}, Seed: 1})
	other, _, _ := Inputs(encoder(), Config{Shapes: map[string][]int{"batch": {300}}, Seed: 2})
	if string(again[3].Data) != string(in[3].Data) || string(other[3].Data) == string(in[3].Data) {
		t.Error("the same seed must give the same values, another seed others")
	}
}

func TestWrongShapes(t *testing.T) {
	for _, c := range []struct {
		name   string
		shapes map[string][]int
		says   string
	}{
		{"no such name", map[string][]int{"toks": {3}}, "no such input"},
		{"wrong rank", map[string][]int{"x": {3}}, "2 axes"},
		{"against the file", map[string][]int{"x": {1, 5}}, "axis 1 is 4"},
		{"too large", map[string][]int{"batch": {1 << 40}}, "too many"},
	} {
		if _, _, err := Inputs(encoder(), Config{Shapes: c.shapes}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
	}
}

// numpyBytes is what numpy.save wrote for numpy.array([[1, -2, 3]], dtype="float32") (NumPy 2.4.6).
const numpyBytes = "934e554d5059010076007b276465736372273a20273c6634272c2027666f727472616e5f6f72646572273a2046616c73652c20277368617065273a2028312c2033292c207d202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020200a0000803f000000c000004040"

func TestNPY(t *testing.T) {
	want, err := hex.DecodeString(numpyBytes)
	if err != nil {
		t.Fatal(err)
	}
	x := tensor.OfFloat32([]float32{1, -2, 3}, 1, 3)
	got, err := EncodeNPY(x)
	if err != nil || string(got) != string(want) {
		t.Errorf("%v: encoded\n%q, NumPy writes\n%q", err, got, want)
	}
	for _, x := range []*tensor.Tensor{x, tensor.OfInt64([]int64{5}), tensor.OfBool([]bool{true, false}, 2), tensor.New(tensor.Float16, 0, 3)} {
		b, err := EncodeNPY(x)
		if err != nil {
			t.Fatal(err)
		}
		y, err := DecodeNPY(b)
		if err != nil || y.DType != x.DType || !y.Shape.Equal(x.Shape) || string(y.Data) != string(x.Data) {
			t.Errorf("%v %v came back as %v: %v", x.DType, x.Shape, y, err)
		}
		for n := range b {
			if _, err := DecodeNPY(b[:n]); err == nil && len(x.Data) > 0 {
				t.Fatalf("%d of %d bytes are read without an error", n, len(b))
			}
		}
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	put := func(name, hexed string) string {
		b, err := hex.DecodeString(hexed)
		if err != nil {
			t.Fatal(err)
		}
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	// onnx.numpy_helper.from_array(numpy.array([7, 8], "int64"), "x")
	y, err := ReadFile(put("x.pb", "080210074201784a1007000000000000000800000000000000"))
	if err != nil || len(y.Int64s()) != 2 || y.Int64s()[1] != 8 {
		t.Errorf("%v %v", y, err)
	}
	if _, err := ReadFile(put("x.txt", "00")); err == nil || !strings.Contains(err.Error(), "npy") {
		t.Errorf("a text file: %v", err)
	}
}

// FuzzFile reads arrays of NumPy and TensorProtos: what is read is as long as its shape says, and is written back.
func FuzzFile(f *testing.F) {
	npy, err := hex.DecodeString(numpyBytes)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(npy)
	f.Add([]byte("\x08\x02\x10\x07\x42\x01xJ\x10\x07\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for i, read := range []func([]byte) (*tensor.Tensor, error){DecodeNPY, decodePB} {
			x, err := read(append([]byte{}, b...))
			if err != nil {
				if fault.ClassOf(err) == fault.Internal {
					t.Fatalf("an error without a class: %v", err)
				}
				continue
			}
			if n, ok := x.Shape.CheckedElems(); !ok || len(x.Data) != x.DType.Bytes(n) {
				t.Fatalf("%d bytes for %s %s", len(x.Data), x.DType, x.Shape)
			}
			if i > 0 {
				continue
			}
			c, err := EncodeNPY(x)
			if err != nil {
				t.Fatal(err)
			}
			if y, err := DecodeNPY(c); err != nil || !y.Shape.Equal(x.Shape) || string(y.Data) != string(x.Data) {
				t.Fatalf("%s %s came back as %v: %v", x.DType, x.Shape, y, err)
			}
		}
	})
}
