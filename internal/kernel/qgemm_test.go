package kernel

import (
	"math/rand"
	"testing"

	"muster/internal/cpu"
	"muster/internal/team"
)

func TestQGemmIsExact(t *testing.T) {
	r := rand.New(rand.NewSource(3))
	cases := 150
	if testing.Short() {
		cases = 40
	}
	for i := 0; i < cases; i++ {
		m, n, k := r.Intn(40), r.Intn(70), r.Intn(70)
		if i%30 == 0 {
			m, n, k = 300, 96, 256
		}
		trans, lda, ldc := r.Intn(2) == 0, k+r.Intn(3), n+r.Intn(3)
		a, b := make([]uint8, m*lda+8), make([]int8, n*k)
		for j := range a {
			a[j] = uint8(r.Intn(256))
		}
		for j := range b {
			b[j] = int8(r.Intn(256) - 128)
		}
		if i%7 == 0 { // the values that saturate 16 bits in VPMADDUBSW
			for j := range a {
				a[j] = 255
			}
			for j := range b {
				b[j] = -128
			}
		}
		ldb := n
		if trans {
			ldb = k
		}
		zero := uint8(r.Intn(256))
		want := make([]int32, m*ldc+4)
		for x := range want {
			want[x] = int32(x)
		}
		got0 := append([]int32{}, want...)
		for y := 0; y < m; y++ {
			for x := 0; x < n; x++ {
				s := int32(0)
				for z := 0; z < k; z++ {
					w := b[min(z*n+x, len(b)-1)]
					if trans {
						w = b[x*k+z]
					}
					s += (int32(a[y*lda+z]) - int32(zero)) * int32(w)
				}
				want[y*ldc+x] = s
			}
		}
		packed := PackQB(b, ldb, trans, n, k)
		for _, tier := range tiers() {
			for _, threads := range []int{1, 2, 3} {
				restore, undo := cpu.Force(tier), team.Resize(threads)
				g := QGemm{M: m, N: n, K: k, A: a, LDA: lda, ZeroA: zero, B: packed, C: append([]int32{}, got0...), LDC: ldc}
				g.Run(make([]byte, g.ScratchBytes()))
				for x := range want {
					if g.C[x] != want[x] {
						t.Fatalf("case %d %s %d threads: %dx%dx%d trans %v: element %d is %d, want %d", i, tier, threads, m, n, k, trans, x, g.C[x], want[x])
					}
				}
				restore()
				undo()
			}
		}
	}
}
