// Package onnx reads and writes the wire format of ONNX models.
//
// Structs have the names of onnx.proto (ONNX 1.22, IR version 13). Fields that are not listed here are
// kept as bytes and written back. A tensor's raw data is a slice of the input.
package onnx

// ModelProto is onnx.ModelProto.
type ModelProto struct {
	IRVersion       int64
	ProducerName    string
	ProducerVersion string
	Domain          string
	ModelVersion    int64
	DocString       string
	Graph           *GraphProto
	OpsetImport     []OperatorSetIdProto
	MetadataProps   []StringStringEntryProto
	Functions       []*FunctionProto
	Unknown         []byte
}

// OperatorSetIdProto is onnx.OperatorSetIdProto.
type OperatorSetIdProto struct {
	Domain  string
	Version int64
}

// StringStringEntryProto is onnx.StringStringEntryProto.
type StringStringEntryProto struct{ Key, Value string }

// GraphProto is onnx.GraphProto.
type GraphProto struct {
	Node        []*NodeProto
	Name        string
	Initializer []*TensorProto
	DocString   string
	Input       []*ValueInfoProto
	Output      []*ValueInfoProto
	ValueInfo   []*ValueInfoProto
	Sparse      int // sparse initialisers, which are not supported
	Unknown     []byte
}

// NodeProto is onnx.NodeProto.
type NodeProto struct {
	Input     []string
	Output    []string
	Name      string
	OpType    string
	Attribute []*AttributeProto
	DocString string
	Domain    string
	Unknown   []byte
}

// AttributeProto is onnx.AttributeProto.
type AttributeProto struct {
	Name        string
	F           float32
	I           int64
	S           []byte
	T           *TensorProto
	G           *GraphProto
	Floats      []float32
	Ints        []int64
	Strings     [][]byte
	Tensors     []*TensorProto
	Graphs      []*GraphProto
	TP          []byte // a TypeProto, read by ParseType
	DocString   string
	Type        int32
	RefAttrName string
	Unknown     []byte
}

// TensorProto is onnx.TensorProto. Exactly one of the data fields is used.
type TensorProto struct {
	Dims         []int64
	DataType     int32
	FloatData    []float32
	Int32Data    []int32
	StringData   [][]byte
	Int64Data    []int64
	Name         string
	DoubleData   []float64
	Uint64Data   []uint64
	RawData      []byte
	HasRaw       bool
	DocString    string
	ExternalData []StringStringEntryProto
	DataLocation int32 // 1: external
	Unknown      []byte
}

// ValueInfoProto is onnx.ValueInfoProto with its type taken apart: tensors only.
// Other types keep their bytes in TypeBytes.
type ValueInfoProto struct {
	Name      string
	ElemType  int32
	HasShape  bool
	Dims      []Dimension
	TypeBytes []byte // a type that is not a tensor
	DocString string
	Unknown   []byte
}

// Dimension is onnx.TensorShapeProto.Dimension.
type Dimension struct {
	Value    int64
	HasValue bool
	Param    string
}

// FunctionProto is onnx.FunctionProto.
type FunctionProto struct {
	Name           string
	Input          []string
	Output         []string
	Attribute      []string
	AttributeProto []*AttributeProto
	Node           []*NodeProto
	DocString      string
	OpsetImport    []OperatorSetIdProto
	Domain         string
	Unknown        []byte
}
