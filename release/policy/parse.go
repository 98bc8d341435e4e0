package policy

import (
	"bytes"
	"errors"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"muster/fault"
)

// Limits of a policy file; real ones have a few kilobytes.
const (
	maxBytes   = 64 << 10
	maxRules   = 256
	maxNesting = 32 // of flow brackets: the YAML parser takes quadratic time in it
	maxText    = 4096
)

// Parse reads a policy; name is the file name for error messages. Errors are
// *fault.Error with file and line: Malformed for text that is not a policy,
// Numeric for values out of range, Mismatch for rules that cannot all hold.
func Parse(name string, b []byte) (*Policy, error) {
	if name == "" {
		name = "policy"
	}
	if len(b) > maxBytes {
		return nil, fault.New(fault.Exhausted, name, "a policy may have at most %d bytes, this one has %d", maxBytes, len(b))
	}
	body, err := document(name, b)
	if err != nil {
		return nil, err
	}
	top := &fields{file: name, line: 1, err: new(error)}
	p := &Policy{source: bytes.Clone(b)}
	p.parse(top.read(body, "the policy"))
	if *top.err != nil {
		return nil, *top.err
	}
	if err := feasible(p.rules); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Policy) parse(f *fields) {
	f.allow("version", "name", "confidence", "rules", "canary", "monitor")
	if v := f.integer("version", 0); v != 1 {
		e := fault.New(fault.Unsupported, f.at("version"), "version is %d, this program reads version 1", v)
		f.keep(e.WithHint("the first line of a policy is \"version: 1\""))
	}
	p.Name = f.required("name")
	p.Confidence = f.number("confidence", 0.95)
	if !(p.Confidence > 0.5 && p.Confidence < 1) {
		f.fail("confidence", fault.Numeric, "confidence is %s, must lie between 0.5 and 1", exact(p.Confidence))
	}
	p.Canary, p.Monitor = defaultCanary, defaultMonitor
	if f.has("canary") {
		p.Canary = parseCanary(f.read(f.value["canary"], "canary"))
	}
	if f.has("monitor") {
		p.Monitor = parseMonitor(f.read(f.value["monitor"], "monitor"))
	}
	p.parseRules(f)
}

func (p *Policy) parseRules(f *fields) {
	list, ok := f.value["rules"].(*ast.SequenceNode)
	if !ok || len(list.Values) == 0 {
		f.fail("rules", fault.Malformed, "the policy needs a list of rules: one without rules would pass everything")
		return
	}
	if len(list.Values) > maxRules {
		f.fail("rules", fault.Exhausted, "%d rules, at most %d are allowed", len(list.Values), maxRules)
		return
	}
	seen := map[string]string{}
	for _, n := range list.Values {
		r := p.parseRule(f.read(n, "rule"))
		if *f.err != nil {
			return
		}
		if at := seen[r.name]; at != "" {
			f.keep(fault.New(fault.Malformed, r.place, "a rule named %q is already at %s", r.name, at))
		}
		seen[r.name] = r.place
		p.rules = append(p.rules, r)
	}
}

func (p *Policy) parseRule(f *fields) rule {
	r := rule{name: f.required("name"), kind: f.required("kind"), place: placeOf(f.file, f.line)}
	if len(r.name) > maxText {
		f.fail("name", fault.Exhausted, "name is longer than %d bytes", maxText)
	}
	r.needsBaseline = f.oneOf("when", "", "baseline") == "baseline"
	f.oneOf("kind", "", kindNames()...)
	for _, k := range kinds {
		if k.name == r.kind && *f.err == nil {
			f.allow(append(headerFields[:len(headerFields):len(headerFields)], k.fields...)...)
			r.decider = k.parse(f, p)
		}
	}
	return r
}

// document parses the text into the body of its only document. What policies
// do not need and what makes YAML dangerous (anchors, aliases, tags, merge
// keys, several documents) is refused.
func document(name string, b []byte) (body ast.Node, err error) {
	// The parser is a library that is fed untrusted text: a defect in it must
	// become an error of this file, not the end of the process.
	defer func() {
		if r := recover(); r != nil {
			body, err = nil, fault.New(fault.Malformed, name, "not YAML that can be read: %v", r)
		}
	}()
	if line := tooNested(b); line > 0 {
		return nil, fault.New(fault.Exhausted, placeOf(name, line), "brackets nested deeper than %d", maxNesting)
	}
	file, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, syntaxError(name, err)
	}
	if countDocs(file) == 0 {
		return nil, fault.New(fault.Malformed, name, "the file has no content").WithHint("the first line of a policy is \"version: 1\"")
	}
	if len(file.Docs) != 1 {
		return nil, fault.New(fault.Malformed, name, "a policy is one YAML document, this file has %d", countDocs(file))
	}
	s := &screen{name: name}
	ast.Walk(s, file.Docs[0].Body)
	if s.err != nil {
		return nil, s.err
	}
	return file.Docs[0].Body, nil
}

func countDocs(file *ast.File) int {
	n := 0
	for _, d := range file.Docs {
		if d.Body != nil {
			n++
		}
	}
	return n
}

func syntaxError(name string, err error) error {
	var e yaml.Error
	if errors.As(err, &e) && e.GetToken() != nil && e.GetToken().Position != nil {
		return fault.New(fault.Malformed, placeOf(name, e.GetToken().Position.Line), "%s", e.GetMessage())
	}
	return fault.New(fault.Malformed, name, "%w", err)
}

// tooNested returns the line where brackets nest too deeply, or 0.
func tooNested(b []byte) int {
	depth, line := 0, 1
	for _, c := range b {
		switch c {
		case '[', '{':
			if depth++; depth > maxNesting {
				return line
			}
		case ']', '}':
			depth = max(depth-1, 0)
		case '\n':
			line++
		}
	}
	return 0
}

// screen walks a document and keeps the first thing that policies may not have.
type screen struct {
	name string
	err  error
}

// Visit implements ast.Visitor.
func (s *screen) Visit(n ast.Node) ast.Visitor {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode, *ast.DirectiveNode:
		if s.err == nil {
			e := fault.New(fault.Unsupported, placeOf(s.name, lineOf(n)), "policies have no %s", typeName(n))
			s.err = e.WithHint("write the value out; quote texts that begin with & * or !")
		}
	}
	if s.err != nil {
		return nil
	}
	return s
}
