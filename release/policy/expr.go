package policy

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/goccy/go-yaml/ast"

	"muster/fault"
	"muster/record"
)

// expr is a CEL expression over measurements of the candidate:
//
//	value("name"), value("name", "slice")   the value
//	low("name"), high("name")               the ends of its interval
//	n("name")                               the items behind it (whole number)
//	has("name")                             whether it exists and has a value
//
// each with an optional slice. It must be true to pass. What is missing makes
// the answer "not enough evidence", unless the expression does not need it:
// !has("a") || value("a") > 0.5.
type expr struct {
	source  string
	role    string
	program cel.Program
}

var exprKind = kind{name: "expr", fields: []string{"expr", "role"}, parse: parseExpr}

// Limits on expressions: nodes, nesting and evaluation steps.
const (
	maxExprDepth = 32
	maxExprNodes = 1000
	maxExprCost  = 20_000
	maxRegexSize = 1000
)

// lookups are the functions over measurements and what they return.
var lookups = []struct {
	name   string
	result *cel.Type
}{
	{"high", cel.DoubleType}, {"low", cel.DoubleType}, {measured, cel.BoolType}, {"n", cel.IntType}, {"value", cel.DoubleType},
}

// measured is the function behind has(...). The checker reserves the name has for
// CEL's macro on fields, so ours is a macro too, and stands in its place.
const measured = "measured"

func hasMacro(args int) cel.Macro {
	return cel.GlobalMacro("has", args, func(f cel.MacroExprFactory, _ celast.Expr, args []celast.Expr) (celast.Expr, *cel.Error) {
		return f.NewCall(measured, args...), nil
	})
}

// environment is built once: it costs more than all evaluations of a policy.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.ClearMacros(),
		cel.Macros(hasMacro(1), hasMacro(2), cel.AllMacro, cel.ExistsMacro, cel.ExistsOneMacro),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(maxText),
		cel.ParserRecursionLimit(maxExprDepth),
		cel.ExpressionNestingDepthLimit(maxExprDepth),
		cel.ExpressionNodeLimit(maxExprNodes),
		cel.RegexProgramSizeLimit(maxRegexSize),
	}
	for _, l := range lookups {
		options = append(options, cel.Function(l.name,
			cel.Overload(l.name+"_name", []*cel.Type{cel.StringType}, l.result, cel.LateFunctionBinding()),
			cel.Overload(l.name+"_name_slice", []*cel.Type{cel.StringType, cel.StringType}, l.result, cel.LateFunctionBinding())))
	}
	return cel.NewEnv(options...)
})

func parseExpr(f *fields, _ *Policy) decider {
	r := &expr{source: strings.TrimSpace(f.required("expr")), role: f.text("role", "")}
	if *f.err != nil {
		return r
	}
	env, err := environment()
	if err != nil {
		panic("policy: the CEL environment cannot be built: " + err.Error())
	}
	tree, issues := env.Compile(r.source)
	if issues.Err() != nil {
		f.celError(issues)
		return r
	}
	if tree.OutputType() != cel.BoolType {
		f.fail("expr", fault.Malformed, "the expression gives a %s, it must be true or false", tree.OutputType())
		return r
	}
	r.program, err = env.Program(tree, cel.CostLimit(maxExprCost), cel.EvalOptions(cel.OptTrackCost))
	if err != nil {
		f.fail("expr", fault.Malformed, "the expression cannot be used: %v", err)
	}
	return r
}

// celError reports the first issue with its line in the file.
func (f *fields) celError(issues *cel.Issues) {
	line := lineOf(f.value["expr"])
	if len(issues.Errors()) == 0 {
		f.fail("expr", fault.Malformed, "%v", issues.Err())
		return
	}
	e := issues.Errors()[0]
	offset := max(0, e.Location.Line()-1)
	if _, block := f.value["expr"].(*ast.LiteralNode); block {
		offset++ // the text of a block begins on the line after its | or >
	}
	msg, _, _ := strings.Cut(e.Message, "\n")
	msg, _, _ = strings.Cut(msg, " expecting {") // the whole grammar helps nobody
	w := fault.New(fault.Malformed, placeOf(f.file, line+offset), "expr, column %d: %s", e.Location.Column()+1, msg)
	if strings.Contains(msg, "no matching overload") && strings.Contains(msg, "double, int") {
		_ = w.WithHint("write whole numbers with a point in arithmetic: 1.0")
	} else {
		_ = w.WithHint("the functions are value, low, high, n, has: value(\"accuracy\") >= 0.9")
	}
	f.keep(w)
}

