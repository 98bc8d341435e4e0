package pass_test

import (
	"testing"

	"muster/exec"
	"muster/graph"
	"muster/op"
	"muster/pass"
	"muster/rng"
	"muster/tensor"
)

// convNet is a small network with what convolutional models are made of: folded and free batch norms, a residual, a gate
// by channel, a depthwise and a strided convolution, Concat and Split of channels, pools, activations, an output inside the region.
type convNet struct {
	*graph.Builder
	s *rng.Stream
}

func (n *convNet) init(lo float32, shape ...int) *graph.Value {
	t := tensor.New(tensor.Float32, shape...)
	for i := range t.Float32s() {
		t.Float32s()[i] = lo + n.s.Float32()
	}
	return n.Init("w", t)
}

func (n *convNet) conv(x *graph.Value, in, out, k, stride, group int64) *graph.Value {
	p := k / 2
	return n.OpA("Conv", []graph.Attr{graph.Ints("strides", stride, stride), graph.Ints("pads", p, p, p, p), graph.Int("group", group)},
		x, n.init(-0.5, int(out), int(in/group), int(k), int(k)), n.init(-0.5, int(out)))
}

func (n *convNet) bn(x *graph.Value, c int) *graph.Value {
	return n.Op("BatchNormalization", x, n.init(0.5, c), n.init(-0.5, c), n.init(-0.5, c), n.init(0.5, c))
}

func newConvNet() *graph.Graph {
	n := &convNet{graph.NewBuilder(graph.New("conv")), rng.New(11).Stream()}
	x := n.Input("x", tensor.Float32, graph.Sym("B"), graph.D(3), graph.D(17), graph.D(16))
	a := n.Op("Relu", n.bn(n.conv(x, 3, 16, 3, 2, 1), 16))
	b := n.conv(a, 16, 16, 3, 1, 16)
	b = n.Op("Mul", b, n.Op("Sigmoid", b))
	c := n.Op("Relu", n.Op("Add", n.bn(n.conv(b, 16, 16, 1, 1, 1), 16), a))
	gate := n.Op("Sigmoid", n.conv(n.Op("GlobalAveragePool", c), 16, 16, 1, 1, 1))
	c = n.Op("Mul", c, gate)
	p := n.OpA("MaxPool", []graph.Attr{graph.Ints("kernel_shape", 3, 3), graph.Ints("pads", 1, 1, 1, 1)}, c)
	q := n.OpA("AveragePool", []graph.Attr{graph.Ints("kernel_shape", 3, 3), graph.Ints("pads", 1, 1, 1, 1)}, c)
	d := n.Op("Relu", n.bn(n.OpA("Concat", []graph.Attr{graph.Int("axis", 1)}, p, q), 32))
	h := n.Node("", "Split", 2, []*graph.Value{d}, graph.Int("axis", 1), graph.Int("num_outputs", 2))
	e := n.Op("Clip", n.Op("Add", h[0], n.init(0, 16, 1, 1)), n.Scalar(0.1), n.Scalar(6))
	z := n.OpA("Resize", []graph.Attr{graph.Str("mode", "linear")}, n.Op("Mul", e, h[1]), nil, n.Init("scales", tensor.OfFloat32([]float32{1, 1, 1.5, 2}, 4)))
	z = n.Op("DequantizeLinear", n.Op("QuantizeLinear", z, n.Scalar(0.01)), n.Scalar(0.01))
	up := n.OpA("ConvTranspose", []graph.Attr{graph.Ints("strides", 2, 2)}, z, n.init(-0.5, 16, 4, 2, 2))
	n.Output("map", n.Op("HardSwish", n.bn(up, 4)))
	n.Output("features", n.Op("Flatten", n.Op("GlobalAveragePool", d)))
	return n.G
}

// TestConvolutionPasses checks that the passes of convolutions fire, keep the answers, and leave no copies inside the region.
func TestConvolutionPasses(t *testing.T) {
	g := newConvNet()
	x := tensor.New(tensor.Float32, 2, 3, 17, 16)
	s := rng.New(12).Stream()
	for i := range x.Float32s() {
		x.Float32s()[i] = s.Float32() - 0.5
	}
	want, err := exec.Eval(g, []*tensor.Tensor{x})
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := op.Bind(g, map[string]int{"B": 2})
	if err != nil {
		t.Fatal(err)
	}
	fired := map[string]int{}
	if err := pass.Optimize(b, pass.Config{Verify: true, Trace: func(name string, n int, _ *graph.Graph) { fired[name] += n }}); err != nil {
		t.Fatal(err)
	}
	if fired["conv-bn"] != 3 || fired["layout"] < 15 || fired["conv-fuse"] < 5 {
		t.Errorf("fired: %v", fired)
	}
	count := map[string]int{}
	for _, n := range b.Nodes {
		if n.Outputs[0].Const == nil {
			count[n.FullOp()]++
		}
	}
	// One Transpose leads in; out lead one for the map and one (of one position) for the features.
	if count["Transpose"] != 3 || count["Conv"]+count["ConvTranspose"]+count["BatchNormalization"] != 0 || count["Sigmoid"]+count["muster.Activation"] != 0 {
		t.Errorf("nodes: %v", count)
	}
	got, err := exec.Eval(b, []*tensor.Tensor{x})
	if err != nil {
		t.Fatal(err)
	}
	ses, err := exec.New(g, exec.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer ses.Close()
	run, err := ses.Run(x)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if d := tensor.Diff(got[i], want[i], 2e-5, 2e-5); d != "" {
			t.Errorf("reference after the passes, output %d: %s", i, d)
		}
		if d := tensor.Diff(run[i], want[i], 2e-5, 2e-5); d != "" {
			t.Errorf("session, output %d: %s", i, d)
		}
	}
}
