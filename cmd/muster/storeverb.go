package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"muster/fault"
	"muster/release/store"
)

func storeVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "store", Short: "Look after the store"}
	var repair bool
	check := &cobra.Command{
		Use: "check", Short: "Re-hash every blob, follow every reference and the whole log", Args: cobra.NoArgs,
		Example: `  muster store check
  muster store check --repair   # clears what a killed process left behind`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := a.existing(cmd.Context())
			if err != nil {
				return err
			}
			look := st.Check
			if repair {
				look = st.Repair
			}
			rep, err := look(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.print(rep, func(p *printer) { checkText(p, rep) }); err != nil {
				return err
			}
			if !rep.Sound() {
				return fault.New(fault.Mismatch, a.store, "%d problems", len(rep.Problems)).WithHint("restore what is damaged from a copy; `muster history` says what is live")
			}
			return nil
		},
	}
	check.Flags().BoolVar(&repair, "repair", false, "remove temporary files and mark killed runs")
	list := &cobra.Command{
		Use: "list", Short: "List runs and releases, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := a.existing(cmd.Context())
			if err != nil {
				return err
			}
			runs, err := st.Runs(cmd.Context(), store.RunFilter{Limit: 50})
			if err != nil {
				return err
			}
			rels, err := st.Releases(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(map[string]any{"runs": runs, "releases": rels}, func(p *printer) {
				rows := [][]string{{"run", "status", "took", "measurements"}}
				for _, r := range runs {
					rows = append(rows, []string{r.ID, string(r.Status), r.Duration.Round(1e6).String(), fmt.Sprint(len(r.Measurements))})
				}
				p.table(rows)
				rows = [][]string{{"release", "version", "model", "verdict", "created"}}
				for _, r := range rels {
					rows = append(rows, []string{r.Name, fmt.Sprint(r.Version), r.Model.Short(), string(r.Verdict), r.Created.Format("2006-01-02 15:04:05")})
				}
				p.table(rows)
			})
		},
	}
	cmd.AddCommand(check, list)
	return cmd
}

func checkText(p *printer, r *store.CheckReport) {
	p.line("%d blobs (%d bytes) re-hashed, %d runs, %d releases, %d pointers, %d log entries chained", r.Blobs, r.Bytes, r.Runs, r.Releases, r.Pointers, r.Entries)
	if r.Repaired > 0 {
		p.line("repaired %d leftovers of killed processes", r.Repaired)
	}
	if r.OK() {
		p.line("nothing is wrong; head of the log %s", r.Head)
		return
	}
	for _, q := range r.Problems {
		p.line("%s: %s: %s", q.Class, q.Place, q.What)
		if q.Hint != "" {
			p.line("  hint: %s", q.Hint)
		}
	}
}
