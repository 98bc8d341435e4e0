package card

import (
	"fmt"
	"strings"
	"time"

	"muster/record"
)

func verdictSection(in *Input) section {
	s := section{ID: "verdict", Title: "Verdict"}
	v := in.Verdict
	if v == nil {
		s.gap("No policy has judged this model.")
		return s
	}
	policy := ref{"policy " + v.Policy.Name, v.Policy.Digest}
	s.say(fmt.Sprintf("Outcome: %s.", v.Outcome), policy)
	for _, r := range v.Refused {
		s.say("Refused: "+r+".", policy)
	}
	t := &table{Head: []string{"rule", "outcome", "reason", "detectable", "records"}}
	for _, r := range v.Rules {
		mde := "–"
		if r.MinDetectable != nil {
			mde = readable(*r.MinDetectable)
		}
		var refs []ref
		for _, m := range r.Measurements {
			if d, err := record.DigestOf(m); err == nil {
				refs = append(refs, ref{d.Short(), d})
			}
		}
		t.Rows = append(t.Rows, []cell{{Text: r.Name}, {Text: string(r.Outcome), Class: outcomeClass(r.Outcome)}, {Text: r.Reason},
			{Text: mde, Class: "num"}, {Refs: refs, Class: "mono"}})
	}
	s.table(t)
	if len(t.Rows) > 0 {
		s.say("\"detectable\" is the smallest true effect that the rule would have found with power 0.8.", policy)
	}
	return s
}

func outcomeClass(o record.Outcome) string {
	switch o {
	case record.Pass:
		return "pass"
	case record.Fail:
		return "fail"
	}
	return "unsure"
}

func modelSection(in *Input) section {
	s := section{ID: "model", Title: "Model"}
	m := in.Model
	t := &table{Head: []string{"what", "value"}, Plain: true}
	add := func(what, value, class string) {
		if value == "" {
			value, class = "not stated", "gap"
		}
		t.Rows = append(t.Rows, []cell{{Text: what}, {Text: value, Class: class}})
	}
	add("name", m.Subject.Name, "")
	add("digest", string(m.Subject.Digest), "mono")
	add("format", m.Format, "")
	add("task", m.Task, "")
	add("family", m.Family, "")
	add("architecture", m.Architecture, "")
	add("inputs", strings.Join(m.Inputs, "; "), "")
	add("outputs", strings.Join(m.Outputs, "; "), "")
	add("licence", m.License, "")
	add("owner", in.Owner, "")
	if m.Bytes > 0 {
		add("bytes", readable(float64(m.Bytes)), "")
	}
	s.table(t)
	return s
}

func useSection(in *Input) section {
	s := section{ID: "use", Title: "Intended use and limits"}
	s.stated(in.IntendedUse, "The intended use is not stated.")
	s.stated(in.OutOfScope, "Uses that are out of scope are not stated.")
	s.stated(in.Limits, "Known limits are not stated.")
	return s
}

func dataSection(in *Input, ev *evidence) section {
	s := section{ID: "data", Title: "Data"}
	if len(in.Data) == 0 {
		s.gap("No data set is recorded.")
	}
	t := &table{Head: []string{"data set", "use", "rows", "roles", "source", "licence", "digest"}}
	for _, d := range in.Data {
		var roles []string
		for _, k := range sortedKeys(d.Roles) {
			roles = append(roles, fmt.Sprintf("%s %s", k, readable(float64(d.Roles[k]))))
		}
		row := []cell{{Text: d.Subject.Name}, {Text: d.Use}, {Text: readable(float64(d.Rows)), Class: "num"}, {Text: strings.Join(roles, ", ")},
			{Text: d.Source}, {Text: d.License}, {Refs: []ref{{d.Subject.Digest.Short(), d.Subject.Digest}}, Class: "mono"}}
		for i, c := range row {
			if c.Text == "" && c.Refs == nil {
				row[i] = cell{Text: "not stated", Class: "gap"}
			}
		}
		t.Rows = append(t.Rows, row)
	}
	s.table(t)
	audits := ev.named("audit/")
	if len(audits) == 0 {
		s.gap("The data have not been audited (duplicates, leaks between roles, conflicting labels).")
	}
	s.table(numbers(audits))
	return s
}

