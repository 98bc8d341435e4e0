package kernel

import (
	"math"
	"unsafe"

	"muster/internal/cpu"
	"muster/internal/team"
)

// PackedNB is a matrix op(B) [K, N] of 4 or 8 bit weights in blocks of k that have a scale and a zero point
// each: op(B)[k,n] = (q[k,n] - zero) * scale. It lies in panels of 16 columns, each in steps of 64 bytes: dword c
// of a step holds column c, with the low nibbles of its bytes k to k+3 and the high ones k+4 to k+7, or
// with four bytes k to k+3.
type PackedNB struct {
	n, k, bits, block int
	blocks            int       // of k
	data              []uint8   // [panel][blocks*block*bits/32][16][4]
	scale             []float32 // [panel][blocks][16]
	zero              []uint8   // [panel][blocks][16]
}

const nPanel = 16

// PackNB packs B as com.microsoft.MatMulNBits has it: bytes [N, blocks, block*bits/8] with the lowest bits first,
// scale [N, blocks], and zero points [N, blocks], one a byte (nil: the middle of the range). block is a
// multiple of 16 and at most 256.
func PackNB(b []uint8, scale []float32, zero []uint8, n, k, bits, block int) *PackedNB {
	p := &PackedNB{n: n, k: k, bits: bits, block: block, blocks: ceilDiv(k, block)}
	np := ceilDiv(n, nPanel)
	p.data = make([]uint8, np*p.panelBytes()+64)
	p.scale, p.zero = make([]float32, np*p.blocks*nPanel), make([]uint8, np*p.blocks*nPanel+16)
	team.Run(np, func(j int) {
		for c := range min(nPanel, n-j*nPanel) {
			p.packColumn(j, c, b[(j*nPanel+c)*p.blocks*block*bits/8:])
			for i := range p.blocks {
				from, to := (j*nPanel+c)*p.blocks+i, (j*p.blocks+i)*nPanel+c
				p.scale[to], p.zero[to] = scale[from], 1<<(bits-1)
				if zero != nil {
					p.zero[to] = zero[from]
				}
			}
		}
	})
	return p
}

// panelBytes is the size of one panel.
func (p *PackedNB) panelBytes() int { return p.blocks * p.block * nPanel * p.bits / 8 }

// packColumn packs column c of panel j. Weights behind K are kept as they are: they meet zeros of A.
func (p *PackedNB) packColumn(j, c int, src []uint8) {
	dst := p.data[j*p.panelBytes()+4*c:]
	size := p.blocks * p.block * p.bits / 8
	for i := 0; i < size; i += 4 {
		s, d := src[i:i+4], dst[i*nPanel:i*nPanel+4]
		if p.bits == 8 {
			copy(d, s)
			continue
		}
		for e := range 4 { // weights e and e+4 of eight
			low, high := s[e/2]>>(e%2*4)&15, s[2+e/2]>>(e%2*4)&15
			d[e] = low | high<<4
		}
	}
}

// weight is q - zero and its scale at (k, n).
func (p *PackedNB) weight(k, n int) (q int32, scale float32) {
	j, c, i := n/nPanel, n%nPanel, k/p.block
	at := (j*p.blocks+i)*nPanel + c
	step := p.data[j*p.panelBytes():]
	var v uint8
	if p.bits == 4 {
		v = step[k/8*64+4*c+k%4] >> (k % 8 / 4 * 4) & 15
	} else {
		v = step[k/4*64+4*c+k%4]
	}
	return int32(v) - int32(p.zero[at]), p.scale[at]
}

// slicePanel writes rows k0 to k0+kc of 32 columns as float32 to dst [kc][32], for Gemm; k0 is a multiple of 8.
// It may write up to seven rows more.
func (p *PackedNB) slicePanel(tier cpu.Tier, dst []float32, j, k0, kc int) {
	for h := range 2 {
		n := j*panel + h*nPanel
		if n >= p.n {
			for k := range kc {
				clear(dst[k*panel+nPanel : k*panel+panel])
			}
			return
		}
		for k := k0; k < k0+kc; {
			count := min(k0+kc, (k/p.block+1)*p.block) - k
			d := dst[(k-k0)*panel+h*nPanel:]
			if tier == cpu.Ref {
				p.sliceRef(d, k, count, n)
			} else {
				p.slice(tier, d, k, count, n/nPanel)
			}
			k += count
		}
	}
}

