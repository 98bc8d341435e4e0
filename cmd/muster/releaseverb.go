package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"muster/check"
	"muster/data"
	"muster/fault"
	"muster/graph"
	"muster/internal/atomicfile"
	"muster/monitor"
	"muster/record"
	"muster/release"
	"muster/release/card"
	"muster/release/policy"
	"muster/release/sign"
	"muster/release/store"
	"muster/tensor"
)

// releaseArgs are the settings of one release.
type releaseArgs struct {
	gateArgs
	Name     string `json:"name"`
	Stage    string `json:"stage"` // "production" or "shadow"
	Override bool   `json:"override"`
	By       string `json:"by"`
	Reason   string `json:"reason"`
	Use      string `json:"intended_use"`
}

// released is what a release leaves behind.
type released struct {
	Run     string           `json:"run"`
	Release store.ReleaseRow `json:"release"`
	Pointer string           `json:"pointer"`
	Verdict record.Verdict   `json:"verdict"`
	KeyID   string           `json:"key_id"`
	card    []byte
	page    []byte
}

func releaseVerb(a *app) *cobra.Command {
	var r releaseArgs
	var cardTo string
	cmd := &cobra.Command{
		Use: "release CANDIDATE --name NAME", Short: "Sign a release that carries its proof, and put it where it is used", Args: cobra.ExactArgs(1),
		Long: `Release decides by the policy once more, writes the model card and the bill of
materials, signs a statement over model, data, measurements and verdict, stores all of it
by digest, and moves the pointer NAME/STAGE. A candidate that did not pass is refused;
--override with --by and --reason releases it all the same, on record.`,
		Example: `  muster release digits.int8.onnx --against digits.onnx --name digits
  muster release new.onnx --against digits.int8.onnx --name digits --stage shadow`,
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := loadModel(args[0])
			if err != nil {
				return err
			}
			res, err := a.release(cmd.Context(), m, r, explicit(cmd))
			if err != nil {
				return err
			}
			if cardTo != "" {
				if err := atomicfile.Write(cardTo+".md", res.card, 0o644); err != nil {
					return err
				}
				if err := atomicfile.Write(cardTo+".html", res.page, 0o644); err != nil {
					return err
				}
			}
			return a.print(res, res.text)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.Name, "name", "", "name of the deployment")
	cmd.MarkFlagRequired("name")
	f.StringVar(&r.Stage, "stage", "production", "production, or shadow for a candidate beside what is live")
	f.StringVar(&r.Against, "against", "", "baseline model file")
	f.StringVar(&r.Policy, "policy", "", "policy file (default: the built-in policy for classifiers)")
	f.BoolVar(&r.Override, "override", false, "release against the verdict")
	f.StringVar(&r.By, "by", os.Getenv("USER"), "who answers for this release")
	f.StringVar(&r.Reason, "reason", "", "why")
	f.StringVar(&r.Use, "intended-use", "", "a sentence for the model card")
	f.StringVar(&cardTo, "card", "", "also write the model card to CARD.md and CARD.html")
	return cmd
}

// release publishes m and moves the pointer.
func (a *app) release(ctx context.Context, m *modelFile, r releaseArgs, given []string) (*released, error) {
	if r.Stage != "production" && r.Stage != "shadow" {
		return nil, usageError{fmt.Errorf("--stage %q is neither production nor shadow", r.Stage)}
	}
	j, err := a.begin(ctx, "release", r, given, 0)
	if err != nil {
		return nil, err
	}
	res, err := a.releaseRun(ctx, m, r, j)
	return res, j.end(ctx, err)
}

