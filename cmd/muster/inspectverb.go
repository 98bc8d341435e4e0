package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"muster/exec"
	"muster/fault"
	"muster/graph"
	"muster/internal/feed"
	"muster/op"
	"muster/tensor"
)

// inspection is what can be said of a file without data.
type inspection struct {
	File        string         `json:"file"`
	Bytes       int64          `json:"bytes"`
	Digest      string         `json:"digest"`
	Opsets      map[string]int `json:"opsets"`
	Producer    string         `json:"producer"`
	Inputs      []string       `json:"inputs"`
	Outputs     []string       `json:"outputs"`
	Parameters  int            `json:"parameters"` // elements of floating-point and int8 constants
	ConstBytes  int            `json:"constant_bytes"`
	Functions   []string       `json:"functions"`
	Operators   []operator     `json:"operators"`   // of the file, subgraphs and function bodies included
	Unsupported []string       `json:"unsupported"` // operators that do not run here, with the reason

	Fed     []fed          `json:"planned_for"` // the inputs that the plan is made for
	Assumed []feed.Assumed `json:"assumed"`
	Plan    *exec.Report   `json:"plan,omitempty"`
	NoPlan  string         `json:"no_plan,omitempty"` // why there is none
}

// operator is how an operator of the file stands.
type operator struct {
	Name     string `json:"name"`
	Nodes    int    `json:"nodes"`
	Runs     string `json:"runs"` // "kernel", "reference", "body", "not supported", ...: as planned if there is a plan
	Gradient string `json:"gradient"`
}

func inspectVerb(a *app) *cobra.Command {
	var f feedFlags
	cmd := &cobra.Command{
		Use: "inspect MODEL", Short: "Say what is inside an ONNX file and how it would run", Args: cobra.ExactArgs(1),
		Long: `Lists inputs, outputs, parameters and operators of an ONNX file; for every operator whether it runs on a
kernel and has a gradient; and the plan: arithmetic, memory and fused operators for inputs of the shapes
given by --shape (what is not given is assumed: one row). An operator that is not supported is no error here.`,
		Example: `  muster inspect digits.int8.onnx
  muster inspect bert.onnx --shape batch=1 --shape tokens=128
  muster inspect model.onnx --json | jq .unsupported`,
		RunE: func(_ *cobra.Command, args []string) error {
			in, err := inspect(args[0], f)
			if err != nil {
				return err
			}
			return a.print(in, in.text)
		},
	}
	f.shape(cmd.Flags())
	return cmd
}

func inspect(path string, f feedFlags) (*inspection, error) {
	g, err := loadGraph(path)
	if err != nil {
		return nil, err
	}
	d, err := g.Digest()
	if err != nil {
		return nil, fault.At(path, err)
	}
	in := &inspection{File: path, Digest: string(d), Opsets: g.Model.Opsets, Producer: g.Model.Producer,
		Functions: []string{}, Unsupported: []string{}, Fed: []fed{}, Assumed: []feed.Assumed{}}
	if st, err := os.Stat(path); err == nil {
		in.Bytes = st.Size()
	}
	describe := func(vs []*graph.Value) (out []string) {
		for _, v := range vs {
			out = append(out, fmt.Sprintf("%s %s %v", v.Name, v.DType, v.Shape))
		}
		return out
	}
	in.Inputs, in.Outputs = describe(g.Inputs), describe(g.Outputs)
	for _, fn := range g.Model.Functions {
		in.Functions = append(in.Functions, fullOp(fn.Domain, fn.Name))
	}
	c, err := f.config()
	if err != nil {
		return nil, err
	}
	in.count(g)
	return in, in.plan(g, c)
}

// count adds up constants and operators of the graph, its subgraphs and its functions.
func (in *inspection) count(g *graph.Graph) {
	nodes := map[string]*operator{}
	const no = "not supported"
	eachGraph(g, func(sub *graph.Graph, fn *graph.Function) {
		for _, v := range sub.Inits {
			in.constant(v.Const)
		}
		host := g
		if fn != nil { // a function has opsets of its own
			host = &graph.Graph{Model: &graph.Model{Opsets: fn.Opsets, Functions: g.Model.Functions}}
		}
		for _, n := range sub.Nodes {
			if a := n.Attr("value"); n.Op == "Constant" && a != nil && a.T != nil {
				in.constant(a.T)
			}
			name := n.FullOp()
			if nodes[name] != nil {
				nodes[name].Nodes++
				continue
			}
			o, err := op.Of(host, n)
			e := &operator{Name: name, Nodes: 1}
			switch {
			case g.Function(n.Domain, n.Op) != nil:
				e.Runs, e.Gradient = "function of the file", "that of its body"
			case err != nil:
				e.Runs, e.Gradient = no, "no"
				in.Unsupported = append(in.Unsupported, err.Error())
			default:
				e.Runs, e.Gradient = canRun(o), gradientOf(o)
			}
			nodes[name] = e
		}
	})
	for _, k := range sortedKeys(nodes) {
		in.Operators = append(in.Operators, *nodes[k])
	}
}

