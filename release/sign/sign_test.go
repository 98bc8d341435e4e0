package sign

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"muster/fault"
)

func TestSignAndVerify(t *testing.T) {
	dir := t.TempDir()
	k, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir)
	if err != nil || again.ID() != k.ID() {
		t.Fatalf("the key is not kept: %v", err)
	}
	ring, err := Trusted(dir)
	if err != nil {
		t.Fatal(err)
	}
	env, err := k.Sign(PayloadType, []byte(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	p, id, err := Verify(env, ring)
	if err != nil || string(p) != `{"a":1}` || id != k.ID() {
		t.Fatalf("%s %s %v", p, id, err)
	}
	// The encoding that is signed, as the specification's example writes it.
	if s := string(pae("http://example.com/HelloWorld", []byte("hello world"))); s != "DSSEv1 29 http://example.com/HelloWorld 11 hello world" {
		t.Errorf("pre-authentication encoding %q", s)
	}
	var e envelope
	if err := json.Unmarshal(env, &e); err != nil {
		t.Fatal(err)
	}
	sig, _ := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
	h := sha256.Sum256([]byte("DSSEv1 28 " + PayloadType + ` 7 {"a":1}`))
	if !ecdsa.VerifyASN1(ring[id], h[:], sig) {
		t.Error("the signature does not verify by the bare algorithm")
	}
	for i := range env {
		b := append([]byte{}, env...)
		b[i] ^= 4
		if p, _, err := Verify(b, ring); err == nil && string(p) == `{"a":1}` && json.Valid(b) {
			var f envelope
			if json.Unmarshal(b, &f) == nil && (f.Payload != e.Payload || f.PayloadType != e.PayloadType || f.Signatures[0] != e.Signatures[0]) {
				t.Errorf("byte %d was changed and nobody noticed", i)
			}
		} else if err != nil && fault.ClassOf(err) == fault.Internal {
			t.Errorf("byte %d: %v has no class", i, err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, privateName), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); fault.ClassOf(err) != fault.Denied {
		t.Errorf("a key that everybody can read: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	dir := f.TempDir()
	k, err := Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	ring, err := Trusted(dir)
	if err != nil {
		f.Fatal(err)
	}
	env, err := k.Sign(PayloadType, []byte("payload"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(env)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, _, err := Verify(b, ring)
		if err == nil && string(p) != "payload" {
			t.Fatalf("%q was never signed", p)
		}
		if err != nil && fault.ClassOf(err) == fault.Internal {
			t.Fatalf("an error without a class: %v", err)
		}
	})
}
