// Package chart draws the plots of reports as SVG: lines with bands, bars, heat
// maps and reliability diagrams.
//
// The output is one self-contained <svg> element that may be a file or part of a
// page: no script, no font, no reference to anything outside, all text escaped, a
// title and a description for screen readers, light and dark colours by the
// reader's preference. The same input gives the same bytes. Lengths are in user
// units (CSS pixels at natural size); the element scales to its container.
package chart

import (
	"html"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Text says what a chart shows; every chart has one.
type Text struct {
	Title string // one line above the plot, also the accessible name
	Desc  string // what a reader who cannot see the plot should know
	X, Y  string // axis labels with units: "step", "loss (nats)"
}

const (
	width    = 520.0
	fontSize = 13.0
	small    = 11.5
	gap      = 8.0
	maxLabel = 28 // runes of a label; longer ones are cut with an ellipsis
)

// The palette keeps its order of lightness for colour-blind readers (after Okabe
// and Ito 2008, darkened or lightened to at least 3:1 against either background);
// series also differ by marker and dash.
var (
	lightColors = [seriesColors]string{"#0b62c4", "#c2500a", "#157a54", "#8747c4", "#b3225f", "#786500", "#0b7680", "#57606a"}
	darkColors  = [seriesColors]string{"#6cb2ff", "#ff9e64", "#5fd3a4", "#cba6ff", "#ff8fb8", "#dcc65a", "#5fd4de", "#a9b4c0"}
)

const seriesColors = 8

// style is scoped to the class mc. Colours stand in plain rules, not variables,
// because some viewers of SVG files know no variables.
var style = buildStyle()

func buildStyle() string {
	var b strings.Builder
	b.WriteString(".mc{color:#1f2328;max-width:100%;height:auto;font-family:system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}")
	b.WriteString(".mc text{fill:currentColor;font-size:" + num(fontSize) + "px;font-variant-numeric:tabular-nums}")
	b.WriteString(".mc .mt{font-size:14.5px;font-weight:600}.mc .ms{font-size:" + num(small) + "px}.mc .mm{fill-opacity:.66}")
	b.WriteString(".mc .mg{stroke:currentColor;stroke-opacity:.13}.mc .ma{stroke:currentColor;stroke-opacity:.5}")
	b.WriteString(".mc .md{stroke:currentColor;stroke-opacity:.55;stroke-dasharray:4 4;fill:none}")
	b.WriteString(".mc .ml{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}.mc .mb{fill-opacity:.16;stroke:none}")
	b.WriteString(".mc .mi{fill:#fff}")
	colors(&b, lightColors)
	b.WriteString("@media (prefers-color-scheme:dark){.mc{color:#e6e9ee}.mc .mi{fill:#10141a}")
	colors(&b, darkColors)
	b.WriteString("}")
	return b.String()
}

func colors(b *strings.Builder, list [seriesColors]string) {
	for i, c := range list {
		n := strconv.Itoa(i)
		b.WriteString(".mc .s" + n + "{stroke:" + c + "}.mc .f" + n + "{fill:" + c + "}")
	}
}

// canvas collects the elements of one chart.
type canvas struct {
	b strings.Builder
	h float64
}

func newCanvas(t Text, height float64) *canvas {
	c := &canvas{h: height}
	c.raw(`<svg xmlns="http://www.w3.org/2000/svg" class="mc" role="img" width="`, num(width), `" height="`, num(height),
		`" viewBox="0 0 `, num(width), " ", num(height), `" aria-label="`, escape(t.Title), `">`)
	c.raw("<title>", escape(t.Title), "</title>")
	if t.Desc != "" {
		c.raw("<desc>", escape(t.Desc), "</desc>")
	}
	c.raw("<style>", style, "</style>\n")
	c.text(0, 16, "mt", "start", t.Title)
	return c
}

func (c *canvas) svg() string {
	c.raw("</svg>\n")
	return c.b.String()
}

func (c *canvas) raw(parts ...string) {
	for _, p := range parts {
		c.b.WriteString(p)
	}
}

// text draws s with its baseline at y; anchor is start, middle or end.
func (c *canvas) text(x, y float64, class, anchor, s string) {
	if s == "" {
		return
	}
	c.raw(`<text x="`, num(x), `" y="`, num(y), `"`)
	if class != "" {
		c.raw(` class="`, class, `"`)
	}
	if anchor != "start" {
		c.raw(` text-anchor="`, anchor, `"`)
	}
	c.raw(">", escape(s), "</text>\n")
}

func (c *canvas) line(x1, y1, x2, y2 float64, class string) {
	c.raw(`<line x1="`, num(x1), `" y1="`, num(y1), `" x2="`, num(x2), `" y2="`, num(y2), `" class="`, class, "\"/>\n")
}

// rect draws a rectangle; tip is shown by browsers on hover, extra are more attributes.
func (c *canvas) rect(x, y, w, h float64, class, extra, tip string) {
	c.raw(`<rect x="`, num(x), `" y="`, num(y), `" width="`, num(math.Max(0, w)), `" height="`, num(math.Max(0, h)), `" class="`, class, `"`, extra)
	c.close("rect", tip)
}

func (c *canvas) path(d, class, extra string) {
	if d != "" {
		c.raw(`<path d="`, d, `" class="`, class, `"`, extra, "/>\n")
	}
}

func (c *canvas) close(tag, tip string) {
	if tip == "" {
		c.raw("/>\n")
		return
	}
	c.raw("><title>", escape(tip), "</title></", tag, ">\n")
}

// marker draws the n-th shape at (x, y): circle, square, diamond or triangle.
func (c *canvas) marker(n int, x, y float64, tip string) {
	class := `class="f` + strconv.Itoa(n%seriesColors) + `"`
	switch n % 4 {
	case 0:
		c.raw(`<circle cx="`, num(x), `" cy="`, num(y), `" r="3.2" `, class)
		c.close("circle", tip)
		return
	case 1:
		c.raw(`<path d="M`, num(x-3), " ", num(y-3), `h6v6h-6z" `, class)
	case 2:
		c.raw(`<path d="M`, num(x), " ", num(y-4.2), `l4.2 4.2l-4.2 4.2l-4.2 -4.2z" `, class)
	case 3:
		c.raw(`<path d="M`, num(x), " ", num(y-4), `l4 7h-8z" `, class)
	}
	c.close("path", tip)
}

// num prints a coordinate with at most two decimals.
func num(x float64) string {
	s := strconv.FormatFloat(x, 'f', 2, 64)
	s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	if s == "-0" {
		return "0"
	}
	return s
}

// escape makes any string safe as XML text and attribute value: what XML 1.0
// does not allow (section 2.2) becomes the replacement character.
func escape(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return html.EscapeString(s)
}

// cut shortens a label to at most n runes.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// textWidth estimates the width of s in the interface font; labels are placed by
// it, so it is generous.
func textWidth(s string, size float64) float64 {
	return 0.62 * size * float64(utf8.RuneCountInString(s))
}

// empty draws a chart that has no data, with the reason.
func empty(t Text, why string) string {
	c := newCanvas(t, 120)
	c.text(width/2, 70, "mm", "middle", why)
	return c.svg()
}
