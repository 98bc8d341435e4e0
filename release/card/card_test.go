package card

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"muster/fault"
	"muster/record"
)

var update = flag.Bool("update", false, "rewrite testdata/*.md, *.html and *.json")

func digest(s string) record.Digest { return record.DigestBytes([]byte(s)) }

var (
	int8Model = record.Subject{Kind: "model", Name: "digits-vit-int8", Digest: digest("int8")}
	f32Model  = record.Subject{Kind: "model", Name: "digits-vit", Digest: digest("f32")}
	digits    = record.Subject{Kind: "data", Name: "digits", Digest: digest("digits")}
	fashion   = record.Subject{Kind: "data", Name: "fashion", Digest: digest("fashion")}
)

func measure(name string, v float64, n int, low, high float64) record.Measurement {
	m := record.Measurement{Name: name, Check: strings.Split(name, "/")[0], Version: 1, Subjects: []record.Subject{int8Model, digits},
		Role: "test", Value: record.Val(v), N: n, Direction: record.Higher}
	if high > low {
		m.Interval = &record.Interval{Low: low, High: high, Level: 0.95, Method: "wilson"}
	}
	return m
}

func detail(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func lower(m record.Measurement, unit string) record.Measurement {
	m.Direction, m.Unit = record.Lower, unit
	return m
}

// example is a release as the demonstration makes one.
func example() Input {
	var ms []record.Measurement
	add := func(m record.Measurement) { ms = append(ms, m) }
	add(measure("accuracy", 350.0/360, 360, 0.9497, 0.9848))
	var labels []string
	var counts [][]int
	for i := range 10 {
		labels = append(labels, fmt.Sprint(i))
		row := make([]int, 10)
		row[i], row[(i*3+1)%10] = 35+i%2-i%3, row[(i*3+1)%10]+i%3
		counts = append(counts, row)
		m := measure("accuracy", float64(row[i])/float64(35+i%2), 35+i%2, 0.8+float64(i%3)*0.02, 0.999-float64(i%3)*0.02)
		m.Slice = fmt.Sprintf("class=%d", i)
		add(m)
	}
	conf := lower(measure("confusion", 10, 360, 0, 0), "rows")
	conf.Detail = detail(map[string]any{"labels": labels, "counts": counts})
	add(conf)
	add(lower(measure("nll", 0.1123, 360, 0.081, 0.1436), "nats"))
	brier := lower(measure("brier", 0.0456, 360, 0.031, 0.0602), "")
	brier.Settings = map[string]any{"what": "sum over classes"}
	add(brier)
	ece := lower(measure("calibration/ece", 0.0213, 360, 0, 0), "")
	ece.Settings = map[string]any{"bins": 15, "rule": "equal width, (low, high], top label, l1"}
	var bins []map[string]any
	for i := range 15 {
		lo, hi := float64(i)/15, float64(i+1)/15
		n, acc, cf := 0, 0.0, 0.0
		if i >= 5 {
			n, acc, cf = 2+(i-5)*(i-5)*(i-5)/4, (float64(i)+0.9)/15-0.002*float64(15-i)*float64(15-i)+0.06, (float64(i)+0.6)/15
		}
		bins = append(bins, map[string]any{"low": lo, "high": hi, "confidence": cf, "accuracy": min(acc, 1), "n": n})
	}
	ece.Detail = detail(map[string]any{"bins": bins})
	add(ece)
	temp := measure("calibration/temperature", 1.184, 270, 0, 0)
	temp.Role, temp.Direction, temp.Settings = "calibrate", record.Info, map[string]any{"fit": "golden section on log T, minimum NLL"}
	add(temp)
	for i, c := range []string{"brightness", "contrast", "gaussian-noise", "impulse-noise", "pixelate", "shot-noise"} {
		for sev := 1; sev <= 5; sev++ {
			v := 0.97 - float64(sev*sev)*0.004*float64(i+1)
			m := measure("robust/corruption", v, 360, v-0.03, min(1, v+0.025))
			m.Slice, m.Seed = fmt.Sprintf("corruption=%s/%d", c, sev), 7
			add(m)
		}
	}
	mean := measure("robust/corruption-mean", 0.8162, 360, 0.795, 0.8374)
	mean.Seed, mean.Settings = 7, map[string]any{"corruptions": []string{"brightness", "contrast"}, "severities": "1-5"}
	add(mean)
	for i, eps := range []string{"0.05", "0.1"} {
		m := measure("robust/pgd-linf", 0.71-0.4*float64(i), 360, 0.66-0.4*float64(i), 0.75-0.4*float64(i))
		m.Slice, m.Settings = "eps="+eps, map[string]any{"iterations": 20}
		add(m)
	}
	auroc := measure("ood/auroc", 0.9312, 3360, 0.915, 0.945)
	auroc.Subjects, auroc.Settings = []record.Subject{int8Model, digits, fashion}, map[string]any{"positive": "out of distribution", "n_positive": 3000.0}
	add(auroc)
	add(lower(measure("ood/fpr95", 0.2417, 360, 0.2, 0.288), ""))
	for _, m := range []record.Measurement{lower(measure("latency/p50", 0.0812, 400, 0.0801, 0.0833), "ms"), lower(measure("latency/p95", 0.1204, 400, 0.111, 0.141), "ms")} {
		m.Volatile, m.Settings = true, map[string]any{"batch": 1}
		add(m)
	}
	add(lower(measure("size/file", 118_532, 1, 0, 0), "bytes"))
	add(lower(measure("cost/flops", 1_812_480, 1, 0, 0), "FLOP per row"))
	nodes := measure("quant/integer_nodes", 18, 141, 0, 0)
	nodes.Unit, nodes.Direction = "nodes", record.Info
	add(nodes)
	pair := []record.Subject{int8Model, f32Model, digits}
	diff := measure("compare/accuracy_diff", -1.0/360, 360, -0.0111, 0.0049)
	diff.Interval.Method = "tango-score"
	diff.Subjects, diff.Detail = pair, detail(map[string]any{"n": 360, "both_right": 349, "only_candidate": 1, "only_baseline": 2, "both_wrong": 8})
	add(diff)
	flips := lower(measure("compare/flips", 4.0/360, 360, 0.0043, 0.0282), "")
	flips.Subjects, flips.Settings = pair, map[string]any{"rows": 4}
	add(flips)
	absent := record.Measurement{Name: "compare/latency_ratio", Check: "compare", Version: 1, Subjects: pair, Absent: "timing was switched off", Direction: record.Lower, Volatile: true}
	add(absent)
	other := measure("accuracy", 0.975, 360, 0.95, 0.99) // of the other model: must not appear
	other.Subjects = []record.Subject{f32Model, digits}
	add(other)
	dup := record.Measurement{Name: "audit/exact-duplicates", Check: "audit/exact_duplicates", Version: 1, Subjects: []record.Subject{digits},
		Value: record.Val(0), N: 1797, Direction: record.Lower}
	add(dup)

	var points []map[string]any
	for e := range 40 {
		p := map[string]any{"epoch": e, "step": (e + 1) * 36, "loss": 2.3 / (1 + float64(e)*float64(e)/12), "lr": 0.001}
		if e%4 == 0 {
			p["select_accuracy"] = 0.97 - 0.8/(1+float64(e)/3)
		}
		points = append(points, p)
	}
	curve := record.Measurement{Name: "train/loss", Check: "train", Version: 1, Subjects: []record.Subject{f32Model, digits}, Role: "train",
		Value: record.Val(0.0187), N: 40, Unit: "nats", Direction: record.Lower, Detail: detail(map[string]any{"points": points})}
	host := record.Host{OS: "linux", Arch: "amd64", CPUs: 2, Kernel: "avx512", Go: "go1.26"}
	at := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	runs := []record.Run{
		{Version: 1, ID: "r1-train", Verb: "train", Inputs: []record.Subject{digits}, Outputs: []record.Subject{f32Model}, Seed: 7, Code: "v0.1.0", Host: host,
			Settings: map[string]any{"epochs": 40, "batch": 32, "lr": 0.001}, Explicit: []string{"epochs"}, Started: at, Duration: 21 * time.Second, Status: record.Succeeded,
			Measurements: []record.Measurement{curve}},
		{Version: 1, ID: "r2-compress", Verb: "compress", Inputs: []record.Subject{f32Model, digits}, Outputs: []record.Subject{int8Model}, Seed: 7, Code: "v0.1.0", Host: host,
			Settings: map[string]any{"method": "static int8", "per_channel": true}, Started: at, Duration: 900 * time.Millisecond, Status: record.Succeeded},
	}
	bound := record.RuleResult{Name: "accuracy", Kind: "bound", Outcome: record.Pass, Measurements: ms[:1],
		Reason: "accuracy (test) 0.9722 [0.9497, 0.9848], needs at least 0.9: the interval satisfies it", MinDetectable: record.Val(0.0322)}
	lose := record.RuleResult{Name: "no-worse-than-baseline", Kind: "noninferior", Outcome: record.Unsure, Measurements: []record.Measurement{diff},
		Reason: "a loss that large is neither ruled out nor proven"}
	return Input{
		Name: "digits", Version: "3",
		Model: Model{Subject: int8Model, Format: "ONNX", Task: "image classification", Family: "vision transformer", Architecture: "4 blocks, width 64, patch 2",
			Inputs: []string{"x: float32 [B, 1, 8, 8]"}, Outputs: []string{"logits: float32 [B, 10]"}, License: "Apache-2.0", Bytes: 118_532},
		Data: []Data{
			{Subject: digits, Use: "training and evaluation", Rows: 1797, Roles: map[string]int{"train": 1000, "select": 167, "calibrate": 270, "test": 360},
				Source: "UCI Optical Recognition of Handwritten Digits", License: "CC-BY-4.0"},
			{Subject: fashion, Use: "unknown inputs", Rows: 3000, License: "MIT License (as stated)"},
		},
		IntendedUse: "Reading single handwritten digits from clean 8 by 8 scans.", Limits: "Only one digit per image; <b>not</b> for cheques.",
		Runs: runs, Measurements: ms, Created: at, Tool: "v0.1.0",
		Verdict: &record.Verdict{Version: 1, Outcome: record.Unsure, Policy: record.Subject{Kind: "policy", Name: "classifier-default", Digest: digest("policy")},
			Candidate: int8Model, Baseline: &f32Model, Rules: []record.RuleResult{bound, lose}},
	}
}

func empty() Input {
	return Input{Model: Model{Subject: int8Model}}
}

var writers = map[string]func(Input) ([]byte, error){"card.md": Markdown, "card.html": HTML, "bom.json": MLBOM}

func TestGolden(t *testing.T) {
	for prefix, in := range map[string]Input{"": example(), "empty-": empty()} {
		for name, write := range writers {
			got, err := write(in)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", prefix+name)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want, got) {
				t.Errorf("%s differs; look at it, then rewrite with -update", file)
			}
		}
	}
}

