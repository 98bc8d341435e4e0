package chart

import (
	"encoding/xml"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/*.svg")

func examples() map[string]string {
	nan := math.NaN()
	learning := Line{Text: Text{Title: "Learning curve", Desc: "Loss falls from 2.3 to 0.1 in 400 steps.", X: "step", Y: "loss (nats)"}}
	for _, name := range []string{"train", "select"} {
		s := Series{Name: name}
		for i := range 400 {
			wave := float64((i*7919)%97) / 97
			s.X = append(s.X, float64(i))
			s.Y = append(s.Y, 2.2*math.Exp(-float64(i)/60)+0.08+0.12*wave*float64(len(name)-4))
		}
		learning.Series = append(learning.Series, s)
	}
	corr := Line{Text: Text{Title: "Accuracy under corruption", Desc: "Six corruptions at five severities.", X: "severity", Y: "accuracy"}, YHigh: 1, Whole: true}
	for i, name := range []string{"gaussian noise", "shot noise", "impulse noise", "contrast", "brightness", "pixelate"} {
		s := Series{Name: name}
		for v := 0; v <= 5; v++ {
			y := 0.97 - float64(v*v)*0.006*float64(i+1)
			s.X, s.Y = append(s.X, float64(v)), append(s.Y, y)
			s.Low, s.High = append(s.Low, y-0.03), append(s.High, math.Min(1, y+0.02))
		}
		corr.Series = append(corr.Series, s)
	}
	conf := Heat{Text: Text{Title: "Confusion matrix", Desc: "Ten digits, 360 rows, 11 errors.", X: "answer", Y: "truth"}}
	words := conf
	words.Title, words.Labels = "Long <labels> & \"quotes\"", []string{"T-shirt/top", "Trouser", "a class with a very long name", "Bag"}
	for i := range 10 {
		conf.Labels = append(conf.Labels, string(rune('0'+i)))
		row := make([]int, 10)
		row[i] = 35 - i%3
		row[(i*3+1)%10] += i % 3
		conf.Counts = append(conf.Counts, row)
	}
	for i := range 4 {
		row := []int{0, 1, 3, 0}
		row[i] = 1000 - 300*i
		words.Counts = append(words.Counts, row)
	}
	rel := Reliability{Text: Text{Title: "Reliability", Desc: "Confidence is slightly too high.", X: "confidence", Y: "accuracy"}}
	for i := 3; i < 10; i++ {
		lo := float64(i) / 10
		rel.Bins = append(rel.Bins, Bin{lo, lo + 0.1, lo + 0.06, lo + 0.06 - 0.02*float64(9-i) + 0.01, 2 + i*i*i/4})
	}
	bars := Bars{Text: Text{Title: "Accuracy per class", Desc: "With 95 % intervals.", X: "accuracy"}, To: 1,
		Labels: []string{"0", "1", "2", "a long name of a class that has no end at all", "4"},
		Values: []float64{1, 0.94, 0.88, 0.97, nan}, Low: []float64{0.9, 0.82, 0.74, 0.86, nan}, High: []float64{1, 0.98, 0.95, 0.99, nan}}
	return map[string]string{
		"learning": learning.SVG(), "corruption": corr.SVG(), "confusion": conf.SVG(), "words": words.SVG(),
		"reliability": rel.SVG(), "bars": bars.SVG(),
		"negative": Bars{Text: Text{Title: "Change against the baseline", X: "difference"}, Labels: []string{"accuracy", "nll"}, Values: []float64{-0.011, 0.02}}.SVG(),
		"gaps":     Line{Text: Text{Title: "A line with a gap"}, Series: []Series{{X: []float64{1, 2, 3, 4, 5}, Y: []float64{5, 6, nan, 5, 7e6}}}}.SVG(),
		"empty":    Line{Text: Text{Title: "Nothing"}}.SVG(),
	}
}

func TestGolden(t *testing.T) {
	for name, got := range examples() {
		file := filepath.Join("testdata", name+".svg")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != got {
			t.Errorf("%s differs; look at it, then rewrite with -update", file)
		}
	}
}

// Every chart is well-formed XML, has a title, refers to nothing outside and
// draws inside its box.
func TestSelfContained(t *testing.T) {
	for name, svg := range examples() {
		checkSVG(t, name, svg)
	}
}

func checkSVG(t *testing.T, name, svg string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	var tags []string
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%s is not XML: %v", name, err)
		}
		s, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		tags = append(tags, s.Name.Local)
		for _, a := range s.Attr {
			if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
				t.Errorf("%s: %s=%q", name, a.Name.Local, a.Value)
			}
			if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "href" || a.Name.Local == "id" {
				t.Errorf("%s: attribute %s", name, a.Name.Local)
			}
		}
	}
	if !slices.Contains(tags, "title") || slices.Contains(tags, "script") || slices.Contains(tags, "image") {
		t.Errorf("%s has the tags %v", name, slices.Compact(tags))
	}
}

func TestDeterministic(t *testing.T) {
	a, b := examples(), examples()
	for name := range a {
		if a[name] != b[name] {
			t.Errorf("%s: two runs, two files", name)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		lo, hi float64
		want   string
	}{
		{0, 1, "0.0 0.2 0.4 0.6 0.8 1.0"},
		{0, 5, "0 1 2 3 4 5"},
		{-0.03, 0.02, "-0.03 -0.02 -0.01 0.00 0.01 0.02"},
		{0, 399, "0 100 200 300"},
		{0, 7e6, "0 2e6 4e6 6e6"},
		{0.00012, 0.00049, "0.0002 0.0003 0.0004"},
		{995, 1005, "996 998 1000 1002 1004"},
	} {
		var got []string
		all := ticks(c.lo, c.hi, 5)
		for _, x := range all {
			got = append(got, tickText(x, all))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("ticks(%v, %v) = %v, want %s", c.lo, c.hi, got, c.want)
		}
	}
	if lo, hi := niceRange(3, 3); !(lo < 3 && hi > 3) {
		t.Errorf("one value: %v %v", lo, hi)
	}
}

func TestThinKeepsPeaks(t *testing.T) {
	s := Series{}
	for i := range 100_000 {
		s.X, s.Y = append(s.X, float64(i)), append(s.Y, 1)
	}
	s.Y[77_777] = 9
	s.Y[55_555] = -9
	out := s.trim()
	if len(out.X) > maxPoints || slices.Max(out.Y) != 9 || slices.Min(out.Y) != -9 || !slices.IsSorted(out.X) {
		t.Errorf("%d points, %v to %v", len(out.X), slices.Min(out.Y), slices.Max(out.Y))
	}
}

// Whatever the numbers and texts: well-formed, finite, no panic.
func FuzzCharts(f *testing.F) {
	f.Add("a<b>&\"c\"\x00\xff", 1.0, 2.0, 3.0, 4, false)
	f.Add("x", math.NaN(), math.Inf(1), -1e308, -3, true)
	f.Add("", 0.0, 0.0, 0.0, 0, true)
	f.Add("]]>", 1e-320, 1e300, 1e299, 1<<40, true)
	f.Fuzz(func(t *testing.T, s string, a, b, c float64, n int, whole bool) {
		x, y := []float64{a, b, c}, []float64{c, a, b}
		text := Text{s, s, s, s}
		checkSVG(t, "line", Line{Text: text, Series: []Series{{Name: s, X: x, Y: y, Low: y, High: x}, {X: y, Y: x}}, Whole: whole}.SVG())
		checkSVG(t, "bars", Bars{Text: text, Labels: []string{s, s, s}, Values: x, Low: y, High: x}.SVG())
		checkSVG(t, "heat", Heat{Text: text, Labels: []string{s, s}, Counts: [][]int{{n, 1}, {0, n}}}.SVG())
		checkSVG(t, "reliability", Reliability{Text: text, Bins: []Bin{{a, b, c, a, n}, {b, c, a, b, 1}, {0, 1, 0.5, 0.5, n}}}.SVG())
	})
}
