package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"muster/fault"
	"muster/record"
)

// Kinds of log entries that the store writes itself; AppendEvent refuses them.
const (
	KindMove    = "move"    // a pointer moved; subject is the pointer
	KindRun     = "run"     // a run ended; subject is its id
	KindRelease = "release" // a release was stored; subject is its digest
)

// Event is one entry of the log. Hash covers all other fields and Prev is the
// hash of the entry before, so a changed, missing or swapped entry shows.
type Event struct {
	Seq     int64           `json:"seq"` // 1, 2, 3, ... without gaps
	At      time.Time       `json:"at"`  // UTC; never before the previous entry's
	Kind    string          `json:"kind"`
	Subject string          `json:"subject"`
	Body    json.RawMessage `json:"body"`
	Prev    record.Digest   `json:"prev"`
	Hash    record.Digest   `json:"hash"`
}

// hash returns the digest of the canonical form (RFC 8785) of e without Hash.
// The body enters as text, so numbers in it are taken as they were written.
func (e *Event) hash() (record.Digest, error) {
	return record.DigestOf(map[string]string{
		"seq": strconv.FormatInt(e.Seq, 10), "at": formatTime(e.At), "kind": e.Kind,
		"subject": e.Subject, "body": string(e.Body), "prev": string(e.Prev),
	})
}

// genesis is what the first entry names as its predecessor: it binds the log to this store.
func (s *Store) genesis() record.Digest { return record.DigestBytes([]byte("muster log 1 " + s.id)) }

func setHead(ctx context.Context, tx *sql.Tx, seq int64, hash record.Digest) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES ('log.head', $1)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, strconv.FormatInt(seq, 10)+" "+string(hash))
	return err
}

