package kernel

import (
	"math"
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
		zero, signed := uint8(r.Intn(256)), r.Intn(3) == 0
		byteOf := func(v uint8) int32 {
			if signed {
				return int32(int8(v))
			}
			return int32(v)
		}
		var zeroB []int32
		if r.Intn(3) == 0 {
			for range n {
				zeroB = append(zeroB, int32(r.Intn(256)-128))
			}
		}
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
					wz := int32(w)
					if zeroB != nil {
						wz -= zeroB[x]
					}
					s += (byteOf(a[y*lda+z]) - byteOf(zero)) * wz
				}
				want[y*ldc+x] = s
			}
		}
		packed := PackQB(b, ldb, trans, n, k)
		for _, tier := range tiers() {
			for _, threads := range []int{1, 2, 3} {
				restore, undo := cpu.Force(tier), team.Resize(threads)
				g := QGemm{M: m, N: n, K: k, A: a, LDA: lda, ZeroA: zero, SignedA: signed, ZeroB: zeroB, B: packed, C: append([]int32{}, got0...), LDC: ldc}
				g.Run(make([]byte, g.ScratchBytes()))
				for x := range want {
					if g.C[x] != want[x] {
						t.Fatalf("case %d %s %d threads: %dx%dx%d trans %v: element %d is %d, want %d", i, tier, threads, m, n, k, trans, x, g.C[x], want[x])
					}
				}
				checkFinish(t, g, want, ldc)
				restore()
				undo()
			}
		}
	}
}

// checkFinish runs g again with results in float32, uint8 and int8, which must be what separate passes over the sums give.
func checkFinish(t *testing.T, g QGemm, sums []int32, ldc int) {
	t.Helper()
	scale, bias := make([]float32, g.N), make([]float32, g.N)
	for i := range scale {
		scale[i], bias[i] = 0.003+float32(i)/1e4, float32(i%7)-3
	}
	g.C, g.Scale, g.Bias = nil, scale, bias
	const guard = 77
	y, q, want := make([]float32, g.M*ldc+4), make([]uint8, g.M*ldc+4), make([]float32, g.N)
	for i := range y {
		y[i], q[i] = guard, guard
	}
	g.Y, g.LDY = y, ldc
	g.Run(make([]byte, g.ScratchBytes()))
	for _, signed := range []bool{false, true} {
		g.Y, g.Q, g.LDQ, g.ScaleQ, g.ZeroQ, g.SignedQ = nil, q, ldc, 0.75, 131, signed
		g.Run(make([]byte, g.ScratchBytes()))
		for i := range g.M {
			DequantAcc(want, sums[i*ldc:i*ldc+g.N], 1, g.N, scale, bias)
			for n, v := range want {
				zero, lo, hi := 131.0, 0.0, 255.0
				if signed {
					zero, lo, hi = 131-256, -128, 127
				}
				wantQ := uint8(int(min(max(math.RoundToEven(float64(v/0.75))+zero, lo), hi)))
				if y[i*ldc+n] != v || q[i*ldc+n] != wantQ {
					t.Fatalf("row %d column %d: %g and %d, want %g and %d (signed %v)", i, n, y[i*ldc+n], q[i*ldc+n], v, wantQ, signed)
				}
			}
			for n := g.N; n < ldc; n++ {
				if y[i*ldc+n] != guard || q[i*ldc+n] != guard {
					t.Fatalf("row %d: written behind", i)
				}
			}
		}
	}
}

func TestSpan(t *testing.T) {
	r := rand.New(rand.NewSource(5))
	nan := float32(math.NaN())
	for n := range 200 {
		x := randoms(r, n)
		for i := range x {
			if r.Intn(9) == 0 {
				x[i] = []float32{nan, 1e30, -1e30, float32(math.Inf(1)), 0}[r.Intn(5)]
			}
			if n%3 == 0 && x[i] < 0 {
				x[i] = -x[i]
			}
		}
		var lo, hi float32
		for _, v := range x {
			if v == v {
				lo, hi = min(lo, v), max(hi, v)
			}
		}
		for _, tier := range tiers() {
			restore := cpu.Force(tier)
			if l, h := Span(x); l != lo || h != hi {
				t.Errorf("%s, %d elements: %g %g, want %g %g", tier, n, l, h, lo, hi)
			}
			restore()
		}
	}
}
