package op

import (
	"muster/graph"
	"muster/internal/kernel"
	"muster/tensor"
)

// rotaryOp makes a row of RotaryEmbedding (Su et al., arXiv 2104.09864): pairs of channels of every
// head are turned by an angle that depends on the token's position,
//
//	(x1, x2) -> (cos x1 - sin x2, sin x1 + cos x2).
//
// The pair of channel i is i + R/2, or 2i and 2i+1 with interleaved; channels from R on are kept. X is
// [B, heads, T, D] or [B, T, heads*D]. cos and sin are [P, R/2], read at the positions [B, T], or
// without positions [B, T, R/2]. com.microsoft has the positions as input 1; one element is that of token 0.
func rotaryOp(domain string, since, minIn, maxIn, pos, table int, attrs string) Op {
	r := rotary{pos: pos, table: table}
	return Op{
		Domain: domain, Name: "RotaryEmbedding", Since: since, MinIn: minIn, MaxIn: maxIn, MinOut: 1, MaxOut: 1,
		Attrs: "interleaved num_heads rotary_embedding_dim" + attrs,
		Infer: r.infer,
		Ref: func(c *Call) error {
			f := r.form(c.Node, c.In)
			if err := f.check(c.In); err != nil {
				return err
			}
			x, cos, sin := floats(c.In[0]), floats(c.In[table]), floats(c.In[table+1])
			y := append([]float64{}, x...)
			for b := 0; b < f.B; b++ {
				for t := 0; t < f.T; t++ {
					turnToken(&f, y, x, cos, sin, b, t, f.angle(c.In, b, t))
				}
			}
			setFloats(c.Out[0], y)
			return nil
		},
		Grad:    r.grad,
		Prepare: r.kernel,
	}
}

var (
	opRotaryEmbedding          = rotaryOp("", 23, 3, 4, 3, 1, "")
	opMicrosoftRotaryEmbedding = rotaryOp("com.microsoft", 1, 4, 4, 1, 2, " scale is_packed_batching")
)

// rotary says where a row has its inputs.
type rotary struct{ pos, table int }

func (r rotary) infer(c *InferCall) error {
	n := c.Node
	if err := firstErr(c.wantFloat(0), c.wantFloat(r.table), c.wantFloat(r.table+1), c.wantIndex(r.pos), c.alike(r.table, r.table+1)); err != nil {
		return err
	}
	if n.Int("is_packed_batching", 0) != 0 || n.Float("scale", 1) != 1 {
		return c.unsupported("is_packed_batching or a scale is not supported")
	}
	c.Set(0, c.In[0].DType, c.In[0].Shape)
	x, t := c.In[0].Shape, c.In[r.table].Shape
	if x == nil || t == nil {
		return nil
	}
	if len(x) != 3 && len(x) != 4 {
		return c.Errorf("input 0 is %v, want rank 3 or 4", x)
	}
	rank := 2
	if c.in(r.pos) == nil {
		rank = 3
	}
	if len(t) != rank {
		return c.Errorf("the table of angles is %v, want rank %d", t, rank)
	}
	if p := c.in(r.pos); p != nil && p.Shape != nil && len(p.Shape) != 2 && !(r.pos == 1 && len(p.Shape) == 1) {
		return c.Errorf("the positions are %v", p.Shape)
	}
	if _, ok := c.In[0].Static(); !ok {
		return nil
	}
	s, _ := c.In[0].Static()
	w, ok := c.In[r.table].Static()
	if !ok {
		return nil
	}
	f := r.sizes(n, s, w)
	if f.D <= 0 || f.R <= 0 || f.R%2 != 0 || f.R > f.D || f.half != f.R/2 || len(s) == 3 && s[2]%f.D != 0 {
		return c.Errorf("a head of %d channels, %d of them turned, with %d angles", f.D, f.R, f.half)
	}
	if c.in(r.pos) == nil {
		return firstErr(c.agree("batches", graph.D(f.B), t[0]), c.agree("lengths", graph.D(f.T), t[1]))
	}
	if p, ok := c.In[r.pos].Static(); ok && p.Elems() != f.B*f.T && !(r.pos == 1 && p.Elems() == 1) {
		return c.Errorf("the positions are %v for %d x %d tokens", p, f.B, f.T)
	}
	return nil
}

// rotation is a call with concrete shapes.
type rotation struct {
	rotary
	B, H, T, D  int
	R, half     int // turned channels of a head, angles of a row
	x           kernel.Heads
	interleaved bool
	one         bool // a single position: that of token 0
}

