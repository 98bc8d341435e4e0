package kernel

import "muster/internal/cpu"

// stripAsm runs the micro-kernel of a kind.
func stripAsm(tier cpu.Tier, kind PlaneKind, s *strip) {
	wide := tier == cpu.AVX512
	switch {
	case kind == Depthwise && wide:
		stripFMA512(s)
	case kind == Depthwise:
		stripFMA256(s)
	case kind == MeanPool && wide:
		stripAdd512(s)
	case kind == MeanPool:
		stripAdd256(s)
	case wide:
		stripMax512(s)
	default:
		stripMax256(s)
	}
}
