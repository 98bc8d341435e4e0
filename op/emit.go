package op

import (
	"muster/graph"
	"muster/tensor"
)

// What bodies and gradient rules are written with. Operators whose inputs became
// attributes or the reverse are written in the form of the model's opset.

// fill appends a scalar constant of like's dtype (float32 if that is not known).
func fill(b *graph.Builder, like *graph.Value, x float64) *graph.Value {
	d := tensor.Float32
	if like != nil && like.DType != tensor.Undefined {
		d = like.DType
	}
	t, _ := Scalar(d, x)
	return b.Init("const", t)
}

// param is the float attribute of n as a scalar of like's dtype. In a function's
// body the attribute is a reference, which a Constant node resolves.
func param(b *graph.Builder, n *graph.Node, like *graph.Value, name string, def float32) *graph.Value {
	if a := n.Attr(name); a != nil && a.Ref != "" {
		return b.OpA("Constant", []graph.Attr{{Name: "value_float", Kind: graph.AttrFloat, Ref: a.Ref}})
	}
	return fill(b, like, float64(n.Float(name, def)))
}

func cast(b *graph.Builder, x *graph.Value, d tensor.DType) *graph.Value {
	return b.OpA("Cast", []graph.Attr{graph.Int("to", int64(d))}, x)
}

// castLike casts x to like's dtype; float32 if that is not known.
func castLike(b *graph.Builder, x, like *graph.Value) *graph.Value {
	d := tensor.Float32
	if like.DType != tensor.Undefined {
		d = like.DType
	}
	return cast(b, x, d)
}

func transpose(b *graph.Builder, x *graph.Value, perm ...int64) *graph.Value {
	return b.OpA("Transpose", []graph.Attr{graph.Ints("perm", perm...)}, x)
}

// swapLast appends the transpose of the last two of rank axes.
func swapLast(b *graph.Builder, x *graph.Value, rank int) *graph.Value {
	perm := axisRange(0, rank)
	perm[rank-1], perm[rank-2] = perm[rank-2], perm[rank-1]
	return transpose(b, x, perm...)
}

func reshape(b *graph.Builder, x *graph.Value, shape ...int64) *graph.Value {
	return b.Op("Reshape", x, b.Ints(shape...))
}

// shapeOf is the shape of x as a constant where it is known, else a Shape node.
func shapeOf(b *graph.Builder, x *graph.Value) *graph.Value {
	if s, ok := x.Static(); ok {
		v := make([]int64, len(s))
		for i, n := range s {
			v[i] = int64(n)
		}
		return b.Ints(v...)
	}
	return b.Op("Shape", x)
}

// reshapeTo gives v a shape in which 0 is a size of 0, not "keep" (as far as the opset can say so).
func reshapeTo(b *graph.Builder, v, shape *graph.Value) *graph.Value {
	if b.Version() < 14 {
		return b.Op("Reshape", v, shape)
	}
	return b.OpA("Reshape", []graph.Attr{graph.Int("allowzero", 1)}, v, shape)
}

// reshapeLike gives v the shape of x.
func reshapeLike(b *graph.Builder, v, x *graph.Value) *graph.Value {
	return reshapeTo(b, v, shapeOf(b, x))
}

// axisSize is the size of one axis of x as a vector of one element.
func axisSize(b *graph.Builder, x *graph.Value, axis int) *graph.Value {
	if x.Shape != nil && x.Shape[axis].Known() {
		return b.Ints(int64(x.Shape[axis].Size))
	}
	return b.Op("Gather", b.Op("Shape", x), b.Ints(int64(axis)))
}

// axisRange is the n numbers from lo on.
func axisRange(lo, n int) []int64 {
	s := make([]int64, n)
	for i := range s {
		s[i] = int64(lo + i)
	}
	return s
}

// spatialAxes lists the spatial axes of a tensor [N, C, ...] of this rank.
func spatialAxes(rank int) []int64 { return axisRange(2, max(0, rank-2)) }

// square is x times x.
func square(b *graph.Builder, x *graph.Value) *graph.Value { return b.Op("Mul", x, x) }

// ZerosLike appends a tensor of zeros with the shape and dtype of x.
func ZerosLike(b *graph.Builder, x *graph.Value) *graph.Value {
	return b.OpA("ConstantOfShape", []graph.Attr{graph.Ten("value", tensor.New(x.DType, 1))}, shapeOf(b, x))
}

// sumTo adds up dy, which has the shape of y, over the axes along which x was repeated to the shape of y.
func (c *GradCall) sumTo(dy, y, x *graph.Value) *graph.Value { return c.sumLead(dy, y, x, 0) }

// sumLead is sumTo where the last same axes of x and y are known to agree.
func (c *GradCall) sumLead(dy, y, x *graph.Value, same int) *graph.Value {
	if dy == nil {
		return nil
	}
	if x.Shape == nil || y.Shape == nil {
		c.Fail("the rank of %q is not known", x.Name)
		return nil
	}
	lead := len(y.Shape) - len(x.Shape)
	var axes []int64
	for i := range y.Shape[:len(y.Shape)-same] {
		if i < lead {
			axes = append(axes, int64(i))
			continue
		}
		xd, yd := x.Shape[i-lead], y.Shape[i]
		switch {
		case xd.Known() && xd.Size == 1 && !(yd.Known() && yd.Size == 1):
			axes = append(axes, int64(i))
		case xd.Same(yd):
		default:
			c.Fail("it is not known whether axis %d of %q (%v) is broadcast to %v", i-lead, x.Name, x.Shape, y.Shape)
			return nil
		}
	}
	if len(axes) == 0 {
		return dy
	}
	if len(axes) == lead {
		return c.B.ReduceSum(dy, 0, axes...)
	}
	dy = c.B.ReduceSum(dy, 1, axes...)
	if lead > 0 {
		dy = c.B.Squeeze(dy, axes[:lead]...)
	}
	return dy
}

// one returns a gradient for input 0 only.
func one(v *graph.Value) []*graph.Value { return []*graph.Value{v} }
