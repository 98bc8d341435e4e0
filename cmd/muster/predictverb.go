package main

import (
	"github.com/spf13/cobra"

	"muster/check"
	"muster/data"
	"muster/exec"
	"muster/fault"
	"muster/record"
)

// predictArgs are the settings of one prediction.
type predictArgs struct {
	dataFlags
	Role      string             `json:"role"`
	Rows      int                `json:"rows"`
	Seed      uint64             `json:"split_seed"`
	Reference bool               `json:"reference"`
	Split     map[string]float64 `json:"split,omitempty"`
}

// predicted are the outputs of a model on rows of a set.
type predicted struct {
	Model  record.Subject `json:"model"`
	Lines  []int          `json:"lines"` // source line of each row
	XShape []int          `json:"x_shape"`
	X      []float32      `json:"x"`
	Shape  []int          `json:"shape"`
	Logits []float32      `json:"logits"`
	Class  []string       `json:"class"`
	Plan   exec.Report    `json:"plan"`
}

func predictVerb(a *app) *cobra.Command {
	var d predictArgs
	shares := map[string]string{}
	cmd := &cobra.Command{
		Use: "predict MODEL --data DATA", Short: "Run a model on rows of a data set", Args: cobra.ExactArgs(1),
		Example: `  muster predict digits.onnx --data builtin:digits --role select
  muster predict digits.onnx --data builtin:digits --rows 5 --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := loadModel(args[0])
			if err != nil {
				return err
			}
			if d.Split, err = parseShares(shares); err != nil {
				return err
			}
			res, err := a.predict(cmd, m, d)
			if err != nil {
				return err
			}
			return a.print(res, func(p *printer) {
				rows := [][]string{{"line", "class"}}
				for i, c := range res.Class {
					rows = append(rows, []string{number(float64(res.Lines[i])), c})
				}
				p.table(rows)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&d.Source, "data", "", "data set: a file, a folder or builtin:NAME")
	cmd.MarkFlagRequired("data")
	d.register(f)
	f.StringVar(&d.Role, "role", "", "only rows of this role (default: all rows)")
	f.IntVar(&d.Rows, "rows", 0, "only the first rows")
	f.StringToStringVar(&shares, "split", nil, "shares of the roles, as in the training specification")
	f.Uint64Var(&d.Seed, "split-seed", 1, "seed of the split")
	f.BoolVar(&d.Reference, "reference", false, "use the reference evaluator instead of the kernels")
	return cmd
}

func (a *app) predict(cmd *cobra.Command, m *modelFile, d predictArgs) (*predicted, error) {
	set, ledger, err := a.split(cmd.Context(), d.dataFlags, d.Split, d.Seed)
	if err != nil {
		return nil, err
	}
	rows, err := rowsOf(set, data.Role(d.Role))
	if err != nil {
		return nil, err
	}
	if d.Role == string(data.Test) {
		if err := ledger.Use(data.Test, data.Report); err != nil {
			return nil, err
		}
		if err := a.keep(cmd.Context(), ledger); err != nil {
			return nil, err
		}
	}
	if d.Rows > 0 {
		rows = rows[:min(d.Rows, len(rows))]
	}
	return predictRows(m, set, rows, d.Reference)
}

func rowsOf(set *data.Set, role data.Role) ([]int, error) {
	if role == data.Unassigned {
		all := make([]int, set.Len())
		for i := range all {
			all[i] = i
		}
		return all, nil
	}
	rows := set.Rows(role)
	if len(rows) == 0 {
		return nil, fault.New(fault.NotFound, "data "+set.Name, "no row has the role %q", role).WithHint("the roles are train, select, calibrate, threshold, test")
	}
	return rows, nil
}

func predictRows(m *modelFile, set *data.Set, rows []int, reference bool) (*predicted, error) {
	model, err := check.NewModel(m.name(), m.graph)
	if err != nil {
		return nil, err
	}
	defer model.Close()
	x := set.X(rows)
	run := model.Logits
	if reference {
		run = model.Reference
	}
	z, err := run(x)
	if err != nil {
		return nil, err
	}
	out := &predicted{Model: model.Subject, XShape: x.Shape, X: x.Float32s(), Shape: z.Shape, Logits: z.Float32s()}
	if out.Plan, err = model.Plan(x); err != nil {
		return nil, err
	}
	classes := set.Classes()
	for i, k := range check.Predictions(z) {
		out.Lines = append(out.Lines, set.Line(rows[i]))
		if k < len(classes) {
			out.Class = append(out.Class, classes[k])
		} else {
			out.Class = append(out.Class, number(float64(k)))
		}
	}
	return out, nil
}
