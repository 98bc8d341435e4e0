package pass

import "muster/graph"

// identity removes nodes that return their input: Identity, and Dropout at inference.
func identity(g *graph.Graph) int {
	fired := 0
	outs := map[*graph.Value]bool{}
	for _, v := range g.Outputs {
		outs[v] = true
	}
	for _, n := range g.Nodes {
		switch {
		case n.Domain != "" || outs[n.Outputs[0]]:
			continue
		case n.Op == "Identity":
		case n.Op == "Dropout" && off(n.In(2)) && (len(n.Outputs) == 1 || n.Outputs[1] == nil):
		default:
			continue
		}
		g.Replace(n.Outputs[0], n.Inputs[0])
		fired++
	}
	return fired
}

// off reports whether a flag is absent or a constant false.
func off(v *graph.Value) bool {
	return v == nil || v.Const != nil && v.Const.Elems() == 1 && v.Const.Float(0) == 0
}
