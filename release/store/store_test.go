package store

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"muster/fault"
	"muster/record"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	st, err := Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// twoReleases stores m@1 and m@2 and returns their digests.
func twoReleases(t *testing.T, st *Store) []record.Digest {
	t.Helper()
	var rels []record.Digest
	for i := range 2 {
		s, err := st.PutBytes(t.Context(), "release", "m", []byte(fmt.Sprint("release ", i)))
		if err != nil {
			t.Fatal(err)
		}
		row := &ReleaseRow{Digest: s.Digest, Name: "m", Version: i + 1, Model: s.Digest, Verdict: record.Pass, KeyID: "k", Created: time.Now().UTC(), Blobs: []record.Subject{}}
		if i > 0 {
			row.Previous = rels[i-1]
		}
		if err := st.PutRelease(t.Context(), row); err != nil {
			t.Fatal(err)
		}
		rels = append(rels, s.Digest)
	}
	return rels
}

// TestTwoStores lets two stores on one folder move one pointer: no move is lost.
func TestTwoStores(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	a, b := open(t, dir), open(t, dir)
	rels := twoReleases(t, a)
	var wg sync.WaitGroup
	moved := make([]int, 2)
	for k, st := range []*Store{a, b} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; i < 40; i++ {
				var from record.Digest
				if m, err := st.Pointer(ctx, "m/production"); err == nil && m != nil {
					from = m.To
				}
				to := rels[0]
				if from == to {
					to = rels[1]
				}
				_, err := st.Move(ctx, MoveRequest{Pointer: "m/production", To: to, Expect: from, Act: ActRelease, Actor: "t", Reason: "r"})
				switch {
				case err == nil:
					moved[k]++
				case fault.ClassOf(err) != fault.Mismatch:
					t.Errorf("store %d: %v", k, err)
				}
			}
		}()
	}
	wg.Wait()
	h, err := a.History(ctx, "m/production")
	if err != nil || len(h) != moved[0]+moved[1] {
		t.Errorf("%d moves in the history, %d+%d were acknowledged (%v)", len(h), moved[0], moved[1], err)
	}
	for i := 1; i < len(h); i++ {
		if h[i].From != h[i-1].To {
			t.Errorf("move %d starts at %s, the one before ended at %s", i, h[i].From.Short(), h[i-1].To.Short())
		}
	}
	if rep, err := a.Check(ctx); err != nil || !rep.OK() {
		t.Errorf("%v %+v", err, rep)
	}
}

// TestTamperedLogShows changes one entry of the log behind the store's back.
func TestTamperedLogShows(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	st := open(t, dir)
	for i := 0; i < 5; i++ {
		if _, err := st.AppendEvent(ctx, "drift/alarm", "m", map[string]int{"i": i}); err != nil {
			t.Fatal(err)
		}
	}
	st.Close()
	st = open(t, dir)
	if _, err := st.writer.ExecContext(ctx, `UPDATE log SET body = '{"i":9}' WHERE seq = 3`); err != nil {
		t.Fatal(err)
	}
	rep, err := st.Check(ctx)
	if err != nil || rep.Sound() {
		t.Errorf("a changed entry went unnoticed: %v %+v", err, rep)
	}
}
