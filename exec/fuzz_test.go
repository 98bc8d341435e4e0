package exec

import (
	"testing"

	"muster/fault"
	"muster/graph"
	"muster/tensor"
)

// FuzzModel breaks the bytes of models with subgraphs, sequences and shapes that depend on data, reads them, and runs
// what is read: whatever comes out is an answer or an error with a class.
func FuzzModel(f *testing.F) {
	for _, g := range []*graph.Graph{ifGraph(nil), ifGraph(boolean(true)), loopGraph(), sequenceGraph(), segmentGraph()} {
		b, err := g.Encode()
		if err != nil {
			f.Fatal(err)
		}
		for i := range 6 {
			f.Add(b, uint32(i*len(b)/6), byte(i))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, at uint32, flip byte) {
		if len(b) == 0 || len(b) > 1<<14 {
			return
		}
		b = append([]byte{}, b...)
		b[int(at)%len(b)] ^= flip
		g, err := graph.Decode(b)
		if err != nil {
			classed(t, err)
			return
		}
		var in []*tensor.Tensor
		for _, v := range g.Inputs {
			shape, total := make([]int, len(v.Shape)), 1
			for i, d := range v.Shape {
				shape[i] = max(d.Size, 0)
				if !d.Known() {
					shape[i] = 3
				}
				if total *= max(shape[i], 1); total > 1<<12 || shape[i] > 1<<12 {
					return
				}
			}
			if v.DType.IsContainer() {
				in = append(in, &tensor.Tensor{DType: v.DType, Shape: tensor.Shape{}})
				continue
			}
			if v.DType.Bits() == 0 {
				return
			}
			x := tensor.New(v.DType, shape...)
			for i := range x.Data {
				x.Data[i] = byte(i) & 1
			}
			in = append(in, x)
		}
		s, err := New(g, Config{MaxSteps: 100})
		if err != nil {
			classed(t, err)
			return
		}
		defer s.Close()
		_, err = s.Run(in...)
		classed(t, err)
	})
}

func classed(t *testing.T, err error) {
	t.Helper()
	if err != nil && fault.ClassOf(err) == fault.Internal {
		t.Fatalf("an error without a class: %v", err)
	}
}
