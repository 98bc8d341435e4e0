package record

import (
	"bytes"
	"encoding/json"
	"math"
	"sort"
	"strconv"
	"strings"
	"unicode/utf16"

	"muster/fault"
)

// Canonical returns the RFC 8785 (JCS) form of v: keys sorted by UTF-16 code
// units, shortest round-trip numbers, no white space. Two records with the same
// content have the same canonical bytes, so their digests can be compared.
// Integers beyond 2^53 must be strings in v, as the RFC demands.
func Canonical(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fault.New(fault.Numeric, "", "record: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var x any
	if err := dec.Decode(&x); err != nil {
		return nil, fault.New(fault.Malformed, "", "record: %w", err)
	}
	var b bytes.Buffer
	if err := canon(&b, x); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// DigestOf returns the digest of the canonical form of v.
func DigestOf(v any) (Digest, error) {
	b, err := Canonical(v)
	if err != nil {
		return "", err
	}
	return DigestBytes(b), nil
}

func canon(b *bytes.Buffer, x any) error {
	switch x := x.(type) {
	case map[string]any:
		return canonObject(b, x)
	case []any:
		b.WriteByte('[')
		for i, e := range x {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := canon(b, e); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case json.Number:
		s, err := canonNumber(x)
		if err != nil {
			return err
		}
		b.WriteString(s)
	case string:
		canonString(b, x)
	case bool:
		b.WriteString(strconv.FormatBool(x))
	case nil:
		b.WriteString("null")
	}
	return nil
}

func canonObject(b *bytes.Buffer, m map[string]any) error {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool { return utf16Less(keys[i], keys[j]) })
	b.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		canonString(b, k)
		b.WriteByte(':')
		if err := canon(b, m[k]); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func utf16Less(a, b string) bool {
	x, y := utf16.Encode([]rune(a)), utf16.Encode([]rune(b))
	for i := 0; i < len(x) && i < len(y); i++ {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return len(x) < len(y)
}

// canonNumber formats n as ECMAScript's Number.prototype.toString does.
func canonNumber(n json.Number) (string, error) {
	f, err := n.Float64()
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return "", fault.New(fault.Numeric, "", "record: number %s is not finite in float64", n)
	}
	s := formatNumber(f)
	if math.Abs(f) >= 1<<53 && s != n.String() && isInteger(n.String()) {
		return "", fault.New(fault.Numeric, "", "record: integer %s is beyond 2^53; store it as a string", n)
	}
	return s, nil
}

// isInteger reports whether the literal has no fraction and no exponent, so
// that its writer meant every digit.
func isInteger(s string) bool { return !strings.ContainsAny(s, ".eE") }

func formatNumber(f float64) string {
	if f == 0 {
		return "0"
	}
	abs := math.Abs(f)
	if abs >= 1e21 || abs < 1e-6 {
		s := strconv.FormatFloat(f, 'e', -1, 64) // 1e-07 -> 1e-7
		for i := len(s) - 2; i > 0; i-- {
			if (s[i] == '-' || s[i] == '+') && s[i-1] == 'e' {
				exp := s[i+1:]
				for len(exp) > 1 && exp[0] == '0' {
					exp = exp[1:]
				}
				return s[:i+1] + exp
			}
		}
		return s
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

const hexDigits = "0123456789abcdef"

func canonString(b *bytes.Buffer, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20:
			b.WriteString(`\u00`)
			b.WriteByte(hexDigits[r>>4])
			b.WriteByte(hexDigits[r&15])
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}