// sliceRef is the meaning of slice; columns behind N become 0.
func (p *PackedNB) sliceRef(dst []float32, k, count, n int) {
	for i := range count {
		for c := range nPanel {
			q, s := p.weight(k+i, n+c)
			dst[i*panel+c] = float32(q) * s
		}
	}
}

// NGemm is C = A x op(B) + Bias with A float32 [M, K], which is quantized to int8 block by block of k: a row's
// block is a[k] = qa[k] * sa, sa = max|a| / 127. The product of a block is an exact integer, and
//
//	C[i,n] = Bias[n] + sum over blocks of float32(sum of qa * (q - zero)) * (sa * scale)
//
// is one chain of fused multiply-adds over the blocks.
type NGemm struct {
	M, N, K int
	A       []float32
	LDA     int
	B       *PackedNB
	C       []float32
	LDC     int
	Bias    []float32 // [N] or nil
}

// ScratchBytes returns the scratch that Run needs.
func (g *NGemm) ScratchBytes() int {
	kp := g.B.blocks * g.B.block
	return g.M*(2*kp+8*g.B.blocks) + 128 + 4*panels(g.N)*panel
}

// Run computes the product. It splits over the team by shape only and allocates nothing.
func (g *NGemm) Run(scratch []byte) {
	if g.M == 0 || g.N == 0 {
		return
	}
	r := nrun{NGemm: g, tier: cpu.Active(), kp: g.B.blocks * g.B.block, np: ceilDiv(g.N, nPanel)}
	off := int(-uintptr(unsafe.Pointer(&scratch[0])) & 63)
	r.aux = unsafe.Slice((*float32)(unsafe.Pointer(&scratch[off])), 2*g.M*g.B.blocks)
	off += 8 * g.M * g.B.blocks
	r.start = unsafe.Slice((*float32)(unsafe.Pointer(&scratch[off])), r.np*nPanel)
	clear(r.start[copy(r.start, g.Bias):])
	off += 4 * r.np * nPanel
	all := unsafe.Slice((*int8)(unsafe.Pointer(&scratch[off])), 2*g.M*r.kp)
	r.qa, r.rowsQ = all[:g.M*r.kp], all[g.M*r.kp:]
	r.high = nTileRows(r.tier)
	r.high = ceilDiv(g.M, ceilDiv(g.M, r.high))
	r.tiles = ceilDiv(g.M, r.high)
	r.step = min(max(1, minTask/max(1, g.M*g.K*nPanel)), r.np)
	p := nruns.get()
	p.r = r
	tasks := ceilDiv(r.np, r.step)
	if 2*g.M*g.N*g.K < serialFlops {
		for t := range r.tiles {
			p.quantize(t)
		}
		for t := range tasks {
			p.task(t)
		}
	} else {
		team.Run(r.tiles, p.quantize)
		team.Run(tasks, p.task)
	}
	p.r = nrun{}
	nruns.put(p)
}

// nrun is one call under way.
type nrun struct {
	*NGemm
	tier        cpu.Tier
	kp, np      int
	high, tiles int       // rows of a tile
	step        int       // panels of a task
	start       []float32 // of the sums
	aux         []float32 // [tile][block][row][2]: scale of A, and the negative sum as an integer
	rowsQ, qa   []int8    // row by row, and [tile][kp/4][row][4]
}

// height is the number of rows of tile t.
func (r *nrun) height(t int) int { return min(r.high, r.M-t*r.high) }

