package data

import (
	"math"

	"muster/fault"
	"muster/tensor"
)

// Downscale turns 28x28 images in [lo, hi] into 8x8 images with whole values 0 to 16, so
// that clothes can be shown to a model of digits: a border of 2 pixels of lo, the mean of
// each 4x4 block, scaled to 0..16 and rounded half up. x is [N,1,28,28].
func Downscale(x *tensor.Tensor, lo, hi float64) (*tensor.Tensor, error) {
	const size, pad, block = 28, 2, 4
	if x.DType != tensor.Float32 || len(x.Shape) != 4 || x.Shape[1] != 1 || x.Shape[2] != size || x.Shape[3] != size || !(hi > lo) {
		return nil, fault.New(fault.Mismatch, "downscale", "%s %s in [%g, %g] is not a list of 28x28 images of one channel", x.DType, x.Shape, lo, hi)
	}
	out := tensor.New(tensor.Float32, x.Shape[0], 1, 8, 8)
	src, dst := x.Float32s(), out.Float32s()
	for i := range dst {
		n, y, x := i/64, i/8%8, i%8
		sum := 0.0
		for dy := range block {
			for dx := range block {
				sy, sx := y*block+dy-pad, x*block+dx-pad
				if sy >= 0 && sy < size && sx >= 0 && sx < size {
					sum += float64(src[(n*size+sy)*size+sx]) - lo
				}
			}
		}
		dst[i] = float32(math.Floor(sum/(hi-lo) + 0.5)) // mean of 16 pixels times 16
	}
	return out, nil
}

// Downscaled returns the image set s with its images through Downscale; the declared range
// is 0 to 16. Roles and lines are kept.
func (s *Set) Downscaled() (*Set, error) {
	img := s.Image()
	if img == nil {
		return nil, fault.New(fault.Mismatch, s.Source, "not an image set")
	}
	lo, hi := img.Range()
	px, err := Downscale(img.Values, lo, hi)
	if err != nil {
		return nil, fault.At(s.Source, err)
	}
	low, high := 0.0, 16.0
	out := *s
	out.Name += "-8x8"
	out.Columns = nil
	for _, c := range s.Columns {
		if c == img {
			c = &Column{Name: img.Name, Kind: Image, Values: px, Min: &low, Max: &high}
		}
		out.Columns = append(out.Columns, c)
	}
	return &out, nil
}
