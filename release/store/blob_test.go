package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/fault"
	"muster/record"
)

// fileOf returns the path of a blob on disk.
func fileOf(st *Store, d record.Digest) string {
	_, f := blobPath(d)
	return filepath.Join(st.dir, "blobs", filepath.FromSlash(f))
}

// overwrite replaces a blob's file, as somebody with the right to would.
func overwrite(t *testing.T, path string, b []byte) {
	t.Helper()
	os.Chmod(path, 0o600)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func temps(t *testing.T, st *Store) []os.DirEntry {
	t.Helper()
	es, err := os.ReadDir(filepath.Join(st.dir, "blobs", "tmp"))
	if err != nil {
		t.Fatal(err)
	}
	return es
}

func TestBlobRoundTrip(t *testing.T) {
	st, ctx := open(t, t.TempDir()), t.Context()
	for _, n := range []int{0, 1, 256<<10 - 1, 256 << 10, 256<<10 + 1, 1 << 20} {
		b := bytes.Repeat([]byte{7}, n)
		sub, err := st.PutBytes(ctx, "data", "d", b)
		if err != nil || sub.Digest != record.DigestBytes(b) {
			t.Fatalf("%d bytes: %v %v", n, sub, err)
		}
		got, err := st.Get(ctx, sub.Digest)
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%d bytes do not read back: %v", n, err)
		}
		r, err := st.OpenBlob(ctx, sub.Digest)
		if err != nil {
			t.Fatal(err)
		}
		got, err = io.ReadAll(r)
		r.Close()
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%d bytes do not stream back: %v", n, err)
		}
	}
	// FIPS 180-4: the digest of no bytes names a known path.
	empty := filepath.Join(st.dir, "blobs/sha256/e3/b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	if _, err := os.Stat(empty); err != nil {
		t.Error(err)
	}
	if _, err := st.Get(ctx, record.DigestBytes([]byte("never put"))); fault.ClassOf(err) != fault.NotFound {
		t.Errorf("an unknown blob: %v", err)
	}
	for _, d := range []record.Digest{"", "sha256:", "sha256:../../../../etc/passwd", record.Digest("sha256:" + strings.Repeat("A", 64))} {
		if _, err := st.Get(ctx, d); fault.ClassOf(err) != fault.Malformed {
			t.Errorf("digest %q: %v", d, err)
		}
	}
	if subs, err := st.Subjects(ctx, "data", 0); err != nil || len(subs) != 6 {
		t.Errorf("%d subjects, %v", len(subs), err)
	}
}

// TestDamagedBlobs: whatever happens to a file, its bytes are never handed out
// as if they were right, the check names it, and putting it again repairs it.
func TestDamagedBlobs(t *testing.T) {
	st, ctx := open(t, t.TempDir()), t.Context()
	good := bytes.Repeat([]byte("good bytes "), 50000)
	sub, err := st.PutBytes(ctx, "model", "m", good)
	if err != nil {
		t.Fatal(err)
	}
	path := fileOf(st, sub.Digest)
	flipped := append([]byte{}, good...)
	flipped[len(good)/2] ^= 1
	for name, c := range map[string]struct {
		damage func()
		want   fault.Class
	}{
		"flipped bit": {func() { overwrite(t, path, flipped) }, fault.Mismatch},
		"shorter":     {func() { overwrite(t, path, good[:len(good)-1]) }, fault.Mismatch},
		"longer":      {func() { overwrite(t, path, append(append([]byte{}, good...), 0)) }, fault.Mismatch},
		"empty":       {func() { overwrite(t, path, nil) }, fault.Mismatch},
		"removed":     {func() { os.Remove(path) }, fault.NotFound},
		"a link out": {func() {
			os.Remove(path)
			if err := os.Symlink("/etc/hostname", path); err != nil {
				t.Fatal(err)
			}
		}, fault.NotFound},
	} {
		c.damage()
		if _, err := st.Get(ctx, sub.Digest); fault.ClassOf(err) != c.want {
			t.Errorf("%s: Get says %v", name, err)
		}
		if r, err := st.OpenBlob(ctx, sub.Digest); err == nil {
			if _, err := io.ReadAll(r); fault.ClassOf(err) != c.want {
				t.Errorf("%s: the stream ends with %v", name, err)
			}
			r.Close()
		}
		rep, err := st.Check(ctx)
		if err != nil || rep.Sound() || !strings.Contains(rep.Problems[len(rep.Problems)-1].Place, sub.Digest.Hex()[2:]) || rep.Problems[0].Hint == "" {
			t.Errorf("%s: the check says %v %+v", name, err, rep)
		}
		if _, err := st.PutBytes(ctx, "model", "m", good); err != nil {
			t.Errorf("%s: cannot be put again: %v", name, err)
		}
		if rep, err := st.Check(ctx); err != nil || !rep.OK() {
			t.Errorf("%s: after it was put again: %v %+v", name, err, rep)
		}
	}
}

