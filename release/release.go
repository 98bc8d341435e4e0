// Package release binds artifact, measurements and verdict under a signature: an
// in-toto statement in a DSSE envelope, kept by digest. Serving loads nothing else.
package release

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"muster/fault"
	"muster/record"
	"muster/release/sign"
	"muster/release/store"
)

// Types of the statement.
const (
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "urn:muster:release:v1"
)

// Roles of the files that a release carries beside the model.
const (
	FilePolicy    = "policy"
	FileReference = "reference" // what clean traffic looks like
	FileLedger    = "ledger"
	FileProbe     = "probe" // inputs and outputs that are run again when the model is loaded
	FileCard      = "card.md"
	FilePage      = "card.html"
	FileMLBOM     = "mlbom"
)

// Port is an input or output of the model.
type Port struct {
	Name  string   `json:"name"`
	DType string   `json:"dtype"`
	Shape []string `json:"shape"`
}

// Approval is a recorded act of a named person or key.
type Approval struct {
	Who      string    `json:"who"`
	KeyID    string    `json:"key_id"`
	Time     time.Time `json:"time"`
	Reason   string    `json:"reason"`
	Override bool      `json:"override"` // against the verdict
}

// Release is the predicate of the statement.
type Release struct {
	Version      int                       `json:"version"`
	Name         string                    `json:"name"`
	Number       int                       `json:"number"` // 1, 2, ... per name
	Model        record.Subject            `json:"model"`
	Inputs       []Port                    `json:"inputs"`
	Outputs      []Port                    `json:"outputs"`
	Files        map[string]record.Subject `json:"files"`
	Data         []record.Subject          `json:"data"`
	Temperature  float64                   `json:"temperature"`
	Settings     map[string]any            `json:"settings"` // all that is needed to measure again
	Policy       record.Subject            `json:"policy"`
	Verdict      record.Verdict            `json:"verdict"`
	Measurements []record.Measurement      `json:"measurements"`
	Baseline     *record.Subject           `json:"baseline,omitempty"`
	Approvals    []Approval                `json:"approvals"`
	Code         string                    `json:"code"`
	Host         record.Host               `json:"host"`
	Previous     record.Digest             `json:"previous,omitempty"`
	Created      time.Time                 `json:"created"`
}

