package op

import (
	"muster/internal/kernel"
	"muster/internal/team"
	"muster/tensor"
)

// opMaxPoolGradNHWC is MaxPoolGrad for channels-last tensors; the indices stay those of the standard's order.
var opMaxPoolGradNHWC = lastForm{name: "MaxPoolGradNHWC", base: &opMaxPoolGrad, inputs: []int{0, 1, 2}, outputs: []int{0},
	prepare: func(p *Prep) (Kernel, bool) { return maxPoolGradKernel(p, true) }}.op()

// strides3 are the distances between channels and between positions in a tensor [N, C, O] or [N, O, C].
func strides3(C, O int, last bool) (channel, position int) {
	if last {
		return 1, C
	}
	return O, 1
}

// maxPoolIndexKernel finds maxima and their places; one task is a line of outputs of one image.
func maxPoolIndexKernel(p *Prep, last bool) (Kernel, bool) {
	if !allFloat32(p.In...) || p.Out[0].Elems() == 0 || p.Node.Int("storage_order", 0) != 0 {
		return Kernel{}, false
	}
	xs := p.In[0].Shape
	if last {
		xs = shapeFirst(xs)
	}
	win, err := poolWindow(p.Node, xs)
	if err != nil {
		return Kernel{}, false
	}
	I, O, taps := win.volumes()
	C := xs[1]
	xc, xp := strides3(C, I, last)
	yc, yp := strides3(C, O, last)
	// What every output reads, as far as it is inside, in lists one after another.
	var list, ends []int
	at := make([]int, taps)
	for o := 0; o < O; o++ {
		win.read(o, at)
		for _, i := range at {
			if i >= 0 {
				list = append(list, i)
			}
		}
		ends = append(ends, len(list))
	}
	per := rowsPer(C * taps)
	blocks := (O + per - 1) / per
	return Kernel{Run: split(xs[0]*blocks, func(in, out []*tensor.Tensor, _ []byte, task int) {
		n, b := task/blocks, task%blocks
		x, y := in[0].Float32s()[n*C*I:], out[0].Float32s()[n*C*O:]
		idx := out[1].Int64s()[n*C*O:]
		for o := b * per; o < min(O, (b+1)*per); o++ {
			from := 0
			if o > 0 {
				from = ends[o-1]
			}
			reads := list[from:ends[o]]
			for c := 0; c < C; c++ {
				v := x[c*xc:]
				best, where := v[reads[0]*xp], reads[0]
				for _, i := range reads[1:] {
					if e := v[i*xp]; e > best {
						best, where = e, i
					}
				}
				y[c*yc+o*yp], idx[c*yc+o*yp] = best, int64((n*C+c)*I+where)
			}
		}
	})}, true
}

// maxPoolGradKernel adds dY where the maxima were. Indices of an image lie in it if MaxPool made them; Check makes sure.
func maxPoolGradKernel(p *Prep, last bool) (Kernel, bool) {
	xs, ds := p.In[2].Shape, p.In[0].Shape
	if p.In[0].DType != tensor.Float32 || len(xs) < 3 || len(ds) != len(xs) || p.Out[0].Elems() == 0 || !ds.Equal(p.In[1].Shape) || ds[0] != xs[0] {
		return Kernel{}, false
	}
	if last {
		xs = shapeFirst(xs)
	}
	N, C, I := xs[0], xs[1], xs[2:].Elems()
	size := p.In[0].Elems() / max(N, 1)
	run := func(in, out []*tensor.Tensor, n int) {
		dx := out[0].Float32s()[n*C*I : (n+1)*C*I]
		dy := in[0].Float32s()[n*size : (n+1)*size]
		clear(dx)
		for i, at := range in[1].Int64s()[n*size : (n+1)*size] {
			k := int(at) - n*C*I
			if last {
				k = k%I*C + k/I
			}
			dx[k] += dy[i]
		}
	}
	var in, out []*tensor.Tensor
	one := func(n int) { run(in, out, n) }
	return Kernel{
		Run: func(i, o []*tensor.Tensor, _ []byte) {
			in, out = i, o
			team.Run(N, one)
		},
		Check: func(in []*tensor.Tensor) error {
			for i, at := range in[1].Int64s() {
				if n := i / max(size, 1); at < int64(n*C*I) || at >= int64((n+1)*C*I) {
					return (&Call{}).errorf("index %d is not in image %d", at, n)
				}
			}
			return nil
		},
	}, true
}

// pooling chooses the kernel of a MaxPool.
func pooling(p *Prep, last bool) (Kernel, bool) {
	switch {
	case p.out(1) != nil:
		return maxPoolIndexKernel(p, last)
	case last:
		return planesKernel(p, kernel.MaxPool)
	}
	return poolKernel(p, kernel.MaxPool)
}
