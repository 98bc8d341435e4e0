package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"muster/check"
	"muster/data"
	"muster/record"
)

// evalArgs are the settings of one evaluation.
type evalArgs struct {
	dataFlags
	Against string             `json:"against,omitempty"` // model file to compare with
	Outside string             `json:"outside,omitempty"` // out-of-distribution set
	Split   map[string]float64 `json:"split,omitempty"`
	Seed    uint64             `json:"split_seed"`
	Check   check.Config       `json:"check"`
}

// evaluated is what an evaluation leaves behind.
type evaluated struct {
	Run          string               `json:"run"`
	Model        record.Subject       `json:"model"`
	Data         record.Subject       `json:"data"`
	Looks        int                  `json:"looks_at_test"`
	Measurements []record.Measurement `json:"measurements"`
	Temperature  float64              `json:"temperature"`
}

func evalVerb(a *app) *cobra.Command {
	var e evalArgs
	shares := map[string]string{}
	cmd := &cobra.Command{
		Use: "eval MODEL --data DATA", Short: "Measure a model beyond accuracy", Args: cobra.ExactArgs(1),
		Long: `Eval measures a classifier on the test role of DATA: accuracy with its interval, per
class, calibration, corruptions, out-of-distribution detection, white-box attacks,
latency, size. Checks: ` + strings.Join(check.Names(), ", ") + `.`,
		Example: `  muster eval digits.onnx --data builtin:digits --outside builtin:fashion
  muster eval digits.int8.onnx --data builtin:digits --against digits.onnx --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := loadModel(args[0])
			if err != nil {
				return err
			}
			if e.Split, err = parseShares(shares); err != nil {
				return err
			}
			res, err := a.eval(cmd.Context(), m, e, explicit(cmd))
			if err != nil {
				return err
			}
			return a.print(res, res.text)
		},
	}
	f := cmd.Flags()
	f.StringVar(&e.Source, "data", "", "data set: a file, a folder or builtin:NAME")
	cmd.MarkFlagRequired("data")
	e.register(f)
	f.StringVar(&e.Against, "against", "", "model file to compare with, row by row")
	f.StringVar(&e.Outside, "outside", "", "data set of another kind, for out-of-distribution detection")
	f.StringToStringVar(&shares, "split", nil, "shares of the roles, as in the training specification")
	f.Uint64Var(&e.Seed, "split-seed", 1, "seed of the split, as in the training specification")
	f.Uint64Var(&e.Check.Seed, "seed", 1, "seed of corruptions, attacks and resampling")
	f.Float64SliceVar(&e.Check.PGDEps, "pgd-eps", nil, "attack budgets as shares of the pixel range (default 0.05,0.1)")
	f.IntVar(&e.Check.PGDStep, "pgd-steps", 20, "iterations of the attack")
	f.IntVar(&e.Check.Latency, "latency-runs", 400, "timed runs of one row; negative: no timing")
	f.StringSliceVar(&e.Check.Only, "only", nil, "run these checks only")
	return cmd
}

// eval measures m and records it.
func (a *app) eval(ctx context.Context, m *modelFile, e evalArgs, given []string) (*evaluated, error) {
	j, err := a.begin(ctx, "eval", e, given, e.Check.Seed)
	if err != nil {
		return nil, err
	}
	res, err := a.evalRun(ctx, m, e, j)
	return res, j.end(ctx, err)
}

func (a *app) evalRun(ctx context.Context, m *modelFile, e evalArgs, j *job) (*evaluated, error) {
	in, closeAll, err := a.evalInput(ctx, m, e)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	if _, err := j.st.PutBytes(ctx, "model", m.name(), m.bytes); err != nil {
		return nil, err
	}
	bar := a.progress()
	res, err := check.Evaluate(ctx, in, func(c string) { bar.show(false, "measuring %s", c) })
	if err != nil {
		return nil, err
	}
	if err := a.keep(ctx, in.Ledger); err != nil {
		return nil, err
	}
	j.run.Inputs = append(j.run.Inputs, in.Model.Subject, in.Data.Subject())
	if in.Outside != nil {
		j.run.Inputs = append(j.run.Inputs, in.Outside.Subject())
	}
	j.run.Measurements = res.Measurements
	return &evaluated{Run: j.run.ID, Model: in.Model.Subject, Data: in.Data.Subject(), Looks: in.Ledger.Looks(),
		Measurements: res.Measurements, Temperature: res.Temperature}, nil
}

// evalInput opens everything that an evaluation looks at.
func (a *app) evalInput(ctx context.Context, m *modelFile, e evalArgs) (check.Input, func(), error) {
	in := check.Input{FileBytes: int64(len(m.bytes)), Config: e.Check}
	set, ledger, err := a.split(ctx, e.dataFlags, e.Split, e.Seed)
	if err != nil {
		return in, nil, err
	}
	in.Data, in.Ledger = set, ledger
	if e.Outside != "" {
		if in.Outside, err = outside(e.Outside, set); err != nil {
			return in, nil, err
		}
	}
	var models []*check.Model
	closeAll := func() {
		for _, m := range models {
			m.Close()
		}
	}
	if in.Model, err = check.NewModel(m.name(), m.graph); err != nil {
		return in, nil, err
	}
	models = append(models, in.Model)
	if e.Against != "" {
		ref, err := loadModel(e.Against)
		if err == nil {
			in.Reference, err = check.NewModel(ref.name(), ref.graph)
		}
		if err != nil {
			closeAll()
			return in, nil, err
		}
		in.ReferenceBytes = int64(len(ref.bytes))
		models = append(models, in.Reference)
	}
	return in, closeAll, nil
}

// outside opens an out-of-distribution set and brings its images to the shape and range of set.
func outside(source string, set *data.Set) (*data.Set, error) {
	flags := dataFlags{Source: source}
	o, err := flags.open()
	if err != nil {
		return nil, err
	}
	return data.Adapt(o, set)
}

// headline are the measurements that a person reads first.
var headline = []struct{ name, slice, label string }{
	{"accuracy", "", "accuracy"},
	{"nll", "", "negative log-likelihood"},
	{"brier", "", "Brier score"},
	{"calibration/ece", "", "calibration error (ECE)"},
	{"calibration/temperature", "", "temperature, fitted on calibrate"},
	{"calibration/ece", "temperature-scaled", "calibration error at that temperature"},
	{"robust/corruption-mean", "", "accuracy under corruption, mean"},
	{"ood/auroc", "", "other data told apart (AUROC)"},
	{"ood/fpr95", "", "false alarms at 95% found (FPR95)"},
	{"latency/p50", "", "latency p50"},
	{"latency/p95", "", "latency p95"},
	{"size/file", "", "file size"},
	{"cost/flops", "", "operations per row"},
	{"quant/integer_nodes", "", "nodes on integer kernels"},
	{"compare/accuracy_diff", "", "accuracy against the reference"},
	{"compare/flips", "", "answers that changed"},
	{"compare/kl", "", "KL divergence from the reference"},
	{"compare/size_ratio", "", "size against the reference"},
	{"compare/latency_ratio", "", "latency against the reference"},
}

func (r *evaluated) text(p *printer) {
	p.line("%s on the test role of %s (look number %d)", r.Model.Name, r.Data.Name, r.Looks)
	var rows [][]string
	for _, h := range headline {
		if m := find(r.Measurements, h.name, h.slice); m != nil {
			rows = append(rows, []string{h.label, value(m)})
		}
	}
	for i := range r.Measurements {
		if m := &r.Measurements[i]; m.Name == "robust/pgd-linf" {
			rows = append(rows, []string{"accuracy under attack, " + m.Slice, value(m)})
		}
	}
	p.table(rows)
	p.line("per class:")
	rows = nil
	for i := range r.Measurements {
		if m := &r.Measurements[i]; m.Name == "accuracy" && strings.HasPrefix(m.Slice, "class=") {
			rows = append(rows, []string{m.Slice, value(m)})
		}
	}
	p.table(rows)
}
