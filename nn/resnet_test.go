package nn

import (
	"math"
	"testing"

	"muster/exec"
	"muster/graph"
	"muster/rng"
	"muster/tensor"
)

// convolve is a convolution of x [in, size, size] with k x k windows, written as its definition.
func (n *Net) convolve(t *testing.T, name string, x []float64, in, out, k, stride, size int) ([]float64, int) {
	w, to := n.named(t, name+".weight"), (size+stride-1)/stride
	y := make([]float64, out*to*to)
	for o := range out {
		for r := range to {
			for c := range to {
				for i := range in {
					for dr := range k {
						for dc := range k {
							sr, sc := r*stride+dr-k/2, c*stride+dc-k/2
							if sr >= 0 && sr < size && sc >= 0 && sc < size {
								y[(o*to+r)*to+c] += w[((o*in+i)*k+dr)*k+dc] * x[(i*size+sr)*size+sc]
							}
						}
					}
				}
			}
		}
	}
	return y, to
}

// channelNorm normalises x [C, O] with the given statistics.
func (n *Net) channelNorm(t *testing.T, name string, x []float64, C int, mean, variance float64) []float64 {
	w, b, y := n.named(t, name+".weight"), n.named(t, name+".bias"), make([]float64, len(x))
	for i, v := range x {
		c := i / (len(x) / C)
		y[i] = (v-mean)/math.Sqrt(variance+1e-5)*w[c] + b[c]
	}
	return y
}

func relu(x []float64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = math.Max(v, 0)
	}
	return y
}

// TestResNet computes a net of two stages by hand; running statistics are 0 and 1, as they begin.
func TestResNet(t *testing.T) {
	n := New("resnet", rng.New(5))
	y := n.ResNet(ResNetConfig{Channels: 1, Height: 4, Width: 4, Classes: 3, Widths: []int{2, 3}, Blocks: 1})
	disturb(n)
	in := values(1, 1, 1, 4, 4)
	got := run(t, n, y, in)
	block := func(name string, x []float64, in, out, stride, size int) ([]float64, int) {
		y, to := n.convolve(t, name+".conv1", x, in, out, 3, stride, size)
		y, _ = n.convolve(t, name+".conv2", relu(n.channelNorm(t, name+".bn1", y, out, 0, 1)), out, out, 3, 1, to)
		y = n.channelNorm(t, name+".bn2", y, out, 0, 1)
		if in != out {
			x, _ = n.convolve(t, name+".downsample.0", x, in, out, 1, stride, size)
			x = n.channelNorm(t, name+".downsample.1", x, out, 0, 1)
		}
		return relu(add(y, x)), to
	}
	x, _ := n.convolve(t, "conv1", floats(in), 1, 2, 3, 1, 4)
	x, _ = block("layer1.0", relu(n.channelNorm(t, "bn1", x, 2, 0, 1)), 2, 2, 1, 4)
	x, _ = block("layer2.0", x, 2, 3, 2, 4)
	mean := make([]float64, 3)
	for i, v := range x {
		mean[i/4] += v / 4
	}
	same(t, got, n.linear(t, "fc", mean, 3, 3))
}

// TestBatchNormTraining: the batch's own statistics normalise, and the running ones move by a tenth.
func TestBatchNormTraining(t *testing.T) {
	n := New("norm", rng.New(6))
	x := n.Input("x", tensor.Float32, graph.D(2), graph.D(1), graph.D(2))
	n.Output("y", n.BatchNorm("bn", x, 1, true))
	s, err := exec.New(n.G, exec.Config{State: n.State})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Run(tensor.OfFloat32([]float32{1, 3, 5, 7}, 2, 1, 2)) // mean 4, variance 5
	if err != nil {
		t.Fatal(err)
	}
	r := 1 / math.Sqrt(5+1e-5)
	same(t, out[0], []float64{-3 * r, -1 * r, 1 * r, 3 * r})
	same(t, s.StateOf("bn.running_mean"), []float64{0.4})
	same(t, s.StateOf("bn.running_var"), []float64{0.9 + 0.5})
}
