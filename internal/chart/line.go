package chart

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Series is one line. Points with a coordinate that is not finite break it.
type Series struct {
	Name      string
	X, Y      []float64
	Low, High []float64 // optional band around Y, of the same length
}

// Line is a chart of one or several series: learning curves, corruption curves.
type Line struct {
	Text
	Series []Series
	// YLow and YHigh fix the range of the y axis; without YLow < YHigh the data decide.
	YLow, YHigh float64
	// Whole asks for ticks at whole numbers of x only: severities, epochs.
	Whole bool
}

const (
	maxPoints  = 800 // of one line; more are thinned to the extremes of each stretch
	maxMarkers = 24  // more points than this are drawn without markers
	maxSeries  = 16
)

// SVG draws the chart.
func (l Line) SVG() string {
	series := make([]Series, 0, len(l.Series))
	for _, s := range l.Series[:min(len(l.Series), maxSeries)] {
		if s = s.trim(); len(s.X) > 0 {
			series = append(series, s)
		}
	}
	if len(series) == 0 {
		return empty(l.Text, "no points to draw")
	}
	c := newCanvas(l.Text, 320)
	y := 30.0
	if len(series) > 1 || series[0].Name != "" {
		y = c.legend(names(series), 40, func(i int, x, y float64) { c.sample(i, x, y, series) })
	}
	f, xt, yt := l.frame(series, y)
	f.yAxis(c, yt, l.Y)
	f.xAxis(c, xt, l.X)
	for i, s := range series {
		c.band(f, s, i)
	}
	for i, s := range series {
		c.series(f, s, i)
	}
	return c.svg()
}

func names(series []Series) []string {
	out := make([]string, len(series))
	for i, s := range series {
		out[i] = s.Name
	}
	return out
}

// frame computes the ranges and the ticks.
func (l Line) frame(series []Series, top float64) (f frame, xt, yt []float64) {
	xlo, xhi, ylo, yhi := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, s := range series {
		a, b, _ := extent(s.X)
		xlo, xhi = math.Min(xlo, a), math.Max(xhi, b)
		a, b, _ = extent(s.Y, s.Low, s.High)
		ylo, yhi = math.Min(ylo, a), math.Max(yhi, b)
	}
	if l.YLow < l.YHigh {
		ylo, yhi = l.YLow, l.YHigh
	} else {
		ylo, yhi = niceRange(ylo, yhi)
	}
	xlo, xhi = spread(xlo, xhi)
	yt = ticks(ylo, yhi, 5)
	xt = ticks(xlo, xhi, 6)
	if l.Whole && math.Floor(xhi)-math.Ceil(xlo) >= 1 {
		xt = ticks(math.Ceil(xlo), math.Floor(xhi), int(math.Min(8, math.Floor(xhi)-math.Ceil(xlo))))
	}
	return newFrame(box{top: top + 32, bottom: 320 - 46, yTicks: yt}, xlo, xhi, ylo, yhi), xt, yt
}

// sample draws the mark of a series in the legend.
func (c *canvas) sample(i int, x, y float64, series []Series) {
	c.raw(`<path d="M`, num(x), " ", num(y), `h18" class="ml s`, strconv.Itoa(i%seriesColors), `"`, dash(i), "/>\n")
	if len(series[i].X) <= maxMarkers {
		c.marker(i, x+9, y, "")
	}
}

func dash(i int) string {
	if i >= seriesColors {
		return ` stroke-dasharray="6 4"`
	}
	return ""
}

func (c *canvas) band(f frame, s Series, i int) {
	if len(s.Low) != len(s.X) || len(s.High) != len(s.X) || len(s.X) == 0 {
		return
	}
	var up, down []string
	for j := range s.X {
		if !finite(s.Low[j]) || !finite(s.High[j]) {
			continue
		}
		x := num(f.x.at(s.X[j]))
		up = append(up, x+" "+num(f.y.clamp(s.High[j])))
		down = append([]string{x + " " + num(f.y.clamp(s.Low[j]))}, down...)
	}
	if len(up) > 1 {
		c.path("M"+strings.Join(append(up, down...), "L")+"Z", "mb f"+strconv.Itoa(i%seriesColors), "")
	}
}

func (c *canvas) series(f frame, s Series, i int) {
	var d strings.Builder
	pen := "M"
	for j := range s.X {
		if !finite(s.Y[j]) {
			pen = "M"
			continue
		}
		d.WriteString(pen + num(f.x.at(s.X[j])) + " " + num(f.y.clamp(s.Y[j])))
		pen = "L"
	}
	c.path(d.String(), "ml s"+strconv.Itoa(i%seriesColors), dash(i))
	if len(s.X) > maxMarkers {
		return
	}
	for j := range s.X {
		if finite(s.Y[j]) {
			c.marker(i, f.x.at(s.X[j]), f.y.clamp(s.Y[j]), s.tip(j))
		}
	}
}

func (s Series) tip(j int) string {
	t := fmt.Sprintf("%s, %s", value(s.X[j]), value(s.Y[j]))
	if s.Name != "" {
		t = s.Name + ": " + t
	}
	if len(s.Low) == len(s.X) && len(s.High) == len(s.X) {
		t += fmt.Sprintf(" [%s, %s]", value(s.Low[j]), value(s.High[j]))
	}
	return t
}

// trim drops what cannot be drawn: points without x, a band of another length;
// and thins long lines. A series without any finite y has no points.
func (s Series) trim() Series {
	n := min(len(s.X), len(s.Y))
	banded := len(s.Low) >= n && len(s.High) >= n && n > 0 && s.Low != nil
	out := Series{Name: s.Name}
	any := false
	for j := range n {
		if !finite(s.X[j]) {
			continue
		}
		any = any || finite(s.Y[j])
		out.X, out.Y = append(out.X, s.X[j]), append(out.Y, s.Y[j])
		if banded {
			out.Low, out.High = append(out.Low, s.Low[j]), append(out.High, s.High[j])
		}
	}
	if !any {
		return Series{}
	}
	return out.thin()
}

// thin keeps of a long line the lowest and highest point of each stretch, so that
// peaks stay visible.
func (s Series) thin() Series {
	n := len(s.X)
	if n <= maxPoints {
		return s
	}
	out := Series{Name: s.Name}
	keep := func(j int) {
		out.X, out.Y = append(out.X, s.X[j]), append(out.Y, s.Y[j])
		if s.Low != nil {
			out.Low, out.High = append(out.Low, s.Low[j]), append(out.High, s.High[j])
		}
	}
	const stretches = maxPoints / 2
	for k := range stretches {
		lo, hi := k*n/stretches, (k+1)*n/stretches
		a, b := lo, lo
		for j := lo; j < hi; j++ {
			if !(s.Y[j] >= s.Y[a]) {
				a = j
			}
			if !(s.Y[j] <= s.Y[b]) {
				b = j
			}
		}
		keep(min(a, b))
		if a != b {
			keep(max(a, b))
		}
	}
	return out
}