func (a *app) releaseRun(ctx context.Context, m *modelFile, r releaseArgs, j *job) (*released, error) {
	p, err := readPolicy(r.Policy)
	if err != nil {
		return nil, err
	}
	ev, err := a.evidence(ctx, m, r.Against)
	if err != nil {
		return nil, err
	}
	run, err := a.lastEval(ctx, ev.Candidate.Digest, ev.Baseline)
	if err != nil {
		return nil, err
	}
	key, err := sign.Open(j.st.KeysDir())
	if err != nil {
		return nil, err
	}
	rel := &release.Release{Name: r.Name, Model: ev.Candidate, Files: map[string]record.Subject{}, Settings: run.Settings, Policy: p.Subject(),
		Verdict: p.Decide(ev), Measurements: ev.Measurements, Baseline: ev.Baseline, Approvals: []release.Approval{}, Code: code(), Host: host(),
		Created: time.Now().UTC().Truncate(time.Second), Temperature: 1, Inputs: ports(m.graph.Inputs), Outputs: ports(m.graph.Outputs)}
	if t := find(ev.Measurements, "calibration/temperature", ""); t != nil && t.Value != nil {
		rel.Temperature = *t.Value
	}
	if r.By != "" {
		rel.Approvals = append(rel.Approvals, release.Approval{Who: r.By, KeyID: key.ID(), Time: rel.Created, Reason: r.Reason, Override: r.Override})
	}
	if err := a.releaseFiles(ctx, m, r, rel, p, run, j); err != nil {
		return nil, err
	}
	row, err := release.Publish(ctx, j.st, key, rel)
	if err != nil {
		return nil, err
	}
	j.run.Inputs = append(j.run.Inputs, ev.Candidate)
	j.run.Outputs = append(j.run.Outputs, record.Subject{Kind: "release", Name: r.Name, Digest: row.Digest})
	act, reason := store.ActRelease, r.Reason
	if rel.Verdict.Outcome != record.Pass {
		act = store.ActOverride
	}
	if reason == "" {
		reason = fmt.Sprintf("policy %s: %s", p.Name, rel.Verdict.Outcome)
	}
	out := &released{Run: j.run.ID, Release: *row, Pointer: r.Name + "/" + r.Stage, Verdict: rel.Verdict, KeyID: key.ID()}
	if out.card, err = j.st.Get(ctx, rel.Files[release.FileCard].Digest); err != nil {
		return nil, err
	}
	if out.page, err = j.st.Get(ctx, rel.Files[release.FilePage].Digest); err != nil {
		return nil, err
	}
	return out, movePointer(ctx, j.st, out.Pointer, row.Digest, act, actor(r.By), reason)
}

// actor names who acts; an act without a name is that of the program's user.
func actor(by string) string {
	if by == "" {
		return "unnamed user"
	}
	return by
}

// movePointer moves a pointer from where it stands.
func movePointer(ctx context.Context, st *store.Store, pointer string, to record.Digest, act store.Act, who, reason string) error {
	from, err := st.Standing(ctx, pointer)
	if err != nil {
		return err
	}
	_, err = st.Move(ctx, store.MoveRequest{Pointer: pointer, To: to, Expect: from, Act: act, Actor: who, Reason: reason})
	return err
}

func ports(vs []*graph.Value) []release.Port {
	out := []release.Port{}
	for _, v := range vs {
		p := release.Port{Name: v.Name, DType: v.DType.String(), Shape: []string{}}
		for _, d := range v.Shape {
			p.Shape = append(p.Shape, d.String())
		}
		out = append(out, p)
	}
	return out
}

