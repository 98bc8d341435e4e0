package kernel

import "muster/internal/cpu"

// patchAsm runs a transform.
func patchAsm(tier cpu.Tier, p *patch, in bool) {
	switch {
	case tier == cpu.AVX512 && in:
		patchIn512(p)
	case tier == cpu.AVX512:
		patchOut512(p)
	case in:
		patchIn256(p)
	default:
		patchOut256(p)
	}
}