func (in *inspection) constant(t *tensor.Tensor) {
	in.ConstBytes += len(t.Data)
	if t.DType.IsFloat() || t.DType == tensor.Int8 {
		in.Parameters += t.Elems()
	}
}

// eachGraph calls f for g, its subgraphs and the bodies of its functions.
func eachGraph(g *graph.Graph, f func(g *graph.Graph, fn *graph.Function)) {
	var walk func(g *graph.Graph, fn *graph.Function)
	walk = func(g *graph.Graph, fn *graph.Function) {
		f(g, fn)
		for _, n := range g.Nodes {
			for i := range n.Attrs {
				if n.Attrs[i].G != nil {
					walk(n.Attrs[i].G, fn)
				}
				for _, s := range n.Attrs[i].Graphs {
					walk(s, fn)
				}
			}
		}
	}
	walk(g, nil)
	for _, fn := range g.Model.Functions {
		walk(fn.Body, fn)
	}
}

// canRun says how an operator can run; whether it does for the shapes at hand is in the plan.
func canRun(o *op.Op) string {
	switch {
	case o.View:
		return "no work"
	case o.Prepare != nil:
		return "kernel"
	case o.Body != nil && o.Ref == nil:
		return "body"
	}
	return "reference"
}

// gradientOf says whether an operator can be differentiated.
func gradientOf(o *op.Op) string {
	switch {
	case o.Grad != nil:
		return "yes"
	case o.NoGrad != "":
		return "no: " + o.NoGrad
	case o.Body != nil:
		return "that of its body"
	}
	return "no"
}

func fullOp(domain, name string) string { return (&graph.Node{Domain: domain, Op: name}).FullOp() }

// plan plans g for the shapes of c. Only wrong shapes on the command line are an error.
func (in *inspection) plan(g *graph.Graph, c feed.Config) error {
	feeds, assumed, err := feed.Inputs(g, c)
	if err != nil {
		if len(c.Shapes) > 0 {
			return fault.At(in.File, err)
		}
		in.NoPlan = err.Error()
		return nil
	}
	in.Assumed = append(in.Assumed, assumed...)
	for i, v := range g.Inputs {
		in.Fed = append(in.Fed, fed{v.Name, v.DType.String(), feeds[i].Shape, "random"})
	}
	s, err := exec.New(g, exec.Config{})
	if err != nil {
		in.NoPlan = err.Error()
		return nil
	}
	defer s.Close()
	r, err := s.Plan(feeds...)
	if err != nil {
		in.NoPlan = err.Error()
		return nil
	}
	in.Plan = &r
	for i := range in.Operators {
		o := &in.Operators[i]
		switch n, ref := r.Operators[o.Name], r.Reference[o.Name]; {
		case n == 0 && (o.Runs == "kernel" || o.Runs == "reference"):
			o.Runs = "not left: folded or fused"
		case ref > 0 && ref < n:
			o.Runs = fmt.Sprintf("kernel x%d, reference x%d", n-ref, ref)
		case ref > 0:
			o.Runs = "reference"
		}
	}
	return nil
}

func (in *inspection) text(p *printer) {
	p.line("%s, %s, %s", in.File, size(in.Bytes), in.Digest)
	p.line("made by %s, opsets %v", in.Producer, in.Opsets)
	for _, v := range in.Inputs {
		p.line("input   %s", v)
	}
	for _, v := range in.Outputs {
		p.line("output  %s", v)
	}
	p.line("%d parameters, %s of constants", in.Parameters, size(int64(in.ConstBytes)))
	for _, f := range in.Functions {
		p.line("function %s", f)
	}
	rows := [][]string{{"operator", "nodes", "runs on", "gradient"}}
	for _, o := range in.Operators {
		rows = append(rows, []string{o.Name, fmt.Sprint(o.Nodes), o.Runs, o.Gradient})
	}
	p.table(rows)
	for _, s := range in.Unsupported {
		p.line("not supported: %s", s)
	}
	if in.Plan == nil {
		p.line("it does not run: %s", in.NoPlan)
		return
	}
	p.line("planned for")
	for _, v := range in.Fed {
		p.line("  %s %s %s", v.Name, v.DType, v.Shape)
	}
	for _, d := range in.Assumed {
		p.line("  assumed axis %d of %s = %d (--shape gives another size)", d.Axis, d.Input, d.Size)
	}
	p.line("%s GFLOP, %d nodes after fusing, %d of them on integer kernels", number(float64(in.Plan.Flops)/1e9), in.Plan.Nodes, in.Plan.Integer)
	p.line("%s of memory for activations and scratch, %s of constants", size(int64(in.Plan.ArenaBytes)), size(int64(in.Plan.ConstBytes)))
	for _, k := range sortedKeys(in.Plan.Reference) {
		p.line("no kernel for these shapes: %s x%d (the reference runs)", k, in.Plan.Reference[k])
	}
}
