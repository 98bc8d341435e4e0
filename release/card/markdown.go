package card

import (
	"fmt"
	"strings"
)

// Markdown returns the model card as GitHub-flavoured Markdown. Plots stand as
// tables of their numbers. The same input gives the same bytes.
func Markdown(in Input) ([]byte, error) {
	d, err := build(&in)
	if err != nil {
		return nil, err
	}
	m := &markdown{}
	m.line("# ", escapeMD(d.Title))
	m.line("")
	m.line("*", escapeMD(d.Subtitle), "*")
	m.line("")
	if d.Outcome != "" {
		m.b.WriteString("**" + escapeMD(strings.ToUpper(string(d.Outcome))) + "** ")
	}
	m.line(escapeMD(d.Headline), refsMD(d.HeadlineRefs))
	for _, s := range d.Sections {
		m.line("")
		m.line("## ", escapeMD(s.Title))
		for _, p := range s.Parts {
			m.line("")
			m.part(p)
		}
	}
	return []byte(m.b.String()), nil
}

type markdown struct{ b strings.Builder }

func (m *markdown) line(parts ...string) {
	for _, p := range parts {
		m.b.WriteString(p)
	}
	m.b.WriteByte('\n')
}

func (m *markdown) part(p part) {
	switch {
	case p.Sentence != nil:
		m.line(escapeMD(p.Sentence.Text), refsMD(p.Sentence.Refs))
	case p.Table != nil:
		m.table(p.Table)
	case p.Figure != nil:
		m.line("**", escapeMD(p.Figure.Caption), "**", refsMD(p.Figure.Refs))
		if p.Figure.Numbers != nil {
			m.line("")
			m.table(p.Figure.Numbers)
		}
	case p.Gap != "":
		m.line("> **Gap:** ", escapeMD(p.Gap))
	case p.Stated != "":
		m.line("> Stated by the owner, not measured: ", escapeMD(p.Stated))
	}
}

// table writes a table; notes of cells become a last column.
func (m *markdown) table(t *table) {
	head := t.Head
	noted := false
	for _, r := range t.Rows {
		for _, c := range r {
			noted = noted || c.Note != ""
		}
	}
	if noted {
		head = append(head[:len(head):len(head)], "convention")
	}
	m.b.WriteString("|")
	for _, h := range head {
		m.b.WriteString(" " + escapeMD(h) + " |")
	}
	m.line("")
	m.line("|", strings.Repeat(" --- |", len(head)))
	for _, r := range t.Rows {
		note := ""
		m.b.WriteString("|")
		for _, c := range r {
			note += c.Note
			m.b.WriteString(" " + cellMD(c) + " |")
		}
		if noted {
			m.b.WriteString(" " + escapeMD(note) + " |")
		}
		m.line("")
	}
}

func cellMD(c cell) string {
	s := escapeMD(c.Text)
	if c.Class == "gap" || c.Class == "fail" {
		s = "**" + s + "**"
	}
	for _, r := range c.Refs {
		if s != "" {
			s += " "
		}
		s += code(refText(r))
	}
	return s
}

// refText names a reference: its name and digest, once if the name is the digest.
func refText(r ref) string {
	if r.Name == r.Digest.Short() || r.Name == "" {
		return r.Digest.Short()
	}
	return r.Name + " " + r.Digest.Short()
}

func refsMD(refs []ref) string {
	if len(refs) == 0 {
		return ""
	}
	parts := make([]string, len(refs))
	for i, r := range refs {
		parts[i] = code(refText(r))
	}
	return fmt.Sprintf(" (%s)", strings.Join(parts, ", "))
}

// code is inline code; backticks, pipes and line ends have no escape in it.
func code(s string) string {
	return "`" + strings.NewReplacer("`", "'", "|", "/", "\n", " ", "\r", " ").Replace(s) + "`"
}

var mdReplacer = strings.NewReplacer(
	"\\", "\\\\", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "<", "&lt;", ">", "&gt;", "&", "&amp;",
	"|", "\\|", "#", "\\#", "~", "\\~", "!", "\\!", "\r\n", "<br>", "\n", "<br>", "\r", "<br>",
)

// escapeMD makes any text stand for itself inside a paragraph or table cell.
func escapeMD(s string) string { return mdReplacer.Replace(strings.ToValidUTF8(s, "\uFFFD")) }
