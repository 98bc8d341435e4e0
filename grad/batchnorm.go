package grad

import (
	"muster/fault"
	"muster/graph"
)

// TrainableBatchNorm turns every BatchNormalization in g into one of training: it normalises by the batch, and
// its running mean and variance become states. Imported models need this before their gradient is taken;
// without it the statistics of inference would stay fixed, and those of a training form would be lost.
//
// The initialisers keep their names, so that what was trained is read back with them. One that several
// nodes share, or that is read elsewhere, is copied for all but the first node. Momentum and epsilon are the
// node's (the running value is momentum times the old one plus 1 - momentum times that of the batch). The
// node becomes muster.BatchNormalizationTraining, which every opset can hold.
//
// Errors: unsupported if statistics are not initialisers, or the node asks for outputs of an old training form.
func TrainableBatchNorm(g *graph.Graph) ([]graph.State, error) {
	b := graph.NewBuilder(g)
	var states []graph.State
	taken := map[*graph.Value]bool{}
	for _, n := range g.Nodes {
		if n.Domain != "" || n.Op != "BatchNormalization" {
			continue
		}
		if len(n.Inputs) != 5 || n.Int("spatial", 1) != 1 {
			return nil, fault.New(fault.Unsupported, n.Place(), "this form of BatchNormalization cannot be trained")
		}
		for _, v := range n.Outputs[1:] {
			if v != nil && n.Int("training_mode", 0) == 0 {
				return nil, fault.New(fault.Unsupported, n.Place(), "the training outputs of opsets before 14 are not supported")
			}
		}
		for i := 3; i < 5; i++ {
			v := n.Inputs[i]
			if v == nil || v.Producer != nil || v.Const == nil {
				return nil, fault.New(fault.Unsupported, n.Place(), "its statistics are not initialisers")
			}
			if taken[v] || readElsewhere(g, n, v) {
				v = b.Init(v.Name, v.Const.Clone())
				n.Inputs[i] = v
			}
			taken[v] = true
		}
		states = append(states, train(b, n)...)
	}
	return states, nil
}

// readElsewhere reports whether anything but batch norms reads v.
func readElsewhere(g *graph.Graph, n *graph.Node, v *graph.Value) bool {
	for _, m := range g.Nodes {
		for _, w := range m.Inputs {
			if w == v && m != n && m.Op != "BatchNormalization" && m.Op != "BatchNormalizationTraining" {
				return true
			}
		}
	}
	return false
}

// train changes the node and returns its two states.
func train(b *graph.Builder, n *graph.Node) []graph.State {
	n.Domain, n.Op = graph.Domain, "BatchNormalizationTraining"
	n.Attrs = []graph.Attr{graph.Float("epsilon", n.Float("epsilon", 1e-5)), graph.Float("momentum", n.Float("momentum", 0.9))}
	if m := b.G.Model; m != nil && m.Opsets[graph.Domain] == 0 {
		m.Opsets[graph.Domain] = 1
	}
	var states []graph.State
	for i, stem := range []string{"running_mean", "running_var"} {
		if len(n.Outputs) == 1+i {
			n.Outputs = append(n.Outputs, nil)
		}
		if n.Outputs[1+i] == nil {
			n.Outputs[1+i] = &graph.Value{Name: b.Unique(stem), Producer: n}
		}
		states = append(states, graph.State{In: n.Inputs[3+i], Out: n.Outputs[1+i]})
	}
	return states
}
