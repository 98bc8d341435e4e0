package main

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"muster/fault"
)

// event is one line of a history.
type event struct {
	At      time.Time `json:"at"`
	Pointer string    `json:"pointer"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Act     string    `json:"act"`
	Actor   string    `json:"actor"`
	Reason  string    `json:"reason"`
}

func historyVerb(a *app) *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use: "history [NAME]", Short: "What was live when, why and by whom", Args: cobra.MaximumNArgs(1),
		Example: `  muster history
  muster history digits
  muster history digits --at 2026-11-24T12:00:00Z`,
		RunE: func(cmd *cobra.Command, args []string) error {
			st, err := a.existing(cmd.Context())
			if err != nil {
				return err
			}
			until := time.Time{}
			if at != "" {
				if until, err = time.Parse(time.RFC3339, at); err != nil {
					return usageError{fmt.Errorf("--at %q is not a time such as 2026-11-24T12:00:00Z", at)}
				}
			}
			names := map[string]string{}
			rels, err := st.Releases(cmd.Context())
			if err != nil {
				return err
			}
			for _, r := range rels {
				names[string(r.Digest)] = fmt.Sprintf("%s v%d (%s)", r.Name, r.Version, r.Model.Short())
			}
			ptrs, err := st.Pointers(cmd.Context())
			if err != nil {
				return err
			}
			events := []event{}
			for _, p := range ptrs {
				if len(args) == 1 && !strings.HasPrefix(p.Pointer, args[0]+"/") {
					continue
				}
				moves, err := st.History(cmd.Context(), p.Pointer)
				if err != nil {
					return err
				}
				for _, m := range moves {
					if until.IsZero() || !m.At.After(until) {
						events = append(events, event{m.At, m.Pointer, label(names, string(m.From)), label(names, string(m.To)), string(m.Act), m.Actor, m.Reason})
					}
				}
			}
			if len(events) == 0 {
				return fault.New(fault.NotFound, "history", "nothing was released").WithHint("`muster release` makes a release")
			}
			sortEvents(events)
			return a.print(map[string]any{"events": events, "live": live(events)}, func(p *printer) { historyText(p, events, at) })
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "only what had happened by this time (RFC 3339)")
	return cmd
}

// label names a release, "nothing" for a cleared pointer.
func label(names map[string]string, digest string) string {
	if digest == "" {
		return "nothing"
	}
	if n, ok := names[digest]; ok {
		return n
	}
	return digest
}

func sortEvents(e []event) {
	sort.SliceStable(e, func(i, j int) bool { return e[i].At.Before(e[j].At) })
}

// live is where every pointer stands after the events.
func live(events []event) map[string]string {
	m := map[string]string{}
	for _, e := range events {
		m[e.Pointer] = e.To
	}
	return m
}

func historyText(p *printer, events []event, at string) {
	for _, e := range events {
		p.line("%s  %-22s %s -> %s", e.At.Format("2006-01-02 15:04:05"), e.Pointer, e.From, e.To)
		p.line("                     %s by %s: %s", e.Act, e.Actor, e.Reason)
	}
	when := "now"
	if at != "" {
		when = "at " + at
	}
	l := live(events)
	for _, k := range sortedKeys(l) {
		p.line("%s: %s holds %s", when, k, l[k])
	}
}
