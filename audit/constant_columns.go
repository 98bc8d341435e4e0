package audit

import (
	"fmt"
	"strings"

	"muster/data"
	"muster/record"
)

// constantColumns finds features with one value only and, among images, those of one colour.
func constantColumns(in *Input) []Finding {
	var names []string
	for _, c := range in.Features() {
		if c.Kind == data.Image {
			return blankImages(in, c)
		}
		if in.Len() > 1 && constant(c) {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return fine("every feature has more than one value")
	}
	shown := names[:min(len(names), maxPerCheck)]
	text := strings.Join(shown, ", ")
	if more := len(names) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return []Finding{{Severity: Warning, Count: len(names), Message: "one value only in " + text, Hint: "a constant column says nothing; leave it out by a schema",
		Measurement: record.Measurement{N: len(in.Features())}}}
}

// constant reports whether the values that are there are all the same.
func constant(c *data.Column) bool {
	first, found := 0.0, false
	for i, n := 0, c.Values.Shape[0]; i < n; i++ {
		if c.IsMissing(i) {
			continue
		}
		if v := c.Values.Float(i); !found {
			first, found = v, true
		} else if v != first {
			return false
		}
	}
	return true
}

// blankImages finds images whose pixels are all the same.
func blankImages(in *Input, c *data.Column) []Finding {
	var rows []int
	size, px := c.Values.Shape[1:].Elems(), c.Values.Float32s()
	for i := range in.Len() {
		img, blank := px[i*size:(i+1)*size], true
		for _, v := range img {
			blank = blank && v == img[0]
		}
		if blank {
			rows = append(rows, i)
		}
	}
	if len(rows) == 0 {
		return fine("no image is blank")
	}
	return []Finding{{Severity: Warning, Count: len(rows), Rows: in.lines(rows), Message: count(len(rows), "image") + " of one colour", Hint: "look at them; remove what shows nothing"}}
}
