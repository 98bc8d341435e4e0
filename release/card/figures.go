package card

import (
	"encoding/json"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"

	"muster/internal/chart"
)

// Figures are drawn from the details of measurements. Details come from files:
// what does not have the expected form gives no figure, never a wrong one.

func reliability(it item) *figure {
	var d struct {
		Bins []struct {
			Low, High, Confidence, Accuracy float64
			N                               int
		}
	}
	if json.Unmarshal(it.Detail, &d) != nil || len(d.Bins) == 0 {
		return nil
	}
	c := chart.Reliability{Text: chart.Text{Title: title("Reliability", it), X: "confidence", Y: "accuracy",
		Desc: fmt.Sprintf("Accuracy against confidence in %d bins; the expected calibration error is %s.", len(d.Bins), it.value())}}
	t := &table{Head: []string{"confidence", "mean confidence", "accuracy", "n"}, Plain: true}
	for _, b := range d.Bins {
		c.Bins = append(c.Bins, chart.Bin(b))
		conf, acc := "–", "–"
		if b.N > 0 {
			conf, acc = readable(b.Confidence), readable(b.Accuracy)
		}
		t.Rows = append(t.Rows, []cell{{Text: readable(b.Low) + " to " + readable(b.High), Class: "num"},
			{Text: conf, Class: "num"}, {Text: acc, Class: "num"}, {Text: readable(float64(b.N)), Class: "num"}})
	}
	return &figure{SVG: c.SVG(), Caption: "Thick lines are accuracy, thin lines mean confidence, the shaded gap is what separates them.", Refs: []ref{it.ref()}, Numbers: t}
}

// title adds the slice, if the measurement speaks about one.
func title(what string, it item) string {
	if it.Slice == "" {
		return what
	}
	return what + ", " + it.Slice
}

func confusionMatrix(it item) *figure {
	var d struct {
		Labels []string
		Counts [][]int
	}
	if json.Unmarshal(it.Detail, &d) != nil || len(d.Labels) == 0 || len(d.Counts) != len(d.Labels) {
		return nil
	}
	c := chart.Heat{Text: chart.Text{Title: title("Confusion matrix", it), X: "answer", Y: "truth",
		Desc: fmt.Sprintf("%s of %d rows are off the diagonal.", it.value(), it.N)}, Labels: d.Labels, Counts: d.Counts}
	f := &figure{SVG: c.SVG(), Caption: "Rows are the truth, columns the answer; shading by share of the row.", Refs: []ref{it.ref()}}
	if len(d.Labels) > 30 {
		return f // the record has the numbers
	}
	t := &table{Head: append([]string{"truth \\ answer"}, d.Labels...), Plain: true}
	for i, row := range d.Counts {
		if len(row) != len(d.Labels) {
			return nil
		}
		cells := []cell{{Text: d.Labels[i]}}
		for _, k := range row {
			cells = append(cells, cell{Text: strconv.Itoa(k), Class: "num"})
		}
		t.Rows = append(t.Rows, cells)
	}
	f.Numbers = t
	return f
}

func perClass(items []item) *figure {
	if len(items) == 0 {
		return nil
	}
	c := chart.Bars{Text: chart.Text{Title: "Accuracy per class", X: "accuracy (recall of the class)", Desc: fmt.Sprintf("%d classes.", len(items))}, To: 1}
	f := &figure{Caption: "Whiskers are the intervals of the table.", Numbers: numbers(items)}
	for _, it := range items {
		v, lo, hi := math.NaN(), math.NaN(), math.NaN()
		if it.Measurement.Value != nil {
			v = *it.Measurement.Value
		}
		if it.Interval != nil {
			lo, hi = it.Interval.Low, it.Interval.High
		}
		c.Labels = append(c.Labels, strings.TrimPrefix(it.Slice, "class="))
		c.Values, c.Low, c.High = append(c.Values, v), append(c.Low, lo), append(c.High, hi)
	}
	f.SVG = c.SVG()
	return f.cite(items)
}

