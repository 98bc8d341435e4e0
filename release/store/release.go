package store

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"

	"muster/fault"
	"muster/record"
)

// ReleaseRow is what the store knows of a release without opening its
// envelope. The envelope and every blob must be in the store before the row.
type ReleaseRow struct {
	Digest   record.Digest    `json:"digest"` // of the signed envelope
	Name     string           `json:"name"`
	Version  int              `json:"version"` // 1, 2, ... per name
	Model    record.Digest    `json:"model"`
	Verdict  record.Outcome   `json:"verdict"`
	Override bool             `json:"override"` // released against the verdict
	KeyID    string           `json:"key_id"`
	Previous record.Digest    `json:"previous,omitempty"` // release of the same name before this one
	Created  time.Time        `json:"created"`
	Blobs    []record.Subject `json:"blobs"` // everything the release needs; Kind is the role
}

func (r *ReleaseRow) check() error {
	if err := checkDigest("release", r.Digest); err != nil {
		return err
	}
	if err := checkName("release name", r.Name); err != nil {
		return err
	}
	if strings.Contains(r.Name, "/") {
		return fault.New(fault.Malformed, "", "store: release name %q contains '/'", clip(r.Name)).
			WithHint("names with '/' are pointers")
	}
	if r.Version < 1 {
		return fault.New(fault.Malformed, "", "store: version %d is not positive", r.Version)
	}
	if err := checkDigest("model", r.Model); err != nil {
		return err
	}
	for _, b := range r.Blobs {
		if err := checkDigest("blob "+clip(b.Kind), b.Digest); err != nil {
			return err
		}
	}
	return nil
}

// normal returns r as it reads back: times in UTC, an empty list instead of none.
func (r ReleaseRow) normal() ReleaseRow {
	r.Created = r.Created.UTC().Round(0)
	r.Blobs = append([]record.Subject{}, r.Blobs...)
	return r
}

// PutRelease stores the row of a release. A missing blob is an error of class
// not found; a name and version that are taken, of class mismatch.
func (s *Store) PutRelease(ctx context.Context, rel *ReleaseRow) error {
	place := "release " + rel.Digest.Short()
	if err := rel.check(); err != nil {
		return fault.At(place, err)
	}
	for _, d := range append([]record.Subject{{Kind: "envelope", Digest: rel.Digest}, {Kind: "model", Digest: rel.Model}}, rel.Blobs...) {
		ok, err := s.blobs.Has(d.Digest)
		if err != nil {
			return fault.At(place, err)
		}
		if !ok {
			return fault.New(fault.NotFound, place, "store: %s blob %s is not in the store", d.Kind, d.Digest.Short()).WithHint("put it first")
		}
	}
	r := rel.normal()
	return s.write(ctx, place, func(tx *sql.Tx) error { return s.putRelease(ctx, tx, &r) })
}

func (s *Store) putRelease(ctx context.Context, tx *sql.Tx, r *ReleaseRow) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO release_row (digest, name, version, model, verdict, override, key_id, previous, created)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, string(r.Digest), r.Name, r.Version, string(r.Model), string(r.Verdict),
		bit(r.Override), r.KeyID, string(r.Previous), formatTime(r.Created))
	if err != nil {
		return err
	}
	for i, b := range r.Blobs {
		_, err := tx.ExecContext(ctx, `INSERT INTO release_blob (holder, ord, role, name, digest) VALUES ($1, $2, $3, $4, $5)`,
			string(r.Digest), i, b.Kind, b.Name, string(b.Digest))
		if err != nil {
			return err
		}
	}
	_, err = s.append(ctx, tx, KindRelease, string(r.Digest), r)
	return err
}

// NextVersion returns the version that the next release of name should carry,
// and the digest of the latest one ("" if it is the first). PutRelease refuses
// the version if another process took it meanwhile.
func (s *Store) NextVersion(ctx context.Context, name string) (int, record.Digest, error) {
	rows, err := s.releases(ctx, s.reader, `WHERE name = $1 ORDER BY version DESC LIMIT 1`, name)
	if err != nil || len(rows) == 0 {
		return 1, "", err
	}
	return rows[0].Version + 1, rows[0].Digest, nil
}

