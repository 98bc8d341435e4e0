package graph

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"muster/fault"
	"muster/internal/cpu"
	"muster/onnx"
	"muster/tensor"
)

// Opset versions of ai.onnx that are read.
const (
	minOpset = 7
	maxOpset = 28
)

// Load reads an ONNX file. External data must lie in the file's folder.
func Load(path string) (*Graph, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.NotFound, path, "%w", err)
	}
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, fault.New(fault.NotFound, path, "%w", err)
	}
	defer root.Close()
	g, err := decode(b, root, true)
	return g, fault.At(path, err)
}

// Decode reads an ONNX model from memory. External data are refused.
func Decode(b []byte) (*Graph, error) { return decode(b, nil, false) }

// decode reads a model from b; own says that b may be changed.
func decode(b []byte, root *os.Root, own bool) (*Graph, error) {
	m, err := onnx.Unmarshal(b)
	if err != nil {
		return nil, err
	}
	if m.Graph == nil {
		return nil, fault.New(fault.Malformed, "model", "there is no graph").WithHint("is it an ONNX file?")
	}
	l := &loader{root: root}
	if own {
		l.file = b
	}
	mod := &Model{IRVersion: m.IRVersion, Producer: m.ProducerName, ProducerVersion: m.ProducerVersion, Domain: m.Domain,
		Version: m.ModelVersion, Doc: m.DocString, Unknown: m.Unknown}
	if mod.Opsets, err = opsets(m.OpsetImport); err != nil {
		return nil, err
	}
	for _, p := range m.MetadataProps {
		mod.Metadata = append(mod.Metadata, Property{p.Key, p.Value})
	}
	for _, f := range m.Functions {
		fn, err := l.function(f)
		if err != nil {
			return nil, fault.At("function "+f.Name, err)
		}
		mod.Functions = append(mod.Functions, fn)
	}
	g, err := l.graph(m.Graph, nil)
	if err != nil {
		return nil, err
	}
	g.Model = mod
	return g, g.Verify()
}

func opsets(list []onnx.OperatorSetIdProto) (map[string]int, error) {
	out := map[string]int{}
	for _, o := range list {
		d := o.Domain
		if d == "ai.onnx" {
			d = ""
		}
		if o.Version < 0 || o.Version > math.MaxInt32 {
			return nil, fault.New(fault.Malformed, "opset_import", "domain %q has the version %d", d, o.Version)
		}
		out[d] = int(o.Version)
	}
	if v, ok := out[""]; ok && (v < minOpset || v > maxOpset) {
		return nil, fault.New(fault.Unsupported, "opset_import", "ai.onnx %d is outside %d to %d", v, minOpset, maxOpset).
			WithHint("convert the model to a newer opset with the exporter")
	}
	return out, nil
}

// loader turns names into pointers.
type loader struct {
	root *os.Root // nil: no external data
	file []byte   // the model's bytes, if they are the loader's own

	external int // bytes of external data so far
}

// scope is the names of one graph and of those around it.
type scope struct {
	vals  map[string]*Value
	outer *scope
}

func (s *scope) find(name string) *Value {
	for ; s != nil; s = s.outer {
		if v := s.vals[name]; v != nil {
			return v
		}
	}
	return nil
}