func trainingSection(in *Input, ev *evidence) section {
	s := section{ID: "training", Title: "How it was made"}
	made := makers(in)
	if len(made) == 0 {
		s.gap("No run that produced this model is recorded.")
	}
	for _, r := range made {
		refs := []ref{}
		if d, err := record.DigestOf(r); err == nil {
			refs = append(refs, ref{"run " + r.ID, d})
		}
		s.say(fmt.Sprintf("%s: %s to %s, seed %d, status %s, code %s, %s/%s with %d CPUs, kernels %s, %s.", r.Verb, names(r.Inputs), names(r.Outputs),
			r.Seed, r.Status, or(r.Code, "unknown"), or(r.Host.OS, "unknown"), or(r.Host.Arch, "unknown"), r.Host.CPUs, or(r.Host.Kernel, "unknown"),
			r.Duration.Round(time.Millisecond)), refs...)
		s.table(settingsTable(r))
	}
	curve := ev.named("train/loss")
	if len(curve) == 0 {
		s.gap("No learning curve is recorded.")
	}
	s.table(numbers(curve))
	for _, it := range curve {
		s.figure(learningCurve(it))
	}
	return s
}

// makers are the runs that lead to the model, the last one first: its maker, then
// the makers of the models that went into that.
func makers(in *Input) []record.Run {
	var out []record.Run
	wanted := map[record.Digest]bool{in.Model.Subject.Digest: true}
	used := map[int]bool{}
	for again := true; again; {
		again = false
		for i, r := range in.Runs {
			if used[i] || !produces(r, wanted) {
				continue
			}
			used[i], again = true, true
			out = append(out, r)
			for _, s := range r.Inputs {
				if s.Kind == "model" {
					wanted[s.Digest] = true
				}
			}
		}
	}
	return out
}

func produces(r record.Run, wanted map[record.Digest]bool) bool {
	for _, s := range r.Outputs {
		if s.Kind == "model" && wanted[s.Digest] {
			return true
		}
	}
	return false
}

func settingsTable(r record.Run) *table {
	explicit := map[string]bool{}
	for _, k := range r.Explicit {
		explicit[k] = true
	}
	t := &table{Head: []string{"setting of " + r.Verb, "value", "given"}, Plain: true}
	for _, k := range sortedKeys(r.Settings) {
		given := "default"
		if explicit[k] {
			given = "explicit"
		}
		t.Rows = append(t.Rows, []cell{{Text: k}, {Text: setting(r.Settings[k]), Class: "num"}, {Text: given}})
	}
	return t
}

