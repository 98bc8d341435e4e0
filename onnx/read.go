package onnx

import (
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"muster/fault"
)

// Limits of what is read.
const (
	MaxBytes = 1 << 31 // of one message, as protobuf has it
	maxDepth = 64      // of subgraphs and functions
)

// reader walks one message. Offsets in errors are those of the whole file.
type reader struct {
	b     []byte
	at    int // offset of b in the file
	depth int
	path  string
}

// field is one field of a message.
type field struct {
	num protowire.Number
	typ protowire.Type
	v   uint64 // varint, fixed32, fixed64
	b   []byte // length-delimited
	at  int    // offset of b in the file
	raw []byte // tag and value
	r   *reader
}

// Unmarshal reads a model.
func Unmarshal(b []byte) (*ModelProto, error) {
	if len(b) >= MaxBytes {
		return nil, fault.New(fault.Exhausted, "", "%d bytes; a protobuf message has less than 2 GiB", len(b)).
			WithHint("store the weights as external data")
	}
	m := &ModelProto{}
	return m, m.read(&reader{b: b, path: "model"})
}

func (r *reader) malformed(at int, format string, args ...any) error {
	return fault.New(fault.Malformed, fmt.Sprintf("byte %d (%s)", at, r.path), format, args...)
}

// each calls f for every field.
func (r *reader) each(f func(field) (known bool, err error), unknown *[]byte) error {
	if r.depth > maxDepth {
		return r.malformed(r.at, "nested deeper than %d", maxDepth)
	}
	b, at := r.b, r.at
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return r.malformed(at, "a field tag is broken: %v", protowire.ParseError(n))
		}
		x := field{num: num, typ: typ, r: r}
		m := 0
		switch typ {
		case protowire.VarintType:
			x.v, m = protowire.ConsumeVarint(b[n:])
		case protowire.Fixed32Type:
			var v uint32
			v, m = protowire.ConsumeFixed32(b[n:])
			x.v = uint64(v)
		case protowire.Fixed64Type:
			x.v, m = protowire.ConsumeFixed64(b[n:])
		case protowire.BytesType:
			x.b, m = protowire.ConsumeBytes(b[n:])
			if m > 0 {
				x.at = at + n + m - len(x.b)
			}
		default:
			return r.malformed(at, "field %d has the wire type %d", num, typ)
		}
		if m < 0 {
			return r.malformed(at, "field %d is cut off or broken: %v", num, protowire.ParseError(m))
		}
		x.raw = b[:n+m]
		known, err := f(x)
		if err != nil {
			return err
		}
		if !known && unknown != nil {
			*unknown = append(*unknown, x.raw...)
		}
		b, at = b[n+m:], at+n+m
	}
	return nil
}

// sub returns a reader of a message inside x.
func (x field) sub(name string) *reader {
	return &reader{b: x.b, at: x.at, depth: x.r.depth + 1, path: x.r.path + "." + name}
}

func (x field) want(t protowire.Type, name string) error {
	if x.typ != t {
		return x.r.malformed(x.at, "%s has the wire type %d", name, x.typ)
	}
	return nil
}

func (x field) str(dst *string, name string) error {
	if err := x.want(protowire.BytesType, name); err != nil {
		return err
	}
	if !utf8.Valid(x.b) {
		return x.r.malformed(x.at, "%s is not UTF-8", name)
	}
	*dst = string(x.b)
	return nil
}

func (x field) strs(dst *[]string, name string) error {
	var s string
	err := x.str(&s, name)
	*dst = append(*dst, s)
	return err
}

func (x field) i64(dst *int64, name string) error {
	*dst = int64(x.v)
	return x.want(protowire.VarintType, name)
}

func (x field) i32(dst *int32, name string) error {
	*dst = int32(x.v)
	return x.want(protowire.VarintType, name)
}

// varints reads one or, packed, many varints.
func (x field) varints(name string, add func(uint64)) error {
	if x.typ == protowire.VarintType {
		add(x.v)
		return nil
	}
	if err := x.want(protowire.BytesType, name); err != nil {
		return err
	}
	for b := x.b; len(b) > 0; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return x.r.malformed(x.at, "%s is broken: %v", name, protowire.ParseError(n))
		}
		add(v)
		b = b[n:]
	}
	return nil
}

