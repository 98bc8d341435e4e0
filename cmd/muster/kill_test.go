package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets a test start this program as a process of its own, to be killed.
func TestMain(m *testing.M) {
	if os.Getenv("MUSTER_CHILD") != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// child starts `muster args` as a process, on the plain Go kernels: they give the same
// bits, and are slow enough for a test to act while steps are under way on a busy machine.
func child(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "MUSTER_CHILD=1", "MUSTER_KERNEL=ref")
	cmd.Stderr = new(bytes.Buffer)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// waitForChange waits until the file has another modification time than before, and returns it.
func waitForChange(t *testing.T, path string, before time.Time, cmd *exec.Cmd) time.Time {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Microsecond) {
		if i, err := os.Stat(path); err == nil && !i.ModTime().Equal(before) {
			return i.ModTime()
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	t.Fatalf("no new checkpoint in a minute: %s", cmd.Stderr)
	return before
}

// TestTrainSurvivesKill kills `muster train` three times after a fresh checkpoint and gives
// the same command again: the model has the bits of a run that was left alone.
func TestTrainSurvivesKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts five processes")
	}
	dir := t.TempDir()
	spec := write(t, dir, "spec.yaml", "name: tiny\nmodel: {family: vit, patch: 4, dim: 16, depth: 1, heads: 2, hidden: 24}\nepochs: 8\nbatch: 8\ncheckpoint_every: 40\n")
	whole, model := filepath.Join(dir, "whole.onnx"), filepath.Join(dir, "killed.onnx")
	if code, _, errs := call("--store="+filepath.Join(dir, "a"), "-q", "train", spec, "-o", whole); code != 0 {
		t.Fatal(errs)
	}
	args := []string{"--store=" + filepath.Join(dir, "b"), "-q", "--json", "train", spec, "-o", model}
	checkpoint, seen := filepath.Join(model+".run", "checkpoint.onnx"), time.Time{}
	for kill := 1; kill <= 3; kill++ {
		cmd := child(t, args...)
		seen = waitForChange(t, checkpoint, seen, cmd)
		time.Sleep(time.Duration(kill) * 7 * time.Millisecond) // some steps, or the next checkpoint, are under way
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("kill %d came too late: %v", kill, err)
		}
		if _, err := os.Stat(model); err == nil {
			t.Fatal("there is a model before the end")
		}
	}
	code, out, errs := call(args...)
	var res trained
	if err := json.Unmarshal([]byte(out), &res); code != 0 || err != nil {
		t.Fatal(code, err, errs)
	}
	if res.ResumedFrom < 120 || res.ResumedFrom%40 != 0 {
		t.Errorf("resumed from step %d, want the last of at least three checkpoints", res.ResumedFrom)
	}
	a, errA := os.ReadFile(whole)
	b, errB := os.ReadFile(model)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Error("the killed run trained other bits", errA, errB)
	}
	if code, out, _ := call("--store="+filepath.Join(dir, "b"), "store", "check", "--repair"); code != 0 {
		t.Error(out)
	}
}
