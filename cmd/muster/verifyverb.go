package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"muster/check"
	"muster/fault"
	"muster/graph"
	"muster/record"
	"muster/release"
	"muster/release/policy"
	"muster/release/sign"
)

// verified is what a verification found.
type verified struct {
	Release    record.Digest `json:"release"`
	Name       string        `json:"name"`
	Number     int           `json:"number"`
	KeyID      string        `json:"key_id"`
	Signature  bool          `json:"signature"`
	Digests    int           `json:"digests"` // blobs whose digest was checked
	Recomputed int           `json:"recomputed"`
	Volatile   int           `json:"volatile"` // timings, which are not compared by bits
	Different  []string      `json:"different"`
	Verdict    bool          `json:"verdict"` // re-derived from the measurements, equal
	BitEqual   bool          `json:"bit_identical"`
	Outcome    string        `json:"outcome"`
	OverrideBy string        `json:"override_by,omitempty"`
}

func verifyVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify RELEASE", Short: "Check signature and digests, then re-compute measurements and verdict", Args: cobra.ExactArgs(1),
		Long: `Verify loads a release (a name for its newest, name@number, a pointer such as
digits/production for what is live, or the start of a digest), checks its signature
and the digest of everything it names, runs every measurement again from the
same model, data and seeds, derives the verdict again, and reports whether all bits are
equal. Timings are not compared by bits.`,
		Example: `  muster verify digits
  muster verify digits/production
  muster verify digits@1 --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := a.verify(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := a.print(v, v.text); err != nil {
				return err
			}
			if !v.BitEqual {
				return fault.New(fault.Mismatch, "release "+args[0], "%d measurements differ", len(v.Different)).WithHint("compare `muster version` with the host named in the release")
			}
			return nil
		},
	}
	return cmd
}

// verify re-derives a release.
func (a *app) verify(ctx context.Context, ref string) (*verified, error) {
	st, err := a.existing(ctx)
	if err != nil {
		return nil, err
	}
	ring, err := sign.Trusted(st.KeysDir())
	if err != nil {
		return nil, err
	}
	l, err := release.Load(ctx, st, ring, ref)
	if err != nil {
		return nil, err
	}
	v := &verified{Release: l.Row.Digest, Name: l.Release.Name, Number: l.Release.Number, KeyID: l.KeyID, Signature: true,
		Digests: 2 + len(l.Files), Different: []string{}, Outcome: string(l.Release.Verdict.Outcome)}
	for _, ap := range l.Release.Approvals {
		if ap.Override {
			v.OverrideBy = ap.Who
		}
	}
	again, err := a.measureAgain(ctx, l)
	if err != nil {
		return nil, err
	}
	if err := v.compare(l.Release.Measurements, again); err != nil {
		return nil, err
	}
	p, err := policy.Parse("policy of "+l.Release.Name, l.Files[release.FilePolicy])
	if err != nil {
		return nil, err
	}
	got, err := record.Canonical(p.Decide(policy.Evidence{Candidate: l.Release.Model, Baseline: l.Release.Baseline, Measurements: l.Release.Measurements}))
	if err != nil {
		return nil, err
	}
	want, err := record.Canonical(l.Release.Verdict)
	if err != nil {
		return nil, err
	}
	v.Verdict = bytes.Equal(got, want)
	v.BitEqual = v.Verdict && len(v.Different) == 0
	return v, nil
}

// measureAgain runs the evaluation of a release from what the store holds.
func (a *app) measureAgain(ctx context.Context, l *release.Loaded) ([]record.Measurement, error) {
	var e evalArgs
	if err := settingsOf("release "+l.Release.Name, l.Release.Settings, &e); err != nil {
		return nil, err
	}
	g, err := graph.Decode(l.Model)
	if err != nil {
		return nil, err
	}
	against := e.Against
	e.Against = ""
	in, closeAll, err := a.evalInput(ctx, &modelFile{path: l.Release.Model.Name, graph: g, bytes: l.Model}, e)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	if d := in.Data.Digest(); len(l.Release.Data) == 0 || d != l.Release.Data[0].Digest {
		return nil, fault.New(fault.Mismatch, "data "+e.Source, "they are not the data that the release was measured with").WithHint("their digest is now %s", d)
	}
	in.Model.Subject.Name = l.Release.Model.Name
	if against != "" && l.Release.Baseline != nil {
		base, err := a.st.Get(ctx, l.Release.Baseline.Digest)
		if err != nil {
			return nil, err
		}
		bg, err := graph.Decode(base)
		if err != nil {
			return nil, err
		}
		if in.Reference, err = check.NewModel(l.Release.Baseline.Name, bg); err != nil {
			return nil, err
		}
		defer in.Reference.Close()
		in.ReferenceBytes = int64(len(base))
	}
	in.Config.Latency = -1 // timings are not compared
	bar := a.progress()
	res, err := check.Evaluate(ctx, in, func(c string) { bar.show(false, "measuring %s again", c) })
	if err != nil {
		return nil, err
	}
	return res.Measurements, nil
}

// compare counts measurements that are equal bit for bit in their canonical form.
func (v *verified) compare(signed, again []record.Measurement) error {
	key := func(m record.Measurement) string { return m.Name + "|" + m.Slice }
	have := map[string][]byte{}
	for _, m := range again {
		b, err := record.Canonical(m)
		if err != nil {
			return err
		}
		have[key(m)] = b
	}
	for _, m := range signed {
		if m.Volatile {
			v.Volatile++
			continue
		}
		b, err := record.Canonical(m)
		if err != nil {
			return err
		}
		v.Recomputed++
		if !bytes.Equal(b, have[key(m)]) {
			v.Different = append(v.Different, key(m))
		}
	}
	return nil
}

func (v *verified) text(p *printer) {
	p.line("%s@%d %s", v.Name, v.Number, v.Release)
	p.line("signature by key %.16s: good; %d digests: good", v.KeyID, v.Digests)
	same := "all equal, bit for bit"
	if len(v.Different) > 0 {
		same = fmt.Sprintf("%d differ: %v", len(v.Different), v.Different)
	}
	p.line("%d measurements computed again: %s (%d timings are not compared)", v.Recomputed, same, v.Volatile)
	word := "the same"
	if !v.Verdict {
		word = "ANOTHER ONE"
	}
	p.line("verdict derived again: %s (%s)", word, v.Outcome)
	if v.OverrideBy != "" {
		p.line("released against the verdict by %s", v.OverrideBy)
	}
}