// failing gives some bytes and then an error.
type failing struct {
	n   int
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	if f.n == 0 {
		return 0, f.err
	}
	f.n--
	return len(p), nil
}

func TestPutFails(t *testing.T) {
	st, ctx := open(t, t.TempDir()), t.Context()
	cause := errors.New("the cable was pulled")
	if _, err := st.Put(ctx, "model", "m", &failing{3, cause}); !errors.Is(err, cause) {
		t.Errorf("a failing source: %v", err)
	}
	if _, err := st.Put(ctx, "model", "m", &failing{3, fault.New(fault.Malformed, "file", "bad")}); fault.ClassOf(err) != fault.Malformed {
		t.Errorf("a failing source with a class: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := st.PutBytes(cancelled, "model", "m", []byte("x")); fault.ClassOf(err) != fault.Exhausted {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := st.PutBytes(ctx, "no spaces", "m", nil); fault.ClassOf(err) != fault.Malformed {
		t.Errorf("a bad kind: %v", err)
	}
	if left := temps(t, st); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if rep, err := st.Check(ctx); err != nil || !rep.OK() || rep.Blobs != 0 {
		t.Errorf("%v %+v", err, rep)
	}
}

// TestSwappedWhileRead swaps the file under a reader: it gets the right bytes or an error.
func TestSwappedWhileRead(t *testing.T) {
	st, ctx := open(t, t.TempDir()), t.Context()
	good, evil := bytes.Repeat([]byte("g"), 100_000), bytes.Repeat([]byte("e"), 100_000)
	sub, err := st.PutBytes(ctx, "model", "m", good)
	if err != nil {
		t.Fatal(err)
	}
	path, stop, done := fileOf(st, sub.Digest), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			b := good
			if i%2 == 0 {
				b = evil
			}
			if i%4 < 2 { // in place, or by another file
				os.Chmod(path, 0o600)
				os.WriteFile(path, b, 0o600)
			} else if os.WriteFile(path+".new", b, 0o600) == nil {
				os.Rename(path+".new", path)
			}
		}
	}()
	right, refused, looks := 0, 0, 2000
	if testing.Short() {
		looks = 300
	}
	for range looks {
		b, err := st.Get(ctx, sub.Digest)
		switch {
		case err != nil && fault.ClassOf(err) == fault.Mismatch:
			refused++
		case err != nil:
			t.Errorf("class %s: %v", fault.ClassOf(err), err)
		case !bytes.Equal(b, good):
			t.Fatal("wrong bytes were handed out")
		default:
			right++
		}
	}
	close(stop)
	<-done
	t.Logf("%d right, %d refused", right, refused)
}

// TestLeftovers: a temporary file is cleared if its process is gone, and kept if it is at work.
func TestLeftovers(t *testing.T) {
	st, ctx := open(t, t.TempDir()), t.Context()
	dir := filepath.Join(st.dir, "blobs", "tmp")
	for _, name := range []string{thisProcess() + ".aa", "4194304.1." + strings.SplitN(thisProcess(), ".", 4)[2] + "." + strings.SplitN(thisProcess(), ".", 4)[3] + ".bb"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rep, err := st.Repair(ctx)
	if err != nil {
		t.Fatal(err)
	}
	left := temps(t, st)
	if processGone("4194304.1.0.00000000") && (rep.Repaired != 1 || len(left) != 1 || !strings.HasSuffix(left[0].Name(), ".aa")) {
		t.Errorf("repaired %d, left %v", rep.Repaired, left)
	}
	stray := filepath.Join(st.dir, "blobs", "sha256", "readme.txt")
	if err := os.WriteFile(stray, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if rep, err := st.Repair(ctx); err != nil || rep.Sound() {
		t.Errorf("a stray file: %v %+v", err, rep)
	}
	if _, err := os.Stat(stray); err != nil {
		t.Error("repair removed what it does not know")
	}
}