func (l *loader) graph(p *onnx.GraphProto, outer *scope) (*Graph, error) {
	if p.Sparse > 0 {
		return nil, fault.New(fault.Unsupported, "graph "+p.Name, "it has sparse initialisers")
	}
	g := &Graph{Name: p.Name, Doc: p.DocString, Unknown: p.Unknown}
	s := &scope{vals: map[string]*Value{}, outer: outer}
	for _, t := range p.Initializer {
		c, err := l.tensor(t)
		if err != nil {
			return nil, fault.At(fmt.Sprintf("initialiser %q", t.Name), err)
		}
		if t.Name == "" || s.vals[t.Name] != nil {
			return nil, fault.New(fault.Malformed, fmt.Sprintf("initialiser %q", t.Name), "the name is empty or taken")
		}
		v := &Value{Name: t.Name, Const: c}
		v.SetStatic(c.DType, c.Shape)
		s.vals[t.Name] = v
		g.Inits = append(g.Inits, v)
	}
	for _, in := range p.Input {
		if v := s.vals[in.Name]; v != nil && v.Const != nil {
			continue // IR 3 lists initialisers among the inputs
		}
		v, err := info(in)
		if err != nil {
			return nil, fault.At(fmt.Sprintf("input %q", in.Name), err)
		}
		if in.Name == "" || s.vals[in.Name] != nil {
			return nil, fault.New(fault.Malformed, fmt.Sprintf("input %q", in.Name), "the name is empty or taken")
		}
		s.vals[in.Name] = v
		g.Inputs = append(g.Inputs, v)
	}
	if err := l.nodes(g, p.Node, s); err != nil {
		return nil, err
	}
	for _, vi := range append(append([]*onnx.ValueInfoProto{}, p.ValueInfo...), p.Output...) {
		v := s.vals[vi.Name]
		if v == nil || v.Const != nil || v.DType != tensor.Undefined {
			continue
		}
		d, err := info(vi)
		if err != nil {
			continue // a type that is not a tensor: the value may still be unused
		}
		v.DType, v.Shape, v.Elem = d.DType, d.Shape, d.Elem
	}
	for _, o := range p.Output {
		v := s.find(o.Name)
		if v == nil {
			return nil, fault.New(fault.Malformed, fmt.Sprintf("output %q", o.Name), "nothing in the graph makes it")
		}
		g.Outputs = append(g.Outputs, v)
	}
	return g, nil
}

// nodes links the nodes: first all outputs get their values, then inputs find them, so that
// the order in the file does not matter.
func (l *loader) nodes(g *Graph, list []*onnx.NodeProto, s *scope) error {
	for _, p := range list {
		n := &Node{Name: p.Name, Domain: p.Domain, Op: p.OpType, Doc: p.DocString, Unknown: p.Unknown}
		if n.Domain == "ai.onnx" {
			n.Domain = ""
		}
		if n.Op == "" {
			return fault.New(fault.Malformed, fmt.Sprintf("node %q", n.Name), "it has no operator")
		}
		for _, name := range p.Output {
			if name == "" {
				n.Outputs = append(n.Outputs, nil)
				continue
			}
			if s.vals[name] != nil {
				return fault.New(fault.Malformed, n.Place(), "output %q is made twice", name)
			}
			v := &Value{Name: name, Producer: n}
			s.vals[name] = v
			n.Outputs = append(n.Outputs, v)
		}
		g.Nodes = append(g.Nodes, n)
	}
	for i, p := range list {
		n := g.Nodes[i]
		for k, name := range p.Input {
			if name == "" {
				n.Inputs = append(n.Inputs, nil)
				continue
			}
			v := s.find(name)
			if v == nil {
				return fault.New(fault.Malformed, n.Place(), "input %d, %q, is made by nothing", k, name)
			}
			n.Inputs = append(n.Inputs, v)
		}
		for _, a := range p.Attribute {
			at, err := l.attr(a, s)
			if err == nil && n.Attr(a.Name) != nil {
				err = fault.New(fault.Malformed, "", "it is given twice")
			}
			if err != nil {
				return fault.At(n.Place(), fault.At("attribute "+a.Name, err))
			}
			n.Attrs = append(n.Attrs, at)
		}
	}
	return g.Sort()
}

// attrKinds tells the kind of an attribute that does not name its type (old exporters).
func attrKind(a *onnx.AttributeProto) AttrKind {
	switch {
	case a.Type != 0:
		return AttrKind(a.Type)
	case a.T != nil:
		return AttrTensor
	case a.G != nil:
		return AttrGraph
	case a.S != nil:
		return AttrString
	case a.Floats != nil:
		return AttrFloats
	case a.Ints != nil:
		return AttrInts
	case a.Strings != nil:
		return AttrStrings
	case a.F != 0:
		return AttrFloat
	}
	return AttrInt
}

