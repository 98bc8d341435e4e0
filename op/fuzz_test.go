package op_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"muster/fault"
	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// odd are attribute and index values that files use to break readers.
var odd = []int64{0, 1, -1, 2, 3, 5, -2, -7, 100, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64, 1 << 33, 7 << 40}

// mutate changes one thing of a sample: a shape, a dtype, an attribute, a constant, the number of inputs or outputs, the opset.
func mutate(s sample, r *rand.Rand) sample {
	s.in = append([]arg{}, s.in...)
	s.attrs = append([]graph.Attr{}, s.attrs...)
	pick := func(n int) int { return r.IntN(max(n, 1)) }
	if len(s.in) == 0 {
		s.in = append(s.in, none)
	}
	i := pick(len(s.in))
	switch r.IntN(8) {
	case 0:
		if s.in[i].t != nil {
			d := []tensor.DType{1, 2, 3, 6, 7, 8, 9, 10, 11, 13, 16, 22, 99}[r.IntN(13)]
			shape := s.in[i].t.Shape
			s.in[i].t = &tensor.Tensor{DType: d, Shape: shape, Data: tensor.Alloc(d.Bytes(shape.Elems()))}
		}
	case 1, 2:
		if t := s.in[i].t; t != nil && t.Elems() < 1000 {
			shape := t.Shape.Clone()
			switch r.IntN(3) {
			case 0:
				shape = append(shape, r.IntN(4))
			case 1:
				shape = shape[:pick(len(shape))]
			default:
				if len(shape) > 0 {
					shape[pick(len(shape))] = r.IntN(6)
				}
			}
			s.in[i].t = &tensor.Tensor{DType: t.DType, Shape: shape, Data: tensor.Alloc(t.DType.Bytes(shape.Elems()))}
		}
	case 3:
		if t := s.in[i].t; t != nil && t.DType == tensor.Int64 && t.Elems() > 0 {
			t = t.Clone()
			t.Int64s()[pick(t.Elems())] = odd[r.IntN(len(odd))]
			s.in[i].t = t
		}
	case 4:
		s.in[i] = none
	case 5:
		if len(s.attrs) > 0 {
			k := pick(len(s.attrs))
			a := &s.attrs[k]
			a.I = odd[r.IntN(len(odd))]
			if len(a.Ints) > 0 {
				a.Ints = append([]int64{}, a.Ints...)
				a.Ints[pick(len(a.Ints))] = a.I
			}
			if r.IntN(4) == 0 {
				a.Kind = graph.AttrKind(1 + r.IntN(10))
			}
		} else {
			s.attrs = append(s.attrs, graph.Int([]string{"axis", "keepdims", "to", "perm"}[r.IntN(4)], odd[r.IntN(len(odd))]))
		}
	case 6:
		s.out = 1 + r.IntN(4)
	default:
		s.in[i].konst = !s.in[i].konst
	}
	return s
}

// attempt infers, evaluates, prepares and runs; it reports whether an error was one of ours.
func attempt(t *testing.T, s sample) {
	t.Helper()
	fed := s
	for _, symbolic := range []bool{false, true} {
		for i := range fed.in {
			if d := fed.in[i].t; d != nil && d.DType.Bits() == 0 {
				fed.in[i].konst = true
			}
		}
		g, _, feeds := fed.build(t, symbolic)
		if _, err := eval(g, feeds); err != nil {
			if fault.ClassOf(err) == fault.Internal {
				t.Fatalf("%v: %v", s, err)
			}
			continue
		}
		if !symbolic {
			attemptKernel(t, fed, g)
		}
	}
}

func attemptKernel(t *testing.T, s sample, g *graph.Graph) {
	t.Helper()
	if o, err := op.Of(g, g.Nodes[0]); err != nil || o.Prepare == nil {
		return
	}
	g, _, err := op.Bind(g, nil)
	if err != nil {
		t.Fatal(s, err)
	}
	var in []*tensor.Tensor
	var konst []bool
	for i := range g.Nodes[0].Inputs {
		in, konst = append(in, s.in[i].t), append(konst, s.in[i].konst)
	}
	out, k, ok := prepared(t, s, g, in, konst)
	if ok && (k.Check == nil || k.Check(in) == nil) {
		k.Run(in, out, tensor.Alloc(k.Scratch))
	}
}

// FuzzNode breaks a sample in a few places; whatever comes out, nothing may panic.
func FuzzNode(f *testing.F) {
	all := samples()
	for i := 0; i < len(all); i += 7 {
		f.Add(uint64(i), uint64(i))
	}
	f.Fuzz(func(t *testing.T, which, seed uint64) {
		r := rand.New(rand.NewPCG(seed, which))
		s := all[which%uint64(len(all))]
		for n := 1 + r.IntN(3); n > 0; n-- {
			s = mutate(s, r)
		}
		for _, a := range s.in {
			if a.t != nil && a.t.Elems() > 5000 {
				return
			}
		}
		attempt(t, s)
	})
}
