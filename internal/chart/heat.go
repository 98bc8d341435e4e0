package chart

import (
	"fmt"
	"math"
	"strconv"
)

// Heat is a confusion matrix: Counts[truth][answer], both in the order of Labels.
// Cells are shaded by their share of the row; the diagonal (right answers) and
// the rest (errors) have different colours, and errors are shaded by the square
// root of the share, because one error in fifty should be visible.
type Heat struct {
	Text
	Labels []string
	Counts [][]int
}

const (
	maxClasses  = 60 // more would be smaller than a pixel on a phone
	maxNumbered = 20 // with more classes the numbers are shown on hover only
)

// SVG draws the chart.
func (h Heat) SVG() string {
	n := len(h.Labels)
	if n == 0 || len(h.Counts) != n {
		return empty(h.Text, "no counts to draw")
	}
	for _, r := range h.Counts {
		if len(r) != n {
			return empty(h.Text, "the counts are not a square")
		}
	}
	if n > maxClasses {
		return empty(h.Text, fmt.Sprintf("%d classes are too many to draw; the counts are in the record", n))
	}
	left := 24.0 // the label of the rows runs upwards in it
	room := 0.0
	for _, l := range h.Labels {
		room = math.Max(room, textWidth(h.label(l), fontSize))
	}
	left += room + gap
	cell := math.Min(40, (width-left-4)/float64(n))
	top := 50.0 + fontSize
	if h.tilted(cell) {
		top += float64(0.7 * room)
	}
	c := newCanvas(h.Text, top+float64(cell*float64(n))+10)
	c.text(left, 38, "ms mm", "start", h.X)
	y := top + float64(cell*float64(n))/2
	c.raw(`<text class="ms mm" text-anchor="middle" transform="translate(12 `, num(y), `) rotate(-90)">`, escape(h.Y), "</text>\n")
	for i := range n {
		h.headings(c, i, left, top, cell)
		h.row(c, i, left, top, cell)
	}
	return c.svg()
}

func (h Heat) label(s string) string { return cut(s, 16) }

// tilted says whether the column labels would touch each other.
func (h Heat) tilted(cell float64) bool {
	for _, l := range h.Labels {
		if textWidth(h.label(l), fontSize)+2 > cell {
			return true
		}
	}
	return false
}

func (h Heat) headings(c *canvas, i int, left, top, cell float64) {
	step := 1
	for cell*float64(step) < fontSize {
		step++
	}
	if i%step != 0 {
		return
	}
	at := (float64(i) + 0.5) * cell
	l := h.label(h.Labels[i])
	c.text(left-gap, top+at+4.5, "", "end", l)
	if h.tilted(cell) {
		c.raw(`<text transform="translate(`, num(left+at+4), " ", num(top-5), `) rotate(-45)">`, escape(l), "</text>\n")
		return
	}
	c.text(left+at, top-6, "", "middle", l)
}

func (h Heat) row(c *canvas, i int, left, top, cell float64) {
	sum := 0.0
	for _, k := range h.Counts[i] {
		sum += float64(max(k, 0))
	}
	for j, k := range h.Counts[i] {
		x, y := left+float64(float64(j)*cell), top+float64(float64(i)*cell)
		share, class := 0.0, "f1"
		if sum > 0 {
			share = float64(max(k, 0)) / sum
		}
		opacity := math.Sqrt(share)
		if i == j {
			class, opacity = "f0", share
		}
		tip := fmt.Sprintf("%s answered as %s: %d of %s", h.Labels[i], h.Labels[j], k, value(sum))
		c.rect(x+0.75, y+0.75, cell-1.5, cell-1.5, class, ` rx="2" fill-opacity="`+num(0.05+float64(0.9*opacity))+`"`, tip)
		if len(h.Labels) > maxNumbered {
			continue
		}
		text := "ms"
		switch {
		case k == 0:
			text = "ms mm"
		case opacity > 0.5:
			text = "ms mi"
		}
		c.raw(`<text x="`, num(x+cell/2), `" y="`, num(y+cell/2+4), `" class="`, text, `" text-anchor="middle" pointer-events="none">`, strconv.Itoa(k), "</text>\n")
	}
}
