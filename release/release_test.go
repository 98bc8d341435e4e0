package release

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
	r.Verdict.Candidate = r.Model
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

// TestRowTampering edits every column of the store's row, and the pointer, behind the store's back.
func TestRowTampering(t *testing.T) {
	ctx := context.Background()
	st, ring, row, err := fixture(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Move(ctx, store.MoveRequest{Pointer: "digits/production", To: row.Digest, Act: store.ActRelease, Actor: "ada", Reason: "first"}); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(st.Dir(), "muster.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	other := string(record.DigestBytes([]byte("other")))
	for _, c := range []struct{ table, column, value string }{
		{"release_row", "version", "7"}, {"release_row", "model", other}, {"release_row", "verdict", "fail"},
		{"release_row", "override", "1"}, {"release_row", "key_id", "x"}, {"release_row", "previous", other},
		{"release_row", "created", "2001-01-01T00:00:00.000000000Z"}, {"pointer", "digest", other}, {"pointer", "seq", "1"},
		{"log", "body", `{"from":"","to":"` + other + `"}`}, {"log", "hash", other}, {"log", "subject", "digits/shadow"},
	} {
		where := ""
		if c.table == "log" {
			where = " WHERE kind = 'move'"
		}
		var old string
		if err := db.QueryRow("SELECT " + c.column + " FROM " + c.table + where).Scan(&old); err != nil {
			t.Fatal(err)
		}
		set := func(v string) {
			if _, err := db.Exec("UPDATE "+c.table+" SET "+c.column+" = ?"+where, v); err != nil {
				t.Fatal(err)
			}
		}
		set(c.value)
		if _, err := Load(ctx, st, ring, "digits/production"); fault.ClassOf(err) != fault.Denied {
			t.Errorf("%s.%s changed: %v", c.table, c.column, err)
		}
		if rep, err := st.Check(ctx); err != nil || rep.Sound() {
			t.Errorf("%s.%s changed: the check finds nothing (%v)", c.table, c.column, err)
		}
		set(old)
		if l, err := Load(ctx, st, ring, "digits/production"); err != nil || string(l.Model) != "weights" {
			t.Fatalf("%s.%s put back: %v", c.table, c.column, err)
		}
	}
}

// TestForeignStatements signs with the trusted key what Publish would refuse: Load refuses it too.
func TestForeignStatements(t *testing.T) {
	ctx := context.Background()
	st, ring, row, err := fixture(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.Open(st.KeysDir())
	if err != nil {
		t.Fatal(err)
	}
	other, err := st.PutBytes(ctx, "model", "other", []byte("other weights"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Release){
		"failed verdict":          func(r *Release) { r.Verdict.Outcome = record.Fail },
		"verdict on other model":  func(r *Release) { r.Verdict.Candidate = other },
		"a model swapped in":      func(r *Release) { r.Model = other },
		"a model that is missing": func(r *Release) { r.Files["extra"] = record.Subject{Digest: record.DigestBytes([]byte("gone"))} },
	} {
		l, err := Load(ctx, st, ring, string(row.Digest))
		if err != nil {
			t.Fatal(err)
		}
		r := l.Release
		r.Name = "evil-" + strings.ReplaceAll(name, " ", "-")
		change(r)
		r.Number, r.Previous = 1, ""
		payload, err := Statement(r)
		if err != nil {
			t.Fatal(err)
		}
		env, err := key.Sign(sign.PayloadType, payload)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := st.PutBytes(ctx, "release", r.Name, env)
		if err != nil {
			t.Fatal(err)
		}
		err = st.PutRelease(ctx, &store.ReleaseRow{Digest: sub.Digest, Name: r.Name, Version: 1, Model: r.Model.Digest, Verdict: r.Verdict.Outcome,
			Override: r.Verdict.Outcome != record.Pass, KeyID: key.ID(), Created: r.Created})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Load(ctx, st, ring, r.Name); fault.ClassOf(err) != fault.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestConcurrentPublish: publishers of one name get numbers without gaps, each naming the one before.
func TestConcurrentPublish(t *testing.T) {
	ctx := context.Background()
	st, ring, _, err := fixture(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.Open(st.KeysDir())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			m, err := st.PutBytes(ctx, "model", "m", []byte{byte(i)})
			if err != nil {
				t.Error(err)
				return
			}
			_, err = Publish(ctx, st, key, &Release{Name: "digits", Model: m, Verdict: record.Verdict{Outcome: record.Pass, Candidate: m}, Created: time.Unix(2, 0)})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	prev := record.Digest("")
	for n := 1; n <= 5; n++ {
		l, err := Load(ctx, st, ring, fmt.Sprintf("digits@%d", n))
		if err != nil {
			t.Fatal(err)
		}
		if l.Release.Previous != prev {
			t.Errorf("release %d follows %s, want %s", n, l.Release.Previous.Short(), prev.Short())
		}
		prev = l.Row.Digest
	}
}

// TestStatementForm pins the names that in-toto's Statement v1 prescribes
// (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md).
func TestStatementForm(t *testing.T) {
	m := record.Subject{Kind: "model", Name: "m", Digest: record.DigestBytes(nil)}
	b, err := Statement(&Release{Version: 1, Name: "m", Model: m})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Type    string `json:"_type"`
		Subject []struct {
			Name   string            `json:"name"`
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
		PredicateType string          `json:"predicateType"`
		Predicate     json.RawMessage `json:"predicate"`
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil {
		t.Fatal(err)
	}
	const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // FIPS 180-4 test vector
	if got.Type != "https://in-toto.io/Statement/v1" || got.PredicateType != "urn:muster:release:v1" || len(got.Subject) != 1 ||
		got.Subject[0].Digest["sha256"] != emptySHA256 || len(got.Predicate) == 0 {
		t.Errorf("%s", b)
	}
	if _, err := ParseStatement(append(b, "{}"...)); fault.ClassOf(err) != fault.Malformed {
		t.Errorf("trailing bytes: %v", err)
	}
	if _, err := ParseStatement([]byte(strings.Replace(string(b), `"version":1`, `"version":2`, 1))); fault.ClassOf(err) != fault.Unsupported {
		t.Errorf("a newer version: %v", err)
	}
	if _, err := ParseStatement([]byte(strings.Replace(string(b), PredicateType, "urn:other", 1))); fault.ClassOf(err) != fault.Malformed {
		t.Errorf("another predicate: %v", err)
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
