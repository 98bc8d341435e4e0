package feed

import (
	"math"
	"regexp"

	"muster/fault"
	"muster/graph"
	"muster/internal/cpu"
	"muster/rng"
	"muster/tensor"
)

// limit is what the readers of an input allow its values to be.
type limit struct {
	below int64    // indices are in [0, below); 0: not an index
	one   *float64 // a value that the graph compares the input with
}

// keepsValues are operators whose output elements are input elements, by the position of that input.
var keepsValues = map[string]bool{
	"Identity": true, "Cast": true, "Reshape": true, "Squeeze": true, "Unsqueeze": true, "Flatten": true,
	"Slice": true, "Transpose": true, "Expand": true, "Concat": true, "Split": true, "Tile": true,
}

// rangesOf follows the integer inputs of g through operators that keep values to those that read them.
func rangesOf(g *graph.Graph) map[*graph.Value]limit {
	uses := readers(g)
	out := map[*graph.Value]limit{}
	for _, v := range g.Inputs {
		if v.DType.IsFloat() || v.DType == tensor.Bool {
			continue
		}
		l := limit{}
		seen := map[*graph.Value]bool{v: true}
		for todo := []*graph.Value{v}; len(todo) > 0; todo = todo[1:] {
			for _, n := range uses[todo[0]] {
				l.read(n, todo[0])
				if !keepsValues[n.Op] {
					continue
				}
				for _, o := range n.Outputs {
					if o != nil && !seen[o] {
						seen[o] = true
						todo = append(todo, o)
					}
				}
			}
		}
		out[v] = l
	}
	return out
}

// readers maps values to the nodes that read them, in this graph and in its subgraphs.
func readers(g *graph.Graph) map[*graph.Value][]*graph.Node {
	uses := map[*graph.Value][]*graph.Node{}
	var add func(g *graph.Graph)
	add = func(g *graph.Graph) {
		for _, n := range g.Nodes {
			for _, v := range n.Inputs {
				if v != nil {
					uses[v] = append(uses[v], n)
				}
			}
			for i := range n.Attrs {
				if n.Attrs[i].G != nil {
					add(n.Attrs[i].G)
				}
				for _, s := range n.Attrs[i].Graphs {
					add(s)
				}
			}
		}
	}
	add(g)
	return uses
}

// read narrows l by what n does with v.
func (l *limit) read(n *graph.Node, v *graph.Value) {
	switch n.Op {
	case "Gather", "GatherElements", "GatherND", "Embedding":
		if n.In(1) != v || n.In(0) == nil {
			return
		}
		axis := int(n.Int("axis", 0))
		shape := n.Inputs[0].Shape
		if c := n.Inputs[0].Const; c != nil && shape == nil {
			for _, d := range c.Shape {
				shape = append(shape, graph.D(d))
			}
		}
		if axis < 0 {
			axis += len(shape)
		}
		if axis < len(shape) && shape[axis].Known() {
			l.index(int64(shape[axis].Size))
		}
	case "Equal":
		for _, o := range n.Inputs {
			if o != nil && o != v && constOf(o) != nil && constOf(o).Elems() > 0 && l.one == nil {
				x := constOf(o).Float(0)
				l.one = &x
			}
		}
	}
}

func constOf(v *graph.Value) *tensor.Tensor {
	if v.Const == nil && v.Producer != nil && v.Producer.Op == "Constant" {
		if a := v.Producer.Attr("value"); a != nil {
			return a.T
		}
	}
	return v.Const
}

func (l *limit) index(n int64) {
	if n > 0 && (l.below == 0 || n < l.below) {
		l.below = n
	}
}

// maskName are inputs whose ones mean "look here".
var maskName = regexp.MustCompile(`(?i)mask`)

// random fills a tensor: standard normal floats, indices below their limit, masks of
// ones, the value that the graph compares with, other integers 0 or 1.
func random(v *graph.Value, shape tensor.Shape, l limit, s *rng.Stream) (*tensor.Tensor, error) {
	n, ok := shape.CheckedElems()
	if !ok || n > 1<<34 {
		return nil, fault.New(fault.Exhausted, "input "+v.Name, "the shape %s has too many elements", shape)
	}
	if v.DType == tensor.String || v.DType.Bits() == 0 {
		return nil, fault.New(fault.Unsupported, "input "+v.Name, "inputs of type %s cannot be made up", v.DType)
	}
	if !cpu.Affordable(v.DType.Bytes(n)) {
		return nil, fault.New(fault.Exhausted, "input "+v.Name, "%s %s takes %d bytes, there is less memory", v.DType, shape, v.DType.Bytes(n)).
			WithHint("--shape gives smaller sizes where the file leaves them open")
	}
	t := tensor.New(v.DType, shape...)
	mask := maskName.MatchString(v.Name) && l.below == 0
	integer := func() int64 {
		switch {
		case mask:
			return 1
		case l.one != nil:
			return int64(*l.one)
		case l.below > 0:
			return int64(s.Uint64n(uint64(min(l.below, math.MaxInt32))))
		}
		return int64(s.Intn(2))
	}
	switch v.DType {
	case tensor.Float32:
		for i, x := 0, t.Float32s(); i < n; i++ {
			x[i] = float32(s.Norm())
		}
	case tensor.Float64:
		for i, x := 0, t.Float64s(); i < n; i++ {
			x[i] = s.Norm()
		}
	case tensor.Float16, tensor.BFloat16:
		for i, x := 0, t.Uint16s(); i < n; i++ {
			x[i] = half(v.DType, s)
		}
	case tensor.Int64, tensor.Uint64:
		for i := 0; i < n; i++ {
			x := uint64(integer())
			for k := 0; k < 8; k++ {
				t.Data[8*i+k] = byte(x >> (8 * k))
			}
		}
	case tensor.Int32, tensor.Uint32:
		for i := 0; i < n; i++ {
			x := uint32(integer())
			for k := 0; k < 4; k++ {
				t.Data[4*i+k] = byte(x >> (8 * k))
			}
		}
	case tensor.Bool:
		for i := range t.Data {
			t.Data[i] = 1
		}
	case tensor.Uint8:
		for i := range t.Data {
			t.Data[i] = byte(s.Intn(256))
		}
	case tensor.Int8:
		for i := range t.Data {
			t.Data[i] = byte(s.Intn(256))
		}
	default:
		for i := range t.Data { // small values in every narrow type
			t.Data[i] = 0
		}
	}
	return t, nil
}

// half is a multiple of 1/64 in [-2, 2), exact in float16 and bfloat16.
func half(d tensor.DType, s *rng.Stream) uint16 {
	x := float32(s.Intn(256)-128) / 64
	bits := math.Float32bits(x)
	if d == tensor.BFloat16 {
		return uint16(bits >> 16)
	}
	if x == 0 {
		return 0
	}
	sign, exp, man := bits>>31, int(bits>>23&255)-127+15, bits&(1<<23-1)
	return uint16(sign<<15 | uint32(exp)<<10 | man>>13)
}
