package graph

import "muster/fault"

// Clone returns a deep copy of the structure; constant tensors are shared.
// The map leads from the old values to the new ones.
func (g *Graph) Clone() (*Graph, map[*Value]*Value) {
	m := map[*Value]*Value{}
	c := g.clone(m)
	return c, m
}

// CloneInto is Clone where the values that are keys of m are replaced by what they map to; m gets the others.
func (g *Graph) CloneInto(m map[*Value]*Value) *Graph { return g.clone(m) }

func (g *Graph) clone(m map[*Value]*Value) *Graph {
	val := func(v *Value) *Value {
		if v == nil {
			return nil
		}
		if w, ok := m[v]; ok {
			return w
		}
		w := *v
		w.Shape = append([]Dim(nil), v.Shape...)
		if v.Shape != nil && w.Shape == nil {
			w.Shape = []Dim{}
		}
		m[v] = &w
		return &w
	}
	vals := func(vs []*Value) []*Value {
		out := make([]*Value, len(vs))
		for i, v := range vs {
			out[i] = val(v)
		}
		return out
	}
	c := *g
	c.Inputs, c.Inits = vals(g.Inputs), vals(g.Inits)
	c.Nodes = make([]*Node, len(g.Nodes))
	for i, n := range g.Nodes {
		k := *n
		k.Inputs, k.Outputs = vals(n.Inputs), vals(n.Outputs)
		for _, o := range k.Outputs {
			if o != nil {
				o.Producer = &k
			}
		}
		k.Attrs = append([]Attr(nil), n.Attrs...)
		for j := range k.Attrs {
			a := &k.Attrs[j]
			if a.G != nil && !a.G.Closed {
				a.G = a.G.clone(m)
			}
			if a.Graphs != nil {
				gs := make([]*Graph, len(a.Graphs))
				for q, s := range a.Graphs {
					gs[q] = s.clone(m)
				}
				a.Graphs = gs
			}
		}
		c.Nodes[i] = &k
	}
	c.Outputs = vals(g.Outputs)
	if g.Model != nil {
		mod := *g.Model
		mod.Opsets = map[string]int{}
		for d, v := range g.Model.Opsets {
			mod.Opsets[d] = v
		}
		mod.Metadata = append([]Property(nil), g.Model.Metadata...)
		mod.Functions = append([]*Function(nil), g.Model.Functions...)
		c.Model = &mod
	}
	return &c
}

// Replace makes every reader of old (nodes and outputs of g, and subgraphs) read new instead.
// If old is a graph output, the output keeps its name: new takes it over.
func (g *Graph) Replace(old, new *Value) {
	for _, n := range g.Nodes {
		for i, v := range n.Inputs {
			if v == old {
				n.Inputs[i] = new
			}
		}
		n.Subgraphs(func(s *Graph) {
			if !s.Closed {
				s.Replace(old, new)
			}
		})
	}
	for i, v := range g.Outputs {
		if v == old {
			g.Outputs[i] = new
			if new.Producer != nil {
				old.Name, new.Name = new.Name, old.Name
			}
		}
	}
}

// Prune removes nodes and initialisers that no output depends on. The nodes may be in any order.
func (g *Graph) Prune() {
	live, need := map[*Value]bool{}, map[*Node]bool{}
	var todo []*Value
	mark := func(v *Value) {
		if v != nil && !live[v] {
			live[v] = true
			todo = append(todo, v)
		}
	}
	for _, v := range g.Outputs {
		mark(v)
	}
	for len(todo) > 0 {
		n := todo[len(todo)-1].Producer
		todo = todo[:len(todo)-1]
		if n == nil || need[n] {
			continue
		}
		need[n] = true
		for _, v := range n.Inputs {
			mark(v)
		}
		for _, v := range n.Captured() {
			mark(v)
		}
	}
	nodes := g.Nodes[:0:0]
	for _, n := range g.Nodes {
		if need[n] {
			nodes = append(nodes, n)
		}
	}
	inits := g.Inits[:0:0]
	for _, v := range g.Inits {
		if live[v] {
			inits = append(inits, v)
		}
	}
	g.Nodes, g.Inits = nodes, inits
}

