package nn

import (
	"math"
	"strings"
	"testing"

	"muster/exec"
	"muster/fault"
	"muster/graph"
	"muster/rng"
	"muster/tensor"
)

func run(t *testing.T, n *Net, out *graph.Value, x *tensor.Tensor) *tensor.Tensor {
	t.Helper()
	n.Output("y", out)
	got, err := exec.Eval(n.G, []*tensor.Tensor{x})
	if err != nil {
		t.Fatal(err)
	}
	return got[0]
}

// values are n numbers in [-1, 1).
func values(n int, shape ...int) *tensor.Tensor {
	x, s := tensor.New(tensor.Float32, shape...), rng.New(uint64(n)).Stream()
	for i := range x.Float32s() {
		x.Float32s()[i] = float32(2*s.Float64() - 1)
	}
	return x
}

// disturb replaces biases and norm scales, which start at 0 and 1, so that a test sees them.
func disturb(n *Net) {
	for i, p := range n.Params {
		if !n.Decay[p] {
			p.Const = values(i+100, p.Const.Shape...)
		}
	}
}

func (n *Net) named(t *testing.T, name string) []float64 {
	t.Helper()
	for _, p := range n.Params {
		if p.Name == name {
			out := make([]float64, p.Const.Elems())
			for i := range out {
				out[i] = p.Const.Float(i)
			}
			return out
		}
	}
	t.Fatalf("no parameter %s", name)
	return nil
}

// linear is x [rows, in] times the layer's weight plus bias, in float64.
func (n *Net) linear(t *testing.T, name string, x []float64, in, out int) []float64 {
	w, b := n.named(t, name+".weight"), n.named(t, name+".bias")
	var y []float64
	for r := 0; r < len(x)/in; r++ {
		for o := range out {
			s := b[o]
			for i := range in {
				s += x[r*in+i] * w[i*out+o]
			}
			y = append(y, s)
		}
	}
	return y
}

// norm is layer normalisation of rows of C values (Ba et al., arXiv 1607.06450, equation 4).
func (n *Net) norm(t *testing.T, name string, x []float64, C int) []float64 {
	w, b := n.named(t, name+".weight"), n.named(t, name+".bias")
	y := make([]float64, len(x))
	for r := 0; r < len(x); r += C {
		mean, variance := 0.0, 0.0
		for _, v := range x[r : r+C] {
			mean += v / float64(C)
		}
		for _, v := range x[r : r+C] {
			variance += (v - mean) * (v - mean) / float64(C)
		}
		for c := range C {
			y[r+c] = (x[r+c]-mean)/math.Sqrt(variance+1e-5)*w[c] + b[c]
		}
	}
	return y
}

// attention is softmax(q k^T / sqrt(D)) v per head, with loops.
func (n *Net) attention(t *testing.T, name string, x []float64, T, C, heads int) []float64 {
	return n.attend(t, name, x, T, C, heads, func(int) int { return T })
}

// attend is attention in which query q sees the first keys(q) tokens.
func (n *Net) attend(t *testing.T, name string, x []float64, T, C, heads int, keys func(q int) int) []float64 {
	qkv, D := n.linear(t, name+".qkv", x, C, 3*C), C/heads
	at := func(part, tok, h, d int) float64 { return qkv[tok*3*C+part*C+h*D+d] }
	y := make([]float64, T*C)
	for h := range heads {
		for q := range T {
			p, sum := make([]float64, T), 0.0
			for k := range keys(q) {
				s := 0.0
				for d := range D {
					s += at(0, q, h, d) * at(1, k, h, d)
				}
				p[k] = math.Exp(s / math.Sqrt(float64(D)))
				sum += p[k]
			}
			for k := range T {
				for d := range D {
					y[q*C+h*D+d] += p[k] / sum * at(2, k, h, d)
				}
			}
		}
	}
	return n.linear(t, name+".out", y, C, C)
}

func gelu(x []float64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
	}
	return y
}

func add(a, b []float64) []float64 {
	y := make([]float64, len(a))
	for i := range a {
		y[i] = a[i] + b[i]
	}
	return y
}