func (l *loader) attr(p *onnx.AttributeProto, s *scope) (Attr, error) {
	if p.Type < 0 || p.Type > 14 {
		return Attr{}, fault.New(fault.Malformed, "", "the type %d does not exist", p.Type)
	}
	a := Attr{Name: p.Name, Kind: attrKind(p), F: p.F, I: p.I, S: p.S, Floats: p.Floats, Ints: p.Ints, Strings: p.Strings,
		Ref: p.RefAttrName, Unknown: p.Unknown}
	var err error
	if p.T != nil {
		if a.T, err = l.tensor(p.T); err != nil {
			return a, err
		}
	}
	if p.G != nil {
		if a.G, err = l.graph(p.G, s); err != nil {
			return a, err
		}
	}
	if p.TP != nil {
		t, err := onnx.ParseType(p.TP)
		if err != nil {
			return a, err
		}
		if a.Type, err = typeOf(t); err != nil {
			return a, err
		}
	}
	for _, t := range p.Tensors {
		x, err := l.tensor(t)
		if err != nil {
			return a, err
		}
		a.Tensors = append(a.Tensors, x)
	}
	for _, g := range p.Graphs {
		x, err := l.graph(g, s)
		if err != nil {
			return a, err
		}
		a.Graphs = append(a.Graphs, x)
	}
	switch {
	case a.Ref != "":
	case a.Kind == AttrTensor && a.T == nil, a.Kind == AttrGraph && a.G == nil:
		return a, fault.New(fault.Malformed, "", "it has no value")
	}
	return a, nil
}

func (l *loader) function(p *onnx.FunctionProto) (*Function, error) {
	f := &Function{Domain: p.Domain, Name: p.Name, Doc: p.DocString, AttrNames: p.Attribute, Unknown: p.Unknown}
	for _, a := range p.AttributeProto {
		at, err := l.attr(a, nil)
		if err != nil {
			return nil, err
		}
		f.AttrDefaults = append(f.AttrDefaults, at)
	}
	var err error
	if f.Opsets, err = opsets(p.OpsetImport); err != nil {
		return nil, err
	}
	g := &Graph{Name: p.Name}
	s := &scope{vals: map[string]*Value{}}
	for _, name := range p.Input {
		if name == "" || s.vals[name] != nil {
			return nil, fault.New(fault.Malformed, fmt.Sprintf("input %q", name), "the name is empty or taken")
		}
		v := &Value{Name: name}
		s.vals[name] = v
		g.Inputs = append(g.Inputs, v)
	}
	if err := l.nodes(g, p.Node, s); err != nil {
		return nil, err
	}
	for _, name := range p.Output {
		v := s.vals[name]
		if v == nil {
			return nil, fault.New(fault.Malformed, fmt.Sprintf("output %q", name), "nothing in the function makes it")
		}
		g.Outputs = append(g.Outputs, v)
	}
	f.Body = g
	return f, nil
}

// info reads the declared type of a value.
func info(p *onnx.ValueInfoProto) (*Value, error) {
	v := &Value{Name: p.Name}
	if p.TypeBytes != nil {
		t, err := onnx.ParseType(p.TypeBytes)
		if err != nil {
			return nil, err
		}
		k, err := typeOf(t)
		if err != nil {
			return nil, err
		}
		v.DType, v.Shape, v.Elem = k.DType, k.Shape, k.Elem
		return v, nil
	}
	var err error
	v.DType, v.Shape, err = tensorType(p)
	return v, err
}

func typeOf(t *onnx.TypeProto) (*Type, error) {
	if t.Kind == onnx.KindTensor {
		d, s, err := tensorType(&t.Tensor)
		return &Type{DType: d, Shape: s}, err
	}
	k := &Type{DType: tensor.Sequence, Shape: []Dim{}}
	if t.Kind == onnx.KindOptional {
		k.DType = tensor.Optional
	}
	var err error
	k.Elem, err = typeOf(t.Elem)
	return k, err
}

