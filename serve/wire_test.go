package serve

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"muster/fault"
	"muster/tensor"
)

func TestDecodeJSON(t *testing.T) {
	q, err := DecodeInfer([]byte(`{"id":"a","inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[[1,2],[3,4.5]]},
		{"name":"y","datatype":"INT64","shape":[2],"data":[-1,9007199254740993]},{"name":"b","datatype":"BOOL","shape":[2],"data":[true,false]}],
		"outputs":[{"name":"z","parameters":{"binary_data":true}},{"name":"w"}]}`), "")
	if err != nil {
		t.Fatal(err)
	}
	if got := q.Inputs["x"].Float32s(); got[3] != 4.5 || q.ID != "a" {
		t.Errorf("x %v id %q", got, q.ID)
	}
	if got := q.Inputs["y"].Int64s()[1]; got != 9007199254740993 {
		t.Errorf("a 64-bit integer lost bits: %d", got)
	}
	if b := q.Inputs["b"].Bools(); !b[0] || b[1] {
		t.Errorf("b %v", b)
	}
	if !q.Binary["z"] || q.Binary["w"] || len(q.Outputs) != 2 {
		t.Errorf("outputs %v %v", q.Outputs, q.Binary)
	}
}

// binaryRequest is what tritonclient sends by default.
func binaryRequest(vals []float32, shape string) (body []byte, header string) {
	raw := make([]byte, 4*len(vals))
	for i, v := range vals {
		binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(v))
	}
	head := fmt.Sprintf(`{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","datatype":"FP32","shape":%s,"parameters":{"binary_data_size":%d}}]}`, shape, len(raw))
	return append([]byte(head), raw...), strconv.Itoa(len(head))
}

func TestDecodeBinary(t *testing.T) {
	body, h := binaryRequest([]float32{1, -2, 3, 4, 5, 6}, "[2,3]")
	q, err := DecodeInfer(body, h)
	if err != nil {
		t.Fatal(err)
	}
	if !q.AllBinary || q.Inputs["x"].Float32s()[1] != -2 || !q.Inputs["x"].Shape.Equal(tensor.Shape{2, 3}) {
		t.Errorf("%+v %v", q, q.Inputs["x"])
	}
}

func TestDecodeRefuses(t *testing.T) {
	bin, h := binaryRequest([]float32{1, 2}, "[2]")
	for _, c := range []struct {
		name, body, header string
		class              fault.Class
	}{
		{"no JSON", `hello`, "", fault.Malformed},
		{"no inputs", `{}`, "", fault.Malformed},
		{"cut off", string(bin[:len(bin)-1]), h, fault.Malformed},
		{"bytes left over", string(bin) + "x", h, fault.Malformed},
		{"header beyond the body", string(bin), "100000", fault.Malformed},
		{"negative header", string(bin), "-1", fault.Malformed},
		{"header no number", string(bin), "abc", fault.Malformed},
		{"unknown type", `{"inputs":[{"name":"x","datatype":"FP8","shape":[1],"data":[1]}]}`, "", fault.Unsupported},
		{"negative shape", `{"inputs":[{"name":"x","datatype":"FP32","shape":[-1],"data":[1]}]}`, "", fault.Malformed},
		{"overflowing shape", `{"inputs":[{"name":"x","datatype":"FP32","shape":[2147483647,2147483647,2147483647],"data":[1]}]}`, "", fault.Exhausted},
		{"huge shape, little data", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1000000000],"data":[1]}]}`, "", fault.Mismatch},
		{"too few", `{"inputs":[{"name":"x","datatype":"FP32","shape":[3],"data":[1,2]}]}`, "", fault.Mismatch},
		{"too many", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1,2]}]}`, "", fault.Mismatch},
		{"a string", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":["1"]}]}`, "", fault.Mismatch},
		{"beyond int8", `{"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":[200]}]}`, "", fault.Mismatch},
		{"fraction for an integer", `{"inputs":[{"name":"x","datatype":"INT32","shape":[1],"data":[1.5]}]}`, "", fault.Mismatch},
		{"beyond FP32", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1e300]}]}`, "", fault.Mismatch},
		{"twice", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]},{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}`, "", fault.Malformed},
		{"long id", `{"id":"` + strings.Repeat("a", 257) + `","inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}`, "", fault.Malformed},
		{"deep", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":` + strings.Repeat("[", 40) + "1" + strings.Repeat("]", 40) + `}]}`, "", fault.Malformed},
		{"size is a string", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":"4"}}]}`, "3", fault.Malformed},
	} {
		_, err := DecodeInfer([]byte(c.body), c.header)
		if err == nil {
			t.Errorf("%s: accepted", c.name)
		} else if got := fault.ClassOf(err); got != c.class && c.name != "size is a string" {
			t.Errorf("%s: %s (%v), want %s", c.name, got, err, c.class)
		}
	}
}

func TestWriteInferRoundTrip(t *testing.T) {
	outs := []named{{"f", tensor.OfFloat32([]float32{1, 2.5}, 1, 2)}, {"i", tensor.OfInt64([]int64{1 << 60}, 1)}}
	w := httptest.NewRecorder()
	if err := writeInfer(w, &Infer{ID: "q", AllBinary: true}, "m", "1", nil, outs); err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(w.Header().Get(headerLength))
	if err != nil || w.Body.Len() != n+16 {
		t.Fatalf("%d bytes, header %q", w.Body.Len(), w.Header().Get(headerLength))
	}
	if v := math.Float32frombits(binary.LittleEndian.Uint32(w.Body.Bytes()[n+4:])); v != 2.5 {
		t.Errorf("second float is %v", v)
	}
	w = httptest.NewRecorder()
	if err := writeInfer(w, &Infer{}, "m", "1", nil, outs); err != nil {
		t.Fatal(err)
	}
	var r struct {
		Outputs []struct {
			Data []json.Number `json:"data"`
		} `json:"outputs"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || r.Outputs[1].Data[0] != "1152921504606846976" {
		t.Errorf("%v %s", err, w.Body)
	}
	nan := []named{{"f", tensor.OfFloat32([]float32{float32(math.NaN())}, 1)}}
	if err := writeInfer(httptest.NewRecorder(), &Infer{}, "m", "1", nil, nan); fault.ClassOf(err) != fault.Numeric {
		t.Errorf("NaN in JSON: %v", err)
	}
}

func FuzzDecodeInfer(f *testing.F) {
	bin, h := binaryRequest([]float32{1, 2}, "[2]")
	f.Add(bin, h)
	f.Add([]byte(`{"inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[[1,2],[3,4]]}],"outputs":[{"name":"y"}]}`), "")
	f.Add([]byte(`{"inputs":[{"name":"x","datatype":"UINT64","shape":[1],"data":[18446744073709551615]}]}`), "")
	f.Fuzz(func(t *testing.T, body []byte, header string) {
		q, err := DecodeInfer(body, header)
		if err != nil {
			if fault.ClassOf(err) == fault.Internal {
				t.Fatalf("an error without a class: %v", err)
			}
			return
		}
		for name, x := range q.Inputs {
			n, ok := x.Shape.CheckedElems()
			if !ok || x.DType.Bytes(n) != len(x.Data) {
				t.Fatalf("input %q: %s %s with %d bytes", name, x.DType, x.Shape, len(x.Data))
			}
		}
	})
}