// corruptionCurves draws accuracy by severity, one line per corruption; severity 0 is
// the accuracy on the clean rows.
func corruptionCurves(items, clean []item) *figure {
	lines := map[string]*chart.Series{}
	var order []string
	for _, it := range items {
		name, sev, ok := strings.Cut(strings.TrimPrefix(it.Slice, "corruption="), "/")
		x, err := strconv.ParseFloat(sev, 64)
		if !ok || err != nil || it.Measurement.Value == nil {
			continue
		}
		s := lines[name]
		if s == nil {
			s = &chart.Series{Name: name}
			lines[name] = s
			order = append(order, name)
			if len(clean) > 0 && clean[0].Measurement.Value != nil {
				appendPoint(s, 0, clean[0])
			}
		}
		appendPoint(s, x, it)
	}
	if len(order) == 0 {
		return nil
	}
	sort.Strings(order)
	c := chart.Line{Text: chart.Text{Title: "Accuracy under corruption", X: "severity (0 is clean)", Y: "accuracy", Desc: fmt.Sprintf("%d corruptions.", len(order))}, YHigh: 1, Whole: true}
	for _, n := range order {
		c.Series = append(c.Series, *lines[n])
	}
	return (&figure{SVG: c.SVG(), Caption: "Bands are the intervals of the table.", Numbers: numbers(items)}).cite(items)
}

func appendPoint(s *chart.Series, x float64, it item) {
	lo, hi := math.NaN(), math.NaN()
	if it.Interval != nil {
		lo, hi = it.Interval.Low, it.Interval.High
	}
	s.X, s.Y = append(s.X, x), append(s.Y, *it.Measurement.Value)
	s.Low, s.High = append(s.Low, lo), append(s.High, hi)
}

// attackCurve draws accuracy by attack budget.
func attackCurve(items, clean []item) *figure {
	s := chart.Series{}
	if len(clean) > 0 && clean[0].Measurement.Value != nil {
		appendPoint(&s, 0, clean[0])
	}
	type point struct {
		eps float64
		it  item
	}
	var points []point
	for _, it := range items {
		eps, err := strconv.ParseFloat(strings.TrimPrefix(it.Slice, "eps="), 64)
		if err == nil && it.Measurement.Value != nil {
			points = append(points, point{eps, it})
		}
	}
	if len(points) < 2 {
		return nil // the table says it all
	}
	sort.Slice(points, func(i, j int) bool { return points[i].eps < points[j].eps })
	for _, p := range points {
		appendPoint(&s, p.eps, p.it)
	}
	c := chart.Line{Text: chart.Text{Title: "Accuracy under attack", X: "budget (share of the pixel range, largest change of a pixel)", Y: "accuracy",
		Desc: "White-box attack by projected gradient descent."}, YHigh: 1, Series: []chart.Series{s}}
	return (&figure{SVG: c.SVG(), Caption: "An attack that fails proves little: stronger ones may exist.", Numbers: numbers(items)}).cite(items)
}

// cite adds the records behind a figure: all of few; of many the first, since the
// table of numbers beside the figure names each.
func (f *figure) cite(items []item) *figure {
	if len(items) > 4 {
		f.Caption += fmt.Sprintf(" Of %d records, each named under its number, the first is", len(items))
		items = items[:1]
	}
	for _, it := range items {
		f.Refs = append(f.Refs, it.ref())
	}
	return f
}

func learningCurve(it item) *figure {
	var d struct {
		Points []struct {
			Epoch, Step    int
			Loss           float64
			SelectAccuracy *float64 `json:"select_accuracy"`
		}
	}
	if json.Unmarshal(it.Detail, &d) != nil || len(d.Points) < 2 {
		return nil
	}
	loss, acc := chart.Series{}, chart.Series{Name: "accuracy, select role"}
	for _, p := range d.Points {
		loss.X, loss.Y = append(loss.X, float64(p.Step)), append(loss.Y, p.Loss)
		if p.SelectAccuracy != nil {
			acc.X, acc.Y = append(acc.X, float64(p.Step)), append(acc.Y, *p.SelectAccuracy)
		}
	}
	c := chart.Line{Text: chart.Text{Title: "Learning curve", X: "step", Y: "training loss (" + or(it.Unit, "nats") + ")",
		Desc: fmt.Sprintf("From %s to %s in %d steps.", readable(loss.Y[0]), readable(loss.Y[len(loss.Y)-1]), d.Points[len(d.Points)-1].Step)}, Series: []chart.Series{loss}}
	caption := "Mean loss per epoch."
	if n := len(acc.Y); n > 0 {
		caption += fmt.Sprintf(" Accuracy on the select role rose from %s to %s.", readable(acc.Y[0]), readable(acc.Y[n-1]))
		if acc.Y[n-1] <= acc.Y[0] {
			caption = fmt.Sprintf("Mean loss per epoch. Accuracy on the select role went from %s to %s.", readable(acc.Y[0]), readable(acc.Y[n-1]))
		}
	}
	return &figure{SVG: c.SVG(), Caption: caption, Refs: []ref{it.ref()}}
}
