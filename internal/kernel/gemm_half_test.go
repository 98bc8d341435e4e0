package kernel

import (
	"math"
	"math/rand"
	"testing"

	"muster/internal/cpu"
	"muster/internal/team"
)

func TestRoundBF16(t *testing.T) {
	for _, c := range [][2]uint32{{0x3f800000, 0x3f800000}, {0x3f808000, 0x3f800000}, {0x3f818000, 0x3f820000}, {0x3f808001, 0x3f810000},
		{0x7f7fffff, 0x7f800000}, {0x7f800000, 0x7f800000}, {0xff800001, 0xffc00000}, {0x00000001, 0}, {0x80008001, 0x80010000}} {
		if got := bf16(math.Float32frombits(c[0])) << 16; got != c[1] {
			t.Errorf("%08x becomes %08x, want %08x", c[0], got, c[1])
		}
	}
}

// TestHalf checks products of bfloat16 on every tier against the chain over rounded copies: the same bits.
func TestHalf(t *testing.T) {
	r := rand.New(rand.NewSource(17))
	cases := 120
	if testing.Short() {
		cases = 30
	}
	for i := range cases {
		m, n, k, batch := r.Intn(68), r.Intn(68), r.Intn(68), r.Intn(4)
		switch i % 30 {
		case 0:
			m, n, k, batch = 200, 130, 701, 1
		case 1:
			m, n, k, batch = 40, 70, 1100, 1
		case 2, 12, 22:
			m, n, k, batch = 90, 33, 41, 3
		}
		g := gemmCase(r, m, n, k, batch)
		for j := range g.A { // cancellation shows the order of sums
			if r.Intn(4) == 0 {
				g.A[j] *= float32(math.Ldexp(1, r.Intn(60)-30))
			}
		}
		if i%7 == 3 && len(g.A) > 0 {
			g.A[r.Intn(len(g.A))] = []float32{float32(math.NaN()), float32(math.Inf(-1)), math.Float32frombits(0x7f800001)}[r.Intn(3)]
		}
		h := g
		h.A, h.B = append([]float32{}, g.A...), append([]float32{}, g.B...)
		RoundBF16(h.A)
		RoundBF16(h.B)
		want, start := plain(h), g.C
		g.Half = true
		for _, tier := range tiers() {
			for _, threads := range []int{1, 3} {
				restore, undo := cpu.Force(tier), team.Resize(threads)
				g.C = append([]float32{}, start...)
				g.Run(make([]byte, g.ScratchBytes()))
				if at := same(g.C, want); at >= 0 {
					t.Fatalf("case %d, %s, %d threads: %dx%dx%d batch %d transA %v transB %v: element %d is %x, want %x", i, tier, threads,
						m, n, k, batch, g.TransA, g.TransB, at, g.C[at], want[at])
				}
				restore()
				undo()
			}
		}
	}
}