func (r *expr) decide(ev *evidence) finding {
	l := &lookup{ev: ev, role: r.role}
	vars, err := cel.FunctionVars(map[string]any{}, l.functions())
	if err != nil {
		return finding{outcome: record.Unsure, reason: "the expression could not be evaluated: " + err.Error()}
	}
	out, _, err := r.program.Eval(vars)
	f := finding{outcome: record.Unsure, used: l.used, mdeWhy: "an expression has no single effect"}
	switch {
	case err == nil && out == types.True:
		f.outcome, f.reason = record.Pass, "holds"
	case err == nil && out == types.False:
		f.outcome, f.reason = record.Fail, "does not hold"
	case len(l.missing) > 0:
		f.reason = "cannot be decided: " + strings.Join(l.missing[:min(3, len(l.missing))], "; ")
	case err != nil:
		f.reason = "could not be evaluated: " + err.Error()
	default:
		f.reason = fmt.Sprintf("gave %v, neither true nor false", out)
	}
	f.reason = strings.Join(strings.Fields(r.source), " ") + " " + f.reason + l.readings()
	return f
}

// A lookup answers the functions of one evaluation and remembers what was read.
type lookup struct {
	ev      *evidence
	role    string
	used    []record.Measurement
	missing []string
}

func (l *lookup) functions() map[string]cel.LateBoundFunction {
	out := map[string]cel.LateBoundFunction{}
	for _, f := range lookups {
		name := f.name
		out[name] = func(_ string, args ...ref.Val) ref.Val { return l.call(name, args) }
	}
	return out
}

func (l *lookup) call(function string, args []ref.Val) ref.Val {
	s := selector{role: l.role}
	for i, a := range args {
		text, ok := a.(types.String)
		switch {
		case !ok:
			return types.NewErr("%s takes texts", function)
		case i == 0:
			s.measurement = string(text)
		default:
			s.slice = strings.TrimSuffix(string(text), "*")
		}
	}
	m, why := l.one(s)
	if function == measured {
		return types.Bool(why == "")
	}
	if why == "" && function != "value" && function != "n" {
		why = l.interval(m)
	}
	if why != "" {
		if !slices.Contains(l.missing, why) {
			l.missing = append(l.missing, why)
		}
		return types.NewErr("%s", why)
	}
	switch function {
	case "low":
		return types.Double(m.Interval.Low)
	case "high":
		return types.Double(m.Interval.High)
	case "n":
		return types.Int(m.N)
	}
	return types.Double(*m.Value)
}

// one returns the only measurement that s selects, or why there is no such one.
func (l *lookup) one(s selector) (record.Measurement, string) {
	found := l.ev.find(s)
	if len(found) == 0 {
		return record.Measurement{}, l.ev.missing(s)
	}
	for _, m := range found {
		if !slices.ContainsFunc(l.used, func(u record.Measurement) bool { return same(u, m) }) {
			l.used = append(l.used, m)
		}
	}
	if len(found) > 1 {
		return found[0], fmt.Sprintf("%d measurements are called %s, and an expression cannot choose", len(found), s)
	}
	if found[0].Value == nil {
		return found[0], label(found[0]) + " " + reading(found[0])
	}
	return found[0], ""
}

func (l *lookup) interval(m record.Measurement) string {
	if m.Interval == nil {
		return label(m) + " has no interval"
	}
	if why := l.ev.trusted(m); why != "" {
		return label(m) + ": " + why
	}
	return ""
}

// readings lists the values behind the answer: " (accuracy (test) 0.97 [0.95, 0.98])".
func (l *lookup) readings() string {
	var parts []string
	for _, m := range l.used[:min(4, len(l.used))] {
		if m.Value != nil {
			parts = append(parts, label(m)+" "+reading(m))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}
