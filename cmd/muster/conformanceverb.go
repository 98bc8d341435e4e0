package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/spf13/cobra"

	"muster/fault"
	"muster/internal/atomicfile"
	"muster/internal/conformance"
)

// conformancePage is where the report goes if the verb runs in the repository.
const conformancePage = "docs/conformance.md"

func conformanceVerb(a *app) *cobra.Command {
	var run, write string
	cmd := &cobra.Command{
		Use: "conformance DIR", Short: "Run the ONNX backend test cases and report what passes, is refused or wrong", Args: cobra.ExactArgs(1),
		Long: `Run the ONNX project's backend test cases: folders with a model.onnx and test_data_set_*, anywhere below DIR
(a folder or a zip archive; unpack other archives first). Every case runs by the plain references and by a session.

The exit status is 10 if an answer is wrong. In the repository the report is written to ` + conformancePage + `, unless
--run selects cases.`,
		Example: `  muster conformance /usr/share/libonnx-testdata/data
  muster conformance cases.zip --run 'test_resize_.*' --write ''`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("write") && run == "" && inRepository() {
				write = conformancePage
			}
			return conform(a, args[0], run, write)
		},
	}
	cmd.Flags().StringVar(&run, "run", "", "regular expression: only cases whose name matches")
	cmd.Flags().StringVar(&write, "write", "", "file for the report as Markdown")
	return cmd
}

func inRepository() bool {
	_, err := os.Stat("internal/conformance")
	return err == nil
}

func conform(a *app, dir, run, write string) error {
	re, err := regexp.Compile(run)
	if err != nil {
		return usageError{fmt.Errorf("--run: %w", err)}
	}
	files, closer, err := conformance.Open(dir)
	if err != nil {
		return err
	}
	defer closer.Close()
	r, err := conformance.Run(files, re, nil)
	if err != nil {
		return fault.At(dir, err)
	}
	if write != "" {
		if err := os.MkdirAll(filepath.Dir(write), 0o755); err != nil {
			return fault.New(fault.Denied, write, "%w", err)
		}
		if err := atomicfile.Write(write, []byte(r.Markdown()), 0o644); err != nil {
			return err
		}
	}
	if err := a.print(r, func(p *printer) { conformanceText(p, r) }); err != nil {
		return err
	}
	if r.Wrong > 0 {
		return notPassed{fmt.Sprintf("not pass: %d cases are wrong", r.Wrong)}
	}
	return nil
}

func conformanceText(p *printer, r *conformance.Report) {
	rows := [][]string{{"operator", "passed", "refused", "wrong", "reasons"}}
	for _, w := range r.Rows() {
		why := ""
		if len(w.Why) > 0 {
			why = w.Why[0]
		}
		if len(w.Why) > 1 {
			why += fmt.Sprintf(" and %d more", len(w.Why)-1)
		}
		rows = append(rows, []string{w.Op, fmt.Sprint(w.Passed), fmt.Sprint(w.Refused), fmt.Sprint(w.Wrong), why})
	}
	p.table(rows)
	for _, c := range r.List {
		if c.Status == conformance.Wrong {
			p.line("WRONG %s: %s", c.Name, c.Why)
		}
	}
	p.line("%d cases: %d passed, %d refused, %d wrong", r.Cases, r.Passed, r.Refused, r.Wrong)
}