// Releases returns every release, newest first.
func (s *Store) Releases(ctx context.Context) ([]ReleaseRow, error) {
	return s.releases(ctx, s.reader, `ORDER BY created DESC, name, version DESC`)
}

const minPrefix = 6 // hex digits of a digest prefix

// Release finds a release by "name" (the latest), "name@version", a pointer
// such as "name/production", a digest, or at least 6 hex digits of one.
func (s *Store) Release(ctx context.Context, ref string) (*ReleaseRow, error) {
	rows, err := s.findRelease(ctx, ref)
	if err != nil {
		return nil, fault.At("release "+clip(ref), err)
	}
	switch len(rows) {
	case 1:
		return &rows[0], nil
	case 0:
		return nil, fault.New(fault.NotFound, "release "+clip(ref), "store: no such release").
			WithHint("use a name, name@version, a pointer such as name/production, or at least %d digits of a digest; `muster history` lists them", minPrefix)
	}
	return nil, fault.New(fault.Mismatch, "release "+clip(ref), "store: %d releases have a digest that begins so", len(rows)).
		WithHint("give more digits")
}

func (s *Store) findRelease(ctx context.Context, ref string) ([]ReleaseRow, error) {
	if record.Digest(ref).Valid() {
		return s.releases(ctx, s.reader, `WHERE digest = $1`, ref)
	}
	if strings.Contains(ref, "/") {
		m, err := s.Pointer(ctx, ref)
		if err != nil {
			return nil, err
		}
		return s.releases(ctx, s.reader, `WHERE digest = $1`, string(m.To))
	}
	if name, v, ok := strings.Cut(ref, "@"); ok {
		n, err := strconv.Atoi(v)
		if err != nil {
			return nil, nil
		}
		return s.releases(ctx, s.reader, `WHERE name = $1 AND version = $2`, name, n)
	}
	rows, err := s.releases(ctx, s.reader, `WHERE name = $1 ORDER BY version DESC LIMIT 1`, ref)
	if err != nil || len(rows) > 0 {
		return rows, err
	}
	hex := strings.TrimPrefix(ref, "sha256:")
	if len(hex) < minPrefix || strings.Trim(hex, "0123456789abcdef") != "" {
		return nil, nil
	}
	return s.releases(ctx, s.reader, `WHERE digest LIKE $1 LIMIT 2`, "sha256:"+hex+"%")
}

// querier is what *sql.DB and *sql.Tx have in common.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (s *Store) releases(ctx context.Context, q querier, tail string, args ...any) ([]ReleaseRow, error) {
	rows, err := q.QueryContext(ctx, `SELECT digest, name, version, model, verdict, override, key_id, previous, created FROM release_row `+tail, args...)
	if err != nil {
		return nil, sqlFault("releases", err)
	}
	defer rows.Close()
	var out []ReleaseRow
	for rows.Next() {
		var r ReleaseRow
		var created string
		var override int64
		if err := rows.Scan(&r.Digest, &r.Name, &r.Version, &r.Model, &r.Verdict, &override, &r.KeyID, &r.Previous, &created); err != nil {
			return nil, sqlFault("releases", err)
		}
		if r.Created, err = parseTime("release "+r.Digest.Short(), created); err != nil {
			return nil, err
		}
		r.Override = override != 0
		out = append(out, r)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, sqlFault("releases", err)
	}
	for i := range out {
		if out[i].Blobs, err = releaseBlobs(ctx, q, out[i].Digest); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func releaseBlobs(ctx context.Context, q querier, d record.Digest) ([]record.Subject, error) {
	rows, err := q.QueryContext(ctx, `SELECT role, name, digest FROM release_blob WHERE holder = $1 ORDER BY ord`, string(d))
	if err != nil {
		return nil, sqlFault("releases", err)
	}
	defer rows.Close()
	out := []record.Subject{}
	for rows.Next() {
		var b record.Subject
		if err := rows.Scan(&b.Kind, &b.Name, &b.Digest); err != nil {
			return nil, sqlFault("releases", err)
		}
		out = append(out, b)
	}
	return out, sqlFault("releases", rows.Err())
}
