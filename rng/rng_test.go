package rng

import (
	"hash/fnv"
	"math"
	"testing"

	"muster/internal/detmath"
)

// Known-answer vectors of Random123 (tests/kat_vectors, philox4x32 10).
func TestPhiloxVectors(t *testing.T) {
	const f = 0xffffffff
	for _, v := range []struct {
		ctr  [4]uint32
		key  [2]uint32
		want [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{f, f, f, f}, [2]uint32{f, f}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0}, [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := philox(v.ctr, v.key); got != v.want {
			t.Errorf("philox(%x, %x) = %x, want %x", v.ctr, v.key, got, v.want)
		}
	}
}

func TestStreamIsBlocksInOrder(t *testing.T) {
	k := New(7).Named("x")
	s := k.Stream()
	for i := range uint64(5) {
		for _, w := range k.Block(i) {
			if got := s.Uint32(); got != w {
				t.Fatalf("block %d: %x, want %x", i, got, w)
			}
		}
	}
	if New(0) != (Key{}) {
		t.Error("the zero key is not New(0)")
	}
}

// TestBits pins the numbers themselves: a change here changes every seeded result of Muster.
func TestBits(t *testing.T) {
	h := fnv.New64a()
	put := func(v uint64) {
		for i := range 8 {
			h.Write([]byte{byte(v >> (8 * i))})
		}
	}
	s := New(42).Split(3).Named("golden").Stream()
	for range 2000 {
		put(math.Float64bits(s.Norm()))
		put(math.Float64bits(s.Float64()))
		put(uint64(math.Float32bits(s.Float32())))
		put(math.Float64bits(s.Exp()))
		put(uint64(s.Intn(1000)))
	}
	for _, i := range s.Perm(100) {
		put(uint64(i))
	}
	const want = 0xbb42e3fabdf78772
	if h.Sum64() != want {
		t.Errorf("hash = %#x, want %#x", h.Sum64(), uint64(want))
	}
}

func TestKeysDiffer(t *testing.T) {
	seen := map[Key]string{}
	add := func(what string, k Key) {
		if old, ok := seen[k]; ok {
			t.Fatalf("%s and %s are the same key", old, what)
		}
		seen[k] = what
	}
	for seed := range uint64(50) {
		root := New(seed)
		add("root", root)
		for n := range uint64(200) {
			add("split", root.Split(n))
			add("split split", root.Split(n).Split(1))
		}
		for _, l := range []string{"", "a", "b", "ab", "ba", "shuffle"} {
			add("named "+l, root.Named(l))
		}
	}
}

// TestUniform bounds the deviation of moments, bins and cross-correlation by five standard errors.
func TestUniform(t *testing.T) {
	const n = 100000
	a, b := New(1).Split(1).Stream(), New(1).Split(2).Stream()
	var sum, sum2, cross float64
	bins := make([]float64, 64)
	for range n {
		x, y := a.Float64(), b.Float64()
		if x < 0 || x >= 1 {
			t.Fatalf("Float64 = %v", x)
		}
		sum += x
		sum2 += x * x
		cross += (x - 0.5) * (y - 0.5)
		bins[int(x*64)]++
	}
	within(t, "mean", sum/n, 0.5, 5*math.Sqrt(1.0/12/n))
	within(t, "second moment", sum2/n, 1.0/3, 5*math.Sqrt(4.0/45/n))
	within(t, "correlation of two splits", cross/n*12, 0, 5/math.Sqrt(n))
	chi := 0.0
	for _, c := range bins {
		chi += (c - n/64.) * (c - n/64.) / (n / 64.)
	}
	within(t, "chi-square of 64 bins", chi, 63, 5*math.Sqrt(2*63))
}

func TestNorm(t *testing.T) {
	const n = 100000
	s := New(2).Stream()
	var m [5]float64
	below := 0.0
	for range n {
		x := s.Norm()
		for p, v := 1, x; p <= 4; p, v = p+1, v*x {
			m[p] += v / n
		}
		if x < -1.6448536269514722 {
			below++
		}
	}
	within(t, "mean", m[1], 0, 5/math.Sqrt(n))
	within(t, "variance", m[2], 1, 5*math.Sqrt(2./n))
	within(t, "skewness", m[3], 0, 5*math.Sqrt(15./n))
	within(t, "kurtosis", m[4], 3, 5*math.Sqrt(96./n))
	within(t, "5 % tail", below/n, 0.05, 5*math.Sqrt(0.05*0.95/n))
	if z := detmath.NormalQuantile(0.5 * 0x1p-52); math.IsInf(z, 0) || z < -8.3 {
		t.Errorf("most extreme normal number is %v", z)
	}
}

func TestIntegers(t *testing.T) {
	s := New(3).Stream()
	count := make([]float64, 7)
	for range 70000 {
		count[s.Intn(7)]++
	}
	for i, c := range count {
		within(t, "count", c, 10000, 5*math.Sqrt(10000*6./7))
		_ = i
	}
	// n just above 2^63 rejects nearly half of the draws; the result must stay uniform.
	high := 0.0
	for range 20000 {
		if v := s.Uint64n(1<<63 + 1); v >= 1<<62 {
			high++
		}
	}
	within(t, "upper half", high, 10000, 5*math.Sqrt(20000*.25))
	ones := 0.0
	for range 20000 {
		if s.Bernoulli(0.03) {
			ones++
		}
	}
	within(t, "bernoulli", ones, 600, 5*math.Sqrt(600*.97))
	if s.Bernoulli(0) || !s.Bernoulli(1) {
		t.Error("Bernoulli(0) or Bernoulli(1) is wrong")
	}
}

func TestPerm(t *testing.T) {
	s := New(4).Stream()
	count := map[[3]int]float64{}
	for range 12000 {
		p := s.Perm(3)
		count[[3]int(p)]++
	}
	if len(count) != 6 {
		t.Fatalf("%d of 6 permutations seen", len(count))
	}
	for p, c := range count {
		if math.Abs(c-2000) > 5*math.Sqrt(2000*5./6) {
			t.Errorf("permutation %v came %v times of 2000", p, c)
		}
	}
	if len(s.Perm(0)) != 0 || s.Perm(1)[0] != 0 {
		t.Error("Perm of 0 or 1")
	}
}

func within(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if math.Abs(got-want) > tol {
		t.Errorf("%s = %v, want %v ± %v", what, got, want, tol)
	}
}

func BenchmarkUint64(b *testing.B) {
	s := New(1).Stream()
	b.SetBytes(8)
	for b.Loop() {
		s.Uint64()
	}
}

func BenchmarkNorm(b *testing.B) {
	s := New(1).Stream()
	for b.Loop() {
		s.Norm()
	}
}