// Sort puts the nodes in topological order, stable in the given order.
// A cycle is an error that names a node on it.
func (g *Graph) Sort() error {
	state := make(map[*Node]uint8, len(g.Nodes)) // 0 new, 1 waiting, 2 done
	own := make(map[*Node]bool, len(g.Nodes))
	for _, n := range g.Nodes {
		own[n] = true
	}
	out := make([]*Node, 0, len(g.Nodes))
	type frame struct {
		n    *Node
		deps []*Value
	}
	for _, root := range g.Nodes {
		if state[root] != 0 {
			continue
		}
		state[root] = 1
		stack := []frame{{root, deps(root)}}
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			if len(f.deps) == 0 {
				state[f.n] = 2
				out = append(out, f.n)
				stack = stack[:len(stack)-1]
				continue
			}
			v := f.deps[0]
			f.deps = f.deps[1:]
			if v == nil || v.Producer == nil || !own[v.Producer] {
				continue
			}
			switch p := v.Producer; state[p] {
			case 0:
				state[p] = 1
				stack = append(stack, frame{p, deps(p)})
			case 1:
				return fault.New(fault.Malformed, p.Place(), "the graph has a cycle through value %q", v.Name)
			}
		}
	}
	g.Nodes = out
	return nil
}

func deps(n *Node) []*Value {
	c := n.Captured()
	if len(c) == 0 {
		return n.Inputs
	}
	return append(append([]*Value{}, n.Inputs...), c...)
}

// Verify checks the invariants every rewrite must keep: names unique and not
// empty, one producer per value, nodes in topological order, constants that
// match their declared type, outputs that exist.
func (g *Graph) Verify() error {
	v := verifier{defined: make(map[*Value]bool, 2*len(g.Nodes)), names: make(map[string]bool, 2*len(g.Nodes))}
	return v.graph(g)
}

// verifier holds what is defined at one point of a graph: its values and those of the graphs around it.
type verifier struct {
	defined map[*Value]bool
	names   map[string]bool
	scope   []*Value // what the innermost graph defined, in order
}

func (c *verifier) define(v *Value, place string) error {
	switch {
	case v.Name == "":
		return fault.New(fault.Malformed, place, "a value has no name")
	case c.names[v.Name]:
		return fault.New(fault.Malformed, place, "two values are named %q", v.Name)
	}
	c.names[v.Name], c.defined[v] = true, true
	c.scope = append(c.scope, v)
	return nil
}

func (c *verifier) graph(g *Graph) error {
	for _, v := range g.Inputs {
		if err := c.define(v, "graph input"); err != nil {
			return err
		}
	}
	for _, v := range g.Inits {
		if err := c.define(v, "initialiser"); err != nil {
			return err
		}
		if v.Const == nil {
			return fault.New(fault.Malformed, "initialiser "+v.Name, "it has no value")
		}
		if n, ok := v.Const.Shape.CheckedElems(); v.Const.DType.Bits() > 0 && (!ok || v.Const.DType.Bytes(n) != len(v.Const.Data)) {
			return fault.New(fault.Malformed, "initialiser "+v.Name, "%d bytes do not fill %s %s", len(v.Const.Data), v.Const.DType, v.Const.Shape)
		}
	}
	for _, n := range g.Nodes {
		if err := c.node(n); err != nil {
			return err
		}
	}
	for _, v := range g.Outputs {
		if v == nil || !c.defined[v] {
			return fault.New(fault.Malformed, "graph output", "an output is not made by any node, input or initialiser")
		}
	}
	return nil
}

func (c *verifier) node(n *Node) error {
	for i, v := range n.Inputs {
		if v != nil && !c.defined[v] {
			return fault.New(fault.Malformed, n.Place(), "input %d, %q, is not defined before it is used", i, v.Name)
		}
	}
	var err error
	n.Subgraphs(func(s *Graph) {
		if err == nil {
			err = c.inner(s)
		}
	})
	if err != nil {
		return fault.At(n.Place(), err)
	}
	for _, v := range n.Outputs {
		if v == nil {
			continue
		}
		if v.Producer != n {
			return fault.New(fault.Malformed, n.Place(), "output %q names another producer", v.Name)
		}
		if err := c.define(v, n.Place()); err != nil {
			return err
		}
	}
	return nil
}

// inner verifies a subgraph, whose names end with it. A closed one sees nothing of what is around it.
func (c *verifier) inner(g *Graph) error {
	if g.Closed {
		return g.Verify()
	}
	outer := c.scope
	c.scope = nil
	err := c.graph(g)
	for _, v := range c.scope {
		delete(c.defined, v)
		delete(c.names, v.Name)
	}
	c.scope = outer
	return err
}
