package pass

import (
	"muster/graph"
	"muster/tensor"
)

// dynamicQuant gives dynamically quantized linear layers, as quantizers of ONNX files write them, to the
// integer kernels with their scaling at the end:
//
//	Cast(MatMulInteger(a, b, za, zb)) * (sa * sb) (+ bias [N])
//
// becomes com.microsoft.MatMulIntegerToFloat. DynamicQuantizeLinear stays: several layers read its result.
func dynamicQuant(g *graph.Graph) int {
	uses, fired := g.Uses(), 0
	b := graph.NewBuilder(g)
	for _, n := range g.Nodes {
		if n.Domain != "" || n.Op != "MatMulInteger" {
			continue
		}
		cast := use(uses, n.Outputs[0])
		if cast == nil || cast.Op != "Cast" || cast.Domain != "" || cast.Outputs[0].DType != tensor.Float32 {
			continue
		}
		mul := use(uses, cast.Outputs[0])
		if mul == nil || mul.Op != "Mul" || mul.Domain != "" {
			continue
		}
		sa, sb := scalesOf(other(mul, cast.Outputs[0]), n.Inputs[1])
		if sa == nil {
			continue
		}
		y, bias := mul.Outputs[0], (*graph.Value)(nil)
		if add := use(uses, y); add != nil && add.Domain == "" && add.Op == "Add" {
			if v := other(add, y); isRow(v, n.Inputs[1]) {
				y, bias = add.Outputs[0], v
			}
		}
		fuse(b, y, "com.microsoft", "MatMulIntegerToFloat", []*graph.Value{n.Inputs[0], n.Inputs[1], sa, sb, n.In(2), n.In(3), bias})
		fired++
	}
	return fired
}

// other is the operand of a node of two that is not v.
func other(n *graph.Node, v *graph.Value) *graph.Value {
	if n.Inputs[0] == v {
		return n.Inputs[1]
	}
	return n.Inputs[0]
}

// scalesOf splits the factor sa * sb: sa has one element and sb, a constant, one or one for each column of w.
func scalesOf(s, w *graph.Value) (sa, sb *graph.Value) {
	if !made(s, "", "Mul") {
		return nil, nil
	}
	for i, v := range s.Producer.Inputs {
		sa, sb = s.Producer.Inputs[1-i], v
		if sb.Const != nil && (isRow(sb, w) || sb.Const.Elems() == 1) && oneElement(sa) {
			return sa, sb
		}
	}
	return nil, nil
}

func oneElement(v *graph.Value) bool {
	s, ok := v.Static()
	return ok && len(s) <= 1 && s.Elems() == 1
}

// isRow reports whether v is a vector with an entry for each column of the matrix w.
func isRow(v, w *graph.Value) bool {
	return len(v.Shape) == 1 && len(w.Shape) == 2 && v.Shape[0].Same(w.Shape[1])
}
