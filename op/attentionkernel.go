package op

import (
	"muster/internal/kernel"
	"muster/tensor"
)

// fast is the call as the kernel takes it; the data comes with every run.
func (a *attend) fast() kernel.Attention {
	return kernel.Attention{Reach: a.Reach, B: a.B, H: a.H, KV: a.KV, T: a.T, D: a.D, Dv: a.Dv, AtQ: a.q, AtK: a.k, AtV: a.v, AtY: a.y,
		Scale: float32(a.scale), Softcap: float32(max(a.softcap, 0)), AtMask: a.maskAt}
}

// floatInputs reports whether these inputs, where they are there, are float32.
func floatInputs(in []*tensor.Tensor, at ...int) bool {
	for _, i := range at {
		if t := optional(in, i); t != nil && t.DType != tensor.Float32 {
			return false
		}
	}
	return true
}

// setMask gives the kernel the mask of this run, which is of floats or of bools.
func setMask(k *kernel.Attention, t *tensor.Tensor) {
	switch {
	case t == nil:
	case t.DType == tensor.Bool:
		k.Seen = t.Data
	default:
		k.Mask = t.Float32s()
	}
}

func fusedKernel(p *Prep) (Kernel, bool) {
	a := fusedForm(p.Node, p.In)
	if !floatInputs(p.In, 0, 1, 2, 3) {
		return Kernel{}, false
	}
	k := a.fast()
	return Kernel{Scratch: k.ScratchBytes(), Run: func(in, out []*tensor.Tensor, scratch []byte) {
		k.Q, k.K, k.V, k.Y, k.LSE = in[0].Float32s(), in[1].Float32s(), in[2].Float32s(), out[0].Float32s(), nil
		if len(out) > 1 && out[1] != nil {
			k.LSE = out[1].Float32s()
		}
		setMask(&k, optional(in, 3))
		k.Run(scratch)
	}}, true
}

func attentionGradKernel(p *Prep) (Kernel, bool) {
	a, dq, dk, dv := gradForm(p.Node, p.In)
	if !floatInputs(p.In, 0, 1, 2, 3, 4, 5, 6) {
		return Kernel{}, false
	}
	k := kernel.AttentionGrad{Attention: a.fast(), AtDQ: dq, AtDK: dk, AtDV: dv}
	whole := joint(p.Node)
	part := func(out []*tensor.Tensor, i int) []float32 {
		if whole {
			i = 0
		}
		if t := optional(out, i); t != nil {
			return t.Float32s()
		}
		return nil
	}
	return Kernel{Run: func(in, out []*tensor.Tensor, _ []byte) {
		k.DY, k.Q, k.K, k.V, k.Y, k.LSE = in[0].Float32s(), in[1].Float32s(), in[2].Float32s(), in[3].Float32s(), in[4].Float32s(), in[5].Float32s()
		k.DQ, k.DK, k.DV = part(out, 0), part(out, 1), part(out, 2)
		setMask(&k.Attention, optional(in, 6))
		k.Run()
	}}, true
}

// attentionKernel joins the past with the new keys and values first, in the outputs if they are wanted.
func attentionKernel(p *Prep) (Kernel, bool) {
	if !floatInputs(p.In, 0, 1, 2, 4, 5) || p.out(3) != nil {
		return Kernel{}, false
	}
	if m := p.in(3); m != nil && m.DType != tensor.Float32 && m.DType != tensor.Bool {
		return Kernel{}, false
	}
	a := attentionForm(p.Node, p.In)
	k := a.fast()
	if p.in(6) != nil {
		k.Lens, k.Offsets = make([]int, a.B), make([]int, a.B)
	}
	sizes, room := [2]int{a.KV * a.S * a.D, a.KV * a.S * a.Dv}, 64
	var at [2]int
	for i := range sizes {
		if p.in(4) != nil && p.out(1+i) == nil {
			at[i], room = room, room+4*a.B*sizes[i]
		}
	}
	own := k.ScratchBytes()
	join := cacheJoin(p, a)
	return Kernel{Scratch: room + own, Run: func(in, out []*tensor.Tensor, scratch []byte) {
		k.Q, k.Y = in[0].Float32s(), out[0].Float32s()
		k.K, k.V = in[1].Float32s(), in[2].Float32s()
		for i, to := range []*[]float32{&k.K, &k.V} {
			var dst []float32
			switch t := optional(out, 1+i); {
			case t != nil:
				dst = t.Float32s()
			case optional(in, 4) != nil:
				dst = floatsIn(scratch[at[i] : at[i]+4*a.B*sizes[i]])
			default:
				continue
			}
			join[i](in, dst)
			if optional(in, 4) != nil {
				*to = dst
			}
		}
		setMask(&k, optional(in, 3))
		if t := optional(in, 6); t != nil {
			k.SetLens(t.Int64s())
		}
		k.Run(scratch[room:])
	}}, true
}

// cacheJoin returns what writes the past and the new keys, and the same for values, as [B, KV, S, size].
func cacheJoin(p *Prep, a attend) (join [2]func(in []*tensor.Tensor, dst []float32)) {
	P := 0
	if t := p.in(4); t != nil {
		P = t.Shape[2]
	}
	for i, size := range []int{a.D, a.Dv} {
		three := len(p.In[1+i].Shape) == 3
		var to []float32
		run := split(a.B*a.KV, func(in, _ []*tensor.Tensor, _ []byte, task int) {
			var past []float32
			if t := optional(in, 4+i); t != nil {
				past = t.Float32s()
			}
			joined(to, past, in[1+i].Float32s(), &a, task, P, size, three)
		})
		join[i] = func(in []*tensor.Tensor, dst []float32) {
			to = dst
			run(in, nil, nil)
		}
	}
	return join
}
