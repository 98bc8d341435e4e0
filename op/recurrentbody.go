package op

import (
	"muster/graph"
	"muster/tensor"
)

// recurrentBody writes all steps out. Sequences that end early keep their state by Where and are reversed by
// ReverseSequence. It needs the number of steps.
func recurrentBody(b *graph.Builder, n *graph.Node, in []*graph.Value) []*graph.Value {
	r, err := recurrentOf(n, sizesOf(in))
	if err != nil || r.T < 1 || r.H < 1 {
		return nil
	}
	get := func(i int) *graph.Value {
		if i < len(in) {
			return in[i]
		}
		return nil
	}
	w := unroller{recurrent: r, b: b, lens: get(4), like: in[0]}
	x := in[0]
	w.batch = axisSize(b, x, 1)
	if r.batchFirst {
		w.batch = axisSize(b, x, 0)
		x = transpose(b, x, 1, 0, 2)
	}
	part := func(v *graph.Value, d, axis int) *graph.Value {
		if v == nil {
			return nil
		}
		return b.OpA("Gather", []graph.Attr{graph.Int("axis", int64(axis))}, v, b.Init("const", tensor.OfInt64([]int64{int64(d)})))
	}
	stateAxis := 0
	if r.batchFirst {
		stateAxis = 1
	}
	var y, yh, yc []*graph.Value
	for d := 0; d < r.D; d++ {
		c := cellBuilder{unroller: w, acts: r.acts[d], w: part(in[1], d, 0), r: part(in[2], d, 0), bias: part(get(3), d, 0), p: part(get(7), d, 0),
			h: part(get(5), d, stateAxis), c: part(get(6), d, stateAxis)}
		all := c.run(w.reversed(x, d))
		y = append(y, b.Unsqueeze(w.reversed(all, d), 1))
		yh = append(yh, b.Unsqueeze(c.h, int64(stateAxis)))
		if len(n.Outputs) > 2 {
			yc = append(yc, b.Unsqueeze(c.c, int64(stateAxis)))
		}
	}
	join := func(v []*graph.Value, axis int) *graph.Value {
		if len(v) == 1 {
			return v[0]
		}
		return b.OpA("Concat", []graph.Attr{graph.Int("axis", int64(axis))}, v...)
	}
	out := []*graph.Value{join(y, 1), join(yh, stateAxis)}
	if len(yc) > 0 {
		out = append(out, join(yc, stateAxis))
	}
	if r.batchFirst {
		out[0] = transpose(b, out[0], 2, 0, 1, 3)
	}
	return out[:max(len(n.Outputs), 1)]
}

type unroller struct {
	*recurrent
	b           *graph.Builder
	lens, batch *graph.Value
	like        *graph.Value // of the dtype
}

// reversed is v [T, B, ...] in the order of the steps of direction d, and back.
func (u *unroller) reversed(v *graph.Value, d int) *graph.Value {
	switch {
	case !u.reverse[d]:
		return v
	case u.lens != nil:
		return u.b.OpA("ReverseSequence", []graph.Attr{graph.Int("time_axis", 0), graph.Int("batch_axis", 1)}, v, cast(u.b, u.lens, tensor.Int64))
	}
	at := make([]int64, u.T)
	for t := range at {
		at[t] = int64(u.T - 1 - t)
	}
	return u.b.OpA("Gather", []graph.Attr{graph.Int("axis", 0)}, v, u.b.Ints(at...))
}

// cellBuilder is one direction; h and c are the state so far.
type cellBuilder struct {
	unroller
	acts          []cellAct
	w, r, bias, p *graph.Value
	h, c          *graph.Value
}

func (c *cellBuilder) cut(v *graph.Value, axis int64, lo, hi int) *graph.Value {
	return c.b.Op("Slice", v, c.b.Ints(int64(lo)), c.b.Ints(int64(hi)), c.b.Ints(axis))
}

