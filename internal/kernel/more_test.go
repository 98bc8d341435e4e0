package kernel

import (
	"math"
	"math/rand"
	"testing"

	"muster/internal/cpu"
)

func init() {
	vecCases["Columns"] = func(r *rand.Rand, n int, odd bool) func() []float32 {
		x, m, y := values(r, n, odd), values(r, n, odd), values(r, n, odd)
		for i, v := range x {
			if v > m[i] {
				m[i] = v
			}
		}
		return func() []float32 {
			a, b, d, e, f := make([]float64, n), make([]float64, n), make([]float32, n), make([]float32, n), make([]float32, n)
			for i := range a {
				a[i], b[i] = float64(y[i]), 1
			}
			RunningSum(d, a, x)
			RunningProduct(e, b, x)
			ColumnProduct(b, y)
			for i := range b {
				f[i] = float32(b[i])
			}
			out := append(append(append([]float32{Product(x)}, d...), e...), f...)
			sum, other, best, at := make([]float32, n), make([]float32, n), append([]float32{}, y...), make([]float32, n)
			ExpColumns(d, sum, x, m)
			ExpColumnSum(other, x, m)
			out = append(append(append(out, d...), sum...), other...)
			TopColumns(best, at, x, -1, 3, false)
			TopColumns(best, at, y, 1, 4, true)
			var t [16]float64
			RunningRows(d, &t, x, false)
			t[3] = 1
			RunningRows(e, &t, x, true)
			Affine(f, x, 0.3, 1.7, -2)
			Mix(f, x, y, m, x, [4]float32{1, 0.5, -0.25, 3})
			return append(append(append(append(append(out, best...), at...), d...), e...), f...)
		}
	}
	vecCases["Pow"] = func(r *rand.Rand, n int, odd bool) func() []float32 {
		x, y := values(r, n, odd), values(r, n, odd)
		for i := range x {
			if i%4 > 0 || !odd {
				x[i] = float32(math.Abs(float64(x[i]))) + 1e-30
			}
		}
		return func() []float32 {
			d, e := make([]float32, n), make([]float32, n)
			Pow(d, x, y)
			PowScalar(e, x, y[0])
			return append(d, e...)
		}
	}
	vecCases["Integers"] = func(r *rand.Rand, n int, odd bool) func() []float32 {
		x, y, a, b, i32, j32, q := values(r, n, odd), values(r, 2*n, odd), make([]int64, n), make([]int64, n), make([]int32, n), make([]int32, n), make([]uint8, n)
		for i := range a {
			a[i], b[i], i32[i], j32[i], q[i] = int64(r.Intn(1000)-500), int64(r.Intn(41)-20), int32(r.Uint32()), int32(r.Uint32()), uint8(r.Intn(2))
			if !odd && b[i] == 0 {
				b[i] = math.MaxInt32
			}
			if odd && r.Intn(30) == 0 {
				a[i] = int64(r.Uint64())
			}
		}
		return func() (out []float32) {
			d8, d32, d64 := make([]uint8, n), make([]int32, n), make([]int64, n)
			put := func() {
				for i := range d64 {
					out = append(out, math.Float32frombits(uint32(d64[i])&0x3fffffff), math.Float32frombits(uint32(d64[i]>>32)&0x3fffffff), float32(d32[i]), float32(d8[i]))
				}
			}
			Truncate(d8, x)
			Truncate(d32, x)
			Truncate(d64, x)
			put()
			for _, toZero := range []bool{false, true} {
				Mod(d64, a, b, toZero)
				put()
			}
			for op := AddInt; op <= MulInt; op++ {
				Map2Int(op, d32, i32, j32)
				SelectLong(d64, q, a, b)
				put()
			}
			Twice(y, x)
			out = append(out, y...)
			Weave(y, x, append([]float32{}, y[n:]...))
			return append(out, y...)
		}
	}
}

// TestPowAccuracy sweeps bases and exponents.
func TestPowAccuracy(t *testing.T) {
	r := rand.New(rand.NewSource(3))
	for range 20000 {
		x, y := []float32{float32(math.Exp(5 * r.NormFloat64()))}, []float32{float32(r.NormFloat64() * math.Exp(2*r.NormFloat64()))}
		want := math.Pow(float64(x[0]), float64(y[0]))
		if want < 1e-37 || want > 3e38 {
			continue
		}
		var got [1]float32
		Pow(got[:], x, y)
		size := math.Abs(float64(y[0]) * math.Log(float64(x[0])))
		if e := math.Abs(float64(got[0])-want) / want; e > 2e-7+2e-8*size {
			t.Fatalf("%g^%g = %g, want %g: error %.2g", x[0], y[0], got[0], want, e)
		}
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range [][3]float32{{0, 1.7, 0}, {0, -1, inf}, {-8, 3, -512}, {-8, 0.5, nan}, {inf, 1.5, inf}, {nan, 0, 1}, {1, nan, 1}, {2, inf, inf}, {2, -inf, 0}, {10, 50, inf}, {10, -60, 0}, {7, 0, 1}, {1, 1e30, 1}, {3, 2, 9}} {
		x, y, got := make([]float32, 20), make([]float32, 20), make([]float32, 20)
		for i := range x {
			x[i], y[i] = c[0], c[1]
		}
		Pow(got, x, y)
		if got[3] != c[2] && (got[3] == got[3] || c[2] == c[2]) {
			t.Errorf("%g^%g = %g, want %g", c[0], c[1], got[3], c[2])
		}
	}
}

// TestNarrowTransposes compares the moves of bytes and halves with their meaning, around their blocks.
func TestNarrowTransposes(t *testing.T) {
	for _, tier := range tiers() {
		restore := cpu.Force(tier)
		for rows := 1; rows < 40; rows += 3 {
			for cols := 1; cols < 40; cols++ {
				lds, ldd := cols+2, rows+3
				b, h := make([]uint8, rows*lds), make([]uint16, rows*lds)
				for i := range b {
					b[i], h[i] = uint8(i*7), uint16(i*11)
				}
				db, dh, wb, wh := make([]uint8, cols*ldd), make([]uint16, cols*ldd), make([]uint8, cols*ldd), make([]uint16, cols*ldd)
				TransposeBytes(db, ldd, b, lds, rows, cols)
				TransposeHalves(dh, ldd, h, lds, rows, cols)
				transposeRef(wb, ldd, b, lds, rows, cols)
				transposeRef(wh, ldd, h, lds, rows, cols)
				for i := range wb {
					if wb[i] != db[i] || wh[i] != dh[i] {
						t.Fatalf("%s, %d x %d: element %d is %d and %d, want %d and %d", tier, rows, cols, i, db[i], dh[i], wb[i], wh[i])
					}
				}
			}
		}
		restore()
	}
}
