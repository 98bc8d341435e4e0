package store

import (
	"bytes"
	"context"
	"database/sql"
	"io"

	"muster/fault"
	"muster/record"
)

// Put stores the bytes of r and remembers that they are the kind ("model",
// "data", "card") of that name. The same bytes may have several names.
// A full disk gives an error of class exhausted and leaves nothing behind.
func (s *Store) Put(ctx context.Context, kind, name string, r io.Reader) (record.Subject, error) {
	if err := checkName("kind", kind); err != nil {
		return record.Subject{}, err
	}
	if err := checkText("name", name, maxTextLen); err != nil {
		return record.Subject{}, err
	}
	d, n, err := s.blobs.Put(ctx, r)
	if err != nil {
		return record.Subject{}, err
	}
	err = s.write(ctx, "blob "+string(d), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO subject (digest, kind, name, size, created)
			VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`, string(d), kind, name, n, formatTime(s.now()))
		return err
	})
	if err != nil {
		return record.Subject{}, err
	}
	return record.Subject{Kind: kind, Name: name, Digest: d}, nil
}

// PutBytes is Put of b.
func (s *Store) PutBytes(ctx context.Context, kind, name string, b []byte) (record.Subject, error) {
	return s.Put(ctx, kind, name, bytes.NewReader(b))
}

// Has reports whether the blob d is there; its content is not looked at.
func (s *Store) Has(_ context.Context, d record.Digest) (bool, error) { return s.blobs.Has(d) }

// OpenBlob returns a reader of blob d that checks the digest while reading; see Blobs.Open.
func (s *Store) OpenBlob(_ context.Context, d record.Digest) (*BlobReader, error) {
	return s.blobs.Open(d)
}

// Get returns the bytes of blob d, which must have at most MaxGetBytes. They
// are read once and hashed as they were read, so what is returned is what the
// digest names, whoever swaps the file meanwhile.
func (s *Store) Get(_ context.Context, d record.Digest) ([]byte, error) {
	r, err := s.blobs.Open(d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Size > MaxGetBytes {
		return nil, fault.New(fault.Exhausted, "blob "+string(d), "store: blob has %d bytes, the limit is %d", r.Size, int64(MaxGetBytes))
	}
	b := make([]byte, r.Size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, shortFault(d, err)
	}
	if n, err := r.Read(make([]byte, 1)); err != io.EOF || n != 0 {
		if n != 0 {
			return nil, fault.New(fault.Mismatch, "blob "+string(d), "store: file grew while it was read")
		}
		return nil, err
	}
	return b, nil
}

// shortFault classes a read that ended early: a check that failed keeps its own error.
func shortFault(d record.Digest, err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fault.New(fault.Mismatch, "blob "+string(d), "store: file shrank while it was read")
	}
	return err
}

// SubjectRow is one thing that was put into the store.
type SubjectRow struct {
	record.Subject
	Bytes   int64  `json:"bytes"`
	Created string `json:"created"` // UTC
}

// Subjects lists what was put, newest first; kind "" is every kind. limit <= 0 is no limit.
func (s *Store) Subjects(ctx context.Context, kind string, limit int) ([]SubjectRow, error) {
	rows, err := s.reader.QueryContext(ctx, `SELECT digest, kind, name, size, created FROM subject
		WHERE ($1 = '' OR kind = $1) ORDER BY created DESC, digest LIMIT $2`, kind, noLimit(limit))
	if err != nil {
		return nil, sqlFault("subjects", err)
	}
	defer rows.Close()
	var out []SubjectRow
	for rows.Next() {
		var r SubjectRow
		if err := rows.Scan(&r.Digest, &r.Kind, &r.Name, &r.Bytes, &r.Created); err != nil {
			return nil, sqlFault("subjects", err)
		}
		out = append(out, r)
	}
	return out, sqlFault("subjects", rows.Err())
}

func noLimit(n int) int64 {
	if n <= 0 {
		return 1<<63 - 1
	}
	return int64(n)
}
