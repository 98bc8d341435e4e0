package card

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"muster/fault"
	"muster/record"
)

// input is a release with one measurement of each kind that the plots read, and hostile names.
func input() Input {
	model := record.Subject{Kind: "model", Name: "m", Digest: record.DigestBytes([]byte("m"))}
	set := record.Subject{Kind: "data", Name: "d", Digest: record.DigestBytes([]byte("d"))}
	m := func(name, slice string, v float64, detail string) record.Measurement {
		x := record.Measurement{Name: name, Slice: slice, Check: "c", Version: 1, Subjects: []record.Subject{model, set}, Role: "test", Value: record.Val(v),
			Direction: record.Higher, N: 40, Interval: &record.Interval{Low: v - 0.1, High: v + 0.1, Level: 0.95, Method: "wilson"}}
		if detail != "" {
			x.Detail = json.RawMessage(detail)
		}
		return x
	}
	return Input{Name: `<script>alert("x")</script>`, Version: "1", Created: time.Unix(1_700_000_000, 0).UTC(), Tool: "0.1",
		Model: Model{Subject: model, Format: "ONNX", Task: "classification", Bytes: 10}, Data: []Data{{Subject: set, Rows: 40, Roles: map[string]int{"test": 40}}},
		Measurements: []record.Measurement{m("accuracy", "", 0.875, ""), m("confusion", "", 3, `{"labels":["a<b","c"],"counts":[[18,2],[1,19]]}`),
			m("calibration/ece", "", 0.05, `{"bins":[{"low":0,"high":0.5,"confidence":0.4,"accuracy":0.5,"n":4},{"low":0.5,"high":1,"confidence":0.9,"accuracy":0.8,"n":36}]}`),
			m("robust/corruption", "corruption=blur/1", 0.8, ""), m("robust/corruption", "corruption=blur/2", 0.7, ""),
			{Name: "ood/auroc", Absent: "no set was given", Direction: record.Higher, Subjects: []record.Subject{model}}},
		Verdict: &record.Verdict{Version: 1, Outcome: record.Pass, Candidate: model, Rules: []record.RuleResult{}}}
}

func TestDocuments(t *testing.T) {
	for name, write := range map[string]func(Input) ([]byte, error){"Markdown": Markdown, "HTML": HTML, "MLBOM": MLBOM} {
		a, err := write(input())
		if err != nil {
			t.Fatal(name, err)
		}
		b, err := write(input())
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: the same input gives other bytes (%v)", name, err)
		}
		if !strings.Contains(string(a), "0.875") {
			t.Errorf("%s does not give the accuracy", name)
		}
		if _, err := write(Input{}); name != "MLBOM" && fault.ClassOf(err) == fault.Internal {
			t.Errorf("%s of nothing: %v, want a refusal with a class", name, err)
		}
	}
	page, _ := HTML(input())
	s := string(page)
	if strings.Contains(s, "<script") || strings.Contains(s, "a<b") {
		t.Error("the page holds markup that came from a name")
	}
	if n := strings.Count(s, "<svg"); n < 3 {
		t.Errorf("%d plots, want at least three", n)
	}
	if !strings.Contains(s, "no set was given") {
		t.Error("the reason of an absent measurement is missing")
	}
	if strings.Contains(s, "http://") && strings.Contains(s, `src="http`) || strings.Contains(s, `src="//`) {
		t.Error("the page refers to something outside")
	}
}

func TestMLBOM(t *testing.T) {
	raw, err := MLBOM(input())
	if err != nil {
		t.Fatal(err)
	}
	var b cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(raw), cdx.BOMFileFormatJSON).Decode(&b); err != nil {
		t.Fatal(err)
	}
	c := b.Metadata.Component
	if b.SpecVersion != cdx.SpecVersion1_6 || c.Type != cdx.ComponentTypeMachineLearningModel || (*c.Hashes)[0].Value != record.DigestBytes([]byte("m")).Hex() {
		t.Errorf("%v %+v", b.SpecVersion, c)
	}
	pm := *c.ModelCard.QuantitativeAnalysis.PerformanceMetrics
	if len(pm) != 5 || pm[0].Type != "accuracy" || pm[0].ConfidenceInterval.LowerBound != "0.775" {
		t.Errorf("%+v", pm)
	}
	if len(*b.Components) != 1 || (*b.Components)[0].Type != cdx.ComponentTypeData {
		t.Errorf("%+v", b.Components)
	}
}