// quantize prepares the rows of tile t.
func (r *nrun) quantize(t int) {
	h, blocks := r.height(t), r.B.blocks
	qa, aux := r.qa[t*r.high*r.kp:], r.aux[2*t*r.high*blocks:]
	var own [2 * 64]float32
	for i := range h {
		row := t*r.high + i
		x, q := r.A[row*r.LDA:row*r.LDA+r.K], r.rowsQ[row*r.kp:(row+1)*r.kp]
		for b := 0; b < blocks; b += len(own) / 2 {
			n := min(len(own)/2, blocks-b)
			r.quantizeBlocks(n, q[b*r.B.block:], own[:2*n], x[b*r.B.block:])
			for k := range n {
				copy(aux[2*((b+k)*h+i):][:2], own[2*k:])
			}
		}
		from := unsafe.Slice((*uint32)(unsafe.Pointer(&q[0])), r.kp/4)
		to := unsafe.Slice((*uint32)(unsafe.Pointer(&qa[0])), r.kp/4*h)
		for k, v := range from {
			to[k*h+i] = v
		}
	}
}

// quantizeBlocks quantizes n blocks of x, which may end early; see quantBlocksRef.
func (r *nrun) quantizeBlocks(n int, q []int8, aux, x []float32) {
	block := r.B.block
	if r.tier == cpu.Ref {
		quantBlocksRef(n, block, q, aux, x)
		return
	}
	whole := min(n, len(x)/block)
	if whole > 0 {
		quantBlocks(r.tier, whole, block, q, aux, x)
	}
	if whole < n {
		var last [256]float32
		copy(last[:], x[whole*block:])
		quantBlocks(r.tier, 1, block, q[whole*block:], aux[2*whole:], last[:])
	}
}

// quantBlocksRef is q = round(x * (127 / top)) for every block, top its greatest magnitude, NaN passed over;
// aux gets top/127 and the bits of the negative sum of q. What is no number becomes -128. x may end within the last block.
func quantBlocksRef(n, block int, q []int8, aux, x []float32) {
	for b := range n {
		part := x[b*block : min((b+1)*block, len(x))]
		top := float32(0)
		for _, v := range part {
			if v = float32(math.Abs(float64(v))); v > top {
				top = v
			}
		}
		inv := float32(0)
		if top != 0 {
			inv = 127 / top
		}
		sum := int32(0)
		for i := range block {
			v := 0.0
			if i < len(part) {
				v = math.RoundToEven(float64(part[i] * inv))
			}
			if v != v || v > 127 || v < -128 {
				v = -128
			}
			q[b*block+i] = int8(v)
			sum -= int32(int8(v))
		}
		aux[2*b], aux[2*b+1] = top/127, math.Float32frombits(uint32(sum))
	}
}

// task computes some panels of all rows, tile by tile.
func (r *nrun) task(t int) {
	for j := t * r.step; j < min((t+1)*r.step, r.np); j++ {
		for i := range r.tiles {
			h := r.height(i)
			qa, aux := r.qa[i*r.high*r.kp:], r.aux[2*i*r.high*r.B.blocks:]
			w := min(nPanel, r.N-j*nPanel)
			ngemmRows(r.tier, h, r.B, j, qa, aux, r.C[i*r.high*r.LDC+j*nPanel:], r.LDC, w, r.start[j*nPanel:])
		}
	}
}

// ngemmRowsRef is the meaning of ngemmRows: a tile of h rows of panel j.
func ngemmRowsRef(h int, b *PackedNB, j int, qa []int8, aux, c []float32, ldc, w int, start []float32) {
	for i := range h {
		for n := range w {
			y := start[n]
			for k0 := 0; k0 < b.blocks; k0++ {
				sum, scale := int32(0), float32(0)
				for k := k0 * b.block; k < (k0+1)*b.block; k++ {
					q, s := b.weight(k, j*nPanel+n)
					sum += q * int32(qa[(k/4*h+i)*4+k%4])
					scale = s
				}
				y = FMA(float32(sum), float32(aux[2*(k0*h+i)]*scale), y)
			}
			c[i*ldc+n] = y
		}
	}
}

// npooled is an NGemm on the team.
type npooled struct {
	r              nrun
	quantize, task func(int)
}

var nruns = pool[npooled]{make: func() *npooled {
	x := &npooled{}
	x.quantize = func(t int) { x.r.quantize(t) }
	x.task = func(t int) { x.r.task(t) }
	return x
}}
