package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"muster/fault"
	"muster/record"
)

// Blobs keeps byte strings in files named by their SHA-256 digest:
// sha256/ab/cdef... A blob is written to tmp/, synced and renamed, so under its
// name there is either nothing or all of it. Files are reached through an
// os.Root: a link that leads out of the folder is not followed.
type Blobs struct {
	root  *os.Root
	owner string
}

// OpenBlobs opens the blob folder dir and creates it if there is none.
func OpenBlobs(dir string) (*Blobs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, diskFault("blobs", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, diskFault("blobs", err)
	}
	b := &Blobs{root: root, owner: thisProcess()}
	for _, d := range []string{"sha256", "tmp"} {
		if err := b.mkdir(d, "."); err != nil {
			root.Close()
			return nil, err
		}
	}
	return b, nil
}

// Close releases the folder.
func (b *Blobs) Close() error { return b.root.Close() }

// blobPath returns the folder and the file of d, relative to the root.
func blobPath(d record.Digest) (dir, file string) {
	h := d.Hex()
	return "sha256/" + h[:2], "sha256/" + h[:2] + "/" + h[2:]
}

// Put stores everything in r and returns its digest and length. It writes even
// if the blob is there already: that costs one rename and repairs a damaged copy.
func (b *Blobs) Put(ctx context.Context, r io.Reader) (d record.Digest, n int64, err error) {
	tmp := "tmp/" + b.owner + "." + randomHex(8)
	f, err := b.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return "", 0, diskFault("blobs/"+tmp, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			b.root.Remove(tmp)
		}
	}()
	h := sha256.New()
	if n, err = copyTo(ctx, f, h, r); err != nil {
		return "", 0, err
	}
	if err = f.Sync(); err == nil {
		err = f.Close()
	}
	if err != nil {
		return "", 0, diskFault("blobs/"+tmp, err)
	}
	d = record.Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))
	return d, n, b.publish(tmp, d)
}

// copyTo copies r to f and h; errors of the source and of the disk are told apart.
func copyTo(ctx context.Context, f *os.File, h hash.Hash, r io.Reader) (n int64, err error) {
	buf := make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return n, fault.New(fault.Exhausted, "blobs", "store: stopped: %w", err)
		}
		k, rerr := r.Read(buf)
		if k > 0 {
			h.Write(buf[:k])
			if _, err := f.Write(buf[:k]); err != nil {
				return n, diskFault("blobs", err)
			}
			n += int64(k)
		}
		if rerr == io.EOF {
			return n, nil
		}
		if rerr != nil {
			return n, fault.At("blobs: source", rerr)
		}
	}
}

// publish gives the synced file tmp its name and makes the name durable.
func (b *Blobs) publish(tmp string, d record.Digest) error {
	dir, file := blobPath(d)
	if err := b.mkdir(dir, "sha256"); err != nil {
		return err
	}
	if err := b.root.Rename(tmp, file); err != nil {
		return diskFault("blob "+string(d), err)
	}
	return b.syncDir(dir)
}

func (b *Blobs) mkdir(dir, parent string) error {
	err := b.root.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return diskFault("blobs/"+dir, err)
	}
	return b.syncDir(parent)
}

func (b *Blobs) syncDir(dir string) error {
	f, err := b.root.Open(dir)
	if err != nil {
		return diskFault("blobs/"+dir, err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) {
		return diskFault("blobs/"+dir, err)
	}
	return nil
}

// Has reports whether the blob is there; its content is not looked at.
func (b *Blobs) Has(d record.Digest) (bool, error) {
	if err := checkDigest("digest", d); err != nil {
		return false, err
	}
	_, file := blobPath(d)
	fi, err := b.root.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, diskFault("blob "+string(d), err)
	}
	return fi.Mode().IsRegular(), nil
}

// Open returns a reader of the blob that checks the digest while reading: the
// last Read returns an error of class mismatch instead of io.EOF if the bytes
// are not those that the digest names. Do not act on them before io.EOF.
func (b *Blobs) Open(d record.Digest) (*BlobReader, error) {
	ok, err := b.Has(d)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fault.New(fault.NotFound, "blob "+string(d), "store: no such blob").
			WithHint("run `muster store check` to see what is missing")
	}
	_, file := blobPath(d)
	f, err := b.root.Open(file)
	if err != nil {
		return nil, diskFault("blob "+string(d), err)
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, diskFault("blob "+string(d), err)
	}
	return &BlobReader{Size: fi.Size(), want: d, f: f, h: sha256.New()}, nil
}

// BlobReader reads one blob and checks it on the way.
type BlobReader struct {
	Size int64 // length of the file when it was opened
	want record.Digest
	f    *os.File
	h    hash.Hash
}

// Read implements io.Reader; see Blobs.Open for the check at the end.
func (r *BlobReader) Read(p []byte) (int, error) {
	n, err := r.f.Read(p)
	r.h.Write(p[:n])
	if err == io.EOF {
		if got := record.Digest("sha256:" + hex.EncodeToString(r.h.Sum(nil))); got != r.want {
			return n, fault.New(fault.Mismatch, "blob "+string(r.want), "store: content has digest %s", got).
				WithHint("the file was damaged or changed; put the original again to repair it")
		}
		return n, io.EOF
	}
	if err != nil {
		return n, diskFault("blob "+string(r.want), err)
	}
	return n, nil
}

// Close closes the file.
func (r *BlobReader) Close() error { return r.f.Close() }

// walk calls fn for every file below the root, with its slash-separated path.
func (b *Blobs) walk(fn func(path string, e fs.DirEntry) error) error {
	err := fs.WalkDir(b.root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // a temporary file that was renamed meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		if e.IsDir() {
			return nil
		}
		return fn(path, e)
	})
	if err != nil {
		return diskFault("blobs", err)
	}
	return nil
}

// digestOfPath is the inverse of blobPath; false if path is not that of a blob.
func digestOfPath(path string) (record.Digest, bool) {
	rest, ok := strings.CutPrefix(path, "sha256/")
	if !ok || len(rest) != 65 || rest[2] != '/' {
		return "", false
	}
	d := record.Digest("sha256:" + rest[:2] + rest[3:])
	return d, d.Valid()
}

// diskFault gives an error of the file system its class and hint.
func diskFault(place string, err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fault.New(fault.Exhausted, place, "store: %w", err).
			WithHint("the disk or the quota is full: free some space and try again; nothing was half-written")
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fault.New(fault.Exhausted, place, "store: %w", err).WithHint("too many open files; raise the limit (ulimit -n)")
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.NotFound, place, "store: %w", err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fault.New(fault.Denied, place, "store: %w", err).
			WithHint("the store's folder must be readable and writable for this user")
	}
	return fault.New(fault.Internal, place, "store: %w", err)
}
