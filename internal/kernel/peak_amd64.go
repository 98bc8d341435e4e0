package kernel

import "muster/internal/cpu"

// peakLoop returns a sample of a loop and its operations, nil if the active tier has none.
func peakLoop(which int) (func(), float64) {
	tier := cpu.Active()
	switch {
	case which == probeFMA && tier == cpu.AVX512:
		return func() { peakFMA512(probeRounds) }, probeRounds * 24 * 32
	case which == probeFMA && tier == cpu.AVX2:
		return func() { peakFMA256(2 * probeRounds) }, 2 * probeRounds * 12 * 16
	case which == probeInt8 && tier == cpu.AVX512 && cpu.HasVNNI():
		return func() { peakVNNI512(probeRounds) }, probeRounds * 24 * 128
	case which == probeBF16 && tier == cpu.AVX512 && cpu.HasBF16():
		return func() { peakBF16512(probeRounds) }, probeRounds * 24 * 64
	}
	return nil, 0
}

// memoryPasses returns the loops of Bandwidth.
func memoryPasses() (read func(n int, x *float32), triad func(n int, y, x, z *float32, s float32)) {
	switch cpu.Active() {
	case cpu.AVX512:
		return readPass512, triadPass512
	case cpu.AVX2:
		return readPass256, triadPass256
	}
	return nil, nil
}
