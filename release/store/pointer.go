package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"muster/fault"
	"muster/record"
)

// Act says why a pointer moved.
type Act string

// The acts that move a pointer.
const (
	ActRelease  Act = "release"  // a release was put where it is used
	ActPromote  Act = "promote"  // it went one step further (shadow, canary, production)
	ActRollback Act = "rollback" // back to an earlier release, or cleared
	ActOverride Act = "override" // a person moved it against the verdict
)

func (a Act) valid() bool {
	return a == ActRelease || a == ActPromote || a == ActRollback || a == ActOverride
}

// MoveRequest asks to move a pointer. The move happens only if the pointer
// stands where the caller believes it does, so no two movers overwrite each other.
type MoveRequest struct {
	Pointer string        // "digits/production", "digits/shadow", "digits/canary"
	To      record.Digest // digest of a stored release; "" clears the pointer
	Expect  record.Digest // where it stands now; "" if it was never set or is cleared
	Act     Act
	Actor   string // who: a person, a key id or "muster" for an automatic act
	Reason  string
}

// Move is one step in the history of a pointer.
type Move struct {
	Seq     int64         `json:"seq"` // number in the log
	Pointer string        `json:"pointer"`
	From    record.Digest `json:"from"` // "" if it was unset
	To      record.Digest `json:"to"`   // "" if it was cleared
	Act     Act           `json:"act"`
	Actor   string        `json:"actor"`
	Reason  string        `json:"reason"`
	At      time.Time     `json:"at"`
	Prev    record.Digest `json:"prev"` // hash of the log entry before
	Hash    record.Digest `json:"hash"` // of this entry
}

// moveBody is the part of a Move that is in the body of its log entry.
type moveBody struct {
	From   record.Digest `json:"from"`
	To     record.Digest `json:"to"`
	Act    Act           `json:"act"`
	Actor  string        `json:"actor"`
	Reason string        `json:"reason"`
}

func moveOf(e *Event) (*Move, error) {
	var b moveBody
	if err := json.Unmarshal(e.Body, &b); err != nil {
		return nil, damagedLog("entry %d is not a move: %w", e.Seq, err)
	}
	return &Move{Seq: e.Seq, Pointer: e.Subject, From: b.From, To: b.To, Act: b.Act, Actor: b.Actor,
		Reason: b.Reason, At: e.At, Prev: e.Prev, Hash: e.Hash}, nil
}

func (m *MoveRequest) check() error {
	if err := checkName("pointer", m.Pointer); err != nil {
		return err
	}
	for _, d := range []record.Digest{m.To, m.Expect} {
		if d != "" {
			if err := checkDigest("release", d); err != nil {
				return err
			}
		}
	}
	if !m.Act.valid() {
		return fault.New(fault.Malformed, "", "store: unknown act %q", clip(string(m.Act))).
			WithHint("one of release, promote, rollback, override")
	}
	if m.Actor == "" || m.Reason == "" {
		return fault.New(fault.Malformed, "", "store: a move needs an actor and a reason").
			WithHint("say who moves the pointer and why; the history keeps it")
	}
	if err := checkText("actor", m.Actor, maxNameLen); err != nil {
		return err
	}
	return checkText("reason", m.Reason, maxTextLen)
}

