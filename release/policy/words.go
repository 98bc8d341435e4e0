package policy

import (
	"math"
	"strconv"
	"strings"

	"muster/record"
)

// exact prints x so that it reads back as the same number.
func exact(x float64) string {
	if a := math.Abs(x); x == 0 || a >= 1e-4 && a < 1e15 {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}

// short prints x with about four significant digits, for people.
func short(x float64) string { return digits(x, 4) }

func digits(x float64, n int) string {
	if a := math.Abs(x); a >= math.Pow10(n-1) && a < 1e15 {
		return strconv.FormatFloat(math.Round(x), 'f', 0, 64)
	}
	if x == 0 {
		return "0"
	}
	r, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'g', n, 64), 64)
	return exact(r)
}

// near prints x with as many digits as it takes to tell it from the bounds:
// "0.9500, needs at least 0.95" explains nothing when x is 0.94999.
func near(x float64, bounds ...*float64) string {
	for n := 4; n < 17; n++ {
		s, clear := digits(x, n), true
		for _, b := range bounds {
			if b != nil && x != *b && s == exact(*b) {
				clear = false
			}
		}
		if clear {
			return s
		}
	}
	return exact(x)
}

// label names a measurement in a sentence: accuracy (class=3, test).
func label(m record.Measurement) string { return title(m.Name, m.Slice, m.Role) }

func title(name, slice, role string) string {
	var in []string
	for _, s := range []string{slice, role} {
		if s != "" {
			in = append(in, s)
		}
	}
	if len(in) == 0 {
		return name
	}
	return name + " (" + strings.Join(in, ", ") + ")"
}

// reading prints the value with its unit and interval: 0.972 [0.949, 0.985].
func reading(m record.Measurement, bounds ...*float64) string {
	if m.Value == nil {
		return "has no value: " + m.Absent
	}
	s := near(*m.Value, bounds...)
	if m.Unit != "" {
		s += " " + m.Unit
	}
	if m.Interval != nil {
		s += " [" + near(m.Interval.Low, bounds...) + ", " + near(m.Interval.High, bounds...) + "]"
	}
	return s
}

// nearest returns the candidate with the smallest edit distance to s, or "" if
// all are far (more than a third of the longer word changed, at least 1).
func nearest(s string, candidates []string) string {
	best, at := "", math.MaxInt
	if len(s) > 64 {
		return ""
	}
	for _, c := range candidates {
		if d := editDistance(s, c); d < at && d <= max(1, max(len(s), len(c))/3) {
			best, at = c, d
		}
	}
	return best
}

// editDistance is the optimal string alignment distance: insertions,
// deletions, substitutions and swaps of neighbours cost one each.
func editDistance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, prev, cur := rows[(i-1)%3], rows[i%3], rows[(i+1)%3]
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
	}
	return rows[(len(a)+1)%3][len(b)]
}
