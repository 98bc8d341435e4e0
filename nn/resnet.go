package nn

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// ResNetConfig are the settings of a residual convolutional net with basic blocks for
// small images (He et al., arXiv 1512.03385, section 4.2; the stem is a 3x3 convolution without pooling).
type ResNetConfig struct {
	Channels, Height, Width int   // of the input image
	Classes                 int   // of the answer
	Widths                  []int // channels of each stage; all but the first halve the image
	Blocks                  int   // blocks in a stage
	Training                bool  // norms use the statistics of the batch and update the running ones
}

// ResNet appends the net with input "image" [B, Channels, Height, Width] and returns the logits [B, Classes].
// With Training, the running statistics are in n.State.
func (n *Net) ResNet(c ResNetConfig) *graph.Value {
	x := n.Input("image", tensor.Float32, graph.Sym("B"), graph.D(c.Channels), graph.D(c.Height), graph.D(c.Width))
	width := c.Widths[0]
	x = n.Op("Relu", n.BatchNorm("bn1", n.Conv("conv1", x, c.Channels, width, 3, 1), width, c.Training))
	for s, w := range c.Widths {
		for b := range c.Blocks {
			stride := 1
			if s > 0 && b == 0 {
				stride = 2
			}
			x = n.residual(name("layer", s+1)+name(".", b), x, width, w, stride, c.Training)
			width = w
		}
	}
	x = n.OpA("Flatten", []graph.Attr{graph.Int("axis", 1)}, n.Op("GlobalAveragePool", x))
	return n.Linear("fc", x, width, c.Classes, 1)
}

// residual is a basic block: two 3x3 convolutions added to the input, which a 1x1 convolution adapts where the shape changes.
func (n *Net) residual(name string, x *graph.Value, in, out, stride int, training bool) *graph.Value {
	y := n.Op("Relu", n.BatchNorm(name+".bn1", n.Conv(name+".conv1", x, in, out, 3, stride), out, training))
	y = n.BatchNorm(name+".bn2", n.Conv(name+".conv2", y, out, out, 3, 1), out, training)
	if stride != 1 || in != out {
		x = n.BatchNorm(name+".downsample.1", n.Conv(name+".downsample.0", x, in, out, 1, stride), out, training)
	}
	return n.Op("Relu", n.Op("Add", y, x))
}

// Conv is a square convolution of x [B, in, H, W] without bias, padded so that stride 1 keeps the size (odd k).
// W is drawn from N(0, 2/(out k k)) (He et al., arXiv 1502.01852, equation 14).
func (n *Net) Conv(name string, x *graph.Value, in, out, k, stride int) *graph.Value {
	w := n.param(name+".weight", n.normal(name+".weight", math.Sqrt(2/float64(out*k*k)), out, in, k, k), true)
	s, p := int64(stride), int64(k/2)
	return n.OpA("Conv", []graph.Attr{graph.Ints("kernel_shape", int64(k), int64(k)), graph.Ints("strides", s, s), graph.Ints("pads", p, p, p, p)}, x, w)
}

// BatchNorm normalises the channels of x [B, C, ...] with epsilon 1e-5 (Ioffe and Szegedy, arXiv 1502.03167). In
// training it uses the batch's statistics and moves the running ones by a tenth.
func (n *Net) BatchNorm(name string, x *graph.Value, C int, training bool) *graph.Value {
	scale := n.param(name+".weight", constant(1, C), false)
	bias := n.param(name+".bias", tensor.New(tensor.Float32, C), false)
	mean := n.Init(name+".running_mean", tensor.New(tensor.Float32, C))
	variance := n.Init(name+".running_var", constant(1, C))
	in := []*graph.Value{x, scale, bias, mean, variance}
	if !training {
		return n.Node("", "BatchNormalization", 1, in, graph.Float("epsilon", 1e-5))[0]
	}
	out := n.Node("", "BatchNormalization", 3, in, graph.Float("epsilon", 1e-5), graph.Float("momentum", 0.9), graph.Int("training_mode", 1))
	for i, v := range []*graph.Value{mean, variance} {
		out[i+1].Name = n.Unique(v.Name + ".next")
		n.G.Outputs = append(n.G.Outputs, out[i+1])
		n.State = append(n.State, graph.State{In: v, Out: out[i+1]})
	}
	return out[0]
}
