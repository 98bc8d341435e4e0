package cpu

import (
	"os"
	"strconv"
	"strings"
	"sync"
)

// Memory returns the bytes of memory that this process may use: that of the machine, or less where a control
// group has a limit; 0 if neither can be read.
var Memory = sync.OnceValue(func() int {
	n := meminfo("MemTotal:")
	if m := group("memory.max", "memory.limit_in_bytes"); m > 0 && (n == 0 || m < n) {
		n = m
	}
	return n
})

// large are the sizes that Affordable compares with what is free now.
const large = 64 << 20

// Affordable reports whether size more bytes can be had: what is planned or grown from data is checked before it is
// allocated, because running out of memory is not an error that can be returned.
func Affordable(size int) bool {
	if size < 0 {
		return false
	}
	if size < large {
		return true
	}
	if m := Memory(); m > 0 && size > m {
		return false
	}
	free := meminfo("MemAvailable:")
	if m := Memory(); m > 0 {
		if used := group("memory.current", "memory.usage_in_bytes"); used > 0 && m-used < free {
			free = m - used
		}
	}
	return free <= 0 || size <= free
}

// meminfo is a line of /proc/meminfo in bytes, 0 if it cannot be read.
func meminfo(name string) int {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			kib, _ := strconv.Atoi(f[1]) // an unreadable number is no limit
			return kib << 10
		}
	}
	return 0
}

// group is a number of the control group, in version 2 or 1; 0 if there is none.
func group(v2, v1 string) int {
	for _, file := range []string{"/sys/fs/cgroup/" + v2, "/sys/fs/cgroup/memory/" + v1} {
		if b, err := os.ReadFile(file); err == nil {
			if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && n > 0 {
				return n
			}
		}
	}
	return 0
}
