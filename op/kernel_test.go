package op_test

import (
	"fmt"
	"testing"

	"muster/graph"
	"muster/internal/cpu"
	"muster/internal/team"
	"muster/op"
	"muster/tensor"
)

// prepared runs the kernel of n for these inputs; ok is false if there is none.
// Inputs that are not constant have no data when the kernel is chosen.
func prepared(t *testing.T, s sample, g *graph.Graph, in []*tensor.Tensor, konst []bool) (out []*tensor.Tensor, k op.Kernel, ok bool) {
	t.Helper()
	n := g.Nodes[0]
	o, err := op.Of(g, n)
	if err != nil {
		t.Fatal(s, err)
	}
	if o.Prepare == nil {
		return nil, k, false
	}
	p := &op.Prep{Node: n}
	for i, x := range in {
		if x != nil && !konst[i] {
			x = &tensor.Tensor{DType: x.DType, Shape: x.Shape}
		}
		p.In = append(p.In, x)
	}
	for _, v := range n.Outputs {
		shape, _ := v.Static()
		out = append(out, tensor.New(v.DType, shape...))
		p.Out = append(p.Out, &tensor.Tensor{DType: v.DType, Shape: shape})
	}
	k, ok = o.Prepare(p)
	return out, k, ok
}

// guard is written behind every output and the scratch, and must be there afterwards.
const guard = 0x5a

// A kernel computes what the reference does, writes nothing else, keeps its
// inputs, gives the same bits on every tier, with any number of threads, in place and a second time, and does not allocate.
func TestKernels(t *testing.T) {
	have, lack := map[string]int{}, map[string]int{}
	for _, s := range samples() {
		g, n, feeds := s.build(t, false)
		want, err := eval(g, feeds)
		if err != nil {
			t.Fatal(s, err)
		}
		if o, err := op.Of(g, n); err == nil && o.Ref == nil && o.Prepare == nil {
			bodyKernels(t, s, g, feeds, want)
			continue
		}
		if g, _, err = op.Bind(g, nil); err != nil {
			t.Fatal(s, err)
		}
		var in []*tensor.Tensor
		var konst []bool
		for _, a := range s.in {
			in, konst = append(in, a.t), append(konst, a.konst)
		}
		for len(in) > 0 && in[len(in)-1] == nil {
			in, konst = in[:len(in)-1], konst[:len(konst)-1]
		}
		out, k, ok := prepared(t, s, g, in, konst)
		if !ok {
			lack[n.FullOp()]++
			continue
		}
		have[n.FullOp()]++
		runKernel(t, s, k, in, out, want)
	}
	for name, n := range have {
		t.Logf("%-32s %3d samples on a kernel, %3d on the reference", name, n, lack[name])
	}
}

func guarded(b []byte) []byte {
	b = b[:len(b):cap(b)]
	tail := b[len(b):cap(b)]
	for i := range tail {
		tail[i] = guard
	}
	return b
}

func runKernel(t *testing.T, s sample, k op.Kernel, in, out, want []*tensor.Tensor) {
	t.Helper()
	if k.Check != nil {
		if err := k.Check(in); err != nil {
			t.Fatal(s, err)
		}
	}
	before := clones(in)
	for _, o := range out {
		for i := range o.Data {
			o.Data[i] = 0x77 // kernels must not rely on zeros
		}
		o.Data = guarded(o.Data)
	}
	scratch := guarded(tensor.Alloc(k.Scratch))
	k.Run(in, out, scratch)
	for i := range want {
		if d := s.diff(out[i], want[i]); d != "" {
			t.Errorf("%v output %d: %s", s, i, d)
		}
		for _, b := range out[i].Data[len(out[i].Data):cap(out[i].Data)] {
			if b != guard {
				t.Errorf("%v writes behind output %d", s, i)
				break
			}
		}
	}
	for i, x := range in {
		if x != nil && !tensor.Equal(x, before[i]) {
			t.Errorf("%v changes input %d", s, i)
		}
	}
	first := clones(out)
	for tier := cpu.Ref; tier <= cpu.Best(); tier++ {
		for _, threads := range []int{1, 3} {
			tiers(k, in, out, scratch, tier, threads)
			same(t, s, fmt.Sprintf("on %v with %d threads", tier, threads), out, first)
		}
	}
	if allocs := testing.AllocsPerRun(2, func() { k.Run(in, out, scratch) }); allocs > 0 {
		t.Errorf("%v allocates %g times", s, allocs)
	}
	same(t, s, "a second time", out, first)
	if k.Over > 0 && len(in[k.Over-1].Data) >= len(out[0].Data) {
		again := clones(in)
		x := again[k.Over-1]
		over := append([]*tensor.Tensor{}, out...)
		over[0] = &tensor.Tensor{DType: out[0].DType, Shape: out[0].Shape, Data: x.Data[:len(out[0].Data)]}
		k.Run(again, over, scratch)
		same(t, s, "in place", over, first)
	}
}

// tiers runs k once on a tier with a number of threads.
func tiers(k op.Kernel, in, out []*tensor.Tensor, scratch []byte, tier cpu.Tier, threads int) {
	defer cpu.Force(tier)()
	defer team.Resize(threads)()
	k.Run(in, out, scratch)
}

func clones(ts []*tensor.Tensor) []*tensor.Tensor {
	out := make([]*tensor.Tensor, len(ts))
	for i, x := range ts {
		if x != nil {
			out[i] = x.Clone()
		}
	}
	return out
}

func same(t *testing.T, s sample, when string, got, want []*tensor.Tensor) {
	t.Helper()
	for i := range want {
		if !tensor.Equal(got[i], want[i]) {
			t.Errorf("%v differs %s: %s", s, when, tensor.Diff(got[i], want[i], 0, 0))
		}
	}
}

// bodyKernels compares the kernels of an operator that is a body alone with the references of the same body.
func bodyKernels(t *testing.T, s sample, g *graph.Graph, feeds, want []*tensor.Tensor) {
	t.Helper()
	got, err := evalWith(g, feeds, kernelOrRef)
	if err != nil {
		t.Fatal(s, err)
	}
	for i := range want {
		if d := s.diff(got[i], want[i]); d != "" {
			t.Errorf("%v output %d: %s", s, i, d)
		}
	}
}
