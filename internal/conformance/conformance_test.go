package conformance

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// copied is some cases of the committed archive as files that a test may change.
func copied(t *testing.T, run string) fstest.MapFS {
	t.Helper()
	files, closer, err := Open("../../op/testdata/node.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	out := fstest.MapFS{}
	re := regexp.MustCompile(run)
	if err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !re.MatchString(name) {
			return err
		}
		b, err := fs.ReadFile(files, name)
		out[name] = &fstest.MapFile{Data: b}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRun: an untouched case passes, a changed output or a broken model is wrong, an unknown operator is refused with its name.
func TestRun(t *testing.T) {
	files := copied(t, "test_(relu|exp|add|sub)/")
	change := func(part string, f func([]byte) []byte) {
		n := 0
		for name, x := range files {
			if strings.Contains(name, part) {
				x.Data = f(x.Data)
				n++
			}
		}
		if n != 1 {
			t.Fatalf("%d files contain %q", n, part)
		}
	}
	change("test_exp/test_data_set_0/output_0.pb", func(b []byte) []byte { b[len(b)-1] ^= 0x40; return b })
	change("test_add/model.onnx", func(b []byte) []byte { return []byte(strings.ReplaceAll(string(b), "Add", "Odd")) })
	change("test_sub/model.onnx", func(b []byte) []byte { return b[:len(b)-3] })
	r, err := Run(files, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Status{}
	for _, c := range r.List {
		got[c.Name] = c.Status
	}
	if r.Cases != 4 || got["test_relu"] != Passed || got["test_exp"] != Wrong || got["test_add"] != Refused || got["test_sub"] != Wrong {
		t.Errorf("%v", r.List)
	}
	if page := r.Markdown(); !strings.Contains(page, "| 4 | 1 | 1 | 2 |") || !strings.Contains(page, "operator Odd at opset") {
		t.Error(page)
	}
	if _, err := Run(files, regexp.MustCompile("nothing"), nil); err == nil {
		t.Error("no case, and no error")
	}
}
