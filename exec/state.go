package exec

import "muster/graph"

// hasten moves every node that updates states (those of its inputs) to the first place where its inputs exist and
// all other readers of the states are done: then gradients die early, and updates can be written over the states.
func hasten(g *graph.Graph, pairs [][2]*graph.Value) {
	if len(pairs) == 0 {
		return
	}
	state := map[*graph.Value]bool{}
	for _, p := range pairs {
		state[p[0]] = true
	}
	at := map[*graph.Node]int{}
	for i, n := range g.Nodes {
		at[n] = i
	}
	readers := map[*graph.Value]int{} // by state: the last node that reads it and updates nothing
	ready := func(n *graph.Node) (after int, updates bool) {
		after = -1
		for _, v := range n.Inputs {
			if v != nil && v.Producer != nil {
				after = max(after, at[v.Producer])
			}
			if state[v] {
				updates = true
				if r, ok := readers[v]; ok {
					after = max(after, r)
				}
			}
		}
		return after, updates
	}
	for i, n := range g.Nodes {
		if updater(n) {
			continue
		}
		for _, v := range n.Inputs {
			if state[v] {
				readers[v] = i
			}
		}
	}
	moved := make([][]*graph.Node, len(g.Nodes)+1) // by the node before them, plus one
	stay := map[*graph.Node]bool{}
	for _, n := range g.Nodes {
		if after, ok := ready(n); ok && updater(n) && after < at[n] {
			moved[after+1] = append(moved[after+1], n)
		} else {
			stay[n] = true
		}
	}
	nodes := append(make([]*graph.Node, 0, len(g.Nodes)), moved[0]...)
	for i, n := range g.Nodes {
		if stay[n] {
			nodes = append(nodes, n)
		}
		nodes = append(nodes, moved[i+1]...)
	}
	g.Nodes = nodes
}

// updater reports whether n is an optimizer's step: its outputs are the next values of its first inputs, element by
// element. Nodes whose outputs somebody reads inside the graph would have to be moved with their readers.
func updater(n *graph.Node) bool { return n.Domain == graph.Domain && n.Op == "AdamW" }

// overwrite lets the next value of a state be written over the state itself where the kernel can and nothing reads
// the old value later. pairs are the state's input and output in g.
func (l *layout) overwrite(steps []step, pairs [][2]*graph.Value) {
	made := map[*graph.Value]int{}
	for i := range steps {
		for _, v := range steps[i].node.Outputs {
			if v != nil {
				made[v] = i
			}
		}
	}
	for _, p := range pairs {
		in, out := p[0], p[1]
		k, ok := made[out]
		if !ok || !steps[k].kernel.Same {
			continue
		}
		src, dst := l.buf[in], l.buf[out]
		if steps[k].node.In(position(steps[k].node, out)) != in || src.input == nil || src.persistent || src.last != k ||
			dst.within != nil || dst.size < 0 || len(dst.tensors) != 1 {
			continue
		}
		src.tensors = append(src.tensors, dst.tensors...)
		dst.size, dst.tensors = -1, nil
		l.buf[out] = src
	}
}

// position is the place of v among the outputs of n.
func position(n *graph.Node, v *graph.Value) int {
	for i, o := range n.Outputs {
		if o == v {
			return i
		}
	}
	return -1
}

// statePairs are the states of a session in the plan's graph, the last inputs and outputs; nil inside subgraphs.
func (r *runner) statePairs(g *graph.Graph) (pairs [][2]*graph.Value) {
	n := len(r.env.cfg.State)
	if !r.root || len(g.Inputs) < n || len(g.Outputs) < n {
		return nil
	}
	in, out := g.Inputs[len(g.Inputs)-n:], g.Outputs[len(g.Outputs)-n:]
	for i := range in {
		pairs = append(pairs, [2]*graph.Value{in[i], out[i]})
	}
	return pairs
}
