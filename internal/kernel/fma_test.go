package kernel

import (
	"math"
	"math/big"
	"math/rand"
	"testing"
)

// exactFMA rounds a*b+c once, with big numbers.
func exactFMA(a, b, c float32) float32 {
	x := new(big.Float).SetPrec(2000).SetFloat64(float64(a))
	x.Mul(x, new(big.Float).SetPrec(2000).SetFloat64(float64(b)))
	x.Add(x, new(big.Float).SetPrec(2000).SetFloat64(float64(c)))
	f, _ := x.Float32()
	return f
}

func TestFMA(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	pick := func() float32 {
		switch r.Intn(4) {
		case 0: // any bits
			return math.Float32frombits(r.Uint32())
		case 1: // few significant bits: half-way cases
			return float32(math.Ldexp(float64(r.Intn(4097)-2048), r.Intn(60)-30))
		case 2: // near 1
			return 1 + float32(r.Intn(64)-32)*0x1p-23
		}
		return float32(math.Ldexp(float64(r.Intn(1<<24)), -150+r.Intn(30))) // small and subnormal
	}
	n := 400_000
	if testing.Short() {
		n /= 10
	}
	for i := 0; i < n; i++ {
		a, b, c := pick(), pick(), pick()
		if a-a != 0 || b-b != 0 || c-c != 0 {
			continue
		}
		got, want := FMA(a, b, c), exactFMA(a, b, c)
		if got != want {
			t.Fatalf("FMA(%x, %x, %x) = %x, want %x", a, b, c, got, want)
		}
	}
	inf := float32(math.Inf(1))
	if v := FMA(inf, 0, 1); v == v {
		t.Errorf("inf*0+1 = %g", v)
	}
	if FMA(inf, 1, -1) != inf || FMA(1, 1, -inf) != -inf {
		t.Error("infinities")
	}
}