// Move moves a pointer and writes the move to the log, both or neither. It
// returns an error of class mismatch if the pointer does not stand at Expect,
// and of class not found if To is not a stored release.
func (s *Store) Move(ctx context.Context, req MoveRequest) (*Move, error) {
	place := "pointer " + clip(req.Pointer)
	if err := req.check(); err != nil {
		return nil, fault.At(place, err)
	}
	var m *Move
	err := s.write(ctx, place, func(tx *sql.Tx) (err error) {
		m, err = s.move(ctx, tx, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (s *Store) move(ctx context.Context, tx *sql.Tx, req MoveRequest) (*Move, error) {
	var cur record.Digest
	err := tx.QueryRowContext(ctx, `SELECT digest FROM pointer WHERE name = $1`, req.Pointer).Scan(&cur)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	if cur != req.Expect {
		return nil, fault.New(fault.Mismatch, "", "store: pointer stands at %s, not at %s", orNone(cur), orNone(req.Expect)).
			WithHint("somebody else moved it; look at `muster history` and try again")
	}
	if req.To != "" {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM release_row WHERE digest = $1`, string(req.To)).Scan(&n); err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, fault.New(fault.NotFound, "", "store: no release %s", req.To.Short()).
				WithHint("a pointer can only name a stored release")
		}
	}
	e, err := s.append(ctx, tx, KindMove, req.Pointer, moveBody{From: cur, To: req.To, Act: req.Act, Actor: req.Actor, Reason: req.Reason})
	if err != nil {
		return nil, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO pointer (name, digest, seq) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, seq = excluded.seq`, req.Pointer, string(req.To), e.Seq)
	if err != nil {
		return nil, err
	}
	return moveOf(e)
}

func orNone(d record.Digest) string {
	if d == "" {
		return "nothing"
	}
	return d.Short()
}

// Pointer returns the move that put the pointer where it stands; To is "" if it
// was cleared. A pointer that was never set is an error of class not found; one
// whose row disagrees with the log is an error of class denied.
func (s *Store) Pointer(ctx context.Context, name string) (*Move, error) {
	var d record.Digest
	var seq int64
	err := s.reader.QueryRowContext(ctx, `SELECT digest, seq FROM pointer WHERE name = $1`, name).Scan(&d, &seq)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "pointer "+clip(name), "store: no such pointer").
			WithHint("`muster history` lists the pointers that were ever set")
	}
	if err != nil {
		return nil, sqlFault("pointer "+clip(name), err)
	}
	ms, err := s.moves(ctx, `seq = $1 AND kind = 'move' AND subject = $2`, seq, name)
	if err != nil {
		return nil, err
	}
	if len(ms) != 1 || ms[0].To != d {
		return nil, fault.New(fault.Denied, "pointer "+clip(name), "store: pointer row says %s, the log does not", orNone(d)).
			WithHint("the row was changed outside Muster: run `muster store check`")
	}
	return &ms[0], nil
}

// Pointers returns where each pointer stands, by name.
func (s *Store) Pointers(ctx context.Context) ([]Move, error) {
	rows, err := s.reader.QueryContext(ctx, `SELECT name FROM pointer ORDER BY name`)
	if err != nil {
		return nil, sqlFault("pointers", err)
	}
	names, err := scanStrings(rows)
	if err != nil {
		return nil, err
	}
	out := make([]Move, 0, len(names))
	for _, n := range names {
		m, err := s.Pointer(ctx, n)
		if err != nil {
			return nil, err
		}
		out = append(out, *m)
	}
	return out, nil
}

// History returns every move of a pointer, oldest first; "" is every pointer.
func (s *Store) History(ctx context.Context, pointer string) ([]Move, error) {
	return s.moves(ctx, `kind = 'move' AND ($1 = '' OR subject = $1) ORDER BY seq`, pointer)
}

// At returns the move that had put the pointer where it stood at time t, or an
// error of class not found if it was not set by then.
func (s *Store) At(ctx context.Context, pointer string, t time.Time) (*Move, error) {
	ms, err := s.moves(ctx, `kind = 'move' AND subject = $1 AND written <= $2 ORDER BY seq DESC LIMIT 1`, pointer, formatTime(t))
	if err != nil {
		return nil, err
	}
	if len(ms) == 0 {
		return nil, fault.New(fault.NotFound, "pointer "+clip(pointer), "store: not set before %s", formatTime(t))
	}
	return &ms[0], nil
}

// Standing returns the release that a pointer names now, "" if it names none.
func (s *Store) Standing(ctx context.Context, pointer string) (record.Digest, error) {
	m, err := s.Pointer(ctx, pointer)
	if fault.ClassOf(err) == fault.NotFound {
		return "", nil
	}
	if err != nil || m == nil {
		return "", err
	}
	return m.To, nil
}

// Before returns the release that a pointer named before now, "" if there was none:
// what a rollback goes back to.
func (s *Store) Before(ctx context.Context, pointer string, now record.Digest) (record.Digest, error) {
	moves, err := s.History(ctx, pointer)
	if err != nil {
		return "", err
	}
	for i := len(moves) - 1; i >= 0; i-- {
		if d := moves[i].From; d != "" && d != now {
			return d, nil
		}
	}
	return "", nil
}

// Seq returns a number that grows whenever a pointer moves, in any process. It
// costs one look at a tiny table, so a server may poll it.
func (s *Store) Seq(ctx context.Context) (int64, error) {
	var n int64
	err := s.reader.QueryRowContext(ctx, `SELECT COALESCE(MAX(seq), 0) FROM pointer`).Scan(&n)
	return n, sqlFault("pointers", err)
}

func (s *Store) moves(ctx context.Context, where string, args ...any) ([]Move, error) {
	es, err := s.events(ctx, `SELECT seq, written, kind, subject, body, prev, hash FROM log WHERE `+where, args...)
	if err != nil {
		return nil, err
	}
	out := make([]Move, 0, len(es))
	for i := range es {
		m, err := moveOf(&es[i])
		if err != nil {
			return nil, err
		}
		out = append(out, *m)
	}
	return out, nil
}

func scanStrings(rows *sql.Rows) ([]string, error) {
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, sqlFault("", err)
		}
		out = append(out, s)
	}
	return out, sqlFault("", rows.Err())
}
