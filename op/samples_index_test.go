package op_test

import (
	"math"

	"muster/graph"
	"muster/tensor"
)

// iv are fed int64 values.
func iv(v []int64, shape ...int) arg { return arg{t: tensor.OfInt64(v, shape...)} }

// perms fills every lane along axis 1 of [P, K, Q] with different indices below n.
func perms(P, K, Q, n int) arg {
	t := tensor.New(tensor.Int64, P, K, Q)
	for p := 0; p < P; p++ {
		for q := 0; q < Q; q++ {
			for k, v := range rnd.Perm(n)[:K] {
				t.Int64s()[(p*K+k)*Q+q] = int64(v) - int64(n*(k%2))
			}
		}
	}
	return arg{t: t}
}

var scatterings = []string{"none", "add", "mul", "max", "min"}

func indexing(add func(...sample)) {
	ax := func(v int64) []graph.Attr { return attrs(graph.Int("axis", v)) }
	for _, d := range []string{"", graph.Domain} {
		add(sample{domain: d, op: "GatherElements", in: at(ff(3, 5, 4), ix(-5, 5, 3, 7, 4)), attrs: ax(1)}, sample{domain: d, op: "GatherElements", in: at(ff(6), as(ix(-6, 6, 9), tensor.Int32))},
			sample{domain: d, op: "GatherElements", in: at(ff(4, 6), ix(0, 4, 2, 3)), noSym: true}, sample{domain: d, op: "GatherElements", in: at(ix(0, 99, 4, 60), ix(0, 60, 4, 50)), attrs: ax(-1)},
			sample{domain: d, op: "GatherElements", in: at(as(ix(0, 99, 5, 6), tensor.Int16), ix(0, 6, 5, 2)), attrs: ax(1)}, sample{domain: d, op: "GatherElements", in: at(ff(0, 3), ix(0, 1, 0, 3))},
			sample{domain: d, op: "GatherElements", in: at(ff(70, 300), ix(0, 70, 60, 300))},
			sample{domain: d, op: "GatherND", in: at(ff(3, 4, 5), iv([]int64{0, 1, -1, -4, 2, 3, 0, 1}, 4, 2)), noSym: true}, sample{domain: d, op: "GatherND", in: at(ff(3, 4, 5), ix(-3, 3, 2, 2, 1))},
			sample{domain: d, op: "GatherND", in: at(ff(3, 4, 5), ix(-3, 3, 6, 3)), noSym: true}, sample{domain: d, op: "GatherND", in: at(ff(2, 3, 4, 5), ix(-4, 4, 2, 3, 6, 1)), attrs: attrs(graph.Int("batch_dims", 2))},
			sample{domain: d, op: "GatherND", in: at(ff(2, 4, 5), as(ix(-4, 4, 2, 2), tensor.Int32)), attrs: attrs(graph.Int("batch_dims", 1)), noSym: true}, sample{domain: d, op: "GatherND", in: at(ff(0, 4), ix(0, 1, 0, 1))})
	}
	scatters(add)
	pads(add)
	resizes(add)
	images(add)
	add(sample{op: "NonZero", in: at(konst(ix(0, 2, 3, 4, 5)))}, sample{op: "NonZero", in: at(konst(bb(7)))}, sample{op: "NonZero", in: at(konst(fx([]float32{3})))}, sample{op: "NonZero", in: at(konst(as(ix(0, 2, 3, 5), tensor.Float16)))},
		sample{op: "NonZero", in: at(konst(fx([]float32{0, float32(math.NaN()), float32(math.Copysign(0, -1)), 2}, 2, 2)))})
	cond := func(v ...bool) arg { return konst(arg{t: tensor.OfBool(v, len(v))}) }
	add(sample{op: "Compress", in: at(ff(3, 4), cond(true, false, true)), attrs: ax(0)}, sample{op: "Compress", in: at(ff(3, 4), cond(false, true, true)), attrs: ax(-1)}, sample{op: "Compress", in: at(ff(3, 4), cond(false, true, false, false, true)), noSym: true},
		sample{op: "Compress", in: at(ix(0, 9, 3, 4), cond(false)), attrs: ax(1)})
	add(sample{op: "Unique", in: at(konst(fx([]float32{2, 1, 1, 3, 4, 3}, 6))), out: 4}, sample{op: "Unique", in: at(konst(fx([]float32{2, 1, 1, 3, 4, 3}, 2, 3))), attrs: attrs(graph.Int("sorted", 0)), out: 4},
		sample{op: "Unique", in: at(konst(iv([]int64{1, 0, 0, 1, 0, 0, 2, 3, 4}, 3, 3))), attrs: ax(0), out: 4}, sample{op: "Unique", in: at(konst(iv([]int64{1, 1, 0, 2, 2, 1}, 2, 3))), attrs: attrs(graph.Int("axis", 1), graph.Int("sorted", 0)), out: 3})
	for _, largest := range []int64{0, 1} {
		l := graph.Int("largest", largest)
		add(sample{op: "TopK", in: at(fd(3, 7), ci(3)), attrs: attrs(l), out: 2}, sample{op: "TopK", in: at(fd(3, 7, 4), ci(2)), attrs: attrs(l, graph.Int("axis", 1)), out: 2}, sample{op: "TopK", in: at(ff(4, 3000), ci(50)), attrs: attrs(l), out: 2},
			sample{op: "TopK", in: at(fx([]float32{1, 2, 2, float32(math.NaN()), 2, 1, 0, float32(math.Copysign(0, -1)), 0, float32(math.NaN())}, 2, 5), ci(5)), attrs: attrs(l), out: 2},
			sample{op: "TopK", in: at(ix(-5, 5, 3, 7), ci(7)), attrs: attrs(l, graph.Int("axis", 0), graph.Int("sorted", 0))[:1], out: 2}, sample{op: "TopK", in: at(fd(3, 7), ci(0)), attrs: attrs(l), out: 2})
	}
	add(sample{op: "TopK", opset: 10, in: at(fd(3, 7), ci(3)), out: 2}, sample{op: "TopK", opset: 9, in: at(fd(3, 7)), attrs: attrs(graph.Int("k", 2), graph.Int("axis", 0)), out: 2})
	seq := func(b int64) []graph.Attr { return attrs(graph.Int("batch_axis", b), graph.Int("time_axis", 1-b)) }
	add(sample{op: "ReverseSequence", in: at(ff(5, 3, 4), ix(0, 6, 3)), attrs: seq(1)}, sample{op: "ReverseSequence", in: at(ff(3, 5), ix(0, 6, 3)), attrs: seq(0)}, sample{op: "ReverseSequence", in: at(ix(0, 9, 5, 3), ix(0, 6, 3))})
	for _, mode := range []string{"DCR", "CRD"} {
		a := attrs(graph.Int("blocksize", 2), graph.Str("mode", mode))
		add(sample{op: "DepthToSpace", in: at(ff(1, 16, 3, 37)), attrs: a}, sample{op: "DepthToSpace", in: at(ff(2, 12, 3, 5)), attrs: a}, sample{op: "DepthToSpace", in: at(as(ix(0, 9, 1, 8, 2, 2), tensor.Uint8)), attrs: a})
	}
	add(sample{op: "SpaceToDepth", in: at(ff(2, 3, 4, 6)), attrs: attrs(graph.Int("blocksize", 2)), noSym: true}, sample{op: "SpaceToDepth", in: at(ff(1, 2, 9, 3)), attrs: attrs(graph.Int("blocksize", 3)), noSym: true})
}

