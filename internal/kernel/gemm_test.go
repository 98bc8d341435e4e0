package kernel

import (
	"math"
	"math/rand"
	"testing"

	"muster/internal/cpu"
	"muster/internal/team"
)

// tiers are the tiers of this machine.
func tiers() []cpu.Tier {
	var ts []cpu.Tier
	for t := cpu.Ref; t <= cpu.Best(); t++ {
		ts = append(ts, t)
	}
	return ts
}

func randoms(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// same compares bits; any NaN equals any NaN.
func same(a, b []float32) int {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) && (a[i] == a[i] || b[i] == b[i]) {
			return i
		}
	}
	return -1
}

// gemmCase is a product with guard words around C.
func gemmCase(r *rand.Rand, m, n, k, batch int) Gemm {
	g := Gemm{M: m, N: n, K: k, Batch: batch, TransA: r.Intn(2) == 0, TransB: r.Intn(2) == 0, Accumulate: r.Intn(3) == 0}
	g.LDA, g.LDB, g.LDC = k+r.Intn(3), n+r.Intn(3), n+r.Intn(3)
	ar, br := m, k
	if g.TransA {
		g.LDA, ar = m+r.Intn(3), k
	}
	if g.TransB {
		g.LDB, br = k+r.Intn(3), n
	}
	g.StrideA, g.StrideB, g.StrideC = ar*g.LDA+r.Intn(2), br*g.LDB+r.Intn(2), m*g.LDC+r.Intn(2)
	if r.Intn(4) == 0 {
		g.StrideB = 0
	}
	nb := max(batch, 1)
	switch r.Intn(3) { // what follows the sums
	case 0:
		g.Post.Act, g.Post.Lo, g.Post.Hi = Act(r.Intn(int(ActLeakyRelu)+1)), -0.3, 0.8
	case 1:
		g.Post.LDR = n + r.Intn(3)
		g.Post.StrideR = m*g.Post.LDR + r.Intn(2)
		g.Post.Residual = randoms(r, nb*g.Post.StrideR)
	}
	g.A, g.B, g.C = randoms(r, nb*g.StrideA+ar*g.LDA), randoms(r, nb*g.StrideB+br*g.LDB), randoms(r, nb*g.StrideC+8)
	if !g.Accumulate && r.Intn(2) == 0 {
		g.Bias = randoms(r, n)
	}
	return g
}

// plain computes a product as its comment says.
func plain(g Gemm) []float32 {
	c := append([]float32{}, g.C...)
	for b := 0; b < max(g.Batch, 1); b++ {
		for i := 0; i < g.M; i++ {
			for n := 0; n < g.N; n++ {
				at := b*g.StrideC + i*g.LDC + n
				s := float32(0)
				if g.Accumulate {
					s = c[at]
				} else if g.Bias != nil {
					s = g.Bias[n]
				}
				for k := 0; k < g.K; k++ {
					ai, bi := i*g.LDA+k, k*g.LDB+n
					if g.TransA {
						ai = k*g.LDA + i
					}
					if g.TransB {
						bi = n*g.LDB + k
					}
					s = FMA(g.A[b*g.StrideA+ai], g.B[b*g.StrideB+bi], s)
				}
				if p := g.Post; p.Residual != nil {
					s += p.Residual[b*p.StrideR+i*p.LDR+n]
				}
				c[at] = s
			}
			if p := g.Post; p.Act != ActNone {
				row := c[b*g.StrideC+i*g.LDC:][:g.N]
				Activate(p.Act, row, row, p.Lo, p.Hi)
			}
		}
	}
	return c
}

func TestGemmBits(t *testing.T) {
	r := rand.New(rand.NewSource(7))
	cases := 120
	if testing.Short() {
		cases = 30
	}
	for i := 0; i < cases; i++ {
		m, n, k, batch := r.Intn(68), r.Intn(68), r.Intn(68), r.Intn(4)
		switch i % 20 {
		case 0:
			m, n, k, batch = 200, 130, 300, 1
		case 1:
			m, n, k, batch = 1, 256, 520, 1
		case 2:
			m, n, k, batch = 16, 16, 16, 40
		case 3:
			m, n, k, batch = 1+r.Intn(3), 300, 270+r.Intn(9), 1
		case 4:
			m, n, k, batch = 90, 33, 40, 3
		case 5, 6:
			m, n, k, batch = 33+r.Intn(5), 100, 45, 1
		}
		g := gemmCase(r, m, n, k, batch)
		if i%20 == 5 || i%20 == 6 { // rows whose places in the cache are the same
			g.LDA, g.LDB = 1024, 1024
			g.StrideA, g.StrideB = 1024*max(m, k), 1024*max(n, k)
			g.A, g.B = randoms(r, g.StrideA), randoms(r, g.StrideB)
		}
		want, start := plain(g), g.C
		for _, tier := range tiers() {
			for _, threads := range []int{1, 2, 3, 7} {
				if threads > 2 && i%5 != 0 {
					continue
				}
				restore, undo := cpu.Force(tier), team.Resize(threads)
				for _, pre := range []bool{false, true} {
					h := g
					if pre && g.StrideB != 0 && batch > 1 {
						continue
					}
					if pre {
						h.Packed = PackB(g.B, g.LDB, g.TransB, g.N, g.K)
					}
					h.C = append([]float32{}, start...)
					h.Run(make([]byte, h.ScratchBytes()))
					if at := same(h.C, want); at >= 0 {
						t.Fatalf("case %d, %s, %d threads, packed %v: %dx%dx%d batch %d transA %v transB %v acc %v bias %v: element %d is %x, want %x", i, tier, threads, pre,
							m, n, k, batch, g.TransA, g.TransB, g.Accumulate, g.Bias != nil, at, h.C[at], want[at])
					}
				}
				restore()
				undo()
			}
		}
	}
}

func TestGemmSpecialValues(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	g := Gemm{M: 3, N: 5, K: 4, LDA: 4, LDB: 5, LDC: 5}
	g.A = []float32{1, 2, 3, 4, inf, 1, 0, 1, nan, 0, 0, 0}
	g.B = make([]float32, 20)
	for i := range g.B {
		g.B[i] = float32(i%3) - 1
	}
	g.B[7] = 1e-42
	g.C = make([]float32, 15)
	want := plain(g)
	for _, tier := range tiers() {
		restore := cpu.Force(tier)
		g.C = make([]float32, 15)
		g.Run(make([]byte, g.ScratchBytes()))
		if at := same(g.C, want); at >= 0 {
			t.Errorf("%s: element %d is %g, want %g", tier, at, g.C[at], want[at])
		}
		restore()
	}
}

func TestGemmAllocatesNothing(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	g := Gemm{M: 256, N: 256, K: 64, LDA: 64, LDB: 256, LDC: 256, A: randoms(r, 256*64), B: randoms(r, 64*256), C: make([]float32, 256*256)}
	s := make([]byte, g.ScratchBytes())
	if n := testing.AllocsPerRun(10, func() { g.Run(s) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
