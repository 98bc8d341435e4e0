package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"muster/exec"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// inspection is what can be said of a file without data.
type inspection struct {
	File       string         `json:"file"`
	Bytes      int            `json:"bytes"`
	Digest     string         `json:"digest"`
	Opsets     map[string]int `json:"opsets"`
	Producer   string         `json:"producer"`
	Inputs     []string       `json:"inputs"`
	Outputs    []string       `json:"outputs"`
	Parameters int            `json:"parameters"`
	Operators  map[string]int `json:"operators"`
	Plan       exec.Report    `json:"plan"` // for one row
}

func inspectVerb(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "inspect MODEL", Short: "Say what is inside an ONNX file and how it would run", Args: cobra.ExactArgs(1),
		Example: `  muster inspect digits.int8.onnx`,
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := loadModel(args[0])
			if err != nil {
				return err
			}
			in, err := inspect(m)
			if err != nil {
				return err
			}
			return a.print(in, in.text)
		},
	}
}

func inspect(m *modelFile) (*inspection, error) {
	d, err := m.graph.Digest()
	if err != nil {
		return nil, err
	}
	in := &inspection{File: m.path, Bytes: len(m.bytes), Digest: string(d), Opsets: m.graph.Model.Opsets,
		Producer: m.graph.Model.Producer, Operators: map[string]int{}}
	for _, v := range m.graph.Inits {
		if v.DType.IsFloat() || v.DType == tensor.Int8 {
			in.Parameters += v.Const.Elems()
		}
	}
	for _, n := range m.graph.Nodes {
		in.Operators[n.FullOp()]++
	}
	describe := func(vs []*graph.Value) (out []string) {
		for _, v := range vs {
			out = append(out, fmt.Sprintf("%s %s %v", v.Name, v.DType, v.Shape))
		}
		return out
	}
	in.Inputs, in.Outputs = describe(m.graph.Inputs), describe(m.graph.Outputs)
	in.Plan, err = planOfOneRow(m.graph)
	return in, err
}

// planOfOneRow plans g with every named dimension 1.
func planOfOneRow(g *graph.Graph) (exec.Report, error) {
	s, err := exec.New(g, exec.Config{})
	if err != nil {
		return exec.Report{}, err
	}
	defer s.Close()
	var feeds []*tensor.Tensor
	for _, v := range g.Inputs {
		shape := make([]int, len(v.Shape))
		for i, d := range v.Shape {
			shape[i] = max(d.Size, 1)
		}
		feeds = append(feeds, tensor.New(v.DType, shape...))
	}
	return s.Plan(feeds...)
}

func (in *inspection) text(p *printer) {
	p.line("%s, %d bytes, %s", in.File, in.Bytes, in.Digest)
	p.line("made by %s, opsets %v", in.Producer, in.Opsets)
	for _, v := range in.Inputs {
		p.line("input   %s", v)
	}
	for _, v := range in.Outputs {
		p.line("output  %s", v)
	}
	p.line("%d parameters", in.Parameters)
	p.line("one row: %d FLOP, %d nodes after fusing, %d on integer kernels, %d bytes of activations", in.Plan.Flops, in.Plan.Nodes, in.Plan.Integer, in.Plan.ArenaBytes)
	rows := [][]string{{"operator", "nodes", "gradient"}}
	for _, k := range sortedKeys(in.Operators) {
		rows = append(rows, []string{k, fmt.Sprint(in.Operators[k]), gradientOf(k)})
	}
	p.table(rows)
}

// gradientOf says whether an operator can be differentiated.
func gradientOf(full string) string {
	for _, o := range op.All() {
		if fullName(&o) != full {
			continue
		}
		if o.Grad != nil {
			return "yes"
		}
		return "no: " + o.NoGrad
	}
	return ""
}

func fullName(o *op.Op) string {
	if o.Domain == "" {
		return o.Name
	}
	return o.Domain + "." + o.Name
}
