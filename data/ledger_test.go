package data

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"muster/fault"
)

func TestAssignKeepsSharesInEachClass(t *testing.T) {
	s := open(t, "builtin:digits")
	l, err := Assign(s, SplitConfig{Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	share := map[Role]float64{Train: 0.6, Select: 0.1, Calibrate: 0.15, Test: 0.15}
	labels := s.Labels()
	for _, r := range Roles() {
		counts := make([]float64, 10)
		for _, i := range s.Rows(r) {
			counts[labels[i]]++
		}
		all := make([]float64, 10)
		for _, y := range labels {
			all[y]++
		}
		for k := range counts {
			// All groups are single rows here, so a class is off by at most one row and a bit.
			if d := math.Abs(counts[k] - share[r]*all[k]); d > 1.5 {
				t.Errorf("%s has %g rows of class %d, share is %g", r, counts[k], k, share[r]*all[k])
			}
		}
		if d := math.Abs(float64(l.Count(r)) - share[r]*1797); d > 2 || l.Count(r) != len(s.Rows(r)) {
			t.Errorf("%s has %d rows, share is %g", r, l.Count(r), share[r]*1797)
		}
	}
	again, err := Assign(open(t, "builtin:digits"), SplitConfig{Seed: 3})
	if err != nil || again.Digest() != l.Digest() {
		t.Errorf("the same seed gives another split: %v", err)
	}
	other, err := Assign(open(t, "builtin:digits"), SplitConfig{Seed: 4})
	if err != nil || other.Roles == l.Roles {
		t.Errorf("another seed gives the same split: %v", err)
	}
}

func TestAssignKeepsGroupsTogether(t *testing.T) {
	s := open(t, "builtin:digits")
	groups := make([]int, s.Len())
	for i := range groups {
		groups[i] = i % 450 // about 4 rows of different classes each
	}
	l, err := Assign(s, SplitConfig{Seed: 1, Groups: groups, Train: 0.5, Threshold: 0.2, Test: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range groups {
		if l.Roles[i] != l.Roles[g] {
			t.Fatalf("rows %d and %d are of one group and have the roles %c and %c", g, i, l.Roles[g], l.Roles[i])
		}
	}
	for r, want := range map[Role]float64{Train: 0.5, Threshold: 0.2, Test: 0.2, Unassigned: 0.1} {
		if got := float64(l.Count(r)) / 1797; math.Abs(got-want) > 0.02 {
			t.Errorf("role %q has the share %g, want %g", r, got, want)
		}
	}
}

func TestAssignKeepsCopiesTogether(t *testing.T) {
	base := open(t, "builtin:digits")
	rows := make([]int, 0, 600)
	for i := range 200 {
		rows = append(rows, i, i, i)
	}
	s := base.Select(rows)
	px := s.Image().Values.Float32s()
	for i := 2; i < s.Len(); i += 3 { // every third row is a near copy: 6 pixels differ by 1
		for j := range 6 {
			p := &px[i*64+10*j]
			*p += 1 - 2*float32(int(*p)/16)
		}
	}
	if _, err := Assign(s, SplitConfig{Seed: 1}); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < s.Len(); i += 3 {
		if s.Roles[i] != s.Roles[i+1] || s.Roles[i] != s.Roles[i+2] {
			t.Errorf("copies %d: %v", i, s.Roles[i:i+3])
		}
	}
}

func TestAssignWithoutLabel(t *testing.T) {
	s, err := ParseCSV("t.csv", []byte("a,y\n"+strings.Repeat("1,p\n2,q\n3,\n", 20)), OpenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	groups := make([]int, s.Len())
	for i := range groups {
		groups[i] = i
	}
	if _, err := Assign(s, SplitConfig{Groups: groups}); err != nil {
		t.Fatal(err)
	}
	for i, r := range s.Roles {
		if (r == Unassigned) != (s.Labels()[i] < 0) {
			t.Errorf("row %d with label %d has the role %q", i, s.Labels()[i], r)
		}
	}
}

func TestAssignErrors(t *testing.T) {
	s := table1(t)
	for name, tt := range map[string]struct {
		cfg   SplitConfig
		class fault.Class
	}{
		"negative":     {SplitConfig{Train: -0.1}, fault.Malformed},
		"not a number": {SplitConfig{Train: math.NaN()}, fault.Malformed},
		"above one":    {SplitConfig{Train: 0.9, Test: 0.2}, fault.Malformed},
		"seed":         {SplitConfig{Seed: 1 << 53}, fault.Malformed},
		"groups":       {SplitConfig{Groups: []int{1}}, fault.Mismatch},
		"one group":    {SplitConfig{Train: 0.5, Test: 0.5, Groups: []int{0, 0, 0, 0}}, fault.Exhausted},
	} {
		if _, err := Assign(s, tt.cfg); fault.ClassOf(err) != tt.class {
			t.Errorf("%s: %v, want class %s", name, err, tt.class)
		}
	}
	if _, err := SplitShares(map[Role]float64{"dev": 1}, 1); fault.ClassOf(err) != fault.Malformed {
		t.Errorf("unknown role: %v", err)
	}
}

func TestLedgerRefusesMixedRoles(t *testing.T) {
	s := open(t, "builtin:digits")
	l, err := Assign(s, SplitConfig{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	// The whole table: a purpose accepts its roles and refuses all others.
	for p, allowed := range purposes {
		for _, r := range Roles() {
			err := l.Use(r, p)
			switch {
			case !slices.Contains(allowed, r):
				if fault.ClassOf(err) != fault.Mismatch || fault.HintOf(err) == "" {
					t.Errorf("%s with %s: %v", p, r, err)
				}
			case l.Count(r) == 0:
				if fault.ClassOf(err) != fault.NotFound {
					t.Errorf("%s with the empty %s: %v", p, r, err)
				}
			case err != nil:
				t.Errorf("%s with %s: %v", p, r, err)
			}
		}
	}
	if err := l.Use(Unassigned, Fit); fault.ClassOf(err) != fault.Mismatch {
		t.Errorf("fit on unassigned rows: %v", err)
	}
	if err := l.Use(Train, "play"); fault.ClassOf(err) != fault.Unsupported {
		t.Errorf("unknown purpose: %v", err)
	}
	if got, want := l.Use(Test, FitCalibrator).Error(), `ledger: calibrate: rows with the role "test" must not be used to calibrate`; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestLooksAreCounted(t *testing.T) {
	s := open(t, "builtin:german-credit")
	l, err := Assign(s, SplitConfig{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	before := l.Digest()
	for _, p := range []Purpose{Report, Report, Screen, Simulate} {
		if err := l.Use(Test, p); err != nil {
			t.Fatal(err)
		}
	}
	l.Use(Test, Fit) // refused, so not a look
	if l.Looks() != 3 {
		t.Errorf("%d looks, want 3: two reports and one simulation", l.Looks())
	}
	if l.Digest() != before {
		t.Error("uses change the digest of the split")
	}
	b, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseLedger("l.json", b)
	if err != nil {
		t.Fatal(err)
	}
	if back.Looks() != 3 || back.Digest() != before {
		t.Errorf("after a round trip: %d looks, digest %s", back.Looks(), back.Digest())
	}
	if b2, _ := back.Encode(); !bytes.Equal(b, b2) {
		t.Error("the round trip changes the bytes")
	}
	fresh := open(t, "builtin:german-credit")
	if err := back.Apply(fresh); err != nil || fresh.RolesDigest() != s.RolesDigest() || fresh.Transform.Digest() != s.Transform.Digest() {
		t.Errorf("applied to the same data: %v", err)
	}
	if err := back.Apply(open(t, "builtin:digits")); fault.ClassOf(err) != fault.Mismatch {
		t.Errorf("applied to other data: %v", err)
	}
}

func TestParseLedgerErrors(t *testing.T) {
	l, err := Assign(open(t, "builtin:german-credit"), SplitConfig{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.Use(Test, Report)
	good, _ := l.Encode()
	for name, edit := range map[string][2]string{
		"letter":        {`"roles": "`, `"roles": "x`},
		"unknown field": {`"version"`, `"looks": 0, "version"`},
		"version":       {`"version": 1`, `"version": 2`},
		"digest":        {`"groups": "sha256:`, `"groups": "sha1:`},
		"share":         {`"train": 0.6`, `"train": 6`},
		"purpose":       {`"purpose": "report"`, `"purpose": "fun"`},
		"count":         {`"count": 1`, `"count": -1`},
	} {
		bad := strings.Replace(string(good), edit[0], edit[1], 1)
		if bad == string(good) {
			t.Fatalf("%s: nothing replaced", name)
		}
		if _, err := ParseLedger("l.json", []byte(bad)); err == nil || !strings.HasPrefix(err.Error(), "l.json: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
