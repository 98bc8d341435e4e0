package op

import (
	"slices"

	"muster/graph"
	"muster/internal/team"
	"muster/tensor"
)

// NonMaxSuppression picks, per batch entry and class, boxes from the highest score down and drops every box whose
// overlap (intersection over union) with a picked one is above a threshold: rows [batch, class, box]. Of equal
// scores the lower index comes first.
var opNonMaxSuppression = Op{
	Name: "NonMaxSuppression", Since: 10, MinIn: 2, MaxIn: 5, MinOut: 1, MaxOut: 1, Attrs: "center_point_box", Dynamic: true,
	NoGrad: "its output is an integer",
	Infer: func(c *InferCall) error {
		err := firstErr(c.wantType(0, tensor.Float32), c.wantType(1, tensor.Float32), c.wantType(2, tensor.Int64), c.wantType(3, tensor.Float32), c.wantType(4, tensor.Float32),
			c.wantRank(0, 3), c.wantRank(1, 3))
		if err != nil {
			return err
		}
		if v := c.Node.Int("center_point_box", 0); v != 0 && v != 1 {
			return c.unsupported("center_point_box %d is not supported", v)
		}
		out := []graph.Dim{{Size: -1}, graph.D(3)}
		in := make([]*tensor.Tensor, len(c.In))
		all := true
		for i, v := range c.In {
			if v != nil {
				in[i] = v.Const
				all = all && v.Const != nil && v.Const.Elems() <= foldLimit
			}
		}
		if all {
			picked, err := suppress(c.Node, in)
			if err != nil {
				return c.Errorf("%v", err)
			}
			out[0] = graph.D(len(picked))
		}
		c.Set(0, tensor.Int64, out)
		return nil
	},
	Ref: func(c *Call) error {
		picked, err := suppress(c.Node, c.In)
		if err != nil {
			return err
		}
		v := c.resize(0, len(picked), 3).Int64s()
		for i, p := range picked {
			copy(v[3*i:], p[:])
		}
		return nil
	},
}

// box is an area by its edges.
type box struct{ x0, y0, x1, y1 float32 }

func boxOf(v []float32, center bool) box {
	if center {
		return box{v[0] - v[2]/2, v[1] - v[3]/2, v[0] + v[2]/2, v[1] + v[3]/2}
	}
	return box{min(v[1], v[3]), min(v[0], v[2]), max(v[1], v[3]), max(v[0], v[2])}
}

func (b box) area() float32 { return (b.x1 - b.x0) * (b.y1 - b.y0) }

// overlaps reports whether the intersection over union is above the threshold.
func (b box) overlaps(c box, limit float32) bool {
	w, h := min(b.x1, c.x1)-max(b.x0, c.x0), min(b.y1, c.y1)-max(b.y0, c.y0)
	if !(w > 0) || !(h > 0) {
		return false
	}
	both := float32(w * h)
	a1, a2 := b.area(), c.area()
	union := a1 + a2 - both
	return a1 > 0 && a2 > 0 && union > 0 && both/union > limit
}

func suppress(n *graph.Node, in []*tensor.Tensor) ([][3]int64, error) {
	boxes, scores := in[0], in[1]
	B, N := boxes.Shape[0], boxes.Shape[1]
	if boxes.Shape[2] != 4 || scores.Shape[0] != B || scores.Shape[2] != N {
		return nil, (&Call{}).errorf("boxes %v and scores %v", boxes.Shape, scores.Shape)
	}
	number := func(i int) (float64, bool) {
		if i < len(in) && in[i] != nil && in[i].Elems() > 0 {
			return in[i].Float(0), true
		}
		return 0, false
	}
	most, _ := number(2)
	limit, _ := number(3)
	least, bounded := number(4)
	C, center := scores.Shape[1], n.Int("center_point_box", 0) != 0
	list := make([]box, B*N)
	for i := range list {
		list[i] = boxOf(boxes.Float32s()[4*i:], center)
	}
	kept := make([][]int32, B*C)
	team.Run(B*C, func(task int) {
		var order []uint64 // keys of scores, the complement of the index below
		for i, x := range scores.Float32s()[task*N:][:N] {
			if !bounded || x > float32(least) {
				order = append(order, scoreKey(x)<<32|uint64(^uint32(i)))
			}
		}
		slices.Sort(order)
		kept[task] = keepBoxes(list[task/max(C, 1)*N:][:N], order, most, float32(limit))
	})
	var picked [][3]int64
	for task, boxes := range kept {
		for _, i := range boxes {
			picked = append(picked, [3]int64{int64(task / C), int64(task % C), int64(i)})
		}
	}
	return picked, nil
}

// scoreKey orders scores; what is not a number comes last.
func scoreKey(x float32) uint64 {
	if x != x {
		return 0
	}
	return uint64(orderKey(x))
}

// keepBoxes walks over the boxes in descending order of their keys and keeps at most `most`. Boxes that lie apart, most
// pairs, are told by their edges.
func keepBoxes(list []box, order []uint64, most float64, limit float32) (kept []int32) {
	var near []box // those that were kept
	for k := len(order) - 1; k >= 0 && float64(len(kept)) < most; k-- {
		i := int32(^uint32(order[k]))
		b, free := list[i], true
		for j := range near {
			if c := &near[j]; b.x1 > c.x0 && c.x1 > b.x0 && b.y1 > c.y0 && c.y1 > b.y0 && b.overlaps(*c, limit) {
				free = false
				break
			}
		}
		if free {
			near, kept = append(near, b), append(kept, i)
		}
	}
	return kept
}
