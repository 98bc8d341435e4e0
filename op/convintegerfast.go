package op

import (
	"unsafe"

	"muster/internal/kernel"
	"muster/internal/team"
	"muster/tensor"
)

// Axes: N images, G groups, P output positions, K channels of a group times taps, M output channels of a group.

// intConv is an integer convolution as an exact product of gathered rows of bytes, one image and group at a time.
type intConv struct {
	win      window
	N, C, G  int
	P, K, M  int
	signed   bool // X is int8
	products []*kernel.QGemm
	gemmSize int // scratch of a product

	x    []byte // of the group under way
	rows []byte
	zero byte
	tile func(int)
}

// maxIntTaps bounds the taps of a window, whose places are kept on the stack.
const maxIntTaps = 256

// byteRows is the output positions of one task.
const byteRows = 64

// newIntConv needs constant weights and zero points of weights.
func newIntConv(p *Prep, w, wz *tensor.Tensor, x *tensor.Tensor) (*intConv, bool) {
	if w.Data == nil || wz != nil && wz.Data == nil || p.Out[0].Elems() == 0 || x.Elems() == 0 || w.Elems() == 0 {
		return nil, false
	}
	win, groups, err := convWindow(p.Node, x.Shape, w.Shape)
	if err != nil {
		return nil, false
	}
	v := &intConv{win: win, N: x.Shape[0], C: x.Shape[1], G: groups, signed: x.DType == tensor.Int8}
	_, v.P, _ = win.volumes()
	v.K, v.M = w.Elems()/w.Shape[0], w.Shape[0]/groups
	if _, _, taps := win.volumes(); v.K >= 1<<16 || taps > maxIntTaps {
		return nil, false
	}
	shift := int64(0)
	if w.DType == tensor.Uint8 {
		shift = 128 // to int8, weights and zero points alike
	}
	weights, zeros := make([]int8, w.Elems()), make([]int32, w.Shape[0])
	for i, q := range ints(w) {
		weights[i] = int8(q - shift)
	}
	for i := range zeros {
		z := intsOr(wz)
		zeros[i] = int32(z[min(i, len(z)-1)] - shift)
		if wz == nil {
			zeros[i] = int32(-shift)
		}
	}
	for g := 0; g < groups; g++ {
		q := &kernel.QGemm{M: v.P, N: v.M, K: v.K, LDA: v.K, SignedA: v.signed,
			B: kernel.PackQB(weights[g*v.M*v.K:(g+1)*v.M*v.K], v.K, true, v.M, v.K), ZeroB: zeros[g*v.M : (g+1)*v.M]}
		v.gemmSize = max(v.gemmSize, q.ScratchBytes())
		v.products = append(v.products, q)
	}
	v.tile = v.gather
	return v, true
}

// rowBytes is the scratch for gathered rows.
func (v *intConv) rowBytes() int { return (v.P*v.K + 127) &^ 63 }

// gather copies what a block of outputs reads; padding is the zero point of X.
func (v *intConv) gather(task int) {
	in, _, taps := v.win.volumes()
	var buf [maxIntTaps]int
	at := buf[:taps]
	for p := task * byteRows; p < min(v.P, (task+1)*byteRows); p++ {
		v.win.read(p, at)
		row := v.rows[p*v.K:][:v.K]
		for c := 0; c < v.K/taps; c++ {
			plane, dst := v.x[c*in:][:in], row[c*taps:][:taps]
			for k, i := range at {
				if i >= 0 {
					dst[k] = plane[i]
				} else {
					dst[k] = v.zero
				}
			}
		}
	}
}

// each runs f for every image and group with its product ready.
func (v *intConv) each(x []byte, zero byte, scratch []byte, f func(n, g int, q *kernel.QGemm)) {
	in, _, _ := v.win.volumes()
	v.rows, v.zero = scratch[:v.P*v.K], zero
	for n := 0; n < v.N; n++ {
		for g, q := range v.products {
			v.x = x[(n*v.C+g*v.C/v.G)*in:]
			team.Run((v.P+byteRows-1)/byteRows, v.tile)
			q.A, q.ZeroA = v.rows, zero
			f(n, g, q)
		}
	}
}

// byteOr is the first byte of an optional input, or 0.
func byteOr(in []*tensor.Tensor, i int) byte {
	if i < len(in) && in[i] != nil {
		return in[i].Data[0]
	}
	return 0
}

// turned writes [P, M] results to [M, P].
func turned[T int32 | uint8](dst, src []T, P, M int) {
	for p := 0; p < P; p++ {
		for m, s := range src[p*M : (p+1)*M] {
			dst[m*P+p] = s
		}
	}
}

func convIntegerKernel(p *Prep) (Kernel, bool) {
	v, ok := newIntConv(p, p.In[1], p.in(3), p.In[0])
	if !ok {
		return Kernel{}, false
	}
	sums := (4*v.P*v.M + 63) &^ 63
	var out *tensor.Tensor
	var s []int32
	var rest []byte
	finish := func(n, g int, q *kernel.QGemm) {
		q.C, q.LDC = s, v.M
		q.Run(rest)
		turned(out.Int32s()[(n*v.G+g)*v.M*v.P:], s, v.P, v.M)
	}
	return Kernel{Integer: true, Scratch: sums + v.rowBytes() + v.gemmSize, Run: func(in, o []*tensor.Tensor, scratch []byte) {
		out, s, rest = o[0], int32sIn(scratch)[:v.P*v.M], scratch[sums+v.rowBytes():]
		v.each(in[0].Data, byteOr(in, 2), scratch[sums:], finish)
	}}, true
}

func qlinearConvKernel(p *Prep) (Kernel, bool) {
	v, ok := newIntConv(p, p.In[3], p.In[5], p.In[0])
	for _, i := range []int{1, 4, 6, 7} {
		ok = ok && p.In[i].Data != nil
	}
	if b := p.in(8); !ok || b != nil && b.Data == nil {
		return Kernel{}, false
	}
	bias := intsOr(p.in(8))
	for g, q := range v.products {
		q.Scale, q.Bias = make([]float32, v.M), make([]float32, v.M)
		for i := range q.Scale {
			m := g*v.M + i
			q.Scale[i] = requantScale(p.In[1].Float(0), p.In[4].Float(min(m, p.In[4].Elems()-1)), p.In[6].Float(0))
			q.Bias[i] = float32(float64(bias[min(m, len(bias)-1)]) * float64(q.Scale[i]))
		}
		q.ScaleQ, q.SignedQ, q.ZeroQ, q.LDQ = 1, p.Out[0].DType == tensor.Int8, p.In[7].Data[0], v.M
	}
	size := (v.P*v.M + 127) &^ 63
	var out *tensor.Tensor
	var y, rest []byte
	finish := func(n, g int, q *kernel.QGemm) {
		q.Q = y
		q.Run(rest)
		turned(out.Data[(n*v.G+g)*v.M*v.P:], y, v.P, v.M)
	}
	return Kernel{Integer: true, Scratch: size + v.rowBytes() + v.gemmSize, Run: func(in, o []*tensor.Tensor, scratch []byte) {
		out, y, rest = o[0], scratch[:v.P*v.M], scratch[size+v.rowBytes():]
		v.each(in[0].Data, byteOr(in, 2), scratch[size:], finish)
	}}, true
}

// int32sIn views scratch as int32.
func int32sIn(scratch []byte) []int32 {
	return unsafe.Slice((*int32)(unsafe.Pointer(&scratch[0])), len(scratch)/4)
}
