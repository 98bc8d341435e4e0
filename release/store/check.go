package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"muster/fault"
	"muster/record"
)

// maxProblems bounds a report; a store with more is damaged beyond listing.
const maxProblems = 1000

// Problem is one thing that is wrong with a store.
type Problem struct {
	Class fault.Class `json:"class"`
	Place string      `json:"place"`
	What  string      `json:"what"`
	Hint  string      `json:"hint"`
	// Repairable is set for what a killed process leaves behind: temporary
	// files and runs that never ended. Nothing is lost by them; Repair clears them.
	Repairable bool `json:"repairable"`
}

// CheckReport says what was looked at and what is wrong.
type CheckReport struct {
	Blobs        int           `json:"blobs"`
	Bytes        int64         `json:"bytes"`
	Unreferenced int           `json:"unreferenced"` // blobs that no row names: harmless, a Put that was cut off after the rename
	Runs         int           `json:"runs"`
	Releases     int           `json:"releases"`
	Pointers     int           `json:"pointers"`
	Entries      int           `json:"entries"` // of the log
	Head         record.Digest `json:"head"`    // hash of the last entry: note it elsewhere to notice a log that was rewritten as a whole
	Problems     []Problem     `json:"problems"`
	Repaired     int           `json:"repaired"`
}

// OK reports whether nothing is wrong.
func (r *CheckReport) OK() bool { return len(r.Problems) == 0 }

// Sound reports whether nothing is lost or damaged: what problems there are, Repair clears.
func (r *CheckReport) Sound() bool {
	for _, p := range r.Problems {
		if !p.Repairable {
			return false
		}
	}
	return true
}

func (r *CheckReport) add(class fault.Class, place, hint, format string, args ...any) {
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, Problem{Class: class, Place: place, What: fmt.Sprintf(format, args...), Hint: hint})
	}
}

func (r *CheckReport) addRepairable(class fault.Class, place, format string, args ...any) {
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, Problem{Class: class, Place: place, What: fmt.Sprintf(format, args...),
			Hint: "run `muster store check --repair`", Repairable: true})
	}
}

const (
	hintTampered = "the row was changed outside Muster; restore the folder from a backup"
	hintRestore  = "put the original file again, or restore it from a backup"
)

// Check looks at everything: it re-hashes every blob, follows every reference
// and the whole log, and asks the database about itself. It changes nothing and
// may run while others write. The error is for a check that could not be done.
func (s *Store) Check(ctx context.Context) (*CheckReport, error) {
	return s.check(ctx, nil)
}

// Repair is Check, and then removes the temporary files of processes that are
// gone and marks their runs as failed. It touches nothing else.
func (s *Store) Repair(ctx context.Context) (*CheckReport, error) {
	var fix leftovers
	r, err := s.check(ctx, &fix)
	if err != nil {
		return nil, err
	}
	kept := r.Problems[:0]
	for _, p := range r.Problems {
		if !p.Repairable {
			kept = append(kept, p)
		}
	}
	r.Problems = kept
	for _, f := range fix.temps {
		if err := s.blobs.root.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, diskFault("blobs/"+f, err)
		}
		r.Repaired++
	}
	for _, id := range fix.runs {
		if err := s.markKilled(ctx, id); err != nil {
			return nil, err
		}
		r.Repaired++
	}
	return r, nil
}

// leftovers is what Repair clears.
type leftovers struct{ temps, runs []string }

func (s *Store) markKilled(ctx context.Context, id string) error {
	run, err := s.Run(ctx, id)
	if err != nil {
		return err
	}
	run.Status, run.Error = record.Failed, "killed: its process ended without finishing the run"
	return s.FinishRun(ctx, run)
}

// check does the work; what could be repaired is added to fix if it is not nil.
func (s *Store) check(ctx context.Context, fix *leftovers) (*CheckReport, error) {
	if fix == nil {
		fix = &leftovers{}
	}
	c := &checker{s: s, r: &CheckReport{Problems: []Problem{}}, fix: fix, need: map[record.Digest]string{}}
	// One read transaction is one state of the database. Blobs are written
	// before the rows that name them and never removed, so looking at the
	// files afterwards finds all that this state needs.
	tx, err := s.reader.BeginTx(ctx, nil)
	if err != nil {
		return nil, sqlFault(dbName, err)
	}
	defer tx.Rollback()
	for _, step := range []func(context.Context, *sql.Tx) error{c.database, c.log, c.pointers, c.releases, c.runs, c.subjects} {
		if err := step(ctx, tx); err != nil {
			return nil, err
		}
	}
	return c.r, c.blobs(ctx)
}

// checker carries what one step of a check learns for the next.
type checker struct {
	s    *Store
	r    *CheckReport
	fix  *leftovers
	need map[record.Digest]string // blobs that must be there, and for whom

	lastMove map[string]*Move  // by pointer
	released map[string]string // body of the log entry by release digest
	ended    map[string]runBody
}

