package onnx

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Marshal writes a model. The same model gives the same bytes: fields in the order
// of their numbers, packed where proto3 packs, unknown fields last.
func (m *ModelProto) Marshal() []byte {
	var w writer
	w.i64(1, m.IRVersion)
	w.str(2, m.ProducerName)
	w.str(3, m.ProducerVersion)
	w.str(4, m.Domain)
	w.i64(5, m.ModelVersion)
	w.str(6, m.DocString)
	if m.Graph != nil {
		w.msg(7, m.Graph.write)
	}
	w.opsets(8, m.OpsetImport)
	w.entries(14, m.MetadataProps)
	for _, f := range m.Functions {
		w.msg(25, f.write)
	}
	return append(w.b, m.Unknown...)
}

// writer appends fields.
type writer struct{ b []byte }

func (w *writer) i64(num protowire.Number, v int64) {
	if v != 0 {
		w.b = protowire.AppendTag(w.b, num, protowire.VarintType)
		w.b = protowire.AppendVarint(w.b, uint64(v))
	}
}

func (w *writer) bytes(num protowire.Number, v []byte) {
	w.b = protowire.AppendTag(w.b, num, protowire.BytesType)
	w.b = protowire.AppendBytes(w.b, v)
}

func (w *writer) str(num protowire.Number, v string) {
	if v != "" {
		w.bytes(num, []byte(v))
	}
}

func (w *writer) strs(num protowire.Number, vs []string) {
	for _, v := range vs {
		w.bytes(num, []byte(v))
	}
}

// msg writes a message whose fields f appends.
func (w *writer) msg(num protowire.Number, f func(*writer)) {
	var s writer
	f(&s)
	w.bytes(num, s.b)
}

func (w *writer) varints(num protowire.Number, n int, at func(i int) uint64) {
	if n == 0 {
		return
	}
	var b []byte
	for i := 0; i < n; i++ {
		b = protowire.AppendVarint(b, at(i))
	}
	w.bytes(num, b)
}

func (w *writer) floats(num protowire.Number, v []float32) {
	if len(v) == 0 {
		return
	}
	var b []byte
	for _, f := range v {
		b = protowire.AppendFixed32(b, math.Float32bits(f))
	}
	w.bytes(num, b)
}

func (w *writer) opsets(num protowire.Number, v []OperatorSetIdProto) {
	for _, o := range v {
		w.msg(num, func(s *writer) {
			s.str(1, o.Domain)
			s.i64(2, o.Version)
		})
	}
}

func (w *writer) entries(num protowire.Number, v []StringStringEntryProto) {
	for _, e := range v {
		w.msg(num, func(s *writer) {
			s.str(1, e.Key)
			s.str(2, e.Value)
		})
	}
}

func (g *GraphProto) write(w *writer) {
	for _, n := range g.Node {
		w.msg(1, n.write)
	}
	w.str(2, g.Name)
	for _, t := range g.Initializer {
		w.msg(5, t.write)
	}
	w.str(10, g.DocString)
	for _, v := range g.Input {
		w.msg(11, v.write)
	}
	for _, v := range g.Output {
		w.msg(12, v.write)
	}
	for _, v := range g.ValueInfo {
		w.msg(13, v.write)
	}
	w.b = append(w.b, g.Unknown...)
}

func (n *NodeProto) write(w *writer) {
	w.strs(1, n.Input)
	w.strs(2, n.Output)
	w.str(3, n.Name)
	w.str(4, n.OpType)
	for _, a := range n.Attribute {
		w.msg(5, a.write)
	}
	w.str(6, n.DocString)
	w.str(7, n.Domain)
	w.b = append(w.b, n.Unknown...)
}

// Attribute types of onnx.AttributeProto.
const (
	attrFloat  = 1
	attrInt    = 2
	attrString = 3
)