// The order in which measurements come does not show, nor do exact repeats.
func TestDeterministic(t *testing.T) {
	for name, write := range writers {
		want, err := write(example())
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(1, 2))
		for range 3 {
			in := example()
			in.Measurements = append(in.Measurements, in.Measurements[3])
			r.Shuffle(len(in.Measurements), func(i, j int) {
				in.Measurements[i], in.Measurements[j] = in.Measurements[j], in.Measurements[i]
			})
			in.Verdict.Rules[0].Measurements = example().Measurements[:1]
			if got, _ := write(in); !bytes.Equal(got, want) {
				t.Errorf("%s depends on the order of the measurements", name)
			}
		}
	}
}

// Every number of the release's own measurements appears, those of other models do not.
func TestNothingLostNothingForeign(t *testing.T) {
	in := example()
	md, err := Markdown(in)
	if err != nil {
		t.Fatal(err)
	}
	html, err := HTML(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range in.Measurements {
		d, err := record.DigestOf(m)
		if err != nil {
			t.Fatal(err)
		}
		mine := m.Subjects[0].Digest != f32Model.Digest
		for name, doc := range map[string][]byte{"markdown": md, "html": html} {
			if got := bytes.Contains(doc, []byte(d)); got != mine {
				t.Errorf("%s, %s %s: in the document %v, want %v", name, m.Name, m.Slice, got, mine)
			}
		}
	}
}

// A release with no evidence prints gaps, and no section is without a gap, a table or a sentence.
func TestGapsArePrinted(t *testing.T) {
	in := empty()
	d, err := build(&in)
	if err != nil {
		t.Fatal(err)
	}
	gaps := 0
	for _, s := range d.Sections {
		if len(s.Parts) == 0 {
			t.Errorf("the section %q is empty", s.Title)
		}
		for _, p := range s.Parts {
			if p.Gap != "" {
				gaps++
			}
			if p.Figure != nil || p.Stated != "" {
				t.Errorf("the section %q shows what nobody recorded", s.Title)
			}
		}
	}
	if gaps < 12 {
		t.Errorf("%d gaps", gaps)
	}
}

// Every sentence that is not a gap or a person's words points to a record.
func TestSentencesPointToRecords(t *testing.T) {
	in := example()
	d, err := build(&in)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range d.Sections {
		for _, p := range s.Parts {
			if p.Sentence != nil && len(p.Sentence.Refs) == 0 {
				t.Errorf("%s: %q points to nothing", s.Title, p.Sentence.Text)
			}
			if p.Figure != nil && len(p.Figure.Refs) == 0 {
				t.Errorf("%s: a figure points to nothing", s.Title)
			}
		}
	}
}

// The page refers to nothing outside, all its links lead somewhere, and its tags nest.
func TestPage(t *testing.T) {
	html, err := HTML(example())
	if err != nil {
		t.Fatal(err)
	}
	s := string(html)
	for _, bad := range []string{"<script", "javascript:", "src=", "url(", "@import", "<link", "<b>not</b>", "ZgotmplZ"} {
		if strings.Contains(s, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	for _, l := range regexp.MustCompile(`https?://[^"' <]+`).FindAllString(s, -1) {
		if l != "http://www.w3.org/2000/svg" {
			t.Errorf("the page refers to %s", l)
		}
	}
	links := regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(s, -1)
	if len(links) < 60 {
		t.Errorf("%d links", len(links))
	}
	for _, l := range links {
		if strings.Count(s, `id="`+l[1]+`"`) != 1 {
			t.Errorf("the link to %s leads to %d places", l[1], strings.Count(s, `id="`+l[1]+`"`))
		}
	}
	if n := strings.Count(s, "<svg"); n != 6 {
		t.Errorf("%d plots, want reliability, confusion, classes, corruption, attack and learning curve", n)
	}
	checkNesting(t, s)
}

// checkNesting parses the page leniently and checks that every tag is closed.
func checkNesting(t *testing.T, s string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(strings.Replace(s, "<!doctype html>", "", 1)))
	d.Strict, d.AutoClose, d.Entity = false, []string{"meta"}, xml.HTMLEntity
	depth := 0
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("the page does not nest: %v", err)
		}
		switch tok.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
	}
	if depth != 0 {
		t.Errorf("%d tags are not closed", depth)
	}
}