// fixed reads one or, packed, many fixed-size numbers of size bytes.
func (x field) fixed(name string, size int, add func(uint64)) error {
	if x.typ == protowire.Fixed32Type && size == 4 || x.typ == protowire.Fixed64Type && size == 8 {
		add(x.v)
		return nil
	}
	if err := x.want(protowire.BytesType, name); err != nil {
		return err
	}
	if len(x.b)%size != 0 {
		return x.r.malformed(x.at, "%s has %d bytes, not a multiple of %d", name, len(x.b), size)
	}
	for b := x.b; len(b) > 0; b = b[size:] {
		if size == 4 {
			v, _ := protowire.ConsumeFixed32(b)
			add(uint64(v))
		} else {
			v, _ := protowire.ConsumeFixed64(b)
			add(v)
		}
	}
	return nil
}

func (x field) floats(dst *[]float32, name string) error {
	return x.fixed(name, 4, func(v uint64) { *dst = append(*dst, math.Float32frombits(uint32(v))) })
}

func (m *ModelProto) read(r *reader) error {
	return r.each(func(x field) (bool, error) {
		switch x.num {
		case 1:
			return true, x.i64(&m.IRVersion, "ir_version")
		case 2:
			return true, x.str(&m.ProducerName, "producer_name")
		case 3:
			return true, x.str(&m.ProducerVersion, "producer_version")
		case 4:
			return true, x.str(&m.Domain, "domain")
		case 5:
			return true, x.i64(&m.ModelVersion, "model_version")
		case 6:
			return true, x.str(&m.DocString, "doc_string")
		case 7:
			if m.Graph != nil {
				return true, r.malformed(x.at, "two graphs")
			}
			m.Graph = &GraphProto{}
			return true, firstErr(x.want(protowire.BytesType, "graph"), func() error { return m.Graph.read(x.sub("graph")) })
		case 8:
			return true, x.opset(&m.OpsetImport)
		case 14:
			return true, x.entry(&m.MetadataProps)
		case 25:
			f := &FunctionProto{}
			m.Functions = append(m.Functions, f)
			return true, firstErr(x.want(protowire.BytesType, "functions"), func() error { return f.read(x.sub("functions")) })
		}
		return false, nil
	}, &m.Unknown)
}

func firstErr(err error, next func() error) error {
	if err != nil {
		return err
	}
	return next()
}

func (x field) opset(dst *[]OperatorSetIdProto) error {
	var o OperatorSetIdProto
	err := firstErr(x.want(protowire.BytesType, "opset_import"), func() error {
		return x.sub("opset_import").each(func(y field) (bool, error) {
			switch y.num {
			case 1:
				return true, y.str(&o.Domain, "domain")
			case 2:
				return true, y.i64(&o.Version, "version")
			}
			return true, nil
		}, nil)
	})
	*dst = append(*dst, o)
	return err
}

func (x field) entry(dst *[]StringStringEntryProto) error {
	var e StringStringEntryProto
	err := firstErr(x.want(protowire.BytesType, "entry"), func() error {
		return x.sub("entry").each(func(y field) (bool, error) {
			switch y.num {
			case 1:
				return true, y.str(&e.Key, "key")
			case 2:
				return true, y.str(&e.Value, "value")
			}
			return true, nil
		}, nil)
	})
	*dst = append(*dst, e)
	return err
}

