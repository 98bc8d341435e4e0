package op

import (
	"muster/graph"
	"muster/tensor"
)

// gridSampleBody is GridSample in other operators: its gradient by the image and by the grid comes from them.
// Pixels are read by GatherND from [N, S, C], one read for every combination of taps.
func gridSampleBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	g, err := gridOf(n)
	x, grid := in[0], in[1]
	if err != nil || len(x.Shape) < 3 {
		return nil
	}
	for _, d := range x.Shape[2:] {
		if !d.Known() {
			return nil // the places depend on the size of the image
		}
	}
	D, L := len(x.Shape)-2, gridBuilder{b: b, g: g, like: grid}
	flat := b.Op("Reshape", grid, concat(b, axisSize(b, grid, 0), b.Ints(-1, int64(D)))) // [N, L, D]
	taps := []gridTap{{}}
	for a := 0; a < D; a++ {
		v := b.OpA("Gather", []graph.Attr{graph.Int("axis", 2)}, flat, b.Init("const", tensor.OfInt64([]int64{int64(D - 1 - a)})))
		taps = L.product(taps, L.axis(v, x.Shape[2+a].Size), x.Shape[2+a].Size)
	}
	pixels := transpose(b, reshapeTo(b, x, concat(b, axisSize(b, x, 0), axisSize(b, x, 1), b.Ints(-1))), 0, 2, 1)
	var y *graph.Value
	for _, t := range taps {
		v := b.Node(graph.Domain, "GatherND", 1, []*graph.Value{pixels, b.Unsqueeze(cast(b, t.at, tensor.Int64), 2)}, graph.Int("batch_dims", 1))[0]
		if t.w != nil {
			v = b.Op("Mul", v, castLike(b, b.Unsqueeze(t.w, 2), x))
		}
		if y != nil {
			v = b.Op("Add", y, v)
		}
		y = v
	}
	points := b.Op("Slice", shapeOf(b, grid), b.Ints(1), b.Ints(-1), b.Ints(0))
	return []*graph.Value{reshapeTo(b, transpose(b, y, 0, 2, 1), concat(b, axisSize(b, x, 0), axisSize(b, x, 1), points))}
}

// gridTap is one tap of every point: its place (a float that is whole) and its weight (nil: 1), both [N, L].
type gridTap struct{ at, w *graph.Value }

type gridBuilder struct {
	b    *graph.Builder
	g    gridReader
	like *graph.Value
}

func (l gridBuilder) num(x float64) *graph.Value { return fill(l.b, l.like, x) }

func (l gridBuilder) lin(x *graph.Value, mul, add float64) *graph.Value {
	return l.b.Op("Add", l.b.Op("Mul", x, l.num(mul)), l.num(add))
}

func (l gridBuilder) clip(x *graph.Value, lo, hi float64) *graph.Value {
	return l.b.Op("Clip", x, l.num(lo), l.num(hi))
}

// product combines the taps so far with those of an axis of n.
func (l gridBuilder) product(taps, axis []gridTap, n int) []gridTap {
	var out []gridTap
	for _, t := range taps {
		for _, u := range axis {
			v := u
			if t.at != nil {
				v.at = l.b.Op("Add", l.b.Op("Mul", t.at, l.num(float64(n))), u.at)
			}
			switch {
			case t.w != nil && u.w != nil:
				v.w = l.b.Op("Mul", t.w, u.w)
			case u.w == nil:
				v.w = t.w
			}
			out = append(out, v)
		}
	}
	return out
}

// axis is gridReader.axis.
func (l gridBuilder) axis(v *graph.Value, n int) []gridTap {
	b, lo, hi := l.b, -0.5, float64(n)-0.5
	x := l.lin(v, float64(n)/2, float64(n)/2-0.5)
	if l.g.align {
		lo, hi = 0, float64(n-1)
		x = l.lin(v, float64(n-1)/2, float64(n-1)/2)
	}
	if l.g.mode == "nearest" {
		x = b.Op("Round", x)
	}
	outside := func() *graph.Value { return b.Op("Or", b.Op("Less", x, l.num(lo)), b.Op("Greater", x, l.num(hi))) }
	switch l.g.padding {
	case "border":
		if l.g.mode == "cubic" {
			break
		}
		x = b.Op("Where", outside(), l.clip(x, 0, float64(n-1)), x)
	case "reflection":
		x = l.reflect(x, lo, hi)
	}
	if l.g.mode == "nearest" {
		return []gridTap{l.pixel(x, nil, n, lo, hi)}
	}
	i := b.Op("Floor", x)
	t := b.Op("Sub", x, i)
	if l.g.mode == "linear" {
		return []gridTap{l.pixel(i, l.lin(t, -1, 1), n, lo, hi), l.pixel(l.lin(i, 1, 1), t, n, lo, hi)}
	}
	var taps []gridTap
	for k := -1; k <= 2; k++ {
		d := l.lin(t, 1, float64(-k)) // t - k, at least 0 for k <= 0
		if k > 0 {
			d = l.lin(t, -1, float64(k))
		}
		taps = append(taps, l.pixel(l.lin(i, 1, float64(k)), l.cubic(d, k == 0 || k == 1), n, lo, hi))
	}
	return taps
}

// cubic is cubicWeight of a distance below or above 1.
func (l gridBuilder) cubic(d *graph.Value, near bool) *graph.Value {
	const a = -0.75
	if near {
		return l.lin(l.b.Op("Mul", l.b.Op("Mul", l.lin(d, a+2, -(a+3)), d), d), 1, 1)
	}
	return l.lin(l.b.Op("Mul", l.lin(l.b.Op("Mul", l.lin(d, a, -5*a), d), 1, 8*a), d), 1, -4*a)
}

func (l gridBuilder) reflect(x *graph.Value, lo, hi float64) *graph.Value {
	b, width := l.b, hi-lo
	if width <= 0 {
		return l.lin(x, 0, lo)
	}
	d := b.Op("Abs", l.lin(x, 1, -lo))
	n := b.Op("Floor", l.lin(d, 1/width, 0))
	r := b.Op("Sub", d, b.Op("Mul", n, l.num(width)))
	odd := b.Op("Sub", n, l.lin(b.Op("Floor", l.lin(n, 0.5, 0)), 2, 0))
	return b.Op("Where", b.Op("Less", odd, l.num(0.5)), l.lin(r, 1, lo), l.lin(r, -1, hi))
}

// pixel is the tap of whole coordinate i: inside the image, with weight 0 where zeros are read.
func (l gridBuilder) pixel(i, w *graph.Value, n int, lo, hi float64) gridTap {
	b := l.b
	switch l.g.padding {
	case "zeros":
		inside := b.Op("Not", b.Op("Or", b.Op("Less", i, l.num(0)), b.Op("Greater", i, l.num(float64(n-1)))))
		if w == nil {
			w = l.lin(i, 0, 1)
		}
		w = b.Op("Where", inside, w, l.num(0))
	case "reflection":
		i = b.Op("Floor", l.reflect(i, lo, hi))
	}
	return gridTap{l.clip(i, 0, float64(n-1)), w}
}
