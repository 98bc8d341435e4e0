package store

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/fault"
	"muster/record"
)

func TestRuns(t *testing.T) {
	st, ctx := open(t, t.TempDir()), t.Context()
	model, data := record.DigestBytes([]byte("model")), record.DigestBytes([]byte("data"))
	about := []record.Subject{{Kind: "model", Name: "m", Digest: model}, {Kind: "data", Name: "d", Digest: data}}
	finish := func(verb string, at int64, status record.Status, values ...float64) *record.Run {
		t.Helper()
		run := &record.Run{Verb: verb, Started: time.Unix(at, 0).UTC(), Seed: math.MaxUint64, Explicit: []string{"seed"}, Settings: map[string]any{"rate": 0.1}}
		if err := st.StartRun(ctx, run); err != nil {
			t.Fatal(err)
		}
		if got, err := st.Run(ctx, run.ID); err != nil || got.Status != record.Running {
			t.Fatalf("%v %+v", err, got)
		}
		for _, v := range values {
			run.Measurements = append(run.Measurements, record.Measurement{Name: "accuracy", Subjects: about, Value: record.Val(v), N: 10})
		}
		run.Status = status
		if err := st.FinishRun(ctx, run); err != nil {
			t.Fatal(err)
		}
		return run
	}
	late := finish("eval", 300, record.Succeeded, 0.3)
	early := finish("eval", 100, record.Succeeded, 0.1, 0.2)
	finish("eval", 200, record.Failed, 0.9)
	finish("train", 50, record.Succeeded)

	got, err := st.Run(ctx, early.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(early, got); d != "" {
		t.Errorf("a run does not read back: %s", d)
	}
	runs, err := st.Runs(ctx, RunFilter{Verb: "eval", Limit: 2})
	if err != nil || len(runs) != 2 || runs[0].ID != late.ID || runs[1].Status != record.Failed {
		t.Errorf("newest first: %v %+v", err, runs)
	}
	if runs, err := st.Runs(ctx, RunFilter{Status: record.Failed}); err != nil || len(runs) != 1 {
		t.Errorf("%v %+v", err, runs)
	}
	for _, d := range []record.Digest{model, data} {
		ms, err := st.Measurements(ctx, d)
		if err != nil || len(ms) != 3 || *ms[0].Value != 0.1 || *ms[1].Value != 0.2 || *ms[2].Value != 0.3 {
			t.Errorf("measurements in order of their runs, without the failed one: %v %+v", err, ms)
		}
	}
	if ms, err := st.Measurements(ctx, record.DigestBytes(nil)); err != nil || len(ms) != 0 {
		t.Errorf("%v %v", err, ms)
	}
	if _, err := st.Run(ctx, "none"); fault.ClassOf(err) != fault.NotFound {
		t.Errorf("no such run: %v", err)
	}
	if err := st.FinishRun(ctx, early); fault.ClassOf(err) != fault.Mismatch {
		t.Errorf("a run ends twice: %v", err)
	}
	if err := st.StartRun(ctx, &record.Run{ID: early.ID, Verb: "eval"}); fault.ClassOf(err) != fault.Mismatch {
		t.Errorf("a run starts twice: %v", err)
	}
	if err := st.FinishRun(ctx, &record.Run{ID: "never", Verb: "eval", Status: record.Failed}); fault.ClassOf(err) != fault.NotFound {
		t.Errorf("a run that never started: %v", err)
	}
}

func TestBadRuns(t *testing.T) {
	st, ctx := open(t, t.TempDir()), t.Context()
	sub := []record.Subject{{Digest: "sha256:x"}}
	for name, c := range map[string]struct {
		run  record.Run
		want fault.Class
	}{
		"no verb":         {record.Run{ID: "a"}, fault.Malformed},
		"id with a space": {record.Run{ID: "a b", Verb: "v"}, fault.Malformed},
		"long id":         {record.Run{ID: strings.Repeat("a", 201), Verb: "v"}, fault.Malformed},
		"NaN":             {record.Run{ID: "a", Verb: "v", Settings: map[string]any{"x": math.NaN()}}, fault.Numeric},
		"no value":        {record.Run{ID: "a", Verb: "v", Measurements: []record.Measurement{{Name: "m"}}}, fault.Malformed},
		"two answers":     {record.Run{ID: "a", Verb: "v", Measurements: []record.Measurement{{Name: "m", Value: record.Val(1), Absent: "why"}}}, fault.Malformed},
		"infinite":        {record.Run{ID: "a", Verb: "v", Measurements: []record.Measurement{{Name: "m", Value: record.Val(math.Inf(1))}}}, fault.Numeric},
		"bad subject":     {record.Run{ID: "a", Verb: "v", Measurements: []record.Measurement{{Name: "m", Absent: "why", Subjects: sub}}}, fault.Malformed},
		"too large":       {record.Run{ID: "a", Verb: "v", Error: strings.Repeat("x", MaxRecordBytes)}, fault.Exhausted},
	} {
		if err := st.StartRun(ctx, &c.run); err == nil || fault.ClassOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if runs, err := st.Runs(ctx, RunFilter{}); err != nil || len(runs) != 0 {
		t.Errorf("%v %v", err, runs)
	}
}

// TestKilledRun: a running run is left alone while its process lives, and marked when it is gone.
func TestKilledRun(t *testing.T) {
	st, ctx := open(t, t.TempDir()), t.Context()
	for _, id := range []string{"alive", "dead"} {
		if err := st.StartRun(ctx, &record.Run{ID: id, Verb: "train"}); err != nil {
			t.Fatal(err)
		}
	}
	if rep, err := st.Check(ctx); err != nil || !rep.OK() {
		t.Fatalf("%v %+v", err, rep)
	}
	if !processGone("1.1.1.00000000") {
		t.Skip("this system does not tell whether a process is gone")
	}
	if _, err := st.writer.ExecContext(ctx, `UPDATE run SET owner = '1.1.1.00000000' WHERE id = 'dead'`); err != nil {
		t.Fatal(err)
	}
	rep, err := st.Check(ctx)
	if err != nil || !rep.Sound() || len(rep.Problems) != 1 || rep.Problems[0].Place != "run dead" {
		t.Fatalf("%v %+v", err, rep)
	}
	if rep, err = st.Repair(ctx); err != nil || rep.Repaired != 1 || !rep.OK() {
		t.Fatalf("%v %+v", err, rep)
	}
	if run, err := st.Run(ctx, "dead"); err != nil || run.Status != record.Failed || !strings.Contains(run.Error, "killed") {
		t.Errorf("%v %+v", err, run)
	}
	if run, err := st.Run(ctx, "alive"); err != nil || run.Status != record.Running {
		t.Errorf("%v %+v", err, run)
	}
}

func TestPointers(t *testing.T) {
	st, ctx := open(t, t.TempDir()), t.Context()
	rels := twoReleases(t, st)
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	st.now = func() time.Time { return clock }
	if _, err := st.Pointer(ctx, "m/production"); fault.ClassOf(err) != fault.NotFound {
		t.Errorf("never set: %v", err)
	}
	move := func(to, expect record.Digest, act Act) error {
		_, err := st.Move(ctx, MoveRequest{Pointer: "m/production", To: to, Expect: expect, Act: act, Actor: "ada", Reason: "because"})
		return err
	}
	before, err := st.Seq(ctx)
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		to, expect record.Digest
		act        Act
		want       fault.Class
	}{
		{rels[0], rels[1], ActRelease, fault.Mismatch},
		{rels[0], "", ActRelease, ""},
		{rels[1], "", ActRelease, fault.Mismatch},
		{rels[1], rels[0], ActPromote, ""},
		{rels[0], rels[1], ActRollback, ""},
		{"", rels[0], ActRollback, ""},
		{"", rels[0], ActRollback, fault.Mismatch},
		{record.DigestBytes([]byte("no release")), "", ActRelease, fault.NotFound},
		{rels[0], "", "steal", fault.Malformed},
		{"junk", "", ActRelease, fault.Malformed},
		{rels[1], "", ActOverride, ""},
	}
	var want []record.Digest
	for i, s := range steps {
		clock = clock.Add(time.Hour)
		err := move(s.to, s.expect, s.act)
		if s.want == "" && err != nil || s.want != "" && (err == nil || fault.ClassOf(err) != s.want) {
			t.Errorf("step %d: %v", i, err)
		}
		if err == nil {
			want = append(want, s.to)
		}
	}
	h, err := st.History(ctx, "m/production")
	if err != nil || len(h) != len(want) {
		t.Fatalf("%v %+v", err, h)
	}
	for i, m := range h {
		if m.To != want[i] || m.Actor != "ada" || m.Reason != "because" || i > 0 && (m.From != h[i-1].To || m.Prev != h[i-1].Hash || m.At.Before(h[i-1].At)) {
			t.Errorf("move %d: %+v", i, m)
		}
	}
	if after, err := st.Seq(ctx); err != nil || after <= before || after != h[len(h)-1].Seq {
		t.Errorf("seq %d after %d (%v)", after, before, err)
	}
	if rep, err := st.Check(ctx); err != nil || !rep.OK() {
		t.Errorf("%v %+v", err, rep)
	}
}

// TestWhatWasLiveWhen steps the clock, also backwards: the log never goes back in time.
func TestWhatWasLiveWhen(t *testing.T) {
	st, ctx := open(t, t.TempDir()), t.Context()
	noon := time.Now().Add(time.Hour).UTC().Truncate(time.Hour)
	rels := twoReleases(t, st)
	at := noon
	st.now = func() time.Time { return at }
	for i, offset := range []time.Duration{0, 2 * time.Hour, time.Hour} { // the third by a clock that was set back
		at = noon.Add(offset)
		var from record.Digest
		if i > 0 {
			from = rels[(i+1)%2]
		}
		if _, err := st.Move(ctx, MoveRequest{Pointer: "m/production", To: rels[i%2], Expect: from, Act: ActRelease, Actor: "ada", Reason: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := st.At(ctx, "m/production", noon.Add(-time.Nanosecond)); fault.ClassOf(err) != fault.NotFound {
		t.Errorf("before the first: %v", err)
	}
	for after, want := range map[time.Duration]record.Digest{0: rels[0], time.Hour: rels[0], 2*time.Hour - 1: rels[0], 2 * time.Hour: rels[0], 9 * time.Hour: rels[0]} {
		if m, err := st.At(ctx, "m/production", noon.Add(after)); err != nil || m.To != want {
			t.Errorf("after %v: %v %+v", after, err, m)
		}
	}
	h, err := st.History(ctx, "")
	if err != nil || len(h) != 3 || !h[2].At.Equal(noon.Add(2*time.Hour)) {
		t.Errorf("a clock that was set back: %v %+v", err, h)
	}
	if ps, err := st.Pointers(ctx); err != nil || len(ps) != 1 || ps[0].To != rels[0] {
		t.Errorf("%v %+v", err, ps)
	}
}

func TestMoveNeedsNames(t *testing.T) {
	st, ctx := open(t, t.TempDir()), t.Context()
	good := MoveRequest{Pointer: "m/production", Act: ActRollback, Actor: "ada", Reason: "r"}
	for name, change := range map[string]func(*MoveRequest){
		"no actor": func(m *MoveRequest) { m.Actor = "" }, "no reason": func(m *MoveRequest) { m.Reason = "" },
		"no pointer": func(m *MoveRequest) { m.Pointer = "" }, "path": func(m *MoveRequest) { m.Pointer = "../x" },
		"empty part": func(m *MoveRequest) { m.Pointer = "a//b" }, "NUL": func(m *MoveRequest) { m.Reason = "a\x00b" },
		"not UTF-8": func(m *MoveRequest) { m.Reason = "\xff" },
	} {
		m := good
		change(&m)
		if _, err := st.Move(ctx, m); fault.ClassOf(err) != fault.Malformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	good.Reason = strings.Repeat("x", maxTextLen+1)
	if _, err := st.Move(ctx, good); fault.ClassOf(err) != fault.Exhausted {
		t.Errorf("a long reason: %v", err)
	}
}

func TestReleaseRefs(t *testing.T) {
	st, ctx := open(t, t.TempDir()), t.Context()
	rels := twoReleases(t, st)
	if _, err := st.Move(ctx, MoveRequest{Pointer: "m/production", To: rels[0], Act: ActRelease, Actor: "a", Reason: "r"}); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]record.Digest{
		"m": rels[1], "m@1": rels[0], "m@2": rels[1], "m/production": rels[0], string(rels[0]): rels[0],
		rels[1].Hex()[:6]: rels[1], string(rels[0][:20]): rels[0],
	} {
		if r, err := st.Release(ctx, ref); err != nil || r.Digest != want {
			t.Errorf("%s: %v %+v", ref, err, r)
		}
	}
	for _, ref := range []string{"", "none", "m@3", "m@x", "m@", "m/shadow", "abcdefabcdef", rels[0].Hex()[:5], "%", "sha256:%%%%%%"} {
		if _, err := st.Release(ctx, ref); fault.ClassOf(err) != fault.NotFound || fault.HintOf(err) == "" {
			t.Errorf("%q: %v", ref, err)
		}
	}
	row := ReleaseRow{Digest: rels[0], Name: "m", Version: 9, Model: record.DigestBytes([]byte("gone")), Created: time.Now()}
	if err := st.PutRelease(ctx, &row); fault.ClassOf(err) != fault.NotFound {
		t.Errorf("a missing blob: %v", err)
	}
	row.Model = rels[0]
	if err := st.PutRelease(ctx, &row); fault.ClassOf(err) != fault.Mismatch {
		t.Errorf("the same envelope twice: %v", err)
	}
	row.Name = "m/x"
	if err := st.PutRelease(ctx, &row); fault.ClassOf(err) != fault.Malformed {
		t.Errorf("a name like a pointer: %v", err)
	}
}

func TestEvents(t *testing.T) {
	st, ctx := open(t, t.TempDir()), t.Context()
	twoReleases(t, st)
	for _, c := range []struct {
		kind, subject string
		body          any
		want          fault.Class
	}{
		{"drift/alarm", "m", map[string]any{"p": 0.01, "html": "<b>&", "big": uint64(math.MaxUint64)}, ""},
		{"canary/hold", "m", json.RawMessage(`{"n": 3}`), ""},
		{"canary/hold", "n", nil, ""},
		{KindMove, "m", nil, fault.Denied},
		{"bad kind", "m", nil, fault.Malformed},
		{"x", "m", math.NaN(), fault.Numeric},
		{"x", "m", json.RawMessage("\"\xff\""), fault.Malformed},
		{"x", "m", strings.Repeat("x", MaxBodyBytes), fault.Exhausted},
	} {
		_, err := st.AppendEvent(ctx, c.kind, c.subject, c.body)
		if c.want == "" && err != nil || c.want != "" && (err == nil || fault.ClassOf(err) != c.want) {
			t.Errorf("%s: %v", c.kind, err)
		}
	}
	for i, c := range []struct {
		f EventFilter
		n int
	}{
		{EventFilter{}, 3}, {EventFilter{All: true}, 5}, {EventFilter{Kind: KindRelease}, 2}, {EventFilter{Kind: "canary/hold"}, 2},
		{EventFilter{Subject: "m"}, 2}, {EventFilter{After: 3}, 2}, {EventFilter{Limit: 1}, 1}, {EventFilter{Since: time.Now().Add(time.Hour)}, 0},
	} {
		if es, err := st.Events(ctx, c.f); err != nil || len(es) != c.n {
			t.Errorf("filter %d: %d events, want %d (%v)", i, len(es), c.n, err)
		}
	}
	es, _ := st.Events(ctx, EventFilter{Kind: "drift/alarm"})
	if len(es) != 1 || !strings.Contains(string(es[0].Body), "18446744073709551615") {
		t.Errorf("a large number changed: %s", es[0].Body)
	}
}

// TestTampering edits or removes one row of each table behind the store's back: the check names it.
func TestTampering(t *testing.T) {
	for _, q := range []string{
		`UPDATE log SET body = '{}' WHERE seq = 4`, `UPDATE log SET written = '2026-01-01T00:00:00.000000000Z' WHERE seq = 4`,
		`UPDATE log SET written = 'yesterday' WHERE seq = 4`, `UPDATE log SET kind = 'x' WHERE seq = 4`, `UPDATE log SET subject = 'x' WHERE seq = 4`,
		`UPDATE log SET prev = hash WHERE seq = 4`, `UPDATE log SET hash = prev WHERE seq = 4`, `UPDATE log SET seq = 40 WHERE seq = 4`,
		`DELETE FROM log WHERE seq = 1`, `DELETE FROM log WHERE seq = 4`, `DELETE FROM log WHERE seq = 5`, `DELETE FROM log`,
		`UPDATE meta SET value = '4 ' || (SELECT hash FROM log WHERE seq = 4) WHERE name = 'log.head'`,
		`DELETE FROM meta WHERE name = 'log.head'`, `UPDATE meta SET value = 'x' WHERE name = 'log.head'`,
		`UPDATE pointer SET digest = ''`, `UPDATE pointer SET seq = 1`, `UPDATE pointer SET name = 'm/shadow'`, `DELETE FROM pointer`,
		`UPDATE release_row SET verdict = 'fail' WHERE version = 1`, `UPDATE release_row SET created = '2026-01-01T00:00:00.000000000Z'`,
		`UPDATE release_row SET key_id = 'x'`, `DELETE FROM release_row WHERE version = 2`,
		`INSERT INTO release_blob (holder, ord, role, name, digest) SELECT digest, 0, 'x', 'x', model FROM release_row`,
		`UPDATE run SET status = 'failed'`, `UPDATE run SET status = 'running'`, `UPDATE run SET record = record || ' '`,
		`UPDATE run SET digest = 'x'`, `UPDATE run SET id = 'x'`, `DELETE FROM run`,
		`UPDATE subject SET digest = 'sha256:' || substr(digest, 8, 63) || 'z'`,
	} {
		st, ctx := open(t, t.TempDir()), t.Context()
		rels := twoReleases(t, st)
		run := &record.Run{ID: "r", Verb: "eval"}
		if err := st.StartRun(ctx, run); err != nil {
			t.Fatal(err)
		}
		run.Status = record.Succeeded
		if err := st.FinishRun(ctx, run); err != nil {
			t.Fatal(err)
		}
		if _, err := st.AppendEvent(ctx, "drift/alarm", "m", 1); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Move(ctx, MoveRequest{Pointer: "m/production", To: rels[0], Act: ActRelease, Actor: "a", Reason: "r"}); err != nil {
			t.Fatal(err)
		}
		if rep, err := st.Check(ctx); err != nil || !rep.OK() {
			t.Fatalf("before: %v %+v", err, rep)
		}
		if _, err := st.writer.ExecContext(ctx, `PRAGMA foreign_keys = 0`); err != nil {
			t.Fatal(err)
		}
		if _, err := st.writer.ExecContext(ctx, q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		rep, err := st.Check(ctx)
		if err != nil || rep.Sound() {
			t.Errorf("%s: the check finds nothing (%v)", q, err)
			continue
		}
		if p := rep.Problems[0]; p.Class == "" || p.Place == "" || p.Hint == "" || p.What == "" {
			t.Errorf("%s: %+v", q, p)
		}
		st.Close()
	}
}

func TestOpenRefusals(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	if Exists(dir) {
		t.Error("an empty folder is no store")
	}
	st := open(t, dir)
	if _, err := st.writer.ExecContext(ctx, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`); err != nil {
		t.Fatal(err)
	}
	st.Close()
	if !Exists(dir) {
		t.Error("a store is one")
	}
	if _, err := Open(ctx, dir); fault.ClassOf(err) != fault.Unsupported || fault.HintOf(err) == "" {
		t.Errorf("a newer schema: %v", err)
	}
	garbage := t.TempDir()
	if err := os.WriteFile(filepath.Join(garbage, dbName), []byte(strings.Repeat("this is no database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, garbage); fault.ClassOf(err) != fault.Malformed || fault.HintOf(err) == "" {
		t.Errorf("no database: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, file); err == nil {
		t.Error("a file is no folder")
	}
	odd := filepath.Join(t.TempDir(), "a ?#%20&=b")
	if st, err := Open(ctx, odd); err != nil || !Exists(odd) {
		t.Errorf("a folder with odd characters: %v", err)
	} else {
		st.Close()
	}
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		st, err := Open(b.Context(), dir)
		if err != nil {
			b.Fatal(err)
		}
		st.Close()
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	st, err := Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	for b.Loop() {
		if _, err := st.AppendEvent(b.Context(), "x", "m", 1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeq(b *testing.B) {
	st, err := Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	for b.Loop() {
		if _, err := st.Seq(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
