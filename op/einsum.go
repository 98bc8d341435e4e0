package op

import (
	"slices"
	"strings"

	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// Einsum sums products over the indices that its equation does not keep. It is written as sums, products and matrix
// products of transposed operands (einsumbody.go), and differentiated as that.
var opEinsum = Op{
	Name: "Einsum", Since: 12, MinIn: 1, MaxIn: -1, MinOut: 1, MaxOut: 1, Attrs: "equation",
	Infer: func(c *InferCall) error {
		if err := c.sameTypes(); err != nil {
			return err
		}
		if c.In[0].DType == tensor.Bool {
			return c.Errorf("the inputs are bool")
		}
		ranks := make([]int, len(c.In))
		for i, v := range c.In {
			if v == nil {
				return c.Errorf("input %d is absent", i)
			}
			if v.Shape == nil {
				c.Set(0, c.In[0].DType, nil)
				return nil
			}
			ranks[i] = len(v.Shape)
		}
		terms, out, err := parseEinsum(c.Node, ranks)
		if err != nil {
			return err
		}
		size := map[int]graph.Dim{}
		for i, t := range terms {
			for a, id := range t {
				have, ok := size[id]
				if !ok {
					have = graph.D(1)
				}
				d, err := c.broadcastDims([]graph.Dim{have}, []graph.Dim{c.In[i].Shape[a]})
				if err != nil {
					return c.Errorf("index %s of input %d is %v, elsewhere %v", indexName(id), i, c.In[i].Shape[a], have)
				}
				size[id] = d[0]
			}
		}
		shape := []graph.Dim{}
		for _, id := range out {
			shape = append(shape, size[id])
		}
		c.Set(0, c.In[0].DType, shape)
		return nil
	},
	Body: einsumBody,
}

// An index of an equation is a letter; the axes of an ellipsis are -1, -2, ... from the last.

func indexName(id int) string {
	if id < 0 {
		return "..."
	}
	return string(rune(id))
}

// parseEinsum returns the indices of every operand and of the result.
func parseEinsum(n *graph.Node, ranks []int) (terms [][]int, out []int, err error) {
	bad := func(format string, args ...any) ([][]int, []int, error) {
		return nil, nil, fault.New(fault.Mismatch, n.Place(), "equation %q: "+format, append([]any{n.Str("equation", "")}, args...)...)
	}
	left, right, explicit := strings.Cut(strings.ReplaceAll(n.Str("equation", ""), " ", ""), "->")
	parts := strings.Split(left, ",")
	if len(parts) != len(ranks) {
		return bad("%d operands, the node has %d", len(parts), len(ranks))
	}
	wide, count := 0, map[int]int{} // axes of the longest ellipsis; how often an index occurs
	for i, p := range parts {
		ids, ok := termIndices(p, ranks[i])
		if !ok {
			return bad("%q does not describe rank %d", p, ranks[i])
		}
		for _, id := range ids {
			count[id]++
			wide = max(wide, -id)
		}
		terms = append(terms, ids)
	}
	if !explicit {
		for k := wide; k > 0; k-- {
			out = append(out, -k)
		}
		var once []int
		for id, k := range count {
			if k == 1 && id > 0 {
				once = append(once, id)
			}
		}
		slices.Sort(once)
		return terms, append(out, once...), nil
	}
	letters := len(right)
	if strings.Contains(right, "...") {
		letters += wide - 3
	}
	out, ok := termIndices(right, letters)
	if !ok {
		return bad("%q is not a result", right)
	}
	for i, id := range out {
		if count[id] == 0 || slices.Index(out, id) < i {
			return bad("index %s of the result occurs twice or in no operand", indexName(id))
		}
	}
	return terms, out, nil
}

// termIndices are the indices of one operand of the given rank.
func termIndices(term string, rank int) ([]int, bool) {
	var ids []int
	before, after, wide := strings.Cut(term, "...")
	if !wide && len(term) != rank || wide && len(before)+len(after) > rank {
		return nil, false
	}
	for _, r := range before {
		ids = append(ids, int(r))
	}
	if wide {
		for k := rank - len(before) - len(after); k > 0; k-- {
			ids = append(ids, -k)
		}
	}
	for _, r := range after {
		ids = append(ids, int(r))
	}
	for _, id := range ids {
		if id >= 0 && (id < 'A' || id > 'z' || id > 'Z' && id < 'a') {
			return nil, false
		}
	}
	return ids, true
}
