// Package cpu says which kernel tier runs.
package cpu

import (
	"os"
	"sync/atomic"

	"golang.org/x/sys/cpu"

	"muster/fault"
)

// Tier is a set of kernels. All tiers give the same bits.
type Tier int32

// Tiers, slowest first.
const (
	Ref    Tier = iota // plain Go
	AVX2               // AVX2 and FMA3
	AVX512             // AVX-512 F, BW, DQ, VL
)

// names are the values of MUSTER_KERNEL.
var names = [...]string{"ref", "avx2", "avx512"}

// String returns the name that MUSTER_KERNEL takes.
func (t Tier) String() string { return names[t] }

// Best returns the fastest tier of this machine. x/sys/cpu reports a feature only
// if the operating system saves its registers.
func Best() Tier {
	switch c := cpu.X86; {
	case c.HasAVX512F && c.HasAVX512BW && c.HasAVX512DQ && c.HasAVX512VL:
		return AVX512
	case c.HasAVX2 && c.HasFMA:
		return AVX2
	}
	return Ref
}

// HasBF16 reports whether VDPBF16PS can be used.
func HasBF16() bool { return cpu.X86.HasAVX512BF16 }

// HasVNNI reports whether VPDPBUSD can be used.
func HasVNNI() bool { return cpu.X86.HasAVX512VNNI }

var active atomic.Int32

func init() {
	t, err := fromEnv()
	if err != nil {
		t = Ref // Init reports the error before anything runs
	}
	active.Store(int32(t))
}

func fromEnv() (Tier, error) {
	v := os.Getenv("MUSTER_KERNEL")
	if v == "" {
		return Best(), nil
	}
	for i, n := range names {
		if n != v {
			continue
		}
		if t := Tier(i); t <= Best() {
			return t, nil
		}
		return Ref, fault.New(fault.Unsupported, "MUSTER_KERNEL", "this machine has no %s", v).WithHint("its best tier is %s", Best())
	}
	return Ref, fault.New(fault.Malformed, "MUSTER_KERNEL", "%q is not a kernel tier", v).WithHint("the tiers are ref, avx2, avx512")
}

// Init reports whether MUSTER_KERNEL names a tier that this machine has.
func Init() error {
	_, err := fromEnv()
	return err
}

// Active returns the tier that kernels use.
func Active() Tier { return Tier(active.Load()) }

// Force makes kernels use t until restore is called. It is for tests; t must not be above Best.
func Force(t Tier) (restore func()) {
	if t > Best() {
		panic("cpu: this machine has no " + t.String())
	}
	old := active.Swap(int32(t))
	return func() { active.Store(old) }
}
