package op

import (
	"math"

	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// Axes: P positions (of all images), C channels, last in memory.

// The training forms of BatchNormalization and the gradient of convolutions by their weights for channels-last tensors.
var (
	opBatchNormalizationTrainingNHWC = lastForm{name: "BatchNormalizationTrainingNHWC", base: &opBatchNormalizationTraining, inputs: []int{0}, outputs: []int{0},
		defaults: []graph.Attr{graph.Float("epsilon", 1e-5), graph.Float("momentum", 0.9)},
		prepare:  func(p *Prep) (Kernel, bool) { return batchNormKernel(p, true) }}.op()
	opBatchNormalizationGradNHWC = lastForm{name: "BatchNormalizationGradNHWC", base: &opBatchNormalizationGrad, inputs: []int{0, 1}, outputs: []int{0},
		prepare: func(p *Prep) (Kernel, bool) { return batchNormGradKernel(p, true) }}.op()
	opConvGradWeightNHWC = lastForm{name: "ConvGradWeightNHWC", base: &opConvGradWeight, inputs: []int{0, 1},
		defaults: opConvGradWeight.Defaults, flops: opConvGradWeight.Flops,
		prepare: func(p *Prep) (Kernel, bool) { return convGradWeightKernel(p, true) }}.op()
)

// placed is where a kernel finds a tensor with its channels last: in the tensor, or in a copy that it makes in scratch.
type placed struct {
	n    int
	swap *kernel.Transposer // nil: it is so already
}

// place plans for a tensor of the given shape; last says that its channels are last already, out that it is an output.
func place(s tensor.Shape, last, out bool) placed {
	p := placed{n: s.Elems()}
	if !last {
		p.swap = &kernel.Transposer{Batch: s[0], Rows: s[1], Cols: s[2:].Elems()}
		if out {
			p.swap.Rows, p.swap.Cols = p.swap.Cols, p.swap.Rows
		}
	}
	return p
}

// elems is the scratch in elements.
func (p placed) elems() int {
	if p.swap == nil {
		return 0
	}
	return (p.n + 15) &^ 15
}

// in returns the data with channels last, and the scratch that is left.
func (p placed) in(data, scratch []float32) (x, rest []float32) {
	if p.swap == nil {
		return data, scratch
	}
	p.swap.Run(scratch[:p.n], data)
	return scratch[:p.n], scratch[p.elems():]
}

// out returns where to write with channels last; done moves it to its place.
func (p placed) out(data, scratch []float32) (y, rest []float32) {
	if p.swap == nil {
		return data, scratch
	}
	return scratch[:p.n], scratch[p.elems():]
}

func (p placed) done(data, y []float32) {
	if p.swap != nil {
		p.swap.Run(data, y)
	}
}

// rowsAndChannels are P and C of a shape.
func rowsAndChannels(s tensor.Shape, last bool) (P, C int) {
	C = s[1]
	if last {
		C = s[len(s)-1]
	}
	return s.Elems() / max(C, 1), C
}

// allFloat32 reports whether every tensor that is there is float32.
func allFloat32(ts ...*tensor.Tensor) bool {
	for _, t := range ts {
		if t != nil && t.DType != tensor.Float32 {
			return false
		}
	}
	return true
}

func batchNormKernel(p *Prep, last bool) (Kernel, bool) {
	if !allFloat32(p.In...) || !allFloat32(p.Out...) || p.In[0].Elems() == 0 {
		return Kernel{}, false
	}
	s := p.In[0].Shape
	P, C := rowsAndChannels(s, last)
	v := &kernel.BatchNorm{P: P, C: C, Epsilon: p.Node.Float("epsilon", 1e-5)}
	momentum := p.Node.Float("momentum", 0.9)
	x, y := place(s, last, false), place(s, last, true)
	return Kernel{Scratch: 4 * (x.elems() + y.elems() + 3*C + v.ScratchElems()), Run: func(in, out []*tensor.Tensor, scratch []byte) {
		all := floatsIn(scratch)
		v.X, all = x.in(in[0].Float32s(), all)
		v.Y, all = y.out(out[0].Float32s(), all)
		v.Scale, v.Bias = in[1].Float32s(), in[2].Float32s()
		v.Mean, v.Inv, v.Var, all = all[:C], all[C:2*C], all[2*C:3*C], all[3*C:]
		v.Forward(all)
		y.done(out[0].Float32s(), v.Y)
		for i, now := range [2][]float32{v.Mean, v.Var} {
			if len(out) > 1+i && out[1+i] != nil {
				run, old := out[1+i].Float32s(), in[3+i].Float32s()
				for c := range run {
					run[c] = float32(momentum*old[c]) + float32((1-momentum)*now[c])
				}
			}
		}
		for i, kept := range [2][]float32{v.Mean, v.Inv} {
			if len(out) > 3+i && out[3+i] != nil {
				copy(out[3+i].Float32s(), kept)
			}
		}
	}}, true
}

func batchNormGradKernel(p *Prep, last bool) (Kernel, bool) {
	if !allFloat32(p.In...) || !allFloat32(p.Out...) || p.In[0].Elems() == 0 {
		return Kernel{}, false
	}
	s := p.In[1].Shape
	P, C := rowsAndChannels(s, last)
	v := &kernel.BatchNorm{P: P, C: C}
	dy, x, dx := place(s, last, false), place(s, last, false), place(s, last, true)
	spare := 2 * C
	if p.out(0) == nil {
		spare += s.Elems()
	}
	return Kernel{Scratch: 4 * (dy.elems() + x.elems() + dx.elems() + spare + v.ScratchElems()), Run: func(in, out []*tensor.Tensor, scratch []byte) {
		all := floatsIn(scratch)
		v.DY, all = dy.in(in[0].Float32s(), all)
		v.X, all = x.in(in[1].Float32s(), all)
		var own []float32
		own, all = all[:spare], all[spare:]
		target := func(i, at, n int) []float32 {
			if i < len(out) && out[i] != nil {
				return out[i].Float32s()
			}
			return own[at : at+n]
		}
		y := target(0, 2*C, len(own)-2*C)
		v.DX, all = dx.out(y, all)
		v.DScale, v.DBias = target(1, 0, C), target(2, C, C)
		v.Scale, v.Mean, v.Inv = in[2].Float32s(), in[3].Float32s(), in[4].Float32s()
		v.Backward(all)
		dx.done(y, v.DX)
	}}, true
}

// convGradWeightKernel computes the gradient of a convolution's weights.
func convGradWeightKernel(p *Prep, last bool) (Kernel, bool) {
	xs, ds := p.In[0].Shape, p.In[1].Shape
	if last {
		xs, ds = shapeFirst(xs), shapeFirst(ds)
	}
	if !allFloat32(p.In...) || p.In[0].Elems() == 0 || p.In[1].Elems() == 0 || len(xs) > 5 {
		return Kernel{}, false
	}
	win, err := gradWindow(p.Node, xs, ds)
	if err != nil {
		return Kernel{}, false
	}
	v := &kernel.ConvGrad{Window: win.lifted(xs[0], xs[1], ds[1], false), Groups: int(p.Node.Int("group", 1))}
	v.Plan()
	x, dy := place(p.In[0].Shape, last, false), place(p.In[1].Shape, last, false)
	return Kernel{Scratch: 4 * (x.elems() + dy.elems() + v.ScratchElems()), Run: func(in, out []*tensor.Tensor, scratch []byte) {
		all := floatsIn(scratch)
		v.X, all = x.in(in[0].Float32s(), all)
		v.DY, all = dy.in(in[1].Float32s(), all)
		v.DW = out[0].Float32s()
		v.Run(all)
	}}, true
}

// batchNormInferenceKernel is one product and one sum per element; a task is some planes of one channel each.
func batchNormInferenceKernel(p *Prep) (Kernel, bool) {
	if !allFloat32(p.In...) || p.In[0].Elems() == 0 {
		return Kernel{}, false
	}
	s, eps := p.In[0].Shape, float64(p.Node.Float("epsilon", 1e-5))
	C, O := s[1], s[2:].Elems()
	return Kernel{Over: 1, Run: rowKernel(s[0]*C, O, func(in, out []*tensor.Tensor, lo, hi int) {
		scale, bias, mean, variance := in[1].Float32s(), in[2].Float32s(), in[3].Float32s(), in[4].Float32s()
		for r := lo; r < hi; r++ {
			c := r % C
			a := float64(scale[c]) / math.Sqrt(float64(variance[c])+eps)
			x, y := in[0].Float32s()[r*O:(r+1)*O], out[0].Float32s()[r*O:(r+1)*O]
			kernel.MapScalar(kernel.Mul, y, x, float32(a))
			kernel.MapScalar(kernel.Add, y, y, float32(float64(bias[c])-float64(float64(mean[c])*a)))
		}
	})}, true
}
