package sign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"muster/fault"
)

// PayloadType is the type of the payloads that Muster signs.
const PayloadType = "application/vnd.in-toto+json"

// Limits of an envelope.
const (
	maxEnvelope   = 64 << 20 // bytes
	maxSignatures = 16
)

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

// Sign returns the DSSE envelope of payload. The nonce is derived from key and
// content (RFC 6979), so the same statement has the same envelope and digest,
// and no weak random source can give the key away.
func (k *Key) Sign(payloadType string, payload []byte) ([]byte, error) {
	h := sha256.Sum256(pae(payloadType, payload))
	sig, err := k.private.Sign(nil, h[:], crypto.SHA256)
	if err != nil {
		return nil, fault.New(fault.Internal, "signature", "sign: %w", err)
	}
	b, err := json.Marshal(envelope{payloadType, base64.StdEncoding.EncodeToString(payload),
		[]signature{{k.id, base64.StdEncoding.EncodeToString(sig)}}})
	if err != nil {
		return nil, fault.New(fault.Internal, "envelope", "sign: %w", err)
	}
	if len(b) > maxEnvelope {
		return nil, fault.New(fault.Exhausted, "envelope", "%d bytes, the limit is %d", len(b), maxEnvelope).
			WithHint("keep large details in files of the release, not in its statement")
	}
	return b, nil
}

// parse reads an envelope in the one form that Sign writes, white space aside.
// encoding/json alone would also take other spellings of a name and the last
// of several members of one name, so that two readers could see two envelopes.
func parse(b []byte) (*envelope, error) {
	if len(b) > maxEnvelope {
		return nil, fault.New(fault.Exhausted, "envelope", "%d bytes, the limit is %d", len(b), maxEnvelope)
	}
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fault.New(fault.Malformed, "envelope", "%w", err).WithHint("a release is a DSSE envelope in JSON")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		return nil, fault.New(fault.Malformed, "envelope", "%w", err)
	}
	if again, err := json.Marshal(e); err != nil || !bytes.Equal(again, compact.Bytes()) {
		return nil, fault.New(fault.Malformed, "envelope", "it has unknown, repeated or misspelt members").
			WithHint("payloadType, payload, signatures with keyid and sig, in this order, once each")
	}
	if len(e.Signatures) == 0 || len(e.Signatures) > maxSignatures {
		return nil, fault.New(fault.Malformed, "envelope", "it has %d signatures; 1 to %d are read", len(e.Signatures), maxSignatures)
	}
	return &e, nil
}

// Verify returns the payload of an envelope that a trusted key signed, and the
// key's id. The error is of class malformed for what is no envelope, denied for
// an unknown key, a signature that does not fit, or another payload type.
func Verify(b []byte, ring Keyring) (payload []byte, id string, err error) {
	e, err := parse(b)
	if err != nil {
		return nil, "", err
	}
	if payload, err = base64.StdEncoding.Strict().DecodeString(e.Payload); err != nil {
		return nil, "", fault.New(fault.Malformed, "envelope", "payload: %w", err)
	}
	if id, err = e.signer(payload, ring); err != nil {
		return nil, "", err
	}
	// After the signature, so that a changed type shows as what it is: a change.
	if e.PayloadType != PayloadType {
		return nil, "", fault.New(fault.Denied, "envelope", "payload type is %q, not %q", clip(e.PayloadType), PayloadType).
			WithHint("the key signed something else than a release")
	}
	return payload, id, nil
}

// signer returns the id of the first trusted key whose signature fits.
func (e *envelope) signer(payload []byte, ring Keyring) (string, error) {
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
			return s.KeyID, nil
		}
	}
	if known {
		return "", fault.New(fault.Denied, "signature", "it does not fit the statement: one of them was changed").
			WithHint("restore the release from a copy; do not serve it")
	}
	return "", fault.New(fault.Denied, "signature", "no trusted key made it (key %.16s)", e.Signatures[0].KeyID).
		WithHint("if you trust the signer, put the public key into the store's folder keys as NAME%s", publicSuffix)
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
