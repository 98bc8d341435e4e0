package exec

import (
	"fmt"
	"math"
	"os"
	"strconv"

	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/pass"
	"muster/tensor"
)

// debug is the ladder of MUSTER_DEBUG and MUSTER_CHECK; it prints to stderr.
//
//	MUSTER_DEBUG=1 summary of every plan   2 its nodes   3 passes that fired
//	             4 node names per pass     5 buffer sizes     6 min, max and NaN of every value
//	MUSTER_CHECK=1 verify the graph after every pass   2 compare every node with its reference
type debug struct{ level, check int }

func debugFromEnv() debug {
	l, _ := strconv.Atoi(os.Getenv("MUSTER_DEBUG")) // an unreadable level is level 0
	c, _ := strconv.Atoi(os.Getenv("MUSTER_CHECK"))
	return debug{l, c}
}

func (d debug) passes() pass.Config {
	cfg := pass.Config{Verify: d.check >= 1}
	if d.level >= 3 {
		cfg.Trace = func(name string, fired int, g *graph.Graph) {
			fmt.Fprintf(os.Stderr, "pass %s fired %d times, %d nodes\n", name, fired, len(g.Nodes))
			for _, n := range g.Nodes {
				if d.level >= 4 {
					fmt.Fprintf(os.Stderr, "  %s\n", n.Place())
				}
			}
		}
	}
	return cfg
}

func (d debug) plan(p *plan) {
	if d.level < 1 {
		return
	}
	fmt.Fprintln(os.Stderr, "plan:", p.report)
	for i := range p.steps {
		if d.level < 2 {
			return
		}
		st := &p.steps[i]
		how := "kernel"
		switch {
		case st.isView():
			how = "view"
		case st.ref != nil:
			how = "reference"
		case st.kernel.Integer:
			how = "integer kernel"
		}
		fmt.Fprintf(os.Stderr, "  %3d %-28s %-14s %d flops %d bytes\n", i, st.node.FullOp(), how, st.flops, st.bytes)
		if d.level >= 5 {
			for _, t := range st.out {
				if t != nil && len(t.Data) > 0 && len(p.arena.data) > 0 {
					fmt.Fprintf(os.Stderr, "      %s %s at capacity %d\n", t.DType, t.Shape, cap(t.Data))
				}
			}
		}
	}
}

// step runs the checks that follow a node.
func (d debug) step(st *step) error {
	if d.level < 6 && d.check < 2 {
		return nil
	}
	for i, t := range st.out {
		if d.level >= 6 && t != nil && t.DType == tensor.Float32 {
			lo, hi, nan := math.Inf(1), math.Inf(-1), 0
			for _, v := range t.Float32s() {
				lo, hi = math.Min(lo, float64(v)), math.Max(hi, float64(v))
				if v != v {
					nan++
				}
			}
			fmt.Fprintf(os.Stderr, "  %s out %d: min %g max %g NaN %d\n", st.node.Place(), i, lo, hi, nan)
		}
	}
	if d.check < 2 || st.ref != nil || st.op.Ref == nil || st.op.Random || st.kernel.Run == nil || st.kernel.Over > 0 {
		return nil
	}
	c := &op.Call{Node: st.node, In: st.in}
	for _, t := range st.out {
		if t == nil {
			c.Out = append(c.Out, nil)
			continue
		}
		c.Out = append(c.Out, tensor.New(t.DType, t.Shape...))
	}
	if err := st.op.Ref(c); err != nil {
		return err
	}
	for i, t := range st.out {
		if t == nil {
			continue
		}
		if diff := tensor.Diff(t, c.Out[i], 1e-3, 1e-4); diff != "" {
			return fault.New(fault.Numeric, st.node.Place(), "the kernel differs from the reference: %s", diff)
		}
	}
	return nil
}