// statement is an in-toto Statement v1.
type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     *Release  `json:"predicate"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// subjects lists the model and the files of r, sorted by role.
func (r *Release) subjects() []subject {
	out := []subject{{"model", map[string]string{"sha256": hexOf(r.Model.Digest)}}}
	for _, role := range r.roles() {
		out = append(out, subject{role, map[string]string{"sha256": hexOf(r.Files[role].Digest)}})
	}
	return out
}

func hexOf(d record.Digest) string {
	if !d.Valid() {
		return ""
	}
	return d.Hex()
}

func (r *Release) roles() []string {
	var roles []string
	for role := range r.Files {
		roles = append(roles, role)
	}
	sort.Strings(roles)
	return roles
}

// Statement returns the in-toto statement of r in canonical JSON.
func Statement(r *Release) ([]byte, error) {
	return record.Canonical(statement{StatementType, r.subjects(), PredicateType, r})
}

// ParseStatement reads a statement and checks that its subjects are those of the release.
func ParseStatement(b []byte) (*Release, error) {
	var s statement
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return nil, fault.New(fault.Malformed, "statement", "%w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fault.New(fault.Malformed, "statement", "something follows it")
	}
	if s.Type != StatementType || s.PredicateType != PredicateType || s.Predicate == nil {
		return nil, fault.New(fault.Malformed, "statement", "type %q, predicate type %q", s.Type, s.PredicateType)
	}
	r := s.Predicate
	if r.Version != record.Version {
		return nil, fault.New(fault.Unsupported, "statement", "version %d", r.Version).WithHint("a newer Muster wrote it")
	}
	want := r.subjects()
	if len(want) != len(s.Subject) {
		return nil, fault.New(fault.Denied, "statement", "%d subjects for %d files", len(s.Subject), len(want))
	}
	for i, w := range want {
		if g := s.Subject[i]; g.Name != w.Name || len(g.Digest) != 1 || g.Digest["sha256"] != w.Digest["sha256"] || w.Digest["sha256"] == "" {
			return nil, fault.New(fault.Denied, "statement", "subject %q does not fit the release", g.Name)
		}
	}
	return r, nil
}

// approved says whether r may be published and loaded: it passed, or somebody
// answers for it by name and reason. A verdict on another model counts for nothing.
func (r *Release) approved() error {
	if c := r.Verdict.Candidate.Digest; c != r.Model.Digest {
		return fault.New(fault.Mismatch, "release "+r.Name, "the verdict is on %s, the model is %s", c.Short(), r.Model.Digest.Short()).
			WithHint("run `muster gate` on this very model")
	}
	if r.Verdict.Outcome == record.Pass {
		return nil
	}
	for _, a := range r.Approvals {
		if a.Override && strings.TrimSpace(a.Who) != "" && strings.TrimSpace(a.Reason) != "" {
			return nil
		}
	}
	return fault.New(fault.Denied, "release "+r.Name, "the verdict is %s", r.Verdict.Outcome).
		WithHint("`muster gate` gives the reasons; --override --by NAME --reason TEXT releases it all the same, on record")
}

// Publish signs r under the next number of its name and stores it. Every blob it
// names must be in the store. A verdict that is not pass is refused with an
// error of class denied unless an approval overrides it by name and reason.
func Publish(ctx context.Context, st *store.Store, key *sign.Key, r *Release) (*store.ReleaseRow, error) {
	if err := r.approved(); err != nil {
		return nil, err
	}
	blobs := []record.Subject{{Kind: "model", Name: r.Model.Name, Digest: r.Model.Digest}}
	for _, role := range r.roles() {
		blobs = append(blobs, record.Subject{Kind: role, Name: r.Files[role].Name, Digest: r.Files[role].Digest})
	}
	for _, b := range blobs {
		ok, err := st.Has(ctx, b.Digest)
		if err != nil {
			return nil, fault.At("blob "+b.Kind, err)
		}
		if !ok {
			return nil, fault.New(fault.NotFound, "blob "+b.Kind, "%s is not in the store", b.Digest)
		}
	}
	r.Version = record.Version
	for try := 1; ; try++ {
		row, err := publish(ctx, st, key, r, blobs)
		// Somebody else may publish the same name at the same time and take the number.
		if fault.ClassOf(err) != fault.Mismatch || try == maxTries {
			return row, err
		}
	}
}

// maxTries bounds how often Publish asks for the next number.
const maxTries = 10

// publish signs and stores r under the next number of its name.
func publish(ctx context.Context, st *store.Store, key *sign.Key, r *Release, blobs []record.Subject) (*store.ReleaseRow, error) {
	n, prev, err := st.NextVersion(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	r.Number, r.Previous = n, prev
	payload, err := Statement(r)
	if err != nil {
		return nil, err
	}
	env, err := key.Sign(sign.PayloadType, payload)
	if err != nil {
		return nil, err
	}
	sub, err := st.PutBytes(ctx, "release", fmt.Sprintf("%s@%d", r.Name, n), env)
	if err != nil {
		return nil, err
	}
	row := &store.ReleaseRow{Digest: sub.Digest, Name: r.Name, Version: n, Model: r.Model.Digest, Verdict: r.Verdict.Outcome,
		Override: r.Verdict.Outcome != record.Pass, KeyID: key.ID(), Previous: prev, Created: r.Created, Blobs: blobs}
	if err := st.PutRelease(ctx, row); err != nil {
		return nil, err
	}
	return row, nil
}

// Loaded is a release whose signature and every digest were checked.
type Loaded struct {
	Row     store.ReleaseRow
	Release *Release
	KeyID   string
	Model   []byte
	Files   map[string][]byte // by role
}

// Load reads a release and checks everything: the signature, the store's row
// against what was signed, the verdict, and the digest of every blob. ref is a
// name (its newest release), name@number, a pointer such as name/production, or
// the start of a digest. What was changed gives an error of class denied that
// names it; an unknown ref is not found.
func Load(ctx context.Context, st *store.Store, ring sign.Keyring, ref string) (*Loaded, error) {
	row, err := st.Release(ctx, ref)
	if err != nil {
		return nil, err
	}
	env, err := st.Get(ctx, row.Digest)
	if err != nil {
		return nil, denied(err, "the signed statement")
	}
	payload, id, err := sign.Verify(env, ring)
	if err != nil {
		return nil, fault.At("release "+ref, err)
	}
	r, err := ParseStatement(payload)
	if err != nil {
		return nil, fault.At("release "+ref, err)
	}
	if err := fits(row, r, id); err != nil {
		return nil, fault.At("release "+ref, err)
	}
	if err := r.approved(); err != nil {
		return nil, fault.New(fault.Denied, "release "+ref, "%w", err).WithHint("%s", fault.HintOf(err))
	}
	l := &Loaded{Row: *row, Release: r, KeyID: id, Files: map[string][]byte{}}
	if l.Model, err = st.Get(ctx, r.Model.Digest); err != nil {
		return nil, denied(err, "the model")
	}
	for _, role := range r.roles() {
		if l.Files[role], err = st.Get(ctx, r.Files[role].Digest); err != nil {
			return nil, denied(err, "the file "+role)
		}
	}
	return l, nil
}

// fits checks the store's row, which anybody with the database file can edit, against what was signed.
func fits(row *store.ReleaseRow, r *Release, keyID string) error {
	for _, f := range []struct {
		name string
		same bool
	}{
		{"name", row.Name == r.Name}, {"version", row.Version == r.Number}, {"model", row.Model == r.Model.Digest},
		{"verdict", row.Verdict == r.Verdict.Outcome}, {"override", row.Override == (r.Verdict.Outcome != record.Pass)},
		{"previous", row.Previous == r.Previous}, {"created", row.Created.Equal(r.Created)}, {"key", row.KeyID == keyID},
	} {
		if !f.same {
			return fault.New(fault.Denied, "", "the store's row does not fit the signed statement: %s differs", f.name).
				WithHint("the row was changed by hand: `muster store check`; restore the folder from a copy")
		}
	}
	return nil
}

// denied turns a damaged or missing blob into a refusal that names it.
func denied(err error, what string) error {
	return fault.New(fault.Denied, what, "%w", err).WithHint("the store was damaged or changed by hand: `muster store check` says where; do not serve this release")
}