func names(subjects []record.Subject) string {
	var out []string
	for _, s := range subjects {
		out = append(out, fmt.Sprintf("%s %s (%s)", s.Kind, s.Name, s.Digest.Short()))
	}
	return or(strings.Join(out, ", "), "nothing")
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func performanceSection(ev *evidence) section {
	s := section{ID: "performance", Title: "Performance"}
	all := ev.named("accuracy", "nll", "brier")
	var main []item
	for _, it := range all {
		if !strings.HasPrefix(it.Slice, "class=") {
			main = append(main, it)
		}
	}
	if len(main) == 0 {
		s.gap("Accuracy, likelihood and Brier score have not been measured.")
	}
	s.table(numbers(main))
	s.figure(perClass(ev.sliced("accuracy", "class=")))
	confusion := ev.named("confusion")
	if len(confusion) == 0 {
		s.gap("No confusion matrix is recorded.")
	}
	for _, it := range confusion {
		s.figure(confusionMatrix(it))
	}
	return s
}

func calibrationSection(ev *evidence) section {
	s := section{ID: "calibration", Title: "Calibration"}
	all := ev.named("calibration/")
	if len(ev.named("calibration/ece")) == 0 {
		s.gap("Whether confidence means what it says has not been measured.")
	}
	s.table(numbers(all))
	for _, it := range ev.named("calibration/ece") {
		s.figure(reliability(it))
	}
	return s
}

func robustnessSection(ev *evidence) section {
	s := section{ID: "robustness", Title: "Robustness"}
	if len(ev.named("robust/corruption", "robust/corruption-mean")) == 0 {
		s.gap("Behaviour under corrupted inputs has not been measured.")
	}
	if len(ev.named("robust/pgd-linf")) == 0 {
		s.gap("Behaviour under attack has not been measured.")
	}
	var main []item
	for _, it := range ev.named("robust/") {
		if !strings.HasPrefix(it.Slice, "corruption=") { // those stand under the figure
			main = append(main, it)
		}
	}
	s.table(numbers(main))
	s.figure(corruptionCurves(ev.sliced("robust/corruption", "corruption="), ev.whole("accuracy")))
	s.figure(attackCurve(ev.sliced("robust/pgd-linf", "eps="), ev.whole("accuracy")))
	return s
}

func unknownSection(ev *evidence) section {
	s := section{ID: "unknown", Title: "Unknown inputs"}
	found := ev.named("ood/")
	if len(found) == 0 {
		s.gap("Whether the model notices inputs of another kind has not been measured.")
	}
	s.table(numbers(found))
	return s
}

func groupsSection(ev *evidence) section {
	s := section{ID: "groups", Title: "Groups of people"}
	found := ev.named("fairness/", "group/")
	if len(found) == 0 {
		s.gap("No measurement compares groups of people.")
	}
	s.table(numbers(found))
	return s
}

func costSection(ev *evidence) section {
	s := section{ID: "cost", Title: "Cost"}
	found := ev.named("latency/", "size/", "cost/", "quant/")
	if len(ev.named("latency/")) == 0 {
		s.gap("Latency has not been measured.")
	}
	if len(ev.named("cost/energy")) == 0 {
		s.gap("Energy has not been measured.")
	}
	s.table(numbers(found))
	return s
}

func comparisonSection(in *Input, ev *evidence) section {
	s := section{ID: "comparison", Title: "Against the baseline"}
	found := ev.named("compare/")
	if len(found) == 0 {
		s.gap("The model has not been compared with another one on the same rows.")
		return s
	}
	if in.Verdict != nil && in.Verdict.Baseline != nil {
		b := in.Verdict.Baseline
		s.say(fmt.Sprintf("The baseline is %s.", b.Name), ref{"model " + b.Name, b.Digest})
	}
	s.table(numbers(found))
	return s
}

func approvalSection(in *Input) section {
	s := section{ID: "approval", Title: "Approval"}
	if len(in.Approvals) == 0 {
		s.gap("Nobody has approved this release.")
	}
	t := &table{Head: []string{"who", "when", "note"}, Plain: true}
	for _, a := range in.Approvals {
		t.Rows = append(t.Rows, []cell{{Text: a.Who}, {Text: a.When.UTC().Format(time.RFC3339)}, {Text: a.Note}})
	}
	s.table(t)
	return s
}

// gapSection collects what is missing everywhere else.
func gapSection(sections []section) section {
	s := section{ID: "gaps", Title: "All gaps"}
	t := &table{Head: []string{"section", "what is missing"}, Plain: true}
	for _, o := range sections {
		for _, p := range o.Parts {
			if p.Gap != "" {
				t.Rows = append(t.Rows, []cell{{Text: o.Title}, {Text: p.Gap, Class: "gap"}})
			}
		}
	}
	s.table(t)
	if len(t.Rows) == 0 {
		s.say("No section of this card is without evidence.")
	}
	return s
}

// evidenceSection lists every measurement with its full digest; references lead here.
func evidenceSection(in *Input, ev *evidence) section {
	s := section{ID: "evidence", Title: "Records"}
	t := &table{Head: []string{"measurement", "value", "check", "subjects", "digest"}}
	for _, it := range ev.items {
		t.Rows = append(t.Rows, []cell{{Text: it.label()}, {Text: it.value(), Class: "num"}, {Text: fmt.Sprintf("%s version %d", it.Check, it.Version)},
			{Text: names(it.Subjects)}, {Text: string(it.digest), Class: "anchor"}})
	}
	for _, r := range in.Runs {
		if d, err := record.DigestOf(r); err == nil {
			t.Rows = append(t.Rows, []cell{{Text: "run " + r.Verb}, {Text: string(r.Status)}, {Text: "code " + or(r.Code, "unknown")},
				{Text: names(r.Inputs) + " to " + names(r.Outputs)}, {Text: string(d), Class: "anchor"}})
		}
	}
	if v := in.Verdict; v != nil {
		t.Rows = append(t.Rows, []cell{{Text: "policy " + v.Policy.Name}, {Text: string(v.Outcome)}, {Text: "–"}, {Text: "–"}, {Text: string(v.Policy.Digest), Class: "anchor"}})
		if v.Baseline != nil {
			t.Rows = append(t.Rows, []cell{{Text: "baseline " + v.Baseline.Name}, {Text: "–"}, {Text: "–"}, {Text: "–"}, {Text: string(v.Baseline.Digest), Class: "anchor"}})
		}
	}
	for _, d := range in.Data {
		t.Rows = append(t.Rows, []cell{{Text: "data " + d.Subject.Name}, {Text: "–"}, {Text: "–"}, {Text: "–"}, {Text: string(d.Subject.Digest), Class: "anchor"}})
	}
	s.table(t)
	if len(t.Rows) == 0 {
		s.gap("There are no records.")
	}
	return s
}
