package card

import (
	"fmt"
	"time"

	"muster/record"
)

// document is the content of a card, before it is Markdown or HTML.
type document struct {
	Title, Subtitle string
	Outcome         record.Outcome // "" if there is no verdict
	Headline        string
	HeadlineRefs    []ref
	Tiles           []tile
	Sections        []section
}

// tile is a headline number.
type tile struct {
	Name, Value, Detail string
	Ref                 ref
}

type section struct {
	ID, Title string
	Parts     []part
}

// part is one thing of a section; exactly one field is set.
type part struct {
	Sentence *sentence
	Table    *table
	Figure   *figure
	Gap      string
	Stated   string // the words of a person
}

// sentence says one thing and points to where it comes from.
type sentence struct {
	Text string
	Refs []ref
}

// table has text cells; the last column of evidence tables is a reference.
type table struct {
	Head  []string
	Rows  [][]cell
	Plain bool // few narrow columns
}

type cell struct {
	Text  string
	Note  string // the convention behind a number
	Refs  []ref
	Class string // "pass", "fail", "unsure", "gap", "num", "mono"
}

// figure is a plot with the table of its numbers.
type figure struct {
	SVG     string
	Caption string
	Refs    []ref
	Numbers *table
}

func (s *section) say(text string, refs ...ref) {
	s.Parts = append(s.Parts, part{Sentence: &sentence{text, refs}})
}

func (s *section) gap(format string, args ...any) {
	s.Parts = append(s.Parts, part{Gap: fmt.Sprintf(format, args...)})
}

func (s *section) table(t *table) {
	if t != nil && len(t.Rows) > 0 {
		s.Parts = append(s.Parts, part{Table: t})
	}
}

func (s *section) figure(f *figure) {
	if f != nil {
		s.Parts = append(s.Parts, part{Figure: f})
	}
}

// stated adds the words of a person, or the gap.
func (s *section) stated(words, missing string) {
	if words == "" {
		s.gap("%s", missing)
		return
	}
	s.Parts = append(s.Parts, part{Stated: words})
}

// numbers is the table of measurements: value with its
// convention, interval, n, role, record.
func numbers(items []item) *table {
	t := &table{Head: []string{"measurement", "value", "interval", "n", "role", "record"}}
	for _, it := range items {
		value := cell{Text: it.value(), Class: "num"}
		if it.Measurement.Value == nil {
			value.Class = "gap"
		}
		t.Rows = append(t.Rows, []cell{
			{Text: it.label(), Note: it.convention()}, value, {Text: it.interval(), Class: "num"}, {Text: readable(float64(it.N)), Class: "num"},
			{Text: it.role()}, {Refs: []ref{{it.digest.Short(), it.digest}}, Class: "mono"},
		})
	}
	return t
}

// build writes the document.
func build(in *Input) (*document, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	ev, err := newEvidence(in)
	if err != nil {
		return nil, err
	}
	d := &document{Title: in.title(), Subtitle: "Model card"}
	if !in.Created.IsZero() {
		d.Subtitle += ", " + day(in.Created)
	}
	if in.Tool != "" {
		d.Subtitle += ", written by Muster " + in.Tool + " from records"
	}
	d.headline(in)
	d.tiles(ev)
	d.Sections = []section{
		verdictSection(in), modelSection(in), useSection(in), dataSection(in, ev), trainingSection(in, ev),
		performanceSection(ev), calibrationSection(ev), robustnessSection(ev), unknownSection(ev),
		groupsSection(ev), costSection(ev), comparisonSection(in, ev), approvalSection(in), rmfSection(in, ev),
	}
	d.Sections = append(d.Sections, gapSection(d.Sections), evidenceSection(in, ev))
	return d, nil
}

func (d *document) headline(in *Input) {
	if in.Verdict == nil {
		d.Headline = "No policy has judged this model."
		return
	}
	v := in.Verdict
	d.Outcome = v.Outcome
	pass := 0
	for _, r := range v.Rules {
		if r.Outcome == record.Pass {
			pass++
		}
	}
	d.Headline = fmt.Sprintf("%d of %d rules of the policy %q pass", pass, len(v.Rules), v.Policy.Name)
	if v.Baseline != nil {
		d.Headline += fmt.Sprintf(", measured against %s", v.Baseline.Name)
	}
	if len(v.Refused) > 0 {
		d.Headline = fmt.Sprintf("The policy %q refused the evidence", v.Policy.Name)
	}
	d.Headline += "."
	d.HeadlineRefs = []ref{{"policy", v.Policy.Digest}}
}

// headliners are the numbers a reader looks for first.
var headliners = []struct{ name, title string }{
	{"accuracy", "accuracy"}, {"calibration/ece", "calibration error"}, {"robust/corruption-mean", "accuracy, corrupted"},
	{"ood/auroc", "unknown inputs, AUROC"}, {"latency/p95", "latency p95"}, {"size/file", "size"},
}

func (d *document) tiles(ev *evidence) {
	for _, h := range headliners {
		found := ev.whole(h.name)
		if len(found) == 0 || found[0].Measurement.Value == nil {
			d.Tiles = append(d.Tiles, tile{Name: h.title, Value: "–", Detail: "not measured"})
			continue
		}
		it := found[0]
		detail := "n " + readable(float64(it.N))
		if it.Interval != nil {
			detail = readable(it.Interval.Low) + " to " + readable(it.Interval.High) + ", " + detail
		}
		d.Tiles = append(d.Tiles, tile{h.title, it.value(), detail, ref{it.digest.Short(), it.digest}})
	}
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }
