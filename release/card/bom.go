package card

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"muster/record"
)

// MLBOM returns the bill of materials as CycloneDX 1.6 JSON: the model as a
// machine-learning-model component with its model card and measured performance,
// the data sets as data components. The same input gives the same bytes: the serial
// number is derived from the model's digest.
func MLBOM(in Input) ([]byte, error) {
	b := cdx.NewBOM()
	h := in.Model.Subject.Digest
	if h.Valid() {
		x := h.Hex()
		b.SerialNumber = fmt.Sprintf("urn:uuid:%s-%s-5%s-8%s-%s", x[:8], x[8:12], x[13:16], x[17:20], x[20:32])
	}
	b.Metadata = &cdx.Metadata{Component: modelComponent(in)}
	if !in.Created.IsZero() {
		b.Metadata.Timestamp = in.Created.UTC().Format(time.RFC3339)
	}
	if in.Tool != "" {
		b.Metadata.Tools = &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "muster", Version: in.Tool}}}
	}
	var parts []cdx.Component
	for _, d := range in.Data {
		c := cdx.Component{BOMRef: string(d.Subject.Digest), Type: cdx.ComponentTypeData, Name: d.Subject.Name, Description: d.Description, Hashes: hashes(d.Subject.Digest)}
		if d.License != "" {
			c.Licenses = &cdx.Licenses{{Expression: d.License}}
		}
		parts = append(parts, c)
	}
	if parts != nil {
		b.Components = &parts
	}
	var out bytes.Buffer
	enc := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true)
	err := enc.EncodeVersion(b, cdx.SpecVersion1_6)
	return out.Bytes(), err
}

func hashes(d record.Digest) *[]cdx.Hash {
	if !d.Valid() {
		return nil
	}
	return &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: d.Hex()}}
}

func modelComponent(in Input) *cdx.Component {
	m := in.Model
	c := &cdx.Component{BOMRef: string(m.Subject.Digest), Type: cdx.ComponentTypeMachineLearningModel, Name: in.Name, Version: in.Version, Hashes: hashes(m.Subject.Digest)}
	if m.License != "" {
		c.Licenses = &cdx.Licenses{{Expression: m.License}}
	}
	mp := &cdx.MLModelParameters{Task: m.Task, ArchitectureFamily: m.Family, ModelArchitecture: m.Architecture}
	var ins, outs []cdx.MLInputOutputParameters
	for _, s := range m.Inputs {
		ins = append(ins, cdx.MLInputOutputParameters{Format: s})
	}
	for _, s := range m.Outputs {
		outs = append(outs, cdx.MLInputOutputParameters{Format: s})
	}
	mp.Inputs, mp.Outputs = &ins, &outs
	var sets []cdx.MLDatasetChoice
	for _, d := range in.Data {
		sets = append(sets, cdx.MLDatasetChoice{Ref: string(d.Subject.Digest)})
	}
	mp.Datasets = &sets
	c.ModelCard = &cdx.MLModelCard{ModelParameters: mp, QuantitativeAnalysis: &cdx.MLQuantitativeAnalysis{PerformanceMetrics: metrics(in.Measurements)}}
	if in.IntendedUse != "" || in.Limits != "" {
		c.ModelCard.Considerations = &cdx.MLModelCardConsiderations{UseCases: list(in.IntendedUse), TechnicalLimitations: list(in.Limits)}
	}
	return c
}

func list(s string) *[]string {
	if s == "" {
		return nil
	}
	return &[]string{s}
}

// metrics lists the measurements that have a value, with slice and interval.
func metrics(ms []record.Measurement) *[]cdx.MLPerformanceMetric {
	out := []cdx.MLPerformanceMetric{}
	num := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	for i := range ms {
		m := &ms[i]
		if m.Value == nil {
			continue
		}
		p := cdx.MLPerformanceMetric{Type: m.Name, Value: num(*m.Value), Slice: m.Slice}
		if m.Interval != nil {
			p.ConfidenceInterval = &cdx.MLPerformanceMetricConfidenceInterval{LowerBound: num(m.Interval.Low), UpperBound: num(m.Interval.High)}
		}
		out = append(out, p)
	}
	return &out
}
