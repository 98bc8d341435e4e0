// Package pass is the ordered list of rewrites that make a graph fast without
// changing what it computes: one file per rewrite, one line in list.go.
//
// Passes run on a graph whose shapes are inferred, before it is planned. They
// never change an exported file: fusing is private to a run.
package pass

import (
	"muster/fault"
	"muster/graph"
	"muster/op"
)

// Pass is one rewrite. Run returns how often it fired.
type Pass struct {
	Name  string
	After []string // passes that must come earlier in the list, and why this one needs them is said in its file
	Run   func(g *graph.Graph) int
}

// list is the order in which passes run.
var list = []Pass{
	{Name: "inline", Run: inline},
	{Name: "constants", After: []string{"inline"}, Run: constants},
	{Name: "identity", After: []string{"constants"}, Run: identity},
	{Name: "shared", After: []string{"identity"}, Run: shared},
	{Name: "attention", After: []string{"shared"}, Run: attention},
	{Name: "attention-grad", After: []string{"attention"}, Run: attentionGrad},
	{Name: "qdq", After: []string{"shared"}, Run: qdq},
	{Name: "dynamic-quant", After: []string{"shared"}, Run: dynamicQuant},
	{Name: "norm", After: []string{"shared"}, Run: norm},
	{Name: "activation", After: []string{"shared"}, Run: activation},
	{Name: "activation-grad", After: []string{"shared"}, Run: activationGrad},
	{Name: "add-norm", After: []string{"norm"}, Run: addNorm},
	{Name: "linear", After: []string{"qdq", "activation", "add-norm", "attention"}, Run: linear},
	{Name: "gather-grad", After: []string{"shared"}, Run: gatherGrad},
	{Name: "conv-bn", After: []string{"shared"}, Run: convBN},
	{Name: "layout", After: []string{"conv-bn", "activation"}, Run: layout},
	{Name: "conv-fuse", After: []string{"layout"}, Run: convFuse},
	{Name: "transpose-matmul", After: []string{"linear"}, Run: transposeMatMul},
}

// List returns the passes in order.
func List() []Pass { return list }

// Config selects what Optimize does.
type Config struct {
	Verify bool                                         // check the graph's invariants after every pass
	Trace  func(pass string, fired int, g *graph.Graph) // called after every pass; nil: not
}

// Optimize runs every pass on g in place and infers the shapes of what they made.
func Optimize(g *graph.Graph, cfg Config) error {
	for _, p := range list {
		fired := p.Run(g)
		if fired > 0 {
			g.Prune()
			if err := g.Sort(); err != nil {
				return fault.At("pass "+p.Name, err)
			}
			if err := op.Infer(g); err != nil {
				return fault.At("pass "+p.Name, err)
			}
		}
		if cfg.Verify {
			if err := g.Verify(); err != nil {
				return fault.At("pass "+p.Name, err)
			}
		}
		if cfg.Trace != nil {
			cfg.Trace(p.Name, fired, g)
		}
	}
	return nil
}
