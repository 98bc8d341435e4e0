package data

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"muster/fault"
)

// Purpose is what rows are used for.
type Purpose string

// The purposes. Each allows the roles in the table below, and no others.
const (
	Fit           Purpose = "fit"       // weights, transforms
	Choose        Purpose = "choose"    // checkpoints, epochs, settings
	FitCalibrator Purpose = "calibrate" // temperature
	FitRanges     Purpose = "quantize"  // ranges of activations
	FitThreshold  Purpose = "threshold" // decision, abstention and alarm thresholds
	Reference     Purpose = "reference" // the null distribution that live windows are compared with
	Report        Purpose = "report"    // the numbers that a verdict reads
	Simulate      Purpose = "simulate"  // traffic of a demonstration
	Screen        Purpose = "screen"    // checks of the data that see no model
)

// purposes is the table: purpose to the roles that it may use.
var purposes = map[Purpose][]Role{
	Fit:           {Train},
	Choose:        {Select},
	FitCalibrator: {Calibrate},
	FitRanges:     {Calibrate, Train},
	FitThreshold:  {Threshold},
	Reference:     {Calibrate, Threshold},
	Report:        {Test},
	Simulate:      {Test},
	Screen:        {Train, Select, Calibrate, Threshold, Test},
}

// Use asks to use the rows of a role for a purpose. It counts the use, and refuses a role
// that the purpose does not allow, or one without rows. Every use of the test role other
// than Screen is a look.
func (l *Ledger) Use(role Role, purpose Purpose) error {
	place := fmt.Sprintf("ledger: %s", purpose)
	allowed, ok := purposes[purpose]
	if !ok {
		return fault.New(fault.Unsupported, place, "not a purpose")
	}
	if !slices.Contains(allowed, role) {
		names := make([]string, len(allowed))
		for i, r := range allowed {
			names[i] = string(r)
		}
		return fault.New(fault.Mismatch, place, "rows with the role %q must not be used to %s", role, purpose).
			WithHint("%s uses the role %s", purpose, strings.Join(names, " or "))
	}
	if l.Count(role) == 0 {
		return fault.New(fault.NotFound, place, "no row has the role %q", role).WithHint("give the role a share in the split")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i, found := slices.BinarySearchFunc(l.Uses, Use{Role: role, Purpose: purpose}, compareUse)
	if !found {
		l.Uses = slices.Insert(l.Uses, i, Use{Role: role, Purpose: purpose})
	}
	l.Uses[i].Count++
	return nil
}

func compareUse(a, b Use) int {
	return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Purpose, b.Purpose))
}

// Looks returns how often the test role was looked at.
func (l *Ledger) Looks() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, u := range l.Uses {
		if u.Role == Test && u.Purpose != Screen {
			n += u.Count
		}
	}
	return n
}

// Encode returns the ledger as JSON, uses included.
func (l *Ledger) Encode() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return encodeJSON(l)
}
