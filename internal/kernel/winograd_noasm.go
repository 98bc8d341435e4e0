//go:build !amd64

package kernel

import "muster/internal/cpu"

func patchAsm(cpu.Tier, *patch, bool) { panic("kernel: no assembly") }
