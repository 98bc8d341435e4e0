// Package record holds the evidence: digests, measurements, runs and verdicts.
//
// It is tiny and dull on purpose: the user interface, the gate, the cards and
// the reports read records only, and a verdict can be re-checked with nothing
// but this package and the policy.
package record

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Version is the version of the record schema; readers refuse newer ones.
const Version = 1

// Digest names content: "sha256:" and 64 hex digits.
type Digest string

// DigestBytes returns the digest of b.
func DigestBytes(b []byte) Digest {
	s := sha256.Sum256(b)
	return Digest("sha256:" + hex.EncodeToString(s[:]))
}

// Valid reports whether d has the form of a digest.
func (d Digest) Valid() bool {
	if len(d) != 71 || d[:7] != "sha256:" {
		return false
	}
	for _, c := range d[7:] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Hex returns the 64 hex digits.
func (d Digest) Hex() string { return string(d[7:]) }

// Short returns the first 12 hex digits, for people.
func (d Digest) Short() string {
	if len(d) < 19 {
		return string(d)
	}
	return string(d[7:19])
}

// Subject is something a record speaks about.
type Subject struct {
	Kind   string `json:"kind"` // "model", "data", "policy", "release", "window"
	Name   string `json:"name"`
	Digest Digest `json:"digest"`
}

// Interval is an uncertainty statement about a value.
type Interval struct {
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Level  float64 `json:"level"`  // 0.95
	Method string  `json:"method"` // "wilson", "paired-bootstrap", ...
}

// Direction says which way is better.
type Direction string

// Directions of a measurement.
const (
	Higher Direction = "higher"
	Lower  Direction = "lower"
	Info   Direction = "info" // neither
)

// Measurement is one number with all that is needed to read it, to compare it
// and to compute it again. Exactly one of Value and Absent is set.
type Measurement struct {
	Name      string          `json:"name"`             // path: "accuracy", "calibration/ece", "robust/pgd-linf"
	Check     string          `json:"check"`            // the check that produced it
	Version   int             `json:"version"`          // of that check's definition
	Subjects  []Subject       `json:"subjects"`         // what was measured: model, data
	Role      string          `json:"role,omitempty"`   // role of the rows used
	Slice     string          `json:"slice,omitempty"`  // "" is all rows; "class=3", "corruption=noise/3"
	Value     *float64        `json:"value,omitempty"`  // never NaN or infinite
	Absent    string          `json:"absent,omitempty"` // why there is no value
	Unit      string          `json:"unit,omitempty"`   // "" is a plain ratio; "ms", "bytes", "nats"
	Direction Direction       `json:"direction"`
	N         int             `json:"n"` // items behind the value
	Interval  *Interval       `json:"interval,omitempty"`
	Seed      uint64          `json:"seed,omitempty"`
	Volatile  bool            `json:"volatile,omitempty"` // a timing: re-computation compares it by interval, not by bits
	Settings  map[string]any  `json:"settings,omitempty"` // conventions: bins, edge rule, budget
	Detail    json.RawMessage `json:"detail,omitempty"`   // structured payload: confusion matrix, curve, rows concerned
}

// Val returns a pointer to v, for Measurement.Value.
func Val(v float64) *float64 { return &v }

// Status is how a run ended.
type Status string

// Statuses of a run. A run that is Running in the store but whose process is gone was killed.
const (
	Running   Status = "running"
	Succeeded Status = "succeeded"
	Failed    Status = "failed"
)

// Host describes where a run happened.
type Host struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"` // kernel tier: "ref", "avx2", "avx512"
	Go     string `json:"go"`
}

// Run is the edge between artifacts: one verb, what went in and what came out.
type Run struct {
	Version      int            `json:"version"`
	ID           string         `json:"id"`
	Verb         string         `json:"verb"`
	Inputs       []Subject      `json:"inputs"`
	Outputs      []Subject      `json:"outputs"`
	Settings     map[string]any `json:"settings"` // every setting, defaults included
	Explicit     []string       `json:"explicit"` // the settings that were given, not defaulted
	Seed         uint64         `json:"seed"`
	Code         string         `json:"code"` // version of Muster
	Host         Host           `json:"host"`
	Started      time.Time      `json:"started"`
	Duration     time.Duration  `json:"duration_ns"`
	Status       Status         `json:"status"`
	Error        string         `json:"error,omitempty"`
	Measurements []Measurement  `json:"measurements,omitempty"`
}

// Outcome is the answer of a policy.
type Outcome string

// The three outcomes. Unsure is "not enough evidence".
const (
	Pass   Outcome = "pass"
	Fail   Outcome = "fail"
	Unsure Outcome = "not enough evidence"
)

// RuleResult is one rule of a policy with the measurements it used.
type RuleResult struct {
	Name             string        `json:"name"`
	Kind             string        `json:"kind"` // rule kind: "bound", "noninferior", "expr"
	Outcome          Outcome       `json:"outcome"`
	Reason           string        `json:"reason"`
	Measurements     []Measurement `json:"measurements"`
	MinDetectable    *float64      `json:"min_detectable,omitempty"` // smallest true effect the rule would have found with the stated power
	MinDetectableWhy string        `json:"min_detectable_why,omitempty"`
}

// Verdict is what a policy says about a candidate.
type Verdict struct {
	Version   int          `json:"version"`
	Outcome   Outcome      `json:"outcome"`
	Policy    Subject      `json:"policy"`
	Candidate Subject      `json:"candidate"`
	Baseline  *Subject     `json:"baseline,omitempty"`
	Rules     []RuleResult `json:"rules"`
	Refused   []string     `json:"refused,omitempty"` // why no verdict could be given: contradictions, impossible policy
}
