package card

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"muster/fault"
	"muster/record"
)

// MLBOM returns the bill of materials of the release: CycloneDX 1.6 JSON with the
// model as a machine-learning-model component (hashes, licence, ancestors, model
// card with its measurements and intervals) and the data sets as data components.
// The serial number is derived from the digests, so the same input gives the same bytes.
func MLBOM(in Input) ([]byte, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	ev, err := newEvidence(&in)
	if err != nil {
		return nil, err
	}
	b := cdx.NewBOM()
	b.SerialNumber = serial(&in, ev)
	b.Metadata = metadata(&in, ev)
	data := dataComponents(&in)
	if len(data) > 0 {
		b.Components = &data
	}
	refs := make([]string, len(data))
	deps := []cdx.Dependency{{Ref: modelRef(&in), Dependencies: &refs}}
	for i, d := range data {
		refs[i] = d.BOMRef
		deps = append(deps, cdx.Dependency{Ref: d.BOMRef})
	}
	b.Dependencies = &deps
	var out bytes.Buffer
	enc := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON)
	enc.SetPretty(true)
	if err := enc.EncodeVersion(b, cdx.SpecVersion1_6); err != nil {
		return nil, fault.New(fault.Internal, "bill of materials", "%w", err)
	}
	return out.Bytes(), nil
}

// serial is a UUID of version 8 (RFC 9562, section 5.8) made of the digests of all
// that the document speaks about.
func serial(in *Input, ev *evidence) string {
	h := sha256.New()
	fmt.Fprintln(h, in.title(), in.Model.Subject.Digest)
	for _, d := range in.Data {
		fmt.Fprintln(h, d.Subject.Digest)
	}
	for _, it := range ev.items {
		fmt.Fprintln(h, it.digest)
	}
	u := h.Sum(nil)[:16]
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	x := hex.EncodeToString(u)
	return "urn:uuid:" + strings.Join([]string{x[:8], x[8:12], x[12:16], x[16:20], x[20:]}, "-")
}

func metadata(in *Input, ev *evidence) *cdx.Metadata {
	m := &cdx.Metadata{Component: modelComponent(in, ev)}
	if !in.Created.IsZero() {
		m.Timestamp = in.Created.UTC().Format(time.RFC3339)
	}
	m.Tools = &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "muster", Version: in.Tool}}}
	if v := in.Verdict; v != nil {
		m.Properties = properties("muster:verdict", string(v.Outcome), "muster:policy", v.Policy.Name, "muster:policy:digest", string(v.Policy.Digest))
	}
	return m
}

func modelRef(in *Input) string { return "model:" + in.Model.Subject.Digest.Hex() }

func modelComponent(in *Input, ev *evidence) *cdx.Component {
	m := in.Model
	c := &cdx.Component{
		BOMRef: modelRef(in), Type: cdx.ComponentTypeMachineLearningModel, Name: m.Subject.Name, Version: in.Version,
		Description: in.IntendedUse, Hashes: hashes(m.Subject.Digest), Licenses: licenses(m.License), ModelCard: modelCard(in, ev),
	}
	if in.Owner != "" {
		c.Authors = &[]cdx.OrganizationalContact{{Name: in.Owner}}
	}
	if a := ancestors(in); len(a) > 0 {
		c.Pedigree = &cdx.Pedigree{Ancestors: &a}
	}
	return c
}

// ancestors are the models that went into the runs which made this one.
func ancestors(in *Input) []cdx.Component {
	var out []cdx.Component
	seen := map[record.Digest]bool{in.Model.Subject.Digest: true}
	for _, r := range makers(in) {
		for _, s := range r.Inputs {
			if s.Kind == "model" && s.Digest.Valid() && !seen[s.Digest] {
				seen[s.Digest] = true
				out = append(out, cdx.Component{BOMRef: "model:" + s.Digest.Hex(), Type: cdx.ComponentTypeMachineLearningModel, Name: s.Name, Hashes: hashes(s.Digest)})
			}
		}
	}
	return out
}

func hashes(d record.Digest) *[]cdx.Hash {
	return &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: d.Hex()}}
}