func scatters(add func(...sample)) {
	for _, d := range []string{"", graph.Domain} {
		for _, how := range scatterings {
			r := graph.Str("reduction", how)
			idx, many, tup := perms(3, 3, 4, 5), ix(-5, 5, 3, 7, 4), iv([]int64{0, -1, 2}, 3, 1)
			if how == "none" {
				many, tup = perms(3, 5, 4, 5), iv([]int64{1, 0, -2}, 3, 1)
			}
			add(sample{domain: d, op: "ScatterElements", in: at(fd(3, 5, 4), idx, ff(3, 3, 4)), attrs: attrs(r, graph.Int("axis", 1)), tol: 1e-5},
				sample{domain: d, op: "ScatterElements", in: at(ff(3, 5, 4), many, ff(many.t.Shape...)), attrs: attrs(r, graph.Int("axis", -2)), tol: 1e-5},
				sample{domain: d, op: "ScatterElements", in: at(ff(4, 6), iv([]int64{3, 0, 1}, 1, 3), ff(1, 3)), attrs: attrs(r), tol: 1e-5, noSym: true},
				sample{domain: d, op: "ScatterElements", in: at(ix(1, 9, 4, 6), iv([]int64{3, 0, 1, 2, 2, 1, -2, -3, -4, 0, 3, 3}, 2, 6), ix(1, 9, 2, 6)), attrs: attrs(r)},
				sample{domain: d, op: "ScatterElements", in: at(as(ix(1, 9, 4), tensor.Uint64), iv([]int64{3, 0}, 2), as(ix(1, 9, 2), tensor.Uint64)), attrs: attrs(r)},
				sample{domain: d, op: "ScatterND", in: at(ff(4, 3, 2), tup, ff(3, 3, 2)), attrs: attrs(r), tol: 1e-5}, sample{domain: d, op: "ScatterND", in: at(ff(4, 3), iv([]int64{0, 1, -1, -1}, 2, 2), ff(2)), attrs: attrs(r)},
				sample{domain: d, op: "ScatterND", in: at(ff(9, 2500), iv([]int64{0, 5, 8, 2, 7}, 5, 1), ff(5, 2500)), attrs: attrs(r)},
				sample{domain: d, op: "ScatterND", in: at(as(ix(1, 9, 4, 3), tensor.Float16), iv([]int64{1, 2, 3}, 3, 1), as(ix(1, 9, 3, 3), tensor.Float16)), attrs: attrs(r)})
		}
		add(sample{domain: d, op: "ScatterElements", in: at(ff(3, 4), ix(0, 3, 2, 4), fx([]float32{0, 0, 2, 3, 0, 4, 0, 5}, 2, 4)), attrs: attrs(graph.Str("reduction", "mul"))})
	}
	add(sample{op: "Scatter", opset: 10, in: at(ff(3, 5), perms(1, 3, 1, 5).flat(1, 3), ff(1, 3)), attrs: attrs(graph.Int("axis", 1)), noSym: true})
	add(sample{op: "Scatter", opset: 10, in: at(raw(tensor.Bool, 5), iv([]int64{4, 0}, 2), raw(tensor.Bool, 2))})
}

