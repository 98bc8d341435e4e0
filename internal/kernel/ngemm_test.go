package kernel

import (
	"math"
	"math/rand"
	"testing"

	"muster/internal/cpu"
	"muster/internal/team"
)

// nWeights are random weights as MatMulNBits has them.
func nWeights(r *rand.Rand, n, k, bits, block int) (b []uint8, scale []float32, zero []uint8) {
	blocks := ceilDiv(k, block)
	b, scale = make([]uint8, n*blocks*block*bits/8), make([]float32, n*blocks)
	for i := range b {
		b[i] = uint8(r.Intn(256))
	}
	for i := range scale {
		scale[i] = float32(r.NormFloat64())
	}
	if r.Intn(2) == 0 {
		zero = make([]uint8, n*blocks)
		for i := range zero {
			zero[i] = uint8(r.Intn(1 << bits))
		}
	}
	return b, scale, zero
}

// TestPackNB checks the packed weights against the bits of their source.
func TestPackNB(t *testing.T) {
	r := rand.New(rand.NewSource(2))
	for _, bits := range []int{4, 8} {
		const n, k, block = 37, 50, 16
		b, scale, zero := nWeights(r, n, k, bits, block)
		p := PackNB(b, scale, zero, n, k, bits, block)
		for j := range n {
			for i := range k {
				at := j*ceilDiv(k, block)*block + i
				want := int32(b[at*bits/8])
				if bits == 4 {
					want = want >> (4 * (at % 2)) & 15
				}
				z := int32(1) << (bits - 1)
				if zero != nil {
					z = int32(zero[at/block])
				}
				if q, s := p.weight(i, j); q != want-z || s != scale[at/block] {
					t.Fatalf("%d bits: weight %d %d is %d * %g, want %d * %g", bits, i, j, q, s, want-z, scale[at/block])
				}
			}
		}
	}
}

func TestNBits(t *testing.T) {
	r := rand.New(rand.NewSource(11))
	cases := 60
	if testing.Short() {
		cases = 20
	}
	for i := range cases {
		m, n, k := 1+r.Intn(40), 1+r.Intn(70), 1+r.Intn(300)
		bits, block := 4+4*r.Intn(2), 16<<r.Intn(5)
		if i == 7 {
			m, n, k = 180, 40, 270
		}
		b, scale, zero := nWeights(r, n, k, bits, block)
		p := PackNB(b, scale, zero, n, k, bits, block)
		lda, ldc := k+r.Intn(3), n+r.Intn(3)
		a, c := randoms(r, m*lda), randoms(r, m*ldc+8)
		if i%5 == 0 {
			a[r.Intn(len(a))] = float32(math.NaN())
			a[r.Intn(len(a))] = float32(math.Inf(1))
			clear(a[:min(len(a), block)])
		}
		var bias []float32
		if r.Intn(2) == 0 {
			bias = randoms(r, n)
		}
		g := NGemm{M: m, N: n, K: k, A: a, LDA: lda, B: p, LDC: ldc, Bias: bias}
		f := Gemm{M: m, N: n, K: k, A: a, LDA: lda, NBits: p, LDC: ldc, Bias: bias}
		w := make([]float32, k*n)
		for x := range w {
			q, s := p.weight(x/n, x%n)
			w[x] = float32(q) * s
		}
		want := plain(Gemm{M: m, N: n, K: k, A: a, LDA: lda, B: w, LDB: n, LDC: ldc, C: c, Bias: bias})
		var first []float32
		for _, tier := range tiers() {
			for _, threads := range []int{1, 3} {
				restore, undo := cpu.Force(tier), team.Resize(threads)
				g.C, f.C = append([]float32{}, c...), append([]float32{}, c...)
				g.Run(make([]byte, g.ScratchBytes()))
				f.Run(make([]byte, f.ScratchBytes()))
				if first == nil {
					first = g.C
				}
				if at := same(f.C, want); at >= 0 {
					t.Fatalf("case %d %s: %dx%dx%d, %d bits in blocks of %d: element %d is %g, want %g", i, tier, m, n, k, bits, block, at, f.C[at], want[at])
				}
				if at := same(g.C, first); at >= 0 {
					t.Fatalf("case %d %s: int8, %dx%dx%d, %d bits in blocks of %d: element %d is %g, want %g", i, tier, m, n, k, bits, block, at, g.C[at], first[at])
				}
				restore()
				undo()
			}
		}
		if i%5 == 0 {
			continue
		}
		for y := range m { // int8 is near the product in float32
			for x := range n {
				norm := 0.0
				for z := range k {
					norm += math.Abs(float64(a[y*lda+z] * w[z*n+x]))
				}
				if d := math.Abs(float64(first[y*ldc+x] - want[y*ldc+x])); d > 0.01*norm+1e-4 {
					t.Fatalf("case %d: int8 gives %g, want %g (%g)", i, first[y*ldc+x], want[y*ldc+x], norm)
				}
			}
		}
	}
}
