package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"muster/fault"
	"muster/monitor"
	"muster/release/store"
)

func monitorVerb(a *app) *cobra.Command {
	var last int
	cmd := &cobra.Command{
		Use: "monitor NAME", Short: "What the watch over a deployment saw: windows, alarms, trials", Args: cobra.ExactArgs(1),
		Long: `Monitor reads from the store what a running server wrote there: every window of live
traffic with its drift score, estimated and labelled accuracy, every alarm, and how the
trial of a candidate stands.`,
		Example: `  muster monitor digits
  muster monitor digits --last 50 --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			st, err := a.existing(cmd.Context())
			if err != nil {
				return err
			}
			evs, err := st.Events(cmd.Context(), store.EventFilter{Subject: args[0]})
			if err != nil {
				return err
			}
			if len(evs) == 0 {
				return fault.New(fault.NotFound, "model "+args[0], "nothing was observed").WithHint("`muster serve` watches the traffic that it answers")
			}
			evs = evs[max(0, len(evs)-last):]
			return a.print(map[string]any{"events": evs}, func(p *printer) {
				for _, e := range evs {
					eventText(p, e)
				}
			})
		},
	}
	cmd.Flags().IntVar(&last, "last", 20, "show the last events only")
	return cmd
}

func eventText(p *printer, e store.Event) {
	at := e.At.Format("2006-01-02 15:04:05")
	var body struct {
		monitor.Report
		Decision monitor.Decision `json:"decision"`
	}
	if err := json.Unmarshal(e.Body, &body); err != nil {
		p.line("%s  %s (unreadable: %v)", at, e.Kind, err)
		return
	}
	if e.Kind == "monitor/window" {
		p.line("%s  window of %d: drift %s, estimated accuracy %s, labelled accuracy %s", at, body.N,
			value(find(body.Measurements, "drift/score", "")), value(find(body.Measurements, "estimate/accuracy", "")), value(find(body.Measurements, "live/accuracy", "")))
		for _, al := range body.Alarms {
			p.line("%21s ALARM (%s): %s", "", al.Kind, al.Reason)
		}
		return
	}
	if body.Decision.Stage != "" {
		p.line("%s  trial: %s: %s", at, body.Decision.Stage, body.Decision.Reason)
		return
	}
	if e.Kind != "monitor/alarm" { // shown with its window
		p.line("%s  %s", at, e.Kind)
	}
}