// flat gives an input another shape.
func (a arg) flat(shape ...int) arg {
	t := *a.t
	t.Shape = shape
	return arg{&t, a.konst}
}

func pads(add func(...sample)) {
	one := konst(fx([]float32{1.5}))
	for _, mode := range []string{"constant", "reflect", "edge", "wrap"} {
		m := attrs(graph.Str("mode", mode))
		add(sample{op: "Pad", in: at(ff(3, 4), ci(1, 2, 0, 2)), attrs: m, noSym: true}, sample{op: "Pad", in: at(ff(2, 3, 4, 5), ci(0, 0, 2, 1, 0, 0, 1, 3)), attrs: m, noSym: true}, sample{op: "Pad", in: at(ff(5, 6), ci(-1, 2, 0, -3)), attrs: m, noSym: true},
			sample{op: "Pad", in: at(ff(2, 3, 4), ci(2, 1), none, ci(-1)), attrs: m, noSym: true}, sample{op: "Pad", in: at(as(ix(0, 9, 3, 3), tensor.Uint8), ci(1, 1, 1, 1)), attrs: m, noSym: true},
			sample{op: "Pad", in: at(ix(0, 9, 7), ci(3, 2)), attrs: m, noSym: true}, sample{op: "Pad", in: at(ff(70, 300), ci(1, 1, 0, 1)), attrs: m, noSym: true})
		add(sample{op: "Pad", opset: 10, in: at(ff(3, 4)), attrs: attrs(graph.Str("mode", mode), graph.Ints("pads", 1, 0, 2, 1)), noSym: true})
	}
	add(sample{op: "Pad", in: at(ff(3, 4), ci(1, -2, 0, 2), one), noSym: true}, sample{op: "Pad", in: at(ff(3, 4), ci(1, -2, 0, 2), fx([]float32{2})), noSym: true}, sample{op: "Pad", in: at(ff(3, 0), ci(0, 2, 0, 2), one), noSym: true}, sample{op: "Pad", in: at(ff(), konst(arg{t: tensor.New(tensor.Int64, 0)}), one)},
		sample{op: "Pad", opset: 10, in: at(ff(3, 4)), attrs: attrs(graph.Ints("pads", 1, 0, 0, 2), graph.Float("value", 0.5)), noSym: true}, sample{op: "Pad", in: at(ff(1, 1), ci(2, 2, 2, 2)), attrs: attrs(graph.Str("mode", "reflect")), noSym: true})
	add(sample{op: "CenterCropPad", in: at(ff(20, 10, 3), ci(10, 9, 3)), noSym: true}, sample{op: "CenterCropPad", in: at(ff(5, 7), ci(8, 4)), noSym: true}, sample{op: "CenterCropPad", in: at(ff(5, 7, 2), ci(10, 5)), attrs: attrs(graph.Ints("axes", -2, 0)), noSym: true})
}

