package graph

import (
	"sort"

	"muster/fault"
	"muster/internal/atomicfile"
	"muster/onnx"
	"muster/record"
	"muster/tensor"
)

// Encode writes g as an ONNX model. The same graph gives the same bytes.
func (g *Graph) Encode() ([]byte, error) {
	if g.Model == nil {
		return nil, fault.New(fault.Unsupported, "graph "+g.Name, "a subgraph is not a model")
	}
	if err := g.Verify(); err != nil {
		return nil, err
	}
	m := &onnx.ModelProto{IRVersion: g.Model.IRVersion, ProducerName: g.Model.Producer, ProducerVersion: g.Model.ProducerVersion,
		Domain: g.Model.Domain, ModelVersion: g.Model.Version, DocString: g.Model.Doc, Graph: graphProto(g),
		OpsetImport: opsetProtos(g.Model.Opsets), Unknown: g.Model.Unknown}
	for _, p := range g.Model.Metadata {
		m.MetadataProps = append(m.MetadataProps, onnx.StringStringEntryProto{Key: p.Key, Value: p.Value})
	}
	for _, f := range g.Model.Functions {
		m.Functions = append(m.Functions, functionProto(f))
	}
	b := m.Marshal()
	if len(b) >= onnx.MaxBytes {
		return nil, fault.New(fault.Exhausted, "graph "+g.Name, "the model has %d bytes; one file holds less than 2 GiB", len(b))
	}
	return b, nil
}

// Digest names the model by the SHA-256 of its file.
func (g *Graph) Digest() (record.Digest, error) {
	b, err := g.Encode()
	if err != nil {
		return "", err
	}
	return record.DigestBytes(b), nil
}

// Save writes g to path: completely, or not at all.
func (g *Graph) Save(path string) error {
	b, err := g.Encode()
	if err != nil {
		return err
	}
	return atomicfile.Write(path, b, 0o644)
}

func opsetProtos(m map[string]int) []onnx.OperatorSetIdProto {
	var out []onnx.OperatorSetIdProto
	for d, v := range m {
		out = append(out, onnx.OperatorSetIdProto{Domain: d, Version: int64(v)})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Domain < out[j].Domain })
	return out
}

func graphProto(g *Graph) *onnx.GraphProto {
	p := &onnx.GraphProto{Name: g.Name, DocString: g.Doc, Unknown: g.Unknown, Node: nodeProtos(g.Nodes)}
	for _, v := range g.Inits {
		p.Initializer = append(p.Initializer, tensorProto(v.Name, v.Const))
	}
	for _, v := range g.Inputs {
		p.Input = append(p.Input, infoProto(v))
	}
	for _, v := range g.Outputs {
		p.Output = append(p.Output, infoProto(v))
	}
	return p
}

func nodeProtos(nodes []*Node) []*onnx.NodeProto {
	var out []*onnx.NodeProto
	for _, n := range nodes {
		p := &onnx.NodeProto{Input: names(n.Inputs), Output: names(n.Outputs), Name: n.Name, OpType: n.Op, DocString: n.Doc, Domain: n.Domain, Unknown: n.Unknown}
		for i := range n.Attrs {
			p.Attribute = append(p.Attribute, attrProto(&n.Attrs[i]))
		}
		out = append(out, p)
	}
	return out
}

func names(vs []*Value) []string {
	out := make([]string, len(vs))
	for i, v := range vs {
		if v != nil {
			out[i] = v.Name
		}
	}
	return out
}

func attrProto(a *Attr) *onnx.AttributeProto {
	p := &onnx.AttributeProto{Name: a.Name, Type: int32(a.Kind), F: a.F, I: a.I, S: a.S, Floats: a.Floats, Ints: a.Ints, Strings: a.Strings,
		RefAttrName: a.Ref, Unknown: a.Unknown}
	if a.T != nil {
		p.T = tensorProto("", a.T)
	}
	if a.G != nil {
		p.G = graphProto(a.G)
	}
	if a.Type != nil {
		p.TP = typeProto(a.Type).Bytes()
	}
	for _, t := range a.Tensors {
		p.Tensors = append(p.Tensors, tensorProto("", t))
	}
	for _, g := range a.Graphs {
		p.Graphs = append(p.Graphs, graphProto(g))
	}
	return p
}

func tensorProto(name string, t *tensor.Tensor) *onnx.TensorProto {
	p := &onnx.TensorProto{Name: name, DataType: int32(t.DType), RawData: t.Data, HasRaw: true}
	for _, n := range t.Shape {
		p.Dims = append(p.Dims, int64(n))
	}
	return p
}

func infoProto(v *Value) *onnx.ValueInfoProto {
	if v.DType.IsContainer() {
		t := typeProto(&Type{DType: v.DType, Elem: v.Elem})
		return &onnx.ValueInfoProto{Name: v.Name, TypeBytes: t.Bytes()}
	}
	return tensorInfo(v)
}

func typeProto(t *Type) *onnx.TypeProto {
	kind := map[tensor.DType]onnx.Kind{tensor.Sequence: onnx.KindSequence, tensor.Optional: onnx.KindOptional}[t.DType]
	if kind == 0 {
		return &onnx.TypeProto{Kind: onnx.KindTensor, Tensor: *tensorInfo(&Value{DType: t.DType, Shape: t.Shape})}
	}
	elem := t.Elem
	if elem == nil {
		elem = &Type{}
	}
	return &onnx.TypeProto{Kind: kind, Elem: typeProto(elem)}
}

func tensorInfo(v *Value) *onnx.ValueInfoProto {
	p := &onnx.ValueInfoProto{Name: v.Name, ElemType: int32(v.DType), HasShape: v.Shape != nil}
	for _, d := range v.Shape {
		p.Dims = append(p.Dims, onnx.Dimension{Value: int64(max(d.Size, 0)), HasValue: d.Known(), Param: d.Name})
	}
	for i := range p.Dims {
		if p.Dims[i].HasValue {
			p.Dims[i].Param = ""
		}
	}
	return p
}

func functionProto(f *Function) *onnx.FunctionProto {
	p := &onnx.FunctionProto{Name: f.Name, Domain: f.Domain, DocString: f.Doc, Attribute: f.AttrNames, OpsetImport: opsetProtos(f.Opsets), Unknown: f.Unknown,
		Input: names(f.Body.Inputs), Output: names(f.Body.Outputs)}
	for i := range f.AttrDefaults {
		p.AttributeProto = append(p.AttributeProto, attrProto(&f.AttrDefaults[i]))
	}
	// Constants of a body are nodes: a function has no initialisers.
	for _, v := range f.Body.Inits {
		p.Node = append(p.Node, &onnx.NodeProto{OpType: "Constant", Output: []string{v.Name},
			Attribute: []*onnx.AttributeProto{{Name: "value", Type: int32(AttrTensor), T: tensorProto("", v.Const)}}})
	}
	p.Node = append(p.Node, nodeProtos(f.Body.Nodes)...)
	return p
}
