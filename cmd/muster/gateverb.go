package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"muster/fault"
	"muster/record"
	"muster/release/policy"
)

// gateArgs are the settings of one gate.
type gateArgs struct {
	Against string `json:"against,omitempty"`
	Policy  string `json:"policy,omitempty"`
}

// gated is what a gate leaves behind.
type gated struct {
	Run     string         `json:"run"`
	Verdict record.Verdict `json:"verdict"`
	Blob    record.Subject `json:"blob"` // the verdict in the store
}

func gateVerb(a *app) *cobra.Command {
	var g gateArgs
	cmd := &cobra.Command{
		Use: "gate CANDIDATE", Short: "Decide by a written policy: pass, fail, or not enough evidence", Args: cobra.ExactArgs(1),
		Long: `Gate reads the measurements of CANDIDATE from the store (` + "`muster eval`" + ` makes them) and
decides by the rules of a policy. A paired rule needs an evaluation with --against.
The exit status is 0 for pass and 10 for any other verdict.`,
		Example: `  muster gate digits.int8.onnx --against digits.onnx
  muster gate digits.int8.onnx --against digits.onnx --policy policy.yaml --json
  muster gate --print-policy > policy.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := loadModel(args[0])
			if err != nil {
				return err
			}
			res, err := a.gate(cmd.Context(), m, g, explicit(cmd))
			if err != nil {
				return err
			}
			if err := a.print(res, res.text); err != nil {
				return err
			}
			if res.Verdict.Outcome != record.Pass {
				return notPassed{string(res.Verdict.Outcome)}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&g.Against, "against", "", "baseline model file")
	f.StringVar(&g.Policy, "policy", "", "policy file (default: the built-in policy for classifiers)")
	var show bool
	f.BoolVar(&show, "print-policy", false, "print the built-in policy and stop")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if show {
			return cobra.NoArgs(cmd, args)
		}
		return cobra.ExactArgs(1)(cmd, args)
	}
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if show {
			_, err := a.out.Write(policy.Default().Source())
			return err
		}
		return run(cmd, args)
	}
	return cmd
}

// readPolicy reads a policy file; "" is the built-in policy.
func readPolicy(path string) (*policy.Policy, error) {
	if path == "" {
		return policy.Default(), nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.NotFound, path, "%w", err).WithHint("`muster gate --print-policy` prints one to start from")
	}
	return policy.Parse(path, b)
}

// gate decides about m and records the verdict.
func (a *app) gate(ctx context.Context, m *modelFile, g gateArgs, given []string) (*gated, error) {
	j, err := a.begin(ctx, "gate", g, given, 0)
	if err != nil {
		return nil, err
	}
	res, err := a.gateRun(ctx, m, g, j)
	return res, j.end(ctx, err)
}

func (a *app) gateRun(ctx context.Context, m *modelFile, g gateArgs, j *job) (*gated, error) {
	p, err := readPolicy(g.Policy)
	if err != nil {
		return nil, err
	}
	ev, err := a.evidence(ctx, m, g.Against)
	if err != nil {
		return nil, err
	}
	v := p.Decide(ev)
	b, err := record.Canonical(v)
	if err != nil {
		return nil, err
	}
	if _, err := j.st.PutBytes(ctx, "policy", p.Name, p.Source()); err != nil {
		return nil, err
	}
	blob, err := j.st.PutBytes(ctx, "verdict", m.name(), b)
	if err != nil {
		return nil, err
	}
	j.run.Inputs = append(j.run.Inputs, ev.Candidate, p.Subject())
	if ev.Baseline != nil {
		j.run.Inputs = append(j.run.Inputs, *ev.Baseline)
	}
	j.run.Outputs = append(j.run.Outputs, blob)
	return &gated{Run: j.run.ID, Verdict: v, Blob: blob}, nil
}

// evidence collects what the store knows about m, compared with the model in against if that is given.
func (a *app) evidence(ctx context.Context, m *modelFile, against string) (policy.Evidence, error) {
	d, err := m.graph.Digest()
	if err != nil {
		return policy.Evidence{}, err
	}
	ev := policy.Evidence{Candidate: record.Subject{Kind: "model", Name: m.name(), Digest: d}}
	if against != "" {
		base, err := loadModel(against)
		if err != nil {
			return ev, err
		}
		bd, err := base.graph.Digest()
		if err != nil {
			return ev, err
		}
		ev.Baseline = &record.Subject{Kind: "model", Name: base.name(), Digest: bd}
	}
	run, err := a.lastEval(ctx, d, ev.Baseline)
	if err != nil {
		return ev, err
	}
	ev.Measurements = run.Measurements
	return ev, nil
}

// lastEval returns the newest evaluation of a model; with a baseline, the newest one that compares with it.
func (a *app) lastEval(ctx context.Context, model record.Digest, baseline *record.Subject) (*record.Run, error) {
	st, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	runs, err := st.Runs(ctx, evalRuns)
	if err != nil {
		return nil, err
	}
	for i := range runs {
		if r := &runs[i]; len(r.Inputs) > 0 && r.Inputs[0].Digest == model && comparesWith(r, baseline) {
			return r, nil
		}
	}
	what, hint := "was not evaluated", "muster eval MODEL --data DATA"
	if baseline != nil {
		what, hint = fmt.Sprintf("was not compared with %s", baseline.Name), "muster eval MODEL --data DATA --against BASELINE"
	}
	return nil, fault.New(fault.NotFound, "model "+model.Short(), "it %s", what).WithHint("run `%s` first", hint)
}

func comparesWith(r *record.Run, baseline *record.Subject) bool {
	if baseline == nil {
		return true
	}
	m := find(r.Measurements, "compare/accuracy_diff", "")
	if m == nil {
		return false
	}
	for _, s := range m.Subjects[1:] {
		if s.Digest == baseline.Digest {
			return true
		}
	}
	return false
}

func (g *gated) text(p *printer) {
	v := g.Verdict
	against := ""
	if v.Baseline != nil {
		against = " against " + v.Baseline.Name
	}
	p.line("%s%s, policy %s: %s", v.Candidate.Name, against, v.Policy.Name, v.Outcome)
	for _, r := range v.Refused {
		p.line("  refused: %s", r)
	}
	rows := [][]string{}
	for _, r := range v.Rules {
		reason := r.Reason
		if r.MinDetectable != nil {
			reason += fmt.Sprintf(" (smallest loss this would find: %.3g)", *r.MinDetectable)
		}
		rows = append(rows, []string{string(r.Outcome), r.Name, reason})
	}
	p.table(rows)
}
