package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"muster/audit"
	"muster/data"
	"muster/record"
)

// auditArgs are the settings of one audit.
type auditArgs struct {
	dataFlags
	Split map[string]float64 `json:"split,omitempty"`
	Seed  uint64             `json:"split_seed"`
}

// audited is what an audit leaves behind.
type audited struct {
	Run    string         `json:"run"`
	Report *audit.Report  `json:"report"`
	Roles  map[string]int `json:"roles"` // rows by role
	Ledger record.Digest  `json:"ledger"`
}

func auditVerb(a *app) *cobra.Command {
	var d auditArgs
	shares := map[string]string{}
	cmd := &cobra.Command{
		Use: "audit DATA", Short: "Look at a data set before anything is trained on it", Args: cobra.ExactArgs(1),
		Long: `Audit reads a CSV file, an IDX file, a folder of images by class, or a builtin set, gives
every row one role (train, select, calibrate, threshold, test) so that duplicates never
straddle two, and reports what is wrong: schema, missing and out-of-range values, class
balance, exact and near duplicates, conflicting labels, rows shared between roles.`,
		Example: `  muster audit builtin:digits
  muster audit people.csv --target hired --json
  muster audit pixels.csv --target label --image 1x28x28 --range 0,255`,
		RunE: func(cmd *cobra.Command, args []string) error {
			d.Source = args[0]
			var err error
			if d.Split, err = parseShares(shares); err != nil {
				return err
			}
			res, err := a.audit(cmd.Context(), d, explicit(cmd))
			if err != nil {
				return err
			}
			return a.print(res, res.text)
		},
	}
	d.register(cmd.Flags())
	cmd.Flags().StringToStringVar(&shares, "split", nil, "shares of the roles, such as train=0.6,calibrate=0.2,test=0.2")
	cmd.Flags().Uint64Var(&d.Seed, "split-seed", 1, "seed of the split")
	return cmd
}

// parseShares reads the shares of a --split flag.
func parseShares(in map[string]string) (map[string]float64, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := map[string]float64{}
	for k, v := range in {
		var f float64
		if _, err := fmt.Sscan(v, &f); err != nil {
			return nil, usageError{fmt.Errorf("--split: the share of %s is %q, not a number", k, v)}
		}
		out[k] = f
	}
	return out, nil
}

// audit looks at a data set and records what it found.
func (a *app) audit(ctx context.Context, d auditArgs, given []string) (*audited, error) {
	j, err := a.begin(ctx, "audit", d, given, d.Seed)
	if err != nil {
		return nil, err
	}
	res, err := a.auditRun(ctx, d, j)
	return res, j.end(ctx, err)
}

func (a *app) auditRun(ctx context.Context, d auditArgs, j *job) (*audited, error) {
	set, ledger, err := a.split(ctx, d.dataFlags, d.Split, d.Seed)
	if err != nil {
		return nil, err
	}
	rep, err := audit.Run(set)
	if err != nil {
		return nil, err
	}
	if err := a.keep(ctx, ledger); err != nil {
		return nil, err
	}
	j.run.Inputs = append(j.run.Inputs, set.Subject())
	j.run.Outputs = append(j.run.Outputs, ledger.Subject())
	j.run.Measurements = rep.Measurements()
	out := &audited{Run: j.run.ID, Report: rep, Ledger: ledger.Digest(), Roles: map[string]int{}}
	for _, r := range data.Roles() {
		if n := ledger.Count(r); n > 0 {
			out.Roles[string(r)] = n
		}
	}
	return out, nil
}

func (r *audited) text(p *printer) {
	fmt.Fprint(p.w, r.Report.Text())
	s := "roles:"
	for _, role := range data.Roles() {
		if n := r.Roles[string(role)]; n > 0 {
			s += fmt.Sprintf(" %s %d,", role, n)
		}
	}
	p.line("%s ledger %s", s, r.Ledger.Short())
}