func (g *GraphProto) read(r *reader) error {
	return r.each(func(x field) (bool, error) {
		info := func(dst *[]*ValueInfoProto, name string) (bool, error) {
			v := &ValueInfoProto{}
			*dst = append(*dst, v)
			return true, firstErr(x.want(protowire.BytesType, name), func() error { return v.read(x.sub(name)) })
		}
		switch x.num {
		case 1:
			n := &NodeProto{}
			g.Node = append(g.Node, n)
			return true, firstErr(x.want(protowire.BytesType, "node"), func() error { return n.read(x.sub("node")) })
		case 2:
			return true, x.str(&g.Name, "name")
		case 5:
			t := &TensorProto{}
			g.Initializer = append(g.Initializer, t)
			return true, firstErr(x.want(protowire.BytesType, "initializer"), func() error { return t.read(x.sub("initializer")) })
		case 10:
			return true, x.str(&g.DocString, "doc_string")
		case 11:
			return info(&g.Input, "input")
		case 12:
			return info(&g.Output, "output")
		case 13:
			return info(&g.ValueInfo, "value_info")
		case 15:
			g.Sparse++
		}
		return false, nil
	}, &g.Unknown)
}

func (n *NodeProto) read(r *reader) error {
	return r.each(func(x field) (bool, error) {
		switch x.num {
		case 1:
			return true, x.strs(&n.Input, "input")
		case 2:
			return true, x.strs(&n.Output, "output")
		case 3:
			return true, x.str(&n.Name, "name")
		case 4:
			return true, x.str(&n.OpType, "op_type")
		case 5:
			return true, x.attribute(&n.Attribute)
		case 6:
			return true, x.str(&n.DocString, "doc_string")
		case 7:
			return true, x.str(&n.Domain, "domain")
		}
		return false, nil
	}, &n.Unknown)
}

func (x field) attribute(dst *[]*AttributeProto) error {
	a := &AttributeProto{}
	*dst = append(*dst, a)
	return firstErr(x.want(protowire.BytesType, "attribute"), func() error { return a.read(x.sub("attribute")) })
}

func (a *AttributeProto) read(r *reader) error {
	return r.each(func(x field) (bool, error) {
		tensor := func() (*TensorProto, error) {
			t := &TensorProto{}
			return t, firstErr(x.want(protowire.BytesType, "t"), func() error { return t.read(x.sub("t")) })
		}
		graph := func() (*GraphProto, error) {
			g := &GraphProto{}
			return g, firstErr(x.want(protowire.BytesType, "g"), func() error { return g.read(x.sub("g")) })
		}
		var err error
		switch x.num {
		case 1:
			err = x.str(&a.Name, "name")
		case 2:
			a.F = math.Float32frombits(uint32(x.v))
			err = x.want(protowire.Fixed32Type, "f")
		case 3:
			err = x.i64(&a.I, "i")
		case 4:
			a.S = x.b
			err = x.want(protowire.BytesType, "s")
		case 5:
			a.T, err = tensor()
		case 6:
			a.G, err = graph()
		case 7:
			err = x.floats(&a.Floats, "floats")
		case 8:
			err = x.varints("ints", func(v uint64) { a.Ints = append(a.Ints, int64(v)) })
		case 9:
			a.Strings = append(a.Strings, x.b)
			err = x.want(protowire.BytesType, "strings")
		case 10:
			var t *TensorProto
			t, err = tensor()
			a.Tensors = append(a.Tensors, t)
		case 11:
			var g *GraphProto
			g, err = graph()
			a.Graphs = append(a.Graphs, g)
		case 13:
			err = x.str(&a.DocString, "doc_string")
		case 14:
			a.TP = append([]byte{}, x.b...)
			err = x.want(protowire.BytesType, "tp")
		case 20:
			err = x.i32(&a.Type, "type")
		case 21:
			err = x.str(&a.RefAttrName, "ref_attr_name")
		default:
			return false, nil
		}
		return true, err
	}, &a.Unknown)
}

