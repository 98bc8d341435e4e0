package sign

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
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
	if again, err := k.Sign(PayloadType, []byte(`{"a":1}`)); err != nil || string(again) != string(env) {
		t.Errorf("the same statement has two envelopes (%v)", err)
	}
	if err := os.Chmod(filepath.Join(dir, privateName), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); fault.ClassOf(err) != fault.Denied {
		t.Errorf("a key that everybody can read: %v", err)
	}
}

// pair returns a key, the keys that trust it and an envelope of payload.
func pair(t *testing.T, payloadType, payload string) (Keyring, []byte) {
	t.Helper()
	dir := t.TempDir()
	k, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := Trusted(dir)
	if err != nil {
		t.Fatal(err)
	}
	env, err := k.Sign(payloadType, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return ring, env
}

// TestEveryBit: no bit of an envelope can change without a refusal.
func TestEveryBit(t *testing.T) {
	ring, env := pair(t, PayloadType, `{"subject":[]}`)
	for i := range env {
		for bit := 0; bit < 8; bit++ {
			b := append([]byte{}, env...)
			b[i] ^= 1 << bit
			_, _, err := Verify(b, ring)
			if c := fault.ClassOf(err); err == nil || c != fault.Denied && c != fault.Malformed {
				t.Errorf("bit %d of byte %d (%q to %q): %v", bit, i, env[i], b[i], err)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	ring, env := pair(t, PayloadType, `{}`)
	_, other := pair(t, PayloadType, `{}`)
	edit := func(old, new string) []byte { return []byte(strings.Replace(string(env), old, new, 1)) }
	var e envelope
	if err := json.Unmarshal(env, &e); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env  []byte
		want fault.Class
	}{
		"unknown key":     {other, fault.Denied},
		"other payload":   {edit(`"payload":"e30="`, `"payload":"e31="`), fault.Malformed}, // stray bits after the last byte
		"repeated member": {edit(`"payload":"e30="`, `"payload":"e31=","payload":"e30="`), fault.Malformed},
		"misspelt member": {edit(`"payload":`, `"Payload":`), fault.Malformed},
		"unknown member":  {edit(`{"payloadType"`, `{"x":1,"payloadType"`), fault.Malformed},
		"no signature":    {[]byte(`{"payloadType":"t","payload":"","signatures":[]}`), fault.Malformed},
		"trailing bytes":  {append(append([]byte{}, env...), "{}"...), fault.Malformed},
		"empty":           {nil, fault.Malformed},
		"too large":       {make([]byte, maxEnvelope+1), fault.Exhausted},
	} {
		if _, _, err := Verify(c.env, ring); fault.ClassOf(err) != c.want || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := Verify([]byte(" "+strings.ReplaceAll(string(env), ",", ",\n ")), ring); err != nil {
		t.Errorf("white space alone: %v", err)
	}
	if ring, env := pair(t, "text/plain", "{}"); true {
		if _, _, err := Verify(env, ring); fault.ClassOf(err) != fault.Denied {
			t.Errorf("another payload type, properly signed: %v", err)
		}
	}
	if _, _, err := Verify(other, ring); !strings.Contains(fault.HintOf(err), publicSuffix) {
		t.Errorf("an unknown key does not say how to trust it: %q", fault.HintOf(err))
	}
}

// TestOpenSSL checks a signature with an implementation that shares nothing with Go's.
func TestOpenSSL(t *testing.T) {
	tool, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	k, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	env, err := k.Sign(PayloadType, []byte(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	var e envelope
	if err := json.Unmarshal(env, &e); err != nil {
		t.Fatal(err)
	}
	sig, _ := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
	in, out := filepath.Join(dir, "pae"), filepath.Join(dir, "sig")
	for path, b := range map[string][]byte{in: []byte("DSSEv1 28 " + PayloadType + ` 7 {"a":1}`), out: sig} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	verify := func() (string, error) {
		b, err := exec.Command(tool, "dgst", "-sha256", "-verify", filepath.Join(dir, "release.pub.pem"), "-signature", out, in).CombinedOutput()
		return string(b), err
	}
	if s, err := verify(); err != nil || !strings.Contains(s, "Verified OK") {
		t.Errorf("openssl says %q (%v)", s, err)
	}
	os.WriteFile(in, []byte("something else"), 0o600)
	if s, err := verify(); err == nil {
		t.Errorf("openssl accepts another text: %q", s)
	}
	// The id of a key is the digest of its DER, which openssl writes too.
	der, err := exec.Command(tool, "pkey", "-pubin", "-in", filepath.Join(dir, "release.pub.pem"), "-outform", "DER").Output()
	if h := sha256.Sum256(der); err != nil || hex.EncodeToString(h[:]) != k.ID() {
		t.Errorf("key id %s, by openssl %x (%v)", k.ID(), h, err)
	}
}

// TestFirstUse: many first users get one key, and a lost public key comes back.
func TestFirstUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			if k, err := Open(dir); err != nil {
				t.Error(err)
			} else {
				ids[i] = k.ID()
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("two keys were made: %v", ids)
		}
	}
	public := filepath.Join(dir, "release.pub.pem")
	if err := os.Remove(public); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err != nil {
		t.Fatal(err)
	}
	if ring, err := Trusted(dir); err != nil || ring[ids[0]] == nil {
		t.Errorf("the key does not trust itself after its public half was lost: %v", err)
	}
	left, _ := os.ReadDir(dir)
	if len(left) != 2 {
		t.Errorf("files left behind: %v", left)
	}
	if st, err := os.Stat(filepath.Join(dir, privateName)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode of the private key: %v %v", st.Mode(), err)
	}
}

func TestBadKeyFiles(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want fault.Class
	}{
		"no PEM":    {"hello", fault.Malformed},
		"empty":     {"", fault.Malformed},
		"not a key": {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", fault.Malformed},
	} {
		dir := t.TempDir()
		for _, f := range []string{privateName, "x" + publicSuffix} {
			if err := os.WriteFile(filepath.Join(dir, f), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Open(dir); fault.ClassOf(err) != c.want {
			t.Errorf("private key, %s: %v", name, err)
		}
		if _, err := Trusted(dir); fault.ClassOf(err) != c.want {
			t.Errorf("public key, %s: %v", name, err)
		}
	}
	if ring, err := Trusted(filepath.Join(t.TempDir(), "none")); err != nil || len(ring) != 0 {
		t.Errorf("a folder that is not there: %v %v", ring, err)
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
