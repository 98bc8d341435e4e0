package chart

import (
	"fmt"
	"math"
)

// Bars compares values by name, with optional intervals: accuracy per class.
// Bars run to the right, so that long names stay readable.
type Bars struct {
	Text
	Labels    []string
	Values    []float64 // not finite: no bar, "–" instead of the number
	Low, High []float64 // optional whiskers, of the same length
	// From and To fix the range; without From < To the data decide, from 0 on.
	From, To float64
}

const (
	barHeight = 22.0
	maxBars   = 60
)

// SVG draws the chart.
func (b Bars) SVG() string {
	n := min(len(b.Labels), len(b.Values), maxBars)
	lo, hi, ok := extent(b.Values[:n])
	if !ok {
		return empty(b.Text, "no values to draw")
	}
	whiskers := len(b.Low) >= n && len(b.High) >= n
	if whiskers {
		a, z, _ := extent(b.Low[:n], b.High[:n])
		lo, hi = math.Min(lo, a), math.Max(hi, z)
	}
	lo, hi = niceRange(math.Min(0, lo), math.Max(0, hi))
	if b.From < b.To {
		lo, hi = b.From, b.To
	}
	top := 30.0
	bottom := top + barHeight*float64(n)
	f := newFrame(box{top: top, bottom: bottom, left: b.labelRoom(n)}, lo, hi, 0, 1)
	f.right -= 52 // room for the numbers
	f.x.to = f.right
	c := newCanvas(b.Text, bottom+46)
	xt := ticks(lo, hi, 5)
	for _, t := range xt {
		c.line(f.x.at(t), top, f.x.at(t), bottom, "mg")
	}
	f.xAxis(c, xt, b.X)
	for i := range n {
		b.bar(c, f, i, top+barHeight*float64(i), whiskers)
	}
	return c.svg()
}

func (b Bars) labelRoom(n int) float64 {
	room := 20.0
	for _, l := range b.Labels[:n] {
		room = math.Max(room, textWidth(cut(l, maxLabel), fontSize))
	}
	return room + gap
}

func (b Bars) bar(c *canvas, f frame, i int, y float64, whiskers bool) {
	mid := y + barHeight/2
	c.text(f.left-gap, mid+4.5, "", "end", cut(b.Labels[i], maxLabel))
	v := b.Values[i]
	if !finite(v) {
		c.text(f.left+gap, mid+4.5, "mm", "start", "–")
		return
	}
	tip := b.Labels[i] + ": " + value(v)
	x0, x1 := f.x.clamp(0), f.x.clamp(v)
	end := math.Max(x0, x1)
	if whiskers && finite(b.Low[i]) && finite(b.High[i]) {
		tip += fmt.Sprintf(" [%s, %s]", value(b.Low[i]), value(b.High[i]))
		end = math.Max(end, f.x.clamp(b.High[i]))
	}
	c.rect(math.Min(x0, x1), y+4, math.Abs(x1-x0), barHeight-8, "f0", ` fill-opacity=".55" rx="2"`, tip)
	if whiskers && finite(b.Low[i]) && finite(b.High[i]) {
		l, h := f.x.clamp(b.Low[i]), f.x.clamp(b.High[i])
		c.line(l, mid, h, mid, "ma")
		c.line(l, mid-4, l, mid+4, "ma")
		c.line(h, mid-4, h, mid+4, "ma")
	}
	c.text(end+6, mid+4.5, "ms", "start", value(v))
}
