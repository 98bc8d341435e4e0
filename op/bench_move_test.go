package op_test

import (
	"testing"

	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// BenchmarkMoves runs the kernels of operators that move data at sizes that models have. MB/s counts the bytes of
// all inputs and outputs; `copy` is the same for a plain copy. References run where there is no kernel.
func BenchmarkMoves(b *testing.B) {
	pcg.Seed(5, 6)
	for _, c := range moves() {
		b.Run(c.name, func(b *testing.B) { benchMove(b, c.sample) })
	}
}

type move struct {
	name string
	sample
}

func moves() []move {
	i := func(name string, v int64) []graph.Attr { return attrs(graph.Int(name, v)) }
	f := func(v ...float32) arg { return konst(fx(v, len(v))) }
	lin := attrs(graph.Str("mode", "linear"))
	return []move{
		{"copy", sample{op: "Pad", in: at(ff(1<<21), ci(0, 0))}},
		{"Gather/embedding", sample{op: "Gather", in: at(ff(30000, 384), ix(0, 30000, 1, 512))}},
		{"Gather/last", sample{op: "Gather", in: at(ff(64, 128, 64), cs(3)), attrs: i("axis", 2)}},
		{"Gather/scalars", sample{op: "Gather", in: at(ff(2048), ix(0, 2048, 512, 512))}},
		{"GatherGrad", sample{domain: graph.Domain, op: "GatherGrad", in: at(ff(4096, 384), ix(0, 8000, 4096), ci(8000, 384))}},
		{"GatherElements/rows", sample{op: "GatherElements", in: at(ff(12, 512, 512), ix(0, 512, 12, 512, 512)), attrs: i("axis", 2)}},
		{"GatherElements/columns", sample{op: "GatherElements", in: at(ff(512, 1024), ix(0, 512, 300, 1024)), attrs: i("axis", 0)}},
		{"GatherND", sample{op: "GatherND", in: at(ff(64, 512, 64), ix(0, 64, 4096, 2))}},
		{"ScatterND/rows", sample{op: "ScatterND", in: at(ff(4096, 256), ix(0, 4096, 1024, 1), ff(1024, 256))}},
		{"ScatterND/add", sample{op: "ScatterND", in: at(ff(4096, 256), ix(0, 4096, 1024, 1), ff(1024, 256)), attrs: attrs(graph.Str("reduction", "add"))}},
		{"ScatterElements/rows", sample{op: "ScatterElements", in: at(ff(512, 512), ix(0, 512, 512, 512), ff(512, 512)), attrs: i("axis", 1)}},
		{"ScatterElements/add", sample{op: "ScatterElements", in: at(ff(512, 512), ix(0, 512, 512, 512), ff(512, 512)), attrs: attrs(graph.Str("reduction", "add"))}},
		{"Slice/rows", sample{op: "Slice", in: at(ff(64, 128, 256), ci(16), ci(100), ci(1))}},
		{"Slice/step", sample{op: "Slice", in: at(ff(64, 128, 256), ci(0), ci(1<<30), ci(2), ci(2))}},
		{"Split/last", sample{op: "Split", in: at(ff(512, 2304)), attrs: attrs(graph.Int("axis", 1), graph.Int("num_outputs", 3)), out: 3}},
		{"Concat/last", sample{op: "Concat", in: at(ff(4096, 32), ff(4096, 32)), attrs: i("axis", 1)}},
		{"Concat/channels", sample{op: "Concat", in: at(ff(1, 64, 80, 80), ff(1, 64, 80, 80)), attrs: i("axis", 1)}},
		{"Transpose/heads", sample{op: "Transpose", in: at(ff(8, 128, 12, 64)), attrs: attrs(graph.Ints("perm", 0, 2, 1, 3))}},
		{"Transpose/keys", sample{op: "Transpose", in: at(ff(8, 128, 12, 64)), attrs: attrs(graph.Ints("perm", 0, 2, 3, 1))}},
		{"Transpose/nhwc", sample{op: "Transpose", in: at(ff(1, 64, 112, 112)), attrs: attrs(graph.Ints("perm", 0, 2, 3, 1))}},
		{"Transpose/uint8", sample{op: "Transpose", in: at(u8(1, 224, 224, 3)), attrs: attrs(graph.Ints("perm", 0, 3, 1, 2))}},
		{"Transpose/int64", sample{op: "Transpose", in: at(ix(0, 9, 512, 512))}},
		{"Expand/mask", sample{op: "Expand", in: at(ff(1, 1, 512), ci(8, 512, 512))}},
		{"Expand/column", sample{op: "Expand", in: at(ff(512, 1), ci(512, 512))}},
		{"Tile", sample{op: "Tile", in: at(ff(64, 256), ci(4, 8))}},
		{"Where", sample{op: "Where", in: at(bb(1, 1, 256, 256), ff(1, 12, 256, 256), fx([]float32{-1e9}))}},
		{"Where/int64", sample{op: "Where", in: at(bb(512, 512), ix(0, 9, 512, 512), ix(0, 9, 512, 512))}},
		{"Pad/image", sample{op: "Pad", in: at(ff(1, 64, 112, 112), ci(0, 0, 1, 1, 0, 0, 1, 1))}},
		{"Pad/reflect", sample{op: "Pad", in: at(ff(1, 64, 112, 112), ci(0, 0, 3, 3, 0, 0, 3, 3)), attrs: attrs(graph.Str("mode", "reflect"))}},
		{"Resize/nearest2", sample{op: "Resize", in: at(ff(1, 64, 80, 80), none, f(1, 1, 2, 2)), attrs: attrs(graph.Str("coordinate_transformation_mode", "asymmetric"), graph.Str("nearest_mode", "floor"))}},
		{"Resize/linear2", sample{op: "Resize", in: at(ff(1, 64, 80, 80), none, f(1, 1, 2, 2)), attrs: lin}},
		{"Resize/linear-down", sample{op: "Resize", in: at(ff(1, 3, 480, 640), none, none, ci(1, 3, 224, 224)), attrs: lin}},
		{"Resize/cubic", sample{op: "Resize", in: at(ff(1, 3, 224, 224), none, f(1, 1, 2, 2)), attrs: attrs(graph.Str("mode", "cubic"))}},
		{"MixGrad", sample{domain: graph.Domain, op: "MixGrad", in: at(ff(1, 64, 160, 160), konst(ix(0, 80, 160, 2)), konst(ff(160, 2)), ci(1, 64, 160, 80))}},
		{"TopK/100", sample{op: "TopK", in: at(ff(1, 8400*80), ci(100)), out: 2}},
		{"TopK/rows", sample{op: "TopK", in: at(ff(512, 1000), ci(5)), out: 2}},
		{"NonZero", sample{op: "NonZero", in: at(konst(ix(0, 2, 256, 256)))}},
		{"OneHot", sample{op: "OneHot", in: at(ix(0, 1000, 512), cs(1000), f(0, 1))}},
		{"Range", sample{op: "Range", in: at(cs(0), cs(65536), cs(1))}},
		{"ConstantOfShape", sample{op: "ConstantOfShape", in: at(ci(512, 1024))}},
		{"DepthToSpace", sample{op: "DepthToSpace", in: at(ff(1, 64, 80, 80)), attrs: i("blocksize", 2)}},
		{"SpaceToDepth", sample{op: "SpaceToDepth", in: at(ff(1, 16, 160, 160)), attrs: i("blocksize", 2)}},
		{"GridSample", sample{op: "GridSample", in: at(ff(1, 32, 64, 64), fu(-1, 1, 1, 64, 64, 2))}},
		{"RoiAlign", sample{op: "RoiAlign", in: at(ff(1, 64, 50, 50), fu(0, 400, 50, 4), ix(0, 1, 50)), attrs: attrs(graph.Int("output_height", 7), graph.Int("output_width", 7), graph.Int("sampling_ratio", 2), graph.Float("spatial_scale", 0.1))}},
		{"LSTM/batch1", sample{op: "LSTM", in: at(ff(100, 1, 128), konst(ff(1, 1024, 128)), konst(ff(1, 1024, 256)), konst(ff(1, 2048))), attrs: i("hidden_size", 256), out: 3}},
		{"LSTM/batch32", sample{op: "LSTM", in: at(ff(50, 32, 128), konst(ff(1, 1024, 128)), konst(ff(1, 1024, 256)), konst(ff(1, 2048))), attrs: i("hidden_size", 256), out: 3}},
	}
}

func benchMove(b *testing.B, s sample) {
	g, _, _ := s.build(&testing.T{}, false)
	g, _, err := op.Bind(g, nil)
	if err != nil {
		b.Fatal(err)
	}
	n := g.Nodes[0]
	o, err := op.Of(g, n)
	if err != nil {
		b.Fatal(err)
	}
	p, c := &op.Prep{Node: n}, &op.Call{Node: n}
	bytes := 0
	for _, a := range s.in {
		x := a.t
		if x != nil {
			bytes += len(x.Data)
			if s.op == "Gather" && len(c.In) == 0 {
				bytes -= len(x.Data)
			}
		}
		c.In = append(c.In, x)
		if x != nil && !a.konst {
			x = &tensor.Tensor{DType: x.DType, Shape: x.Shape}
		}
		p.In = append(p.In, x)
	}
	for len(c.In) > 0 && c.In[len(c.In)-1] == nil {
		c.In, p.In = c.In[:len(c.In)-1], p.In[:len(p.In)-1]
	}
	for _, v := range n.Outputs {
		shape, _ := v.Static()
		t := tensor.New(v.DType, shape...)
		bytes += len(t.Data)
		c.Out, p.Out = append(c.Out, t), append(p.Out, t)
	}
	b.SetBytes(int64(bytes))
	var k op.Kernel
	ok := false
	if o.Prepare != nil {
		k, ok = o.Prepare(p)
	}
	if !ok {
		b.Log("reference")
		for b.Loop() {
			if err := o.Ref(c); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	scratch := tensor.Alloc(k.Scratch)
	for b.Loop() {
		if k.Check != nil {
			if err := k.Check(c.In); err != nil {
				b.Fatal(err)
			}
		}
		k.Run(c.In, c.Out, scratch)
	}
}
