//go:build !amd64

package kernel

import "muster/internal/cpu"

func stripAsm(cpu.Tier, PlaneKind, *strip) { panic("kernel: no assembly") }
