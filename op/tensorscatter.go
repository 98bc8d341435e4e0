package op

import (
	"muster/fault"
	"muster/tensor"
)

// TensorScatter(cache, update, write_indices) writes the update into the cache along `axis`, for every
// batch item from its own index on; "circular" goes on at the start where the cache ends.
var opTensorScatter = Op{
	Name: "TensorScatter", Since: 24, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1, Attrs: "axis mode",
	NoGrad: "it updates the cache of a decoder, which nothing is trained through",
	Infer: func(c *InferCall) error {
		if m := c.Node.Str("mode", "linear"); m != "linear" && m != "circular" {
			return c.Errorf("mode %q", m)
		}
		if c.In[0].DType != c.In[1].DType {
			return c.Errorf("the cache is %s, the update %s", c.In[0].DType, c.In[1].DType)
		}
		if err := firstErr(c.wantType(2, tensor.Int64), c.wantRank(2, 1)); err != nil {
			return err
		}
		s, u := c.In[0].Shape, c.In[1].Shape
		c.Set(0, c.In[0].DType, s)
		if s == nil || u == nil {
			return nil
		}
		at, err := axis(c.Node.Place(), c.Node.Int("axis", -2), len(s))
		if err != nil {
			return err
		}
		if at == 0 || len(u) != len(s) {
			return c.Errorf("axis %d of a cache %v and an update %v", at, s, u)
		}
		for i := range s {
			if i != at && s[i].Known() && u[i].Known() && s[i].Size != u[i].Size || i == at && s[i].Known() && u[i].Known() && u[i].Size > s[i].Size {
				return c.Errorf("an update %v of a cache %v", u, s)
			}
		}
		if w := c.in(2); w != nil && w.Shape != nil {
			return c.agree("batches", s[0], w.Shape[0])
		}
		return nil
	},
	Ref: func(c *Call) error {
		u := updateOf(&Prep{Node: c.Node, In: c.In})
		if err := u.check(c.In); err != nil {
			return err
		}
		for i := 0; i < u.P; i++ {
			u.row(c.In, c.Out, i)
		}
		return nil
	},
	Prepare: func(p *Prep) (Kernel, bool) {
		u := updateOf(p)
		per := rowsPer(u.n * u.bytes / 4)
		return Kernel{Over: 1, Check: u.check, Run: split((u.P+per-1)/per, func(in, out []*tensor.Tensor, _ []byte, task int) {
			for i := task * per; i < min(u.P, (task+1)*per); i++ {
				u.row(in, out, i)
			}
		})}, true
	},
}

// cacheUpdate sees a cache as [P, n, bytes] and its update as [P, m, bytes]; perItem of P belong to one batch item.
type cacheUpdate struct {
	P, n, m, bytes, perItem int
	circular                bool
}

func updateOf(p *Prep) cacheUpdate {
	s, d := p.In[0].Shape, p.In[0].DType
	at := wrap(p.Node.Int("axis", -2), len(s))
	return cacheUpdate{P: s[:at].Elems(), n: s[at], m: p.In[1].Shape[at], bytes: d.Bytes(s[at+1:].Elems()), perItem: s[1:at].Elems(),
		circular: p.Node.Str("mode", "linear") == "circular"}
}

func (u cacheUpdate) check(in []*tensor.Tensor) error {
	if w := optional(in, 2); w != nil {
		for _, v := range w.Int64s() {
			if v < 0 || !u.circular && v > int64(u.n-u.m) {
				return fault.New(fault.Mismatch, "", "%d entries from %d on do not fit a cache of %d", u.m, v, u.n)
			}
		}
	}
	return nil
}

// row copies row i of the cache and writes the update over it.
func (u cacheUpdate) row(in, out []*tensor.Tensor, i int) {
	dst, src := out[0].Data[i*u.n*u.bytes:][:u.n*u.bytes], in[1].Data[i*u.m*u.bytes:][:u.m*u.bytes]
	copy(dst, in[0].Data[i*u.n*u.bytes:])
	from := 0
	if w := optional(in, 2); w != nil && u.n > 0 {
		from = int(w.Int64s()[i/u.perItem] % int64(max(u.n, 1)))
		if !u.circular {
			from = int(w.Int64s()[i/u.perItem])
		}
	}
	k := copy(dst[from*u.bytes:], src)
	copy(dst, src[k:])
}