func resizes(add func(...sample)) {
	f := func(v ...float32) arg { return konst(fx(v, len(v))) }
	x := func() arg { return ff(1, 2, 4, 5) }
	for _, mode := range []string{"nearest", "linear", "cubic"} {
		m := graph.Str("mode", mode)
		for _, c := range []string{"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize", "tf_half_pixel_for_nn"} {
			a := attrs(m, graph.Str("coordinate_transformation_mode", c), graph.Float("extrapolation_value", 7))
			roi := none
			if c == "tf_crop_and_resize" {
				roi = f(0, 0, 0.2, -0.2, 1, 1, 0.8, 1.1)
			}
			for _, near := range []string{"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"} {
				if near != "floor" && mode != "nearest" {
					continue
				}
				n := append(attrs(graph.Str("nearest_mode", near)), a...)
				add(sample{op: "Resize", in: at(x(), roi, f(1, 1, 2, 2)), attrs: n, noSym: true, tol: 1e-5}, sample{op: "Resize", in: at(x(), roi, f(1, 1, 0.6, 1.7)), attrs: n, noSym: true, tol: 1e-5},
					sample{op: "Resize", in: at(x(), roi, none, ci(1, 2, 9, 3)), attrs: n, noSym: true, tol: 1e-5})
			}
			if mode != "nearest" {
				add(sample{op: "Resize", in: at(x(), roi, f(1, 1, 0.6, 1.7)), attrs: append(attrs(graph.Int("exclude_outside", 1), graph.Float("cubic_coeff_a", -0.5)), a...), noSym: true, tol: 1e-5},
					sample{op: "Resize", in: at(x(), roi, none, ci(1, 2, 2, 4)), attrs: append(attrs(graph.Int("antialias", 1)), a...), noSym: true, tol: 1e-5})
			}
		}
		add(sample{op: "Resize", in: at(as(ix(0, 99, 1, 1, 4, 4), tensor.Uint8), none, f(1, 1, 2, 2)), attrs: attrs(m), noSym: true}, sample{op: "Resize", in: at(ff(3, 6), none, f(2), none), attrs: attrs(m, graph.Ints("axes", -1)), noSym: true, tol: 1e-5},
			sample{op: "Resize", in: at(ff(1, 2, 4, 6), none, none, ci(7, 8)), attrs: attrs(m, graph.Ints("axes", 3, 2), graph.Str("keep_aspect_ratio_policy", "not_larger")), noSym: true, tol: 1e-5},
			sample{op: "Resize", in: at(ff(1, 2, 4, 6), none, none, ci(7, 8)), attrs: attrs(m, graph.Ints("axes", 2, 3), graph.Str("keep_aspect_ratio_policy", "not_smaller")), noSym: true, tol: 1e-5},
			sample{op: "Resize", in: at(ff(2, 3, 4, 3, 2), none, f(1, 1, 1.5, 2, 0.5)), attrs: attrs(m), noSym: true, tol: 1e-5}, sample{op: "Resize", in: at(ff(1, 3, 70, 600), none, f(1, 1, 2, 2)), attrs: attrs(m), noSym: true, tol: 1e-5},
			sample{op: "Resize", opset: 10, in: at(x(), f(1, 1, 2, 0.5)), attrs: attrs(m), noSym: true, tol: 1e-5}, sample{op: "Resize", in: at(ff(2, 3), none, f(1, 1)), attrs: attrs(m)})
	}
	for _, mode := range []string{"nearest", "linear"} {
		m := graph.Str("mode", mode)
		add(sample{op: "Resize", in: at(x(), none, none, ci(1, 2, 0, 3)), attrs: attrs(m), noSym: true})
		add(sample{op: "Upsample", opset: 9, in: at(x(), f(1, 1, 2, 3)), attrs: attrs(m), noSym: true, tol: 1e-5}, sample{op: "Upsample", opset: 8, in: at(x()), attrs: attrs(m, graph.Attr{Name: "scales", Kind: graph.AttrFloats, Floats: []float32{1, 1, 1.5, 2}}), noSym: true, tol: 1e-5})
	}
	for _, sh := range [][]int{{2, 3, 5, 4}, {7, 5}, {1, 5, 700}} {
		s := []int64{2, 3, 4, 4}[:len(sh)]
		for i := range s {
			s[i] = int64(sh[i])
		}
		a := max(len(sh)-2, 0)
		s[a] = 6
		w := ff(sh[a], 3)
		add(sample{domain: graph.Domain, op: "MixGrad", in: at(ff(sh...), konst(ix(0, 6, sh[a], 3)), konst(w), ci(s...)), attrs: attrs(graph.Int("axis", int64(a-len(sh)))), noSym: true, tol: 1e-5})
	}
	add(sample{domain: graph.Domain, op: "MixGrad", in: at(ff(40, 9), konst(ix(0, 6, 9, 2)), konst(ff(9, 2)), ci(40, 6)), noSym: true, tol: 1e-5}, sample{domain: graph.Domain, op: "MixGrad", in: at(ff(4, 9), ix(0, 6, 9, 2), ff(9, 2), ci(4, 6)), noSym: true, tol: 1e-5})
}

