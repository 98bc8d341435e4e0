package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"net/url"
	"path/filepath"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"

	"muster/fault"
)

// This file holds everything that only SQLite knows.

const dbName = "muster.db"

//go:embed migrations/*.sql
var migrations embed.FS

// schemaVersion is the newest migration in migrations/.
const schemaVersion = 1

// openSQL opens one writer and a few readers on the same file and migrates it.
// The writer takes the write lock at BEGIN, so that no transaction has to be
// upgraded halfway (which is what "database is locked" errors come from).
func (s *Store) openSQL(ctx context.Context) error {
	abs, err := filepath.Abs(filepath.Join(s.dir, dbName))
	if err != nil {
		return fault.New(fault.Internal, "", "store: %w", err)
	}
	common := url.Values{"_busy_timeout": {"30000"}, "_foreign_keys": {"1"}, "_defensive": {"1"}, "_dqs": {"0"}, "_error_rc": {"1"}}
	dsn := func(extra ...string) string {
		q := url.Values{}
		for k, v := range common {
			q[k] = v
		}
		for i := 0; i < len(extra); i += 2 {
			q.Set(extra[i], extra[i+1])
		}
		return (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: q.Encode()}).String()
	}
	// synchronous=FULL syncs the log at every commit: an acknowledged write survives a power cut.
	s.writer, err = sql.Open("sqlite", dsn("_txlock", "immediate", "_journal_mode", "WAL", "_synchronous", "FULL"))
	if err != nil {
		return sqlFault("", err)
	}
	s.writer.SetMaxOpenConns(1)
	if err := migrate(ctx, s.writer); err != nil {
		return err
	}
	s.reader, err = sql.Open("sqlite", dsn("_query_only", "1"))
	if err != nil {
		return sqlFault("", err)
	}
	s.reader.SetMaxOpenConns(4)
	return nil
}

// migrate brings the schema up to date; a newer schema is refused, not guessed at.
func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fault.New(fault.Internal, "", "store: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return sqlFault("", err)
	}
	v, err := p.GetDBVersion(ctx)
	if err != nil {
		return sqlFault("", err)
	}
	if v > schemaVersion {
		return fault.New(fault.Unsupported, dbName, "store: schema version %d is newer than %d", v, schemaVersion).
			WithHint("this store was written by a newer Muster; use that one")
	}
	if v < schemaVersion {
		_, err = p.Up(ctx)
	}
	return sqlFault("", err)
}

// integrity returns what SQLite itself finds wrong with its file; empty if nothing.
func integrity(ctx context.Context, tx *sql.Tx) ([]string, error) {
	var bad []string
	rows, err := tx.QueryContext(ctx, `PRAGMA integrity_check(20)`)
	if err != nil {
		return nil, sqlFault(dbName, err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, sqlFault(dbName, err)
		}
		if line != "ok" {
			bad = append(bad, line)
		}
	}
	return bad, sqlFault(dbName, rows.Err())
}

// Primary result codes of SQLite (https://www.sqlite.org/rescode.html).
const (
	sqlitePerm, sqliteBusy, sqliteLocked, sqliteNoMem, sqliteReadOnly = 3, 5, 6, 7, 8
	sqliteInterrupt, sqliteIOErr, sqliteCorrupt, sqliteFull           = 9, 10, 11, 13
	sqliteCantOpen, sqliteTooBig, sqliteConstraint, sqliteNotADB      = 14, 18, 19, 26
)

// sqlFault gives an error of the database its class and hint; errors that have one keep it.
func sqlFault(place string, err error) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) {
		if place == "" {
			return err
		}
		return fault.At(place, err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.Exhausted, place, "store: stopped: %w", err)
	}
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return fault.New(fault.Internal, place, "store: %w", err)
	}
	class, hint := sqliteClass(se.Code() & 0xff)
	return fault.New(class, place, "store: %w", err).WithHint("%s", hint)
}

func sqliteClass(code int) (fault.Class, string) {
	const space = "the disk is full or failing: free some space and try again; nothing was half-written"
	switch code {
	case sqliteFull, sqliteIOErr, sqliteNoMem, sqliteTooBig:
		return fault.Exhausted, space
	case sqliteBusy, sqliteLocked, sqliteInterrupt:
		return fault.Exhausted, "another process held the store for too long; try again"
	case sqliteCorrupt, sqliteNotADB:
		return fault.Malformed, "the database file is damaged: run `muster store check`, or restore the folder from a backup"
	case sqlitePerm, sqliteReadOnly, sqliteCantOpen:
		return fault.Denied, "the store's folder must be readable and writable for this user"
	case sqliteConstraint:
		return fault.Mismatch, "this is already in the store with another content"
	}
	return fault.Internal, "run `muster store check`"
}
