package graph

// Operators whose axes became an input in some opset version, written in the form of the model's.

// Version is the ai.onnx version that b's graph is written in.
func (b *Builder) Version() int {
	if m := b.G.Model; m != nil && m.Opsets[""] > 0 {
		return m.Opsets[""]
	}
	return Opset
}

// axes appends an operator whose axes are an input from opset `since` on, an attribute before.
func (b *Builder) axes(op string, since int, x *Value, axes []int64, attrs ...Attr) *Value {
	if b.Version() >= since {
		return b.OpA(op, attrs, x, b.Ints(axes...))
	}
	return b.OpA(op, append(attrs, Ints("axes", axes...)), x)
}

// ReduceSum appends the sum over axes; keep 1 leaves them with size 1.
func (b *Builder) ReduceSum(x *Value, keep int64, axes ...int64) *Value {
	return b.axes("ReduceSum", 13, x, axes, Int("keepdims", keep))
}

// ReduceMax is the largest element over axes; keep 1 keeps them with a size of 1.
func (b *Builder) ReduceMax(x *Value, keep int64, axes ...int64) *Value {
	return b.axes("ReduceMax", 18, x, axes, Int("keepdims", keep))
}

// ReduceMean appends the mean over axes; keep 1 leaves them with size 1.
func (b *Builder) ReduceMean(x *Value, keep int64, axes ...int64) *Value {
	return b.axes("ReduceMean", 18, x, axes, Int("keepdims", keep))
}

// Unsqueeze appends axes of size 1.
func (b *Builder) Unsqueeze(x *Value, axes ...int64) *Value { return b.axes("Unsqueeze", 13, x, axes) }

// Squeeze removes axes of size 1.
func (b *Builder) Squeeze(x *Value, axes ...int64) *Value { return b.axes("Squeeze", 13, x, axes) }

// Reduce appends the reduction op over axes, of which there must be at least one.
func (b *Builder) Reduce(op string, x *Value, keep int64, axes ...int64) *Value {
	since := 18
	if op == "ReduceSum" {
		since = 13
	}
	return b.axes(op, since, x, axes, Int("keepdims", keep))
}
