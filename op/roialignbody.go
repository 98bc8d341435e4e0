package op

import (
	"muster/graph"
	"muster/tensor"
)

// roiAlignBody is RoiAlign in other operators, for its gradient by the image and by the boxes. It needs the size
// of the image and a fixed number of samples per bin.
func roiAlignBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	r := roiOf(n)
	x, rois, batch := in[0], in[1], in[2]
	if r.ratio < 1 || len(x.Shape) != 4 || !x.Shape[1].Known() || !x.Shape[2].Known() || !x.Shape[3].Known() {
		return nil
	}
	s := roiBuilder{gridBuilder{b: b, like: rois}, r}
	H, W := x.Shape[2].Size, x.Shape[3].Size
	ys, xs := s.axis(rois, 1, r.h, H), s.axis(rois, 0, r.w, W)
	pixels := reshape(b, transpose(b, x, 0, 2, 3, 1), -1, int64(x.Shape[1].Size)) // [N H W, C]
	base := s.lin(reshape(b, castLike(b, batch, rois), -1, 1, 1), float64(H*W), 0)
	var all []*graph.Value
	for _, u := range ys {
		for _, v := range xs {
			at := b.Op("Add", base, b.Op("Add", s.lin(reshape(b, u.at, -1, int64(r.h*r.ratio), 1), float64(W), 0), reshape(b, v.at, -1, 1, int64(r.w*r.ratio))))
			w := b.Op("Mul", reshape(b, u.w, -1, int64(r.h*r.ratio), 1), reshape(b, v.w, -1, 1, int64(r.w*r.ratio)))
			rows := b.OpA("Gather", []graph.Attr{graph.Int("axis", 0)}, pixels, cast(b, at, tensor.Int64))
			all = append(all, b.Op("Mul", rows, castLike(b, b.Unsqueeze(w, 3), x))) // [R, h s, w s, C]
		}
	}
	C := int64(x.Shape[1].Size)
	bins := func(v *graph.Value) *graph.Value {
		return reshape(b, v, -1, int64(r.h), int64(r.ratio), int64(r.w), int64(r.ratio), C)
	}
	var y *graph.Value
	if r.mode == "avg" {
		y = b.ReduceMean(bins(b.Op("Sum", all...)), 0, 2, 4)
	} else {
		y = b.ReduceMax(bins(b.Op("Max", all...)), 0, 2, 4)
	}
	return []*graph.Value{transpose(b, y, 0, 3, 1, 2)}
}

type roiBuilder struct {
	gridBuilder
	r roiReader
}

// axis returns the lower and the upper pixel of every sample [R, bins ratio] along one axis of the image.
func (s roiBuilder) axis(rois *graph.Value, column int64, bins, pixels int) []gridTap {
	b, off := s.b, 0.5
	if s.r.transform == "output_half_pixel" {
		off = 0
	}
	edge := func(c int64) *graph.Value {
		return s.lin(b.OpA("Gather", []graph.Attr{graph.Int("axis", 1)}, rois, b.Ints(c)), s.r.scale, -off) // [R, 1]
	}
	lo := edge(column)
	size := b.Op("Sub", edge(column+2), lo)
	if off == 0 {
		size = b.Op("Max", size, s.num(1))
	}
	n := bins * s.r.ratio
	place := tensor.New(rois.DType, 1, n) // of the samples, in parts of the box
	v := make([]float64, n)
	for i := range v {
		v[i] = (float64(i) + 0.5) / float64(n)
	}
	setFloats(place, v)
	at := b.Op("Add", lo, b.Op("Mul", size, b.Init("places", place)))
	inside := b.Op("Not", b.Op("Or", b.Op("Less", at, s.num(-1)), b.Op("Greater", at, s.num(float64(pixels)))))
	at = s.clip(at, 0, float64(pixels-1))
	low := b.Op("Floor", at)
	t := b.Op("Sub", at, low)
	mask := func(w *graph.Value) *graph.Value { return b.Op("Where", inside, w, s.num(0)) }
	return []gridTap{{low, mask(s.lin(t, -1, 1))}, {s.clip(s.lin(low, 1, 1), 0, float64(pixels-1)), mask(t)}}
}
