// Package house tests the rules of the house: layers, documentation, tables and words.
package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// layer is the layer of every package. A package imports lower layers, and those of its own
// layer that same allows. What is not here fails the test.
var layer = map[string]int{
	"fault": 0, "tensor": 0, "onnx": 0, "record": 0, "rng": 0, "stat": 0,
	"internal/cpu": 0, "internal/team": 0, "internal/kernel": 0, "internal/detmath": 0, "internal/chart": 0, "internal/atomicfile": 0, "recipes": 0,
	"graph": 1,
	"op":    2,
	"data":  3, "nn": 3, "optim": 3, "grad": 3, "pass": 3, "exec": 3, "internal/feed": 3,
	"internal/conformance": 4, "train": 4, "compress": 4, "check": 4, "attack": 4, "audit": 4,
	"monitor": 5, "release": 5, "release/store": 5, "release/sign": 5, "release/policy": 5, "release/card": 5,
	"serve":      6,
	"cmd/muster": 7, "bench": 7,
}

// same lists the imports within a layer, each with a reason.
var same = map[string][]string{
	"tensor": {"fault"}, "onnx": {"fault", "tensor"}, "record": {"fault"}, // errors are everywhere
	"rng": {"fault", "internal/detmath"}, "stat": {"fault", "rng", "internal/detmath"},
	"internal/cpu": {"fault"}, "internal/kernel": {"internal/cpu", "internal/team", "internal/detmath"}, "internal/team": {"internal/cpu"},
	"internal/detmath": {}, "internal/chart": {"fault"}, "internal/atomicfile": {"fault"},
	"exec":          {"pass"},                          // a plan optimises what it runs
	"check":         {"attack"},                        // robust accuracy is measured by attacks
	"release":       {"release/store", "release/sign"}, // a release is kept and signed
	"release/store": {}, "release/sign": {}, "release/policy": {}, "release/card": {}, "monitor": {},
}

// files calls f for every Go file of the project.
func files(t *testing.T, mode parser.Mode, f func(pkg, path string, file *ast.File, fset *token.FileSet)) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(fset, path, nil, mode)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, filepath.Dir(path))
		f(filepath.ToSlash(rel), path, file, fset)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLayers(t *testing.T) {
	files(t, parser.ImportsOnly, func(pkg, path string, file *ast.File, _ *token.FileSet) {
		if pkg == "." || pkg == "internal/house" || strings.HasPrefix(pkg, "internal/kernel/gen") || strings.HasSuffix(path, "_test.go") {
			return
		}
		have, ok := layer[pkg]
		if !ok {
			t.Errorf("package %s has no layer: add it to the table here and to ARCHITECTURE.md", pkg)
			return
		}
		for _, im := range file.Imports {
			p, _ := strconv.Unquote(im.Path.Value)
			dep, own := strings.CutPrefix(p, "muster/")
			if !own || dep == pkg {
				continue
			}
			if l := layer[dep]; l > have || l == have && !contains(same[pkg], dep) {
				t.Errorf("%s (layer %d) imports %s (layer %d): %s", pkg, have, dep, l, path)
			}
		}
	})
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

func TestExportedIdentifiersAreDocumented(t *testing.T) {
	hasDoc := map[string]bool{}
	pkgs := map[string]string{}
	files(t, parser.ParseComments, func(pkg, path string, file *ast.File, fset *token.FileSet) {
		if strings.HasSuffix(path, "_test.go") || pkg == "." {
			return
		}
		pkgs[pkg] = path
		hasDoc[pkg] = hasDoc[pkg] || file.Doc != nil
		at := func(n ast.Node, name string) {
			t.Errorf("%s: exported %s has no comment", fset.Position(n.Pos()), name)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
					at(d, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					for _, name := range undocumented(d, s) {
						at(s, name)
					}
				}
			}
		}
	})
	for pkg, path := range pkgs {
		if !hasDoc[pkg] {
			t.Errorf("package %s (%s) has no package comment", pkg, path)
		}
	}
}

// exportedReceiver reports whether a method belongs to an exported type; methods
// that only satisfy a well-known interface need no words.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	switch d.Name.Name {
	case "Error", "String", "Unwrap", "Len", "Less", "Swap", "MarshalJSON", "UnmarshalJSON", "Write", "Read", "Close":
		return false
	}
	x := d.Recv.List[0].Type
	if s, ok := x.(*ast.StarExpr); ok {
		x = s.X
	}
	if g, ok := x.(*ast.IndexExpr); ok {
		x = g.X
	}
	id, ok := x.(*ast.Ident)
	return ok && id.IsExported()
}

func undocumented(d *ast.GenDecl, s ast.Spec) (names []string) {
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
			names = append(names, s.Name.Name)
		}
	case *ast.ValueSpec:
		for _, n := range s.Names {
			if n.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
				names = append(names, n.Name)
			}
		}
	}
	return names
}

// TestTables checks that every file that adds a row stands in its table.
func TestTables(t *testing.T) {
	for _, c := range []struct {
		dir, table string
		row        *regexp.Regexp // what a file that belongs in the table defines; group 1 is the name in the table
	}{
		{"op", "table.go", regexp.MustCompile(`(?m)^var (\w+) += +Op\{`)},
		{"check", "metric.go", regexp.MustCompile(`(?m)^func (new[A-Z]\w+)\(\[?`)},
		{"cmd/muster", "main.go", regexp.MustCompile(`(?m)^func (\w+Verb)\(a \*app\)`)},
		{"pass", "list.go", regexp.MustCompile(`(?m)^func ([a-z]\w*)\(g \*graph\.Graph\) int`)},
		{"audit", "audit.go", regexp.MustCompile(`(?m)^func (\w+)\(in \*Input\) \[\]Finding`)},
	} {
		tab, err := os.ReadFile(filepath.Join(root, c.dir, c.table))
		if err != nil {
			t.Errorf("%s: %v", c.dir, err)
			continue
		}
		all, _ := filepath.Glob(filepath.Join(root, c.dir, "*.go"))
		for _, f := range all {
			src, err := os.ReadFile(f)
			if err != nil || strings.HasSuffix(f, "_test.go") {
				continue
			}
			for _, m := range c.row.FindAllStringSubmatch(string(src), -1) {
				if !regexp.MustCompile(`\b` + m[1] + `\b`).Match(tab) {
					t.Errorf("%s: %s is not in %s/%s", f, m[1], c.dir, c.table)
				}
			}
		}
	}
}

// TestFileSizes keeps files readable: rarely above 450 lines.
func TestFileSizes(t *testing.T) {
	long := 0
	files(t, parser.PackageClauseOnly, func(_, path string, _ *ast.File, _ *token.FileSet) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(b), "\n"); n > 600 && !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(path, "_decl.go") {
			t.Errorf("%s has %d lines", path, n)
		} else if n > 450 {
			long++
		}
	})
	t.Log(fmt.Sprint(long, " files are longer than 450 lines"))
}