func same(t *testing.T, got *tensor.Tensor, want []float64) {
	t.Helper()
	if got.Elems() != len(want) {
		t.Fatalf("%s, want %d values", got.Shape, len(want))
	}
	for i, w := range want {
		if g := got.Float(i); math.Abs(g-w) > 2e-5*(1+math.Abs(w)) {
			t.Errorf("element %d is %g, want %g", i, g, w)
			return
		}
	}
}

func floats(x *tensor.Tensor) []float64 {
	y := make([]float64, x.Elems())
	for i := range y {
		y[i] = x.Float(i)
	}
	return y
}

// TestBlock: a transformer block on two sequences of three tokens is what plain loops give.
func TestBlock(t *testing.T) {
	const T, C, H, hidden = 3, 8, 2, 5
	n := New("block", rng.New(1))
	x := n.Input("x", tensor.Float32, graph.Sym("B"), graph.D(T), graph.D(C))
	y := n.Block("b", x, C, H, hidden, 0.5)
	disturb(n)
	in := values(2, 2, T, C)
	got := run(t, n, y, in)
	var want []float64
	for b := range 2 {
		h := floats(in)[b*T*C : (b+1)*T*C]
		h = add(h, n.attention(t, "b.attn", n.norm(t, "b.norm1", h, C), T, C, H))
		h = add(h, n.linear(t, "b.mlp2", gelu(n.linear(t, "b.mlp1", n.norm(t, "b.norm2", h, C), C, hidden)), hidden, C))
		want = append(want, h...)
	}
	same(t, got, want)
}

// TestViT computes a tiny vision transformer by hand: pixels to [-1, 1], patches row by row
// with channels outermost, positions, a block, norm, the mean over tokens, the head.
func TestViT(t *testing.T) {
	c := ViTConfig{Channels: 2, Height: 4, Width: 6, Lo: 0, Hi: 16, Classes: 3, Patch: 2, Dim: 4, Depth: 1, Heads: 2, Hidden: 6}
	n := New("vit", rng.New(2))
	y, err := n.ViT(c)
	if err != nil {
		t.Fatal(err)
	}
	disturb(n)
	in := values(3, 1, 2, 4, 6)
	for i, v := range in.Float32s() {
		in.Float32s()[i] = 8 + 8*v
	}
	got := run(t, n, y, in)
	px := floats(in)
	var tokens []float64
	for gy := range 2 {
		for gx := range 3 {
			for ch := range 2 {
				for py := range 2 {
					for pxl := range 2 {
						tokens = append(tokens, px[ch*24+(gy*2+py)*6+gx*2+pxl]/8-1)
					}
				}
			}
		}
	}
	h := add(n.linear(t, "patch", tokens, 8, 4), n.named(t, "position"))
	h = add(h, n.attention(t, "block0.attn", n.norm(t, "block0.norm1", h, 4), 6, 4, 2))
	h = add(h, n.linear(t, "block0.mlp2", gelu(n.linear(t, "block0.mlp1", n.norm(t, "block0.norm2", h, 4), 4, 6)), 6, 4))
	h = n.norm(t, "norm", h, 4)
	mean := make([]float64, 4)
	for i, v := range h {
		mean[i%4] += v / 6
	}
	same(t, got, n.linear(t, "head", mean, 4, 3))
}