func tensorType(p *onnx.ValueInfoProto) (tensor.DType, []Dim, error) {
	d := tensor.DType(p.ElemType)
	if p.ElemType < 0 || p.ElemType > 127 || p.ElemType != 0 && d.Bits() == 0 && d != tensor.String {
		return d, nil, fault.New(fault.Unsupported, "", "the element type %s", typeName(p.ElemType))
	}
	if !p.HasShape {
		return d, nil, nil
	}
	shape := []Dim{}
	for i, x := range p.Dims {
		switch {
		case x.HasValue && (x.Value < 0 || x.Value > math.MaxInt32*int64(64)):
			return d, nil, fault.New(fault.Malformed, "", "axis %d has the size %d", i, x.Value)
		case x.HasValue:
			shape = append(shape, D(int(x.Value)))
		default:
			shape = append(shape, Dim{Size: -1, Name: x.Param})
		}
	}
	return d, shape, nil
}

// typeName names the element types that ONNX has and Muster has not.
func typeName(t int32) string {
	names := map[int32]string{8: "string", 14: "complex64", 15: "complex128", 17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2",
		20: "float8e5m2fnuz", 23: "float4e2m1", 24: "float8e8m0", 25: "uint2", 26: "int2"}
	if n := names[t]; n != "" {
		return n
	}
	return fmt.Sprint(t)
}

// DecodeValue reads a serialized TensorProto, SequenceProto or OptionalProto, as the type of v says (test data, inputs from files).
func DecodeValue(v *Value, b []byte) (*tensor.Tensor, error) {
	kind := onnx.KindTensor
	switch v.DType {
	case tensor.Sequence:
		kind = onnx.KindSequence
	case tensor.Optional:
		kind = onnx.KindOptional
	}
	p, err := onnx.UnmarshalValue(kind, b)
	if err != nil {
		return nil, err
	}
	return valueOf(p)
}

func valueOf(p *onnx.ValueProto) (*tensor.Tensor, error) {
	if p.Kind == onnx.KindTensor {
		return (&loader{}).tensor(p.Tensor)
	}
	t := &tensor.Tensor{DType: tensor.Sequence, Shape: tensor.Shape{}}
	if p.Kind == onnx.KindOptional {
		if t.DType = tensor.Optional; len(p.Items) > 1 {
			return nil, fault.New(fault.Malformed, "", "an optional of %d values", len(p.Items))
		}
	}
	for _, i := range p.Items {
		x, err := valueOf(i)
		if err != nil {
			return nil, err
		}
		t.Items = append(t.Items, x)
	}
	return t, nil
}

// tensor reads the value of an initialiser or attribute.
func (l *loader) tensor(p *onnx.TensorProto) (*tensor.Tensor, error) {
	d := tensor.DType(p.DataType)
	if p.DataType <= 0 || p.DataType > 127 || d.Bits() == 0 {
		return nil, fault.New(fault.Unsupported, "", "the element type %s", typeName(p.DataType))
	}
	shape := make(tensor.Shape, len(p.Dims))
	for i, n := range p.Dims {
		if n < 0 || n > math.MaxInt64/2 {
			return nil, fault.New(fault.Malformed, "", "axis %d has the size %d", i, n)
		}
		shape[i] = int(n)
	}
	n, ok := shape.CheckedElems()
	if !ok || n > 1<<40 {
		return nil, fault.New(fault.Exhausted, "", "the shape %s has too many elements", shape)
	}
	want := d.Bytes(n)
	raw := p.RawData
	switch {
	case p.DataLocation == 1:
		b, err := l.outside(p, want)
		if err != nil {
			return nil, err
		}
		raw = b
	case !p.HasRaw:
		return typed(p, d, shape, n)
	}
	if len(raw) != want {
		return nil, fault.New(fault.Malformed, "", "%d bytes of data for %s %s, which takes %d", len(raw), d, shape, want)
	}
	return tensor.FromBytes(d, shape, l.aligned(d, raw)), nil
}

// aligned moves raw data that lie across the elements' alignment a few bytes to the left, over the length that stands
// there and has been read: most files have few aligned tensors, and copies of all would take the memory twice.
func (l *loader) aligned(d tensor.DType, raw []byte) []byte {
	if len(l.file) == 0 || len(raw) == 0 || d.Bits() <= 8 {
		return raw
	}
	at := int(uintptr(unsafe.Pointer(&raw[0])) - uintptr(unsafe.Pointer(&l.file[0])))
	shift := int(uintptr(unsafe.Pointer(&raw[0])) % uintptr(d.Bits()/8))
	if at < 0 || at+len(raw) > len(l.file) || shift > protowire.SizeBytes(len(raw))-len(raw) || shift > at {
		return raw // data from elsewhere, or there is no room
	}
	copy(l.file[at-shift:], raw)
	return l.file[at-shift : at-shift+len(raw) : at+len(raw)]
}

