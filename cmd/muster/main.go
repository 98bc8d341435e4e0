// Command muster carries a deep-learning model from data to a deployment that can be trusted.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"muster/fault"
	"muster/internal/cpu"
)

// verbs lists every verb, sorted by name: one file each.
var verbs = []func(*app) *cobra.Command{
	auditVerb, benchVerb, compressVerb, conformanceVerb, demoVerb, evalVerb, gateVerb, historyVerb, inspectVerb, monitorVerb, opsVerb,
	predictVerb, promoteVerb, releaseVerb, rollbackVerb, serveVerb, storeVerb, trainVerb, verifyVerb, versionVerb,
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes one command line and returns the exit status: 0, 2 for wrong
// usage, 10 for a verdict that is not pass, and the status of the error's class otherwise.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{out: stdout, err: stderr}
	root := &cobra.Command{
		Use:   "muster",
		Short: "From data to a deployment that can be trusted",
		Long: `Muster audits data, trains, shrinks, measures and gates a model, signs a release
that carries its proof, serves it, watches it, and rolls it back by itself.

Start with:  muster demo`,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return cpu.Init() },
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.CompletionOptions.HiddenDefaultCmd = true
	f := root.PersistentFlags()
	f.StringVar(&a.store, "store", ".muster", "folder of the store")
	f.BoolVar(&a.json, "json", false, "print one JSON object")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "print no progress")
	for _, v := range verbs {
		root.AddCommand(v(a))
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	err := root.ExecuteContext(ctx)
	a.close()
	return a.report(err)
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

// notPassed is a verdict other than pass: not a failure of the program, but scripts must see it.
type notPassed struct{ outcome string }

func (n notPassed) Error() string { return "the verdict is " + n.outcome }

// Exit statuses beside those of package fault.
const (
	exitUsage     = 2
	exitNotPassed = 10
)

// report prints err with its hint and returns the exit status.
func (a *app) report(err error) int {
	if err == nil {
		return 0
	}
	var np notPassed
	if errors.As(err, &np) {
		return exitNotPassed
	}
	code, class := fault.ExitCode(err), string(fault.ClassOf(err))
	var ue usageError
	if errors.As(err, &ue) || isUsage(err) {
		code, class = exitUsage, "usage"
	}
	if a.json {
		_ = json.NewEncoder(a.err).Encode(map[string]string{"error": err.Error(), "class": class, "hint": fault.HintOf(err)})
		return code
	}
	fmt.Fprintf(a.err, "error (%s): %s\n", class, err)
	hint := fault.HintOf(err)
	if hint == "" && code == exitUsage {
		hint = "`muster --help` lists the verbs, `muster VERB --help` shows examples"
	}
	if hint != "" {
		fmt.Fprintf(a.err, "hint: %s\n", hint)
	}
	return code
}

// isUsage recognises cobra's own errors about the command line, which have no type.
func isUsage(err error) bool {
	var fe *fault.Error
	if errors.As(err, &fe) {
		return false
	}
	s := err.Error()
	return strings.HasPrefix(s, "unknown ") || strings.Contains(s, "arg(s)") || strings.HasPrefix(s, "required flag")
}