func (t *TensorProto) read(r *reader) error {
	return r.each(func(x field) (bool, error) {
		var err error
		switch x.num {
		case 1:
			err = x.varints("dims", func(v uint64) { t.Dims = append(t.Dims, int64(v)) })
		case 2:
			err = x.i32(&t.DataType, "data_type")
		case 4:
			err = x.floats(&t.FloatData, "float_data")
		case 5:
			err = x.varints("int32_data", func(v uint64) { t.Int32Data = append(t.Int32Data, int32(v)) })
		case 6:
			t.StringData = append(t.StringData, x.b)
			err = x.want(protowire.BytesType, "string_data")
		case 7:
			err = x.varints("int64_data", func(v uint64) { t.Int64Data = append(t.Int64Data, int64(v)) })
		case 8:
			err = x.str(&t.Name, "name")
		case 9:
			t.RawData, t.HasRaw = x.b, true
			err = x.want(protowire.BytesType, "raw_data")
		case 10:
			err = x.fixed("double_data", 8, func(v uint64) { t.DoubleData = append(t.DoubleData, math.Float64frombits(v)) })
		case 11:
			err = x.varints("uint64_data", func(v uint64) { t.Uint64Data = append(t.Uint64Data, v) })
		case 12:
			err = x.str(&t.DocString, "doc_string")
		case 13:
			err = x.entry(&t.ExternalData)
		case 14:
			err = x.i32(&t.DataLocation, "data_location")
		default:
			return false, nil
		}
		return true, err
	}, &t.Unknown)
}

func (v *ValueInfoProto) read(r *reader) error {
	return r.each(func(x field) (bool, error) {
		switch x.num {
		case 1:
			return true, x.str(&v.Name, "name")
		case 2:
			return true, firstErr(x.want(protowire.BytesType, "type"), func() error { return v.readType(x) })
		case 3:
			return true, x.str(&v.DocString, "doc_string")
		}
		return false, nil
	}, &v.Unknown)
}

// readType reads a TypeProto; anything but a plain tensor type is kept as bytes.
func (v *ValueInfoProto) readType(x field) error {
	plain := true
	err := x.sub("type").each(func(y field) (bool, error) {
		if y.num != 1 || y.typ != protowire.BytesType {
			plain = false
			return true, nil
		}
		known, err := v.tensorType(y)
		plain = plain && known
		return true, err
	}, nil)
	if !plain {
		v.TypeBytes = x.b
	}
	return err
}

// tensorType reads a TypeProto.Tensor; known is false if it has other fields.
func (v *ValueInfoProto) tensorType(y field) (known bool, err error) {
	known = true
	err = y.sub("tensor_type").each(func(z field) (bool, error) {
		switch z.num {
		case 1:
			return true, z.i32(&v.ElemType, "elem_type")
		case 2:
			v.HasShape = true
			return true, firstErr(z.want(protowire.BytesType, "shape"), func() error { return v.readShape(z.sub("shape")) })
		}
		known = false
		return true, nil
	}, nil)
	return known, err
}

func (v *ValueInfoProto) readShape(r *reader) error {
	return r.each(func(x field) (bool, error) {
		if x.num != 1 {
			return true, nil
		}
		d := Dimension{}
		err := firstErr(x.want(protowire.BytesType, "dim"), func() error {
			return x.sub("dim").each(func(y field) (bool, error) {
				switch y.num {
				case 1:
					d.HasValue = true
					return true, y.i64(&d.Value, "dim_value")
				case 2:
					return true, y.str(&d.Param, "dim_param")
				}
				return true, nil
			}, nil)
		})
		v.Dims = append(v.Dims, d)
		return true, err
	}, nil)
}

func (f *FunctionProto) read(r *reader) error {
	return r.each(func(x field) (bool, error) {
		switch x.num {
		case 1:
			return true, x.str(&f.Name, "name")
		case 4:
			return true, x.strs(&f.Input, "input")
		case 5:
			return true, x.strs(&f.Output, "output")
		case 6:
			return true, x.strs(&f.Attribute, "attribute")
		case 7:
			n := &NodeProto{}
			f.Node = append(f.Node, n)
			return true, firstErr(x.want(protowire.BytesType, "node"), func() error { return n.read(x.sub("node")) })
		case 8:
			return true, x.str(&f.DocString, "doc_string")
		case 9:
			return true, x.opset(&f.OpsetImport)
		case 10:
			return true, x.str(&f.Domain, "domain")
		case 11:
			return true, x.attribute(&f.AttributeProto)
		}
		return false, nil
	}, &f.Unknown)
}
