package card

import (
	"bytes"
	_ "embed"
	"html/template"
	"slices"
	"strings"

	"muster/fault"
	"muster/record"
)

//go:embed card.gohtml
var page string

//go:embed card.css
var css string

var pageTemplate = template.Must(template.New("card").Funcs(template.FuncMap{
	"css":     func() template.CSS { return template.CSS(css) },
	"svg":     func(s string) template.HTML { return template.HTML(s) }, // written by internal/chart, which escapes all text
	"ref":     refText,
	"refOf":   func(v *view, r ref) target { return target{r, v.target(r.Digest)} },
	"refs":    (*view).targets,
	"tableOf": func(v *view, t *table) shown { return shown{v, t} },
	"upper":   strings.ToUpper,
	"class":   outcomeClass,
}).Parse(page))

// HTML returns the model card as one page that refers to nothing outside: plots
// are inline SVG, there is no script, and it follows the reader's choice of light
// or dark. The same input gives the same bytes.
func HTML(in Input) ([]byte, error) {
	d, err := build(&in)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, &view{document: d, anchors: d.anchors()}); err != nil {
		return nil, fault.New(fault.Internal, "card", "the page cannot be written: %w", err)
	}
	return bytes.Map(printable, bytes.ToValidUTF8(b.Bytes(), []byte("\uFFFD"))), nil
}

// printable replaces control characters, which names from files may hold.
func printable(r rune) rune {
	if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
		return '\uFFFD'
	}
	return r
}

// view is what the template sees.
type view struct {
	*document
	anchors []string
}

// anchors are the digests that the table of records shows.
func (d *document) anchors() []string {
	var out []string
	for _, s := range d.Sections {
		for _, p := range s.Parts {
			if p.Table == nil {
				continue
			}
			for _, r := range p.Table.Rows {
				for _, c := range r {
					if c.Class == "anchor" {
						out = append(out, c.Text)
					}
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// target is a reference with the anchor that it leads to; shown a table with the page around it.
type (
	target struct {
		Ref    ref
		Target string
	}
	shown struct {
		View  *view
		Table *table
	}
)

func (v *view) targets(refs []ref) []target {
	out := make([]target, len(refs))
	for i, r := range refs {
		out[i] = target{r, v.target(r.Digest)}
	}
	return out
}

// target returns the anchor of a record, "" if the page does not show it.
func (v *view) target(d record.Digest) string {
	if _, ok := slices.BinarySearch(v.anchors, string(d)); !ok {
		return ""
	}
	return anchor(string(d))
}

// Anchor names a cell of the table of records.
func (v *view) Anchor(digest string) string { return anchor(digest) }

func anchor(digest string) string { return "r-" + record.Digest(digest).Short() }

// Heads pairs cells with their column heads, which narrow screens show beside them.
func (v *view) Heads(t *table, row []cell) []headed {
	out := make([]headed, len(row))
	for i, c := range row {
		out[i].cell = c
		if i < len(t.Head) {
			out[i].Head = t.Head[i]
		}
	}
	return out
}

type headed struct {
	cell
	Head string
}
