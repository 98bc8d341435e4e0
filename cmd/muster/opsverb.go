package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"muster/op"
)

// opRow is one operator of the table.
type opRow struct {
	Name     string `json:"name"`
	Since    int    `json:"since"`
	Kernel   bool   `json:"kernel"`
	Gradient bool   `json:"gradient"`
	Why      string `json:"why,omitempty"` // there is no gradient
}

func opsVerb(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "ops", Short: "List the operators that this version runs", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			var rows []opRow
			for _, o := range op.All() {
				rows = append(rows, opRow{fullOp(o.Domain, o.Name), o.Since, o.Prepare != nil, o.Grad != nil, o.NoGrad})
			}
			return a.print(map[string]any{"operators": rows}, func(p *printer) {
				t := [][]string{{"operator", "since", "kernel", "gradient"}}
				for _, r := range rows {
					k, g := "reference", "yes"
					if r.Kernel {
						k = "fast"
					}
					if !r.Gradient {
						g = "no: " + r.Why
					}
					t = append(t, []string{r.Name, fmt.Sprint(r.Since), k, g})
				}
				p.table(t)
			})
		},
	}
}