func (r rotary) sizes(n *graph.Node, x, table tensor.Shape) rotation {
	f := rotation{rotary: r, B: x[0], half: table[len(table)-1], interleaved: n.Int("interleaved", 0) != 0, R: int(n.Int("rotary_embedding_dim", 0))}
	if len(x) == 4 {
		f.H, f.T, f.D = x[1], x[2], x[3]
		f.x = heads4(f.H, f.T, f.D)
	} else {
		f.T, f.H = x[1], int(n.Int("num_heads", 0))
		if f.H == 0 && f.half > 0 {
			f.H = x[2] / (2 * f.half)
		}
		if f.H > 0 {
			f.D = x[2] / f.H
		}
		f.x = heads3(f.T, x[2], f.D, 0)
	}
	if f.R == 0 {
		f.R = f.D
	}
	return f
}

func (r rotary) form(n *graph.Node, in []*tensor.Tensor) rotation {
	f := r.sizes(n, in[0].Shape, in[r.table].Shape)
	p := optional(in, r.pos)
	f.one = p != nil && r.pos == 1 && p.Elems() == 1 && f.B*f.T != 1
	return f
}

// angle is the row of the tables for one token.
func (f *rotation) angle(in []*tensor.Tensor, b, t int) int {
	p := optional(in, f.pos)
	switch {
	case p == nil:
		return b*f.T + t
	case f.one:
		return int(index(p, 0)) + t
	}
	return int(index(p, b*f.T+t))
}

// check refuses positions that the tables do not have.
func (f *rotation) check(in []*tensor.Tensor) error {
	p := optional(in, f.pos)
	if p == nil {
		return nil
	}
	n := int64(in[f.table].Shape[0])
	if f.one {
		n -= int64(f.T - 1)
	}
	for i, k := 0, p.Elems(); i < k; i++ {
		v := index(p, i)
		if v < 0 || v >= n {
			return (&Call{}).errorf("position %d is not in a table of %d", v, in[f.table].Shape[0])
		}
	}
	return nil
}

// turnToken turns the channels of every head of one token.
func turnToken[E float32 | float64](f *rotation, y, x, cos, sin []E, b, t, row int) {
	c, s := cos[row*f.half:][:f.half], sin[row*f.half:][:f.half]
	for h := 0; h < f.H; h++ {
		at := f.x.At(b, h, t)
		u, v := x[at:at+f.R], y[at:at+f.R]
		if f.interleaved {
			for i, cc := range c {
				x1, x2 := u[2*i], u[2*i+1]
				v[2*i], v[2*i+1] = E(cc*x1)-E(s[i]*x2), E(s[i]*x1)+E(cc*x2)
			}
			continue
		}
		u1, u2, v1, v2 := u[:f.half], u[f.half:], v[:f.half], v[f.half:]
		for i, cc := range c {
			x1, x2 := u1[i], u2[i]
			v1[i], v2[i] = E(cc*x1)-E(s[i]*x2), E(s[i]*x1)+E(cc*x2)
		}
	}
}

// grad turns dY back: the same rotation by the negative angles.
func (r rotary) grad(c *GradCall) []*graph.Value {
	d := make([]*graph.Value, len(c.In))
	if c.Need[r.table] || c.Need[r.table+1] {
		c.Fail("the gradient by the table of angles is not supported")
		return d
	}
	in := append([]*graph.Value{}, c.In...)
	in[0], in[r.table+1] = c.DOut[0], c.B.Op("Neg", c.In[r.table+1])
	d[0] = c.B.Node(c.Node.Domain, c.Node.Op, 1, in, c.Node.Attrs...)[0]
	return d
}

func (r rotary) kernel(p *Prep) (Kernel, bool) {
	f := r.form(p.Node, p.In)
	for _, i := range []int{0, r.table, r.table + 1} {
		if p.In[i].DType != tensor.Float32 {
			return Kernel{}, false
		}
	}
	per := rowsPer(f.H * f.D)
	return Kernel{Check: f.check, Run: split((f.B*f.T+per-1)/per, func(in, out []*tensor.Tensor, _ []byte, task int) {
		x, y, cos, sin := in[0].Float32s(), out[0].Float32s(), in[r.table].Float32s(), in[r.table+1].Float32s()
		for i := task * per; i < min(f.B*f.T, (task+1)*per); i++ {
			b, t := i/f.T, i%f.T
			turnToken(&f, y, x, cos, sin, b, t, f.angle(in, b, t))
			if f.R == f.D {
				continue
			}
			for h := 0; h < f.H; h++ {
				at := f.x.At(b, h, t)
				copy(y[at+f.R:at+f.D], x[at+f.R:at+f.D])
			}
		}
	})}, true
}
