package serve

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"unicode/utf8"

	"muster/fault"
	"muster/tensor"
)

// The wire format of the Open Inference Protocol v2 (REST), with the binary
// tensor extension that tritonclient uses by default: a JSON header whose length
// is in Inference-Header-Content-Length, then the raw little-endian bytes of the
// tensors that carry the parameter binary_data_size.

// headerLength is the HTTP header of the binary tensor extension.
const headerLength = "Inference-Header-Content-Length"

// oipTypes maps OIP datatype names to dtypes.
var oipTypes = map[string]tensor.DType{
	"BOOL": tensor.Bool, "UINT8": tensor.Uint8, "UINT16": tensor.Uint16, "UINT32": tensor.Uint32, "UINT64": tensor.Uint64,
	"INT8": tensor.Int8, "INT16": tensor.Int16, "INT32": tensor.Int32, "INT64": tensor.Int64,
	"FP16": tensor.Float16, "FP32": tensor.Float32, "FP64": tensor.Float64, "BF16": tensor.BFloat16,
}

// oipName returns the OIP name of d, "" if it has none.
func oipName(d tensor.DType) string {
	for n, t := range oipTypes {
		if t == d {
			return n
		}
	}
	return ""
}

// inferRequest is the JSON part of a request.
type inferRequest struct {
	ID         string          `json:"id"`
	Parameters map[string]any  `json:"parameters"`
	Inputs     []requestInput  `json:"inputs"`
	Outputs    []requestOutput `json:"outputs"`
}

type requestInput struct {
	Name       string          `json:"name"`
	Shape      []int64         `json:"shape"`
	Datatype   string          `json:"datatype"`
	Parameters map[string]any  `json:"parameters"`
	Data       json.RawMessage `json:"data"`
}

type requestOutput struct {
	Name       string         `json:"name"`
	Parameters map[string]any `json:"parameters"`
}

// inferResponse is the JSON part of a response.
type inferResponse struct {
	ModelName    string           `json:"model_name"`
	ModelVersion string           `json:"model_version"`
	ID           string           `json:"id,omitempty"`
	Parameters   map[string]any   `json:"parameters,omitempty"`
	Outputs      []responseOutput `json:"outputs"`
}

type responseOutput struct {
	Name       string         `json:"name"`
	Shape      []int          `json:"shape"`
	Datatype   string         `json:"datatype"`
	Parameters map[string]any `json:"parameters,omitempty"`
	Data       any            `json:"data,omitempty"`
}

// Infer is a decoded request.
type Infer struct {
	ID        string
	Inputs    map[string]*tensor.Tensor
	Outputs   []string        // requested outputs in order; nil: all
	Binary    map[string]bool // outputs wanted as raw bytes
	AllBinary bool            // binary_data_output on the request
}

// maxTensors bounds the tensors of one request.
const maxTensors = 64

// DecodeInfer reads a request body; header is the value of the header-length
// header ("" if absent). The caller has bounded len(body).
func DecodeInfer(body []byte, header string) (*Infer, error) {
	head, raw := body, []byte(nil)
	if header != "" {
		n, err := strconv.Atoi(header)
		if err != nil || n < 0 || n > len(body) {
			return nil, fault.New(fault.Malformed, headerLength, "%q is not a length within the body of %d bytes", header, len(body))
		}
		head, raw = body[:n], body[n:]
	}
	var r inferRequest
	if err := json.Unmarshal(head, &r); err != nil {
		return nil, fault.New(fault.Malformed, "request", "the JSON header: %w", err)
	}
	if len(r.Inputs) == 0 || len(r.Inputs) > maxTensors || len(r.Outputs) > maxTensors {
		return nil, fault.New(fault.Malformed, "request", "it has %d inputs and %d outputs; 1 to %d are allowed", len(r.Inputs), len(r.Outputs), maxTensors)
	}
	if len(r.ID) > 256 || !utf8.ValidString(r.ID) {
		return nil, fault.New(fault.Malformed, "request", "the id is longer than 256 bytes")
	}
	q := &Infer{ID: r.ID, Inputs: map[string]*tensor.Tensor{}, Binary: map[string]bool{}}
	q.AllBinary, _ = r.Parameters["binary_data_output"].(bool)
	for i := range r.Inputs {
		in := &r.Inputs[i]
		t, rest, err := decodeTensor(in, raw)
		if err != nil {
			return nil, fault.At(fmt.Sprintf("input %q", in.Name), err)
		}
		raw = rest
		if q.Inputs[in.Name] != nil {
			return nil, fault.New(fault.Malformed, "request", "input %q is given twice", in.Name)
		}
		q.Inputs[in.Name] = t
	}
	if len(raw) > 0 {
		return nil, fault.New(fault.Malformed, "request", "%d bytes are left behind the last binary tensor", len(raw))
	}
	for _, o := range r.Outputs {
		q.Outputs = append(q.Outputs, o.Name)
		b, given := o.Parameters["binary_data"].(bool)
		q.Binary[o.Name] = b || !given && q.AllBinary
	}
	return q, nil
}

