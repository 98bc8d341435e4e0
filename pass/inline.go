package pass

import (
	"muster/graph"
	"muster/op"
)

// inline replaces calls of the model's own functions that the table does not
// know by their bodies, so that every later pass sees operators only.
func inline(g *graph.Graph) int {
	fired := 0
	for again := true; again; {
		again = false
		for _, n := range g.Nodes {
			if o, err := op.Of(g, n); err == nil && o != nil {
				continue
			}
			if op.Inline(g, n) == nil {
				fired++
				again = true
				break
			}
		}
	}
	return fired
}
