package store

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

// A process is written as "pid.start.namespace.boot". The start time (in clock
// ticks since boot, field 22 of /proc/<pid>/stat, see proc(5)) tells a process
// from a later one with the same pid.

// thisProcess returns the token of the running process.
var thisProcess = sync.OnceValue(func() string {
	start, _ := startTicks(os.Getpid())
	return fmt.Sprintf("%d.%s.%s.%s", os.Getpid(), start, pidNamespace(), bootID())
})

// processGone reports whether the process of a token certainly runs no more.
// In another pid namespace of the same boot nothing can be said: not gone.
func processGone(token string) bool {
	f := strings.Split(token, ".")
	if len(f) != 4 {
		return false
	}
	if f[3] != bootID() {
		return true // the machine was restarted since
	}
	pid, err := strconv.Atoi(f[0])
	if err != nil || f[2] != pidNamespace() {
		return false
	}
	start, alive := startTicks(pid)
	return !alive || start != f[1]
}

// startTicks returns the start time of pid, and false if there is no such
// process or only its exit status is left of it.
func startTicks(pid int) (string, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "0", !os.IsNotExist(err)
	}
	// The command name, in parentheses, may contain anything: count from its end.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 20 {
		return "0", true
	}
	return f[19], f[0] != "Z" && f[0] != "X"
}

var bootID = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(b) < 8 {
		return "0"
	}
	return string(b[:8])
})

var pidNamespace = sync.OnceValue(func() string {
	s, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "0"
	}
	return strings.Trim(s, "pid:[]")
})