func decodeTensor(in *requestInput, raw []byte) (*tensor.Tensor, []byte, error) {
	d, ok := oipTypes[in.Datatype]
	if !ok {
		return nil, nil, fault.New(fault.Unsupported, "datatype", "%q is not one of the types Muster takes", in.Datatype)
	}
	if len(in.Shape) > 16 {
		return nil, nil, fault.New(fault.Malformed, "shape", "%d axes", len(in.Shape))
	}
	shape := make(tensor.Shape, len(in.Shape))
	for i, n := range in.Shape {
		if n < 0 || n > math.MaxInt32 {
			return nil, nil, fault.New(fault.Malformed, "shape", "axis %d is %d", i, n)
		}
		shape[i] = int(n)
	}
	n, ok := shape.CheckedElems()
	if !ok || n > math.MaxInt32 {
		return nil, nil, fault.New(fault.Exhausted, "shape", "%v has too many elements", in.Shape)
	}
	if size, ok := in.Parameters["binary_data_size"]; ok {
		return decodeBinary(d, shape, n, size, in.Data, raw)
	}
	t, err := decodeJSON(d, shape, n, in.Data)
	return t, raw, err
}

func decodeBinary(d tensor.DType, shape tensor.Shape, n int, size any, data json.RawMessage, raw []byte) (*tensor.Tensor, []byte, error) {
	f, ok := size.(float64)
	if !ok || f != math.Trunc(f) || f < 0 || f > float64(len(raw)) {
		return nil, nil, fault.New(fault.Malformed, "binary_data_size", "%v bytes are declared, %d are left", size, len(raw))
	}
	if len(data) > 0 && string(data) != "null" {
		return nil, nil, fault.New(fault.Malformed, "data", "data and binary_data_size are both given")
	}
	if int(f) != d.Bytes(n) {
		return nil, nil, fault.New(fault.Mismatch, "binary_data_size", "%d bytes do not fill %s %s (%d bytes)", int(f), d, shape, d.Bytes(n))
	}
	t := tensor.FromBytes(d, shape, append(tensor.Alloc(int(f))[:0], raw[:int(f)]...))
	if d == tensor.Bool {
		for i, b := range t.Data {
			if b > 1 {
				return nil, nil, fault.New(fault.Malformed, "data", "element %d is %d, a BOOL is 0 or 1", i, b)
			}
		}
	}
	return t, raw[int(f):], nil
}

// decodeJSON reads data as a flat or nested array of numbers or booleans.
func decodeJSON(d tensor.DType, shape tensor.Shape, n int, data json.RawMessage) (*tensor.Tensor, error) {
	if d == tensor.Float16 || d == tensor.BFloat16 {
		return nil, fault.New(fault.Unsupported, "datatype", "16-bit floats have no JSON form; send them as binary data")
	}
	if n > len(data) { // every element takes at least one byte of JSON
		return nil, fault.New(fault.Mismatch, "data", "it is too short for %d elements", n)
	}
	t := tensor.New(d, shape...)
	w := jsonWalk{t: t, d: d, n: n}
	var x any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&x); err != nil {
		return nil, fault.New(fault.Malformed, "data", "%w", err)
	}
	if err := w.walk(x, 0); err != nil {
		return nil, err
	}
	if w.i != n {
		return nil, fault.New(fault.Mismatch, "data", "%d elements for the shape %s (%d)", w.i, shape, n)
	}
	return t, nil
}

// jsonWalk fills a tensor from nested JSON arrays in order.
type jsonWalk struct {
	t    *tensor.Tensor
	d    tensor.DType
	i, n int
}

