package cpu

import (
	"os"
	"strconv"
	"strings"
	"sync"
)

// Memory returns the bytes of memory that this process may use: that of the machine, or less where a control
// group has a limit; 0 if neither can be read. What is planned or grown from data is checked against it.
var Memory = sync.OnceValue(func() int {
	n := 0
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "MemTotal:" {
				kib, _ := strconv.Atoi(f[1]) // an unreadable number is no limit
				n = kib << 10
			}
		}
	}
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if m, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && m > 0 && (n == 0 || m < n) {
			n = m
		}
	}
	return n
})
