package data

import (
	"embed"
	"path"
	"sort"
	"strings"

	"muster/fault"
)

// files are the data sets in the binary; NOTICE names their sources and licences.
//
//go:embed builtin
var files embed.FS

// builtin is an embedded set; NOTICE says where it comes from.
type builtin struct {
	open    func(OpenConfig) (*Set, error)
	license string
}

// builtins are the embedded sets by name.
var builtins = map[string]builtin{
	"digits":        {openDigits, "CC-BY-4.0"},
	"fashion":       {openFashion, "MIT"},
	"german-credit": {openGermanCredit, "CC-BY-4.0"},
}

// Builtins returns the source names of the embedded sets, sorted.
func Builtins() []string {
	var out []string
	for name := range builtins {
		out = append(out, "builtin:"+name)
	}
	sort.Strings(out)
	return out
}

func openBuiltin(name string, cfg OpenConfig) (*Set, error) {
	b, ok := builtins[name]
	if !ok {
		return nil, fault.New(fault.NotFound, "builtin:"+name, "no such embedded set").WithHint("there are %s", strings.Join(Builtins(), ", "))
	}
	s, err := b.open(cfg)
	if err != nil {
		return nil, err
	}
	s.Name, s.Source, s.License = name, "builtin:"+name, b.license
	return s, nil
}

func builtinFile(name string, cfg OpenConfig) ([]byte, error) {
	b, err := files.ReadFile(path.Join("builtin", name))
	if err != nil {
		return nil, fault.New(fault.NotFound, name, "%w", err)
	}
	return gunzipped(name, b, cfg.Limit.orDefault().Bytes)
}

// openDigits reads 1,797 handwritten digits, [N,1,8,8], 0 to 16: how many pixels of a
// 4x4 cell of the scan are on.
func openDigits(cfg OpenConfig) (*Set, error) {
	b, err := builtinFile("digits.csv.gz", cfg)
	if err != nil {
		return nil, err
	}
	cfg.Image, cfg.Range, cfg.Header, cfg.Schema, cfg.Target = "1x8x8", &[2]float64{0, 16}, NoHeader, nil, ""
	s, err := ParseCSV("builtin:digits", b, cfg)
	if err != nil {
		return nil, err
	}
	s.Target = "label"
	s.Columns[1].Name = s.Target
	return s, nil
}

// fashionClasses are the names that the authors of Fashion-MNIST give to labels 0 to 9.
var fashionClasses = []string{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"}

// openFashion reads 3,000 images of clothes, 300 of each class, [N,1,28,28], 0 to 255.
func openFashion(cfg OpenConfig) (*Set, error) {
	px, err := builtinFile("fashion-images-idx3-ubyte.gz", cfg)
	if err != nil {
		return nil, err
	}
	lb, err := builtinFile("fashion-labels-idx1-ubyte.gz", cfg)
	if err != nil {
		return nil, err
	}
	cfg.Target, cfg.Range = "", nil
	s, err := idxSet("builtin:fashion", px, "builtin:fashion", lb, cfg)
	if err != nil {
		return nil, err
	}
	s.Columns[1].Categories = fashionClasses
	return s, nil
}

// openGermanCredit reads 1,000 credit applications with 20 features; the label is good or bad.
func openGermanCredit(cfg OpenConfig) (*Set, error) {
	b, err := builtinFile("german-credit.csv", cfg)
	if err != nil {
		return nil, err
	}
	cfg.Header = Names
	return ParseCSV("builtin:german-credit", b, cfg)
}
