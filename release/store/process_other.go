//go:build !linux

package store

import (
	"fmt"
	"os"
	"sync"
)

// thisProcess returns the token of the running process. Without /proc there is
// no start time to tell a process from a later one with the same pid.
var thisProcess = sync.OnceValue(func() string { return fmt.Sprintf("%d.0.0.0", os.Getpid()) })

// processGone never claims that a process is gone where it cannot be known.
func processGone(string) bool { return false }
