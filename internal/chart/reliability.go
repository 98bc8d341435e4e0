package chart

import (
	"fmt"
	"math"
)

// Bin is one bin of a reliability diagram.
type Bin struct {
	Low, High  float64 // edges, in [0, 1]
	Confidence float64 // mean confidence of the items in it
	Accuracy   float64 // share of them that is right
	N          int
}

// Reliability shows whether confidence means what it says: per bin the accuracy
// (thick line), the mean confidence (thin line) and the gap between the two
// (shaded), above the number of items in each bin. A calibrated model follows the diagonal.
type Reliability struct {
	Text
	Bins []Bin
}

const maxBins = 100

// SVG draws the chart.
func (r Reliability) SVG() string {
	bins := r.drawable()
	if len(bins) == 0 {
		return empty(r.Text, "no bins to draw")
	}
	c := newCanvas(r.Text, 420)
	c.legend([]string{"accuracy", "gap to mean confidence", "calibrated"}, 40, func(i int, x, y float64) {
		switch i {
		case 0:
			c.rect(x+4, y-5, 12, 10, "f0", ` fill-opacity=".6" rx="2"`, "")
		case 1:
			c.rect(x+4, y-5, 12, 10, "f1", ` fill-opacity=".42" rx="2"`, "")
		case 2:
			c.line(x, y, x+18, y, "md")
		}
	})
	unit := ticks(0, 1, 5)
	f := newFrame(box{top: 72, bottom: 290, yTicks: unit}, 0, 1, 0, 1)
	f.yAxis(c, unit, r.Y)
	f.line(c)
	for _, b := range bins {
		f.bin(c, b)
	}
	c.line(f.x.at(0), f.y.at(0), f.x.at(1), f.y.at(1), "md")
	r.counts(c, bins, f)
	return c.svg()
}

func (f frame) line(c *canvas) { c.line(f.left, f.bottom, f.right, f.bottom, "ma") }

func (r Reliability) drawable() []Bin {
	var out []Bin
	for _, b := range r.Bins[:min(len(r.Bins), maxBins)] {
		if b.N > 0 && finite(b.Low) && finite(b.High) && finite(b.Confidence) && finite(b.Accuracy) && b.Low < b.High && b.High > 0 && b.Low < 1 {
			out = append(out, b)
		}
	}
	return out
}

func (f frame) bin(c *canvas, b Bin) {
	x0, x1 := f.x.clamp(b.Low)+1, f.x.clamp(b.High)-1
	acc, conf := f.y.clamp(b.Accuracy), f.y.clamp(b.Confidence)
	tip := fmt.Sprintf("confidence %s to %s: accuracy %s, mean confidence %s, n %d", value(b.Low), value(b.High), value(b.Accuracy), value(b.Confidence), b.N)
	// y grows downwards: the lower of the two values is the larger y
	c.rect(x0, math.Max(acc, conf), x1-x0, f.bottom-math.Max(acc, conf), "f0", ` fill-opacity=".6" rx="1"`, tip)
	c.rect(x0, math.Min(acc, conf), x1-x0, math.Abs(acc-conf), "f1", ` fill-opacity=".42"`, tip)
	c.line(x0, conf, x1, conf, "s1")
	c.raw(`<path d="M`, num(x0), " ", num(acc), "H", num(x1), `" class="ml s0"/>`+"\n")
}

// counts draws the number of items per bin under the diagram.
func (r Reliability) counts(c *canvas, bins []Bin, f frame) {
	most := 0
	for _, b := range bins {
		most = max(most, b.N)
	}
	g := newFrame(box{top: 312, bottom: 374, left: f.left}, 0, 1, 0, float64(most))
	for _, b := range bins {
		x0, x1, y := g.x.clamp(b.Low)+1, g.x.clamp(b.High)-1, g.y.at(float64(b.N))
		c.rect(x0, y, x1-x0, g.bottom-y, "f7", ` fill-opacity=".6" rx="1"`, fmt.Sprintf("n %d", b.N))
		if label := fmt.Sprint(b.N); textWidth(label, small) <= x1-x0+6 {
			c.text((x0+x1)/2, y-4, "ms mm", "middle", label)
		}
	}
	c.text(f.left-gap, g.bottom, "ms mm", "end", "n")
	g.xAxis(c, ticks(0, 1, 5), r.X)
}
