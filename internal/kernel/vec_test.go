package kernel

import (
	"fmt"
	"math"
	"math/rand"
	"testing"
	"time"

	"muster/internal/cpu"
)

// specials are values that kernels get wrong.
var specials = []float32{0, float32(math.Copysign(0, -1)), 1, -1, 1e-42, -1e-42, 88.7, 88.73, 89.5, -87.3, -103, -104.5, 1e30, -1e30, math.MaxFloat32, -math.MaxFloat32,
	float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}

// values are n random values; with odd ones among them where odd is true.
func values(r *rand.Rand, n int, odd bool) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64() * math.Exp(3*r.NormFloat64()))
		if odd && r.Intn(5) == 0 {
			v[i] = specials[r.Intn(len(specials))]
		}
	}
	return v
}

// vecCases run every kernel on the same arguments; out is everything it writes.
var vecCases = map[string]func(r *rand.Rand, n int, odd bool) func() []float32{
	"Functions": func(r *rand.Rand, n int, odd bool) func() []float32 {
		x, dy := values(r, n, odd), values(r, n, odd)
		return func() (out []float32) {
			d := make([]float32, n+3)
			for _, f := range unaryFuncs {
				f.f(d[:n], x)
				out = append(out, d...)
			}
			for _, f := range gradFuncs {
				f.f(d[:n], dy, x)
				out = append(out, d...)
			}
			for act := ActNone; act <= ActLeakyRelu; act++ {
				Activate(act, d[:n], x, -0.3, 0.8)
				out = append(out, d...)
			}
			return out
		}
	},
	"Map2": func(r *rand.Rand, n int, odd bool) func() []float32 {
		a, b := values(r, n, odd), values(r, n, odd)
		return func() (out []float32) {
			for op := Add; op <= DivBy; op++ {
				d := make([]float32, n)
				if op <= Leak {
					Map2(op, d, a, b)
					out = append(out, d...)
				}
				MapScalar(op, d, a, 1.7)
				out = append(out, d...)
			}
			return out
		}
	},
	"Sums": func(r *rand.Rand, n int, odd bool) func() []float32 {
		a, b, c := values(r, n, false), values(r, n, false), values(r, n, odd)
		return func() []float32 {
			d := make([]float32, n)
			return append(d, addSum(d, a, b), Sum(a), Dot(a, b), rowMax(a), AbsSum(a), Squares(a, 0.3), Greatest(a), Least(a), Greatest(c), Least(c))
		}
	},
	"Softmax": func(r *rand.Rand, n int, odd bool) func() []float32 {
		x, dy := values(r, 3*n, odd), values(r, 3*n, false)
		return func() []float32 {
			y, l, dx := make([]float32, 3*n), make([]float32, 3*n), make([]float32, 3*n)
			Softmax(y, x, 3, n)
			LogSoftmax(l, x, 3, n)
			SoftmaxGrad(dx, dy, y, 3, n)
			return append(append(y, l...), dx...)
		}
	},
	"LayerNorm": func(r *rand.Rand, n int, odd bool) func() []float32 {
		x, dy, scale, bias := values(r, 3*n, false), values(r, 3*n, false), values(r, n, false), values(r, n, false)
		return func() []float32 {
			y, dx, m, s := make([]float32, 3*n), make([]float32, 3*n), make([]float32, 3), make([]float32, 3)
			ds, db, z := make([]float32, n), make([]float32, n), make([]float32, 6*n+3)
			RMSNorm(z[:3*n], z[6*n:], x, scale, 3, n, 1e-5)
			AddLayerNorm(z[3*n:6*n], z[:3*n], x, dy, scale, bias, 3, n, 1e-5)
			LayerNorm(y, m, s, x, scale, bias, 3, n, 1e-5)
			LayerNormGrad(dx, dy, x, scale, m, s, 3, n)
			LayerNormParamGrad(ds, db, dy, x, m, s, 3, n)
			ColSum(db, x, 3, n)
			return append(append(append(append(append(append(y, dx...), m...), s...), ds...), db...), z...)
		}
	},
	"AdamW": func(r *rand.Rand, n int, odd bool) func() []float32 {
		p, m, g := values(r, n, false), values(r, n, false), values(r, n, false)
		w := make([]float32, n)
		for i := range w {
			w[i] = float32(r.ExpFloat64())
		}
		return func() []float32 {
			a, b, c := append([]float32{}, p...), append([]float32{}, m...), append([]float32{}, w...)
			AdamW(a, b, c, g, AdamWStep{LR: 0.01, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1, Step: 3})
			return append(append(a, b...), c...)
		}
	},
	"Choices": func(r *rand.Rand, n int, odd bool) func() []float32 {
		a, b := values(r, n, odd), values(r, n, odd)
		for i := range b {
			if r.Intn(3) == 0 {
				b[i] = a[i]
			}
		}
		return func() (out []float32) {
			q, bytes, half, d := make([]bool, n), make([]uint8, n), make([]uint16, n), make([]float32, n)
			for op := Equal; op <= NotEqual; op++ {
				Compare(op, q, a, b)
				for i, v := range q {
					bytes[i] = 0
					if v {
						bytes[i] = 1
					}
				}
				Select(d, bytes, a, b)
				out = append(out, d...)
				CompareScalar(op, q, a, b[0])
				for _, v := range q {
					out = append(out, map[bool]float32{true: 1}[v])
				}
			}
			ToBFloat16(half, a)
			FromBFloat16(d, half)
			out = append(out, d...)
			for _, signed := range []bool{false, true} {
				for i, v := range a {
					bytes[i] = uint8(math.Float32bits(v) >> 20)
				}
				FromBytes(d, bytes, signed, 3, 0.7)
				out = append(out, d...)
			}
			Narrow(half, a)
			Widen(d, half)
			for i, h := range half {
				out = append(out, float32(h), d[i])
			}
			return out
		}
	},
	"Quantize": func(r *rand.Rand, n int, odd bool) func() []float32 {
		x, scale, bias, acc := values(r, n, odd), values(r, n, false), values(r, n, false), make([]int32, n)
		for i := range acc {
			acc[i] = r.Int31() - 1<<30
		}
		return func() []float32 {
			q, out := make([]uint8, n), make([]float32, n)
			QuantizeU8(q, x, 0.07, 113)
			DequantAcc(out, acc, 1, n, scale, bias)
			for _, v := range q {
				out = append(out, float32(v))
			}
			return out
		}
	},
}

