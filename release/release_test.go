package release

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/fault"
	"muster/record"
	"muster/release/sign"
	"muster/release/store"
)

// fixture publishes a small release and returns what is needed to load it.
func fixture(t *testing.T, change func(*Release)) (*store.Store, sign.Keyring, *store.ReleaseRow, error) {
	t.Helper()
	ctx := context.Background()
	st, err := store.Open(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	key, err := sign.Open(st.KeysDir())
	if err != nil {
		t.Fatal(err)
	}
	put := func(kind, text string) record.Subject {
		s, err := st.PutBytes(ctx, kind, kind, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	r := &Release{Name: "digits", Model: put("model", "weights"), Files: map[string]record.Subject{FilePolicy: put(FilePolicy, "rules")},
		Verdict: record.Verdict{Version: 1, Outcome: record.Pass, Rules: []record.RuleResult{}}, Created: time.Unix(1, 0).UTC(), Approvals: []Approval{}}
	if change != nil {
		change(r)
	}
	row, err := Publish(ctx, st, key, r)
	ring, err2 := sign.Trusted(st.KeysDir())
	if err2 != nil {
		t.Fatal(err2)
	}
	return st, ring, row, err
}

func TestRoundTrip(t *testing.T) {
	st, ring, row, err := fixture(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"digits", "digits@1", string(row.Digest)} {
		l, err := Load(context.Background(), st, ring, ref)
		if err != nil {
			t.Fatal(ref, err)
		}
		if string(l.Model) != "weights" || string(l.Files[FilePolicy]) != "rules" || l.Release.Number != 1 {
			t.Errorf("%s: %+v", ref, l)
		}
	}
	if _, err := Load(context.Background(), st, ring, "digits@2"); fault.ClassOf(err) != fault.NotFound {
		t.Errorf("a release that does not exist: %v", err)
	}
	if _, err := Load(context.Background(), st, sign.Keyring{}, "digits"); fault.ClassOf(err) != fault.Denied || fault.HintOf(err) == "" {
		t.Errorf("an unknown key: %v", err)
	}
}

func TestVerdictIsNeeded(t *testing.T) {
	fail := func(r *Release) { r.Verdict.Outcome = record.Fail }
	if _, _, _, err := fixture(t, fail); fault.ClassOf(err) != fault.Denied {
		t.Errorf("a failed verdict: %v", err)
	}
	for _, a := range []Approval{{Who: "ada", Override: true}, {Reason: "x", Override: true}, {Who: "ada", Reason: "x"}} {
		if _, _, _, err := fixture(t, func(r *Release) { fail(r); r.Approvals = []Approval{a} }); err == nil {
			t.Errorf("%+v was enough", a)
		}
	}
	_, _, row, err := fixture(t, func(r *Release) { fail(r); r.Approvals = []Approval{{Who: "ada", Reason: "a drill", Override: true}} })
	if err != nil || !row.Override {
		t.Errorf("%v %+v", err, row)
	}
}

// TestTampering changes every blob of a release on disk, byte by byte class.
func TestTampering(t *testing.T) {
	st, ring, row, err := fixture(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = filepath.WalkDir(filepath.Join(st.Dir(), "blobs"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		orig, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		os.Chmod(path, 0o644)
		for _, at := range []int{0, len(orig) / 2, len(orig) - 1} {
			b := append([]byte{}, orig...)
			b[at] ^= 1
			if err := os.WriteFile(path, b, 0o644); err != nil {
				return err
			}
			if _, err := Load(context.Background(), st, ring, string(row.Digest)); fault.ClassOf(err) != fault.Denied {
				t.Errorf("byte %d of %s: %v", at, path, err)
			}
			n++
		}
		return os.WriteFile(path, orig, 0o644)
	})
	if err != nil || n != 9 {
		t.Fatal(err, n)
	}
	if _, err := Load(context.Background(), st, ring, "digits"); err != nil {
		t.Error(err)
	}
}

func TestStatementMustFit(t *testing.T) {
	r := &Release{Version: 1, Model: record.Subject{Digest: record.DigestBytes(nil)}, Approvals: []Approval{}}
	b, err := Statement(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseStatement(b); err != nil {
		t.Error(err)
	}
	other := record.DigestBytes([]byte("x")).Hex()
	changed := strings.Replace(string(b), r.Model.Digest.Hex(), other, 1)
	if _, err := ParseStatement([]byte(changed)); fault.ClassOf(err) != fault.Denied {
		t.Errorf("another subject: %v", err)
	}
}

func FuzzParseStatement(f *testing.F) {
	b, err := Statement(&Release{Version: 1, Model: record.Subject{Digest: record.DigestBytes(nil)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ParseStatement(b); err != nil && fault.ClassOf(err) == fault.Internal {
			t.Fatalf("an error without a class: %v", err)
		}
	})
}
