package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"muster/fault"
	"muster/record"
)

// TestMain lets the test binary play the process that is killed.
func TestMain(m *testing.M) {
	switch os.Getenv("MUSTER_STORE_CHILD") {
	case "write":
		child(os.Getenv("MUSTER_STORE_DIR"))
	case "full":
		full(os.Getenv("MUSTER_STORE_DIR"))
	}
	os.Exit(m.Run())
}

// child writes blobs, runs and events for ever and prints every digest once it was acknowledged.
func child(dir string) {
	ctx := context.Background()
	st, err := Open(ctx, dir)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		body := strings.Repeat(fmt.Sprintf("%d-%d ", os.Getpid(), i), 2000)
		s, err := st.PutBytes(ctx, "model", "m", []byte(body))
		if err == nil {
			_, err = st.AppendEvent(ctx, "test/event", "m", map[string]any{"i": i})
		}
		run := &record.Run{Version: 1, ID: fmt.Sprintf("r-%d-%d", os.Getpid(), i), Verb: "test", Started: time.Now().UTC(), Status: record.Running}
		if err == nil {
			err = st.StartRun(ctx, run)
		}
		if err == nil && i%2 == 0 {
			run.Status = record.Succeeded
			err = st.FinishRun(ctx, run)
		}
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(s.Digest)
	}
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	st, err := Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// TestKill9 kills a writer at random moments: nothing that was acknowledged is lost, and what is left behind is repairable.
func TestKill9(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	var acked []record.Digest
	for k := 0; k < rounds; k++ {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "MUSTER_STORE_CHILD=write", "MUSTER_STORE_DIR="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Duration(60+37*k) * time.Millisecond)
			cmd.Process.Signal(syscall.SIGKILL)
		}()
		for sc := bufio.NewScanner(out); sc.Scan(); {
			if strings.HasPrefix(sc.Text(), "error") {
				t.Fatal(sc.Text())
			}
			if d := record.Digest(sc.Text()); d.Valid() {
				acked = append(acked, d)
			}
		}
		cmd.Wait()
		st := open(t, dir)
		rep, err := st.Check(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !rep.Sound() {
			t.Fatalf("after kill %d: %+v", k, rep.Problems)
		}
		st.Close()
	}
	st := open(t, dir)
	if _, err := st.Repair(ctx); err != nil {
		t.Fatal(err)
	}
	if rep, err := st.Check(ctx); err != nil || !rep.OK() {
		t.Fatalf("after repair: %v %+v", err, rep)
	}
	for _, d := range acked {
		if _, err := st.Get(ctx, d); err != nil {
			t.Fatalf("%s was acknowledged and is lost: %v", d, err)
		}
	}
	if len(acked) == 0 {
		t.Error("nothing was ever acknowledged")
	}
	t.Logf("%d kills, %d acknowledged writes, all there", rounds, len(acked))
}

// TestTwoProcesses lets two stores on one folder move one pointer: no move is lost.
func TestTwoProcesses(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	a, b := open(t, dir), open(t, dir)
	var rels []record.Digest
	for i := 0; i < 2; i++ {
		s, err := a.PutBytes(ctx, "release", "m", []byte(fmt.Sprint("release ", i)))
		if err != nil {
			t.Fatal(err)
		}
		row := &ReleaseRow{Digest: s.Digest, Name: "m", Version: i + 1, Model: s.Digest, Verdict: record.Pass, KeyID: "k", Created: time.Now().UTC(), Blobs: []record.Subject{}}
		if i > 0 {
			row.Previous = rels[i-1]
		}
		if err := a.PutRelease(ctx, row); err != nil {
			t.Fatal(err)
		}
		rels = append(rels, s.Digest)
	}
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

// full fills a disk whose files may not grow beyond a limit.
func full(dir string) {
	ctx := context.Background()
	st, err := Open(ctx, dir)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	lim := syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &lim); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	_, err = st.PutBytes(ctx, "model", "big", make([]byte, 4<<20))
	fmt.Printf("%s|%s\n", fault.ClassOf(err), fault.HintOf(err))
	os.Exit(0)
}

// TestFullDisk: a clear error, and nothing half-written.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MUSTER_STORE_CHILD=full", "MUSTER_STORE_DIR="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if s := string(out); !strings.HasPrefix(s, string(fault.Exhausted)+"|") || len(s) < 15 {
		t.Errorf("a full disk says %q", s)
	}
	rep, err := open(t, dir).Check(context.Background())
	if err != nil || !rep.OK() {
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
