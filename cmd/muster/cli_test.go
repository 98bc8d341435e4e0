package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// call runs one command line and returns its status and outputs.
func call(args ...string) (int, string, string) {
	var out, err bytes.Buffer
	code := run(args, &out, &err)
	return code, out.String(), err.String()
}

// write puts a file into dir.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestBadInput: a status by class, the place, and a hint; never a panic.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	st := "--store=" + filepath.Join(dir, "store")
	for _, c := range []struct {
		name string
		args []string
		code int
		says []string
	}{
		{"unknown verb", []string{"trian"}, 2, []string{"unknown command", "hint:"}},
		{"unknown flag", []string{"eval", "--dta", "x"}, 2, []string{"dta"}},
		{"no such data", []string{st, "audit", filepath.Join(dir, "none.csv")}, 8, []string{"none.csv", "hint:"}},
		{"broken row", []string{st, "audit", write(t, dir, "rows.csv", "a,b,y\n1,2,x\n3,oops\n5,6,z\n")}, 3, []string{"rows.csv:3"}},
		{"unknown field in a spec", []string{st, "train", write(t, dir, "spec.yaml", "epoch: 3\n")}, 3, []string{"epoch", "hint:"}},
		{"truncated model", []string{st, "inspect", write(t, dir, "cut.onnx", "\x08\x09\x3a\x7f")}, 3, []string{"cut.onnx", "byte"}},
		{"a model that is none", []string{st, "inspect", write(t, dir, "text.onnx", "hello world")}, 3, []string{"text.onnx"}},
		{"no such model", []string{st, "eval", filepath.Join(dir, "no.onnx"), "--data", "builtin:digits"}, 8, []string{"no.onnx", "hint:"}},
		{"a role that does not exist", []string{st, "audit", "builtin:digits", "--split", "trian=1"}, 3, []string{"trian", "hint:"}},
		{"no store", []string{st + "-none", "history"}, 8, []string{"store", "hint:"}},
		{"no candidate", []string{st, "promote", "digits"}, 8, []string{"candidate"}},
		{"a policy that cannot hold", []string{st, "gate", write(t, dir, "x.onnx", ""), "--policy", "none.yaml"}, 3, nil},
	} {
		code, out, errs := call(c.args...)
		if code != c.code {
			t.Errorf("%s: status %d, want %d\n%s%s", c.name, code, c.code, out, errs)
		}
		for _, s := range c.says {
			if !strings.Contains(errs, s) {
				t.Errorf("%s: %q is not in\n%s", c.name, s, errs)
			}
		}
	}
}

// TestErrorsAsJSON: with --json, an error is one object too.
func TestErrorsAsJSON(t *testing.T) {
	code, _, errs := call("--json", "--store="+filepath.Join(t.TempDir(), "s"), "history")
	var e map[string]string
	if err := json.Unmarshal([]byte(errs), &e); err != nil || code != 8 || e["class"] != "not found" || e["hint"] == "" {
		t.Errorf("%d %s %v", code, errs, err)
	}
}

// TestWholeLoop runs the verbs on a small model as a user would: train, eval, compress, gate,
// refuse, override, release, verify, tamper, history, store check.
func TestWholeLoop(t *testing.T) {
	dir := t.TempDir()
	st := "--store=" + filepath.Join(dir, "store")
	spec := write(t, dir, "spec.yaml", "name: tiny\nmodel: {family: vit, patch: 4, dim: 16, depth: 1, heads: 2, hidden: 24}\nepochs: 2\nbatch: 64\n")
	model, small := filepath.Join(dir, "tiny.onnx"), filepath.Join(dir, "tiny.int8.onnx")
	must := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := call(append([]string{st, "-q"}, args...)...)
		if code != want {
			t.Fatalf("%v: status %d, want %d\n%s%s", args, code, want, out, errs)
		}
		return out + errs
	}
	must(0, "audit", "builtin:digits")
	must(0, "train", spec, "-o", model)
	must(0, "eval", model, "--data", "builtin:digits", "--latency-runs", "210", "--pgd-steps", "2")
	must(0, "compress", model, "--data", "builtin:digits", "-o", small)
	if out := must(10, "gate", small, "--against", model); !strings.Contains(out, "fail") {
		t.Errorf("a model that was hardly trained passed:\n%s", out)
	}
	must(7, "release", small, "--against", model, "--name", "tiny", "--by", "ada")
	must(0, "release", small, "--against", model, "--name", "tiny", "--by", "ada", "--override", "--reason", "a test")
	if out := must(0, "verify", "tiny"); !strings.Contains(out, "bit for bit") || !strings.Contains(out, "against the verdict by ada") {
		t.Error(out)
	}
	if out := must(0, "history", "tiny"); !strings.Contains(out, "override by ada: a test") {
		t.Error(out)
	}
	must(0, "store", "check")
	must(8, "rollback", "tiny")
	// Change one byte of the model's blob: verify must refuse, and the check must find it.
	blobs, err := filepath.Glob(filepath.Join(dir, "store", "blobs", "sha256", "*", "*"))
	if err != nil || len(blobs) == 0 {
		t.Fatal(err, len(blobs))
	}
	want, err := os.ReadFile(small)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs {
		if got, err := os.ReadFile(b); err == nil && bytes.Equal(got, want) {
			got[len(got)/2] ^= 1
			os.Chmod(b, 0o644)
			if err := os.WriteFile(b, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if out := must(7, "verify", "tiny"); !strings.Contains(out, "the model") {
		t.Error(out)
	}
	must(5, "store", "check")
}
