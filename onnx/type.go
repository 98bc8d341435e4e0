package onnx

import (
	"google.golang.org/protobuf/encoding/protowire"

	"muster/fault"
)

// Kind says what a TypeProto or an item of a SequenceProto is.
type Kind int32

// Kinds by the numbers of SequenceProto.DataType.
const (
	KindTensor   Kind = 1
	KindSequence Kind = 3
	KindOptional Kind = 5
)

// TypeProto is onnx.TypeProto: a tensor type, or a sequence or an optional of Elem.
type TypeProto struct {
	Kind   Kind
	Tensor ValueInfoProto // ElemType, HasShape and Dims of a tensor
	Elem   *TypeProto
}

// ParseType reads a type that ValueInfoProto kept as bytes.
func ParseType(b []byte) (*TypeProto, error) { return readType(&reader{b: b, path: "type"}) }

func readType(r *reader) (*TypeProto, error) {
	t := &TypeProto{}
	err := r.each(func(x field) (bool, error) {
		switch x.num {
		case 1:
			t.Kind = KindTensor
			return true, firstErr(x.want(protowire.BytesType, "tensor_type"), func() error {
				_, err := t.Tensor.tensorType(x)
				return err
			})
		case 4, 9:
			if t.Kind = KindSequence; x.num == 9 {
				t.Kind = KindOptional
			}
			return true, firstErr(x.want(protowire.BytesType, "elem_type"), func() error { return t.readElem(x.sub("elem_type")) })
		case 5, 7, 8:
			return true, fault.New(fault.Unsupported, "", "a map, an opaque or a sparse type (field %d)", x.num)
		}
		return true, nil
	}, nil)
	if err == nil && t.Kind == 0 {
		err = r.malformed(r.at, "a type that says nothing")
	}
	return t, err
}

func (t *TypeProto) readElem(r *reader) error {
	err := r.each(func(x field) (bool, error) {
		if x.num != 1 {
			return true, nil
		}
		var err error
		if err = x.want(protowire.BytesType, "elem_type"); err == nil {
			t.Elem, err = readType(x.sub("elem_type"))
		}
		return true, err
	}, nil)
	if err == nil && t.Elem == nil {
		err = r.malformed(r.at, "a container of nothing")
	}
	return err
}

// Bytes writes the type as ParseType reads it.
func (t *TypeProto) Bytes() []byte {
	w := &writer{}
	t.write(w)
	return w.b
}

func (t *TypeProto) write(w *writer) {
	switch t.Kind {
	case KindTensor:
		w.msg(1, t.Tensor.writeTensorType)
	case KindSequence:
		w.msg(4, func(e *writer) { e.msg(1, t.Elem.write) })
	case KindOptional:
		w.msg(9, func(e *writer) { e.msg(1, t.Elem.write) })
	}
}

// ValueProto is a TensorProto, a SequenceProto or an OptionalProto.
type ValueProto struct {
	Kind     Kind
	ItemKind Kind // of Items
	Tensor   *TensorProto
	Items    []*ValueProto
}

// UnmarshalValue reads a serialized tensor, sequence or optional.
func UnmarshalValue(kind Kind, b []byte) (*ValueProto, error) {
	return readValue(kind, &reader{b: b, path: "value"})
}

func readValue(kind Kind, r *reader) (*ValueProto, error) {
	v := &ValueProto{Kind: kind}
	if kind == KindTensor {
		v.Tensor = &TensorProto{}
		return v, v.Tensor.read(r)
	}
	return v, r.each(func(x field) (bool, error) {
		var item Kind
		switch x.num {
		case 2:
			var k int32
			err := x.i32(&k, "elem_type")
			v.ItemKind = Kind(k)
			return true, err
		case 3:
			item = KindTensor
		case 5:
			item = KindSequence
		case 7:
			item = KindOptional
		case 4, 6:
			return true, fault.New(fault.Unsupported, "", "items that are sparse or maps")
		default:
			return true, nil
		}
		if err := x.want(protowire.BytesType, "item"); err != nil {
			return true, err
		}
		i, err := readValue(item, x.sub("item"))
		v.Items = append(v.Items, i)
		return true, err
	}, nil)
}