func (c *checker) database(ctx context.Context, tx *sql.Tx) error {
	bad, err := integrity(ctx, tx)
	for _, line := range bad {
		c.r.add(fault.Malformed, dbName, "restore the folder from a backup", "%s", line)
	}
	return err
}

func (c *checker) log(ctx context.Context, tx *sql.Tx) error {
	c.lastMove, c.released, c.ended = map[string]*Move{}, map[string]string{}, map[string]runBody{}
	rows, err := tx.QueryContext(ctx, `SELECT seq, written, kind, subject, body, prev, hash FROM log ORDER BY seq`)
	if err != nil {
		return sqlFault("log", err)
	}
	defer rows.Close()
	prev, seq, at := c.s.genesis(), int64(0), time.Time{}
	for rows.Next() {
		e, err := scanEvent(rows)
		if err != nil {
			c.r.add(fault.ClassOf(err), "log", hintTampered, "%v", err)
			continue
		}
		c.entry(e, seq, prev, at)
		seq, prev, at = e.Seq, e.Hash, e.At
		c.r.Entries++
	}
	if err := rows.Err(); err != nil {
		return sqlFault("log", err)
	}
	c.r.Head = prev
	head, hash, err := readHead(ctx, tx)
	if err != nil && fault.ClassOf(err) != fault.Denied {
		return sqlFault("log", err)
	}
	if err != nil || head != seq || hash != prev {
		c.r.add(fault.Denied, "log", hintTampered, "the log ends at entry %d, its head says %d: entries were cut off or added", seq, head)
	}
	return nil
}

// entry checks one entry against the one before and notes what it says.
func (c *checker) entry(e *Event, seq int64, prev record.Digest, at time.Time) {
	place := fmt.Sprintf("log entry %d", e.Seq)
	switch h, err := e.hash(); {
	case err != nil || h != e.Hash:
		c.r.add(fault.Denied, place, hintTampered, "content does not match its hash")
	case e.Seq != seq+1:
		c.r.add(fault.Denied, place, hintTampered, "entry %d is missing before it", seq+1)
	case e.Prev != prev:
		c.r.add(fault.Denied, place, hintTampered, "it does not follow the entry before")
	case e.At.Before(at):
		c.r.add(fault.Denied, place, hintTampered, "it is older than the entry before")
	}
	switch e.Kind {
	case KindMove:
		m, err := moveOf(e)
		if err != nil {
			c.r.add(fault.Malformed, place, hintTampered, "%v", err)
			return
		}
		if last := c.lastMove[m.Pointer]; last != nil && last.To != m.From || last == nil && m.From != "" {
			c.r.add(fault.Denied, place, hintTampered, "the move does not start where pointer %s stood", m.Pointer)
		}
		c.lastMove[m.Pointer] = m
	case KindRelease:
		c.released[e.Subject] = string(e.Body)
	case KindRun:
		var b runBody
		if err := json.Unmarshal(e.Body, &b); err != nil {
			c.r.add(fault.Malformed, place, hintTampered, "%v", err)
		}
		c.ended[e.Subject] = b
	}
}

func (c *checker) pointers(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT name, digest, seq FROM pointer`)
	if err != nil {
		return sqlFault("pointers", err)
	}
	defer rows.Close()
	seen := 0
	for rows.Next() {
		var name string
		var d record.Digest
		var seq int64
		if err := rows.Scan(&name, &d, &seq); err != nil {
			return sqlFault("pointers", err)
		}
		c.r.Pointers++
		m := c.lastMove[name]
		if m == nil || m.To != d || m.Seq != seq {
			c.r.add(fault.Denied, "pointer "+clip(name), hintTampered, "it stands at %s, but its last move in the log does not say so", orNone(d))
		}
		if m != nil {
			seen++
		}
		if _, ok := c.released[string(d)]; d != "" && !ok {
			c.r.add(fault.NotFound, "pointer "+clip(name), hintTampered, "it names %s, which is no release", d.Short())
		}
	}
	if seen != len(c.lastMove) {
		c.r.add(fault.Denied, "pointers", hintTampered, "%d pointers of the log are missing", len(c.lastMove)-seen)
	}
	return sqlFault("pointers", rows.Err())
}

func (c *checker) releases(ctx context.Context, tx *sql.Tx) error {
	rels, err := c.s.releases(ctx, tx, `ORDER BY created`)
	if err != nil {
		return err
	}
	for i := range rels {
		r := rels[i].normal()
		place := fmt.Sprintf("release %s@%d", clip(r.Name), r.Version)
		body, err := json.Marshal(r)
		if err != nil || string(body) != c.released[string(r.Digest)] {
			c.r.add(fault.Denied, place, hintTampered, "the row is not the one that was written")
		}
		c.need[r.Digest], c.need[r.Model] = place, place
		for _, b := range r.Blobs {
			c.need[b.Digest] = place
		}
		delete(c.released, string(r.Digest))
		c.r.Releases++
	}
	for _, d := range slices.Sorted(maps.Keys(c.released)) {
		c.r.add(fault.NotFound, "release "+clip(d), hintTampered, "the log has it, the table does not")
	}
	return nil
}

func (c *checker) runs(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT id, status, owner, digest, record FROM run`)
	if err != nil {
		return sqlFault("runs", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, status, owner, raw string
		var d record.Digest
		if err := rows.Scan(&id, &status, &owner, &d, &raw); err != nil {
			return sqlFault("runs", err)
		}
		c.r.Runs++
		c.run(id, status, owner, d, raw)
		delete(c.ended, id)
	}
	for _, id := range slices.Sorted(maps.Keys(c.ended)) {
		c.r.add(fault.NotFound, "run "+clip(id), hintTampered, "the log has it, the table does not")
	}
	return sqlFault("runs", rows.Err())
}