// spdx recognises the form of an SPDX licence expression (SPDX 2.3, annex D).
var spdx = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+-]*( (AND|OR|WITH) [A-Za-z0-9][A-Za-z0-9.+-]*)*$`)

func licenses(s string) *cdx.Licenses {
	switch {
	case s == "":
		return nil
	case spdx.MatchString(s):
		return &cdx.Licenses{{Expression: s}}
	}
	return &cdx.Licenses{{License: &cdx.License{Name: s}}}
}

func dataComponents(in *Input) []cdx.Component {
	var out []cdx.Component
	seen := map[record.Digest]bool{}
	for _, d := range in.Data {
		if seen[d.Subject.Digest] {
			continue
		}
		seen[d.Subject.Digest] = true
		pairs := []string{"muster:rows", fmt.Sprint(d.Rows), "muster:use", d.Use}
		for _, k := range sortedKeys(d.Roles) {
			pairs = append(pairs, "muster:rows:"+k, fmt.Sprint(d.Roles[k]))
		}
		c := cdx.Component{
			BOMRef: "data:" + d.Subject.Digest.Hex(), Type: cdx.ComponentTypeData, Name: d.Subject.Name, Description: d.Description,
			Hashes: hashes(d.Subject.Digest), Licenses: licenses(d.License), Properties: properties(pairs...),
			Data: &[]cdx.ComponentData{{Type: cdx.ComponentDataTypeDataset, Name: d.Subject.Name, Description: d.Source}},
		}
		out = append(out, c)
	}
	return out
}

// properties makes name-value pairs; those without a value are left out.
func properties(pairs ...string) *[]cdx.Property {
	var out []cdx.Property
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out = append(out, cdx.Property{Name: pairs[i], Value: pairs[i+1]})
		}
	}
	if len(out) == 0 {
		return nil
	}
	return &out
}

func modelCard(in *Input, ev *evidence) *cdx.MLModelCard {
	p := &cdx.MLModelParameters{Task: in.Model.Task, ArchitectureFamily: in.Model.Family, ModelArchitecture: in.Model.Architecture}
	if len(in.Data) > 0 {
		var sets []cdx.MLDatasetChoice
		for _, d := range dataComponents(in) {
			sets = append(sets, cdx.MLDatasetChoice{Ref: d.BOMRef})
		}
		p.Datasets = &sets
	}
	p.Inputs, p.Outputs = formats(in.Model.Inputs), formats(in.Model.Outputs)
	c := &cdx.MLModelCard{BOMRef: "card:" + in.Model.Subject.Digest.Hex(), ModelParameters: p, QuantitativeAnalysis: analysis(ev)}
	k := &cdx.MLModelCardConsiderations{UseCases: texts(in.IntendedUse), TechnicalLimitations: texts(in.Limits, in.OutOfScope)}
	if k.UseCases != nil || k.TechnicalLimitations != nil {
		c.Considerations = k
	}
	return c
}

func formats(list []string) *[]cdx.MLInputOutputParameters {
	var out []cdx.MLInputOutputParameters
	for _, s := range list {
		if s != "" {
			out = append(out, cdx.MLInputOutputParameters{Format: s})
		}
	}
	if len(out) == 0 {
		return nil
	}
	return &out
}

func texts(list ...string) *[]string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return &out
}

// analysis lists every measured value of the model. The format has no field for the number of
// items and the role, so the slice names them.
func analysis(ev *evidence) *cdx.MLQuantitativeAnalysis {
	var out []cdx.MLPerformanceMetric
	for _, it := range ev.items {
		if it.Measurement.Value == nil || !ev.ofModel(it.Measurement) {
			continue
		}
		m := cdx.MLPerformanceMetric{Type: it.Name, Value: withUnit(plain(*it.Measurement.Value), it.Unit), Slice: where(it)}
		if it.Interval != nil {
			m.ConfidenceInterval = &cdx.MLPerformanceMetricConfidenceInterval{LowerBound: plain(it.Interval.Low), UpperBound: plain(it.Interval.High)}
		}
		out = append(out, m)
	}
	if len(out) == 0 {
		return nil
	}
	return &cdx.MLQuantitativeAnalysis{PerformanceMetrics: &out}
}

func where(it item) string {
	parts := []string{}
	if it.Slice != "" {
		parts = append(parts, it.Slice)
	}
	if it.Role != "" {
		parts = append(parts, "role="+it.Role)
	}
	parts = append(parts, fmt.Sprintf("n=%d", it.N))
	if it.Interval != nil {
		parts = append(parts, fmt.Sprintf("level=%s", plain(it.Interval.Level)))
	}
	return strings.Join(append(parts, "record="+string(it.digest)), "; ")
}

// plain prints a number without grouping, so that programs can read it back exactly.
func plain(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
