package nn

import (
	"math"

	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// ViTConfig are the settings of a vision transformer (Dosovitskiy et al., arXiv
// 2010.11929) with mean pooling in place of a class token.
type ViTConfig struct {
	Channels, Height, Width int     // of the input image
	Lo, Hi                  float64 // declared range of the pixels
	Classes                 int
	Patch                   int // side of a square patch; must divide Height and Width
	Dim                     int // channels of a token
	Depth, Heads, Hidden    int // blocks, attention heads, channels inside the perceptron
}

// ViT appends a vision transformer with input "image" [B, Channels, Height, Width] and returns the logits [B, Classes].
func (n *Net) ViT(c ViTConfig) (*graph.Value, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	x := n.Input("image", tensor.Float32, graph.Sym("B"), graph.D(c.Channels), graph.D(c.Height), graph.D(c.Width))
	P, gh, gw := int64(c.Patch), int64(c.Height/c.Patch), int64(c.Width/c.Patch)
	C := int64(c.Channels)
	x = n.reshape(n.standardise(x, c.Lo, c.Hi), 0, C, gh, P, gw, P)
	x = n.reshape(n.transpose(x, 0, 2, 4, 1, 3, 5), 0, gh*gw, C*P*P) // [B, T, C*P*P]
	x = n.Linear("patch", x, int(C*P*P), c.Dim, 1)
	x = n.Op("Add", x, n.param("position", n.normal("position", 0.02, int(gh*gw), c.Dim), false))
	gain := 1 / math.Sqrt(2*float64(c.Depth))
	for i := 0; i < c.Depth; i++ {
		x = n.Block(name("block", i), x, c.Dim, c.Heads, c.Hidden, gain)
	}
	x = n.LayerNorm("norm", x, c.Dim)
	x = n.ReduceMean(x, 0, 1)
	return n.Linear("head", x, c.Dim, c.Classes, 1), nil
}

func (c ViTConfig) validate() error {
	switch {
	case c.Patch < 1 || c.Height%c.Patch != 0 || c.Width%c.Patch != 0:
		return fault.New(fault.Mismatch, "model.patch", "patches of %d do not tile a %dx%d image", c.Patch, c.Height, c.Width)
	case c.Heads < 1 || c.Dim%c.Heads != 0:
		return fault.New(fault.Mismatch, "model.heads", "%d channels do not split into %d heads", c.Dim, c.Heads)
	case c.Depth < 1 || c.Hidden < 1 || c.Dim < 1 || c.Classes < 2:
		return fault.New(fault.Mismatch, "model", "depth, hidden and dim must be at least 1, classes at least 2")
	case !(c.Hi > c.Lo):
		return fault.New(fault.Mismatch, "model", "the pixel range [%g, %g] is empty", c.Lo, c.Hi)
	}
	return nil
}