// TestVecBits runs every kernel on every tier against plain Go, bit for bit.
func TestVecBits(t *testing.T) {
	for name, make := range vecCases {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewSource(5))
			for i := 0; i < 200; i++ {
				n := 1 + i%67
				if i == 190 {
					n = 1500
				}
				f := make(r, n, i%2 == 1)
				restore := cpu.Force(cpu.Ref)
				want := f()
				restore()
				for _, tier := range tiers() {
					restore := cpu.Force(tier)
					got := f()
					restore()
					if at := same(got, want); at >= 0 {
						t.Fatalf("%s, n=%d: output %d is %x (%g), want %x (%g)", tier, n, at, got[at], got[at], want[at], want[at])
					}
				}
			}
		})
	}
}

func TestGeluAccuracy(t *testing.T) {
	for i := -400; i <= 400; i++ {
		x := float64(i) / 40
		gelu := func(x float64) float64 { return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) }
		got := float64(float32(x) / gateRef(float32(x)))
		if math.Abs(got-gelu(x)) > 1e-6*math.Max(1, math.Abs(x)) {
			t.Errorf("gelu(%g) = %g, want %g", x, got, gelu(x))
		}
		want := (gelu(x+1e-5) - gelu(x-1e-5)) / 2e-5
		if g := float64(geluGradRef(1, float32(x))); math.Abs(g-want) > 2e-5 {
			t.Errorf("gelu'(%g) = %g, want %g", x, g, want)
		}
	}
}

// TestAdamWFormula compares one element with PyTorch's formula in float64.
func TestAdamWFormula(t *testing.T) {
	p, m, w, g := []float32{0.5}, []float32{0.1}, []float32{0.2}, []float32{-0.3}
	AdamW(p, m, w, g, AdamWStep{LR: 0.01, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1, Step: 7})
	P := 0.5 - 0.01*0.1*0.5
	M, W := 0.9*0.1+0.1*-0.3, 0.999*0.2+0.001*0.09
	P -= 0.01 / (1 - math.Pow(0.9, 7)) * M / (math.Sqrt(W)/math.Sqrt(1-math.Pow(0.999, 7)) + 1e-8)
	if math.Abs(float64(p[0])-P) > 1e-6 || math.Abs(float64(m[0])-M) > 1e-7 || math.Abs(float64(w[0])-W) > 1e-7 {
		t.Errorf("p %g want %g, m %g want %g, v %g want %g", p[0], P, m[0], M, w[0], W)
	}
}

func BenchmarkVec(b *testing.B) {
	r := rand.New(rand.NewSource(1))
	x, y, z := make([]float32, 4096), make([]float32, 4096), values(r, 4096, false)
	for i := range x {
		x[i] = float32(3 * r.NormFloat64())
	}
	type bench struct {
		name string
		f    func()
	}
	var list []bench
	for _, f := range unaryFuncs {
		list = append(list, bench{f.name, func() { f.f(y, x) }})
	}
	for _, c := range append(list, []bench{
		{"GeluTanhGrad", func() { GeluTanhGrad(y, z, x) }}, {"GeluGrad", func() { GeluGrad(y, z, x) }},
		{"Sum", func() { Sum(x) }}, {"Greatest", func() { Greatest(x) }}, {"Softmax197", func() { Softmax(y, x, 20, 197) }}, {"LogSoftmax197", func() { LogSoftmax(y, x, 20, 197) }},
		{"LayerNorm768", func() { LayerNorm(y, nil, nil, x, z[:768], z[:768], 5, 768, 1e-5) }}, {"AddLayerNorm768", func() { AddLayerNorm(y, y, x, z, z[:768], z[:768], 5, 768, 1e-5) }},
		{"Softmax16", func() { Softmax(y, x, 256, 16) }}, {"Softmax64", func() { Softmax(y, x, 64, 64) }},
		{"LayerNorm64", func() { LayerNorm(y, nil, nil, x, z[:64], z[64:128], 64, 64, 1e-5) }}, {"Add", func() { Map2(Add, y, x, z) }},
	}...) {
		for _, tier := range tiers() {
			b.Run(fmt.Sprintf("%s/%s", c.name, tier), func(b *testing.B) {
				defer cpu.Force(tier)()
				best := math.Inf(1)
				for b.Loop() { // the fastest call: machines are shared
					start := time.Now()
					for range 4 {
						c.f()
					}
					best = min(best, float64(time.Since(start).Nanoseconds())/4)
				}
				b.ReportMetric(best/4096, "ns/element")
			})
		}
	}
}
