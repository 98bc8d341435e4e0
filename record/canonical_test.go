package record

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"muster/fault"
)

// The examples of RFC 8785, sections 3.2.2 (serialization) and 3.2.3 (sorting).
func TestRFC8785Examples(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{
  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
  "literals": [null, true, false]
}`, `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`},
		{`{
  "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh",
  "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"
}`, "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\"," +
			"\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}"},
		{`[56, {"d": true, "10": null, "1": []}, "<&>\u2028\b\f\t"]`, "[56,{\"1\":[],\"10\":null,\"d\":true},\"<&>\u2028\\b\\f\\t\"]"},
	} {
		got, err := Canonical(json.RawMessage(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("Canonical(%s)\n got %s, %v\nwant %s", c.in, got, err, c.want)
		}
	}
}

// RFC 8785, appendix B: IEEE 754 bits and their JSON form.
func TestRFC8785Numbers(t *testing.T) {
	for _, c := range []struct {
		bits uint64
		want string
	}{
		{0x0000000000000000, "0"}, {0x8000000000000000, "0"},
		{0x0000000000000001, "5e-324"}, {0x8000000000000001, "-5e-324"},
		{0x7fefffffffffffff, "1.7976931348623157e+308"}, {0xffefffffffffffff, "-1.7976931348623157e+308"},
		{0x4340000000000000, "9007199254740992"}, {0xc340000000000000, "-9007199254740992"},
		{0x4430000000000000, "295147905179352830000"},
		{0x44b52d02c7e14af5, "9.999999999999997e+22"}, {0x44b52d02c7e14af6, "1e+23"}, {0x44b52d02c7e14af7, "1.0000000000000001e+23"},
		{0x444b1ae4d6e2ef4e, "999999999999999700000"}, {0x444b1ae4d6e2ef4f, "999999999999999900000"}, {0x444b1ae4d6e2ef50, "1e+21"},
		{0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"}, {0x3eb0c6f7a0b5ed8d, "0.000001"},
		{0x41b3de4355555553, "333333333.3333332"}, {0x41b3de4355555554, "333333333.33333325"},
		{0x41b3de4355555555, "333333333.3333333"}, {0x41b3de4355555556, "333333333.3333334"}, {0x41b3de4355555557, "333333333.33333343"},
		{0xbecbf647612f3696, "-0.0000033333333333333333"}, {0x43143ff3c1cb0959, "1424953923781206.2"},
	} {
		f := math.Float64frombits(c.bits)
		got, err := Canonical(f)
		if err != nil || string(got) != c.want {
			t.Errorf("Canonical(%#x) = %s, %v; want %s", c.bits, got, err, c.want)
		}
		again, err := Canonical(json.RawMessage(c.want))
		if err != nil || string(again) != c.want {
			t.Errorf("Canonical of the text %s = %s, %v", c.want, again, err)
		}
	}
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if _, err := Canonical(f); fault.ClassOf(err) != fault.Numeric {
			t.Errorf("Canonical(%v): error %v, want class numeric", f, err)
		}
	}
}

// An integer that float64 cannot hold must not change silently.
func TestLargeIntegers(t *testing.T) {
	for _, v := range []any{int64(1<<53 + 1), int64(math.MinInt64 + 1), uint64(math.MaxUint64), json.RawMessage("123456789012345678901234567890")} {
		if got, err := Canonical(v); fault.ClassOf(err) != fault.Numeric {
			t.Errorf("Canonical(%v) = %s, %v; want a numeric error", v, got, err)
		}
	}
	for _, v := range []any{int64(1 << 53), int64(-1 << 53), 1e17, 1.2345678901234567e18, json.RawMessage("1e400")} {
		got, err := Canonical(v)
		if _, raw := v.(json.RawMessage); raw != (err != nil) {
			t.Errorf("Canonical(%v) = %s, %v", v, got, err)
		}
	}
}

func TestDigests(t *testing.T) {
	a, err := DigestOf(map[string]any{"b": 1, "a": []float64{0.5}})
	if err != nil {
		t.Fatal(err)
	}
	if b := DigestBytes([]byte(`{"a":[0.5],"b":1}`)); a != b || !a.Valid() || len(a.Hex()) != 64 || len(a.Short()) != 12 {
		t.Errorf("digest %s, want %s", a, b)
	}
	// FIPS 180-2: SHA-256 of "abc".
	d := DigestBytes([]byte("abc"))
	if d != "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("DigestBytes = %s", d)
	}
	for _, bad := range []Digest{"", "sha256:", "sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", d + "0", "sha512" + d[6:]} {
		if bad.Valid() {
			t.Errorf("%q counts as valid", bad)
		}
	}
}

func TestRecordRoundTrip(t *testing.T) {
	m := Measurement{Name: "accuracy", Check: "accuracy", Version: 1, Value: Val(0.96), Direction: Higher, N: 360,
		Interval: &Interval{Low: 0.93, High: 0.98, Level: 0.95, Method: "wilson"}, Settings: map[string]any{"z": 1.5, "a": "x"}, Detail: json.RawMessage(`{"k": [1, 2]}`)}
	first, err := Canonical(m)
	if err != nil {
		t.Fatal(err)
	}
	var back Measurement
	if err := json.Unmarshal(first, &back); err != nil {
		t.Fatal(err)
	}
	second, err := Canonical(back)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("round trip changed the record:\n%s\n%s\n%v", first, second, err)
	}
}

// FuzzCanonical: whatever has a canonical form, that form is JSON with the same
// content and is its own canonical form.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{`{}`, `[1e5,-0,1.0,9007199254740993]`, `{"a":1,"a":2}`, `"\ud800"`, `{"\u0000":"\u007f"}`, `1e17`, `123456789012345680000`, `[[[[]]]]`, "\"\xff\"", `null`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		once, err := Canonical(json.RawMessage(in))
		if err != nil {
			if fault.ClassOf(err) == fault.Internal {
				t.Fatalf("error without a class: %v", err)
			}
			return
		}
		if !json.Valid(once) {
			t.Fatalf("not JSON: %q", once)
		}
		twice, err := Canonical(json.RawMessage(once))
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("not idempotent: %q, then %q, %v", once, twice, err)
		}
	})
}