func (c *checker) run(id, status, owner string, d record.Digest, raw string) {
	run, err := decodeRun(id, d, raw)
	if err != nil {
		c.r.add(fault.ClassOf(err), "run "+clip(id), hintTampered, "%v", err)
		return
	}
	if string(run.Status) != status || run.ID != id {
		c.r.add(fault.Denied, "run "+clip(id), hintTampered, "the row and the record disagree")
	}
	logged, ended := c.ended[id]
	switch {
	case run.Status != record.Running && (!ended || logged.Digest != d):
		c.r.add(fault.Denied, "run "+clip(id), hintTampered, "the record is not the one that was written")
	case run.Status == record.Running && ended:
		c.r.add(fault.Denied, "run "+clip(id), hintTampered, "the log says that it ended")
	case run.Status == record.Running && processGone(owner):
		pid, _, _ := strings.Cut(owner, ".")
		c.r.addRepairable(fault.Internal, "run "+clip(id), "killed: it is running, but its process %s is gone", pid)
		c.fix.runs = append(c.fix.runs, id)
	}
}

func (c *checker) subjects(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT digest, kind, name FROM subject`)
	if err != nil {
		return sqlFault("subjects", err)
	}
	defer rows.Close()
	for rows.Next() {
		var sub record.Subject
		if err := rows.Scan(&sub.Digest, &sub.Kind, &sub.Name); err != nil {
			return sqlFault("subjects", err)
		}
		if _, ok := c.need[sub.Digest]; !ok {
			c.need[sub.Digest] = sub.Kind + " " + clip(sub.Name)
		}
	}
	return sqlFault("subjects", rows.Err())
}

// blobs re-hashes every file and looks for those that should be there.
func (c *checker) blobs(ctx context.Context) error {
	found := map[record.Digest]bool{}
	err := c.s.blobs.walk(func(name string, e fs.DirEntry) error {
		if err := ctx.Err(); err != nil {
			return fault.New(fault.Exhausted, "blobs", "store: stopped: %w", err)
		}
		if path.Dir(name) == "tmp" {
			c.temp(name, e)
			return nil
		}
		d, ok := digestOfPath(name)
		if !ok || !e.Type().IsRegular() {
			c.r.add(fault.Malformed, "blobs/"+clip(name), "move it elsewhere", "it does not belong here")
			return nil
		}
		found[d] = true
		c.blob(d)
		return nil
	})
	if err != nil {
		return err
	}
	for _, d := range slices.Sorted(maps.Keys(c.need)) {
		if !found[d] {
			c.r.add(fault.NotFound, "blob "+string(d), hintRestore, "missing; needed by %s", c.need[d])
		}
	}
	return nil
}

func (c *checker) blob(d record.Digest) {
	c.r.Blobs++
	if _, ok := c.need[d]; !ok {
		c.r.Unreferenced++
	}
	r, err := c.s.blobs.Open(d)
	if err == nil {
		var n int64
		n, err = io.Copy(io.Discard, r)
		c.r.Bytes += n
		r.Close()
	}
	if err != nil {
		c.r.add(fault.ClassOf(err), "blob "+string(d), hintRestore, "%v", err)
	}
}

// temp looks at a temporary file. One of a running process is at work; one
// whose process cannot be judged is left alone for a day.
func (c *checker) temp(name string, e fs.DirEntry) {
	owner, _, _ := cutLast(path.Base(name), ".")
	info, err := e.Info()
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if processGone(owner) || err == nil && time.Since(info.ModTime()) > 24*time.Hour {
		c.r.addRepairable(fault.Internal, "blobs/"+clip(name), "temporary file of a process that is gone")
		c.fix.temps = append(c.fix.temps, name)
	}
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
