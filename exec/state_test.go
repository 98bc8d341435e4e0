package exec

import (
	"testing"

	"muster/graph"
	"muster/tensor"
)

// optimised is w, updated from the gradient in input g; late says that the old w is read after the update, by an output.
func optimised(late bool) (*graph.Graph, []graph.State) {
	b := graph.NewBuilder(graph.New("step"))
	g := b.Input("g", tensor.Float32, graph.D(1000))
	w := b.Init("w", tensor.New(tensor.Float32, 1000))
	m, v := b.Init("m", tensor.New(tensor.Float32, 1000)), b.Init("v", tensor.New(tensor.Float32, 1000))
	lr, at := b.Scalar(0.1), b.Init("at", tensor.OfInt64([]int64{1}))
	b.Output("before", b.Op("Mul", w, b.Scalar(2)))
	out := b.Node(graph.Domain, "AdamW", 3, []*graph.Value{w, m, v, b.Op("Neg", b.Op("Neg", g)), lr, at})
	var states []graph.State
	for i, in := range []*graph.Value{w, m, v} {
		b.G.Outputs = append(b.G.Outputs, out[i])
		states = append(states, graph.State{In: in, Out: out[i]})
	}
	if late {
		b.Output("after", b.Op("Add", w, out[0])) // the old w beside the new one
	}
	return b.G, states
}

func gradient(k int) *tensor.Tensor {
	x := tensor.New(tensor.Float32, 1000)
	for i := range x.Float32s() {
		x.Float32s()[i] = float32((i*7+k*13)%11) - 5
	}
	return x
}

// TestStatesInPlace: a state that nobody reads after its update is overwritten, which takes no memory; one that is read
// later is not. Outputs and states are those of a session without passes whose states the test carries itself.
func TestStatesInPlace(t *testing.T) {
	for _, late := range []bool{false, true} {
		g, states := optimised(late)
		s, err := New(g, Config{State: states})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		plain, err := New(g, Config{NoPasses: true})
		if err != nil {
			t.Fatal(err)
		}
		defer plain.Close()
		for k := range 3 {
			want, err := plain.Run(gradient(k))
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Run(gradient(k))
			if err != nil {
				t.Fatal(err)
			}
			fixed := []*tensor.Tensor{want[0]}
			if late {
				fixed = append(fixed, want[4])
			}
			for i, w := range fixed {
				if !tensor.Equal(got[i], w) {
					t.Errorf("late %v, run %d, output %d: %v, want %v", late, k, i, got[i], w)
				}
			}
			// The next plain run starts from the states that this one gave.
			plain.Close()
			for i, name := range []string{"w", "m", "v"} {
				if !tensor.Equal(s.StateOf(name), want[1+i]) {
					t.Errorf("late %v, run %d: %s is %v, want %v", late, k, name, s.StateOf(name), want[1+i])
				}
				g.Init(name).Const = want[1+i]
			}
			if plain, err = New(g, Config{NoPasses: true}); err != nil {
				t.Fatal(err)
			}
		}
		r, err := s.Plan(gradient(0))
		if err != nil {
			t.Fatal(err)
		}
		// The output and the gradient take 4000 bytes each; in the late case the new w does too.
		if limit := 3 * 4000; !late && r.ArenaBytes >= limit || late && r.ArenaBytes < limit {
			t.Errorf("late %v: %d bytes of arena", late, r.ArenaBytes)
		}
	}
}