func TestMarkdownEscapes(t *testing.T) {
	in := example()
	in.Name = "a|b\n# <script>alert(1)</script> `x` [l](javascript:1) ![i](x)"
	in.Measurements[0].Slice = "class=|*_"
	md, err := Markdown(in)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(md), "\n") {
		if strings.Contains(line, "<script") || regexp.MustCompile(`[^\\]\]\(`).MatchString(line) {
			t.Errorf("line %d is not escaped: %s", i+1, line)
		}
	}
	width := 0
	for i, line := range strings.Split(string(md), "\n") {
		if !strings.HasPrefix(line, "|") {
			width = 0
			continue
		}
		n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if width != 0 && n != width {
			t.Errorf("line %d has %d columns, its table %d: %s", i+1, n-1, width-1, line)
		}
		width = n
	}
}

func TestInvalidInput(t *testing.T) {
	for name, in := range map[string]Input{
		"model": {Model: Model{Subject: record.Subject{Name: "x"}}},
		"data":  {Model: Model{Subject: int8Model}, Data: []Data{{Subject: record.Subject{Name: "d", Digest: "sha256:1"}}}},
		"record": {Model: Model{Subject: int8Model}, Measurements: []record.Measurement{{Name: "x", Subjects: []record.Subject{int8Model},
			Settings: map[string]any{"f": func() {}}}}},
	} {
		for what, write := range writers {
			if b, err := write(in); err == nil || fault.ClassOf(err) == fault.Internal || b != nil {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		if _, err := RMF(in); err == nil {
			t.Errorf("%s: RMF accepts it", name)
		}
	}
}

func TestRMF(t *testing.T) {
	rows, err := RMF(example())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]RMFStatus{}
	for _, r := range rows {
		got[r.ID] = r.Status
		if (r.Status == Missing) != (len(r.Records) == 0) && r.ID != "MAP 1.1" {
			t.Errorf("%s is %s with %d records", r.ID, r.Status, len(r.Records))
		}
	}
	for id, want := range map[string]RMFStatus{"MAP 1.1": Partly, "MEASURE 2.1": Evidenced, "MEASURE 2.3": Partly, "MEASURE 2.4": Missing, "MEASURE 2.5": Evidenced,
		"MEASURE 2.7": Partly, "MEASURE 2.11": Missing, "MEASURE 2.12": Partly, "MANAGE 1.1": Partly, "MANAGE 2.4": Missing, "MANAGE 4.1": Partly, "MANAGE 4.3": Missing} {
		if got[id] != want {
			t.Errorf("%s is %q, want %q", id, got[id], want)
		}
	}
	in := example()
	in.Approvals = []Approval{{Who: "Ada", When: in.Created}}
	in.Previous = &record.Subject{Kind: "release", Name: "digits 2", Digest: digest("r2")}
	in.Runs = append(in.Runs, record.Run{Verb: "rollback", Status: record.Succeeded})
	rows, err = RMF(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if (r.ID == "MANAGE 1.1" || r.ID == "MANAGE 2.4") && r.Status != Evidenced || r.ID == "MANAGE 4.3" && r.Status != Partly {
			t.Errorf("%s is %s", r.ID, r.Status)
		}
	}
}

func TestBOM(t *testing.T) {
	in := example()
	raw, err := MLBOM(in)
	if err != nil {
		t.Fatal(err)
	}
	var b cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(raw), cdx.BOMFileFormatJSON).Decode(&b); err != nil {
		t.Fatal(err)
	}
	if b.BOMFormat != "CycloneDX" || b.SpecVersion != cdx.SpecVersion1_6 || b.JSONSchema != "http://cyclonedx.org/schema/bom-1.6.schema.json" || b.Version != 1 {
		t.Errorf("%s %v %s", b.BOMFormat, b.SpecVersion, b.JSONSchema)
	}
	// the pattern of the 1.6 schema
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`).MatchString(b.SerialNumber) {
		t.Errorf("serial number %s", b.SerialNumber)
	}
	if b.Metadata.Timestamp != "2026-11-24T10:00:00Z" {
		t.Errorf("timestamp %s", b.Metadata.Timestamp)
	}
	m := b.Metadata.Component
	if m.Type != cdx.ComponentTypeMachineLearningModel || (*m.Hashes)[0].Value != int8Model.Digest.Hex() || (*m.Licenses)[0].Expression != "Apache-2.0" {
		t.Errorf("model component %+v", m)
	}
	if a := *m.Pedigree.Ancestors; len(a) != 1 || (*a[0].Hashes)[0].Value != f32Model.Digest.Hex() {
		t.Errorf("ancestors %+v", a)
	}
	checkRefs(t, &b)
	checkMetrics(t, in, *m.ModelCard.QuantitativeAnalysis.PerformanceMetrics)
	data := *b.Components
	if len(data) != 2 || data[0].Type != cdx.ComponentTypeData || (*data[1].Licenses)[0].License.Name != "MIT License (as stated)" {
		t.Errorf("data components %+v", data)
	}
	in.Measurements[0].Value = record.Val(0.5)
	other, err := MLBOM(in)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(other, []byte(b.SerialNumber)) {
		t.Error("other measurements, the same serial number")
	}
}

// checkRefs checks that bom-refs are unique and that all references lead to one.
func checkRefs(t *testing.T, b *cdx.BOM) {
	t.Helper()
	known := map[string]int{b.Metadata.Component.BOMRef: 1}
	for _, c := range *b.Components {
		known[c.BOMRef]++
	}
	for ref, n := range known {
		if n != 1 || ref == "" {
			t.Errorf("bom-ref %q stands %d times", ref, n)
		}
	}
	for _, d := range *b.Metadata.Component.ModelCard.ModelParameters.Datasets {
		if known[d.Ref] == 0 {
			t.Errorf("data set reference %q leads nowhere", d.Ref)
		}
	}
	for _, d := range *b.Dependencies {
		if known[d.Ref] == 0 {
			t.Errorf("dependency %q leads nowhere", d.Ref)
		}
		if d.Dependencies == nil {
			continue
		}
		for _, r := range *d.Dependencies {
			if known[r] == 0 {
				t.Errorf("dependency on %q leads nowhere", r)
			}
		}
	}
}

// checkMetrics checks that every measured value of the model stands there with its interval.
func checkMetrics(t *testing.T, in Input, metrics []cdx.MLPerformanceMetric) {
	t.Helper()
	byRecord := map[string]cdx.MLPerformanceMetric{}
	for _, m := range metrics {
		_, d, _ := strings.Cut(m.Slice, "record=")
		byRecord[d] = m
	}
	n := 0
	for _, m := range in.Measurements {
		if m.Value == nil || m.Subjects[0].Digest != int8Model.Digest {
			continue
		}
		n++
		d, err := record.DigestOf(m)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := byRecord[string(d)]
		if !ok || got.Type != m.Name || !strings.HasPrefix(got.Value, plain(*m.Value)) {
			t.Errorf("%s %s: %+v", m.Name, m.Slice, got)
			continue
		}
		if (m.Interval == nil) != (got.ConfidenceInterval == nil) || m.Interval != nil && got.ConfidenceInterval.LowerBound != plain(m.Interval.Low) {
			t.Errorf("%s %s: interval %+v, want %+v", m.Name, m.Slice, got.ConfidenceInterval, m.Interval)
		}
	}
	if n != len(metrics) {
		t.Errorf("%d metrics for %d measurements", len(metrics), n)
	}
}

func TestReadable(t *testing.T) {
	for _, c := range []struct {
		x    float64
		want string
	}{{0, "0"}, {0.97222, "0.9722"}, {-0.0027777, "-0.002778"}, {1797, "1,797"}, {118532, "118,532"}, {-1234567, "-1,234,567"}, {1234.56, "1,235"}, {1e20, "1e+20"}, {0.00001234, "1.234e-05"}, {12.5, "12.5"}, {999, "999"}} {
		if got := readable(c.x); got != c.want {
			t.Errorf("readable(%v) = %s, want %s", c.x, got, c.want)
		}
	}
	if !natural("class=9", "class=10") || natural("class=10", "class=9") || !natural("a", "b") {
		t.Error("slices with numbers do not sort by value")
	}
}

// Details come from files: whatever they hold, the card is written and its tags nest.
func FuzzDetail(f *testing.F) {
	for _, m := range example().Measurements {
		if m.Detail != nil {
			f.Add([]byte(m.Detail), m.Slice)
		}
	}
	f.Add([]byte(`{"labels":["a","b"],"counts":[[1],[2,3]]}`), "class=1")
	f.Add([]byte(`{"bins":[{"low":2,"high":-1,"n":-5}],"points":[{},{}]}`), "eps=x")
	f.Fuzz(func(t *testing.T, d []byte, slice string) {
		if !json.Valid(d) {
			return
		}
		in := empty()
		for _, name := range []string{"confusion", "calibration/ece", "train/loss", "robust/corruption", "robust/pgd-linf", "accuracy"} {
			m := measure(name, 0.5, 10, 0.4, 0.6)
			m.Detail, m.Slice = d, slice
			in.Measurements = append(in.Measurements, m)
		}
		for _, write := range writers {
			b, err := write(in)
			if err != nil {
				if fault.ClassOf(err) == fault.Internal {
					t.Fatal(err)
				}
				return
			}
			if bytes.Contains(b, []byte("<script")) {
				t.Fatal("a script")
			}
		}
		b, err := HTML(in)
		if err == nil {
			checkNesting(t, string(b))
		}
	})
}
