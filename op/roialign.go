package op

import (
	"math"

	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// RoiAlign (He et al., arXiv 1703.06870) reads X [N, C, H, W] in boxes [R, 4] (x1, y1, x2, y2 in input pixels times
// spatial_scale) on a grid of output_height by output_width bins: the average or the largest of sampling_ratio^2
// bilinear samples per bin (of one per pixel with sampling_ratio 0). In mode max each of the four weighted
// neighbours of a sample counts on its own, as in ONNX's reference.
func roiAlignOp(since int, attrs string) Op {
	return Op{
		Name: "RoiAlign", Since: since, MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: attrs,
		Infer: func(c *InferCall) error {
			if err := firstErr(c.wantFloat(0), c.wantFloat(1), c.wantType(2, tensor.Int64), c.wantRank(0, 4), c.wantRank(1, 2), c.wantRank(2, 1)); err != nil {
				return err
			}
			r := roiOf(c.Node)
			if m := r.mode; m != "avg" && m != "max" || r.transform != "half_pixel" && r.transform != "output_half_pixel" {
				return c.unsupported("mode %q with %q is not supported", m, r.transform)
			}
			if r.h < 1 || r.w < 1 || r.h > 1<<15 || r.w > 1<<15 || r.ratio < 0 || r.ratio > 1<<10 {
				return c.Errorf("an output of %d by %d with %d samples", r.h, r.w, r.ratio)
			}
			out := unknown(4)
			out[2], out[3] = graph.D(r.h), graph.D(r.w)
			if s := c.In[1].Shape; s != nil {
				if s[1].Known() && s[1].Size != 4 {
					return c.Errorf("boxes %v, want 4 columns", s)
				}
				out[0] = s[0]
			}
			if s := c.In[0].Shape; s != nil {
				out[1] = s[1]
			}
			c.Set(0, c.In[0].DType, out)
			return nil
		},
		Ref: func(c *Call) error {
			r := roiOf(c.Node)
			if err := r.check(c.In); err != nil {
				return err
			}
			x, rois, s := floats(c.In[0]), floats(c.In[1]), c.In[0].Shape
			C, S := s[1], s[2]*s[3]
			y := make([]float64, c.Out[0].Elems())
			for i := 0; i < c.In[1].Shape[0]; i++ {
				g := r.grid(rois[4*i:4*i+4], s[2], s[3])
				ys, xs := roiTaps[float64](&g.y, nil, r.h), roiTaps[float64](&g.x, nil, r.w)
				for ch := 0; ch < C; ch++ {
					src := x[(int(c.In[2].Int64s()[i])*C+ch)*S:][:S]
					roiPool(y[(i*C+ch)*r.h*r.w:][:r.h*r.w], src, &r, ys, xs, s[3])
				}
			}
			setFloats(c.Out[0], y)
			return nil
		},
		Body:    roiAlignBody,
		Prepare: roiAlignKernel,
	}
}

var (
	opRoiAlign10 = roiAlignOp(10, "mode output_height output_width sampling_ratio spatial_scale")
	opRoiAlign16 = roiAlignOp(16, "coordinate_transformation_mode mode output_height output_width sampling_ratio spatial_scale")
)

type roiReader struct {
	mode, transform string
	h, w, ratio     int
	scale           float64
}

func roiOf(n *graph.Node) roiReader {
	clampInt := func(v int64) int { return int(min(max(v, -1), 1<<20)) }
	r := roiReader{n.Str("mode", "avg"), n.Str("coordinate_transformation_mode", "half_pixel"), clampInt(n.Int("output_height", 1)), clampInt(n.Int("output_width", 1)),
		clampInt(n.Int("sampling_ratio", 0)), float64(n.Float("spatial_scale", 1))}
	return r
}

func (r *roiReader) check(in []*tensor.Tensor) error {
	R := in[1].Shape[0]
	if in[1].Shape[1] != 4 || in[2].Elems() != R {
		return (&Call{}).errorf("%d batch indices for boxes %v", in[2].Elems(), in[1].Shape)
	}
	for _, v := range in[2].Int64s() {
		if v < 0 || v >= int64(in[0].Shape[0]) {
			return (&Call{}).errorf("batch index %d of %d", v, in[0].Shape[0])
		}
	}
	if in[0].Shape[2] == 0 || in[0].Shape[3] == 0 {
		return (&Call{}).errorf("nothing can be read from %v", in[0].Shape)
	}
	for i, n := 0, in[1].Elems(); i < n; i++ {
		if v := in[1].Float(i) * r.scale; !(math.Abs(v) < 1<<16) {
			return (&Call{}).errorf("a box ends at %g", v)
		}
	}
	return nil
}

// roiGrid is the samples of one box: per axis, bins times samples per bin.
type roiGrid struct{ y, x roiAxis }

type roiAxis struct {
	per    int // samples of a bin
	start  float64
	bin    float64
	pixels int
}

func (r *roiReader) grid(b []float64, H, W int) roiGrid {
	off := 0.5
	if r.transform == "output_half_pixel" {
		off = 0
	}
	side := func(lo, hi float64, bins, pixels int) roiAxis {
		lo, hi = float64(lo*r.scale)-off, float64(hi*r.scale)-off
		size := hi - lo
		if off == 0 {
			size = max(size, 1)
		}
		a := roiAxis{per: r.ratio, start: lo, bin: size / float64(bins), pixels: pixels}
		if r.ratio == 0 {
			a.per = max(int(math.Ceil(a.bin)), 0)
		}
		return a
	}
	return roiGrid{side(b[1], b[3], r.h, H), side(b[0], b[2], r.w, W)}
}

// sample is the two pixels of sample k of bin i with their weights; all 0 if it is outside.
func (a *roiAxis) sample(i, k int) (lo, hi int, wl, wh float64) {
	v := a.start + float64(float64(i)*a.bin) + float64((float64(k)+0.5)*a.bin)/float64(a.per)
	if v < -1 || v > float64(a.pixels) {
		return 0, 0, 0, 0
	}
	v = max(v, 0)
	lo = int(v)
	if lo >= a.pixels-1 {
		return a.pixels - 1, a.pixels - 1, 1, 0
	}
	t := v - float64(lo)
	return lo, lo + 1, 1 - t, t
}

// roiTap is one sample of an axis made ready.
type roiTap[T float32 | float64] struct {
	lo, hi int
	wl, wh T
}

// roiTaps appends the samples of all bins.
func roiTaps[T float32 | float64](a *roiAxis, buf []roiTap[T], bins int) []roiTap[T] {
	for i := 0; i < bins*a.per; i++ {
		lo, hi, wl, wh := a.sample(i/a.per, i%a.per)
		buf = append(buf, roiTap[T]{lo, hi, T(wl), T(wh)})
	}
	return buf
}

// roiPool writes the bins of one channel from the samples ys and xs.
func roiPool[T float32 | float64](y, x []T, r *roiReader, ys, xs []roiTap[T], W int) {
	sy, sx := len(ys)/r.h, len(xs)/r.w
	count := T(max(sy*sx, 1))
	avg := r.mode == "avg"
	for i := 0; i < r.h; i++ {
		for j := 0; j < r.w; j++ {
			bin, sum := xs[j*sx:][:sx], T(0)
			for k, u := range ys[i*sy:][:sy] {
				top, low := x[u.lo*W:][:W], x[u.hi*W:][:W]
				if avg {
					for _, v := range bin {
						sum += T(u.wl*(T(v.wl*top[v.lo])+T(v.wh*top[v.hi]))) + T(u.wh*(T(v.wl*low[v.lo])+T(v.wh*low[v.hi])))
					}
					continue
				}
				for l, v := range bin {
					m := max(T(T(u.wl*v.wl)*top[v.lo]), T(T(u.wl*v.wh)*top[v.hi]), T(T(u.wh*v.wl)*low[v.lo]), T(T(u.wh*v.wh)*low[v.hi]))
					if k+l == 0 || m > sum {
						sum = m
					}
				}
			}
			if avg {
				sum /= count
			}
			y[i*r.w+j] = sum
		}
	}
}

// roiAlignKernel needs a fixed number of samples, so that their places fit the scratch.
func roiAlignKernel(p *Prep) (Kernel, bool) {
	r, s := roiOf(p.Node), p.In[0].Shape
	if p.In[0].DType != tensor.Float32 || p.In[1].DType != tensor.Float32 || r.ratio == 0 {
		return Kernel{}, false
	}
	R, C, S, bins, n := p.In[1].Shape[0], s[1], s[2]*s[3], r.h*r.w, (r.h+r.w)*r.ratio
	last := r.mode == "avg" && C >= 16 && 2*R*bins*r.ratio*r.ratio >= s[0]*S // all channels of a sample at once pay for moving the image
	taps := make([]roiTap[float32], R*n)                                     // of the boxes of one run
	places := split(R, func(in, _ []*tensor.Tensor, _ []byte, i int) {
		var b [4]float64
		for k := range b {
			b[k] = float64(in[1].Float32s()[4*i+k])
		}
		g := r.grid(b[:], s[2], s[3])
		roiTaps(&g.x, roiTaps(&g.y, taps[i*n:i*n:(i+1)*n], r.h), r.w)
	})
	if last {
		pools := split(R, func(in, out []*tensor.Tensor, scratch []byte, i int) {
			f := floatsIn(scratch)
			image, y := f[int(in[2].Int64s()[i])*S*C:][:S*C], f[s[0]*S*C+i*bins*C:][:bins*C]
			roiMix(y, image, &r, taps[i*n:i*n+r.h*r.ratio], taps[i*n+r.h*r.ratio:(i+1)*n], s[3], C)
			kernel.Transpose(out[0].Float32s()[i*C*bins:][:C*bins], bins, y, C, bins, C)
		})
		turn := &kernel.Transposer{Batch: s[0], Rows: C, Cols: S}
		return Kernel{Scratch: 4*(s[0]*S*C+R*bins*C) + 64, Check: r.check, Run: func(in, out []*tensor.Tensor, scratch []byte) {
			places(in, out, scratch)
			turn.Run(floatsIn(scratch)[:s[0]*S*C], in[0].Float32s())
			pools(in, out, scratch)
		}}, true
	}
	const per = 8 // channels
	parts := (C + per - 1) / per
	pools := split(R*parts, func(in, out []*tensor.Tensor, _ []byte, task int) {
		i, lo := task/parts, task%parts*per
		ys, xs := taps[i*n:i*n+r.h*r.ratio], taps[i*n+r.h*r.ratio:(i+1)*n]
		for c := lo; c < min(C, lo+per); c++ {
			src := in[0].Float32s()[(int(in[2].Int64s()[i])*C+c)*S:][:S]
			roiPool(out[0].Float32s()[(i*C+c)*bins:][:bins], src, &r, ys, xs, s[3])
		}
	})
	return Kernel{Check: r.check, Run: func(in, out []*tensor.Tensor, scratch []byte) {
		places(in, out, scratch)
		pools(in, out, scratch)
	}}, true
}

// roiMix writes the averages of the bins [bins, C] from the image [pixels, C].
func roiMix(y, x []float32, r *roiReader, ys, xs []roiTap[float32], W, C int) {
	sy, sx := len(ys)/r.h, len(xs)/r.w
	clear(y)
	for i := range r.h {
		for j := range r.w {
			d := y[(i*r.w+j)*C:][:C]
			for _, u := range ys[i*sy:][:sy] {
				for _, v := range xs[j*sx:][:sx] {
					at := func(row, col int) []float32 { return x[(row*W+col)*C:][:C] }
					kernel.Mix(d, at(u.lo, v.lo), at(u.lo, v.hi), at(u.hi, v.lo), at(u.hi, v.hi), [4]float32{u.wl * v.wl, u.wl * v.wh, u.wh * v.wl, u.wh * v.wh})
				}
			}
		}
	}
	kernel.MapScalar(kernel.Div, y, y, float32(max(sy*sx, 1)))
}
