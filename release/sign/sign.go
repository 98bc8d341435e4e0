// Package sign makes and checks signatures: ECDSA P-256 keys kept in files, and
// DSSE envelopes (https://github.com/secure-systems-lab/dsse, protocol 1.0.2).
package sign

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"muster/fault"
)

// maxKeyFile bounds what is read of a key file, in bytes.
const maxKeyFile = 64 << 10

// Names of the key files.
const (
	privateName  = "release.key.pem"
	publicSuffix = ".pub.pem"
)

// Key signs.
type Key struct {
	private *ecdsa.PrivateKey
	id      string
}

// Open reads the signing key in dir, and makes one on first use. The public key
// lies beside it, in the form that other machines need to trust it. A key that
// others can read is refused.
func Open(dir string) (*Key, error) {
	path := filepath.Join(dir, privateName)
	b, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := create(dir, path); err != nil {
			return nil, err
		}
		b, err = readPrivate(path)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fault.New(fault.Malformed, path, "it is not a PEM file")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fault.New(fault.Malformed, path, "%w", err)
	}
	p, ok := k.(*ecdsa.PrivateKey)
	if !ok || p.Curve != elliptic.P256() {
		return nil, fault.New(fault.Unsupported, path, "it is not an ECDSA P-256 key")
	}
	id, err := keyID(&p.PublicKey)
	if err != nil {
		return nil, fault.At(path, err)
	}
	return &Key{p, id}, writePublic(strings.TrimSuffix(path, ".key.pem")+publicSuffix, &p.PublicKey)
}

// readPrivate reads a key file that belongs to its owner alone. The mode is
// that of the open file, so nobody can swap it after the look.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.Denied, path, "%w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fault.New(fault.Denied, path, "%w", err)
	}
	if runtime.GOOS != "windows" && st.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.Denied, path, "others can read the signing key").
			WithHint("chmod 600 %s, and make a new key if somebody may have copied it", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fault.New(fault.Denied, path, "%w", err)
	}
	return b, nil
}

// create writes a new private key; if another process is faster, its key stays.
func create(dir, path string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.New(fault.Denied, dir, "%w", err)
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fault.New(fault.Internal, path, "%w", err)
	}
	priv, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return fault.New(fault.Internal, path, "%w", err)
	}
	return publish(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: priv}), 0o600)
}

// writePublic puts the public key beside the private one if it is not there,
// be it new or the process that made the pair was killed in between.
func writePublic(path string, k *ecdsa.PublicKey) error {
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	pub, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return fault.New(fault.Internal, path, "%w", err)
	}
	return publish(path, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}), 0o644)
}

// publish writes b to path, all of it or nothing, and leaves a file that is there alone.
func publish(path string, b []byte, mode os.FileMode) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".key.*") // mode 0600
	if err != nil {
		return fault.New(fault.Denied, dir, "%w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	if err == nil {
		err = errors.Join(tmp.Chmod(mode), tmp.Sync())
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return fault.New(fault.Exhausted, path, "%w", err).WithHint("free some space and try again")
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fault.New(fault.Denied, path, "%w", err)
	}
	if d, err := os.Open(dir); err == nil { // the name survives a power cut
		d.Sync()
		d.Close()
	}
	return nil
}

// keyID is the SHA-256 of the key's SubjectPublicKeyInfo in hex.
func keyID(k *ecdsa.PublicKey) (string, error) {
	b, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return "", fault.New(fault.Malformed, "key", "%w", err)
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:]), nil
}

// ID returns the key's id: the SHA-256 of its SubjectPublicKeyInfo.
func (k *Key) ID() string { return k.id }

// Keyring is the keys that are trusted, by id.
type Keyring map[string]*ecdsa.PublicKey

// Trusted returns the keys in dir: every file that ends in .pub.pem.
func Trusted(dir string) (Keyring, error) {
	ring := Keyring{}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Denied, dir, "%w", err)
	}
	for _, e := range entries {
		f := filepath.Join(dir, e.Name())
		if !strings.HasSuffix(f, publicSuffix) {
			continue
		}
		b, err := readLimited(f)
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode(b)
		if block == nil {
			return nil, fault.New(fault.Malformed, f, "it is not a PEM file")
		}
		k, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fault.New(fault.Malformed, f, "%w", err)
		}
		p, ok := k.(*ecdsa.PublicKey)
		if !ok || p.Curve != elliptic.P256() {
			return nil, fault.New(fault.Unsupported, f, "it is not an ECDSA P-256 key")
		}
		id, err := keyID(p)
		if err != nil {
			return nil, err
		}
		ring[id] = p
	}
	return ring, nil
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.Denied, path, "%w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fault.New(fault.Denied, path, "%w", err)
	}
	return b, nil
}
