// Package atomicfile writes files that are complete or not there.
package atomicfile

import (
	"os"
	"path/filepath"

	"muster/fault"
)

// Write puts b at path with the given permissions. The bytes are written beside it, synced
// and renamed: after a crash, a kill or on a full disk there is what was there before, or all of b.
func Write(path string, b []byte, perm os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fault.New(fault.Exhausted, path, "%w", err).WithHint("is the folder there, writable, and the disk not full?")
	}
	defer os.Remove(f.Name()) // gone after the rename
	if err := finish(f, path, b, perm); err != nil {
		return fault.New(fault.Exhausted, path, "%w", err).WithHint("is the disk full? what was there before is unchanged")
	}
	return nil
}

func finish(f *os.File, path string, b []byte, perm os.FileMode) error {
	_, err := f.Write(b)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
