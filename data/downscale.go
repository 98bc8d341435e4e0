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

// Adapt brings the features of s to those that a model of like takes: the transform of
// like for the same columns, or images of the same shape and range, downscaled if need be.
func Adapt(s, like *Set) (*Set, error) {
	img, want := s.Image(), like.Image()
	if want == nil {
		return adaptTable(s, like)
	}
	bad := func() error {
		return fault.New(fault.Mismatch, s.Source, "%s does not have the features of %s", s.Name, like.Name).
			WithHint("bring images of the same size and range; 28x28 is made 8x8 with values 0 to 16 when that is asked for")
	}
	if img == nil {
		return nil, bad()
	}
	lo, hi := want.Range()
	if l, h := img.Range(); img.Values.Shape[1:].Equal(want.Values.Shape[1:]) && l == lo && h == hi {
		return s, nil
	}
	if want.Values.Shape[1:].Equal(tensor.Shape{1, 8, 8}) && lo == 0 && hi == 16 {
		if out, err := s.Downscaled(); err == nil {
			return out, nil
		}
	}
	return nil, bad()
}

// adaptTable gives s the transform of like.
func adaptTable(s, like *Set) (*Set, error) {
	for _, c := range like.Features() {
		if o := s.Column(c.Name); o == nil || o.Kind != c.Kind {
			return nil, fault.New(fault.Mismatch, s.Source, "no %s column %q, which %s has", c.Kind, c.Name, like.Name)
		}
	}
	out := *s
	if out.Transform = like.Transform; out.Transform == nil {
		out.Transform = FitTransform(like, like.Rows(Train))
	}
	return &out, nil
}
