package check

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"muster/data"
	"muster/fault"
	"muster/graph"
	"muster/record"
	"muster/rng"
	"muster/tensor"
)

// pixels is a set of 1x1x3 images with values in [0, 1], all in the test role.
func pixels(t *testing.T, rows [][3]float64, labels string) (*data.Set, *data.Ledger) {
	t.Helper()
	var b strings.Builder
	b.WriteString("a,b,c,label\n")
	for i, r := range rows {
		fmt.Fprintf(&b, "%g,%g,%g,%c\n", r[0], r[1], r[2], labels[i])
	}
	set, err := data.ParseCSV("rows.csv", []byte(b.String()), data.OpenConfig{Target: "label", Image: "1x1x3", Range: &[2]float64{0, 1}})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := data.SplitShares(map[data.Role]float64{data.Test: 1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	l, err := data.Assign(set, cfg)
	if err == nil {
		err = l.Apply(set)
	}
	if err != nil {
		t.Fatal(err)
	}
	return set, l
}

// linear is a model whose logits are factor times the pixels, plus bias.
func linear(t *testing.T, name string, factor float32, bias ...float32) *Model {
	t.Helper()
	g := graph.New(name)
	b := graph.NewBuilder(g)
	x := b.Input("image", tensor.Float32, graph.Sym("B"), graph.D(1), graph.D(1), graph.D(3))
	y := b.Op("Mul", b.Op("Reshape", x, b.Ints(-1, 3)), b.Scalar(factor))
	b.Output("logits", b.Op("Add", y, b.Init("bias", tensor.OfFloat32(bias, 3))))
	m, err := NewModel(name, g)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// evaluate returns the measurements of some checks by name and slice.
func evaluate(t *testing.T, in Input, only ...string) map[string]record.Measurement {
	t.Helper()
	in.Config.Only = only
	res, err := Evaluate(t.Context(), in, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]record.Measurement{}
	for _, m := range res.Measurements {
		out[strings.TrimSuffix(m.Name+" "+m.Slice, " ")] = m
		if m.Value == nil && m.Absent == "" {
			t.Errorf("%s has neither a value nor the reason why not", m.Name)
		}
		if m.Check == "" || m.Role != "test" || len(m.Subjects) == 0 {
			t.Errorf("%s does not say who measured what: %+v", m.Name, m)
		}
	}
	return out
}

func wantValue(t *testing.T, m record.Measurement, want float64, n int) {
	t.Helper()
	if m.Value == nil || math.Abs(*m.Value-want) > 1e-6 || m.N != n {
		t.Errorf("%s %s: %v n=%d, want %g n=%d", m.Name, m.Slice, m.Value, m.N, want, n)
	}
}

// fourRows: the largest pixels are a, b, c, a.
var fourRows = [][3]float64{{.9, .1, 0}, {.2, .8, .1}, {.3, .1, .7}, {.6, .5, .4}}

// TestCompare counts four pairs by hand. The candidate answers a, b, c, a. The reference
// adds 0.5 to b and so answers a, b, b, b (row 3: 0.7 against 0.1+0.5=0.6 is still c: the
// bias is 0.65, so 0.75 for b). Labels a, b, b, c: candidate right on 2, reference on 3.
func TestCompare(t *testing.T) {
	set, l := pixels(t, fourRows, "abbc")
	cand, ref := linear(t, "candidate", 1, 0, 0, 0), linear(t, "reference", 1, 0, .65, 0)
	got := evaluate(t, Input{Model: cand, Reference: ref, Data: set, Ledger: l, FileBytes: 30, ReferenceBytes: 120, Config: Config{Latency: -1}}, "compare")
	wantValue(t, got["compare/accuracy_diff"], -0.25, 4)
	var p Pairs
	if err := json.Unmarshal(got["compare/accuracy_diff"].Detail, &p); err != nil || p != (Pairs{N: 4, BothRight: 2, OnlyBaseline: 1, BothWrong: 1}) {
		t.Errorf("pairs %+v %v", p, err)
	}
	if iv := got["compare/accuracy_diff"].Interval; iv == nil || iv.Low > -0.25 || iv.High < -0.25 {
		t.Errorf("interval %+v", iv)
	}
	wantValue(t, got["compare/flips"], 0.5, 4) // rows 3 and 4
	wantValue(t, got["compare/size_ratio"], 0.25, 1)
	if m := got["compare/latency_ratio"]; m.Value != nil || m.Absent == "" {
		t.Errorf("timing was switched off: %+v", m)
	}
	kl := 0.0 // mean of sum p log(p/q), by its definition
	for _, r := range fourRows {
		var q, p [3]float64
		sq, sp := 0.0, 0.0
		for k := range r {
			q[k], p[k] = math.Exp(float64(float32(r[k]))), math.Exp(float64(float32(r[k])))
			if k == 1 {
				p[k] = math.Exp(float64(float32(r[k]) + .65))
			}
			sq, sp = sq+q[k], sp+p[k]
		}
		for k := range r {
			kl += p[k] / sp * math.Log(p[k]/sp/(q[k]/sq)) / 4
		}
	}
	wantValue(t, got["compare/kl"], kl, 4)
}

// TestCompareWithItself: no difference, no flips, no divergence.
func TestCompareWithItself(t *testing.T) {
	set, l := pixels(t, fourRows, "abbc")
	m := linear(t, "m", 3, 0, 0, 0)
	got := evaluate(t, Input{Model: m, Reference: m, Data: set, Ledger: l}, "compare")
	for _, name := range []string{"compare/accuracy_diff", "compare/flips", "compare/kl"} {
		wantValue(t, got[name], 0, 4)
	}
	if m := got["compare/size_ratio"]; m.Value != nil {
		t.Errorf("these models are no files: %v", *m.Value)
	}
	if m := got["compare/latency_ratio"]; m.Value == nil || !m.Volatile || m.N != 400 || *m.Value <= 0 {
		t.Errorf("%+v", m)
	}
}

// TestCorruption: a model that ignores its input keeps its accuracy under everything, one
// that reads it does not; the mean is that of the 30 single values.
func TestCorruption(t *testing.T) {
	set, l := pixels(t, fourRows, "abbc")
	got := evaluate(t, Input{Model: linear(t, "constant", 0, 0, 1, 0), Data: set, Ledger: l}, "corruption")
	if len(got) != 6*5+1 {
		t.Errorf("%d measurements, want 6 corruptions at 5 severities and their mean", len(got))
	}
	for _, m := range got {
		wantValue(t, m, 0.5, 4)
	}
	key := rng.New(3).Stream() // more rows, whose largest pixel is only just the largest
	rows, labels := make([][3]float64, 60), ""
	for i := range rows {
		k := i % 3
		rows[i] = [3]float64{key.Float64() / 3, key.Float64() / 3, key.Float64() / 3}
		rows[i][k] = .4
		labels += string("abc"[k])
	}
	set, l = pixels(t, rows, labels)
	in := Input{Model: linear(t, "reader", 1, 0, 0, 0), Data: set, Ledger: l, Config: Config{Seed: 5}}
	got = evaluate(t, in, "corruption")
	sum := 0.0
	for _, m := range got {
		if m.Name == "robust/corruption" {
			sum += *m.Value / 30
		}
	}
	wantValue(t, got["robust/corruption-mean"], sum, 60)
	if sum > 0.99 {
		t.Errorf("nothing was corrupted: %g", sum)
	}
	again := evaluate(t, in, "corruption")
	in.Config.Seed = 6
	other := evaluate(t, in, "corruption")
	if *again["robust/corruption-mean"].Value != *got["robust/corruption-mean"].Value {
		t.Error("the same seed gives another value")
	}
	if *other["robust/corruption-mean"].Value == *got["robust/corruption-mean"].Value {
		t.Error("another seed gives the same value: is it used?")
	}
}

// TestOOD: confidence is the largest softmax probability. Four test rows with margins 9, 8,
// 7, 6 and four outside rows with 0, 1, 2, 8.5: of 16 pairs 14 are in order (8.5 is more
// confident than 8, 7 and 6 of the test rows: 3 are not). So AUROC = 13/16. To find 95% of
// four outside rows all four must be: the threshold is 8.5, and 3 of 4 test rows are alarms.
func TestOOD(t *testing.T) {
	row := func(margin float64) [3]float64 { return [3]float64{margin / 10, 0, 0} }
	set, l := pixels(t, [][3]float64{row(9), row(8), row(7), row(6)}, "abca")
	out, _ := pixels(t, [][3]float64{row(0), row(1), row(2), row(8.5)}, "abca")
	in := Input{Model: linear(t, "m", 10, 0, 0, 0), Data: set, Ledger: l, Outside: out}
	got := evaluate(t, in, "ood")
	wantValue(t, got["ood/auroc"], 13.0/16, 8)
	wantValue(t, got["ood/fpr95"], 0.75, 4)
	if s := got["ood/auroc"].Settings; s["positive"] != "out of distribution" {
		t.Errorf("the positive class is not named: %v", s)
	}
	in.Outside = nil
	for name, m := range evaluate(t, in, "ood") {
		if m.Value != nil || !strings.Contains(m.Absent, "no out-of-distribution set") {
			t.Errorf("%s without a set: %+v", name, m)
		}
	}
}

// TestLatency: quantiles carry n, and one that n does not support is absent with the reason.
func TestLatency(t *testing.T) {
	set, l := pixels(t, fourRows, "abbc")
	in := Input{Model: linear(t, "m", 1, 0, 0, 0), Data: set, Ledger: l, Config: Config{Latency: 250}}
	got := evaluate(t, in, "latency")
	p50, p95 := got["latency/p50"], got["latency/p95"]
	if p50.Value == nil || p95.Value == nil || p50.N != 250 || !p50.Volatile || *p50.Value <= 0 || *p95.Value < *p50.Value || p50.Interval.Low > *p50.Value {
		t.Errorf("%+v %+v", p50, p95)
	}
	in.Config.Latency = 30
	if m := evaluate(t, in, "latency")["latency/p95"]; m.Value != nil || m.Absent == "" {
		t.Errorf("a p95 of 30 runs: %+v", m)
	}
	in.Config.Latency = -1
	if m := evaluate(t, in, "latency")["latency/p50"]; m.Value != nil || m.Absent == "" {
		t.Errorf("switched off: %+v", m)
	}
}

// TestCost: Mul and Add on 3 values are 6 operations; the file has the size it was told.
func TestCost(t *testing.T) {
	set, l := pixels(t, fourRows, "abbc")
	got := evaluate(t, Input{Model: linear(t, "m", 2, 1, 0, 0), Data: set, Ledger: l, FileBytes: 77}, "cost")
	wantValue(t, got["size/file"], 77, 1)
	wantValue(t, got["cost/flops"], 6, 1)
	if m := got["quant/integer_nodes"]; *m.Value != 0 {
		t.Errorf("%g integer nodes in a float model", *m.Value)
	}
}

// TestEvaluateRefuses: unknown checks, no test rows, a model of another number of classes.
func TestEvaluateRefuses(t *testing.T) {
	set, l := pixels(t, fourRows, "abbc")
	two, l2 := pixels(t, fourRows, "abba")
	m := linear(t, "m", 1, 0, 0, 0)
	none := *set
	none.Roles = make([]data.Role, set.Len())
	for i := range none.Roles {
		none.Roles[i] = data.Train
	}
	for _, c := range []struct {
		name  string
		in    Input
		class fault.Class
	}{
		{"an unknown check", Input{Model: m, Data: set, Ledger: l, Config: Config{Only: []string{"accuracy!"}}}, fault.NotFound},
		{"no test rows", Input{Model: m, Data: &none, Ledger: l}, fault.Mismatch},
		{"two classes", Input{Model: m, Data: two, Ledger: l2}, fault.Mismatch},
	} {
		_, err := Evaluate(t.Context(), c.in, nil)
		if fault.ClassOf(err) != c.class || (c.class == fault.NotFound && !strings.Contains(fault.HintOf(err), "predictive")) {
			t.Errorf("%s: %v (hint %q)", c.name, err, fault.HintOf(err))
		}
	}
}
