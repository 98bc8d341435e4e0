package card

import (
	"muster/record"
)

// RMFStatus says how much evidence there is for a subcategory.
type RMFStatus string

// The statuses.
const (
	Evidenced RMFStatus = "evidence"
	Partly    RMFStatus = "partly"
	Missing   RMFStatus = "gap"
)

// RMFRow is one subcategory of the NIST AI Risk Management Framework 1.0 (NIST AI
// 100-1, January 2023; the subcategory is paraphrased) with the records that bear on it.
type RMFRow struct {
	ID       string // "MEASURE 2.3"
	Asks     string
	Status   RMFStatus
	Records  []RMFRecord
	Comment  string // what the records do not cover
	evidence []ref
}

// RMFRecord names one record.
type RMFRecord struct {
	Name   string
	Digest record.Digest
}

// rmfRules say which records bear on which subcategory. full are names of which one
// is enough for evidence; part are names that cover it partly.
var rmfRules = []struct {
	id, asks   string
	full, part []string
	comment    string
}{
	{"MEASURE 2.1", "Test sets, metrics and tools of the evaluation are documented.", []string{"accuracy", "nll", "brier"}, nil, ""},
	{"MEASURE 2.3", "Performance is measured for conditions like those of deployment.", nil, []string{"accuracy", "latency/", "robust/corruption-mean"}, "held-out rows and corruptions stand for deployment; live traffic does not"},
	{"MEASURE 2.4", "Function and behaviour are monitored in production.", []string{"monitor/", "drift/", "live/"}, nil, ""},
	{"MEASURE 2.5", "Validity and reliability are shown; limits of generalisation are documented.", []string{"robust/corruption-mean", "ood/auroc"}, []string{"accuracy"}, ""},
	{"MEASURE 2.6", "Safety risks are evaluated; the system can fail safely.", nil, []string{"ood/auroc", "calibration/ece"}, "whether the surrounding system fails safely is not recorded"},
	{"MEASURE 2.7", "Security and resilience are evaluated.", nil, []string{"robust/pgd-linf", "audit/unsafe-files"}, "one attack; supply chain by digests and signature"},
	{"MEASURE 2.9", "The model is explained and its output interpreted in context.", []string{"explain/"}, nil, ""},
	{"MEASURE 2.10", "Privacy risk is examined.", []string{"audit/personal-data", "privacy/"}, nil, ""},
	{"MEASURE 2.11", "Fairness and bias are evaluated.", []string{"fairness/", "group/"}, nil, ""},
	{"MEASURE 2.12", "Environmental impact is assessed.", []string{"cost/energy"}, []string{"cost/flops"}, "operations are counted, energy is not measured"},
}

// RMF returns the evidence table of the NIST AI RMF for a release.
func RMF(in Input) ([]RMFRow, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	ev, err := newEvidence(&in)
	if err != nil {
		return nil, err
	}
	return rmf(&in, ev), nil
}

func rmf(in *Input, ev *evidence) []RMFRow {
	rows := []RMFRow{useRow(in)}
	for _, r := range rmfRules {
		row := RMFRow{ID: r.id, Asks: r.asks, Status: Missing}
		if full := measured(ev, r.full); len(full) > 0 {
			row.Status, row.evidence = Evidenced, full
		}
		if part := measured(ev, r.part); len(part) > 0 {
			row.evidence = append(row.evidence, part...)
			if row.Status == Missing {
				row.Status, row.Comment = Partly, r.comment
			}
		}
		rows = append(rows, row)
	}
	rows = append(rows, manageRows(in)...)
	for i := range rows {
		for _, e := range rows[i].evidence {
			rows[i].Records = append(rows[i].Records, RMFRecord(e))
		}
	}
	return rows
}

// measured returns the records of the names that have a value, over all rows where there are such.
func measured(ev *evidence, names []string) []ref {
	var out []ref
	for _, n := range names {
		items := ev.whole(n)
		if len(items) == 0 {
			items = ev.named(n)
		}
		for _, it := range items {
			if it.Measurement.Value != nil {
				out = append(out, it.ref())
			}
		}
	}
	return out
}

func useRow(in *Input) RMFRow {
	r := RMFRow{ID: "MAP 1.1", Asks: "Intended purpose and context of use are understood and documented.", Status: Missing}
	if in.IntendedUse != "" {
		r.Status, r.Comment = Partly, "stated by the owner in this card; not checked by a record"
	}
	return r
}

func manageRows(in *Input) []RMFRow {
	goNoGo := RMFRow{ID: "MANAGE 1.1", Asks: "It is determined whether the system achieves its purpose and may be deployed (go or no-go).", Status: Missing}
	plan := RMFRow{ID: "MANAGE 4.1", Asks: "Monitoring after deployment, appeal, override, decommissioning and change are planned.", Status: Missing}
	if v := in.Verdict; v != nil {
		policy := ref{"policy " + v.Policy.Name, v.Policy.Digest}
		goNoGo.Status, goNoGo.evidence, goNoGo.Comment = Evidenced, []ref{policy}, "verdict: "+string(v.Outcome)
		plan.Status, plan.evidence, plan.Comment = Partly, []ref{policy}, "the policy sets canary and monitoring; appeal and decommissioning are not recorded"
	}
	if len(in.Approvals) == 0 && goNoGo.Status == Evidenced {
		goNoGo.Status, goNoGo.Comment = Partly, goNoGo.Comment+"; no person has approved"
	}
	supersede := RMFRow{ID: "MANAGE 2.4", Asks: "The system can be superseded, disengaged or deactivated.", Status: Missing}
	if in.Previous != nil {
		supersede.Status, supersede.evidence = Evidenced, []ref{{"previous release " + in.Previous.Name, in.Previous.Digest}}
		supersede.Comment = "rollback returns to it"
	}
	incidents := RMFRow{ID: "MANAGE 4.3", Asks: "Incidents and errors are recorded and communicated.", Status: Missing}
	for _, r := range in.Runs {
		if d, err := record.DigestOf(r); err == nil && (r.Verb == "rollback" || r.Status == record.Failed) {
			incidents.Status, incidents.Comment = Partly, "recorded; communication is not"
			incidents.evidence = append(incidents.evidence, ref{"run " + r.Verb, d})
		}
	}
	return []RMFRow{goNoGo, supersede, plan, incidents}
}

func rmfSection(in *Input, ev *evidence) section {
	s := section{ID: "rmf", Title: "NIST AI RMF: evidence by subcategory"}
	t := &table{Head: []string{"subcategory", "asks", "status", "records"}}
	for _, r := range rmf(in, ev) {
		class := map[RMFStatus]string{Evidenced: "pass", Partly: "unsure", Missing: "gap"}[r.Status]
		t.Rows = append(t.Rows, []cell{{Text: r.ID}, {Text: r.Asks}, {Text: string(r.Status), Class: class}, {Text: r.Comment, Refs: r.evidence}})
	}
	s.table(t)
	return s
}
