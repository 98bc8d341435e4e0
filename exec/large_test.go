package exec

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"muster/graph"
	"muster/tensor"
)

// TestLargeGraphs: a large graph loads, is planned and runs in time and memory that grow with its size, not with the
// square of it. MUSTER_LARGE sets the number of nodes; 10^6 take a minute.
func TestLargeGraphs(t *testing.T) {
	n := 20_000
	if !testing.Short() {
		n = 50_000
	}
	if v, err := strconv.Atoi(os.Getenv("MUSTER_LARGE")); err == nil {
		n = v
	}
	for _, c := range []struct {
		name string
		node func(b *graph.Builder, i int, v, w *graph.Value) *graph.Value
	}{
		{"chain", func(b *graph.Builder, i int, v, w *graph.Value) *graph.Value { return b.Op("Add", v, w) }},
		{"identities", func(b *graph.Builder, i int, v, w *graph.Value) *graph.Value { return b.Op("Identity", v) }},
	} {
		g := graph.New(c.name)
		b := graph.NewBuilder(g)
		x, w := b.Input("x", tensor.Float32, graph.D(2)), b.Init("w", f32(1, 0))
		v := x
		for i := range n {
			v = c.node(b, i, v, w)
		}
		b.Output("y", b.Op("Neg", v))
		start := time.Now()
		lap := func(what string) {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			t.Log(c.name, what, time.Since(start).Round(time.Millisecond), m.HeapAlloc>>20, "MiB")
			start = time.Now()
		}
		bytes, err := g.Encode()
		if err != nil {
			t.Fatal(err)
		}
		lap("encoded")
		if g, err = graph.Decode(bytes); err != nil {
			t.Fatal(err)
		}
		lap("decoded")
		s, err := New(g, Config{})
		if err != nil {
			t.Fatal(err)
		}
		lap("checked")
		out, err := s.Run(f32(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		lap("planned and run")
		want := float32(-n)
		if c.name == "identities" {
			want = 0
		}
		if out[0].Float32s()[0] != want {
			t.Error(fmt.Sprint(out[0]), want)
		}
		s.Close()
	}
}

// TestPlacement: whatever the lives of buffers are, two that live at the same time never share memory, and placing in
// order takes at most twice the memory of placing by size.
func TestPlacement(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var list []*buffer
		for i := range 1 + r.IntN(60) {
			list = append(list, &buffer{size: 64 * (1 + r.IntN(20)), first: i, last: i + r.IntN(12)})
		}
		ordered := make([]*buffer, len(list))
		for i, b := range list {
			c := *b
			ordered[i] = &c
		}
		a, b := placeBySize(append([]*buffer{}, list...)), placeInOrder(ordered)
		if b > 2*a {
			t.Errorf("%d bytes by size, %d in order", a, b)
		}
		for _, set := range [][]*buffer{list, ordered} {
			for i, x := range set {
				for _, y := range set[:i] {
					if x.first <= y.last && y.first <= x.last && x.offset < y.offset+y.size && y.offset < x.offset+x.size {
						t.Fatalf("%+v and %+v overlap", x, y)
					}
				}
			}
		}
	}
}
