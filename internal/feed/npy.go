package feed

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// ReadFile reads a tensor from a .npy file (NumPy) or a .pb file (ONNX TensorProto).
func ReadFile(path string) (*tensor.Tensor, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.NotFound, path, "%w", err)
	}
	var t *tensor.Tensor
	switch {
	case bytes.HasPrefix(b, []byte(npyMagic)):
		t, err = DecodeNPY(b)
	case strings.HasSuffix(path, ".pb"):
		t, err = decodePB(b)
	default:
		err = fault.New(fault.Unsupported, "", "it is neither .npy nor .pb").WithHint("numpy.save writes .npy, onnx.numpy_helper.from_array(...).SerializeToString() a .pb")
	}
	return t, fault.At(path, err)
}

// decodePB reads a TensorProto as the only initialiser of a model, with the checks that those get.
func decodePB(b []byte) (*tensor.Tensor, error) {
	field := func(to []byte, n protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(to, n, protowire.BytesType), b)
	}
	opset := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 17)
	model := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 8)
	g, err := graph.Decode(field(field(model, 7, field(nil, 5, b)), 8, opset))
	if err != nil {
		return nil, err
	}
	return g.Inits[0].Const, nil
}

const npyMagic = "\x93NUMPY"

// npyTypes are the array types that NumPy and ONNX share.
var npyTypes = map[string]tensor.DType{
	"<f4": tensor.Float32, "<f8": tensor.Float64, "<f2": tensor.Float16, "|u1": tensor.Uint8, "|i1": tensor.Int8,
	"<u2": tensor.Uint16, "<i2": tensor.Int16, "<u4": tensor.Uint32, "<i4": tensor.Int32,
	"<u8": tensor.Uint64, "<i8": tensor.Int64, "|b1": tensor.Bool,
}

var (
	npyDescr   = regexp.MustCompile(`'descr':\s*'([^']+)'`)
	npyShape   = regexp.MustCompile(`'shape':\s*\(([^)]*)\)`)
	npyFortran = regexp.MustCompile(`'fortran_order':\s*True`)
)

// DecodeNPY reads NumPy's array format, versions 1 to 3 (numpy.lib.format), little-endian and in C order.
func DecodeNPY(b []byte) (*tensor.Tensor, error) {
	bad := func(format string, args ...any) error { return fault.New(fault.Malformed, "npy", format, args...) }
	if len(b) < 12 || string(b[:6]) != npyMagic {
		return nil, bad("the file does not begin as NumPy's arrays do")
	}
	start, n := 10, int(binary.LittleEndian.Uint16(b[8:]))
	if b[6] >= 2 {
		start, n = 12, int(binary.LittleEndian.Uint32(b[8:]))
	}
	if n > len(b)-start {
		return nil, bad("the header is cut off")
	}
	head, data := string(b[start:start+n]), b[start+n:]
	descr, dims := npyDescr.FindStringSubmatch(head), npyShape.FindStringSubmatch(head)
	if descr == nil || dims == nil {
		return nil, bad("the header %q has no type or shape", head)
	}
	d, ok := npyTypes[descr[1]]
	if !ok || npyFortran.MatchString(head) {
		return nil, fault.New(fault.Unsupported, "npy", "arrays of %s, or in Fortran order", descr[1]).WithHint("numpy.ascontiguousarray(x).astype('float32')")
	}
	shape := tensor.Shape{}
	for _, f := range strings.Split(dims[1], ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		v, err := strconv.Atoi(f)
		if err != nil || v < 0 {
			return nil, bad("the shape (%s)", dims[1])
		}
		shape = append(shape, v)
	}
	if n, ok := shape.CheckedElems(); !ok || n > 1<<40 || d.Bytes(n) != len(data) {
		return nil, bad("%d bytes of data for %s %s", len(data), d, shape)
	}
	return tensor.FromBytes(d, shape, data), nil
}

// EncodeNPY writes NumPy's array format, version 1.
func EncodeNPY(t *tensor.Tensor) ([]byte, error) {
	for descr, d := range npyTypes {
		if d != t.DType {
			continue
		}
		var dims strings.Builder
		for _, n := range t.Shape {
			fmt.Fprintf(&dims, "%d, ", n)
		}
		head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, strings.TrimRight(dims.String(), " "))
		if len(t.Shape) > 1 {
			head = strings.Replace(head, ",), }", "), }", 1)
		}
		head += strings.Repeat(" ", 63-(10+len(head))%64) + "\n"
		b := append([]byte(npyMagic), 1, 0)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(head)))
		return append(append(b, head...), t.Data...), nil
	}
	return nil, fault.New(fault.Unsupported, "npy", "NumPy has no %s", t.DType)
}
