package serve

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"muster/fault"
)

// Keys are the API keys of a server. Only their SHA-256 is kept: a key is 256
// random bits, so that a plain hash is enough.
type Keys struct{ hashes [][sha256.Size]byte }

// keyFile is the content of the file that holds them.
type keyFile struct {
	Version int      `json:"version"`
	SHA256  []string `json:"sha256"`
}

// OpenKeys reads the keys file, or makes it with one new key. The new key is
// returned once and is not stored; "" if the file was there.
func OpenKeys(path string) (*Keys, string, error) {
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return newKeys(path)
	}
	if err != nil {
		return nil, "", fault.New(fault.Internal, path, "%w", err)
	}
	var f keyFile
	if err := json.Unmarshal(b, &f); err != nil || f.Version != 1 || len(f.SHA256) == 0 {
		return nil, "", fault.New(fault.Malformed, path, "it is not a file of API keys").WithHint("delete it; the next start makes a new key")
	}
	k := &Keys{}
	for _, h := range f.SHA256 {
		var d [sha256.Size]byte
		if n, err := hex.Decode(d[:], []byte(h)); err != nil || n != len(d) {
			return nil, "", fault.New(fault.Malformed, path, "%q is not a SHA-256", h)
		}
		k.hashes = append(k.hashes, d)
	}
	return k, "", nil
}

func newKeys(path string) (*Keys, string, error) {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails since Go 1.24
	key := "mk_" + base64.RawURLEncoding.EncodeToString(raw)
	h := sha256.Sum256([]byte(key))
	b, err := json.Marshal(keyFile{1, []string{hex.EncodeToString(h[:])}})
	if err != nil {
		return nil, "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, "", fault.New(fault.Internal, path, "%w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, "", fault.New(fault.Internal, path, "%w", err)
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		os.Remove(path)
		return nil, "", fault.New(fault.Exhausted, path, "%w", err)
	}
	return &Keys{[][sha256.Size]byte{h}}, key, nil
}

// allow reports whether key is one of the keys, in time that does not depend on it.
func (k *Keys) allow(key string) bool {
	h, ok := sha256.Sum256([]byte(key)), 0
	for i := range k.hashes {
		ok |= subtle.ConstantTimeCompare(h[:], k.hashes[i][:])
	}
	return ok == 1
}

// keyed lets a request through only with a key: "Authorization: Bearer KEY",
// "X-API-Key: KEY", or Basic authentication with the key as password (browsers).
func (s *Server) keyed(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.cfg.Keys != nil && !s.cfg.Keys.allow(keyOf(r)) {
			s.fail(w, r, fault.New(fault.Denied, "key", "the API key is missing or wrong").
				WithHint("send the header Authorization: Bearer KEY; the key was printed when the server started for the first time"))
			return
		}
		h(w, r)
	}
}

func keyOf(r *http.Request) string {
	if k := r.Header.Get("X-API-Key"); k != "" {
		return k
	}
	if k, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return k
	}
	_, k, _ := r.BasicAuth()
	return k
}
