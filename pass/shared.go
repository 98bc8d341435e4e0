package pass

import (
	"encoding/binary"
	"math"

	"muster/graph"
	"muster/op"
	"muster/tensor"
)

// shared lets nodes that compute the same from the same inputs be computed once. Equal small constants
// count as the same input. Operators that draw random numbers or have subgraphs are left alone.
func shared(g *graph.Graph) int {
	r := newRewrite(g)
	ids, consts, seen := map[*graph.Value]uint64{}, map[string]uint64{}, map[string]*graph.Node{}
	id := func(v *graph.Value) uint64 {
		if v == nil {
			return 0
		}
		v = r.now(v)
		if k, ok := ids[v]; ok {
			return k
		}
		k := uint64(len(ids) + 1)
		if v.Const != nil && v.Const.DType != tensor.String && len(v.Const.Data) <= 64 {
			key := string(constKey(v.Const))
			if old, ok := consts[key]; ok {
				k = old
			} else {
				consts[key] = k
			}
		}
		ids[v] = k
		return k
	}
	var key []byte
	for _, n := range g.Nodes {
		o, err := op.Of(g, n)
		if err != nil || o.Random {
			continue
		}
		var ok bool
		if key, ok = nodeKey(key[:0], n, id); !ok {
			continue
		}
		first := seen[string(key)]
		if first == nil {
			seen[string(key)] = n
			continue
		}
		for i, v := range n.Outputs {
			if v != nil && !r.outs[v] && first.Outputs[i] != nil {
				r.replace(v, first.Outputs[i])
			}
		}
	}
	return r.done()
}

func constKey(t *tensor.Tensor) []byte {
	key := []byte{byte(t.DType)}
	for _, d := range t.Shape {
		key = binary.AppendUvarint(key, uint64(d))
	}
	return append(append(key, 0xff), t.Data...)
}

// nodeKey appends what determines n's results; ok is false if it may not be shared.
func nodeKey(key []byte, n *graph.Node, id func(*graph.Value) uint64) (_ []byte, ok bool) {
	key = append(append(append(key, n.Domain...), 0), n.Op...)
	key = binary.AppendUvarint(append(key, 0), uint64(len(n.Outputs)))
	for i := range n.Attrs {
		a := &n.Attrs[i]
		key = append(append(key, 0, 1, byte(a.Kind)), a.Name...)
		switch a.Kind {
		case graph.AttrInt:
			key = binary.AppendVarint(key, a.I)
		case graph.AttrFloat:
			key = binary.LittleEndian.AppendUint32(key, math.Float32bits(a.F))
		case graph.AttrString:
			key = append(key, a.S...)
		case graph.AttrInts:
			for _, v := range a.Ints {
				key = binary.AppendVarint(key, v)
			}
		case graph.AttrFloats:
			for _, v := range a.Floats {
				key = binary.LittleEndian.AppendUint32(key, math.Float32bits(v))
			}
		default: // tensors, subgraphs
			return key, false
		}
	}
	key = append(key, 0, 2)
	for _, v := range n.Inputs {
		key = binary.AppendUvarint(key, id(v))
	}
	return key, true
}
