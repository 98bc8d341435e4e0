//go:build unix

package store

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"muster/fault"
	"muster/record"
)

// TestMain lets the test binary play the process that is killed, that competes
// for a pointer, or that meets a full disk.
func TestMain(m *testing.M) {
	var err error
	dir := os.Getenv("MUSTER_STORE_DIR")
	switch os.Getenv("MUSTER_STORE_CHILD") {
	case "":
		os.Exit(m.Run())
	case "write":
		err = childWrite(dir)
	case "move":
		err = childMove(dir)
	case "full":
		err = childFull(dir)
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child starts the test binary as a process of the given kind.
func child(t *testing.T, kind, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MUSTER_STORE_CHILD="+kind, "MUSTER_STORE_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// childWrite writes for ever and prints what was acknowledged, one a line.
func childWrite(dir string) error {
	ctx := context.Background()
	st, err := Open(ctx, dir)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		sub, err := st.PutBytes(ctx, "release", "m", []byte(strings.Repeat(fmt.Sprintf("%d-%d ", os.Getpid(), i), 2000)))
		if err != nil {
			return err
		}
		fmt.Println("blob", sub.Digest)
		run := &record.Run{Verb: "test"}
		if err := st.StartRun(ctx, run); err != nil {
			return err
		}
		fmt.Println("run", run.ID, record.Running)
		n, prev, err := st.NextVersion(ctx, "m")
		if err != nil {
			return err
		}
		if err := st.PutRelease(ctx, &ReleaseRow{Digest: sub.Digest, Name: "m", Version: n, Model: sub.Digest, Previous: prev, Created: time.Now()}); err != nil {
			return err
		}
		fmt.Println("release", sub.Digest)
		var from record.Digest // not prev: the process before may have been killed between release and move
		if m, err := st.Pointer(ctx, "m/production"); err == nil {
			from = m.To
		} else if fault.ClassOf(err) != fault.NotFound {
			return err
		}
		m, err := st.Move(ctx, MoveRequest{Pointer: "m/production", To: sub.Digest, Expect: from, Act: ActRelease, Actor: "t", Reason: "r"})
		if err != nil {
			return err
		}
		fmt.Println("move", m.Seq, m.Hash)
		run.Status = record.Succeeded
		if err := st.FinishRun(ctx, run); err != nil {
			return err
		}
		fmt.Println("run", run.ID, record.Succeeded)
	}
}

// TestKill9 kills a writer at random moments, the first ones while it makes the
// store. After each kill the store is sound; nothing acknowledged is ever lost.
func TestKill9(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	kills := 24
	if testing.Short() {
		kills = 5
	}
	acked := map[string]string{}
	for k := range kills {
		cmd, lines := child(t, "write", dir)
		wait := time.Duration(rand.Int64N(int64(120 * time.Millisecond)))
		timer := time.AfterFunc(wait, func() { cmd.Process.Signal(syscall.SIGKILL) })
		for lines.Scan() {
			what, rest, _ := strings.Cut(lines.Text(), " ")
			if what == "error" {
				t.Errorf("child %d: %s", k, rest)
				break
			}
			id, value, _ := strings.Cut(rest, " ")
			acked[what+" "+id] = value
		}
		cmd.Wait()
		timer.Stop()
		st := open(t, dir)
		rep, err := st.Check(ctx)
		if err != nil || !rep.Sound() {
			t.Fatalf("after kill %d (%v): %v %+v", k, wait, err, rep)
		}
		st.Close()
	}
	st := open(t, dir)
	for what, value := range acked {
		checkAcked(t, st, what, value)
	}
	first, err := st.Repair(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if rep, err := st.Check(ctx); err != nil || !rep.OK() {
		t.Fatalf("after repair: %v %+v", err, rep)
	}
	if len(acked) == 0 {
		t.Error("nothing was ever acknowledged")
	}
	t.Logf("%d kills, %d acknowledged writes, all there; %d leftovers cleared", kills, len(acked), first.Repaired)
}

// checkAcked looks for one write that was acknowledged before its process was killed.
func checkAcked(t *testing.T, st *Store, what, value string) {
	t.Helper()
	kind, id, _ := strings.Cut(what, " ")
	var err error
	switch kind {
	case "blob":
		_, err = st.Get(t.Context(), record.Digest(id))
	case "release":
		_, err = st.Release(t.Context(), id)
	case "run":
		var run *record.Run
		run, err = st.Run(t.Context(), id)
		if err == nil && value == string(record.Succeeded) && run.Status != record.Succeeded {
			err = fmt.Errorf("status %s", run.Status)
		}
	case "move":
		var es []Event
		seq, _ := strconv.ParseInt(id, 10, 64)
		es, err = st.Events(t.Context(), EventFilter{Kind: KindMove, After: seq - 1, Limit: 1})
		if err == nil && (len(es) != 1 || es[0].Seq != seq || string(es[0].Hash) != value) {
			err = fmt.Errorf("the log has %v", es)
		}
	}
	if err != nil {
		t.Errorf("%s was acknowledged and is lost: %v", what, err)
	}
}

// childMove moves a pointer forty times, each time to and fro, whoever else does.
func childMove(dir string) error {
	ctx := context.Background()
	st, err := Open(ctx, dir)
	if err != nil {
		return err
	}
	rels, err := st.Releases(ctx)
	if err != nil {
		return err
	}
	for moved, lost := 0, 0; moved < 40; {
		var from record.Digest
		m, err := st.Pointer(ctx, "m/production")
		if err == nil {
			from = m.To
		} else if fault.ClassOf(err) != fault.NotFound {
			return err
		}
		to := rels[0].Digest
		if from == to {
			to = rels[1].Digest
		}
		_, err = st.Move(ctx, MoveRequest{Pointer: "m/production", To: to, Expect: from, Act: ActRelease, Actor: strconv.Itoa(os.Getpid()), Reason: "r"})
		switch {
		case err == nil:
			moved++
		case fault.ClassOf(err) == fault.Mismatch && lost < 10000:
			lost++
		default:
			return err
		}
	}
	return nil
}

// TestTwoProcesses: processes that compete for a pointer lose no update and see no lock errors.
func TestTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	st := open(t, dir)
	twoReleases(t, st)
	var cmds []*exec.Cmd
	var outs []*bufio.Scanner
	for range 2 {
		cmd, out := child(t, "move", dir)
		cmds, outs = append(cmds, cmd), append(outs, out)
	}
	for i, cmd := range cmds {
		for outs[i].Scan() {
			t.Error(outs[i].Text())
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	h, err := st.History(t.Context(), "m/production")
	if err != nil || len(h) != 80 {
		t.Fatalf("%d moves in the history, 80 were acknowledged (%v)", len(h), err)
	}
	for i := 1; i < len(h); i++ {
		if h[i].From != h[i-1].To || h[i].To == h[i].From {
			t.Errorf("move %d goes from %s to %s, the one before ended at %s", i, h[i].From.Short(), h[i].To.Short(), h[i-1].To.Short())
		}
	}
	if rep, err := st.Check(t.Context()); err != nil || !rep.OK() {
		t.Errorf("%v %+v", err, rep)
	}
}

// TestOpenTogether: processes that make the same store at the same moment all get it.
func TestOpenTogether(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	errs, ids := make(chan error, 6), make(chan string, 6)
	for range 6 {
		go func() {
			st, err := Open(context.Background(), dir)
			if err == nil {
				ids <- st.ID()
				st.Close()
			}
			errs <- err
		}()
	}
	for range 6 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	first := <-ids
	for range 5 {
		if id := <-ids; id != first {
			t.Errorf("two identities, %s and %s", first, id)
		}
	}
}

// childFull writes under a limit on the size of files, first a blob, then the database.
func childFull(dir string) error {
	ctx := context.Background()
	st, err := Open(ctx, dir)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ) // a write beyond the limit then fails with EFBIG
	lim := syscall.Rlimit{Cur: 256 << 10, Max: 256 << 10}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &lim); err != nil {
		return err
	}
	_, err = st.PutBytes(ctx, "model", "big", make([]byte, 4<<20))
	fmt.Printf("%s|%s\n", fault.ClassOf(err), fault.HintOf(err))
	n := 0
	for ; n < 1000; n++ {
		if _, err = st.AppendEvent(ctx, "test/event", "m", strings.Repeat("x", 10000)); err != nil {
			break
		}
	}
	fmt.Printf("%s|%s|%d\n", fault.ClassOf(err), fault.HintOf(err), n)
	return nil
}

// TestFileLimit: a file that may not grow gives a clear error, and nothing is half-written.
func TestFileLimit(t *testing.T) {
	dir := t.TempDir()
	cmd, out := child(t, "full", dir)
	var got []string
	for out.Scan() {
		got = append(got, out.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %q", err, got)
	}
	if len(got) != 2 {
		t.Fatalf("%q", got)
	}
	for _, line := range got {
		if f := strings.Split(line, "|"); f[0] != string(fault.Exhausted) || len(f[1]) < 10 {
			t.Errorf("a full disk says %q", line)
		}
	}
	st := open(t, dir)
	if rep, err := st.Check(t.Context()); err != nil || !rep.OK() || rep.Blobs != 0 {
		t.Errorf("%v %+v", err, rep)
	}
	es, err := st.Events(t.Context(), EventFilter{})
	if want := strings.Split(got[1], "|")[2]; err != nil || strconv.Itoa(len(es)) != want {
		t.Errorf("%d events, %s were acknowledged (%v)", len(es), want, err)
	}
}

// TestFullDisk fills a real file system; when there is space again, all goes on.
func TestFullDisk(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	if runtime.GOOS != "linux" {
		t.Skip("needs a small tmpfs")
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a small tmpfs: %v %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", dir).Run() })
	st, err := Open(ctx, filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	filler := filepath.Join(dir, "filler")
	put := 0
	for ; put < 100; put++ {
		if _, err = st.PutBytes(ctx, "model", "m", []byte(strings.Repeat(strconv.Itoa(put), 100<<10))); err != nil {
			break
		}
	}
	if fault.ClassOf(err) != fault.Exhausted || fault.HintOf(err) == "" {
		t.Fatalf("a blob on a full disk: %v", err)
	}
	os.WriteFile(filler, make([]byte, 2<<20), 0o600) // takes what is left, which is an error
	if fi, err := os.Stat(filler); err == nil && fi.Size() > 0 {
		os.Truncate(filler, max(0, fi.Size()-100<<10)) // but for room for a few events
	}
	logged := 0
	for ; logged < 1000; logged++ {
		if _, err = st.AppendEvent(ctx, "test/event", "m", strings.Repeat("x", 10000)); err != nil {
			break
		}
	}
	if fault.ClassOf(err) != fault.Exhausted || fault.HintOf(err) == "" {
		t.Fatalf("an event on a full disk, after %d: %v", logged, err)
	}
	if rep, err := st.Check(ctx); err != nil || !rep.OK() || rep.Blobs < put || rep.Entries != logged {
		t.Errorf("full: %v %+v", err, rep)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if _, err := st.AppendEvent(ctx, "test/event", "m", "after"); err != nil {
		t.Errorf("with space again: %v", err)
	}
	if rep, err := st.Check(ctx); err != nil || !rep.OK() || rep.Entries != logged+1 {
		t.Errorf("with space again: %v %+v", err, rep)
	}
	t.Logf("%d blobs and %d events before the disk was full", put, logged)
}

func TestProcessGone(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes are told apart by /proc")
	}
	me := thisProcess()
	f := strings.Split(me, ".")
	if processGone(me) {
		t.Errorf("%s is this very process", me)
	}
	for name, c := range map[string]struct {
		token string
		gone  bool
	}{
		"a reused pid":      {strings.Join([]string{f[0], "1", f[2], f[3]}, "."), true},
		"before a restart":  {strings.Join([]string{f[0], f[1], f[2], "00000000"}, "."), true},
		"no such pid":       {strings.Join([]string{"4194304", "5", f[2], f[3]}, "."), true},
		"another pid space": {strings.Join([]string{"4194304", "5", "1", f[3]}, "."), false},
		"nonsense":          {"hello", false},
	} {
		if got := processGone(c.token); got != c.gone {
			t.Errorf("%s (%s): gone %v", name, c.token, got)
		}
	}
}
