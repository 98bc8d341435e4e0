package exec

import (
	"sync"

	"golang.org/x/sys/unix"

	"muster/fault"
	"muster/internal/cpu"
)

// arena is memory outside the Go heap: the collector neither scans nor moves nor zeroes it.
type arena struct {
	data []byte
	once sync.Once
}

func newArena(size int) (*arena, error) {
	if size == 0 {
		return &arena{}, nil
	}
	if err := affordable(size); err != nil {
		return nil, err
	}
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fault.New(fault.Exhausted, "exec", "%d bytes of memory for the plan: %w", size, err).
			WithHint("use a smaller batch")
	}
	return &arena{data: b}, nil
}

// affordable refuses a size that the memory here cannot hold.
func affordable(size int) error {
	if !cpu.Affordable(size) {
		return fault.New(fault.Exhausted, "exec", "%d bytes are needed, there is less memory", size).
			WithHint("use a smaller batch")
	}
	return nil
}

func (a *arena) free() {
	a.once.Do(func() {
		if a.data != nil {
			_ = unix.Munmap(a.data) // the only failure is a wrong address, which would be a defect here
			a.data = nil
		}
	})
}
