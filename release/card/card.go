// Package card writes the documents of a release from its records: the model card
// as Markdown and as one self-contained HTML page, the bill of materials (CycloneDX)
// and the evidence table of the NIST AI Risk Management Framework.
//
// A card says nothing that no record says. Every number stands with its interval,
// the number of items behind it, their role and the convention, and points to its
// measurement by name and digest. What was not measured is printed as a gap; the
// words of people (intended use, limits) are marked as theirs.
package card

import (
	"time"

	"muster/fault"
	"muster/record"
)

// Input is everything that the documents may speak of.
type Input struct {
	Name    string // of the release
	Version string
	Model   Model
	Data    []Data
	// Stated by people, never derived; "" is a gap.
	IntendedUse string
	OutOfScope  string
	Limits      string
	Owner       string // who answers for the model, and how to reach them
	Approvals   []Approval

	Previous     *record.Subject // the release that a rollback would return to
	Runs         []record.Run    // how the model came about: train, compress, eval
	Measurements []record.Measurement
	Verdict      *record.Verdict
	Created      time.Time // written into the documents; the zero time is left out
	Tool         string    // version of Muster
}

// Model describes the released model.
type Model struct {
	Subject      record.Subject
	Format       string   // "ONNX"
	Task         string   // "image classification"
	Family       string   // "vision transformer"
	Architecture string   // "4 blocks, width 64, patch 2"
	Inputs       []string // "x: float32 [B, 1, 8, 8]"
	Outputs      []string
	License      string // SPDX expression where possible
	Bytes        int64
}

// Data describes one data set that the model was made or measured with.
type Data struct {
	Subject     record.Subject
	Use         string // "training and evaluation", "unknown inputs"
	Rows        int
	Roles       map[string]int // rows by role
	Source      string
	License     string
	Description string
}

// Approval is a recorded act of a person or key.
type Approval struct {
	Who  string
	When time.Time
	Note string
}

// check refuses input that no document may be made of.
func (in *Input) check() error {
	if !in.Model.Subject.Digest.Valid() {
		return fault.New(fault.Malformed, "card", "the model %q has no valid digest", in.Model.Subject.Name)
	}
	for _, d := range in.Data {
		if !d.Subject.Digest.Valid() {
			return fault.New(fault.Malformed, "card", "the data set %q has no valid digest", d.Subject.Name)
		}
	}
	return nil
}

func (in *Input) title() string {
	name := in.Name
	if name == "" {
		name = in.Model.Subject.Name
	}
	if in.Version != "" {
		name += " " + in.Version
	}
	return name
}
