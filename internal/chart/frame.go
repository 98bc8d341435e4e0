package chart

import "math"

// frame is the plot area with its axes.
type frame struct {
	x, y                     scale
	left, top, right, bottom float64
}

// box is the room for a plot before the labels take their part.
type box struct {
	top, bottom float64
	yTicks      []float64
	left        float64 // room for y labels; 0 computes it from the ticks
}

func newFrame(b box, xlo, xhi, ylo, yhi float64) frame {
	f := frame{left: b.left, top: b.top, right: width - 20, bottom: b.bottom}
	if f.left == 0 {
		for _, t := range b.yTicks {
			f.left = math.Max(f.left, textWidth(tickText(t, b.yTicks), fontSize))
		}
		f.left += gap
	}
	f.x = scale{xlo, xhi, f.left, f.right}
	f.y = scale{ylo, yhi, f.bottom, f.top}
	return f
}

// yAxis draws horizontal grid lines with their values, and the label above them.
func (f frame) yAxis(c *canvas, ticks []float64, label string) {
	for _, t := range ticks {
		y := f.y.at(t)
		c.line(f.left, y, f.right, y, "mg")
		c.text(f.left-gap, y+4.5, "", "end", tickText(t, ticks))
	}
	c.text(0, f.top-12, "ms mm", "start", label)
}

// xAxis draws the base line, ticks with their values, and the label below them.
func (f frame) xAxis(c *canvas, ticks []float64, label string) {
	c.line(f.left, f.bottom, f.right, f.bottom, "ma")
	for _, t := range ticks {
		x := f.x.at(t)
		c.line(x, f.bottom, x, f.bottom+4, "ma")
		c.text(x, f.bottom+18, "", "middle", tickText(t, ticks))
	}
	f.xLabel(c, label)
}

func (f frame) xLabel(c *canvas, label string) {
	c.text((f.left+f.right)/2, f.bottom+37, "ms mm", "middle", label)
}

// legend draws names with their marks in rows from y down and returns the y below.
func (c *canvas) legend(names []string, y float64, mark func(i int, x, y float64)) float64 {
	x := 0.0
	for i, n := range names {
		n = cut(n, maxLabel)
		w := 26 + textWidth(n, fontSize) + 14
		if x > 0 && x+w > width {
			x, y = 0, y+19
		}
		mark(i, x, y-4.5)
		c.text(x+24, y, "", "start", n)
		x += w
	}
	return y
}