func images(add func(...sample)) {
	for _, mode := range []string{"linear", "nearest", "cubic"} {
		for _, pad := range []string{"zeros", "border", "reflection"} {
			for _, align := range []int64{0, 1} {
				a := attrs(graph.Str("mode", mode), graph.Str("padding_mode", pad), graph.Int("align_corners", align))
				g, g3, m := fu(-1.4, 1.4, 2, 3, 2, 2), fu(-1.4, 1.4, 2, 2, 1, 3, 3), fu(-3, 3, 1, 5, 30, 2)
				if mode == "nearest" { // constant in the grid
					g, g3, m = konst(g), konst(g3), konst(m)
				}
				add(sample{op: "GridSample", in: at(ff(2, 3, 4, 5), g), attrs: a, noSym: true, tol: 1e-5}, sample{op: "GridSample", in: at(ff(1, 2, 4, 4), m), attrs: a, noSym: true, tol: 1e-4})
				if mode != "cubic" || pad == "zeros" && align == 0 {
					add(sample{op: "GridSample", in: at(ff(2, 2, 3, 4, 2), g3), attrs: a, noSym: true, tol: 1e-5})
				}
			}
		}
	}
	add(sample{op: "GridSample", opset: 16, in: at(ff(1, 1, 1, 3), fu(-1, 1, 1, 2, 2, 2)), attrs: attrs(graph.Str("mode", "bilinear"), graph.Str("padding_mode", "reflection"), graph.Int("align_corners", 1)), noSym: true, tol: 1e-5},
		sample{op: "GridSample", opset: 16, in: at(ff(1, 1, 5, 3), fu(-1, 1, 1, 2, 2, 2)), attrs: attrs(graph.Str("mode", "bicubic")), noSym: true, tol: 1e-5})
	for _, align := range []int64{0, 1} {
		a := attrs(graph.Int("align_corners", align))
		add(sample{op: "AffineGrid", in: at(ff(2, 2, 3), ci(2, 3, 4, 5)), attrs: a, noSym: true}, sample{op: "AffineGrid", in: at(ff(2, 3, 4), ci(2, 1, 2, 1, 3)), attrs: a, noSym: true})
	}
	add(sample{op: "Col2Im", in: at(ff(1, 5, 5), ci(5, 5), ci(1, 5)), noSym: true}, sample{op: "Col2Im", in: at(ff(2, 8, 4), ci(4, 5), ci(2, 2)), attrs: attrs(graph.Ints("pads", 0, 1, 0, 1), graph.Ints("strides", 2, 2), graph.Ints("dilations", 1, 3)), noSym: true, tol: 1e-5},
		sample{op: "Col2Im", in: at(ff(1, 12, 12), ci(3, 4, 5), ci(1, 2, 3)), attrs: attrs(graph.Ints("strides", 3, 1, 1), graph.Ints("pads", 0, 0, 0, 0, 1, 0)), noSym: true, tol: 1e-5})
	score := konst(fx([]float32{0.9, 0.75, 0.6, 0.95, 0.5, 0.3, 0.6, 0.6, 0.6, 0.1, 0.2, 0.6}, 1, 2, 6))
	boxes := konst(fx([]float32{0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, -0.1, 1, 0.9, 0, 10, 1, 11, 0, 10.1, 1, 11.1, 0, 100, 1, 101}, 1, 6, 4))
	f0 := func(v float32) arg { return konst(fx([]float32{v}, 1)) }
	add(sample{op: "NonMaxSuppression", in: at(boxes, score, ci(3), f0(0.5), f0(0.2))}, sample{op: "NonMaxSuppression", in: at(boxes, score, ci(1), f0(0.5))}, sample{op: "NonMaxSuppression", in: at(boxes, score)},
		sample{op: "NonMaxSuppression", in: at(konst(fp(1, 6, 4)), score, ci(9), f0(0.1)), attrs: attrs(graph.Int("center_point_box", 1))})
	for _, mode := range []string{"avg", "max"} {
		for _, ratio := range []int64{0, 2} {
			x := ff(2, 10, 6, 7)
			if mode == "max" {
				x = fd(2, 3, 6, 7)
			}
			rois := fx([]float32{0.3, 0.4, 5.2, 4.1, -2.2, 1.37, 3.4, 9.7, 1.6, 2.2, 2.3, 2.9}, 3, 4)
			if mode == "max" { // the other box reads one pixel twice with one weight: a kink of the maximum
				rois = fx([]float32{1.3, 1.4, 5.2, 5.1, 2.2, 1.37, 3.4, 6.7, 1.6, 2.2, 2.3, 2.9}, 3, 4)
			}
			if ratio == 0 { // the number of samples jumps with the boxes, and there is no body
				x, rois = konst(x), konst(rois)
			}
			a := attrs(graph.Str("mode", mode), graph.Int("output_height", 3), graph.Int("output_width", 2), graph.Int("sampling_ratio", ratio), graph.Float("spatial_scale", 0.75))
			add(sample{op: "RoiAlign", in: at(x, rois, iv([]int64{1, 0, 1}, 3)), attrs: a, noSym: true, tol: 1e-5}, sample{op: "RoiAlign", in: at(x, rois, iv([]int64{1, 0, 1}, 3)), attrs: append(attrs(graph.Str("coordinate_transformation_mode", "output_half_pixel")), a...), noSym: true, tol: 1e-5})
			if mode == "avg" && ratio > 0 {
				add(sample{op: "RoiAlign", in: at(ff(2, 19, 6, 7), rois, iv([]int64{1, 0, 1}, 3)), attrs: a, noSym: true, tol: 1e-5}) // channels enough to be read side by side
			}
			if ratio > 0 {
				add(sample{op: "MaxRoiPool", in: at(fd(2, 3, 6, 7), konst(fx([]float32{1, 0, 1, 5, 7, 0, 3, 3, 4, 4, 1, 6, 6, 9, 12, 0, 2, 0, 0, 0}, 4, 5))), attrs: attrs(graph.Ints("pooled_shape", 2, 3), graph.Float("spatial_scale", 0.75)), noSym: true})
			}
			if mode == "avg" {
				add(sample{op: "RoiAlign", opset: 12, in: at(x, rois, iv([]int64{1, 0, 1}, 3)), attrs: a, noSym: true, tol: 1e-5})
			}
		}
	}
}
