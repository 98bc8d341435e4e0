package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"muster/fault"
	"muster/monitor"
	"muster/record"
	"muster/release/store"
	"muster/serve"
)

// pointerArgs are the settings of promote and rollback.
type pointerArgs struct {
	By       string
	Reason   string
	Override bool
	To       string
}

// moved is what promote and rollback report.
type moved struct {
	Pointer string        `json:"pointer"`
	From    record.Digest `json:"from,omitempty"`
	To      record.Digest `json:"to,omitempty"`
	Reason  string        `json:"reason"`
}

func promoteVerb(a *app) *cobra.Command {
	var p pointerArgs
	cmd := &cobra.Command{
		Use: "promote NAME", Short: "Move a candidate one step on: shadow, canary, production", Args: cobra.ExactArgs(1),
		Long: `Promote moves the candidate of NAME from shadow to canary, or from canary to
production, if the evidence of its trial on live traffic calls for it. Without enough
evidence it refuses; --override with --by and --reason promotes all the same, on record.`,
		Example: `  muster promote digits --by ada`,
		RunE: func(cmd *cobra.Command, args []string) error {
			res, err := a.promote(cmd.Context(), args[0], p)
			if err != nil {
				return err
			}
			return a.print(res, func(pr *printer) { pr.line("%s now holds %s: %s", res.Pointer, res.To.Short(), res.Reason) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&p.By, "by", os.Getenv("USER"), "who promotes")
	f.StringVar(&p.Reason, "reason", "", "why")
	f.BoolVar(&p.Override, "override", false, "promote without enough evidence")
	return cmd
}

func (a *app) promote(ctx context.Context, name string, p pointerArgs) (*moved, error) {
	st, err := a.existing(ctx)
	if err != nil {
		return nil, err
	}
	from, to, need := name+"/canary", name+"/production", monitor.Promoted
	cand, err := st.Standing(ctx, from)
	if err != nil {
		return nil, err
	}
	if cand == "" {
		from, to, need = name+"/shadow", name+"/canary", monitor.Serving
		if cand, err = st.Standing(ctx, from); err != nil {
			return nil, err
		}
	}
	if cand == "" {
		return nil, fault.New(fault.NotFound, "model "+name, "there is no candidate").WithHint("`muster release CANDIDATE --name %s --stage shadow` makes one", name)
	}
	reason, act := p.Reason, store.ActPromote
	prod, err := st.Standing(ctx, name+"/production")
	if err != nil {
		return nil, err
	}
	state, why, err := trialOf(ctx, st, name, cand, prod)
	if err != nil {
		return nil, err
	}
	switch {
	case state == need || state == monitor.Promoted:
		if reason == "" {
			reason = why
		}
	case p.Override && p.By != "" && p.Reason != "":
		act = store.ActOverride
	default:
		return nil, fault.New(fault.Denied, "model "+name, "not enough evidence to promote the candidate: %s", why).
			WithHint("wait for more traffic and labels, or use --override --by NAME --reason TEXT")
	}
	if err := movePointer(ctx, st, to, cand, act, actor(p.By), reason); err != nil {
		return nil, err
	}
	if err := movePointer(ctx, st, from, "", act, actor(p.By), "moved on to "+to); err != nil {
		return nil, err
	}
	return &moved{to, cand, cand, reason}, nil
}

// trialOf reads from the log how far the trial of a candidate against the release in production has come.
func trialOf(ctx context.Context, st *store.Store, name string, cand, prod record.Digest) (monitor.Stage, string, error) {
	t, err := serve.LastTrial(ctx, st, name, cand, prod)
	if err != nil || t == nil {
		return monitor.Shadow, "its trial has reached no decision", err
	}
	return t.Decision.Stage, t.Decision.Reason, nil
}

func rollbackVerb(a *app) *cobra.Command {
	var p pointerArgs
	cmd := &cobra.Command{
		Use: "rollback NAME", Short: "Withdraw a candidate, or put the previous release back into production", Args: cobra.ExactArgs(1),
		Long: `Rollback clears the candidate of NAME if there is one; otherwise it puts back the
release that was in production before. A running server keeps that release loaded, so the
swap fails no request. It can be undone with another rollback.`,
		Example: `  muster rollback digits --by ada --reason "complaints from the counter"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			res, err := a.rollback(cmd.Context(), args[0], p)
			if err != nil {
				return err
			}
			return a.print(res, func(pr *printer) {
				if res.To == "" {
					pr.line("%s was cleared (it held %s)", res.Pointer, res.From.Short())
				} else {
					pr.line("%s went back from %s to %s", res.Pointer, res.From.Short(), res.To.Short())
				}
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&p.By, "by", os.Getenv("USER"), "who rolls back")
	f.StringVar(&p.Reason, "reason", "", "why")
	f.StringVar(&p.To, "to", "", "release to go back to (default: the one before)")
	return cmd
}

func (a *app) rollback(ctx context.Context, name string, p pointerArgs) (*moved, error) {
	st, err := a.existing(ctx)
	if err != nil {
		return nil, err
	}
	reason := p.Reason
	if reason == "" {
		reason = "rolled back by hand"
	}
	if p.To == "" {
		for _, stage := range []string{"/canary", "/shadow"} {
			d, err := st.Standing(ctx, name+stage)
			if err != nil {
				return nil, err
			}
			if d != "" {
				return &moved{name + stage, d, "", reason}, movePointer(ctx, st, name+stage, "", store.ActRollback, actor(p.By), reason)
			}
		}
	}
	ptr := name + "/production"
	now, err := st.Standing(ctx, ptr)
	if err != nil {
		return nil, err
	}
	back, err := before(ctx, st, ptr, now, p.To)
	if err != nil {
		return nil, err
	}
	return &moved{ptr, now, back, reason}, movePointer(ctx, st, ptr, back, store.ActRollback, actor(p.By), reason)
}

// before returns the release that the pointer held before now, or the one that is named.
func before(ctx context.Context, st *store.Store, ptr string, now record.Digest, to string) (record.Digest, error) {
	if to != "" {
		row, err := st.Release(ctx, to)
		if err != nil {
			return "", err
		}
		return row.Digest, nil
	}
	d, err := st.Before(ctx, ptr, now)
	if d != "" || err != nil {
		return d, err
	}
	return "", fault.New(fault.NotFound, ptr, "there is no earlier release to go back to")
}
