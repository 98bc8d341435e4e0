package atomicfile

import (
	"os"
	"path/filepath"
	"testing"

	"muster/fault"
)

// TestWrite: the new content with its permissions, and nothing else in the folder.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, text := range []string{"first", "second, longer", ""} {
		if err := Write(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Errorf("%q, %v, want %q", got, err, text)
		}
	}
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o640 {
		t.Error(i.Mode(), err)
	}
	if e, err := os.ReadDir(dir); err != nil || len(e) != 1 {
		t.Error(e, err)
	}
}

// TestRefused: a folder that is not there, and a target that cannot be replaced, which stays
// as it was; both have a class, a place and a hint, and leave nothing behind.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	busy := filepath.Join(dir, "busy")
	if err := os.MkdirAll(filepath.Join(busy, "inside"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "nowhere", "f"), busy} {
		if err := Write(path, []byte("x"), 0o644); fault.ClassOf(err) != fault.Exhausted || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", path, err)
		}
	}
	if e, err := os.ReadDir(dir); err != nil || len(e) != 1 {
		t.Error(e, err)
	}
}
