package card

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"muster/record"
)

// item is a measurement with its digest.
type item struct {
	record.Measurement
	digest record.Digest
}

// evidence is what was measured, in a canonical order without repeats, and which of
// it the documents used.
type evidence struct {
	model     record.Digest
	ancestors map[record.Digest]bool // models that went into making it, and itself
	items     []item
}

func newEvidence(in *Input) (*evidence, error) {
	ev := &evidence{model: in.Model.Subject.Digest, ancestors: map[record.Digest]bool{}}
	for _, r := range makers(in) {
		for _, o := range r.Outputs {
			ev.ancestors[o.Digest] = true
		}
	}
	seen := map[record.Digest]bool{}
	add := func(ms []record.Measurement) error {
		for _, m := range ms {
			d, err := record.DigestOf(m)
			if err != nil {
				return err
			}
			if !seen[d] && ev.ours(m) {
				ev.items = append(ev.items, item{m, d})
			}
			seen[d] = true
		}
		return nil
	}
	if err := add(in.Measurements); err != nil {
		return nil, err
	}
	for _, r := range in.Runs {
		if err := add(r.Measurements); err != nil {
			return nil, err
		}
	}
	sort.Slice(ev.items, func(i, j int) bool {
		a, b := ev.items[i], ev.items[j]
		switch {
		case a.Name != b.Name:
			return a.Name < b.Name
		case a.Slice != b.Slice:
			return natural(a.Slice, b.Slice)
		case a.Role != b.Role:
			return a.Role < b.Role
		}
		return a.digest < b.digest
	})
	return ev, nil
}

// ours says whether the first model among the subjects is the released one: what
// is measured stands before what it is compared with. Audits name no model. Of
// the models it was made from, only the training counts.
func (ev *evidence) ours(m record.Measurement) bool {
	for _, s := range m.Subjects {
		if s.Kind == "model" {
			return s.Digest == ev.model || ev.ancestors[s.Digest] && strings.HasPrefix(m.Name, "train/")
		}
	}
	return true
}

// ofModel says whether the released model itself was measured.
func (ev *evidence) ofModel(m record.Measurement) bool {
	for _, s := range m.Subjects {
		if s.Kind == "model" {
			return s.Digest == ev.model
		}
	}
	return false
}

// natural orders slices with numbers at the end by their value: class=9 before
// class=10, eps=0.05 before eps=0.1.
func natural(a, b string) bool {
	pa, na := trailing(a)
	pb, nb := trailing(b)
	if pa == pb && na != nb {
		return na < nb
	}
	return a < b
}

// trailing splits a number off the end; -1 if there is none.
func trailing(s string) (prefix string, n float64) {
	i := len(s)
	for i > 0 && (s[i-1] >= '0' && s[i-1] <= '9' || s[i-1] == '.') {
		i--
	}
	n, err := strconv.ParseFloat(s[i:], 64)
	if err != nil {
		return s, -1
	}
	return s[:i], n
}

// named returns the items of a name; a name that ends in / selects all below it.
func (ev *evidence) named(names ...string) []item {
	var out []item
	for _, n := range names {
		for _, it := range ev.items {
			if it.Name == n || strings.HasSuffix(n, "/") && strings.HasPrefix(it.Name, n) {
				out = append(out, it)
			}
		}
	}
	return out
}

// whole returns the items of the names that speak about all rows.
func (ev *evidence) whole(names ...string) []item {
	var out []item
	for _, it := range ev.named(names...) {
		if it.Slice == "" {
			out = append(out, it)
		}
	}
	return out
}

// sliced returns the items of a name whose slice begins with prefix.
func (ev *evidence) sliced(name, prefix string) []item {
	var out []item
	for _, it := range ev.named(name) {
		if strings.HasPrefix(it.Slice, prefix) {
			out = append(out, it)
		}
	}
	return out
}

// A ref points from a sentence to its record.
type ref struct {
	Name   string
	Digest record.Digest
}

func (it item) ref() ref { return ref{it.label(), it.digest} }

func (it item) label() string {
	if it.Slice == "" {
		return it.Name
	}
	return it.Name + " " + it.Slice
}

func (it item) value() string {
	if it.Measurement.Value == nil {
		return "not measured: " + it.Absent
	}
	return withUnit(readable(*it.Measurement.Value), it.Unit)
}

func (it item) interval() string {
	if it.Interval == nil {
		return "–"
	}
	return fmt.Sprintf("%s to %s (%s %%, %s)", readable(it.Interval.Low), readable(it.Interval.High),
		strconv.FormatFloat(100*it.Interval.Level, 'g', 4, 64), it.Interval.Method)
}

func (it item) role() string {
	if it.Role == "" {
		return "–"
	}
	return it.Role
}

// convention is what must be known to compute the number again: settings, seed, check.
func (it item) convention() string {
	var parts []string
	for _, k := range sortedKeys(it.Settings) {
		parts = append(parts, strings.ReplaceAll(k, "_", " ")+": "+setting(it.Settings[k]))
	}
	if it.Seed != 0 {
		parts = append(parts, "seed "+strconv.FormatUint(it.Seed, 10))
	}
	if it.Volatile {
		parts = append(parts, "timing, varies by machine")
	}
	switch it.Direction {
	case record.Higher:
		parts = append(parts, "higher is better")
	case record.Lower:
		parts = append(parts, "lower is better")
	}
	return strings.Join(parts, "; ")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// setting prints the value of a setting; lists without brackets.
func setting(v any) string {
	switch v := v.(type) {
	case float64:
		return readable(v)
	case []any:
		parts := make([]string, len(v))
		for i, x := range v {
			parts[i] = setting(x)
		}
		return strings.Join(parts, ", ")
	case []string:
		return strings.Join(v, ", ")
	case string:
		return v
	}
	return fmt.Sprint(v)
}

// readable prints about four significant digits; whole numbers exactly, with
// thousands marked.
func readable(x float64) string {
	if x == float64(int64(x)) && x < 1e15 && x > -1e15 {
		return grouped(strconv.FormatInt(int64(x), 10))
	}
	r, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 4, 64), 64)
	if r > 1e-4 && r < 1e15 || r < -1e-4 && r > -1e15 {
		s := strconv.FormatFloat(r, 'f', -1, 64)
		whole, frac, ok := strings.Cut(s, ".")
		if ok {
			return grouped(whole) + "." + frac
		}
		return grouped(whole)
	}
	return strconv.FormatFloat(r, 'g', -1, 64)
}

func grouped(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

func withUnit(s, unit string) string {
	if unit == "" {
		return s
	}
	return s + " " + unit
}
