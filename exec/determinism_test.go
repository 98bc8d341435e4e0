package exec_test

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"testing"

	"muster/compress"
	"muster/exec"
	"muster/grad"
	"muster/graph"
	"muster/internal/cpu"
	"muster/internal/team"
	"muster/nn"
	"muster/op"
	"muster/optim"
	"muster/rng"
	"muster/tensor"
)

// The promise of docs/determinism.md: forward, backward and optimizer steps of a transformer and of a convolutional
// net, and their int8 forms, give the same bits on every tier and on any number of threads.
func TestSameBitsEverywhere(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, h hash.Hash)
	}{
		{"language model, training", gptSteps}, {"vision transformer, training", vitSteps}, {"residual net, training", resnetSteps},
		{"language model, dynamic int8", gptInt8}, {"vision transformer, static int8", vitInt8}, {"residual net, int8", resnetInt8},
	} {
		t.Run(c.name, func(t *testing.T) { sameBits(t, c.run) })
	}
}

func sameBits(t *testing.T, run func(t *testing.T, h hash.Hash)) {
	var want string
	for tier := cpu.Best(); tier >= cpu.Ref; tier-- {
		for _, threads := range []int{1, 2, 3, 7} {
			if testing.Short() && (tier == cpu.Ref || threads == 3) {
				continue // the plain kernels are slow
			}
			restore, undo := cpu.Force(tier), team.Resize(threads)
			h := sha256.New()
			run(t, h)
			restore()
			undo()
			got := fmt.Sprintf("%x", h.Sum(nil)[:8])
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("%s with %d threads gives %s, not %s", tier, threads, got, want)
			}
		}
	}
}

