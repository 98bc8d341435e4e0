package kernel

import (
	"time"
	"unsafe"
)

// What one core can do at most, measured by loops that do nothing else. A rate is that of the fastest of
// many short samples, so that other work on the machine disturbs it little. 0: not measured on this tier.

// sample is the length of one sample in calls of about the same work: some 20 microseconds.
const probeRounds = 2048

// PeakFlops is float32 operations per second of one core, a multiply-add counted as two, tried for d.
func PeakFlops(d time.Duration) float64 {
	f, ops := peakLoop(probeFMA)
	return fastest(d, f, ops)
}

// PeakInt8 is the same for products of uint8 and int8 that are summed in int32.
func PeakInt8(d time.Duration) float64 {
	f, ops := peakLoop(probeInt8)
	return fastest(d, f, ops)
}

// PeakBF16 is the same for products of bfloat16 that are summed in float32.
func PeakBF16(d time.Duration) float64 {
	f, ops := peakLoop(probeBF16)
	return fastest(d, f, ops)
}

// Bandwidth is bytes per second of one core over size bytes of memory, tried for d each: of a pass that only
// reads, and of y = s x + z over three vectors that share size (two are read, one is written).
func Bandwidth(size int, d time.Duration) (read, triad float64) {
	n := max(1, size/(3*256))
	b := make([]float32, 3*n*64+16)
	off := int(-uintptr(unsafe.Pointer(&b[0]))&63) / 4
	b = b[off : off+3*n*64]
	for i := range b {
		b[i] = 1
	}
	readPass, triadPass := memoryPasses()
	if readPass == nil {
		return 0, 0
	}
	// Small vectors are gone over several times in one sample.
	rounds := max(1, 1<<18/(3*n*256))
	work := float64(rounds) * float64(3*n*256)
	read = fastest(d, func() {
		for range rounds {
			readPass(3*n/2, &b[0])
		}
	}, float64(rounds)*float64(3*n/2*512))
	triad = fastest(d, func() {
		for range rounds {
			triadPass(n, &b[0], &b[n*64], &b[2*n*64], 0.5)
		}
	}, work)
	return read, triad
}

// fastest is ops divided by the shortest time of f within d.
func fastest(d time.Duration, f func(), ops float64) float64 {
	if f == nil {
		return 0
	}
	best := time.Duration(1<<63 - 1)
	for end := time.Now().Add(d); ; {
		t := time.Now()
		f()
		best = min(best, max(1, time.Since(t)))
		if time.Now().After(end) {
			return ops / best.Seconds()
		}
	}
}

// Loops of peakLoop.
const (
	probeFMA = iota
	probeInt8
	probeBF16
)