// run returns the states of all steps [T, B, H].
func (c *cellBuilder) run(x *graph.Value) *graph.Value {
	b, GH := c.b, c.G*c.H
	zero := b.Op("Expand", fill(b, c.like, 0), concat(b, c.batch, b.Ints(int64(c.H))))
	if c.h == nil {
		c.h = zero
	}
	if c.c == nil {
		c.c = zero
	}
	xw := b.Op("MatMul", x, transpose(b, c.w, 1, 0)) // [T, B, G H]
	if c.bias != nil {
		wb, rb := c.cut(c.bias, 0, 0, GH), c.cut(c.bias, 0, GH, 2*GH)
		if c.cell == "GRU" && c.linear { // the recurrent bias of the last gate stays with its product
			keep := c.cut(rb, 0, 0, 2*c.H)
			rb = concat(b, keep, b.Init("zero", tensor.New(c.like.DType, c.H)))
		}
		xw = b.Op("Add", xw, b.Op("Add", wb, rb))
	}
	rt := transpose(b, c.r, 1, 0) // [H, G H]
	var ys []*graph.Value
	for t := 0; t < c.T; t++ {
		a := b.OpA("Gather", []graph.Attr{graph.Int("axis", 0)}, xw, b.Init("const", tensor.OfInt64([]int64{int64(t)})))
		var h *graph.Value
		cell := c.c
		switch c.cell {
		case "LSTM":
			h, cell = c.lstm(b.Op("Add", a, b.Op("MatMul", c.h, rt)))
		case "GRU":
			h = c.gru(a, rt)
		default:
			h = c.act(0, b.Op("Add", a, b.Op("MatMul", c.h, rt)))
		}
		out := h
		if c.lens != nil {
			live := b.Unsqueeze(b.Op("Greater", cast(b, c.lens, tensor.Int64), b.Init("const", tensor.OfInt64([]int64{int64(t)}))), 1)
			out = b.Op("Where", live, h, zero)
			h, cell = b.Op("Where", live, h, c.h), b.Op("Where", live, cell, c.c)
		}
		c.h, c.c = h, cell
		ys = append(ys, b.Unsqueeze(out, 0))
	}
	if len(ys) == 1 {
		return ys[0]
	}
	return concat(b, ys...)
}

func (c *cellBuilder) act(i int, x *graph.Value) *graph.Value {
	if c.clip > 0 {
		x = c.b.Op("Clip", x, fill(c.b, c.like, -c.clip), fill(c.b, c.like, c.clip))
	}
	return c.acts[i].emit(c.b, c.like, x)
}

func (c *cellBuilder) lstm(a *graph.Value) (h, cell *graph.Value) {
	b, H := c.b, c.H
	gate := func(g, peep int, state *graph.Value) *graph.Value {
		v := c.cut(a, 1, g*H, (g+1)*H)
		if c.p != nil && state != nil {
			v = b.Op("Add", v, b.Op("Mul", c.cut(c.p, 0, peep*H, (peep+1)*H), state))
		}
		return v
	}
	i := c.act(0, gate(0, 0, c.c))
	f := b.Op("Sub", fill(b, c.like, 1), i)
	if !c.coupled {
		f = c.act(0, gate(2, 2, c.c))
	}
	cell = b.Op("Add", b.Op("Mul", f, c.c), b.Op("Mul", i, c.act(1, gate(3, 0, nil))))
	return b.Op("Mul", c.act(0, gate(1, 1, cell)), c.acts[2].emit(b, c.like, cell)), cell
}

func (c *cellBuilder) gru(a, rt *graph.Value) *graph.Value {
	b, H := c.b, c.H
	zr := c.act(0, b.Op("Add", c.cut(a, 1, 0, 2*H), b.Op("MatMul", c.h, c.cut(rt, 1, 0, 2*H))))
	z, reset := c.cut(zr, 1, 0, H), c.cut(zr, 1, H, 2*H)
	rh := c.cut(rt, 1, 2*H, 3*H)
	var u *graph.Value
	if c.linear {
		u = b.Op("MatMul", c.h, rh)
		if c.bias != nil {
			u = b.Op("Add", u, c.cut(c.bias, 0, 5*H, 6*H))
		}
		u = b.Op("Mul", reset, u)
	} else {
		u = b.Op("MatMul", b.Op("Mul", reset, c.h), rh)
	}
	fresh := c.act(1, b.Op("Add", c.cut(a, 1, 2*H, 3*H), u))
	return b.Op("Add", b.Op("Mul", b.Op("Sub", fill(b, c.like, 1), z), fresh), b.Op("Mul", z, c.h))
}
