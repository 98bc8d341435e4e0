package kernel

import (
	"math"

	"muster/internal/cpu"
)

// Products of values that are rounded to bfloat16 (Gemm.Half). Their products are exact in float32 and their sums
// are the chain of Gemm, so every tier gives the same bits, up to one thing: where the processor multiplies bfloat16
// itself, subnormal numbers count as 0.

// halves says how the active tier does it.
type halves uint8

const (
	whole    halves = iota // float32
	rounded                // copies of A and B are rounded, and float32 kernels run
	bfloat16               // copies hold pairs of bfloat16 in the elements of float32
)

// halves returns the form of this call.
func (g *Gemm) halves(tier cpu.Tier) halves {
	switch {
	case !g.Half:
		return whole
	case tier == cpu.AVX512 && cpu.HasBF16():
		return bfloat16
	}
	return rounded
}

// bf16 rounds to bfloat16, ties to even, and returns its bits. A NaN stays one.
func bf16(x float32) uint32 {
	b := math.Float32bits(x)
	if x != x {
		return b>>16 | 0x40
	}
	return (b + 0x7fff + b>>16&1) >> 16
}

// RoundBF16 rounds every element of x to bfloat16.
func RoundBF16(x []float32) {
	for i, v := range x {
		x[i] = math.Float32frombits(bf16(v) << 16)
	}
}

// NarrowBF16 writes the bits of x rounded to bfloat16.
func NarrowBF16(dst []uint16, x []float32) {
	for i, v := range x {
		dst[i] = uint16(bf16(v))
	}
}

// pair is two elements that follow each other in k.
func pair(first, second float32) float32 {
	return math.Float32frombits(bf16(first)<<16 | bf16(second))
}

// pairRow writes a row of n elements as pairs; a last one is paired with 0.
func pairRow(dst, src []float32) {
	n := len(src) &^ 15
	if n > 0 {
		halfRow(n/16, dst, src)
	}
	for k := n; k < len(src); k += 2 {
		second := float32(0)
		if k+1 < len(src) {
			second = src[k+1]
		}
		dst[k/2] = pair(src[k], second)
	}
}

// pairRows joins rows 2i and 2i+1 of src [k, w], w <= 32, to rows of 32 pairs in dst, ldd apart; columns from w on become 0.
func pairRows(dst []float32, ldd int, src []float32, lds, k, w int) {
	if k/2 > 0 {
		halfPairs(k/2, dst, ldd, src, lds, w)
	}
	if k%2 == 1 {
		row := dst[k/2*ldd:][:panel]
		for c := range row {
			row[c] = 0
			if c < w {
				row[c] = pair(src[(k-1)*lds+c], 0)
			}
		}
	}
}

// pairPart is packPart for pairs: dst [kc][32] for the pairs from k0 on, of which K has an odd last one.
func pairPart(tier cpu.Tier, dst, b []float32, ldb int, trans bool, n, k, j, k0, kc int) {
	j0 := j * panel
	w, first := min(panel, n-j0), 2*k0
	count := min(2*kc, k-first)
	if !trans {
		pairRows(dst, panel, b[first*ldb+j0:], ldb, count, w)
		return
	}
	s := slices.get()
	defer slices.put(s)
	rows := s.aligned()
	for c := range w {
		pairRow(rows[c*kc:(c+1)*kc], b[(j0+c)*ldb+first:][:count])
	}
	transpose(tier, dst, panel, rows, kc, w, kc)
	for i := 0; i < kc && w < panel; i++ {
		clear(dst[i*panel+w : (i+1)*panel])
	}
}

// pairA copies rows i0 to i0+n of op(A) as pairs to dst.
func (r *run) pairA(dst []float32, item, i0, n int) {
	if !r.TransA {
		for i := range n {
			at := item*r.StrideA + (i0+i)*r.LDA
			pairRow(dst[i*r.kp:(i+1)*r.kp], r.A[at:at+r.K])
		}
		return
	}
	s := slices.get()
	defer slices.put(s)
	cols := s.aligned()
	const most = 2 * kBlock // k that are transposed at once
	for c := 0; c < n; c += panel {
		w := min(panel, n-c)
		for k := 0; k < r.K; k += most {
			count := min(most, r.K-k)
			pairRows(cols, panel, r.A[item*r.StrideA+k*r.LDA+i0+c:], r.LDA, count, w)
			transpose(r.tier, dst[c*r.kp+k/2:], r.kp, cols, panel, (count+1)/2, w)
		}
	}
}
