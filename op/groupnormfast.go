package op

import (
	"math"

	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// The normalisations of groups for channels-last tensors.
var (
	opGroupNormalizationNHWC = lastForm{name: "GroupNormalizationNHWC", base: &opGroupNormalization21, inputs: []int{0}, outputs: []int{0},
		defaults: []graph.Attr{graph.Float("epsilon", 1e-5), graph.Int("num_groups", 1), graph.Int("stash_type", 1)},
		inner:    groupNorm{name: "GroupNormalization"}.body,
		prepare:  func(p *Prep) (Kernel, bool) { return groupRowsKernel(p, int(p.Node.Int("num_groups", 1))) }}.op()
	opInstanceNormalizationNHWC = lastForm{name: "InstanceNormalizationNHWC", base: &opInstanceNormalization, inputs: []int{0}, outputs: []int{0},
		defaults: []graph.Attr{graph.Float("epsilon", 1e-5)},
		prepare:  func(p *Prep) (Kernel, bool) { return groupRowsKernel(p, p.Out[0].Shape[len(p.Out[0].Shape)-1]) }}.op()
)

// groupRowsKernel normalises the groups of channels of every image, channels last.
func groupRowsKernel(p *Prep, groups int) (Kernel, bool) {
	s := p.In[0].Shape
	if !allFloat32(p.In...) || p.In[0].Elems() == 0 {
		return Kernel{}, false
	}
	P, C := s[1:len(s)-1].Elems(), s[len(s)-1]
	v := &kernel.BatchNorm{P: P, C: C, Groups: groups, Epsilon: p.Node.Float("epsilon", 1e-5)}
	return Kernel{Scratch: 4 * (2*C + v.ScratchElems()), Run: func(in, out []*tensor.Tensor, scratch []byte) {
		all := floatsIn(scratch)
		v.Scale, v.Bias, v.Mean, v.Inv = in[1].Float32s(), in[2].Float32s(), all[:C], all[C:2*C]
		for n := 0; n < s[0]; n++ {
			v.X, v.Y = in[0].Float32s()[n*P*C:(n+1)*P*C], out[0].Float32s()[n*P*C:(n+1)*P*C]
			v.Forward(all[2*C:])
		}
	}}, true
}

// groupNormKernel normalises rows of [N, groups]: a row is the channels of a group, O elements each.
func groupNormKernel(p *Prep, groups int, perGroup bool) (Kernel, bool) {
	s := p.In[0].Shape
	if !allFloat32(p.In...) || p.In[0].Elems() == 0 {
		return Kernel{}, false
	}
	C, O, eps := s[1], s[2:].Elems(), float64(p.Node.Float("epsilon", 1e-5))
	size := C / groups * O
	return Kernel{Over: 1, Run: rowKernel(s[0]*groups, size, func(in, out []*tensor.Tensor, lo, hi int) {
		scale, bias := in[1].Float32s(), in[2].Float32s()
		for r := lo; r < hi; r++ {
			x, y := in[0].Float32s()[r*size:(r+1)*size], out[0].Float32s()[r*size:(r+1)*size]
			mean := kernel.Sum(x) / float32(size)
			inv := float32(1 / math.Sqrt(float64(kernel.Squares(x, mean))/float64(size)+eps))
			for c := 0; c < C/groups; c++ {
				k := r%groups*(C/groups) + c
				if perGroup {
					k = r % groups
				}
				kernel.Affine(y[c*O:(c+1)*O], x[c*O:(c+1)*O], mean, inv*scale[k], bias[k])
			}
		}
	})}, true
}

// globalKernel folds rows of one channel each.
func globalKernel(p *Prep, fold func(x []float32) float32) (Kernel, bool) {
	size := p.In[0].Shape[2:].Elems()
	if p.In[0].DType != tensor.Float32 || size == 0 {
		return Kernel{}, false
	}
	return Kernel{Run: rowKernel(p.Out[0].Elems(), size, func(in, out []*tensor.Tensor, lo, hi int) {
		x, y := in[0].Float32s(), out[0].Float32s()
		for r := lo; r < hi; r++ {
			y[r] = fold(x[r*size : (r+1)*size])
		}
	})}, true
}
