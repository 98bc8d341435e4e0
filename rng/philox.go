// Package rng gives counter-based random numbers: the same key gives the same
// bits on every machine, in any order of use and on any number of threads.
//
// A Key names a stream of randomness; Split and Named derive independent keys,
// so each worker, row, round or purpose has its own, and nothing is shared.
// The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011), checked against the authors' vectors.
// It is fast and statistically strong; it is not for secrets.
package rng

import "math/bits"

// Multipliers and Weyl increments of Philox4x32, table 2 of the paper.
const (
	mul0, mul1   = 0xD2511F53, 0xCD9E8D57
	weyl0, weyl1 = 0x9E3779B9, 0xBB67AE85
)

// philox is the bijection of 10 rounds: counter and key to 128 random bits.
func philox(c [4]uint32, k [2]uint32) [4]uint32 {
	for range 10 {
		p0 := uint64(mul0) * uint64(c[0])
		p1 := uint64(mul1) * uint64(c[2])
		c = [4]uint32{uint32(p1>>32) ^ c[1] ^ k[0], uint32(p1), uint32(p0>>32) ^ c[3] ^ k[1], uint32(p0)}
		k[0] += weyl0
		k[1] += weyl1
	}
	return c
}

// Key names a stream of randomness. It is a value: copy and compare it freely.
// The zero Key is New(0) and valid.
type Key struct {
	key  uint64 // the Philox key
	base uint64 // the upper half of the counter
}

// New returns the root key of a seed.
func New(seed uint64) Key { return Key{key: seed} }

// Domains keep the blocks for splitting apart from each other and from the
// blocks of a stream: they change the Philox key, never the counter.
const (
	splitDomain = 0x5370_6c69_742e_2e2e // "Split..."
	namedDomain = 0x4e61_6d65_642e_2e2e // "Named..."
)

// Split returns the n-th derived key. Different n, or different parents, give
// streams that are independent for all purposes of simulation.
func (k Key) Split(n uint64) Key { return k.derive(splitDomain, n) }

// Named returns the derived key of a label; use it for purposes ("shuffle",
// "dropout"), so that adding one does not change the others.
func (k Key) Named(label string) Key {
	h := uint64(14695981039346656037) // FNV-1a, 64 bits
	for i := 0; i < len(label); i++ {
		h = (h ^ uint64(label[i])) * 1099511628211
	}
	return k.derive(namedDomain, h)
}

func (k Key) derive(domain, n uint64) Key {
	b := block(k.key^domain, n, k.base)
	return Key{key: uint64(b[0]) | uint64(b[1])<<32, base: uint64(b[2]) | uint64(b[3])<<32}
}

// Block returns the i-th 128 bits of k's stream: random access for kernels that
// want randomness by element index. Stream returns the same words in order.
func (k Key) Block(i uint64) [4]uint32 { return block(k.key, i, k.base) }

func block(key, lo, hi uint64) [4]uint32 {
	return philox([4]uint32{uint32(lo), uint32(lo >> 32), uint32(hi), uint32(hi >> 32)}, [2]uint32{uint32(key), uint32(key >> 32)})
}

// Stream returns a reader of k's numbers, from the start.
func (k Key) Stream() *Stream { return &Stream{key: k, used: 4} }

// Stream draws numbers from a key one after the other. It is not safe for
// concurrent use; give each goroutine its own key.
type Stream struct {
	key  Key
	next uint64 // next block
	buf  [4]uint32
	used int // words of buf that are used up
}

// Uint32 returns 32 random bits.
func (s *Stream) Uint32() uint32 {
	if s.used == 4 {
		s.buf, s.used = s.key.Block(s.next), 0
		s.next++
	}
	s.used++
	return s.buf[s.used-1]
}

// Uint64 returns 64 random bits, two words of the stream, low word first.
func (s *Stream) Uint64() uint64 {
	lo := s.Uint32()
	return uint64(lo) | uint64(s.Uint32())<<32
}

// Uint64n returns a uniform number in [0, n) without bias (Lemire, "Fast random
// integer generation in an interval", 2019). It panics if n is 0.
func (s *Stream) Uint64n(n uint64) uint64 {
	if n == 0 {
		panic("rng: Uint64n of 0")
	}
	hi, lo := bits.Mul64(s.Uint64(), n)
	if lo < n {
		for reject := -n % n; lo < reject; {
			hi, lo = bits.Mul64(s.Uint64(), n)
		}
	}
	return hi
}
