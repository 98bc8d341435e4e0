// Package store is the one place where Muster keeps things: content-addressed
// blobs, runs with their measurements, releases, pointers with their history,
// and a hash-chained log of decisions and alarms.
//
// The default is a folder with SQLite and plain files. The SQL is hand-written
// and portable; everything that only SQLite knows is in sqlite.go, everything
// that only a file system knows is in blob.go.
//
// What a call has acknowledged (returned nil for) survives kill -9 and, on a
// disk that honours fsync, a power cut. Two processes may use one folder.
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"time"
	"unicode/utf8"

	"muster/fault"
	"muster/record"
)

// Limits on what one call may write or read into memory.
const (
	MaxGetBytes    = 1 << 30  // one blob read by Get; larger ones are streamed with OpenBlob
	MaxRecordBytes = 64 << 20 // the JSON of one run
	MaxBodyBytes   = 1 << 20  // the JSON of one event
	maxNameLen     = 200
	maxTextLen     = 4096
)

// Store is an open store. It is safe for concurrent use.
type Store struct {
	dir    string
	id     string
	owner  string // this process, as written beside runs and temporary files
	blobs  *Blobs
	writer *sql.DB // one connection: transactions queue here instead of failing
	reader *sql.DB
	now    func() time.Time
}

// Exists reports whether dir holds a store.
func Exists(dir string) bool {
	fi, err := os.Stat(filepath.Join(dir, dbName))
	return err == nil && fi.Mode().IsRegular()
}

// Open opens the store in dir and creates it if there is none. Several
// processes may open the same folder at once.
func Open(ctx context.Context, dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, diskFault("store "+dir, err)
	}
	unlock, err := lockFile(filepath.Join(dir, "open.lock"))
	if err != nil {
		return nil, diskFault("store "+dir, err)
	}
	defer unlock()
	s := &Store{dir: dir, owner: thisProcess(), now: time.Now}
	if s.blobs, err = OpenBlobs(filepath.Join(dir, "blobs")); err != nil {
		return nil, err
	}
	if err := s.openSQL(ctx); err != nil {
		s.Close()
		return nil, fault.At("store "+dir, err)
	}
	if err := s.identify(ctx); err != nil {
		s.Close()
		return nil, fault.At("store "+dir, err)
	}
	return s, nil
}

// identify reads the id of the store and gives a new store its own.
func (s *Store) identify(ctx context.Context) error {
	err := s.reader.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = 'id'`).Scan(&s.id)
	if !errors.Is(err, sql.ErrNoRows) {
		return sqlFault("", err)
	}
	s.id = randomHex(16)
	return s.write(ctx, "", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES ('id', $1)`, s.id); err != nil {
			return err
		}
		return setHead(ctx, tx, 0, s.genesis())
	})
}

// Close releases the files. The store must not be used afterwards.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.reader, s.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.blobs != nil {
		errs = append(errs, s.blobs.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return sqlFault("store "+s.dir, err)
	}
	return nil
}

// Dir returns the folder of the store.
func (s *Store) Dir() string { return s.dir }

// KeysDir returns the folder where the signing key and the trusted keys live.
func (s *Store) KeysDir() string { return filepath.Join(s.dir, "keys") }

// ID returns the random identity of the store, to which its log is bound.
func (s *Store) ID() string { return s.id }

// write runs fn in the one write transaction; all of it or nothing is kept.
func (s *Store) write(ctx context.Context, place string, fn func(*sql.Tx) error) error {
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return sqlFault(place, err)
	}
	defer tx.Rollback()
	if err := fn(tx); err != nil {
		return sqlFault(place, err)
	}
	return sqlFault(place, tx.Commit())
}

// timeForm sorts as text in the order of time, on every database.
const timeForm = "2006-01-02T15:04:05.000000000Z"

func formatTime(t time.Time) string { return t.UTC().Format(timeForm) }

func parseTime(place, s string) (time.Time, error) {
	t, err := time.Parse(timeForm, s)
	if err != nil {
		return t, fault.New(fault.Malformed, place, "store: bad time %q", s)
	}
	return t, nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b)
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$`)

// checkName accepts names that are safe in a path, a URL and a table: letters,
// digits, '.', '_', '-' in parts separated by '/'.
func checkName(what, s string) error {
	if len(s) > maxNameLen || !namePattern.MatchString(s) {
		return fault.New(fault.Malformed, "", "store: %s %q is not a name", what, clip(s)).
			WithHint("use letters, digits, '.', '_' and '-' in parts separated by '/', at most %d bytes", maxNameLen)
	}
	return nil
}

// checkText accepts free text for people: valid UTF-8 without NUL, within max bytes.
func checkText(what, s string, max int) error {
	if len(s) > max {
		return fault.New(fault.Exhausted, "", "store: %s has %d bytes, the limit is %d", what, len(s), max)
	}
	if !utf8.ValidString(s) {
		return fault.New(fault.Malformed, "", "store: %s is not valid UTF-8", what)
	}
	for _, r := range s {
		if r == 0 {
			return fault.New(fault.Malformed, "", "store: %s contains a NUL", what)
		}
	}
	return nil
}

func checkDigest(what string, d record.Digest) error {
	if !d.Valid() {
		return fault.New(fault.Malformed, "", "store: %s %q is not a digest", what, clip(string(d))).
			WithHint("a digest is \"sha256:\" and 64 hex digits")
	}
	return nil
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
