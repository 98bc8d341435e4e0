package op

import (
	"muster/fault"
	"muster/graph"
)

// captures is the attribute by which Lift tells how many of a node's last inputs were captured. Files do not have it.
const captures = "muster_captures"

// Lift closes the subgraphs of g: what they read from outside becomes further inputs of their node, in the order
// of the first reading, and further inputs of every one of its subgraphs. Initialisers from outside are copied
// instead, so that they stay constants. Function calls inside are inlined. g and its subgraphs are changed.
func Lift(g *graph.Graph) error { return closeAll(g, 0) }

func closeAll(g *graph.Graph, depth int) error {
	if depth > maxDepth {
		return fault.New(fault.Exhausted, "graph "+g.Name, "subgraphs are nested more than %d deep", maxDepth)
	}
	for _, n := range g.Nodes {
		var subs []*graph.Graph
		n.Subgraphs(func(s *graph.Graph) { subs = append(subs, s) })
		if len(subs) == 0 {
			continue
		}
		if n.Attr(captures) != nil {
			return fault.New(fault.Malformed, n.Place(), "attribute %q is not of a file", captures)
		}
		for _, s := range subs {
			s.Model = g.Model
			if err := InlineFunctions(s); err != nil {
				return fault.At(n.Place(), err)
			}
			if err := closeAll(s, depth+1); err != nil {
				return fault.At(n.Place(), err)
			}
		}
		closeNode(n, subs)
	}
	return nil
}

func closeNode(n *graph.Node, subs []*graph.Graph) {
	var params []*graph.Value
	outer := n.Captured()
	for _, v := range outer {
		if v.Const == nil || v.Producer != nil {
			params = append(params, v)
		}
	}
	for _, s := range subs {
		m := map[*graph.Value]*graph.Value{}
		for _, v := range outer {
			w := *v
			w.Producer = nil
			m[v] = &w
			if v.Const != nil && v.Producer == nil {
				s.Inits = append(s.Inits, &w)
			} else {
				w.Const = nil
			}
		}
		for _, v := range params {
			s.Inputs = append(s.Inputs, m[v])
		}
		substitute(s, m)
	}
	for _, s := range subs {
		s.Closed = true
	}
	if len(params) > 0 {
		n.Inputs = append(n.Inputs, params...)
		n.Attrs = append(n.Attrs, graph.Int(captures, int64(len(params))))
	}
}

// substitute makes the nodes and outputs of a subgraph whose own subgraphs are closed read m[v] instead of v.
func substitute(g *graph.Graph, m map[*graph.Value]*graph.Value) {
	swap := func(vs []*graph.Value) {
		for i, v := range vs {
			if w := m[v]; v != nil && w != nil {
				vs[i] = w
			}
		}
	}
	for _, n := range g.Nodes {
		swap(n.Inputs)
	}
	swap(g.Outputs)
}

// formal is how many inputs of n are not captured ones.
func formal(n *graph.Node) int { return len(n.Inputs) - Captured(n) }

// Captured is how many of n's last inputs Lift found captured by its subgraphs.
func Captured(n *graph.Node) int {
	return int(min(max(n.Int(captures, 0), 0), int64(len(n.Inputs))))
}
