// Package release binds artifact, measurements and verdict under a signature: an
// in-toto statement in a DSSE envelope, kept by digest. Serving loads nothing else.
package release

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
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

// approved says whether r may be published: it passed, or somebody answers for it by name and reason.
func (r *Release) approved() error {
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

// Publish signs r and stores it. Every blob it names must be in the store.
func Publish(ctx context.Context, st *store.Store, key *sign.Key, r *Release) (*store.ReleaseRow, error) {
	if err := r.approved(); err != nil {
		return nil, err
	}
	blobs := []record.Subject{{Kind: "model", Name: r.Model.Name, Digest: r.Model.Digest}}
	for _, role := range r.roles() {
		blobs = append(blobs, record.Subject{Kind: role, Name: r.Files[role].Name, Digest: r.Files[role].Digest})
	}
	for _, b := range blobs {
		if ok, err := st.Has(ctx, b.Digest); err != nil || !ok {
			return nil, fault.New(fault.NotFound, "blob "+b.Kind, "%s is not in the store", b.Digest)
		}
	}
	n, prev, err := st.NextVersion(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	r.Version, r.Number, r.Previous = record.Version, n, prev
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
	return row, st.PutRelease(ctx, row)
}

// Loaded is a release whose signature and every digest were checked.
type Loaded struct {
	Row     store.ReleaseRow
	Release *Release
	KeyID   string
	Model   []byte
	Files   map[string][]byte // by role
}

// Load reads a release and checks everything. ref is a name (its newest release), name@number, or the start of a digest.
func Load(ctx context.Context, st *store.Store, ring sign.Keyring, ref string) (*Loaded, error) {
	row, err := find(ctx, st, ref)
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
	if r.Name != row.Name || r.Number != row.Version || r.Model.Digest != row.Model {
		return nil, fault.New(fault.Denied, "release "+ref, "the store's row does not fit the signed statement")
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

// denied turns a damaged or missing blob into a refusal that names it.
func denied(err error, what string) error {
	return fault.New(fault.Denied, what, "%w", err).WithHint("the store was damaged or changed by hand: `muster store check` says where; do not serve this release")
}

func find(ctx context.Context, st *store.Store, ref string) (*store.ReleaseRow, error) {
	name, num, ok := strings.Cut(ref, "@")
	if !ok {
		return st.Release(ctx, ref)
	}
	n, err := strconv.Atoi(num)
	if err != nil {
		return nil, fault.New(fault.Malformed, ref, "%q is not a release number", num)
	}
	rows, err := st.Releases(ctx)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if rows[i].Name == name && rows[i].Version == n {
			return &rows[i], nil
		}
	}
	return nil, fault.New(fault.NotFound, "release "+ref, "there is none").WithHint("`muster store list` lists the releases")
}