// releaseFiles makes everything that a release carries beside the model.
func (a *app) releaseFiles(ctx context.Context, m *modelFile, r releaseArgs, rel *release.Release, p *policy.Policy, run *record.Run, j *job) error {
	var e evalArgs
	if err := settingsOf("run "+run.ID, run.Settings, &e); err != nil {
		return err
	}
	put := func(role string, b []byte) error {
		s, err := j.st.PutBytes(ctx, role, r.Name, b)
		rel.Files[role] = record.Subject{Kind: role, Name: r.Name, Digest: s.Digest}
		return err
	}
	set, ledger, err := a.split(ctx, e.dataFlags, e.Split, e.Seed)
	if err != nil {
		return err
	}
	model, err := check.NewModel(m.name(), m.graph)
	if err != nil {
		return err
	}
	defer model.Close()
	ref, err := referenceOf(model, set, ledger, rel.Temperature, p.Monitor.DriftAlarmRate)
	if err != nil {
		return err
	}
	if err := a.keep(ctx, ledger); err != nil {
		return err
	}
	probe, err := probeOf(model, set)
	if err != nil {
		return err
	}
	led, err := ledger.Encode()
	if err != nil {
		return err
	}
	rel.Data = []record.Subject{set.Subject()}
	if _, err := j.st.PutBytes(ctx, "model", m.name(), m.bytes); err != nil {
		return err
	}
	in := cardInput(r, rel, set, ledger, run, len(m.bytes))
	if e.Outside != "" {
		o, err := outside(e.Outside, set)
		if err != nil {
			return err
		}
		in.Data = append(in.Data, card.Data{Subject: o.Subject(), Use: "inputs of another kind", Rows: o.Len(), Roles: map[string]int{"none": o.Len()}, Source: o.Source, License: o.License})
	}
	for _, about := range []struct {
		verb string
		d    record.Digest
	}{{"audit", set.Digest()}, {"train", rel.Model.Digest}, {"train", baselineOf(rel)}, {"compress", rel.Model.Digest}} {
		earlier, err := lastRun(ctx, j.st, about.verb, about.d)
		if err != nil {
			return err
		}
		if earlier != nil {
			in.Runs = append(in.Runs, *earlier)
			if earlier.Verb == "train" {
				var t trainArgs
				if err := settingsOf("run "+earlier.ID, earlier.Settings, &t); err != nil {
					return err
				}
				in.Model.Family, in.Model.Architecture = t.Spec.Model.Family, t.Spec.Model.String()
			}
			in.Measurements = append(in.Measurements[:len(in.Measurements):len(in.Measurements)], earlier.Measurements...)
		}
	}
	md, err := card.Markdown(in)
	if err != nil {
		return err
	}
	page, err := card.HTML(in)
	if err != nil {
		return err
	}
	bom, err := card.MLBOM(in)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		role string
		b    []byte
	}{{release.FilePolicy, p.Source()}, {release.FileReference, ref}, {release.FileLedger, led}, {release.FileProbe, probe},
		{release.FileCard, md}, {release.FilePage, page}, {release.FileMLBOM, bom}} {
		if err := put(f.role, f.b); err != nil {
			return err
		}
	}
	return nil
}

func baselineOf(rel *release.Release) record.Digest {
	if rel.Baseline == nil {
		return ""
	}
	return rel.Baseline.Digest
}

// lastRun returns the newest good run of a verb that audited or made d, nil if there is none.
func lastRun(ctx context.Context, st *store.Store, verb string, d record.Digest) (*record.Run, error) {
	runs, err := st.Runs(ctx, store.RunFilter{Verb: verb, Status: record.Succeeded})
	if err != nil {
		return nil, err
	}
	for i := range runs {
		of := runs[i].Inputs
		if verb != "audit" {
			of = runs[i].Outputs
		}
		for _, s := range of {
			if s.Digest == d {
				return &runs[i], nil
			}
		}
	}
	return nil, nil
}

// referenceOf describes clean traffic by the rows of the calibrate role.
func referenceOf(model *check.Model, set *data.Set, ledger *data.Ledger, temp, rate float64) ([]byte, error) {
	if err := ledger.Use(data.Calibrate, data.Reference); err != nil {
		return nil, err
	}
	rows := set.Rows(data.Calibrate)
	x := set.X(rows)
	logits, err := model.Logits(x)
	if err != nil {
		return nil, err
	}
	cfg := monitor.ReferenceConfig{AlarmRate: rate, Input: monitor.InputConfig{Width: x.Shape[1:].Elems()}}
	if img := set.Image(); img != nil {
		lo, hi := img.Range()
		cfg.Input = monitor.InputConfig{Channels: x.Shape[1], Height: x.Shape[2], Width: x.Shape[3], Low: lo, High: hi}
	}
	var inputs, probs [][]float32
	labels, all := make([]int, len(rows)), set.Labels()
	for i, p := range check.Probabilities(logits, temp) {
		row := make([]float32, len(p))
		for k, v := range p {
			row[k] = float32(v)
		}
		inputs, probs = append(inputs, x.Rows(i, i+1).Float32s()), append(probs, row)
		labels[i] = int(all[rows[i]])
	}
	ref, err := monitor.NewReference(cfg, inputs, probs, labels)
	if err != nil {
		return nil, err
	}
	return json.Marshal(ref)
}

