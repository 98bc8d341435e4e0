package policy

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"muster/fault"
	"muster/record"
)

var update = flag.Bool("update", false, "rewrite the expected sections of testdata")

// The truth tables: in testdata/decide/*.txtar a section "policy", then pairs
// "evidence NAME" and "verdict NAME"; in testdata/load/*.txtar pairs "policy NAME"
// and "error NAME".
func TestTables(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d tables, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.ToSlash(file), ".txtar"), func(t *testing.T) { runTable(t, file) })
	}
}

func runTable(t *testing.T, file string) {
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []txtar.File
	var p *Policy
	for _, f := range a.Files {
		what, name, _ := strings.Cut(f.Name, " ")
		switch what {
		case "policy":
			out = append(out, f)
			p, err = Parse("policy.yaml", f.Data)
			if name != "" {
				out = append(out, txtar.File{Name: "error " + name, Data: []byte(errorText(err))})
			} else if err != nil {
				t.Fatal(err)
			}
		case "evidence":
			ev := parseEvidence(t, string(f.Data))
			out = append(out, f, txtar.File{Name: "verdict " + name, Data: []byte(verdictText(p.Decide(ev)))})
		}
	}
	got := txtar.Format(&txtar.Archive{Comment: a.Comment, Files: out})
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("-want +got (rewrite with -update):\n%s", d)
	}
}

func errorText(err error) string {
	if err == nil {
		return "none\n"
	}
	var e *fault.Error
	if !errors.As(err, &e) {
		return "not a fault: " + err.Error() + "\n"
	}
	s := fmt.Sprintf("%s: %v\n", e.Class, err)
	if h := fault.HintOf(err); h != "" {
		s += "hint: " + h + "\n"
	}
	return s
}

func verdictText(v record.Verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", v.Outcome)
	for _, r := range v.Refused {
		fmt.Fprintf(&b, "refused: %s\n", r)
	}
	for _, r := range v.Rules {
		fmt.Fprintf(&b, "%s [%s] %s: %s\n", r.Name, r.Kind, r.Outcome, r.Reason)
		for _, m := range r.Measurements {
			fmt.Fprintf(&b, "  used %s\n", label(m))
		}
		if r.MinDetectable != nil {
			fmt.Fprintf(&b, "  detectable %s: %s\n", short(*r.MinDetectable), r.MinDetectableWhy)
		}
	}
	return b.String()
}

var (
	candidate = record.Subject{Kind: "model", Name: "small", Digest: record.DigestBytes([]byte("candidate"))}
	baseline  = record.Subject{Kind: "model", Name: "big", Digest: record.DigestBytes([]byte("baseline"))}
	stranger  = record.Subject{Kind: "model", Name: "other", Digest: record.DigestBytes([]byte("other"))}
	digits8   = record.Subject{Kind: "data", Name: "digits", Digest: record.DigestBytes([]byte("digits"))}
	fashion   = record.Subject{Kind: "data", Name: "fashion", Digest: record.DigestBytes([]byte("fashion"))}
)

// parseEvidence reads one measurement per line: a name, then key=value words
// ("_" in a value is a blank). "alone" says that there is no baseline.
func parseEvidence(t testing.TB, text string) Evidence {
	t.Helper()
	b := baseline
	ev := Evidence{Candidate: candidate, Baseline: &b}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if words[0] == "alone" {
			ev.Baseline = nil
			continue
		}
		ev.Measurements = append(ev.Measurements, parseMeasurement(t, words))
	}
	return ev
}

func parseMeasurement(t testing.TB, words []string) record.Measurement {
	t.Helper()
	m := record.Measurement{Name: words[0], Check: words[0], Version: 1, Direction: record.Higher, Subjects: []record.Subject{candidate, digits8}}
	num := func(s string) float64 {
		x, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	iv := record.Interval{Level: 0.95, Method: "wilson"}
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		v = strings.ReplaceAll(v, "_", " ")
		switch k {
		case "value":
			m.Value = record.Val(num(v))
		case "low":
			iv.Low, m.Interval = num(v), &iv
		case "high":
			iv.High, m.Interval = num(v), &iv
		case "level":
			iv.Level = num(v)
		case "n":
			m.N = int(num(v))
		case "seed":
			m.Seed = uint64(num(v))
		case "role":
			m.Role = v
		case "slice":
			m.Slice = v
		case "unit":
			m.Unit = v
		case "absent":
			m.Absent = v
		case "volatile":
			m.Volatile = true
		case "bins":
			m.Settings = map[string]any{"bins": num(v)}
		case "on":
			m.Subjects = subjects(t, v)
		case "pairs":
			c := strings.Split(v, "/") // both right, only candidate, only baseline, both wrong
			n := num(c[0]) + num(c[1]) + num(c[2]) + num(c[3])
			m.Detail = json.RawMessage(fmt.Sprintf(`{"n":%v,"both_right":%s,"only_candidate":%s,"only_baseline":%s,"both_wrong":%s}`, n, c[0], c[1], c[2], c[3]))
			if m.N == 0 {
				m.N = int(n)
			}
			if m.Value == nil {
				m.Value = record.Val((num(c[1]) - num(c[2])) / n)
			}
		default:
			t.Fatalf("unknown word %q", w)
		}
	}
	return m
}

func subjects(t testing.TB, names string) []record.Subject {
	var out []record.Subject
	for _, n := range strings.Split(names, "+") {
		s, ok := map[string]record.Subject{"candidate": candidate, "baseline": baseline, "stranger": stranger, "digits": digits8, "fashion": fashion}[n]
		if !ok {
			t.Fatalf("unknown subject %q", n)
		}
		out = append(out, s)
	}
	return out
}
