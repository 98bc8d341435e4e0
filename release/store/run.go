package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"muster/fault"
	"muster/record"
)

// StartRun stores run as running and remembers which process runs it, so that
// Check can tell a killed run from a slow one. An empty ID, Version or Started
// is filled in.
func (s *Store) StartRun(ctx context.Context, run *record.Run) error {
	if run.Version == 0 {
		run.Version = record.Version
	}
	if run.Started.IsZero() {
		run.Started = s.now().UTC().Round(0)
	}
	if run.ID == "" {
		run.ID = fmt.Sprintf("%s-%s-%s", run.Verb, run.Started.UTC().Format("20060102T150405"), randomHex(3))
	}
	run.Status = record.Running
	raw, err := encodeRun(run)
	if err != nil {
		return err
	}
	return s.write(ctx, "run "+run.ID, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO run (id, verb, status, started, owner, digest, record) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			run.ID, run.Verb, string(run.Status), formatTime(run.Started), s.owner, string(record.DigestBytes(raw)), string(raw))
		return err
	})
}

// FinishRun stores how a started run ended, with its measurements; from then on
// it cannot be changed, and the log holds its digest.
func (s *Store) FinishRun(ctx context.Context, run *record.Run) error {
	if run.Status != record.Succeeded && run.Status != record.Failed {
		return fault.New(fault.Malformed, "run "+clip(run.ID), "store: status %q is not an end", run.Status)
	}
	raw, err := encodeRun(run)
	if err != nil {
		return err
	}
	return s.write(ctx, "run "+run.ID, func(tx *sql.Tx) error {
		if err := s.finish(ctx, tx, run, raw); err != nil {
			return err
		}
		return indexMeasurements(ctx, tx, run)
	})
}

// runBody is what the log keeps of a run: enough to see that the row is the one that was written.
type runBody struct {
	Verb   string        `json:"verb"`
	Status record.Status `json:"status"`
	Digest record.Digest `json:"digest"`
}

func (s *Store) finish(ctx context.Context, tx *sql.Tx, run *record.Run, raw []byte) error {
	d := record.DigestBytes(raw)
	res, err := tx.ExecContext(ctx, `UPDATE run SET verb = $1, status = $2, started = $3, digest = $4, record = $5 WHERE id = $6 AND status = 'running'`,
		run.Verb, string(run.Status), formatTime(run.Started), string(d), string(raw), run.ID)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		if err != nil {
			return err
		}
		return notRunning(ctx, tx, run.ID)
	}
	_, err = s.append(ctx, tx, KindRun, run.ID, runBody{run.Verb, run.Status, d})
	return err
}

func notRunning(ctx context.Context, tx *sql.Tx, id string) error {
	var status string
	err := tx.QueryRowContext(ctx, `SELECT status FROM run WHERE id = $1`, id).Scan(&status)
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.NotFound, "", "store: run was never started").WithHint("call StartRun first")
	}
	if err != nil {
		return err
	}
	return fault.New(fault.Mismatch, "", "store: run has already ended as %q", status).WithHint("a run that has ended cannot be changed")
}

