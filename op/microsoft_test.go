package op_test

import (
	"encoding/json"
	"os"
	"testing"

	"muster/graph"
	"muster/tensor"
)

// golden is one call of an operator as ONNX Runtime 1.32 answered it (its CPU provider, optimisations off): inputs were
// drawn from a normal distribution and rounded, outputs are as they came. An output that is null was not kept.
type golden struct {
	Op, Domain, Note string
	Attrs            map[string]any
	In, Out          []*goldenTensor
}

type goldenTensor struct {
	Type  tensor.DType
	Shape []int
	Data  []float64
}

func (g *goldenTensor) tensor() *tensor.Tensor {
	t := tensor.New(g.Type, g.Shape...)
	for i, v := range g.Data {
		switch g.Type {
		case tensor.Float32:
			t.Float32s()[i] = float32(v)
		case tensor.Int64:
			t.Int64s()[i] = int64(v)
		case tensor.Int32:
			t.Int32s()[i] = int32(v)
		case tensor.Int8:
			t.Int8s()[i] = int8(v)
		default:
			t.Uint8s()[i] = uint8(v)
		}
	}
	return t
}

// attr is an attribute from JSON: numbers with a fraction in the file are floats.
func (g golden) attrs() []graph.Attr {
	floats := map[string]bool{"scale": true, "epsilon": true, "softcap": true, "alpha": true, "mask_filter_value": true, "activation_alpha": true, "activation_beta": true, "swiglu_limit": true}
	var a []graph.Attr
	for name, v := range g.Attrs {
		switch x := v.(type) {
		case float64:
			if floats[name] {
				a = append(a, graph.Float(name, float32(x)))
			} else {
				a = append(a, graph.Int(name, int64(x)))
			}
		case string:
			a = append(a, graph.Str(name, x))
		case []any:
			var l []int64
			for _, e := range x {
				l = append(l, int64(e.(float64)))
			}
			a = append(a, graph.Ints(name, l...))
		}
	}
	return a
}

// The operators of com.microsoft answer as ONNX Runtime does; integers may differ by one, where a number lies between two.
func TestMicrosoft(t *testing.T) {
	b, err := os.ReadFile("testdata/microsoft.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []golden
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		s := sample{domain: c.Domain, op: c.Op, opset: 17, attrs: c.attrs(), out: len(c.Out)}
		for i, x := range c.In {
			if x == nil {
				s.in = append(s.in, none)
				continue
			}
			a := arg{t: x.tensor()}
			a.konst = c.Op == "GroupQueryAttention" && i == 6
			s.in = append(s.in, a)
		}
		g, _, feeds := s.build(t, false)
		out, err := both(g, feeds)
		if err != nil {
			t.Errorf("%s %s: %v", c.Op, c.Note, err)
			continue
		}
		for i, y := range out {
			want := c.Out[i%len(c.Out)]
			if want == nil {
				continue
			}
			tol := 2e-5
			if !want.tensor().DType.IsFloat() && want.Type != tensor.Int32 {
				tol = oneStep
			}
			if d := diff(y, want.tensor(), tol); d != "" {
				t.Errorf("%s %s: output %d: %s", c.Op, c.Note, i, d)
			}
		}
	}
}
