package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"muster/fault"
	"muster/graph"
	"muster/internal/feed"
	"muster/tensor"
)

// feedFlags say what a graph is fed with.
type feedFlags struct {
	shapes, inputs []string
	Seed           uint64
}

func (f *feedFlags) register(flags *pflag.FlagSet) {
	f.shape(flags)
	flags.StringArrayVar(&f.inputs, "input", nil, "NAME=FILE: the values of an input, .npy or .pb (repeatable)")
	flags.Uint64Var(&f.Seed, "seed", 1, "seed of random inputs")
}

func (f *feedFlags) shape(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.shapes, "shape", nil, "NAME=1x128: the shape of an input, or the size of a named dimension (repeatable)")
}

// files returns the given files by the input's name.
func (f *feedFlags) files() map[string]string {
	m := map[string]string{}
	for _, s := range f.inputs {
		name, path, _ := strings.Cut(s, "=")
		m[name] = path
	}
	return m
}

// config reads the files and parses the shapes.
func (f *feedFlags) config() (feed.Config, error) {
	c := feed.Config{Shapes: map[string][]int{}, Values: map[string]*tensor.Tensor{}, Seed: f.Seed}
	for _, s := range f.shapes {
		name, v, ok := cutLast(s)
		if !ok {
			return c, usageError{fmt.Errorf("--shape %q is not NAME=SIZES", s)}
		}
		shape, err := feed.ParseShape(v)
		if err != nil {
			return c, err
		}
		c.Shapes[name] = shape
	}
	for _, s := range f.inputs {
		name, path, ok := strings.Cut(s, "=")
		if !ok {
			return c, usageError{fmt.Errorf("--input %q is not NAME=FILE", s)}
		}
		t, err := feed.ReadFile(path)
		if err != nil {
			return c, err
		}
		c.Values[name] = t
	}
	return c, nil
}

// cutLast splits at the last "=": names of inputs may hold one, sizes cannot.
func cutLast(s string) (name, value string, ok bool) {
	i := strings.LastIndexByte(s, '=')
	if i < 1 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// loadGraph reads and checks an ONNX file with its external data.
func loadGraph(path string) (*graph.Graph, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fault.New(fault.NotFound, path, "%w", err).WithHint("`muster train` writes a model file")
	}
	return graph.Load(path)
}