// probe is a few inputs with the logits they must give, bit for bit, wherever the model is loaded.
type probe struct {
	Shape  []int     `json:"shape"`
	X      []float32 `json:"x"`
	Logits []float32 `json:"logits"`
}

func probeOf(model *check.Model, set *data.Set) ([]byte, error) {
	rows := set.Rows(data.Calibrate)
	x := set.X(rows[:min(4, len(rows))])
	z, err := model.Logits(x)
	if err != nil {
		return nil, err
	}
	return json.Marshal(probe{x.Shape, x.Float32s(), z.Float32s()})
}

// checkProbe runs the probe of a release through a model.
func checkProbe(b []byte, model *check.Model) error {
	var p probe
	if err := json.Unmarshal(b, &p); err != nil {
		return fault.New(fault.Malformed, "probe", "%w", err)
	}
	if n, ok := tensor.Shape(p.Shape).CheckedElems(); !ok || n != len(p.X) || len(p.Shape) == 0 {
		return fault.New(fault.Malformed, "probe", "shape %v for %d values", p.Shape, len(p.X))
	}
	z, err := model.Logits(tensor.OfFloat32(p.X, p.Shape...))
	if err != nil {
		return err
	}
	got := z.Float32s()
	for i, v := range p.Logits {
		if i >= len(got) || got[i] != v {
			return fault.New(fault.Mismatch, "probe", "the model answers other bits here than where it was released").
				WithHint("`muster version` on both machines; please report the processor")
		}
	}
	return nil
}

func cardInput(r releaseArgs, rel *release.Release, set *data.Set, ledger *data.Ledger, run *record.Run, bytes int) card.Input {
	roles := map[string]int{}
	for _, role := range data.Roles() {
		if n := ledger.Count(role); n > 0 {
			roles[string(role)] = n
		}
	}
	in := card.Input{Name: r.Name, Version: rel.Created.Format("2006-01-02 15:04:05"), Created: rel.Created, Tool: code(), IntendedUse: r.Use, Owner: r.By,
		Model:        card.Model{Subject: rel.Model, Format: "ONNX", Task: "classification", Bytes: int64(bytes)},
		Data:         []card.Data{{Subject: set.Subject(), Use: "training and evaluation", Rows: set.Len(), Roles: roles, Source: set.Source, License: set.License}},
		Measurements: rel.Measurements, Verdict: &rel.Verdict, Runs: []record.Run{*run}}
	for _, p := range rel.Inputs {
		in.Model.Inputs = append(in.Model.Inputs, fmt.Sprintf("%s: %s %v", p.Name, p.DType, p.Shape))
	}
	for _, p := range rel.Outputs {
		in.Model.Outputs = append(in.Model.Outputs, fmt.Sprintf("%s: %s %v", p.Name, p.DType, p.Shape))
	}
	for _, ap := range rel.Approvals {
		in.Approvals = append(in.Approvals, card.Approval{Who: ap.Who, When: ap.Time, Note: ap.Reason})
	}
	return in
}

func (r *released) text(p *printer) {
	p.line("released %s v%d: %s, verdict %s", r.Release.Name, r.Release.Version, r.Release.Digest, r.Verdict.Outcome)
	p.line("signed with key %.16s, model %s", r.KeyID, r.Release.Model.Short())
	p.line("%s now points to it; `muster serve` serves it, `muster verify %s` re-computes it", r.Pointer, r.Release.Name)
}
