// Package sign makes and checks signatures: ECDSA P-256 keys kept in files, and
// DSSE envelopes (https://github.com/secure-systems-lab/dsse, protocol 1.0.2).
package sign

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"muster/fault"
)

// PayloadType is the type of the payloads that Muster signs.
const PayloadType = "application/vnd.in-toto+json"

// maxEnvelope bounds an envelope in bytes.
const maxEnvelope = 64 << 20

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

// Open reads the signing key in dir, and makes one on first use.
func Open(dir string) (*Key, error) {
	path := filepath.Join(dir, privateName)
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		if err := create(dir, path); err != nil {
			return nil, err
		}
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fault.New(fault.Denied, path, "%w", err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.Denied, path, "others can read the signing key").WithHint("chmod 600 %s, and make a new key if somebody may have copied it", path)
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
	return &Key{p, id}, err
}

// create writes a new key pair; another process that is faster wins.
func create(dir, path string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.New(fault.Denied, dir, "%w", err)
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	priv, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return err
	}
	pub, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".key.*") // mode 0600
	if err != nil {
		return fault.New(fault.Exhausted, dir, "%w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: priv}))
	if err == nil {
		err = tmp.Sync()
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fault.New(fault.Exhausted, path, "%w", err)
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		if os.IsExist(err) {
			return nil
		}
		return fault.New(fault.Exhausted, path, "%w", err)
	}
	return os.WriteFile(strings.TrimSuffix(path, ".key.pem")+publicSuffix, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}), 0o644)
}

// keyID is the SHA-256 of the key's SubjectPublicKeyInfo in hex.
func keyID(k *ecdsa.PublicKey) (string, error) {
	b, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return "", err
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
	files, err := filepath.Glob(filepath.Join(dir, "*"+publicSuffix))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, fault.New(fault.Denied, f, "%w", err)
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

// envelope is a DSSE envelope.
type envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     string      `json:"payload"` // base64
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"` // base64 of the ASN.1 signature
}

// pae is the pre-authentication encoding: what is signed.
func pae(payloadType string, payload []byte) []byte {
	return append([]byte(fmt.Sprintf("DSSEv1 %d %s %d ", len(payloadType), payloadType, len(payload))), payload...)
}

// Sign returns the DSSE envelope of payload.
func (k *Key) Sign(payloadType string, payload []byte) ([]byte, error) {
	h := sha256.Sum256(pae(payloadType, payload))
	sig, err := ecdsa.SignASN1(rand.Reader, k.private, h[:])
	if err != nil {
		return nil, err
	}
	return json.Marshal(envelope{payloadType, base64.StdEncoding.EncodeToString(payload),
		[]signature{{k.id, base64.StdEncoding.EncodeToString(sig)}}})
}

// Verify returns the payload of an envelope that a trusted key signed, and the key's id.
func Verify(b []byte, ring Keyring) (payload []byte, id string, err error) {
	if len(b) > maxEnvelope {
		return nil, "", fault.New(fault.Exhausted, "envelope", "%d bytes, the limit is %d", len(b), maxEnvelope)
	}
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, "", fault.New(fault.Malformed, "envelope", "%w", err)
	}
	if e.PayloadType != PayloadType || len(e.Signatures) == 0 || len(e.Signatures) > 16 {
		return nil, "", fault.New(fault.Malformed, "envelope", "payload type %q with %d signatures", e.PayloadType, len(e.Signatures))
	}
	if payload, err = base64.StdEncoding.Strict().DecodeString(e.Payload); err != nil {
		return nil, "", fault.New(fault.Malformed, "envelope", "payload: %w", err)
	}
	h := sha256.Sum256(pae(e.PayloadType, payload))
	known := false
	for _, s := range e.Signatures {
		k := ring[s.KeyID]
		if k == nil {
			continue
		}
		known = true
		sig, err := base64.StdEncoding.Strict().DecodeString(s.Sig)
		if err == nil && ecdsa.VerifyASN1(k, h[:], sig) {
			return payload, s.KeyID, nil
		}
	}
	if known {
		return nil, "", fault.New(fault.Denied, "signature", "it does not fit the statement: one of them was changed").
			WithHint("restore the release from a copy; do not serve it")
	}
	return nil, "", fault.New(fault.Denied, "signature", "no trusted key made it (key %.16s)", e.Signatures[0].KeyID).
		WithHint("if you trust the signer, put the public key into the store's folder keys as NAME%s", publicSuffix)
}