// readHead returns the number and hash of the last entry.
func readHead(ctx context.Context, tx *sql.Tx) (int64, record.Digest, error) {
	var v string
	if err := tx.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = 'log.head'`).Scan(&v); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			return 0, "", damagedLog("log head is missing")
		}
		return 0, "", err
	}
	n, hash, _ := strings.Cut(v, " ")
	seq, err := strconv.ParseInt(n, 10, 64)
	if err != nil || seq < 0 || !record.Digest(hash).Valid() {
		return 0, "", damagedLog("log head is damaged")
	}
	return seq, record.Digest(hash), nil
}

func damagedLog(format string, args ...any) *fault.Error {
	return fault.New(fault.Denied, "log", "store: "+format, args...).
		WithHint("the log was changed outside Muster: run `muster store check`, and restore the folder from a backup")
}

// append adds one entry at the end of the log, inside tx.
func (s *Store) append(ctx context.Context, tx *sql.Tx, kind, subject string, body any) (*Event, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fault.New(fault.Numeric, "event "+kind, "store: %w", err).
			WithHint("an event may not hold NaN, infinities or other things that JSON has no form for")
	}
	if len(raw) > MaxBodyBytes {
		return nil, fault.New(fault.Exhausted, "event "+kind, "store: body has %d bytes, the limit is %d", len(raw), MaxBodyBytes).
			WithHint("put large content as a blob and name its digest")
	}
	if !utf8.Valid(raw) {
		return nil, fault.New(fault.Malformed, "event "+kind, "store: body is not valid UTF-8")
	}
	e := &Event{Kind: kind, Subject: subject, Body: raw}
	if err := s.place(ctx, tx, e); err != nil {
		return nil, err
	}
	if e.Hash, err = e.hash(); err != nil {
		return nil, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO log (seq, written, kind, subject, body, prev, hash) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		e.Seq, formatTime(e.At), e.Kind, e.Subject, string(e.Body), string(e.Prev), string(e.Hash))
	if err != nil {
		return nil, err
	}
	return e, setHead(ctx, tx, e.Seq, e.Hash)
}

// place sets the number, the predecessor and the time of a new entry. Should
// the clock have been set back, the entry takes the time of the one before, so
// that order by number and order by time stay the same.
func (s *Store) place(ctx context.Context, tx *sql.Tx, e *Event) error {
	seq, prev, err := readHead(ctx, tx)
	if err != nil {
		return err
	}
	e.Seq, e.Prev, e.At = seq+1, prev, s.now().UTC().Round(0)
	if seq == 0 {
		return nil
	}
	var last string
	err = tx.QueryRowContext(ctx, `SELECT written FROM log WHERE seq = $1`, seq).Scan(&last)
	if errors.Is(err, sql.ErrNoRows) {
		return damagedLog("entry %d is missing", seq)
	}
	if err != nil {
		return err
	}
	t, err := parseTime("log", last)
	if err != nil {
		return err
	}
	if e.At.Before(t) {
		e.At = t
	}
	return nil
}

// AppendEvent adds a decision or an alarm to the log. body is anything that
// encodes as JSON; kind and subject are names such as "drift/alarm" and
// "digits/production".
func (s *Store) AppendEvent(ctx context.Context, kind, subject string, body any) (*Event, error) {
	if err := checkName("kind", kind); err != nil {
		return nil, err
	}
	if kind == KindMove || kind == KindRun || kind == KindRelease {
		return nil, fault.New(fault.Denied, "event "+kind, "store: this kind of entry is written by the store only")
	}
	if err := checkText("subject", subject, maxTextLen); err != nil {
		return nil, err
	}
	var e *Event
	err := s.write(ctx, "event "+kind, func(tx *sql.Tx) (err error) {
		e, err = s.append(ctx, tx, kind, subject, body)
		return err
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// EventFilter selects entries of the log. The zero value is every decision and
// alarm, without what the store wrote itself.
type EventFilter struct {
	Kind    string    // exactly this kind; the store's own kinds may be named too
	Subject string    // exactly this subject
	After   int64     // entries with a higher number
	Since   time.Time // entries at or after this time
	All     bool      // moves, runs and releases too
	Limit   int       // at most this many, the oldest ones; <= 0 is no limit
}

// Events returns the selected entries, oldest first. An entry that does not
// match its hash gives an error of class denied.
func (s *Store) Events(ctx context.Context, f EventFilter) ([]Event, error) {
	since := ""
	if !f.Since.IsZero() {
		since = formatTime(f.Since)
	}
	own := f.All || f.Kind != ""
	return s.events(ctx, `SELECT seq, written, kind, subject, body, prev, hash FROM log
		WHERE ($1 = '' OR kind = $1) AND ($2 = '' OR subject = $2) AND seq > $3 AND written >= $4
		AND ($5 = 1 OR kind NOT IN ('move', 'run', 'release')) ORDER BY seq LIMIT $6`,
		f.Kind, f.Subject, f.After, since, bit(own), noLimit(f.Limit))
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func (s *Store) events(ctx context.Context, query string, args ...any) ([]Event, error) {
	rows, err := s.reader.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, sqlFault("log", err)
	}
	defer rows.Close()
	var out []Event
	for rows.Next() {
		e, err := scanEvent(rows)
		if err != nil {
			return nil, err
		}
		if h, err := e.hash(); err != nil || h != e.Hash {
			return nil, damagedLog("entry %d does not match its hash", e.Seq)
		}
		out = append(out, *e)
	}
	return out, sqlFault("log", rows.Err())
}

func scanEvent(rows *sql.Rows) (*Event, error) {
	var e Event
	var at, body string
	if err := rows.Scan(&e.Seq, &at, &e.Kind, &e.Subject, &body, &e.Prev, &e.Hash); err != nil {
		return nil, sqlFault("log", err)
	}
	t, err := parseTime("log", at)
	if err != nil {
		return nil, damagedLog("entry %d: %w", e.Seq, err)
	}
	e.At, e.Body = t, json.RawMessage(body)
	return &e, nil
}
