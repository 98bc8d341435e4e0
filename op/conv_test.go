package op_test

import (
	"testing"

	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// MaxPool takes the first of equal elements: its index, and with it the gradient.
func TestMaxPoolTies(t *testing.T) {
	s := sample{op: "MaxPool", in: at(fx([]float32{1, 1, 0, 2, 2, 2}, 1, 1, 6)), attrs: attrs(graph.Ints("kernel_shape", 3), graph.Ints("strides", 3)), out: 2}
	g, _, feeds := s.build(t, false)
	out, err := eval(g, feeds)
	if err != nil {
		t.Fatal(err)
	}
	if d := tensor.Diff(out[1], tensor.OfInt64([]int64{0, 3}, 1, 1, 2), 0, 0); d != "" {
		t.Error(d)
	}
	r, _, err := differentiate(t, s, tensor.Float32, false)
	if err != nil {
		t.Fatal(err)
	}
	if out, err = eval(r.g, r.feeds); err != nil {
		t.Fatal(err)
	}
	dy := r.dys[0].Float32s()
	if d := tensor.Diff(out[len(out)-1], tensor.OfFloat32([]float32{dy[0], 0, 0, dy[1], 0, 0}, 1, 1, 6), 0, 0); d != "" {
		t.Error(d)
	}
}

// Geometry that no runtime can honour is refused with its class, never computed.
func TestWindowRefusals(t *testing.T) {
	i := graph.Ints
	for name, c := range map[string]struct {
		s     sample
		class fault.Class
	}{
		"window too large":   {sample{op: "MaxPool", in: at(ff(1, 1, 3, 3)), attrs: attrs(i("kernel_shape", 4, 1))}, fault.Mismatch},
		"nothing but pad":    {sample{op: "MaxPool", in: at(ff(1, 1, 3)), attrs: attrs(i("kernel_shape", 2), i("pads", 2, 0))}, fault.Unsupported},
		"pads of other rank": {sample{op: "Conv", in: at(ff(1, 1, 3, 3), ff(1, 1, 2, 2)), attrs: attrs(i("pads", 1, 1))}, fault.Mismatch},
		"stride 0":           {sample{op: "Conv", in: at(ff(1, 1, 3, 3), ff(1, 1, 2, 2)), attrs: attrs(i("strides", 0, 1))}, fault.Unsupported},
		"negative pad":       {sample{op: "Conv", in: at(ff(1, 1, 3, 3), ff(1, 1, 2, 2)), attrs: attrs(i("pads", -1, 0, 0, 0))}, fault.Unsupported},
		"kernel not of W":    {sample{op: "Conv", in: at(ff(1, 1, 3, 3), ff(1, 1, 2, 2)), attrs: attrs(i("kernel_shape", 3, 3))}, fault.Mismatch},
		"groups":             {sample{op: "Conv", in: at(ff(1, 3, 3, 3), ff(4, 1, 2, 2)), attrs: attrs(graph.Int("group", 2))}, fault.Mismatch},
		"auto_pad":           {sample{op: "Conv", in: at(ff(1, 1, 3, 3), ff(1, 1, 2, 2)), attrs: attrs(graph.Str("auto_pad", "FULL"))}, fault.Malformed},
		"a huge kernel":      {sample{op: "MaxPool", in: at(ff(1, 1, 3, 3)), attrs: attrs(i("kernel_shape", 1<<40, 1<<40))}, fault.Mismatch},
		"spatial 0":          {sample{op: "BatchNormalization", opset: 8, in: at(ff(1, 2, 3), ff(2), ff(2), ff(2), fp(2)), attrs: attrs(graph.Int("spatial", 0))}, fault.Unsupported},
		"old training":       {sample{op: "BatchNormalization", opset: 9, in: at(ff(1, 2, 3), ff(2), ff(2), ff(2), fp(2)), out: 5}, fault.Unsupported},
		"groups of channels": {sample{op: "GroupNormalization", opset: 21, in: at(ff(1, 3, 3), ff(3), ff(3)), attrs: attrs(graph.Int("num_groups", 2))}, fault.Mismatch},
	} {
		g, _, feeds := c.s.build(t, false)
		if _, err := eval(g, feeds); fault.ClassOf(err) != c.class {
			t.Errorf("%s: %v, want class %v", name, err, c.class)
		}
	}
}
