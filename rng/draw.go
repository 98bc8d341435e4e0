package rng

import "muster/internal/detmath"

// Intn returns a uniform number in [0, n) without bias. It panics if n <= 0.
func (s *Stream) Intn(n int) int {
	if n <= 0 {
		panic("rng: Intn of a number below 1")
	}
	return int(s.Uint64n(uint64(n)))
}

// Float64 returns a uniform multiple of 2^-53 in [0, 1).
func (s *Stream) Float64() float64 { return float64(s.Uint64()>>11) * 0x1p-53 }

// Float32 returns a uniform multiple of 2^-24 in [0, 1).
func (s *Stream) Float32() float32 { return float32(s.Uint32()>>8) * 0x1p-24 }

// Norm returns a standard normal number by inversion of the distribution function
// at an odd multiple of 2^-53: one uniform per number, no rejection, so the n-th
// number of a stream does not depend on the values before it. |Norm| < 8.3.
func (s *Stream) Norm() float64 {
	return detmath.NormalQuantile((float64(s.Uint64()>>12) + 0.5) * 0x1p-52)
}

// Exp returns an exponentially distributed number with mean 1.
func (s *Stream) Exp() float64 { return -detmath.Log1p(-s.Float64()) }

// Bernoulli returns true with probability p (false for p <= 0, true for p >= 1).
func (s *Stream) Bernoulli(p float64) bool { return s.Float64() < p }

// Perm returns a uniform permutation of 0..n-1.
func (s *Stream) Perm(n int) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	s.Shuffle(n, func(i, j int) { p[i], p[j] = p[j], p[i] })
	return p
}

// Shuffle permutes n elements uniformly by calls of swap (Fisher and Yates, from the end).
func (s *Stream) Shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- {
		swap(i, s.Intn(i+1))
	}
}
