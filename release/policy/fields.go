package policy

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"muster/fault"
)

// fields reads one YAML mapping, strictly: a field that nobody knows, a value
// of another type or a missing required field is an error with its line. The
// library's own decoder is not used for values because it turns 1.5 into the
// integer 1 and "0.9" into a number.
type fields struct {
	file  string
	line  int
	what  string // "policy", "rule", "canary": for messages
	keys  []string
	value map[string]ast.Node
	err   *error // the first error of the whole document
}

// read opens node as a mapping.
func (f *fields) read(node ast.Node, what string) *fields {
	g := &fields{file: f.file, what: what, value: map[string]ast.Node{}, err: f.err}
	if node == nil {
		g.line = f.line
		g.failLine(f.line, fault.Malformed, "%s is empty", what)
		return g
	}
	g.line = lineOf(node)
	m, ok := node.(ast.MapNode)
	if !ok {
		g.failLine(g.line, fault.Malformed, "%s must be a mapping (name: value), not a %s", what, typeName(node))
		return g
	}
	it := m.MapRange()
	for it.Next() {
		key, ok := it.Key().(*ast.StringNode)
		if !ok {
			g.failLine(lineOf(it.Key()), fault.Malformed, "a field name of %s must be a plain word", what)
			return g
		}
		g.keys = append(g.keys, key.Value)
		g.value[key.Value] = it.Value()
	}
	return g
}

// allow refuses every field that is not in names.
func (f *fields) allow(names ...string) {
	for _, k := range f.keys {
		if slices.Contains(names, k) {
			continue
		}
		e := fault.New(fault.Malformed, f.at(k), "%s has no field %q", f.what, k)
		if s := nearest(k, names); s != "" {
			_ = e.WithHint("did you mean %q? The fields are %s", s, strings.Join(names, ", "))
		} else {
			_ = e.WithHint("the fields are %s", strings.Join(names, ", "))
		}
		f.keep(e)
	}
}

func (f *fields) has(name string) bool { return f.value[name] != nil }

func (f *fields) text(name, def string) string {
	switch n := f.value[name].(type) {
	case nil:
		return def
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	default:
		f.fail(name, fault.Malformed, "%s must be a text, not a %s", name, typeName(n))
		return def
	}
}

// required is text that must be there and not be empty.
func (f *fields) required(name string) string {
	s := f.text(name, "")
	if strings.TrimSpace(s) == "" {
		f.fail(name, fault.Malformed, "%s needs the field %q", f.what, name)
	}
	return s
}

func (f *fields) oneOf(name, def string, allowed ...string) string {
	s := f.text(name, def)
	if !slices.Contains(allowed, s) && f.has(name) {
		e := fault.New(fault.Malformed, f.at(name), "%s is %q, must be one of %s", name, s, strings.Join(allowed, ", "))
		if n := nearest(s, allowed); n != "" {
			_ = e.WithHint("did you mean %q?", n)
		}
		f.keep(e)
	}
	return s
}

func (f *fields) number(name string, def float64) float64 {
	n := f.value[name]
	if n == nil {
		return def
	}
	var x float64
	switch n := n.(type) {
	case *ast.FloatNode:
		x = n.Value
	case *ast.IntegerNode:
		x = integerValue(n)
	default:
		f.fail(name, fault.Malformed, "%s must be a finite number, not a %s", name, typeName(n))
		return def
	}
	if math.IsNaN(x) || math.IsInf(x, 0) {
		f.fail(name, fault.Numeric, "%s must be a finite number", name)
		return def
	}
	return x
}

// optional is number for fields where absence matters.
func (f *fields) optional(name string) *float64 {
	if !f.has(name) {
		return nil
	}
	x := f.number(name, 0)
	return &x
}

func (f *fields) integer(name string, def int) int {
	n := f.value[name]
	if n == nil {
		return def
	}
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		f.fail(name, fault.Malformed, "%s must be a whole number, not a %s", name, typeName(n))
		return def
	}
	x := integerValue(i)
	if math.Abs(x) > maxPairs {
		f.fail(name, fault.Numeric, "%s is %s, beyond the limit of %d", name, exact(x), maxPairs)
		return def
	}
	return int(x)
}

// integerValue reads the literal: the library yields int64 or uint64.
func integerValue(n *ast.IntegerNode) float64 {
	switch v := n.Value.(type) {
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	}
	return math.NaN()
}

func (f *fields) boolean(name string, def bool) bool {
	n := f.value[name]
	if n == nil {
		return def
	}
	b, ok := n.(*ast.BoolNode)
	if !ok {
		f.fail(name, fault.Malformed, "%s must be true or false", name)
		return def
	}
	return b.Value
}

// alpha checks an error rate: in (0, 0.5), because a rate of a half is a coin.
func (f *fields) alpha(name string, x float64) {
	if !(x > 0 && x < 0.5) {
		f.fail(name, fault.Numeric, "%s is %s, must lie between 0 and 0.5", name, exact(x))
	}
}

// margin checks a tolerated loss of a ratio: in (0, 1).
func (f *fields) margin(name string, x float64) {
	if !(x > 0 && x < 1) {
		f.fail(name, fault.Numeric, "%s is %s, must lie between 0 and 1: without a margin nothing can be shown to be no worse", name, exact(x))
	}
}

func (f *fields) within(name string, x, lo, hi int) {
	if x < lo || x > hi {
		f.fail(name, fault.Numeric, "%s is %d, must lie between %d and %d", name, x, lo, hi)
	}
}

// at is the place of a field: file and line.
func (f *fields) at(name string) string {
	line := f.line
	if n := f.value[name]; n != nil {
		line = lineOf(n)
	}
	return placeOf(f.file, line)
}

func (f *fields) fail(name string, c fault.Class, format string, args ...any) {
	f.keep(fault.New(c, f.at(name), format, args...))
}

func (f *fields) failLine(line int, c fault.Class, format string, args ...any) {
	f.keep(fault.New(c, placeOf(f.file, line), format, args...))
}

func (f *fields) keep(e error) {
	if *f.err == nil {
		*f.err = e
	}
}

func placeOf(file string, line int) string { return file + ":" + strconv.Itoa(line) }

func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 0
	}
	return n.GetToken().Position.Line
}

func typeName(n ast.Node) string {
	switch n.(type) {
	case ast.MapNode:
		return "mapping"
	case *ast.SequenceNode:
		return "list"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode:
		return "number"
	case *ast.FloatNode:
		return "number with a point"
	case *ast.InfinityNode, *ast.NanNode:
		return "number without a finite value"
	case *ast.BoolNode:
		return "true or false"
	case *ast.NullNode:
		return "nothing"
	}
	return fmt.Sprintf("%s (not used in policies)", strings.ToLower(n.Type().String()))
}