func (w *jsonWalk) walk(x any, depth int) error {
	if list, ok := x.([]any); ok {
		if depth > 16 {
			return fault.New(fault.Malformed, "data", "nested deeper than 16")
		}
		for _, e := range list {
			if err := w.walk(e, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if w.i >= w.n {
		return fault.New(fault.Mismatch, "data", "more than %d elements", w.n)
	}
	err := w.set(x)
	w.i++
	return err
}

// limits are the value ranges of the integer types.
var limits = map[tensor.DType][2]int64{
	tensor.Int8: {math.MinInt8, math.MaxInt8}, tensor.Int16: {math.MinInt16, math.MaxInt16}, tensor.Int32: {math.MinInt32, math.MaxInt32},
	tensor.Int64: {math.MinInt64, math.MaxInt64}, tensor.Uint8: {0, math.MaxUint8}, tensor.Uint16: {0, math.MaxUint16}, tensor.Uint32: {0, math.MaxUint32},
}

func (w *jsonWalk) set(x any) error {
	bad := func(why string) error {
		return fault.New(fault.Mismatch, "data", "element %d, %v, %s", w.i, x, why)
	}
	if b, ok := x.(bool); ok && w.d == tensor.Bool {
		w.t.Bools()[w.i] = b
		return nil
	}
	num, ok := x.(json.Number)
	if !ok || w.d == tensor.Bool {
		return bad("is not a " + oipName(w.d))
	}
	switch w.d {
	case tensor.Float32, tensor.Float64:
		f, err := num.Float64()
		if err != nil {
			return bad("is out of range")
		}
		if w.d == tensor.Float64 {
			w.t.Float64s()[w.i] = f
			return nil
		}
		if math.Abs(f) > math.MaxFloat32 {
			return bad("is out of the range of FP32")
		}
		w.t.Float32s()[w.i] = float32(f)
		return nil
	case tensor.Uint64:
		u, err := strconv.ParseUint(num.String(), 10, 64)
		if err != nil {
			return bad("is not a UINT64")
		}
		w.t.Uint64s()[w.i] = u
		return nil
	}
	v, err := strconv.ParseInt(num.String(), 10, 64)
	if l := limits[w.d]; err != nil || v < l[0] || v > l[1] {
		return bad("is not a " + oipName(w.d))
	}
	switch size := w.d.Bits() / 8; size {
	case 1:
		w.t.Data[w.i] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(w.t.Data[2*w.i:], uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(w.t.Data[4*w.i:], uint32(v))
	case 8:
		binary.LittleEndian.PutUint64(w.t.Data[8*w.i:], uint64(v))
	}
	return nil
}

// named is an output tensor with its name.
type named struct {
	name string
	t    *tensor.Tensor
}

// writeInfer answers with JSON, or JSON and raw bytes if any output is wanted so.
func writeInfer(w http.ResponseWriter, q *Infer, model, version string, params map[string]any, outs []named) error {
	resp := inferResponse{ModelName: model, ModelVersion: version, ID: q.ID, Parameters: params, Outputs: []responseOutput{}}
	var raw [][]byte
	for _, o := range outs {
		r := responseOutput{Name: o.name, Shape: o.t.Shape, Datatype: oipName(o.t.DType)}
		asked, listed := q.Binary[o.name]
		if asked || !listed && q.AllBinary {
			r.Parameters = map[string]any{"binary_data_size": len(o.t.Data)}
			raw = append(raw, o.t.Data)
		} else {
			v, err := jsonValues(o.t)
			if err != nil {
				return fault.At(fmt.Sprintf("output %q", o.name), err)
			}
			r.Data = v
		}
		resp.Outputs = append(resp.Outputs, r)
	}
	head, err := json.Marshal(resp)
	if err != nil {
		return err
	}
	total := len(head)
	for _, b := range raw {
		total += len(b)
	}
	w.Header().Set("Content-Length", strconv.Itoa(total))
	if raw == nil {
		w.Header().Set("Content-Type", "application/json")
	} else {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set(headerLength, strconv.Itoa(len(head)))
	}
	w.Write(head) // a client that went away is not our error
	for _, b := range raw {
		w.Write(b)
	}
	return nil
}

// jsonValues returns the elements of t flat, in a type that encoding/json prints as numbers.
func jsonValues(t *tensor.Tensor) (any, error) {
	switch t.DType {
	case tensor.Float32:
		for i, v := range t.Float32s() {
			if v != v || math.IsInf(float64(v), 0) {
				return nil, fault.New(fault.Numeric, "", "element %d is %g, which JSON cannot carry; ask for binary data", i, v)
			}
		}
		return t.Float32s(), nil
	case tensor.Bool:
		return t.Bools(), nil
	case tensor.Int64:
		return t.Int64s(), nil
	case tensor.Uint64:
		return t.Uint64s(), nil
	}
	if oipName(t.DType) == "" || t.DType.Bits() == 16 && t.DType.IsFloat() {
		return nil, fault.New(fault.Unsupported, "", "%s has no JSON form; ask for binary data", t.DType)
	}
	out := make([]float64, t.Elems()) // exact for every integer of up to 32 bits, and for float64
	for i := range out {
		out[i] = t.Float(i)
		if math.IsNaN(out[i]) || math.IsInf(out[i], 0) {
			return nil, fault.New(fault.Numeric, "", "element %d is not finite; ask for binary data", i)
		}
	}
	return out, nil
}

// readBody reads at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, fault.New(fault.Exhausted, "request", "the body has %d bytes, the limit is %d", r.ContentLength, limit).
			WithHint("send fewer rows per request, or raise --max-body")
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		if _, ok := err.(*http.MaxBytesError); ok {
			return nil, fault.New(fault.Exhausted, "request", "the body is longer than %d bytes", limit).
				WithHint("send fewer rows per request, or raise --max-body")
		}
		return nil, fault.New(fault.Malformed, "request", "reading the body: %w", err)
	}
	return b, nil
}
