package op

import (
	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// Axes: M rows of A (all axes before the last), K the summed axis, N outputs.

// MatMulNBits(A, B, scales, zero_points, g_idx, bias) of com.microsoft is A times the transpose of weights of 2, 4 or
// 8 bits: W[n,k] = (q[n,k] - zero[n,k/block_size]) * scale[n,k/block_size]. B is uint8 [N, blocks, block_size*bits/8] with
// the lowest bits first. Zero points are packed like B [N, ceil(blocks*bits/8)], or of A's type [N, blocks]; without
// them they are the middle of the range. With accuracy_level 4 the kernel may quantize A to int8 block by block.
var opMatMulNBits = Op{
	Domain: "com.microsoft", Name: "MatMulNBits", Since: 1, MinIn: 3, MaxIn: 6, MinOut: 1, MaxOut: 1,
	Attrs: "K N bits block_size accuracy_level weight_prepacked",
	Infer: nbitsInfer,
	Ref: func(c *Call) error {
		f := nbitsForm(c.Node)
		w := f.weights(c.In[1], c.In[2], c.in(3))
		as, bs, M, K, N := matmulViews(c.In[0].Shape, tensor.Shape{f.n, f.k}, false, true)
		y := matmul(floats(c.In[0]), w, as, bs, M, K, N, 1)
		if t := c.in(5); t != nil {
			for i := range y {
				y[i] += t.Float(i % N)
			}
		}
		setFloats(c.Out[0], y)
		return nil
	},
	Grad:    nbitsGrad,
	Prepare: nbitsKernel,
	Flops:   matmulFlops(lastAxis),
}

// nbits are the sizes of a MatMulNBits.
type nbits struct{ k, n, bits, block, blocks int }

func nbitsForm(n *graph.Node) nbits {
	f := nbits{k: int(n.Int("K", 0)), n: int(n.Int("N", 0)), bits: int(n.Int("bits", 4)), block: int(n.Int("block_size", 0))}
	if f.block > 0 {
		f.blocks = (f.k + f.block - 1) / f.block
	}
	return f
}

// valid checks the attributes.
func (f nbits) valid() bool {
	const most = 1 << 31
	return f.k > 0 && f.n > 0 && f.k < most && f.n < most && (f.bits == 2 || f.bits == 4 || f.bits == 8) && f.block >= 16 && f.block < most && f.block&(f.block-1) == 0
}

func nbitsInfer(c *InferCall) error {
	f := nbitsForm(c.Node)
	if !f.valid() {
		return c.unsupported("K %d, N %d, bits %d, block_size %d", f.k, f.n, f.bits, f.block)
	}
	if c.Node.Int("weight_prepacked", 0) != 0 || c.in(4) != nil {
		return c.unsupported("weight_prepacked and g_idx are not supported")
	}
	if err := firstErr(c.wantFloat(0), c.wantType(1, tensor.Uint8), c.sameType(0, 2), c.sameType(0, 5)); err != nil {
		return err
	}
	if z := c.in(3); z != nil && z.DType != tensor.Uint8 && z.DType != c.In[0].DType {
		return c.Errorf("the zero points are %s", z.DType)
	}
	zeros := f.n * f.blocks
	if z := c.in(3); z != nil && z.DType == tensor.Uint8 {
		zeros = f.n * ((f.blocks*f.bits + 7) / 8)
	}
	for i, want := range map[int]int{1: f.n * f.blocks * f.block * f.bits / 8, 2: f.n * f.blocks, 3: zeros, 5: f.n} {
		v := c.in(i)
		if v == nil || v.Shape == nil {
			continue
		}
		if s, ok := v.Static(); ok && s.Elems() != want {
			return c.unsupported("input %d is %v, want %d elements", i, v.Shape, want)
		}
	}
	s := c.In[0].Shape
	if s != nil {
		if len(s) == 0 || s[len(s)-1].Known() && s[len(s)-1].Size != f.k {
			return c.Errorf("A is %v, K is %d", s, f.k)
		}
		s = append(append([]graph.Dim{}, s[:len(s)-1]...), graph.D(f.n))
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

// unpacked are values of a few bits each, the lowest first, in rows of whole bytes.
func unpacked(b []byte, rows, perRow, bits int) []uint8 {
	out, size := make([]uint8, rows*perRow), (perRow*bits+7)/8
	for r := range rows {
		for i := range perRow {
			out[r*perRow+i] = b[r*size+i*bits/8] >> (i * bits % 8) & byte(1<<bits-1)
		}
	}
	return out
}

// weights returns W [N, K].
func (f nbits) weights(b, scale, zero *tensor.Tensor) []float64 {
	q, s := unpacked(b.Data, f.n, f.blocks*f.block, f.bits), floats(scale)
	z := make([]float64, f.n*f.blocks)
	switch {
	case zero == nil:
		for i := range z {
			z[i] = float64(int(1) << (f.bits - 1))
		}
	case zero.DType == tensor.Uint8:
		for i, v := range unpacked(zero.Data, f.n, f.blocks, f.bits) {
			z[i] = float64(v)
		}
	default:
		z = floats(zero)
	}
	w := make([]float64, f.n*f.k)
	for n := range f.n {
		for k := range f.k {
			at := n*f.blocks + k/f.block
			w[n*f.k+k] = (float64(q[n*f.blocks*f.block+k]) - z[at]) * s[at]
		}
	}
	return w
}

// nbitsGrad multiplies by the weights as floats: they are constants, and what is trained lies around them.
func nbitsGrad(c *GradCall) []*graph.Value {
	d := make([]*graph.Value, len(c.In))
	if c.Need[0] {
		var konst [4]*tensor.Tensor
		for i := 1; i < len(konst) && i < len(c.In); i++ {
			if c.In[i] != nil {
				if konst[i] = c.In[i].Const; konst[i] == nil {
					c.Fail("input %d is not constant", i)
					return d
				}
			}
		}
		f := nbitsForm(c.Node)
		w := tensor.New(c.In[0].DType, f.n, f.k)
		setFloats(w, f.weights(konst[1], konst[2], konst[3]))
		d[0] = c.B.Op("MatMul", c.DOut[0], c.B.Init("weights", w))
	}
	if len(c.In) > 5 && c.In[5] != nil && c.Need[5] {
		d[5] = c.sumTo(c.DOut[0], c.Out[0], c.In[5])
	}
	return d
}

// nbitsKernel is for float32 and constant weights. Two bits and zero points that are floats are unpacked to float32 once.
func nbitsKernel(p *Prep) (Kernel, bool) {
	f := nbitsForm(p.Node)
	a, b, scale, zero := p.In[0], p.In[1], p.In[2], p.in(3)
	if a.DType != tensor.Float32 || b.Data == nil || scale.Data == nil || zero != nil && zero.Data == nil {
		return Kernel{}, false
	}
	M := a.Elems() / f.k
	var g rowProduct
	switch fewBits := f.bits != 2 && f.block <= 256 && (zero == nil || zero.DType == tensor.Uint8); {
	case !fewBits:
		w := make([]float32, f.n*f.k)
		for i, v := range f.weights(b, scale, zero) {
			w[i] = float32(v)
		}
		g = &nbitsFloats{kernel.Gemm{M: M, N: f.n, K: f.k, LDA: f.k, LDC: f.n, Packed: kernel.PackB(w, f.k, true, f.n, f.k)}}
	default:
		var z []uint8
		if zero != nil {
			z = unpacked(zero.Data, f.n, f.blocks, f.bits)
		}
		packed := kernel.PackNB(b.Data, scale.Float32s(), z, f.n, f.k, f.bits, f.block)
		if p.Node.Int("accuracy_level", 0) >= 4 {
			g = &nbitsInts{kernel.NGemm{M: M, N: f.n, K: f.k, LDA: f.k, LDC: f.n, B: packed}}
		} else {
			g = &nbitsFloats{kernel.Gemm{M: M, N: f.n, K: f.k, LDA: f.k, LDC: f.n, NBits: packed}}
		}
	}
	return Kernel{Scratch: g.ScratchBytes(), Run: func(in, out []*tensor.Tensor, scratch []byte) {
		var bias []float32
		if t := optional(in, 5); t != nil {
			bias = t.Float32s()
		}
		g.set(in[0].Float32s(), out[0].Float32s(), bias)
		g.Run(scratch)
	}}, true
}

// rowProduct is a prepared product of rows.
type rowProduct interface {
	set(a, c, bias []float32)
	ScratchBytes() int
	Run(scratch []byte)
}

type nbitsFloats struct{ kernel.Gemm }

func (r *nbitsFloats) set(a, c, bias []float32) { r.A, r.C, r.Bias = a, c, bias }

type nbitsInts struct{ kernel.NGemm }

func (r *nbitsInts) set(a, c, bias []float32) { r.A, r.C, r.Bias = a, c, bias }
