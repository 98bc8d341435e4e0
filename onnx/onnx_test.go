package onnx

import (
	"bytes"
	"testing"

	"muster/fault"
)

func model() *ModelProto {
	return &ModelProto{IRVersion: 9, ProducerName: "test", OpsetImport: []OperatorSetIdProto{{"", 20}},
		Graph: &GraphProto{Name: "g", Node: []*NodeProto{{Input: []string{"x"}, Output: []string{"y"}, OpType: "Exp",
			Attribute: []*AttributeProto{{Name: "a", Type: 7, Ints: []int64{-1, 1 << 40}}}}},
			Initializer: []*TensorProto{{Name: "w", DataType: 1, Dims: []int64{2}, FloatData: []float32{1, 2}}},
			Input:       []*ValueInfoProto{{Name: "x", ElemType: 1, HasShape: true, Dims: []Dimension{{Param: "N"}, {Value: 0, HasValue: true}}}}}}
}

func TestRoundTrip(t *testing.T) {
	a := model().Marshal()
	m, err := Unmarshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, m.Marshal()) {
		t.Error("written again, the bytes differ")
	}
	if d := m.Graph.Input[0].Dims; d[0].Param != "N" || !d[1].HasValue {
		t.Errorf("dimensions %+v", d)
	}
}

func TestBrokenWire(t *testing.T) {
	for _, b := range [][]byte{{0xff}, {0x0b}, {0x3a, 0x7f}, {0x08}, {0x12, 0x02, 0xff, 0xfe}, {0x0a, 0x00}} {
		if _, err := Unmarshal(b); fault.ClassOf(err) != fault.Malformed {
			t.Errorf("% x: %v", b, err)
		}
	}
	deep := []byte{} // attributes with graphs with nodes with attributes ...
	wrap := func(num byte, b []byte) []byte {
		var w writer
		w.bytes(1, b)
		w.b[0] = num<<3 | 2
		return w.b
	}
	for i := 0; i < 100; i++ {
		deep = wrap(1, wrap(5, wrap(6, deep)))
	}
	if _, err := Unmarshal(wrap(7, deep)); fault.ClassOf(err) != fault.Malformed {
		t.Errorf("300 levels: %v", err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add(model().Marshal())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Unmarshal(b)
		if err != nil {
			if fault.ClassOf(err) == fault.Internal {
				t.Fatalf("an error without a class: %v", err)
			}
			return
		}
		a := m.Marshal()
		n, err := Unmarshal(a)
		if err != nil {
			t.Fatalf("what was written does not read: %v", err)
		}
		if !bytes.Equal(a, n.Marshal()) {
			t.Fatal("writing is not stable")
		}
	})
}