func indexMeasurements(ctx context.Context, tx *sql.Tx, run *record.Run) error {
	for i, m := range run.Measurements {
		seen := map[record.Digest]bool{}
		for _, sub := range m.Subjects {
			if seen[sub.Digest] {
				continue
			}
			seen[sub.Digest] = true
			_, err := tx.ExecContext(ctx, `INSERT INTO measurement (subject, run, ord, name) VALUES ($1, $2, $3, $4)`,
				string(sub.Digest), run.ID, i, m.Name)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// encodeRun checks run and returns the bytes that are stored.
func encodeRun(run *record.Run) ([]byte, error) {
	place := "run " + clip(run.ID)
	if err := checkName("run id", run.ID); err != nil {
		return nil, fault.At(place, err)
	}
	if err := checkName("verb", run.Verb); err != nil {
		return nil, fault.At(place, err)
	}
	for i := range run.Measurements {
		if err := checkMeasurement(&run.Measurements[i]); err != nil {
			return nil, fault.At(place, err)
		}
	}
	raw, err := json.Marshal(run)
	if err != nil {
		return nil, fault.New(fault.Numeric, place, "store: %w", err).WithHint("a record may not hold NaN or infinities")
	}
	if len(raw) > MaxRecordBytes {
		return nil, fault.New(fault.Exhausted, place, "store: record has %d bytes, the limit is %d", len(raw), MaxRecordBytes).
			WithHint("put large details as blobs")
	}
	return raw, nil
}

// checkMeasurement refuses a measurement that says two things or nothing.
func checkMeasurement(m *record.Measurement) error {
	place := "measurement " + clip(m.Name)
	if m.Name == "" {
		return fault.New(fault.Malformed, place, "store: measurement has no name")
	}
	if (m.Value == nil) == (m.Absent == "") {
		return fault.New(fault.Malformed, place, "store: exactly one of value and absent must be set")
	}
	if m.Value != nil && (math.IsNaN(*m.Value) || math.IsInf(*m.Value, 0)) {
		return fault.New(fault.Numeric, place, "store: value is %g", *m.Value).WithHint("say why it is absent instead")
	}
	for _, sub := range m.Subjects {
		if err := checkDigest("subject "+clip(sub.Name), sub.Digest); err != nil {
			return fault.At(place, err)
		}
	}
	return nil
}

// decodeRun checks the stored bytes of a run against their digest.
func decodeRun(id string, digest record.Digest, raw string) (*record.Run, error) {
	place := "run " + clip(id)
	if record.DigestBytes([]byte(raw)) != digest {
		return nil, fault.New(fault.Denied, place, "store: record does not match its digest").
			WithHint("the row was changed outside Muster: run `muster store check`")
	}
	var run record.Run
	if err := json.Unmarshal([]byte(raw), &run); err != nil {
		return nil, fault.New(fault.Malformed, place, "store: %w", err)
	}
	if run.Version > record.Version {
		return nil, fault.New(fault.Unsupported, place, "store: record version %d is newer than %d", run.Version, record.Version)
	}
	return &run, nil
}

// Run returns the run with this id.
func (s *Store) Run(ctx context.Context, id string) (*record.Run, error) {
	runs, err := s.runs(ctx, `WHERE id = $1`, id)
	if err != nil {
		return nil, err
	}
	if len(runs) == 0 {
		return nil, fault.New(fault.NotFound, "run "+clip(id), "store: no such run").WithHint("`muster runs` lists them")
	}
	return &runs[0], nil
}

// RunFilter selects runs; the zero value is all of them.
type RunFilter struct {
	Verb   string
	Status record.Status
	Limit  int // the newest ones; <= 0 is no limit
}

// Runs returns the selected runs, newest first.
func (s *Store) Runs(ctx context.Context, f RunFilter) ([]record.Run, error) {
	return s.runs(ctx, `WHERE ($1 = '' OR verb = $1) AND ($2 = '' OR status = $2) ORDER BY started DESC, id DESC LIMIT $3`,
		f.Verb, string(f.Status), noLimit(f.Limit))
}

func (s *Store) runs(ctx context.Context, tail string, args ...any) ([]record.Run, error) {
	rows, err := s.reader.QueryContext(ctx, `SELECT id, digest, record FROM run `+tail, args...)
	if err != nil {
		return nil, sqlFault("runs", err)
	}
	defer rows.Close()
	var out []record.Run
	for rows.Next() {
		var id, raw string
		var d record.Digest
		if err := rows.Scan(&id, &d, &raw); err != nil {
			return nil, sqlFault("runs", err)
		}
		run, err := decodeRun(id, d, raw)
		if err != nil {
			return nil, err
		}
		out = append(out, *run)
	}
	return out, sqlFault("runs", rows.Err())
}

// Measurements returns every measurement that speaks about the subject, in the
// order in which their runs started. Measurements of failed runs are left out:
// they stay readable in their run, but are no evidence.
func (s *Store) Measurements(ctx context.Context, subject record.Digest) ([]record.Measurement, error) {
	rows, err := s.reader.QueryContext(ctx, `SELECT run.id, run.digest, run.record, m.ord FROM measurement m JOIN run ON run.id = m.run
		WHERE m.subject = $1 AND run.status = 'succeeded' ORDER BY run.started, run.id, m.ord`, string(subject))
	if err != nil {
		return nil, sqlFault("measurements", err)
	}
	defer rows.Close()
	var out []record.Measurement
	run := &record.Run{}
	for rows.Next() {
		var id, raw string
		var d record.Digest
		var ord int
		if err := rows.Scan(&id, &d, &raw, &ord); err != nil {
			return nil, sqlFault("measurements", err)
		}
		if run.ID != id {
			if run, err = decodeRun(id, d, raw); err != nil {
				return nil, err
			}
		}
		if ord < 0 || ord >= len(run.Measurements) {
			return nil, fault.New(fault.Denied, "run "+id, "store: there is no measurement %d", ord)
		}
		out = append(out, run.Measurements[ord])
	}
	return out, sqlFault("measurements", rows.Err())
}