func (a *AttributeProto) write(w *writer) {
	w.str(1, a.Name)
	if a.F != 0 || a.Type == attrFloat && a.RefAttrName == "" {
		w.b = protowire.AppendTag(w.b, 2, protowire.Fixed32Type)
		w.b = protowire.AppendFixed32(w.b, math.Float32bits(a.F))
	}
	if a.I != 0 || a.Type == attrInt && a.RefAttrName == "" {
		w.b = protowire.AppendTag(w.b, 3, protowire.VarintType)
		w.b = protowire.AppendVarint(w.b, uint64(a.I))
	}
	if len(a.S) > 0 || a.Type == attrString && a.RefAttrName == "" {
		w.bytes(4, a.S)
	}
	if a.T != nil {
		w.msg(5, a.T.write)
	}
	if a.G != nil {
		w.msg(6, a.G.write)
	}
	w.floats(7, a.Floats)
	w.varints(8, len(a.Ints), func(i int) uint64 { return uint64(a.Ints[i]) })
	for _, s := range a.Strings {
		w.bytes(9, s)
	}
	for _, t := range a.Tensors {
		w.msg(10, t.write)
	}
	for _, g := range a.Graphs {
		w.msg(11, g.write)
	}
	w.str(13, a.DocString)
	if a.TP != nil {
		w.bytes(14, a.TP)
	}
	w.i64(20, int64(a.Type))
	w.str(21, a.RefAttrName)
	w.b = append(w.b, a.Unknown...)
}

func (t *TensorProto) write(w *writer) {
	w.varints(1, len(t.Dims), func(i int) uint64 { return uint64(t.Dims[i]) })
	w.i64(2, int64(t.DataType))
	w.floats(4, t.FloatData)
	w.varints(5, len(t.Int32Data), func(i int) uint64 { return uint64(int64(t.Int32Data[i])) })
	for _, s := range t.StringData {
		w.bytes(6, s)
	}
	w.varints(7, len(t.Int64Data), func(i int) uint64 { return uint64(t.Int64Data[i]) })
	w.str(8, t.Name)
	if t.HasRaw {
		w.bytes(9, t.RawData)
	}
	if len(t.DoubleData) > 0 {
		var b []byte
		for _, f := range t.DoubleData {
			b = protowire.AppendFixed64(b, math.Float64bits(f))
		}
		w.bytes(10, b)
	}
	w.varints(11, len(t.Uint64Data), func(i int) uint64 { return t.Uint64Data[i] })
	w.str(12, t.DocString)
	w.entries(13, t.ExternalData)
	w.i64(14, int64(t.DataLocation))
	w.b = append(w.b, t.Unknown...)
}

func (v *ValueInfoProto) write(w *writer) {
	w.str(1, v.Name)
	switch {
	case v.TypeBytes != nil:
		w.bytes(2, v.TypeBytes)
	case v.ElemType != 0 || v.HasShape:
		w.msg(2, func(t *writer) {
			t.msg(1, v.writeTensorType)
		})
	}
	w.str(3, v.DocString)
	w.b = append(w.b, v.Unknown...)
}

func (v *ValueInfoProto) writeTensorType(w *writer) {
	w.i64(1, int64(v.ElemType))
	if v.HasShape {
		w.msg(2, v.writeShape)
	}
}

func (v *ValueInfoProto) writeShape(w *writer) {
	for _, d := range v.Dims {
		w.msg(1, func(s *writer) {
			if d.HasValue {
				s.b = protowire.AppendTag(s.b, 1, protowire.VarintType)
				s.b = protowire.AppendVarint(s.b, uint64(d.Value))
			}
			s.str(2, d.Param)
		})
	}
}

func (f *FunctionProto) write(w *writer) {
	w.str(1, f.Name)
	w.strs(4, f.Input)
	w.strs(5, f.Output)
	w.strs(6, f.Attribute)
	for _, n := range f.Node {
		w.msg(7, n.write)
	}
	w.str(8, f.DocString)
	w.opsets(9, f.OpsetImport)
	w.str(10, f.Domain)
	for _, a := range f.AttributeProto {
		w.msg(11, a.write)
	}
	w.b = append(w.b, f.Unknown...)
}