// typed reads the data fields that are not raw.
func typed(p *onnx.TensorProto, d tensor.DType, shape tensor.Shape, n int) (*tensor.Tensor, error) {
	have := 0
	switch d {
	case tensor.Float32:
		have = len(p.FloatData)
	case tensor.Float64:
		have = len(p.DoubleData)
	case tensor.Int64:
		have = len(p.Int64Data)
	case tensor.Uint32, tensor.Uint64:
		have = len(p.Uint64Data)
	default:
		have = len(p.Int32Data)
		if d.Bits() < 8 { // a byte of packed elements per number
			n = d.Bytes(n)
		}
	}
	if have != n {
		return nil, fault.New(fault.Malformed, "", "%d values for %s %s", have, d, shape)
	}
	t := tensor.New(d, shape...)
	switch d {
	case tensor.Float32:
		copy(t.Float32s(), p.FloatData)
	case tensor.Float64:
		copy(t.Float64s(), p.DoubleData)
	case tensor.Int64:
		copy(t.Int64s(), p.Int64Data)
	case tensor.Uint64:
		copy(t.Uint64s(), p.Uint64Data)
	case tensor.Uint32:
		for i, v := range p.Uint64Data {
			t.Uint32s()[i] = uint32(v)
		}
	case tensor.Int32:
		copy(t.Int32s(), p.Int32Data)
	default:
		for i, v := range p.Int32Data {
			if d.Bits() == 16 {
				t.Data[2*i], t.Data[2*i+1] = byte(v), byte(v>>8)
			} else {
				t.Data[i] = byte(v)
			}
		}
	}
	return t, nil
}

// outside reads want bytes from a file in the model's folder. os.Root refuses absolute
// paths, "..", and links that lead out of it.
func (l *loader) outside(p *onnx.TensorProto, want int) ([]byte, error) {
	if l.root == nil {
		return nil, fault.New(fault.Unsupported, "", "its data are in another file").WithHint("load the model from its folder")
	}
	kv := map[string]string{}
	for _, e := range p.ExternalData {
		kv[e.Key] = e.Value
	}
	off, err1 := number(kv["offset"], 0)
	n, err2 := number(kv["length"], int64(want))
	if err1 != nil || err2 != nil || n != int64(want) || off > math.MaxInt64-n {
		return nil, fault.New(fault.Malformed, "external data", "offset %q and length %q for %d bytes", kv["offset"], kv["length"], want)
	}
	// A pipe would block when it is opened, and one range can be read into a million tensors.
	if st, err := l.root.Stat(kv["location"]); err == nil && !st.Mode().IsRegular() {
		return nil, fault.New(fault.Malformed, "external data", "%q is not a file", kv["location"])
	}
	if l.external += want; !cpu.Affordable(l.external) {
		return nil, fault.New(fault.Exhausted, "external data", "%d bytes so far, there is less memory", l.external)
	}
	f, err := l.root.Open(kv["location"])
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "external data", "%.200q is not in the model's folder", kv["location"]).
			WithHint("copy it there: the model is not whole without it")
	}
	if err != nil {
		return nil, fault.New(fault.Denied, "external data", "%q: %w", kv["location"], err).
			WithHint("external data must be a file in the model's folder")
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() || st.Size() < off+n {
		return nil, fault.New(fault.Malformed, "external data", "%q is not a file with %d bytes at %d", kv["location"], n, off)
	}
	b := tensor.Alloc(want)
	if _, err := io.ReadFull(io.NewSectionReader(f, off, n), b); err != nil {
		return nil, fault.New(fault.Malformed, "external data", "%q: %w", kv["location"], err)
	}
	return b, nil
}

func number(s string, def int64) (int64, error) {
	if s == "" {
		return def, nil
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err == nil && v < 0 {
		err = strconv.ErrRange
	}
	return v, err
}
