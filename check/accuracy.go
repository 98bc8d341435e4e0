package check

import (
	"muster/record"
	"muster/stat"
)

// accuracy is the share of rows whose most probable class is the label, over all
// rows and per class (recall), each with the Wilson 95% interval.
type accuracy struct {
	classes []string
	right   []int // by label
	n       []int
}

func newAccuracy(classes []string) Metric {
	return &accuracy{classes, make([]int, len(classes)), make([]int, len(classes))}
}

func (a *accuracy) Add(p []float64, label int) {
	a.n[label]++
	if stat.ArgMax(p) == label {
		a.right[label]++
	}
}

func (a *accuracy) Merge(other Metric) {
	o := other.(*accuracy)
	for i := range a.n {
		a.n[i] += o.n[i]
		a.right[i] += o.right[i]
	}
}

func (a *accuracy) Result() []record.Measurement {
	right, n := 0, 0
	for i := range a.n {
		right, n = right+a.right[i], n+a.n[i]
	}
	out := []record.Measurement{Proportion("accuracy", right, n, record.Higher)}
	for i, c := range a.classes {
		m := Proportion("accuracy", a.right[i], a.n[i], record.Higher)
		m.Slice = "class=" + c
		out = append(out, m)
	}
	return out
}

// Proportion is k of n with the Wilson 95% interval (Wilson, JASA 22, 1927).
func Proportion(name string, k, n int, d record.Direction) record.Measurement {
	if n == 0 {
		return absent(name, "there are no rows", d)
	}
	return record.Measurement{Name: name, Value: record.Val(float64(k) / float64(n)), N: n, Direction: d,
		Interval: interval(stat.Wilson(k, n, 0.95))}
}

// confusion counts rows by label and predicted class; its value is the number of rows off the diagonal.
type confusion struct {
	classes []string
	counts  [][]int // [label][predicted]
}

func newConfusion(classes []string) Metric {
	c := &confusion{classes: classes, counts: make([][]int, len(classes))}
	for i := range c.counts {
		c.counts[i] = make([]int, len(classes))
	}
	return c
}

func (c *confusion) Add(p []float64, label int) { c.counts[label][stat.ArgMax(p)]++ }

func (c *confusion) Merge(other Metric) {
	for i, row := range other.(*confusion).counts {
		for j, n := range row {
			c.counts[i][j] += n
		}
	}
}

func (c *confusion) Result() []record.Measurement {
	off, n := 0, 0
	for i, row := range c.counts {
		for j, k := range row {
			n += k
			if i != j {
				off += k
			}
		}
	}
	if n == 0 {
		return []record.Measurement{absent("confusion", "there are no rows", record.Lower)}
	}
	return []record.Measurement{{Name: "confusion", Value: record.Val(float64(off)), N: n, Unit: "rows", Direction: record.Lower,
		Detail: detail(map[string]any{"labels": c.classes, "counts": c.counts})}}
}
