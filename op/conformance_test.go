package op_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"muster/internal/conformance"
)

// TestNodeCases runs a subset of the ONNX project's own cases: testdata/node.zip (see testdata/README.md).
func TestNodeCases(t *testing.T) {
	r := conform(t, "testdata/node.zip")
	for _, c := range r.List {
		if c.Status == conformance.Refused {
			t.Errorf("%s is refused: %s", c.Name, c.Why)
		}
	}
	if r.Passed < 450 {
		t.Errorf("%d cases pass", r.Passed)
	}
}

// TestConformance runs the full set: MUSTER_CONFORMANCE names its folder, or the tar.xz of it.
func TestConformance(t *testing.T) {
	dir := os.Getenv("MUSTER_CONFORMANCE")
	if dir == "" {
		t.Skip("MUSTER_CONFORMANCE is not set: it names the folder or the tar.xz of the ONNX backend tests")
	}
	if strings.HasSuffix(dir, ".tar.xz") {
		to := t.TempDir()
		if out, err := exec.Command("tar", "-C", to, "-xf", dir).CombinedOutput(); err != nil {
			t.Fatalf("tar: %v: %s", err, out)
		}
		dir = to
	}
	r := conform(t, dir)
	for _, row := range r.Rows() {
		if row.Refused > 0 {
			t.Logf("%s: %d pass, %d are refused: %s", row.Op, row.Passed, row.Refused, strings.Join(row.Why, "; "))
		}
	}
	t.Logf("%d of %d cases pass, %d are refused", r.Passed, r.Cases, r.Refused)
}

// conform runs all cases; a wrong one fails the test.
func conform(t *testing.T, name string) *conformance.Report {
	t.Helper()
	files, closer, err := conformance.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	r, err := conformance.Run(files, nil, func(c conformance.Case) {
		if c.Status == conformance.Wrong {
			t.Errorf("%s (%s): %s", c.Name, c.Op, c.Why)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
