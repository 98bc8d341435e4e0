// Package check measures models: one file per metric or check, one sorted table.
// A check takes a model and data with roles and returns measurements, each with
// its interval or the reason why it has none.
package check

import (
	"context"
	"slices"
	"strings"

	"muster/data"
	"muster/fault"
	"muster/record"
	"muster/rng"
	"muster/tensor"
)

// Config are the settings of an evaluation; zero values take the defaults in brackets.
type Config struct {
	Seed    uint64    `json:"seed"`     // of corruptions, attacks and resampling
	PGDEps  []float64 `json:"pgd_eps"`  // attack budgets as shares of the pixel range [0.05, 0.1]
	PGDStep int       `json:"pgd_step"` // iterations [20]
	Latency int       `json:"latency"`  // timed single-row runs [400]; negative: no timing
	Only    []string  `json:"only"`     // checks to run [all]
}

func (c Config) withDefaults() Config {
	if c.PGDEps == nil {
		c.PGDEps = []float64{0.05, 0.1}
	}
	if c.PGDStep == 0 {
		c.PGDStep = 20
	}
	if c.Latency == 0 {
		c.Latency = 400
	}
	return c
}

// Input is what an evaluation looks at.
type Input struct {
	Model          *Model
	Data           *data.Set    // with roles
	Ledger         *data.Ledger // who may be used for what; looks at the test role are counted
	Outside        *data.Set    // out-of-distribution rows of the same shape; nil: the check says so
	Reference      *Model       // the model to compare with, row by row; nil: no comparison
	FileBytes      int64        // size of the model file; 0: not a file
	ReferenceBytes int64        // size of the reference file
	Config         Config
}

// run is the state that checks of one evaluation share.
type run struct {
	Input
	key    rng.Key
	test   []int // rows of the test role
	x      *tensor.Tensor
	y      []int
	logits *tensor.Tensor
	image  bool    // the features are an image
	lo, hi float32 // declared pixel range
	temp   float64 // temperature; 1 until it is fitted
	fitted bool
}

// Check is one row of the table.
type Check struct {
	Name    string
	Version int
	Run     func(ctx context.Context, r *run) ([]record.Measurement, error)
}

// checks run in this order: temperature before what uses it.
var checks = []Check{
	{"temperature", 1, temperature},
	{"predictive", 1, predictive},
	{"compare", 1, compare},
	{"corruption", 1, corruption},
	{"cost", 1, cost},
	{"latency", 1, latency},
	{"ood", 1, ood},
	{"pgd", 1, pgd},
}

// Names returns the names of all checks in the order they run.
func Names() []string {
	out := make([]string, len(checks))
	for i, c := range checks {
		out[i] = c.Name
	}
	return out
}

// Result is what an evaluation returns.
type Result struct {
	Measurements []record.Measurement
	Temperature  float64        // 1 if it was not fitted
	Logits       *tensor.Tensor // of the test rows, in row order
	Rows         []int          // the test rows
}

// Evaluate runs the checks. progress is called before each one; nil: not.
func Evaluate(ctx context.Context, in Input, progress func(check string)) (*Result, error) {
	in.Config = in.Config.withDefaults()
	for _, o := range in.Config.Only {
		if !slices.Contains(Names(), o) {
			return nil, fault.New(fault.NotFound, "check "+o, "there is no such check").WithHint("the checks are %s", strings.Join(Names(), ", "))
		}
	}
	r, err := prepare(in)
	if err != nil {
		return nil, err
	}
	res := &Result{}
	for _, c := range checks {
		if len(in.Config.Only) > 0 && !slices.Contains(in.Config.Only, c.Name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, fault.New(fault.Exhausted, "check "+c.Name, "stopped: %w", err)
		}
		if progress != nil {
			progress(c.Name)
		}
		ms, err := c.Run(ctx, r)
		if err != nil {
			return nil, fault.At("check "+c.Name, err)
		}
		for _, m := range ms {
			res.Measurements = append(res.Measurements, r.sign(c, m))
		}
	}
	res.Temperature, res.Logits, res.Rows = r.temp, r.logits, r.test
	return res, nil
}

func prepare(in Input) (*run, error) {
	if err := in.Ledger.Use(data.Test, data.Report); err != nil {
		return nil, err
	}
	r := &run{Input: in, key: rng.New(in.Config.Seed).Named("check"), temp: 1, test: in.Data.Rows(data.Test)}
	if len(r.test) == 0 {
		return nil, fault.New(fault.Mismatch, "data "+in.Data.Name, "no row has the role test").
			WithHint("`muster audit` assigns roles")
	}
	if img := in.Data.Image(); img != nil {
		lo, hi := img.Range()
		r.image, r.lo, r.hi = true, float32(lo), float32(hi)
	}
	r.x, r.y = in.Data.X(r.test), labels(in.Data, r.test)
	var err error
	if r.logits, err = r.logitsOf(in.Model, r.x); err != nil {
		return nil, err
	}
	return r, nil
}

// logitsOf returns the logits of rows x, one per class of the data.
func (r *run) logitsOf(m *Model, x *tensor.Tensor) (*tensor.Tensor, error) {
	z, err := m.Logits(x)
	if err != nil {
		return nil, err
	}
	if K := len(r.Data.Classes()); z.Shape[1] != K {
		return nil, fault.New(fault.Mismatch, "model "+m.Subject.Name, "its output has shape %s, the data have %d classes", z.Shape, K).
			WithHint("was it trained on these data?")
	}
	return z, nil
}

func labels(s *data.Set, rows []int) []int {
	all := s.Labels()
	out := make([]int, len(rows))
	for i, row := range rows {
		out[i] = int(all[row])
	}
	return out
}

// sign adds what all measurements of a check share.
func (r *run) sign(c Check, m record.Measurement) record.Measurement {
	m.Check, m.Version = c.Name, c.Version
	if m.Subjects == nil {
		m.Subjects = []record.Subject{r.Model.Subject, r.Data.Subject()}
	}
	if m.Role == "" {
		m.Role = string(data.Test)
	}
	return m
}

// predictive runs every metric over the test rows, plainly and at the fitted temperature.
func predictive(_ context.Context, r *run) ([]record.Measurement, error) {
	out := r.score(1, "")
	if r.fitted {
		for _, m := range r.score(r.temp, "temperature-scaled") {
			if m.Name != "accuracy" && m.Name != "confusion" { // unchanged by any temperature
				out = append(out, m)
			}
		}
	}
	return out, nil
}

func (r *run) score(temp float64, slice string) []record.Measurement {
	ms := Metrics(r.Data.Classes())
	for i, p := range Probabilities(r.logits, temp) {
		for _, m := range ms {
			m.Add(p, r.y[i])
		}
	}
	var out []record.Measurement
	for _, m := range ms {
		for _, res := range m.Result() {
			if slice != "" {
				res.Slice = slice
			}
			out = append(out, res)
		}
	}
	return out
}