// TestGPT computes a tiny causal language model by hand, with the embedding as the head.
func TestGPT(t *testing.T) {
	const V, T, C, H, hidden = 7, 4, 8, 2, 12
	n := New("gpt", rng.New(3))
	y, err := n.GPT(GPTConfig{Vocab: V, Context: T, Dim: C, Depth: 1, Heads: H, Hidden: hidden})
	if err != nil {
		t.Fatal(err)
	}
	disturb(n)
	ids := []int64{3, 0, 6, 3, 1, 1, 5, 2}
	got := run(t, n, y, tensor.OfInt64(ids, 2, T))
	table, position := n.named(t, "token"), n.named(t, "position")
	var want []float64
	for b := range 2 {
		var x []float64
		for i, id := range ids[b*T : (b+1)*T] {
			x = append(x, add(table[int(id)*C:(int(id)+1)*C], position[i*C:(i+1)*C])...)
		}
		x = add(x, n.attend(t, "block0.attn", n.norm(t, "block0.norm1", x, C), T, C, H, func(q int) int { return q + 1 }))
		x = add(x, n.linear(t, "block0.mlp2", gelu(n.linear(t, "block0.mlp1", n.norm(t, "block0.norm2", x, C), C, hidden)), hidden, C))
		x = n.norm(t, "norm", x, C)
		for i := range T {
			for v := range V {
				s := 0.0
				for c := range C {
					s += x[i*C+c] * table[v*C+c]
				}
				want = append(want, s)
			}
		}
	}
	same(t, got, want)
	if _, err := New("gpt", rng.New(3)).GPT(GPTConfig{Vocab: V, Context: T, Dim: C, Depth: 1, Heads: 3, Hidden: hidden}); err == nil {
		t.Error("8 channels in 3 heads must be refused")
	}
}

func TestMLP(t *testing.T) {
	n := New("mlp", rng.New(3))
	y, err := n.MLP(MLPConfig{Features: 3, Classes: 2, Dim: 4, Depth: 2})
	if err != nil {
		t.Fatal(err)
	}
	disturb(n)
	in := values(4, 5, 3)
	got := run(t, n, y, in)
	h := gelu(n.linear(t, "hidden0", floats(in), 3, 4))
	same(t, got, n.linear(t, "head", gelu(n.linear(t, "hidden1", h, 4, 4)), 4, 2))
}

// TestParameters: matrices decay and nothing else does; a parameter's values depend on its
// name and the key, not on what was made before it; their spread is gain/sqrt(in).
func TestParameters(t *testing.T) {
	make := func(key uint64, first bool) *Net {
		n := New("n", rng.New(key))
		x := n.Input("x", tensor.Float32, graph.Sym("B"), graph.D(64))
		if first {
			x = n.LayerNorm("norm", n.Linear("first", x, 64, 64, 1), 64)
		}
		n.Linear("second", x, 64, 100, 0.5)
		return n
	}
	a, b, c := make(1, false), make(1, true), make(2, false)
	w := a.named(t, "second.weight")
	if v := b.named(t, "second.weight"); v[0] != w[0] || v[6399] != w[6399] {
		t.Error("another layer before it changed the values")
	}
	if v := c.named(t, "second.weight"); v[0] == w[0] {
		t.Error("the key does not count")
	}
	sum := 0.0
	for _, v := range w {
		sum += v * v
	}
	if sd := math.Sqrt(sum / 6400); math.Abs(sd-0.0625) > 0.003 { // 0.5/sqrt(64); 5 standard errors
		t.Errorf("standard deviation %g, want 0.0625", sd)
	}
	for _, p := range b.Params {
		if want := len(p.Const.Shape) == 2; b.Decay[p] != want {
			t.Errorf("%s decays: %v", p.Name, b.Decay[p])
		}
	}
}

func TestRefusals(t *testing.T) {
	good := ViTConfig{Channels: 1, Height: 8, Width: 8, Hi: 1, Classes: 2, Patch: 2, Dim: 4, Depth: 1, Heads: 2, Hidden: 4}
	for place, change := range map[string]func(c *ViTConfig){
		"model.patch": func(c *ViTConfig) { c.Patch = 3 },
		"model.heads": func(c *ViTConfig) { c.Heads = 3 },
		"model: the":  func(c *ViTConfig) { c.Hi = 0 },
		"model":       func(c *ViTConfig) { c.Classes = 1 },
	} {
		c := good
		change(&c)
		if _, err := New("n", rng.New(1)).ViT(c); fault.ClassOf(err) != fault.Mismatch || !strings.HasPrefix(err.Error(), place) {
			t.Errorf("%s: %v", place, err)
		}
	}
	if _, err := New("n", rng.New(1)).MLP(MLPConfig{Features: 3, Classes: 2, Dim: 4}); fault.ClassOf(err) != fault.Mismatch {
		t.Errorf("no layers: %v", err)
	}
}