// steps appends gradients and AdamW to a loss and runs three of them; h gets the losses and every state.
func steps(t *testing.T, h hash.Hash, n *nn.Net, loss *graph.Value, feeds ...*tensor.Tensor) {
	t.Helper()
	lr, at := n.Input("lr", tensor.Float32), n.Input("step", tensor.Int64)
	check(t, op.Infer(n.G))
	n.Output("loss", loss)
	grads, err := grad.Build(n.Builder, loss, n.Params)
	check(t, err)
	norm := optim.Norm(n.Builder, grads)
	n.Output("norm", norm)
	adamw := optim.AdamWConfig{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1, Scale: optim.ClipScale(n.Builder, norm, 0.5)}
	states := append(optim.AdamW(n.Builder, n.Params, grads, lr, at, n.Decay, adamw), n.State...)
	s, err := exec.New(n.G, exec.Config{State: states})
	check(t, err)
	defer s.Close()
	for i := range 3 {
		in := append(append([]*tensor.Tensor{}, feeds...), tensor.OfFloat32([]float32{1e-2}), tensor.OfInt64([]int64{int64(i + 1)}))
		out, err := s.Run(in...)
		check(t, err)
		for _, o := range out {
			h.Write(o.Data)
		}
	}
	for _, st := range states {
		h.Write(s.StateOf(st.In.Name).Data)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func normal(seed uint64, shape ...int) *tensor.Tensor {
	x, s := tensor.New(tensor.Float32, shape...), rng.New(seed).Stream()
	for i := range x.Float32s() {
		x.Float32s()[i] = float32(s.Norm())
	}
	return x
}

func whole(seed uint64, n int, shape ...int) *tensor.Tensor {
	x, s := tensor.New(tensor.Int64, shape...), rng.New(seed).Stream()
	for i := range x.Int64s() {
		x.Int64s()[i] = int64(s.Intn(n))
	}
	return x
}

var gptSize = nn.GPTConfig{Vocab: 37, Context: 21, Dim: 32, Depth: 1, Heads: 4, Hidden: 48}

func gptSteps(t *testing.T, h hash.Hash) {
	n := nn.New("gpt", rng.New(1))
	logits, err := n.GPT(gptSize)
	check(t, err)
	labels := n.Input("labels", tensor.Int64, graph.Sym("B"), graph.D(gptSize.Context))
	loss := optim.CrossEntropy(n.Builder, n.Op("Reshape", logits, n.Ints(-1, int64(gptSize.Vocab))), n.Op("Reshape", labels, n.Ints(-1)), gptSize.Vocab, 0)
	steps(t, h, n, loss, whole(2, gptSize.Vocab, 3, gptSize.Context), whole(3, gptSize.Vocab, 3, gptSize.Context))
}

func vit(t *testing.T) (*nn.Net, *graph.Value) {
	n := nn.New("vit", rng.New(1))
	logits, err := n.ViT(nn.ViTConfig{Channels: 1, Height: 12, Width: 12, Lo: -3, Hi: 3, Classes: 10, Patch: 4, Dim: 24, Depth: 1, Heads: 2, Hidden: 40})
	check(t, err)
	return n, logits
}

func vitSteps(t *testing.T, h hash.Hash) {
	n, logits := vit(t)
	loss := optim.CrossEntropy(n.Builder, logits, n.Input("labels", tensor.Int64, graph.Sym("B")), 10, 0)
	steps(t, h, n, loss, normal(2, 5, 1, 12, 12), whole(3, 10, 5))
}

var resnetSize = nn.ResNetConfig{Channels: 3, Height: 10, Width: 10, Classes: 7, Widths: []int{32, 48}, Blocks: 1}

func resnetSteps(t *testing.T, h hash.Hash) {
	n, size := nn.New("resnet", rng.New(1)), resnetSize
	size.Training = true
	loss := optim.CrossEntropy(n.Builder, n.ResNet(size), n.Input("labels", tensor.Int64, graph.Sym("B")), 7, 0)
	steps(t, h, n, loss, normal(2, 3, 3, 10, 10), whole(3, 7, 3))
}

func answers(t *testing.T, h hash.Hash, g *graph.Graph, feeds ...*tensor.Tensor) {
	t.Helper()
	s, err := exec.New(g, exec.Config{})
	check(t, err)
	defer s.Close()
	r, err := s.Plan(feeds...)
	check(t, err)
	if r.Integer == 0 {
		t.Error("nothing runs on integer kernels")
	}
	out, err := s.Run(feeds...)
	check(t, err)
	for _, o := range out {
		h.Write(o.Data)
	}
}

// gptInt8 multiplies rows that are quantized as they come: DynamicQuantizeLinear, MatMulInteger, scale and bias.
func gptInt8(t *testing.T, h hash.Hash) {
	g := graph.New("dynamic")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.Sym("B"), graph.D(48))
	w := tensor.New(tensor.Int8, 48, 40)
	for i := range w.Int8s() {
		w.Int8s()[i] = int8(i*37%251 - 125)
	}
	q := b.Node("", "DynamicQuantizeLinear", 3, []*graph.Value{x})
	p := b.Op("MatMulInteger", q[0], b.Init("w", w), q[2])
	y := b.Op("Mul", b.OpA("Cast", []graph.Attr{graph.Int("to", 1)}, p), b.Op("Mul", q[1], b.Scalar(0.01)))
	b.Output("y", b.OpA("Gelu", nil, b.Op("Add", y, b.Init("bias", normal(4, 40)))))
	answers(t, h, g, normal(5, 29, 48))
}

func vitInt8(t *testing.T, h hash.Hash) {
	n, logits := vit(t)
	n.Output("logits", logits)
	g, _, err := compress.StaticInt8(n.G, [][]*tensor.Tensor{{normal(7, 16, 1, 12, 12)}}, compress.Int8Config{})
	check(t, err)
	answers(t, h, g, normal(2, 5, 1, 12, 12))
}

// resnetInt8 is a quantized convolution with its zero points, QLinearConv.
func resnetInt8(t *testing.T, h hash.Hash) {
	g := graph.New("qconv")
	b := graph.NewBuilder(g)
	x := b.Input("x", tensor.Float32, graph.Sym("B"), graph.D(3), graph.D(11), graph.D(11))
	sx, zx := b.Scalar(0.03), b.Init("zx", tensor.OfUint8([]uint8{121}))
	w := tensor.New(tensor.Int8, 17, 3, 3, 3)
	for i := range w.Int8s() {
		w.Int8s()[i] = int8(i*53%255 - 127)
	}
	q := b.Op("QuantizeLinear", x, sx, zx)
	y := b.OpA("QLinearConv", []graph.Attr{graph.Ints("pads", 1, 1, 1, 1), graph.Ints("strides", 2, 2)}, q, sx, zx,
		b.Init("w", w), b.Scalar(0.002), b.Init("zw", tensor.OfInt8([]int8{0})), b.Scalar(0.05), b.Init("zy", tensor.OfUint8([]uint8{128})))
	b.Output("y", b.Op("DequantizeLinear", y, b.Scalar(0.05), b.Init("zy2", tensor.OfUint8([]uint8{128}))))
	answers(t, h, g, normal(5, 2, 3, 11, 11))
}
