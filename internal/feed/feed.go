// Package feed makes the inputs that a graph is measured with: shapes for the
// dimensions that a file leaves open, and values that are valid for what the graph
// does with them (indices inside their tables, masks of ones), or values from files.
package feed

import (
	"regexp"
	"sort"
	"strconv"
	"strings"

	"muster/fault"
	"muster/graph"
	"muster/rng"
	"muster/tensor"
)

// Config says what inputs are wanted; the zero value is one row of everything.
type Config struct {
	Shapes map[string][]int          // by input name: the whole shape; by dimension name: one size
	Values map[string]*tensor.Tensor // inputs that are given
	Seed   uint64                    // of the random values
}

// Assumed is a dimension that neither the file nor the caller gave a size.
type Assumed struct {
	Input string `json:"input"`
	Axis  int    `json:"axis"`
	Name  string `json:"name,omitempty"` // of the dimension, if it has one
	Size  int    `json:"size"`
}

// ParseShape reads "1x3x224x224", "128" or, for a scalar, "".
func ParseShape(s string) ([]int, error) {
	shape := []int{}
	if s == "" {
		return shape, nil
	}
	for _, f := range strings.Split(s, "x") {
		n, err := strconv.Atoi(f)
		if err != nil || n < 0 || n > 1<<40 {
			return nil, fault.New(fault.Malformed, "shape "+s, "%q is not a size", f).WithHint("sizes are joined by x: 1x3x224x224")
		}
		shape = append(shape, n)
	}
	return shape, nil
}

// Inputs returns a tensor for every input of g, in order, and the dimensions whose sizes were assumed.
func Inputs(g *graph.Graph, c Config) ([]*tensor.Tensor, []Assumed, error) {
	dims, err := sizes(g, c)
	if err != nil {
		return nil, nil, err
	}
	var in []*tensor.Tensor
	var assumed []Assumed
	shapes := make([]tensor.Shape, len(g.Inputs))
	for i, v := range g.Inputs {
		if t := c.Values[v.Name]; t != nil {
			if t.DType != v.DType {
				return nil, nil, fault.New(fault.Mismatch, "input "+v.Name, "it is %s, the file holds %s", v.DType, t.DType)
			}
			shapes[i] = t.Shape
			continue
		}
		s, more, err := shapeOf(v, c, dims)
		if err != nil {
			return nil, nil, err
		}
		shapes[i], assumed = s, append(assumed, more...)
	}
	ranges := rangesOf(g)
	for i, v := range g.Inputs {
		if t := c.Values[v.Name]; t != nil {
			in = append(in, t)
			continue
		}
		t, err := random(v, shapes[i], ranges[v], rng.New(c.Seed).Named(v.Name).Stream())
		if err != nil {
			return nil, nil, err
		}
		in = append(in, t)
	}
	return in, assumed, nil
}

// sizes collects the sizes of named dimensions from what the caller gave, and refuses names that are nowhere.
func sizes(g *graph.Graph, c Config) (map[string]int, error) {
	dims := map[string]int{}
	names := map[string]bool{}
	set := func(v *graph.Value, shape []int) error {
		if v.Shape == nil {
			return nil
		}
		if len(shape) != len(v.Shape) {
			return fault.New(fault.Mismatch, "input "+v.Name, "it has %d axes %v, the given shape has %d", len(v.Shape), v.Shape, len(shape))
		}
		for i, d := range v.Shape {
			if d.Known() && d.Size != shape[i] {
				return fault.New(fault.Mismatch, "input "+v.Name, "axis %d is %d in the file, %d was given", i, d.Size, shape[i])
			}
			if d.Name != "" && !d.Known() {
				dims[d.Name] = shape[i]
			}
		}
		return nil
	}
	for _, v := range g.Inputs {
		names[v.Name] = true
		for _, d := range v.Shape {
			if !d.Known() && d.Name != "" {
				names[d.Name] = true
			}
		}
		var err error
		if t := c.Values[v.Name]; t != nil {
			err = set(v, t.Shape)
		} else if s, ok := c.Shapes[v.Name]; ok {
			err = set(v, s)
		}
		if err != nil {
			return nil, err
		}
	}
	for name, s := range c.Shapes {
		if !names[name] {
			return nil, fault.New(fault.NotFound, "shape "+name, "there is no such input or dimension").WithHint("there are %s", strings.Join(keys(names), ", "))
		}
		if len(s) == 1 && g.Input(name) == nil {
			dims[name] = s[0]
		}
	}
	return dims, nil
}

func keys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

func shapeOf(v *graph.Value, c Config, dims map[string]int) (tensor.Shape, []Assumed, error) {
	if s, ok := c.Shapes[v.Name]; ok && (v.Shape == nil || len(s) == len(v.Shape)) {
		return s, nil, nil
	}
	if v.Shape == nil {
		return nil, nil, fault.New(fault.Mismatch, "input "+v.Name, "the file does not say how many axes it has").WithHint("--shape %s=1x128 gives them", v.Name)
	}
	s := make(tensor.Shape, len(v.Shape))
	var assumed []Assumed
	for i, d := range v.Shape {
		switch n, ok := dims[d.Name]; {
		case d.Known():
			s[i] = d.Size
		case ok && d.Name != "":
			s[i] = n
		default:
			s[i] = guess(v, i)
			assumed = append(assumed, Assumed{v.Name, i, d.Name, s[i]})
			if d.Name != "" {
				dims[d.Name] = s[i]
			}
		}
	}
	return s, assumed, nil
}

var (
	batchName = regexp.MustCompile(`(?i)batch|^n$|^b$`)
	tokenName = regexp.MustCompile(`(?i)seq|token|len|time|total|^t$|^s\d*$`)
)

// guess is the size of an open axis: one row, 128 tokens, images of 224.
func guess(v *graph.Value, axis int) int {
	name := v.Shape[axis].Name
	switch {
	case batchName.MatchString(name):
		return 1
	case tokenName.MatchString(name):
		return 128
	case axis == 0:
		return 1
	case len(v.Shape) == 4 && v.DType.IsFloat() && axis >= 2:
		return 224
	case len(v.Shape) == 2 && axis == 1 && !v.DType.IsFloat():
		return 128
	}
	return 1
}
